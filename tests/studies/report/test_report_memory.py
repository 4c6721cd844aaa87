"""The report's section on memories: what moved data and what was lost, for pipelines on a tier only."""

from __future__ import annotations

from simulator.servers.dram.tier import LOSS_CAUSES
from studies import Study
from studies.cli.options import DesignOptions, design_point
from studies.report.sections.memory import KINDS, memory_losses


def sweep(tmp_path, *tiers):
    size = {"seq_len": 32, "head_dim": 64, "timing_only": True}
    points = [
        design_point("sdpa.memory_free", DesignOptions(set_=[f"kv_tier={tier}"] if tier else None, **size))
        for tier in tiers
    ]
    return Study.of("memory", points).sweep(tmp_path / "memory.sqlite", jobs=0)


def test_every_cause_has_words():
    assert set(KINDS) == {"data", *LOSS_CAUSES}


def test_clocks_of_a_tier_are_told_apart(tmp_path):
    results = sweep(tmp_path, "hbm2", "ddr4_3200", "")
    servers = [row.outcome.detail.result.servers for row in results.points().rows]
    found = [[server for server in each if server.tier] for each in servers]
    assert [[tier.name for tier in tiers] for tiers in found] == [["hbm2"], ["ddr4_3200"], []]
    for tiers in found[:2]:
        assert tiers[0].tier.busy_clocks > 0 and sum(tiers[0].tier.lost_clocks.values()) > 0
    (block,) = memory_losses(results.points())
    assert "refresh" in str(block)


def test_pipelines_without_a_memory_have_no_such_section(tmp_path):
    assert list(memory_losses(sweep(tmp_path, "").points())) == []


def test_the_page_has_it(tmp_path):
    page = sweep(tmp_path, "hbm2").report(tmp_path / "memory.html").read_text(encoding="utf-8")
    assert "Where memory bandwidth goes" in page
