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
# # Latent attention: one block, many orders of operations
#
# Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434) caches a narrow latent in place of keys and values. Its
# up-projections can be applied to the cache or be moved to queries and results, one after the other or as composites,
# made once or in every step. All orders compute the same; they differ in FLOP and bytes, and so in where they are fast.
# This notebook
#
# 1. lists what the orders cost in a decode step of DeepSeek-V3, and what they take on an H100,
# 2. runs them on chips from an edge module to a B200, against plain attention in their place,
# 3. makes the memory of a chip faster and slower, and
# 4. looks for the points at which one order overtakes another.
#
# Every time comes from a plan that is simulated tile by tile. Nothing is fitted: chips are as their data sheets say.

# %%
import pandas as pd
import plotly.graph_objects as go
import plotly.io

import attnflow
from algorithms.chip.latent.blocks import get_block
from algorithms.chip.latent.fit import BlockParameters
from studies.reproductions.mla_study import (
    CHIPS,
    absorption_point,
    arithmetic_alone,
    cost,
    decode_step,
    over_bandwidth,
    over_chips,
    reuse_ridge,
    reuse_ridge_by_launch,
)
from studies.validate.mla.formulas import absorption_crossover, reuse_crossover

# with plotly.js in the notebook: pages exported from it draw the figures as well, without a network
plotly.io.renderers.default = "plotly_mimetype+notebook"

ORDERS = ("block.mha", "block.gqa", "mla.kvcache", "mla.exp", "mla.seq", "mla.rc", "mla.ru")
# Okabe and Ito's colours, which colour-blind readers can tell apart
PALETTE = ("#000000", "#999999", "#56b4e9", "#d55e00", "#009e73", "#cc79a7", "#e69f00")
COLOURS = dict(zip(ORDERS, PALETTE, strict=True))
h100 = attnflow.load_chip("h100_sxm5_80g")

# %% [markdown]
# ## What an order costs
#
# A decode step: one new token, 4,096 tokens in the cache. Expanding keys and values of the whole cache takes a hundred
# times the FLOP of absorbing; a composite of two projections costs FLOP if it is made anew and bytes if it is read.

# %%
step = decode_step(batch=1, context=4096)
rows = {}
for order in ORDERS:
    counters = get_block(order).block_plan(step, BlockParameters(), h100).counters
    rows[order] = {
        "GFLOP": counters.flops / 1e9,
        "weights, MB": counters.weight_bytes / 1e6,
        "cache, MB": counters.cache_read_bytes / 1e6,
        "time, µs": cost(order, step, h100).seconds * 1e6,
        "energy, mJ": cost(order, step, h100).energy_j * 1e3,
    }
orders = pd.DataFrame(rows).T
orders.round(2)

# %% [markdown]
# ## Chips
#
# Tokens per second of one layer, relative to multi-head attention on the same chip.

# %%
chips = pd.DataFrame(
    [
        {
            "chip": found.chip,
            "order": found.order,
            "ridge": found.ridge,
            "intensity": found.intensity,
            "us": found.seconds * 1e6,
            "mJ": found.energy_j * 1e3,
        }
        for found in over_chips(ORDERS, step)
    ]
)
times = chips.pivot(index="chip", columns="order", values="us")[list(ORDERS)].loc[list(CHIPS)]
speed_up = times.rdiv(times["block.mha"], axis=0)
speed_up.round(2)

# %%
figure = go.Figure(
    [go.Bar(x=speed_up.index, y=speed_up[order], name=order, marker_color=COLOURS[order]) for order in ORDERS]
)
figure.update_layout(title="Speed over multi-head attention, batch 1", yaxis_title="times", template="simple_white")
figure

# %% [markdown]
# Applying the factors one after the other (`mla.seq`) wins everywhere: it never moves more bytes than rebuilding the
# composite and never does more FLOP than reading it. Between those two the ridge of the chip decides: FLOP are cheap
# on an H100 and dear on an H20, whose memory is as fast but whose arrays are cut. Rebuilding takes room, too: where a
# core has no more than two steps of a composite at a time, loads wait until it is done with one. On an MI300X that is
# all that its local memory holds; for FLAT's cloud accelerator it is what the latency of the memory asks for.

# %%
ridges = chips.drop_duplicates("chip").set_index("chip")["ridge"]
rebuild = pd.DataFrame({"ridge, FLOP/B": ridges, "rc over ru": times["mla.ru"] / times["mla.rc"]})
rebuild.sort_values("ridge, FLOP/B").round(2)

# %% [markdown]
# ## Bandwidth
#
# At a batch of 128 the cache is most of the bytes of plain attention, and a small part for the latent: a slower memory
# hurts it less.

# %%
factors = (0.0625, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
bandwidth = pd.DataFrame(
    [
        {"GB/s": rate / 1e9, "order": found.order, "tokens/s": found.tokens_per_second}
        for rate, found in over_bandwidth(ORDERS, decode_step(128, 4096), h100, factors)
    ]
).pivot(index="GB/s", columns="order", values="tokens/s")[list(ORDERS)]
figure = go.Figure(
    [
        go.Scatter(x=bandwidth.index, y=bandwidth[order], mode="lines+markers", name=order, line_color=COLOURS[order])
        for order in ORDERS
    ]
)
figure.update_layout(
    title="Tokens per second of one layer, batch 128, H100 cores",
    xaxis={"title": "memory bandwidth, GB/s", "type": "log"},
    yaxis={"title": "tokens per second", "type": "log"},
    template="simple_white",
)
figure

# %% [markdown]
# ## Crossovers
#
# With more new tokens per sequence, expanding pays: its cost is one of the cache and not of the tokens. By FLOP alone
# the two meet at some 150 tokens; tiles, waves of work, softmax and memory move that point.

# %%
contexts = (1024, 4096, 32768)
absorb = pd.DataFrame(
    {
        "equal FLOP": [absorption_crossover(decode_step(1, context)) for context in contexts],
        "only matrix arrays bind": [absorption_point(arithmetic_alone(h100), context) for context in contexts],
        "H100": [absorption_point(h100, context) for context in contexts],
    },
    index=pd.Index(contexts, name="tokens in the cache"),
)
absorb.round(0)

# %% [markdown]
# Rebuilding a composite beats reading it above a certain ridge. A roofline of the whole block puts that ridge too low:
# it lets the rebuilding hide behind loads of launches that are not running at the time.

# %%
settings = ((1, 1024), (32, 4096), (128, 4096))
reuse = pd.DataFrame(
    {
        "one roofline": [reuse_crossover(decode_step(*setting)) for setting in settings],
        "roofline by launch": [reuse_ridge_by_launch(h100, decode_step(*setting)) for setting in settings],
        "simulated": [reuse_ridge(h100, decode_step(*setting)) for setting in settings],
    },
    index=pd.MultiIndex.from_tuples(settings, names=["batch", "tokens in the cache"]),
)
reuse.round(0)
