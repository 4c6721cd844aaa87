"""No test fails because a machine is slow: none compares times of this computer with a number."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = sorted(Path(__file__).parents[1].rglob("*.py"))
CLOCKS = {"monotonic", "perf_counter", "process_time", "thread_time", "time", "getrusage", "perf_counter_ns"}


def reads_a_clock(node: ast.AST) -> bool:
    """Whether an expression reads a clock of the computer."""
    called = [each.func for each in ast.walk(node) if isinstance(each, ast.Call)]
    names = {func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "") for func in called}
    return bool(names & CLOCKS)


def durations_in(tree: ast.AST) -> list[int]:
    """Lines of assertions about a difference of two readings of a clock; a deadline against hanging is none."""
    found = []
    for function in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]:
        spent = {
            target.id
            for node in ast.walk(function)
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.BinOp)
            if isinstance(node.value.op, ast.Sub) and reads_a_clock(node.value)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(function):
            if isinstance(node, ast.Assert):
                parts = list(ast.walk(node.test))
                names = {part.id for part in parts if isinstance(part, ast.Name)}
                differs = [part for part in parts if isinstance(part, ast.BinOp) and isinstance(part.op, ast.Sub)]
                if names & spent or any(map(reads_a_clock, differs)):
                    found.append(node.lineno)
    return found


def test_no_test_asserts_how_long_something_took():
    assert len(TESTS) > 150
    found = {path: durations_in(ast.parse(path.read_text(encoding="utf-8"))) for path in TESTS}
    assert {str(path): lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("begin = time.monotonic()\n    work()\n    assert time.monotonic() - begin < 3", [4]),
        ("begin = perf_counter()\n    spent = perf_counter() - begin\n    assert spent < 3", [4]),
        ("deadline = time.monotonic() + 600\n    assert time.monotonic() < deadline", []),
        ("assert run.seconds - other.seconds < 3", []),
    ],
)
def test_durations_are_seen(body, expected):
    assert durations_in(ast.parse(f"def test():\n    {body}")) == expected
