"""Packages show their public names, load them when they are used, and ship their types."""

from __future__ import annotations

import ast
import importlib

import pytest

LAZY = ("hwmodels", "reference")


@pytest.mark.parametrize("name", [*LAZY, "simulator"])
def test_completion_shows_public_names_alone_and_each_is_there(name):
    package = importlib.import_module(name)
    shown = dir(package)
    assert len(shown) > 10
    assert not [each for each in shown if each.startswith("_")]
    assert all(getattr(package, each) is not None for each in shown)


@pytest.mark.parametrize("name", LAZY)
def test_editors_are_told_what_python_does(name, root):
    tree = ast.parse((root / name / "__init__.py").read_text(encoding="utf-8"))
    (told,) = (node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in told.body if isinstance(node, ast.ImportFrom)]
    homes = {alias.asname: node.module for node in imports for alias in node.names}
    package = importlib.import_module(name)
    assert homes == {each: f"{name}.{home}" for each, home in package._HOMES.items()}


@pytest.mark.parametrize(
    ("name", "wrong", "meant"), [("hwmodels", "load_teir", "load_tier"), ("reference", "atention", "attention")]
)
def test_a_wrong_name_is_answered_with_the_nearest_one(name, wrong, meant):
    with pytest.raises(AttributeError, match=f"module '{name}' has no attribute '{wrong}'; did you mean '{meant}'?"):
        getattr(importlib.import_module(name), wrong)


def test_every_package_ships_its_types(root, packages):
    assert [package for package in packages if not (root / package / "py.typed").is_file()] == []
