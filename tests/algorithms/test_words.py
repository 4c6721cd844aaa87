"""What is said of a parameter or a field stands alone: it does not go on from a noun that is somewhere else."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from pathlib import Path

import pytest

import algorithms
from algorithms.registry import ALGORITHMS

FOLDER = Path(algorithms.__file__).parent
FRAGMENT = re.compile(
    r"(?i)(of|for|as|in|by|with|without|after|before|from|to|that|at|per|on|between|see|all of|what) |\w+\.$"
)
"""Beginnings of a text that needs another to be understood, and single words."""


def descriptions(docstring: str):
    """First lines of what a NumPy docstring says of parameters and attributes."""
    lines, inside = docstring.split("\n"), False
    for number, line in enumerate(lines):
        if number + 1 < len(lines) and re.fullmatch(r"-{4,}", lines[number + 1].strip()):
            inside = line in ("Parameters", "Attributes")
        if inside and line.startswith("    ") and not lines[number - 1].startswith("    "):
            yield line.strip()


def documented():
    """File, owner and text of every such line in the package."""
    for path in sorted(FOLDER.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                for text in descriptions(ast.get_docstring(node) or ""):
                    yield f"{path.relative_to(FOLDER)}: {node.name}", text


def test_what_is_said_of_fields_stands_alone():
    found = list(documented())
    assert len(found) > 200
    assert [(where, text) for where, text in found if FRAGMENT.match(text)] == []


def help_texts():
    """Name of the algorithm and the parameter, and its help text, of everything registered."""
    for name in ALGORITHMS.names():
        for field in fields(ALGORITHMS.get(name).parameters):
            yield name, field.name, field.metadata["help"]


def test_help_of_parameters_stands_alone():
    found = list(help_texts())
    assert len(found) > 300
    assert [each for each in found if FRAGMENT.match(each[2]) or not each[2].strip()] == []


@pytest.mark.parametrize("text", ["Of the chip.", "For people.", "of a tile", "Where.", "As issued to the array."])
def test_fragments_are_told_from_descriptions(text):
    assert FRAGMENT.match(text)
    assert not FRAGMENT.match("Number of cores of the chip.")
