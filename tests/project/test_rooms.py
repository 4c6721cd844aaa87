"""The house keeps its order: no import circle, few late imports, rooms of a size to survey, kinds known in one place.

Read from the syntax trees: imports inside functions and those for type checkers alone count like all others.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("simulator", "hwmodels", "algorithms", "reference", "studies")


@dataclass(frozen=True)
class Import:
    """One import of a module: by whom, of what, where, and when."""

    module: str
    target: str
    line: int
    late: bool
    typing: bool


def name_of(path: Path) -> str:
    """Dotted name of a module."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(path): path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}


def is_typing(node: ast.AST) -> bool:
    """Whether a statement is ``if TYPE_CHECKING``."""
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports_in(module: str, tree: ast.AST, known: dict[str, object], *, package: bool = False) -> Iterator[Import]:
    """All imports of a module, each of the module that it names or that holds the name."""

    def visit(node: ast.AST, late: bool, typing: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            yield from (Import(module, alias.name, node.lineno, late, typing) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                folder = module.split(".")[: len(module.split(".")) - node.level + package]
                base = ".".join([*folder, *filter(None, [node.module])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield Import(module, full if full in known else base, node.lineno, late, typing)
        inside = late or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, inside, typing or is_typing(node))

    yield from visit(tree, False, False)


IMPORTS = [
    found
    for name, tree in TREES.items()
    for found in imports_in(name, tree, FILES, package=FILES[name].name == "__init__.py")
]


# --- circles ----------------------------------------------------------------------------------------------------------


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that all reach each other (strongly connected components of more than one), sorted."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    open_: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        order[node] = lowest[node] = len(order)
        open_.append(node)
        for other in sorted(arrows.get(node, ())):
            if other not in order:
                visit(other)
                lowest[node] = min(lowest[node], lowest[other])
            elif other in open_:
                lowest[node] = min(lowest[node], order[other])
        if lowest[node] == order[node]:
            at = open_.index(node)
            group = sorted(open_[at:])
            del open_[at:]
            if len(group) > 1 or node in arrows.get(node, ()):
                found.append(group)

    for node in sorted(arrows):
        if node not in order:
            visit(node)
    return sorted(found)


def arrows_of(imports: list[Import]) -> dict[str, set[str]]:
    """Modules of the project that each module imports."""
    arrows: dict[str, set[str]] = {name: set() for name in FILES}
    for found in imports:
        if found.target in FILES:
            arrows[found.module].add(found.target)
    return arrows


def test_no_modules_import_each_other():
    arrows = arrows_of(IMPORTS)
    assert sum(map(len, arrows.values())) > 1500, "the imports are read"
    assert circles(arrows) == []


@pytest.mark.parametrize(
    ("source", "late", "typing"),
    [
        ("from studies.cli import app", False, False),
        ("def f():\n    from studies.cli import app", True, False),
        ("class C:\n    def f(self):\n        import studies.cli.app", True, False),
        ("if TYPE_CHECKING:\n    from studies.cli.app import application", False, True),
        ("try:\n    import studies.cli.app\nexcept ImportError:\n    pass", False, False),
    ],
)
def test_circles_are_seen_however_modules_are_imported(source, late, typing):
    (found,) = imports_in("studies.cli.output", ast.parse(source), FILES)
    assert (found.target, found.late, found.typing) == ("studies.cli.app", late, typing)
    assert any(
        {"studies.cli.app", "studies.cli.output"} <= set(group) for group in circles(arrows_of([*IMPORTS, found]))
    )


@pytest.mark.parametrize(
    ("arrows", "expected"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, []),
        ({"a": {"b"}, "b": {"a"}}, [["a", "b"]]),
        ({"a": {"b"}, "b": {"c"}, "c": {"b", "a"}, "d": {"d"}}, [["a", "b", "c"], ["d"]]),
    ],
)
def test_circles_of_small_graphs(arrows, expected):
    assert circles(arrows) == expected


# --- late imports -----------------------------------------------------------------------------------------------------

HEAVY = {
    "cupy": "needs a GPU",
    "dask": "in an extra",
    "dask_jobqueue": "in an extra",
    "distributed": "in an extra",
    "fcntl": "not on every system",
    "optuna": "a second",
    "pandas": "half a second",
    "plotly": "a third of a second",
    "resource": "not on every system",
    "rich": "a tenth of a second, and only a terminal needs it",
    "torch": "seconds, in an extra",
}
"""Libraries that functions may import, and why those that use them should not pay at their start."""

DOORS = ("studies", "studies.cli")
"""Rooms that open at once, and import what a verb or a name needs when somebody asks for it."""

START = ("studies.cli.output", "studies.cli.verb")
"""Modules that all verbs import: what these bring is there anyway, so importing it late gains nothing."""

ELSEWHERE: dict[tuple[str, str], str] = {
    ("studies.search.samplers", "studies.search.halton"): "a sampler for optuna, which takes a second to import",
    ("studies.cli.app", "importlib.metadata"): "only who asks for the version needs it",
    ("simulator.engines.compiled.engine", "simulator.engines.compiled.rows"): "six modules; of a graph with many rows",
    ("algorithms.register", "importlib.metadata"): "a third of the start of a command that looks for no plug-in",
}
"""Further imports inside functions, (module, target), and why."""


def start_of(modules: tuple[str, ...]) -> set[str]:
    """What importing modules imports, of the project and from outside."""
    direct: dict[str, set[str]] = {name: set() for name in FILES}
    for found in IMPORTS:
        if not found.late and not found.typing:
            direct[found.module].add(found.target)
    reached, waiting = set(modules), list(modules)
    while waiting:
        for target in direct.get(waiting.pop(), ()):
            if target not in reached:
                reached.add(target)
                waiting.append(target)
    return reached


def is_excused(found: Import, start: set[str]) -> bool:
    """Whether an import inside a function may be there."""
    library = found.target.partition(".")[0]
    if library in HEAVY or (found.module, found.target) in ELSEWHERE:
        return True
    door = found.module == "studies" or found.module.startswith("studies.cli")
    return door and found.target not in start and library not in sys.stdlib_module_names


def test_functions_import_only_what_is_heavy():
    start = start_of(START)
    assert {"typer", "hwmodels.reading.errors"} <= start and "numpy" not in start
    late = [found for found in IMPORTS if found.late]
    assert len(late) > 50
    assert [f"{each.module}:{each.line}: {each.target}" for each in late if not is_excused(each, start)] == []


@pytest.mark.parametrize(
    ("module", "target", "excused"),
    [
        ("studies.report.frame", "pandas", True),
        ("studies.report.frame", "numpy", False),
        ("studies.report.frame", "studies.store.store", False),
        ("studies.cli.verbs.sweep", "studies.store.store", True),
        ("studies.cli.verbs.sweep", "hwmodels.reading.errors", False),
        ("studies.cli.verbs.sweep", "datetime", False),
    ],
)
def test_what_is_excused(module, target, excused):
    assert is_excused(Import(module, target, 1, True, False), start_of(START)) == excused


def test_the_list_of_late_imports_holds_nothing_that_is_gone():
    late = {(found.module, found.target) for found in IMPORTS if found.late}
    assert set(ELSEWHERE) - late == set()
    assert set(HEAVY) - {target.partition(".")[0] for _, target in late} == set()


# --- sizes ------------------------------------------------------------------------------------------------------------

MOST_MODULES = 14
MANY_OF_ONE_KIND = {
    "algorithms/kv/policies": "KV policies",
    "simulator/engines/compiled": "kernels of the compiled engine",
    "studies/cli/verbs": "verbs",
    "studies/report/sections": "sections of the report",
}
"""Rooms that may be larger, and of what they hold many."""


def room_sizes() -> dict[str, int]:
    """Modules of every folder, the file that makes it a package not counted."""
    sizes: dict[str, int] = {}
    for path in FILES.values():
        if path.stem not in ("__init__", "__main__"):
            room = path.parent.relative_to(ROOT).as_posix()
            sizes[room] = sizes.get(room, 0) + 1
    return sizes


def test_rooms_are_small_or_hold_many_of_one_kind():
    sizes = room_sizes()
    assert len(sizes) > 50
    large = {room: size for room, size in sizes.items() if size > MOST_MODULES}
    assert {room: size for room, size in large.items() if room not in MANY_OF_ONE_KIND} == {}
    assert min(sizes[room] for room in MANY_OF_ONE_KIND) >= MOST_MODULES, "only rooms that are large need an excuse"


# --- kinds ------------------------------------------------------------------------------------------------------------

KINDS = {
    "an algorithm or an evaluation by its class": r"isinstance\([^()]*,\s*\(?[^()]*\b\w*(?:Algorithm|Evaluation)\b",
    "whether there is a chip": r"\b(?:point|self)\.chip is (?:not )?None",
    "whether there is a workload": r"\b(?:point|self)\.workload is (?:not )?None",
    "the name of a family": r"[!=]= \"(?:graph|tier)\"|kind\w* [!=]= \"chip\"|Literal\[[^\]]*\"(?:graph|tier)\"",
    "a kind by the functions and fields that once told it": r"\bkind_of\b|\bruns_on_chip\(|\bsubject\s*=\s*\"",
}
"""How a module asks what kind of design it has, which `studies.families` alone may."""


def code_of(path: Path) -> str:
    """A module without docstrings and comments."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [
                each for each in body if not (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))
            ] or [ast.Pass()]
    return ast.unparse(tree).replace("'", '"')


def test_only_families_ask_what_kind_a_design_is():
    asked = []
    modules = [name for name in FILES if name.startswith("studies.") and not name.startswith("studies.families")]
    assert len(modules) > 100
    for name in modules:
        for line in code_of(FILES[name]).splitlines():
            asked += [f"{name}: {what}: {line.strip()}" for what, p in KINDS.items() if re.search(p, line)]
    assert asked == []


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("an algorithm or an evaluation by its class", "if isinstance(algorithm, ChipAlgorithm):"),
        ("an algorithm or an evaluation by its class", "return isinstance(found, (Evaluation, Record))"),
        ("whether there is a chip", "if point.chip is not None:"),
        ("whether there is a workload", "{} if point.workload is None else {}"),
        ("the name of a family", 'if kind == "tier":'),
        ("the name of a family", 'Kind = Literal["graph", "chip", "tier"]'),
        ("a kind by the functions and fields that once told it", "kind_of(find_algorithm(name))"),
        ("a kind by the functions and fields that once told it", '@metric("x", "", "y", subject="chip")'),
    ],
)
def test_the_patterns_of_kinds_find(what, line):
    assert re.search(KINDS[what], line)


@pytest.mark.parametrize("line", ["isinstance(value, str)", 'if mask == "causal":', "if algorithm is None:"])
def test_the_patterns_of_kinds_leave_other_questions_alone(line):
    assert not [what for what, pattern in KINDS.items() if re.search(pattern, line)]
