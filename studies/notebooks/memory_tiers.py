# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Memory tiers: what a DRAM sustains, and why
#
# A data sheet gives the peak rate of a memory. What is left of it depends on the order of addresses: rows must be
# opened, banks rest between rows, bank groups between commands, and now and then everything is refreshed. This notebook
#
# 1. shows what is known about a tier,
# 2. probes tiers with addresses in order, at random, and in runs,
# 3. sends keys and values to DDR4 in turn, under two mappings of addresses to banks,
# 4. holds closed forms against the simulation, and
# 5. lets a streaming attention pipeline load its keys and values from a tier.
#
# Tiers are simulated command by command. Their timings come from data sheets and published simulators.

# %%
from dataclasses import replace

import pandas as pd
import plotly.graph_objects as go
import plotly.io

import attnflow
from algorithms.memory.probe import probe
from algorithms.memory.probe_parameters import Pattern, ProbeParameters
from algorithms.memory.tier_report import CAUSES, Fidelity, TierReport
from studies.families.graph.evaluate import evaluate_graph
from studies.points.point import DesignPoint

# with plotly.js in the notebook: pages exported from it draw the figures as well, without a network
plotly.io.renderers.default = "plotly_mimetype+notebook"

TIERS = ("hbm2", "hbm3", "ddr4_3200")
ATTENDED = ("hbm2", "ddr4_3200", "ddr4_3200_group_low")
# Okabe and Ito's colours, which colour-blind readers can tell apart
COLOURS = dict(zip((*TIERS, "ddr4_3200_group_low"), ("#0072b2", "#009e73", "#d55e00", "#e69f00"), strict=True))
CAUSE_COLOURS = dict(
    zip(CAUSES, ("#999999", "#f0e442", "#e69f00", "#cc79a7", "#009e73", "#d55e00", "#56b4e9", "#000000"), strict=True)
)
TRANSACTIONS = 40_000

# %% [markdown]
# ## A tier
#
# `attnflow show tier hbm2` prints every timing with its source; in a notebook a tier shows its card.

# %%
attnflow.load_tier("hbm2")

# %% [markdown]
# ## What is left of the peak
#
# A probe sends reads as fast as the tier accepts them, and reports the rate and what the rest was lost to. The causes
# make up the gap exactly. Addresses in order:


# %%
PROBE = ProbeParameters(transactions=TRANSACTIONS)


def probed(tier: str, pattern: Pattern, length: int = PROBE.run_bytes, fidelity: Fidelity = "cycle") -> TierReport:
    """The report of a probe of runs of `length` bytes."""
    return probe(replace(PROBE, tier=tier, pattern=pattern, run_bytes=length, fidelity=fidelity))


in_order = {tier: probed(tier, "sequential") for tier in TIERS}
in_order["hbm2"]

# %%
at_random = {tier: probed(tier, "random") for tier in TIERS}
order = pd.DataFrame(
    {
        "in order, %": {tier: 100 * report.utilisation for tier, report in in_order.items()},
        "in order, lost to": {tier: report.limiter for tier, report in in_order.items()},
        "at random, %": {tier: 100 * report.utilisation for tier, report in at_random.items()},
        "at random, lost to": {tier: report.limiter for tier, report in at_random.items()},
    }
)
order.round(1)

# %% [markdown]
# Single transactions at random leave HBM less than a third of its peak: every one of them opens a row, and a bank is
# busy with its row for far longer than with the data. DDR4 is the other way round. In order it loses a third: its
# columns are in the lowest bits of an address, so that neighbours are in one bank group, which takes a command only
# every second burst. Random addresses spread over the groups.
#
# ## How long must a run be?
#
# Sparse attention and paged caches gather runs of keys from anywhere.

# %%
lengths = [64 * 4**power for power in range(6)]
gathers = []
for tier in TIERS:
    for length in lengths:
        simulated = probed(tier, "gather", length)
        estimated = probed(tier, "gather", length, "analytic")
        cycle, analytic = 100 * simulated.utilisation, 100 * estimated.utilisation
        row = {"tier": tier, "run_bytes": length, "cycle": cycle, "analytic": analytic}
        gathers.append(row | {"row hits": 100 * (simulated.row_hit_rate or 0)})
runs = pd.DataFrame(gathers)
gather = runs.pivot(index="run_bytes", columns="tier", values=["cycle", "row hits"]).sort_index(axis=1)
gather.round(1)

# %%
figure = go.Figure()
for tier in TIERS:
    some = runs[runs["tier"] == tier]
    for fidelity, dash in (("cycle", "solid"), ("analytic", "dot")):
        line = {"color": COLOURS[tier], "dash": dash}
        figure.add_scatter(
            x=some["run_bytes"], y=some[fidelity], mode="lines+markers", line=line, name=f"{tier}, {fidelity}"
        )
figure.update_layout(
    title="Gathering runs from random places",
    xaxis={"title": "bytes of a run", "type": "log"},
    yaxis={"title": "% of the peak", "rangemode": "tozero"},
    template="simple_white",
)
figure

# %% [markdown]
# The mapping decides. This HBM2 keeps neighbours in one row, and 256 bytes are enough for most of its peak. This HBM3
# spreads them over channels and banks, which is good for a single long stream; runs must reach kilobytes before rows
# are used more than once. On DDR4 long runs are *worse* than short ones: they stay in one bank group.
#
# ## Keys and values in turn
#
# Attention reads two streams at once. Here they take turns on DDR4-3200, 256 bytes each, with the columns in the lowest
# bits of an address, then with the bank groups there.

# %%
mappings = {"columns lowest": "column group bank rank row", "bank groups lowest": "group column bank rank row"}
two = replace(PROBE, tier="ddr4_3200", pattern="streams")
streams = {name: probe(replace(two, mapping=mapping)) for name, mapping in mappings.items()}
gain = streams["bank groups lowest"].utilisation / streams["columns lowest"].utilisation
print(f"{gain:.2f} times the rate")
streams["columns lowest"]

# %%
shares = pd.DataFrame(
    {
        name: {cause: 100 * lost / report.peak_bytes_per_second for cause, lost in report.lost_bytes_per_second.items()}
        for name, report in streams.items()
    }
)
figure = go.Figure()
utilisation = [100 * report.utilisation for report in streams.values()]
figure.add_bar(x=list(streams), y=utilisation, name="data", marker_color="#0072b2")
for cause in CAUSES:
    lost = shares.loc[cause]
    if (lost > 0.05).any():
        figure.add_bar(x=lost.index, y=lost, name=cause.replace("_", " "), marker_color=CAUSE_COLOURS[cause])
figure.update_layout(
    title="K and V in turn on DDR4-3200", barmode="stack", yaxis_title="% of the peak", template="simple_white"
)
figure

# %% [markdown]
# More than twice the rate from the same chips. With the columns lowest, both streams walk through the same bank, in
# different rows: the bank closes one row and opens the other again and again, and commands to one group must keep
# their distance. With the groups lowest, neighbours are in four groups, and neither costs anything to speak of.
#
# ## Closed forms
#
# `fidelity="analytic"` looks at a sample of the addresses, and in every stretch of it for the busiest of bus, bank
# groups and banks. Here it is within a few per cent in most cases; the worst is the one above, where several causes
# meet.

# %%
checked: dict[str, tuple[Pattern, int]] = {
    "sequential": ("sequential", PROBE.run_bytes),
    "random": ("random", PROBE.run_bytes),
    "streams 256 B": ("streams", 256),
    "streams 8192 B": ("streams", 8192),
}
rows = [
    {
        "tier": tier,
        "pattern": name,
        "cycle": 100 * probed(tier, *asked).utilisation,
        "analytic": 100 * probed(tier, *asked, "analytic").utilisation,
    }
    for tier in TIERS
    for name, asked in checked.items()
]
gathered = runs.assign(pattern=runs["run_bytes"].map("gather {} B".format))
closed = pd.concat([pd.DataFrame(rows), gathered])[["tier", "pattern", "cycle", "analytic"]]
closed = closed.set_index(["tier", "pattern"])
closed["error, %"] = 100 * (closed["analytic"] / closed["cycle"] - 1)
error = closed["error, %"].abs()
print(f"error: median {error.median():.1f} %, nine in ten below {error.quantile(0.9):.1f} %")
closed.round(1)

# %% [markdown]
# ## Attention on a tier
#
# A streaming pipeline takes a key and a value per cycle. At 1 GHz, with rows of 128 float16 elements, that is 512 GB/s:
# twice the peak of this HBM2 and twenty times that of a DDR4 channel. Its cycles must lie between two bounds: computing
# or moving all bytes at the peak, whichever takes longer; and every load alone, then all the computing. How many loads
# are under way at a time decides where.


# %%
HEAD_DIM = 128


def attending(tier: str, under_way: int) -> DesignPoint:
    """The memory-free pipeline with keys and values in `tier`."""
    return attnflow.design(
        "sdpa.memory_free",
        q_len=32,
        kv_len=512,
        head_dim=HEAD_DIM,
        dtype="float16",
        kv_tier=tier,
        kv_outstanding=under_way,
        timing_only=True,
    )


def attention(tier: str, under_way: int) -> dict[str, int | str]:
    """Its cycles and their bounds."""
    run = evaluate_graph(attending(tier, under_way))
    row: dict[str, int | str] = {"tier": tier, "loads under way": under_way, "cycles": run.cycles}
    if bounds := run.memory:
        row |= {"computing": bounds.compute_cycles, "at least": bounds.lower_cycles, "at most": bounds.upper_cycles}
    return row


rows_of_attention = [attention(tier, under_way) for tier in ATTENDED for under_way in (1, 2, 4, 8, 16)]
attended = pd.DataFrame(rows_of_attention).set_index(["tier", "loads under way"])
attended

# %%
figure = go.Figure()
for tier in ATTENDED:
    of_tier = attended.xs(tier)
    for column, dash in (("at most", "dot"), ("cycles", "solid"), ("at least", "dash")):
        line = {"color": COLOURS[tier], "dash": dash}
        mode = "lines+markers" if column == "cycles" else "lines"
        figure.add_scatter(x=of_tier.index, y=of_tier[column], mode=mode, line=line, name=f"{tier}, {column}")
figure.update_layout(
    title="Streaming attention between its bounds",
    xaxis={"title": "loads of K, and of V, under way", "type": "log", "tickvals": list(attended.index.unique(level=1))},
    yaxis={"title": "cycles", "type": "log"},
    template="simple_white",
)
figure

# %% [markdown]
# One load at a time leaves HBM2 waiting: 8 under way are more than four times as fast, and within a tenth of the bound;
# most of that tenth is refresh. The DDR4 channel gains little from more loads: what holds it back are bank groups and
# turns between ranks, not latency. With the bank groups in the lowest bits, which is the tier `ddr4_3200_group_low`,
# 8 loads bring it within a tenth of its bound, too.
