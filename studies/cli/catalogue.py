"""``attnflow list`` and ``attnflow show``: what there is, and what each thing is made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from hwmodels.reading.errors import InputError, Problem
from studies.cli.output import JsonFlag, QuietFlag, emit, table

if TYPE_CHECKING:
    from algorithms.kv.policy import KVPolicy
    from studies.points.point import Json


class Kind(StrEnum):
    """Things that have names."""

    ALGORITHMS = "algorithms"
    WORKLOADS = "workloads"
    POLICIES = "policies"
    CHIPS = "chips"
    TIERS = "tiers"
    STANDARDS = "standards"
    CAPTURES = "captures"
    KERNELS = "kernels"
    METRICS = "metrics"
    BENCHMARKS = "benchmarks"


class ShownKind(StrEnum):
    """Things that can be shown one by one."""

    ALGORITHM = "algorithm"
    WORKLOAD = "workload"
    CHIP = "chip"
    TIER = "tier"


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("list")(list_names)
    app.command("show")(show)


def list_names(
    kind: Annotated[Kind | None, typer.Argument(help="What to list; everything if not given.")] = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """List what can be named on the command line, one line each."""
    del quiet
    found = {each: _entries(each) for each in ([kind] if kind else Kind)}
    document: Json = {
        str(each): [{"name": name, "summary": summary} for name, summary in entries] for each, entries in found.items()
    }

    def text() -> str:
        return "\n\n".join(f"{each}\n{table(('name', 'summary'), rows)}" for each, rows in found.items())

    emit(document, text, as_json=as_json)


def policy_line(policy: type[KVPolicy]) -> str:
    """Parameters with their defaults, and the first line of what is said of a policy."""
    fields = ", ".join(
        entry.name if entry.default in (dataclasses.MISSING, None) else f"{entry.name}={entry.default}"
        for entry in dataclasses.fields(policy)
    )
    first = (policy.__doc__ or "").strip().splitlines()[0]
    return f"({fields}) {first}" if fields else first


def _entries(kind: Kind) -> list[tuple[str, str]]:
    """Name and summary of everything of a kind."""
    if kind is Kind.ALGORITHMS:
        from studies.points.find import all_algorithm_names

        return [(name, _algorithm_line(name)) for name in all_algorithm_names()]
    if kind is Kind.WORKLOADS:
        from algorithms.workload.text import workload_names

        return [(name, _workload_line(name)) for name in workload_names()]
    if kind is Kind.POLICIES:
        from algorithms.kv.registry import policy_class, policy_names

        return [(name, policy_line(policy_class(name))) for name in policy_names()]
    if kind is Kind.CHIPS:
        from hwmodels.chips.accelerator import accelerator_names
        from studies.cli.show_chip import chip_line

        return [(name, chip_line(name)) for name in accelerator_names()]
    if kind is Kind.TIERS:
        from hwmodels.tiers.text import tier_names
        from studies.cli.show_tier import tier_line

        return [(name, tier_line(name)) for name in tier_names()]
    if kind is Kind.STANDARDS:
        from hwmodels.standards.text import load_standard, standard_names

        return [(name, load_standard(name).summary) for name in standard_names()]
    if kind is Kind.CAPTURES:
        from reference.captures import capture_names, capture_path

        return [(name, str(capture_path(name).name)) for name in capture_names()]
    if kind is Kind.KERNELS:
        from algorithms.chip.plan.kernels import kernel_names, load_kernel

        return [(name, load_kernel(name).text.summary) for name in kernel_names()]
    if kind is Kind.METRICS:
        from studies.families.metrics import metrics

        return [(m.name, f"[{m.unit}] {m.meaning}" if m.unit else m.meaning) for m in metrics()]
    from studies.benchmarks.register import benchmarks

    return [(entry.name, entry.summary) for entry in benchmarks()]


def _algorithm_line(name: str) -> str:
    from studies.families.family import family_of
    from studies.points.find import find_algorithm

    return family_of(name).listed(find_algorithm(name).summary)


def _workload_line(name: str) -> str:
    from algorithms.workload.text import load_workload

    w = load_workload(name)
    heads = f"{w.heads} heads ({w.kv_heads} KV) of {w.head_dim}"
    return f"{w.phase}, {heads}, {w.q_len} x {w.kv_len} tokens, {w.mask} mask"


def show(
    kind: Annotated[ShownKind, typer.Argument(help="What it is.")],
    name: Annotated[str, typer.Argument(help="Its name; a workload, a chip or a tier may also be a YAML file.")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Change a field of a chip or tier; repeatable."),
    ] = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Show one algorithm with its parameters, or one workload, chip or memory tier with all sources."""
    if kind is ShownKind.CHIP:
        from studies.cli.show_chip import show_chip

        show_chip(name, set_ or [], as_json)
        return
    if kind is ShownKind.TIER:
        from studies.cli.show_tier import show_tier

        show_tier(name, set_ or [], as_json, quiet=quiet)
        return
    if set_:
        raise InputError(Problem(f"only chips and tiers have fields to change (this is a {kind})", "--set"))
    _SHOWN[kind](name, as_json)


def _show_algorithm(name: str, as_json: bool) -> None:
    from studies.families.family import family_of
    from studies.points.find import find_algorithm
    from studies.points.knobs import parameter_knobs

    algorithm = find_algorithm(name)
    knobs = parameter_knobs(algorithm).values()
    document: Json = {
        "name": algorithm.name,
        "summary": algorithm.summary,
        "kind": family_of(algorithm).name,
        "runs_on_chip": "chip" in algorithm.takes,
        "parameters": [
            {"name": k.name, "type": k.type_text, "default": k.default, "unit": k.unit, "help": k.help} for k in knobs
        ],
    }
    rows = [(k.name, k.type_text, k.default, k.unit, k.help) for k in knobs]

    def text() -> str:
        header = ("parameter", "type", "default", "unit", "meaning")
        return f"{algorithm.name}: {algorithm.summary}\n\n{table(header, rows)}"

    emit(document, text, as_json=as_json)


def _show_workload(name: str, as_json: bool) -> None:
    from pathlib import Path

    from studies.points.find import find_workload

    workload = find_workload(name, Path())
    cited = dict(workload.citations)
    values = dataclasses.asdict(workload)
    del values["citations"]
    derived = {
        each: getattr(workload, each) for each in ("attention_flops", "exponentials", "compulsory_bytes", "cache_bytes")
    }
    document: Json = {**values, "citations": cited, "derived": derived}
    rows = [(each, value, cited.get(each)) for each, value in values.items() if value not in (None, "")]
    rows += [(each, value, "derived") for each, value in derived.items()]
    emit(document, lambda: table(("field", "value", "source"), rows), as_json=as_json)


_SHOWN: dict[ShownKind, Callable[[str, bool], None]] = {
    ShownKind.ALGORITHM: _show_algorithm,
    ShownKind.WORKLOAD: _show_workload,
}
"""How each kind is shown; ``--set`` is for chips and tiers alone."""
