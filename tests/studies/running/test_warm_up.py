"""What a first run has to compile is announced, once, and only what it needs."""

from __future__ import annotations

import json

import pytest

from algorithms.workload.shape import Workload
from hwmodels.reading.errors import InputError
from simulator.servers import kernel
from studies.cli.app import run_command_line
from studies.families.compiled import ENGINE, ENGINE_WITH_MEMORY, MEMORY, Compiled
from studies.families.family import families, family_of
from studies.points.find import find_algorithm
from studies.points.point import DesignPoint
from studies.running import warm_up
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


class TestDoctorWarms:
    @pytest.fixture
    def run(self, monkeypatch):
        """What would be evaluated, which is not what is tested here, and takes long."""
        points: list[DesignPoint] = []
        monkeypatch.setattr(warm_up, "evaluate", points.append)
        return points

    def test_every_family_and_all_kernels(self, caches, run, capsys):
        assert run_command_line(["doctor", "--warm", "--json"]) == 0
        document = json.loads((shown := capsys.readouterr()).out)
        warmed = {check["name"]: check["detail"] for check in document["checks"] if "kernels of" in check["name"]}
        assert set(warmed) == {f"kernels of {point.algorithm}" for point in run}
        assert {family_of(point).name for point in run} == {family.name for family in families()}
        assert {part for point in run for part in family_of(point).kernels(point)} == {
            ENGINE,
            MEMORY,
            ENGINE_WITH_MEMORY,
        }
        assert all("compiled in" in warmed[f"kernels of {name}"] for name in ("sdpa.naive", "tier.probe"))
        assert all(f"compiling {part.name} (once, about" in shown.err for part in (ENGINE, MEMORY, ENGINE_WITH_MEMORY))

    def test_what_is_there_already_is_said_to_be_and_nothing_is_announced(self, caches, run, capsys):
        for part in (ENGINE, MEMORY, ENGINE_WITH_MEMORY):
            (caches / part.package / f"{part.kernel}-1.py311.1.nbi").touch()
        assert run_command_line(["doctor", "--warm"]) == 0
        shown = capsys.readouterr()
        assert "engine with memory models: there already" in shown.out
        assert "compiled in" not in shown.out
        assert shown.err == ""

    def test_a_family_that_does_not_run_here_is_missing_and_says_why(self, caches, run, monkeypatch, capsys):
        def fail(point: DesignPoint) -> None:
            raise InputError(f"{point.algorithm} has no place to compile")

        monkeypatch.setattr(warm_up, "evaluate", fail)
        assert run_command_line(["doctor", "--warm", "--quiet"]) == 1
        (line,) = [line for line in capsys.readouterr().out.splitlines() if "kernels of tier.probe" in line]
        assert line.split() == [
            "kernels",
            "of",
            "tier.probe",
            "MISSING",
            *["tier.probe", "has", "no", "place", "to", "compile"],
        ]

    def test_kernels_are_left_alone_where_nobody_asks(self, caches, run, capsys):
        run_command_line(["doctor"])
        assert run == []


def test_the_small_designs_run():
    found = list(warm_up.compile_everything(quiet=True))
    assert [warmed.failed for warmed in found] == [""] * len(found)
    assert all(warmed.cached for warmed in warm_up.compile_everything(quiet=True))
