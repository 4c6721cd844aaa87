"""Every notebook runs from top to bottom, and what its text claims holds."""

from __future__ import annotations

from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "studies" / "notebooks"
TIMEOUT_S = 1800
PLOTLY = "application/vnd.plotly.v1+json"
LIBRARY_BYTES = 1_000_000

# code that is run behind the last cell of a notebook, in its own kernel
CLAIMS = {
    "streaming_sdpa": """
assert run.deviation.rel_l2 < 1e-12
assert list(stuck.index) == [60, 61, 62, 63], "deadlock below a row of 64"
assert least == 64
assert 64 < full_rate <= 68
assert (running.loc[full_rate:, "cycles"] == running["cycles"].min()).all()
assert (running.loc[:full_rate - 1, "cycles"] > running["cycles"].min()).all()
assert (growth["sdpa.memory_free"] == 0).all(), "O(1)"
for name in VARIANTS[:3]:
    assert growth[name].nunique() == 1 and growth[name].iloc[0] > 0, "O(N)"
assert (table["state"] == "done").all() and len(table) == 40
assert cycles.loc[8, 16] == cycles.min().min()
assert cycles.loc[4, 8] < 1.02 * cycles.loc[4, 16], "the exponential sets the rate"
assert cycles.loc[8, 8] > cycles.loc[8, 16]
assert report.stat().st_size > 1e6
""",
    "published_systems": """
assert sdpa.verdict == "reproduced" and not any(claim.verdict == "missed" for claim in sdpa.claims)
assert sum(claim.verdict == "missed" for claim in latent.claims) == 2
assert duo.verdict == "reproduced"
assert saved.is_monotonic_decreasing and saved[1.0] == 1
assert {claim.verdict for claim in lamina.claims if claim.claim.text.kind == "arithmetic"} == {"reproduced"}
assert lamina.verdict == "reproduced"
assert vlm.claims[0].verdict == "reproduced"
assert (load.xs("h100", level="chip") < 0.3).all()
assert load["qwen2.5-vl-7b", "jetson_agx_orin_64g"] > 1
""",
    "design_space": """
assert (table["state"].isin(["done", "infeasible"])).all() and len(table) == study.space.size
assert effect.index[0] == "chip.hbm.bytes_per_second", "decoding is bound by the memory"
assert len(front) >= 3
assert front["chip.hbm.bytes_per_second"].nunique() > 3, "not all have the most"
assert (found["evaluated again"] == 0).all(), "searches take what the sweep has stored"
assert found.loc["nsga2", "share of the hypervolume"] >= 0.95
assert agreement.loc["seconds", "rank_correlation"] > 0.9
assert confirmation.kept
assert decision["seconds"] == table.loc[table["state"] == "done", "seconds"].min()
assert decision["bound.binding"] == "memory"
assert report.stat().st_size > 1e6
""",
    "memory_tiers": """
for report in [*in_order.values(), *at_random.values(), *streams.values()]:
    assert report.bus_clocks == report.busy_clocks + sum(report.lost_clocks.values()), "causes make up the gap"
hbm, ddr4 = order.loc[["hbm2", "hbm3"]], order.loc["ddr4_3200"]
assert (hbm["at random, %"] < 100 / 3).all() and (hbm["at random, lost to"] == "row_cycle").all()
assert max(at_random[tier].row_hit_rate for tier in TIERS) < 0.001, "every one opens a row"
assert 64 < ddr4["in order, %"] < 68 and ddr4["in order, lost to"] == "command_spacing"
assert ddr4["at random, %"] > ddr4["in order, %"]
spacing = [found["ddr4_3200"].lost_clocks["command_spacing"] for found in (in_order, at_random)]
assert spacing[1] < 0.02 * spacing[0], "random addresses spread over the groups"
timing = attnflow.load_tier("ddr4_3200").standard.timing
assert timing.ccd_l == 2 * timing.burst, "every second burst"
cycle, hits = gather["cycle"], gather["row hits"]
assert cycle.loc[256, "hbm2"] > 85 and hits.loc[256, "hbm2"] > 70
assert (hits.loc[:1024, "hbm3"] < 1).all() and (hits.loc[4096:, "hbm3"] > 45).all()
assert in_order["hbm3"].utilisation > 0.95
assert cycle["ddr4_3200"].idxmax() == 256 and cycle.loc[16384:, "ddr4_3200"].max() < cycle.loc[64, "ddr4_3200"]
assert gain > 2
row_bytes = attnflow.load_tier("ddr4_3200").organisation.transaction_bytes
for part in attnflow.load_tier("ddr4_3200").fields[:-1]:
    row_bytes *= part.size
assert attnflow.load_tier("ddr4_3200").capacity_bytes // 2 % row_bytes == 0, "both streams start in one bank"
first, second = shares["columns lowest"].nlargest(2).index
assert {first, second} == {"row_cycle", "command_spacing"}
assert shares.loc[["row_cycle", "command_spacing"], "bank groups lowest"].max() < 0.5
assert error.median() < 5 and error.quantile(0.9) < 10
assert error.idxmax() == ("ddr4_3200", "streams 256 B")
assert (attended["cycles"].between(attended["at least"], attended["at most"])).all()
assert (attended["computing"] < attended["at least"]).all()
demand = {tier: 2 * HEAD_DIM * 2 * 1e9 / attnflow.load_tier(tier).peak_bytes_per_second for tier in ATTENDED}
assert round(demand["hbm2"], 6) == 2 and 20 < demand["ddr4_3200"] < 20.5
eager, alone = attended.xs(8, level=1), attended.xs(1, level=1)
assert 4 < alone.loc["hbm2", "cycles"] / eager.loc["hbm2", "cycles"]
over = eager["cycles"] / eager["at least"]
assert over["hbm2"] < 1.1 and over["ddr4_3200_group_low"] < 1.1 and over["ddr4_3200"] > 1.3
assert alone.loc["ddr4_3200", "cycles"] < 1.1 * eager.loc["ddr4_3200", "cycles"]
lost = {tier: evaluate_graph(attending(tier, 8)).result.servers[0].tier.lost_clocks for tier in ATTENDED}
assert lost["hbm2"]["refresh"] > 0.5 * sum(lost["hbm2"].values())
turns = lost["ddr4_3200"]["command_spacing"] + lost["ddr4_3200"]["turnaround"]
assert turns > 0.5 * sum(lost["ddr4_3200"].values())
""",
    "latent_attention": """
assert orders.loc["mla.exp", "GFLOP"] > 90 * orders.loc["mla.seq", "GFLOP"], "a hundred times the FLOP"
assert (times.idxmin(axis=1) == "mla.seq").all(), "wins everywhere"
assert rebuild.loc["h100_sxm5_80g", "rc over ru"] > 1 > rebuild.loc["h20", "rc over ru"]
reuses = rebuild[rebuild["rc over ru"] < 1]
assert set(reuses.index) == {"h20", "mi300x", "flat_cloud"}
assert rebuild.drop(index=reuses.index)["ridge, FLOP/B"].min() > 2 * rebuild.loc["h20", "ridge, FLOP/B"]
two = {name: get_block("mla.rc").resolved(step, BlockParameters(), attnflow.load_chip(name)) for name in reuses.index}
assert two["mi300x"].stages == two["flat_cloud"].stages == 2
assert (bandwidth.diff().dropna() >= 0).all().all()
fall = bandwidth.iloc[-1] / bandwidth.iloc[0]
plain = fall[["block.mha", "block.gqa", "mla.kvcache"]]
assert fall["mla.seq"] < 0.9 * plain.min(), f"a slower memory hurts it less: {fall}"
assert absorb["equal FLOP"].between(140, 171).all() and absorb["H100"].between(140, 210).all()
assert (reuse["one roofline"] < reuse["roofline by launch"]).all()
assert (reuse["roofline by launch"] < reuse["simulated"]).all()
""",
    "predicted_and_measured": """
assert len(points) == 103 and all(point.split == "validate" for point in points)
assert not calibration & {point.id for point in points} and fitted.max() == 2
assert len(far) == 24 and {(point.kind, point.hw) for point in far} == {
    ("prefill_fwdbwd", "A100_SXM4_80G"), ("e2e_decode_token", "A100_SXM4_80G")
}
assert fitted[["fa2_training_ampere", "duo_decode"]].sum() == 0, "nothing fitted at all"
simple = groups.dropna(subset=["roofline"])
assert len(simple) == len(groups) - 2
assert (simple["simulated"] < simple[["roofline", "serial sum"]].min(axis=1)).all()
assert (rows["roofline, %"].dropna() < 0).all()
assert 7 < groups.loc["prefill_fwd FlashAttention-3 H100_SXM5_80G", "serial sum"] < 8
assert 28.5 < groups.loc["prefill_fwd FlashAttention-2 H100_SXM5_80G", "serial sum"] < 29.5
assert set(groups.index[groups["within limit"] != True]) == {
    "decode FlashAttention-3 FP8 decode H200_SXM_141G KV < 64 MB",
    "decode FlashAttention-3 FP8 decode H200_SXM_141G KV >= 64 MB",
}
assert rows["predicted, µs"].between(10, 55_000).all() and rows["measured, µs"].between(10, 55_000).all()
fp8 = missed[missed.index.str.startswith("to2132-h200-fa3-fp8")]
assert len(fp8) == len(missed) - 1 == 3
assert fp8["error, %"].between(-59.5, -29.5).all()
assert fp8["missing, µs"].between(17.5, 27.5).all()
longest = rows.loc["to2132-h200-fa3-fp8-s262144"]
assert longest["status"] == "pass" and 19.5 < longest["measured, µs"] - longest["predicted, µs"] < 20.5
assert fp8["why"].str.contains("not modelled").all()
assert -31.5 < missed.loc["fa3fig-h100-triton-d64-c-s512", "error, %"] < -30.5
assert pair["measured, µs"].is_monotonic_increasing and not pair["predicted, µs"].is_monotonic_increasing
passed = signed.drop(index=groups.index[groups["within limit"] != True], level="group")
biased = passed[(passed["size"] > 1) & (passed["max"] < 0)]
assert set(biased["mean"].round().astype(int)) == {-2, -6, -10}
assert [(name.split()[1], causal) for name, causal in biased.index] == [
    ("cuDNN", True), ("FlashAttention-2", False), ("FlashAttention-2", True), ("FlashMLA", True)
]
assert list(prefill["mean"].round().astype(int)) == [8, 6, 5, 3, 3, 4]
assert prefill["mean"].iloc[:5].is_monotonic_decreasing
assert {point.shape["D"] for point in points if lengths.get(point.id) == 16384} == {64}
""",
    "constant_state": """
assert found[["memory_bytes", "seconds", "energy_j"]].notna().all(axis=None)
plain = tables["memory_bytes"].loc[["linear", "ssd", "gated_delta", "legendre"]]
assert plain.min(axis=None) >= 256 and plain.max(axis=None) < 270, "bytes hardly ask for the chip"
assert tables["memory_bytes"].loc["mixture"].between(3 * 256, 3 * 260).all()
assert (tables["memory_bytes"].loc[["bmojo", "infini"]] > 1000).all(axis=None)
ratios = tables["seconds"] / tables["memory_bytes"]
assert (ratios.loc["legendre"] > 1.5).all(), "vector work binds everywhere"
assert ratios.loc[["linear", "ssd", "gated_delta"]].median(axis=None) < 1.2
assert result.cycles == closed and deepest <= 8
""",
    "kv_policies": """
dropping = ["snapkv", "h2o", "tova", "streaming_llm"]
looking = ["quest", "snapkv", "h2o", "tova"]
assert names == ["full", *looking, "streaming_llm"] and work.layers == 32
assert costs.loc[[*looking, "streaming_llm"], "keys read"].between(4096, 4098).all(), "an equal budget"
assert costs.loc["full", "keys read"] == 32768
assert costs.loc["full", "moved, GB"].round(1) == 4.3
assert 7.95 < gains.loc[1, "fewer bytes"] < 8.05 and 6.25 < gains.loc[1, "speed-up"] < 6.35
assert chip.accelerator.cores == 132 and (cores["full"], cores["snapkv"]) == (120, 88)
assert costs.loc["quest", "kept, GB"] == costs.loc["full", "kept, GB"]
assert (costs.loc["quest", "moved, GB"] / costs.loc[dropping, "moved, GB"]).between(1.45, 1.55).all()
slower = 100 * (costs["time, µs"] / costs.loc["snapkv", "time, µs"] - 1)
assert (round(slower["h2o"]), round(slower["tova"])) == (15, 12) and abs(slower["streaming_llm"]) < 1
assert qualities.loc[looking, "heavy hitter"].min() > 0.8
assert 0.5 < qualities.loc["streaming_llm", "heavy hitter"] < 0.65
assert (qualities.loc["full"] >= 1).all()
assert (qualities.loc[["snapkv", "h2o", "tova"], "passkey aware"] == 1).all()
assert (qualities.loc[["snapkv", "h2o", "tova"], "passkey agnostic"] <= 0.2).all()
assert qualities.loc["quest", ["passkey aware", "passkey agnostic"]].between(0.7, 0.8).all()
assert (apart[looking] < 2).all() and apart["streaming_llm"] > 2
assert front.loc[["full", "snapkv"]].all(axis=None)
assert front.loc["quest"].to_list() == [False, True, True]
assert gains.loc[16, "cores"] > gains.loc[1, "cores"]
assert gains.loc[16, "speed-up"] > 0.95 * gains.loc[16, "fewer bytes"]
""",
}


def test_claims_are_about_notebooks():
    assert set(CLAIMS) == {path.stem for path in FOLDER.glob("*.py")}


@pytest.mark.parametrize("name", CLAIMS)
def test_notebook_runs_and_its_claims_hold(name, tmp_path):
    reason = "notebooks need the extra 'notebooks': pip install attnflow[notebooks]"
    jupytext = pytest.importorskip("jupytext", reason=reason)
    nbclient = pytest.importorskip("nbclient", reason=reason)
    pytest.importorskip("ipykernel", reason=reason)
    from nbformat.v4 import new_code_cell

    notebook = jupytext.read(FOLDER / f"{name}.py")
    shown = len(notebook.cells)
    notebook.cells.append(new_code_cell(CLAIMS[name]))
    client = nbclient.NotebookClient(notebook, timeout=TIMEOUT_S, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    outputs = [output for cell in notebook.cells[:shown] for output in cell.get("outputs", [])]
    kinds = {kind for output in outputs for kind in output.get("data", {})}
    assert PLOTLY in kinds, "no figure was shown"
    assert any("<table" in output.get("data", {}).get("text/html", "") for output in outputs), "no table was shown"
    assert not [output for output in outputs if output.get("name") == "stderr"]
    assert not undrawn(outputs), "figures that a page exported from the notebook has no picture of"


def undrawn(outputs):
    """Places of figures that a plain page cannot draw without a network: without HTML, or not behind plotly.js."""
    pages = [output.get("data", {}).get("text/html", "") for output in outputs]
    libraries = [i for i, page in enumerate(pages) if len(page) > LIBRARY_BYTES and "plotly.js v" in page]
    assert len(libraries) == 1, "plotly.js is in a notebook once, as it has megabytes"
    figures = [i for i, output in enumerate(outputs) if PLOTLY in output.get("data", {})]
    return [i for i in figures if i < libraries[0] or "Plotly.newPlot(" not in pages[i]]
