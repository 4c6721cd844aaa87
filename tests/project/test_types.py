"""Type checks are strict: no module is waived, and what is ignored on a line says which error and why."""

from __future__ import annotations

import re

import pytest

WAIVED: set[str] = set()
"""Modules whose types are checked less strictly: compiled kernels once were. The set may only shrink."""
MOST_IGNORED_LINES = 2
"""Lines of simulator, hwmodels and reference that a type checker is told to overlook; the number may only fall."""


def overrides(project):
    for override in project["tool"]["mypy"].get("overrides", ()):
        module = override["module"]
        yield set(module if isinstance(module, list) else [module])


def is_ours(module, packages):
    return module == "*" or module.partition(".")[0] in packages


def test_the_check_is_strict_and_waives_no_module_of_ours(project, packages):
    assert project["tool"]["mypy"]["strict"] is True
    waived = {module for modules in overrides(project) for module in modules if is_ours(module, packages)}
    assert waived <= WAIVED
    assert not any(module.endswith("*") for module in waived), "modules are waived one by one"


def test_no_option_switches_a_strict_check_off(project):
    # what strict = true sets can be taken back one by one
    off = {name for name, value in project["tool"]["mypy"].items() if value is False}
    assert not off


@pytest.mark.parametrize("package", ["simulator", "hwmodels", "reference"])
def test_lines_that_are_overlooked_say_which_error(root, package):
    found = [
        (path.name, line.strip())
        for path in sorted((root / package).rglob("*.py"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if "type: ignore" in line
    ]
    assert len(found) <= MOST_IGNORED_LINES
    assert [entry for entry in found if not re.search(r"# type: ignore\[[a-z-]+\]", entry[1])] == []
