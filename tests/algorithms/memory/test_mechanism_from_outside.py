"""A memory mechanism is one module and a preset: found, listed, shown, probed and simulated without an edit."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PLUGIN = Path(__file__).parent / "plugin"

TWO_ENGINES = """
from algorithms.memory.binding import mechanism_of
from hwmodels.tiers.text import load_tier
from simulator import FiringTable, Graph, MemoryServer, Segment, Unit, simulate, uniform
from simulator.firing import Block

graph = Graph("cxl")
graph.add_server(MemoryServer("expander", mechanism_of(load_tier("cxl2_x8"), 1e9)))
for number in range(2):
    rows = Segment(30, (), (1,), request_bytes=100, address=number * 4096, address_step=160)
    load = graph.add(Unit(f"load{number}", "load", FiringTable((Block((rows,)),)), server="expander"))
    graph.connect(load, graph.add(Unit(f"use{number}", "sink", uniform(30, take=(1,)))))
graph = graph.freeze()
found = [simulate(graph, engine=engine) for engine in ("compiled", "simpy")]
assert found[0].schedule_digest == found[1].schedule_digest
# 60 requests of 100 bytes from multiples of 32 touch two or three flits of 2 cycles each
flits = sum((a + 99) // 64 - a // 64 + 1 for a in range(0, 30 * 160, 160)) * 2
assert found[0].cycles >= 2 * flits + 170, (found[0].cycles, flits)
assert found[0].servers[0].busy_cycles == 2 * flits
print(graph.servers[0].settings)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the plug-in and the entry points that an installed distribution has."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copy(PLUGIN / "cxl_memory.py", folder)
    shutil.copytree(PLUGIN / "presets", folder / "presets")
    about = folder / "cxl_memory-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: cxl_memory\nVersion: 1.0\n")
    points = "".join(f"[attnflow.{group}]\ncxl = cxl_memory\n" for group in ("tiers", "mechanisms"))
    (about / "entry_points.txt").write_text(points)
    return folder


def run(installed, *arguments):
    found = subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{installed}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


def test_it_is_listed_and_shown_with_its_sources(installed):
    assert "cxl2_x8" in run(installed, "-m", "studies", "list", "tiers")
    shown = run(installed, "-m", "studies", "show", "tier", "cxl2_x8", "--set", "credits=8", "--set", "bytes=1 MB")
    assert "made up for a test" in shown
    assert "simulated: the same" in shown
    document = json.loads(run(installed, "-m", "studies", "show", "tier", "cxl2_x8", "--json"))
    assert document["kind"] == "cxl"
    assert document["fields"]["credits"] == 96


def test_it_serves_a_graph_alike_on_both_engines(installed):
    settings = run(installed, "-c", TWO_ENGINES)
    assert settings.startswith("cxl, flit_bytes 64, ")


def test_its_probe_reaches_the_peak_or_what_its_credits_allow(installed):
    def rate(places):
        path = installed / f"credits{places}.yaml"
        text = (PLUGIN / "presets" / "cxl2_x8.yaml").read_text(encoding="utf-8")
        path.write_text(text.replace("credits: 96", f"credits: {places}"), encoding="utf-8")
        code = (
            "from algorithms.memory.probe import probe\n"
            "from algorithms.memory.probe_parameters import ProbeParameters\n"
            f"print(probe(ProbeParameters(tier={str(path)!r}, pattern='sequential')).utilisation)"
        )
        return float(run(installed, "-c", code))

    assert rate(96) == pytest.approx(1, abs=0.02)
    # Little's law: 8 flits of 2 ns under way in 172 ns
    assert rate(8) == pytest.approx(8 * 2 / 172, rel=0.02)


def test_a_kind_or_mechanism_of_a_taken_name_is_refused(installed):
    code = (
        "import cxl_memory as mine\n"
        "from dataclasses import replace\n"
        "from hwmodels.tiers.kinds import TierKind, register_tier_kind, tier_kinds\n"
        "from simulator.servers.mechanisms import MECHANISMS\n"
        "tier_kinds(), MECHANISMS.names()\n"
        "for call in (lambda: register_tier_kind(TierKind('link', mine.CxlTierText, mine.build)),\n"
        "             lambda: MECHANISMS.add(replace(MECHANISMS.get('cxl'), name='link'))):\n"
        "    try: call()\n"
        "    except ValueError as error: print(error)\n"
    )
    first, second = run(installed, "-c", code).splitlines()
    assert "tiers of kind 'link' are registered by both hwmodels.tiers.link and cxl_memory" in first
    assert "mechanism 'link' is registered by both simulator.servers.link and cxl_memory" in second
