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
# # Five published systems, from question to answer
#
# Does it reproduce X? `attnflow reproduce X` answers with every claim that X made, our figure beside it, the tolerance
# it was held to, and a verdict. What a system runs stands in one file of `studies/reproductions/systems`. This notebook
# asks five of them, and changes what they hang on:
#
# 1. streaming SDPA: does memory-free attention need no memory, at any length?
# 2. latent attention: which order of operations wins, and is it steadier?
# 3. DuoAttention: what do heads that forget save?
# 4. Lamina: does attention belong on cheaper devices?
# 5. StreamingVLM: could its stream run on an edge chip?

# %%
from pathlib import Path
from tempfile import mkdtemp

import pandas as pd
import plotly.graph_objects as go
import plotly.io

import attnflow
from studies.reproductions.judging import JudgedSystem

# with plotly.js in the notebook: pages exported from it draw the figures as well, without a network
plotly.io.renderers.default = "plotly_mimetype+notebook"

store = Path(mkdtemp()) / "systems.sqlite"


def claims(system: JudgedSystem) -> pd.DataFrame:
    """The claims of a judged system as a table."""
    columns = ["metric", "published", "ours", "unit", "tolerance", "verdict", "kind"]
    rows = [claim.describe() for claim in system.claims]
    return pd.DataFrame(rows)[columns].set_index("metric")


# %% [markdown]
# ## Memory-free attention
#
# Four graphs of FIFOs compute the same. Those that hold a row back need a FIFO as long as the row, and deadlock with
# one slot less; the memory-free one does not know how long the row is.

# %%
sdpa = attnflow.reproduce("streaming-sdpa", store)
claims(sdpa)

# %% [markdown]
# ## Orders of latent attention
#
# Two of the values that public notes give do not follow here, and stay in the table: composites made anew are not
# faster on every chip, and their intensity is far above the one noted. Factors applied in turn are where the note puts
# it.

# %%
latent = attnflow.reproduce("mla-analysis", store)
claims(latent)

# %% [markdown]
# ## Heads that forget
#
# Bytes of weights and caches give the memory; steps of whole models give the time of a token; attention of a prompt,
# head by head, gives the time to the first one. Nothing is fitted. With half of the heads as retrieval heads in place
# of a quarter, the saving shrinks as it must.

# %%
duo = attnflow.reproduce("duo-attention", store)
claims(duo)

# %%
shares = [0.125, 0.25, 0.5, 0.75, 1.0]
seconds = {
    share: attnflow.run(
        "model.step",
        model="llama2-7b",
        batch="decode 1 of 100000",
        chip="a100",
        policy=f"duo_attention(retrieval={share},sink=64,recent=256)",
    ).seconds
    for share in shares
}
saved = pd.Series({share: seconds[1.0] / seconds[share] for share in shares}, name="speed-up")
go.Figure(
    go.Scatter(x=shares, y=saved, mode="lines+markers"),
    {"xaxis_title": "share of retrieval heads", "yaxis_title": "speed-up of a token at 100 K"},
)

# %% [markdown]
# ## Attention on cheaper devices
#
# The batch that fits follows from capacities and is the published one. So is the gain in throughput, once the host of
# the serving engine takes the time that its authors measured: GPUs wait for it after every step, while pools that take
# turns have the other half batch. Without a host a large batch of a 70 B model gains nothing, as it is bound by the
# products of two GPUs where four could share them.

# %%
lamina = attnflow.reproduce("lamina", store)
claims(lamina)

# %% [markdown]
# ## A stream on an edge chip
#
# Sinks and windows bound the cache, so a frame costs the same after an hour. On an H100 eight frames a second take a
# fifth of the time at most. What would they take on a Jetson Orin, with a smaller model?

# %%
vlm = attnflow.reproduce("streaming-vlm", store)
claims(vlm)

# %%
steps = {
    (model, chip): (
        attnflow.run("model.step", model=model, chip=chip, batch="frame 1 of 196, extend 49 of 7345").seconds,
        attnflow.run("model.step", model=model, chip=chip, batch="decode 1 of 7345").seconds,
    )
    for model in ("qwen2.5-vl-3b", "qwen2.5-vl-7b")
    for chip in ("h100", "jetson_agx_orin_64g")
}
load = pd.Series({key: 8 * frame + 20 * token for key, (frame, token) in steps.items()}, name="share of a second")
load.index.names = ["model", "chip"]
load.to_frame()

# %% [markdown]
# Above one the stream falls behind. On the edge chip weights, read once per frame and once per token, take most of the
# time: fewer frames, fewer words, or narrower weights are what helps. The whole table, as a page:
#
#     attnflow reproduce --output systems.html
