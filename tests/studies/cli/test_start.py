"""How much a command starts with: modules and files are counted, since seconds belong to the computer."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
OWN = ("simulator", "hwmodels", "algorithms", "reference", "studies")
TIMEOUT_S = 600

PROBE = """
import contextlib, io, json, sys

read = []
sys.addaudithook(lambda event, given: read.append(str(given[0])) if event == "open" else None)
from studies.cli import entry

sys.argv = ["attnflow", *sys.argv[1:]]
code = 0
with contextlib.redirect_stdout(io.StringIO()) as shown:
    try:
        entry()
    except SystemExit as end:
        code = end.code
print(json.dumps({"code": code, "modules": sorted(sys.modules), "read": read, "shown": shown.getvalue()}))
"""

PROBE_END = "import sys; from studies.cli import entry; sys.argv = ['attnflow', *sys.argv[1:]]; entry()"


class Started:
    """What a command imported and read."""

    def __init__(self, *words: str) -> None:
        done = subprocess.run(
            [sys.executable, "-c", PROBE, *words],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": os.fspath(ROOT)},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout.splitlines()[-1])
        assert found["code"] == 0, done.stderr
        self.shown: str = found["shown"]
        self.modules = set(found["modules"])
        self.own = {name for name in self.modules if name.partition(".")[0] in OWN}
        places = [Path(path).resolve() for path in found["read"]]
        # what is installed may lie within the repository, too
        own = [path for path in places if path.is_relative_to(ROOT) and "site-packages" not in path.parts]
        inside = [path.relative_to(ROOT) for path in own]
        self.read = sorted(os.fspath(path) for path in inside if path.is_file() and path.suffix not in (".py", ".pyc"))


@pytest.fixture(scope="module", params=[(), ("--json",)], ids=["text", "json"])
def chip_run(request) -> Started:
    """A design on a chip, told in words or with all its metrics; the first one compiles what the second finds."""
    words = ("run", "flash.q_outer", "--chip", "h100", "--timing-only", "--quiet", *request.param)
    Started(*words)
    return Started(*words)


@pytest.mark.parametrize(("words", "most"), [(("--version",), 20), (("--help",), 50), (("list",), 50)])
def test_what_needs_no_design_imports_no_numbers_and_reads_nothing(words, most):
    started = Started(*words)
    assert "attnflow" in started.shown
    assert not started.modules & {"numpy", "numba", "yaml", "pandas", "simulator", "hwmodels.chips.chip"}
    assert len(started.own) <= most, sorted(started.own)
    assert started.read == []


def test_a_list_of_chips_reads_chips_and_imports_nothing_that_runs():
    started = Started("list", "chips")
    chips = [path for path in started.read if "chips" in Path(path).parts]
    assert len(chips) >= started.shown.count("FLOP/s") > 10
    assert len(started.read) - len(chips) <= 2, started.read
    assert not started.modules & {"numba", "simulator", "algorithms.registry", "studies.families.family"}
    assert len(started.own) <= 64, sorted(started.own)


def test_the_end_of_a_command_looks_through_nothing_for_garbage():
    script = f"import atexit, gc; atexit.register(lambda: print('frozen', gc.get_freeze_count())); {PROBE_END}"
    done = subprocess.run(
        [sys.executable, "-c", script, "--version"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=True,
    )
    frozen = int(done.stdout.split("frozen ")[1])
    assert frozen > 1000


STUDY = "{name: s, workload: {seq_len: 4, head_dim: 4}, algorithm: sdpa.naive, timing_only: true%s}"


@pytest.mark.parametrize("objectives", ["", ", objectives: [cycles]"])
def test_a_sweep_imports_no_family_but_that_of_its_points(tmp_path, objectives):
    (tmp_path / "s.yaml").write_text(STUDY % f", axes: {{long_depth: [4, 5, 6]}}{objectives}")
    started = Started("sweep", str(tmp_path / "s.yaml"), "--store", str(tmp_path / "s.sqlite"), "--jobs", "0", "-q")
    assert "front: " in started.shown
    families = {name for name in started.own if re.fullmatch(r"studies\.families\.\w+\.family", name)}
    assert families == {"studies.families.graph.family"}
    assert not [name for name in started.own if name.startswith("algorithms.live")]


class TestRunOfADesignOnAChip:
    def test_no_other_algorithm_and_no_other_family_is_imported(self, chip_run):
        foreign = ("algorithms.live", "algorithms.models", "algorithms.state", "algorithms.dam", "algorithms.kv")
        assert not [name for name in chip_run.own if name.startswith((*foreign, "algorithms.streaming"))]
        attention = {name for name in chip_run.own if name.startswith("algorithms.chip.attention.")}
        assert attention == {"algorithms.chip.attention.flash"}
        families = {name for name in chip_run.own if re.fullmatch(r"studies\.families\.\w+\.family", name)}
        assert families == {"studies.families.chip.family"}
        assert not chip_run.modules & {"pandas", "plotly", "optuna", "jinja2", "torch", "scipy"}

    def test_modules_are_counted(self, chip_run):
        most = 220 if chip_run.shown.startswith("{") else 215
        assert len(chip_run.own) <= most, sorted(chip_run.own)

    def test_one_chip_is_read_and_what_its_energy_follows_from(self, chip_run):
        presets = {path for path in chip_run.read if "presets" in Path(path).parts and "chips" in Path(path).parts}
        # the first has none of that name
        assert {Path(path).stem for path in presets} == {"h100_pcie_80g", "h100_sxm5_80g"}
        assert len(set(chip_run.read)) <= 8, chip_run.read
