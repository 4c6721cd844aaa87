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
# # A constant state against a growing cache
#
# Attention keeps every key and value. Linear attention, the delta rule, Mamba-2, Titans and others keep a state whose
# size does not depend on the context. A short context is cheaper with a cache, a long one with a state. This notebook
#
# 1. asks from which context on each of them moves less, on six chips,
# 2. does the same for time and for energy, and
# 3. runs one of them as a graph of FIFOs over a million tokens.

# %%
import pandas as pd
import plotly.graph_objects as go
import plotly.io

import attnflow
from algorithms.registry import get_algorithm
from algorithms.state.streams import StateStreamParameters, stream_cycles
from algorithms.workload.one_head import ONE_HEAD_CAUSAL
from simulator import simulate
from simulator.explain.depths import advise_depths
from studies.points.point import ChipSetting
from studies.quality.crossover import crossovers

# with plotly.js in the notebook: pages exported from it draw the figures as well, without a network
plotly.io.renderers.default = "plotly_mimetype+notebook"

CHIPS = ("h100", "a100_sxm4_80g", "h200_sxm_141g", "b200", "mi300x", "jetson_agx_orin_64g")
RULES = ("linear", "ssd", "gated_delta", "legendre", "titans", "mixture", "bmojo", "infini")

# %% [markdown]
# ## One layer, one token
#
# Heads of Llama-3-8B (32 query heads share 8 of keys and values, 128 wide), 16 sequences, caches in bfloat16 and states
# in float32. A step with a state costs the same at every context, one with a cache costs more with every token; the
# crossover is the first context at which the cache costs more.

# %%
work = attnflow.load_workload("llama3-8b").with_(batch=16, dtype="bfloat16")
settings = [ChipSetting(attnflow.load_chip(name)) for name in CHIPS]
rows = list(crossovers(work, settings, RULES))
found = pd.DataFrame([{"chip": row.chip, "rule": row.rule, **row.contexts} for row in rows])
tables = {goal: found.pivot(index="rule", columns="chip", values=goal).loc[list(RULES)] for goal in rows[0].contexts}
tables["memory_bytes"]

# %% [markdown]
# Bytes hardly ask for the chip: a state of 128 x 128 numbers in float32, read and written, is as much as 256 keys and
# values in bfloat16. Three memories of a mixture are three times that. B'MOJO and Infini-attention keep a window as
# well, which is read in every step.
#
# ## Time and energy

# %%
tables["seconds"]

# %%
tables["energy_j"]

# %%
figure = go.Figure()
for rule in RULES:
    ratio = tables["seconds"].loc[rule] / tables["memory_bytes"].loc[rule]
    figure.add_bar(name=rule, x=list(ratio.index), y=list(ratio))
figure.update_layout(
    barmode="group", yaxis={"title": "crossover in time over that in bytes", "type": "log"}, height=420
)
figure

# %% [markdown]
# Where bytes bind, both crossovers are close. The Legendre memory multiplies its coefficients by a dense matrix in each
# step: it pays later in time than in bytes on every chip, as all of that is work for vector lanes.
#
# ## As a graph of FIFOs
#
# A token of linear attention occupies the memory for as long as its multiply-adds take. No FIFO grows with the
# sequence, and a million tokens are skipped to the closed form.

# %%
algorithm = get_algorithm("state.linear")
long = ONE_HEAD_CAUSAL.with_(q_len=1 << 20, kv_len=1 << 20)
result = simulate(algorithm.build(long, algorithm.parameters()), timing_only=True)
closed = stream_cycles("linear", long, StateStreamParameters())
short = ONE_HEAD_CAUSAL.with_(q_len=256, kv_len=256)
depths = advise_depths(algorithm.build(short, algorithm.parameters()).freeze())
deepest = max(channel.full_rate_depth for channel in depths.channels)
pd.DataFrame({"cycles": [result.cycles], "closed form": [closed], "deepest FIFO": [deepest]})

# %% [markdown]
# What this does not show: what a state forgets. Costs are those of one layer, without projections, which both have.
