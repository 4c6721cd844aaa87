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
# # Streaming attention, and how deep its FIFOs must be
#
# Attention can be computed as a stream: queries, keys and values flow through a pipeline of units joined by FIFOs, and
# no matrix of scores is ever stored. How the softmax is arranged decides how much the FIFOs must hold. This notebook
#
# 1. simulates the naive arrangement cycle by cycle and looks at where its cycles go,
# 2. makes its one long FIFO too shallow, until the design deadlocks, and lets the simulator say why,
# 3. asks how deep the FIFOs of all four arrangements must be as sequences grow, and
# 4. sweeps a small design space into a pandas frame, and writes a report.
#
# The four arrangements are those of Sohn, Zhang and Olukotun, *Implementing and Optimizing the Scaled Dot-Product
# Attention on Streaming Dataflow*, arXiv:2404.16629.
#
# Open this file in Jupyter with jupytext, or run it as a script: `python studies/notebooks/streaming_sdpa.py`.

# %%
import tempfile
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import plotly.io

import attnflow
from simulator.explain.depths import advise_depths
from studies.families.graph.evaluate import build_graph, evaluate_graph
from studies.points.point import DesignPoint
from studies.report import write_report
from studies.report.frame import frame
from studies.running.runner import InlineExecutor
from studies.search.sweep import run_sweep
from studies.store.store import Store
from studies.study.resolve import read_study

# with plotly.js in the notebook: pages exported from it draw the figures as well, without a network
plotly.io.renderers.default = "plotly_mimetype+notebook"

VARIANTS = ("sdpa.naive", "sdpa.scaled", "sdpa.reordered", "sdpa.memory_free")
# Okabe and Ito's colours, which colour-blind readers can tell apart
COLOURS = dict(zip(VARIANTS, ("#0072b2", "#e69f00", "#009e73", "#cc79a7"), strict=True))

# %% [markdown]
# ## One run
#
# A design point is an algorithm, its parameters and a workload. Here: one head of 64 queries and 64 keys, head
# dimension 16, rows of Q, K and V as tokens. The result is compared with float64 attention computed elsewhere.


# %%
def design(algorithm: str, seq_len: int, **parameters: int) -> DesignPoint:
    """A design on one head of `seq_len` tokens; parameters that are not named keep their defaults."""
    return attnflow.design(algorithm, seq_len=seq_len, head_dim=16, **parameters)


run = evaluate_graph(design("sdpa.naive", 64))
if run.deviation:
    print(f"{run.result.cycles} cycles, relative error {run.deviation.rel_l2:.1e}")
run.result

# %% [markdown]
# 64 x 64 = 4,096 scores pass at one per cycle, and the pipeline needs a row more to fill: the divider cannot start
# before the sum of the first row is known. Until then the weights of that row wait in `weights_fifo`.

# %%
pd.DataFrame([channel.to_dict() for channel in run.result.channels]).set_index("name")[
    ["depth", "peak_occupancy", "bytes"]
]

# %% [markdown]
# ## A FIFO too shallow
#
# What if `weights_fifo` is shallower than a row? `long_depth` sets its depth.

# %%
depths = range(60, 73)
results = {depth: evaluate_graph(design("sdpa.naive", 64, long_depth=depth)).result for depth in depths}
outcome = pd.DataFrame(
    {
        "cycles": {depth: None if result.deadlock else result.cycles for depth, result in results.items()},
        "deadlock": {depth: result.deadlock is not None for depth, result in results.items()},
    }
).rename_axis("depth of weights_fifo")
outcome

# %%
running, stuck = outcome[~outcome["deadlock"]], outcome[outcome["deadlock"]]
figure = go.Figure(
    [
        go.Scatter(x=running.index, y=running["cycles"], mode="lines+markers", name="runs", line_color="#0072b2"),
        go.Scatter(
            x=stuck.index,
            y=[running["cycles"].max()] * len(stuck),
            mode="markers",
            name="deadlock",
            marker={"symbol": "x", "color": "#d55e00", "size": 9},
        ),
    ]
)
figure.update_layout(
    title="One FIFO decides", xaxis_title="depth of weights_fifo", yaxis_title="cycles", template="simple_white"
)
figure

# %% [markdown]
# Below a row the design stops for good. The simulator names who waits for whom, and the depth that would free them.

# %%
shallow = results[60].deadlock
print(shallow)
least = shallow.remedy["weights_fifo"] if shallow else 0
least

# %% [markdown]
# A row (64 slots) is enough to run, a few more are needed to run at full rate: slots are reserved when a result is on
# its way and come back only after it was taken. From there on more depth buys nothing.

# %%
full_rate = running["cycles"].idxmin()
full_rate

# %% [markdown]
# ## O(N) or O(1)
#
# The depth advice finds, for every FIFO at once, the smallest depths that run and the smallest that run at full rate.
# The naive, scaled and reordered variants hold whole rows; the memory-free variant keeps a running maximum and rescales
# what it has accumulated, so its FIFOs stay as they are however long the sequence gets.

# %%
lengths = (32, 64, 128, 256)
advice = pd.DataFrame(
    [
        {
            "algorithm": algorithm,
            "seq_len": seq_len,
            "bytes": advise_depths(build_graph(design(algorithm, seq_len)).freeze()).total_bytes,
        }
        for algorithm in VARIANTS
        for seq_len in lengths
    ]
).pivot(index="seq_len", columns="algorithm", values="bytes")[list(VARIANTS)]
advice

# %%
figure = go.Figure(
    [
        go.Scatter(x=advice.index, y=advice[name], mode="lines+markers", name=name, line_color=COLOURS[name])
        for name in VARIANTS
    ]
)
figure.update_layout(
    title="FIFO memory at full rate", xaxis_title="sequence length", yaxis_title="bytes", template="simple_white"
)
figure

# %%
growth = advice.diff().dropna().div(pd.Series(lengths).diff().dropna().to_numpy(), axis=0)
growth.rename_axis("bytes per further token, up to")

# %% [markdown]
# ## A small design space
#
# How many lanes do the exponential and the divider need when one lane takes 8 and 16 cycles? A study file lists the
# axes; the sweep stores every point and could be stopped and continued at any time.

# %%
folder = Path(tempfile.mkdtemp())
study_file = folder / "lanes.yaml"
study_file.write_text(
    """
name: lanes
title: Lanes of a naive pipeline
algorithm: sdpa.naive
workload: {seq_len: 64, head_dim: 16}
timing_only: true
parameters: {exp_cycles: 8, div_cycles: 16}
axes:
  exp_lanes: [1, 2, 4, 8]
  div_lanes: [1, 2, 4, 8, 16]
  fifo_depth: [2, 4]
"""
)
study = read_study(study_file)
store = folder / "lanes.sqlite"
run_sweep(study, store, workers=1, quiet=True, open_executor=lambda workers: InlineExecutor())
with Store(store) as opened:
    rows = list(opened.rows())
table = frame(rows)
table.nsmallest(5, ["cycles", "fifo.capacity_bytes"])[
    ["exp_lanes", "div_lanes", "fifo_depth", "cycles", "fifo.capacity_bytes", "busiest.unit"]
]

# %% [markdown]
# Both units must keep up with one score per cycle: 8 lanes for the exponential *and* 16 for the divider. Fewer lanes in
# one of them make lanes in the other useless, since the slower of the two sets the rate.

# %%
cycles = table[table["fifo_depth"] == 2].pivot(index="exp_lanes", columns="div_lanes", values="cycles")
cycles

# %%
figure = go.Figure(
    go.Heatmap(
        z=cycles.to_numpy(),
        x=[str(lanes) for lanes in cycles.columns],
        y=[str(lanes) for lanes in cycles.index],
        colorscale="Cividis_r",
        colorbar_title="cycles",
        texttemplate="%{z:,}",
    )
)
figure.update_layout(
    title="Cycles by lanes", xaxis_title="lanes of the divider", yaxis_title="lanes of the exponential"
)
figure

# %% [markdown]
# The same rows make a report: one file that opens offline, with every point, its stalls, its FIFOs and the command that
# reproduces it.

# %%
report = folder / "lanes.html"
write_report(rows, report, study.title)
print(f"{len(rows)} points in {report.name}, {report.stat().st_size / 1e6:.1f} MB")
