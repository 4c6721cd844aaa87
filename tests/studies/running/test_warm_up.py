"""What a first run has to compile is announced, once, and only what it needs."""

from __future__ import annotations

import pytest

from algorithms.workload.shape import Workload
from simulator.servers import kernel
from studies.cli.app import run_command_line
from studies.families.compiled import ENGINE, ENGINE_WITH_MEMORY, MEMORY, Compiled
from studies.families.family import family_of
from studies.points.find import find_algorithm
from studies.points.point import DesignPoint
from studies.running.warm_up import announce_compilation

SMALL = Workload(name="w", phase="prefill", heads=1, kv_heads=1, q_len=4, kv_len=4, head_dim=2, mask="full")


@pytest.fixture
def caches(tmp_path, monkeypatch):
    """Empty caches of compiled kernels."""
    for package in kernel.SOURCES:
        (tmp_path / package).mkdir()
    monkeypatch.setattr(kernel, "cache_folder", lambda package: tmp_path / package)
    return tmp_path


def point_of(name: str, **parameters) -> DesignPoint:
    algorithm = find_algorithm(name)
    return DesignPoint(name, SMALL, tuple(sorted(vars(algorithm.parameters(**parameters)).items())))


@pytest.mark.parametrize(
    ("point", "parts"),
    [
        (point_of("sdpa.naive"), (ENGINE,)),
        (point_of("sdpa.memory_free", kv_tier="hbm2"), (ENGINE_WITH_MEMORY,)),
        (point_of("tier.probe"), (MEMORY,)),
    ],
)
def test_only_what_is_needed_is_announced(caches, capsys, point: DesignPoint, parts: tuple[Compiled, ...]):
    assert family_of(point).kernels(point) == parts
    announce_compilation("compiled", quiet=False, parts=parts)
    (line,) = capsys.readouterr().err.splitlines()
    assert all(part.name in line for part in parts)
    for part in parts:
        (caches / part.package / f"{part.kernel}-1.py311.1.nbi").touch()
    announce_compilation("compiled", quiet=False, parts=parts)
    assert capsys.readouterr().err == ""


def test_nothing_is_said_when_nothing_is_compiled_or_nobody_listens(caches, capsys):
    announce_compilation("simpy", quiet=False)
    announce_compilation("compiled", quiet=True)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("part", [ENGINE, MEMORY, ENGINE_WITH_MEMORY])
def test_the_kernels_that_are_looked_for_exist(part: Compiled):
    module, _, function = part.kernel.partition(".")
    package = "servers.dram" if part.package == "servers" else "engines.compiled"
    found = __import__(f"simulator.{package}.{module}", fromlist=[function])
    assert hasattr(getattr(found, function), "signatures")


def test_the_self_check_of_a_tier_is_announced(caches, capsys):
    assert run_command_line(["show", "tier", "hbm2"]) == 0
    assert "memory models" in capsys.readouterr().err
    assert run_command_line(["show", "tier", "hbm2", "--quiet"]) == 0
    assert capsys.readouterr().err == ""
