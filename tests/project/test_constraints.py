"""`constraints.txt` pins everything that `pyproject.toml` asks for, and nothing else is in it."""

from __future__ import annotations

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


@pytest.fixture(scope="module")
def lines(root):
    text = (root / "constraints.txt").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


@pytest.fixture(scope="module")
def pins(lines):
    requirements = [Requirement(line) for line in lines]
    return {canonicalize_name(r.name): next(iter(r.specifier)).version for r in requirements}


@pytest.fixture(scope="module")
def wanted(project):
    groups = {"core": project["project"]["dependencies"], "build": project["build-system"]["requires"]}
    groups |= project["project"]["optional-dependencies"]
    return [(group, Requirement(text)) for group, texts in groups.items() for text in texts]


def test_every_line_is_an_exact_public_version(lines):
    for line in lines:
        requirement = Requirement(line)
        assert requirement.url is None and requirement.marker is None and not requirement.extras, line
        (specifier,) = requirement.specifier
        assert specifier.operator == "==" and not set("*+") & set(specifier.version), line


def test_every_line_is_there_once_and_in_order(lines):
    names = [Requirement(line).name for line in lines]
    assert len({canonicalize_name(name) for name in names}) == len(names)
    assert lines == sorted(lines)


def test_everything_asked_for_is_pinned_to_a_version_that_is_allowed(pins, wanted):
    assert {group for group, _ in wanted} >= {"core", "build", "torch", "nvrtc", "gpu", "cluster", "notebooks", "dev"}
    for group, requirement in wanted:
        pin = pins.get(canonicalize_name(requirement.name))
        assert pin is not None, f"{requirement.name}, which {group} needs, has no pin"
        assert requirement.specifier.contains(pin), f"{group}: {requirement} does not allow the pinned {pin}"
