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
# # KV policies at an equal budget
#
# A decode step of Llama-3-8B at 32 K context reads 4.3 GB of keys and values. Policies read less: they drop keys, or
# keep them and look at some. Here five of them get the same budget, an eighth of the keys. This notebook
#
# 1. lists what each costs in a decode step on an H100,
# 2. asks what each is worth, on streams in which the right answer is known,
# 3. draws quality against time, with the front, and
# 4. says what that does not show.
#
# `attnflow policies` does the same for all registered policies.

# %%
import dataclasses

import numpy as np
import pandas as pd
import plotly.io
from plotly.subplots import make_subplots

import attnflow
from studies.families.chip.evaluate import evaluate_on_chip
from studies.families.metrics import measure
from studies.points.point import ChipSetting
from studies.quality.quality import quality_table
from studies.quality.streams import StreamSize, stream_named
from studies.quality.table import QUALITY_HEADS, QUALITY_TOKENS, Request, policy_table
from studies.search.pareto import non_dominated

# with plotly.js in the notebook: pages exported from it draw the figures as well, without a network
plotly.io.renderers.default = "plotly_mimetype+notebook"

POLICIES = ("full", "quest", "snapkv", "h2o", "tova", "streaming_llm")
# Okabe and Ito's colours, which colour-blind readers can tell apart
PALETTE = ("#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")

# %% [markdown]
# ## The policies
#
# | policy | what it does |
# | --- | --- |
# | `full` | reads every key; no budget limits it |
# | `quest` | keeps every key, and reads the pages whose bound on the score is highest (arXiv:2406.10774) |
# | `snapkv` | drops once, after the prompt, by what its last 32 queries attend (arXiv:2404.14469) |
# | `h2o` | drops at every step, by attention summed over all steps (arXiv:2306.14048) |
# | `tova` | drops at every step, by what the last query attends (arXiv:2401.06104) |
# | `streaming_llm` | keeps the first and the newest keys (arXiv:2309.17453) |

# %%
chip = ChipSetting(attnflow.load_chip("h100"))
work = attnflow.load_workload("llama3-8b").with_(dtype="bfloat16")
request = Request(work, (chip,), contexts=(32_768,), share=1 / 8, samples=8, policies=POLICIES)
cells = policy_table(request)
table = pd.DataFrame({cell.policy: cell.metrics for cell in cells}).T
names = list(table.index)
colours = dict(zip(names, PALETTE, strict=True))

# %% [markdown]
# ## What they cost
#
# All 32 layers of a decode step, at a batch of one: attention and what the policy does, without the rest of the model.

# %%
costs = pd.DataFrame(
    {
        "keys read": table["kv.attended"],
        "kept, GB": table["kv.near_bytes"] / 1e9,
        "moved, GB": table["memory_bytes"] / 1e9,
        "time, µs": table["seconds"] * 1e6,
        "energy, mJ": table["energy_j"] * 1e3,
    }
).astype(float)
costs["speed-up"] = costs["time, µs"]["full"] / costs["time, µs"]
costs.round(2)

# %% [markdown]
# Three things that "an eighth of the keys" does not say:
#
# - **An eighth of the bytes is not an eighth of the time.** SnapKV moves 8.0 times fewer bytes and is 6.3 times faster.
#   What is left to do keeps 88 of the 132 cores busy, where full attention has work for 120.
# - **Equal keys read are not equal bytes kept.** Quest keeps everything, and to choose it reads a minimum and a maximum
#   of each page, so it moves half as much again as those that drop.
# - **Choosing at every step costs time.** H2O and TOVA write and rank scores in every step, and take 15 and 12 % longer
#   than SnapKV, which chose once. StreamingLLM chooses by position and is within 1 % of SnapKV.

# %%
cores = table["cores_used"].astype(int)
cores.to_frame("cores used")

# %% [markdown]
# ## What they are worth
#
# Attention outputs on synthetic streams of 1,024 tokens, at the same share of keys, on a scale on which `random` is 0
# and an oracle that reads the most attended keys of the question is 1; full attention is above it. Passkeys are the
# share of needles found, asked for by a question that was part of the prompt (*aware*) or came after it (*agnostic*).

# %%
qualities = table.filter(like="quality.").drop(columns="quality.captured").astype(float)
qualities.columns = [name.removeprefix("quality.").replace("_", " ") for name in qualities.columns]
qualities.round(2)

# %% [markdown]
# On a stream with heavy hitters, those that look at attention keep most of what matters, and StreamingLLM, which looks
# at positions, keeps little more than half. When the question was in the prompt, SnapKV, H2O and TOVA find every
# passkey. When it comes later, they have dropped most needles, and find at most one in five. Quest finds three in four
# either way, for it has lost nothing.
#
# The four that look at attention are close to each other on heavy hitters: with eight samples, none is two standard
# errors of the difference away from SnapKV.

# %%
stream = stream_named("heavy_hitter", StreamSize(QUALITY_TOKENS, QUALITY_HEADS))
judged = quality_table(POLICIES, stream, request.budget(QUALITY_TOKENS), request.samples)
spread = pd.DataFrame(
    {
        row.policy: {
            "attention on the keys read": row.mass_recall.mean,
            "error of the output": row.relative_error.mean,
            "standard error": row.relative_error.standard_error,
        }
        for row in judged
        if row.mass_recall and row.relative_error
    }
).T
error, deviation = spread["error of the output"], spread["standard error"]
apart = (error - error["snapkv"]).abs() / np.hypot(deviation, deviation["snapkv"])
spread.assign(**{"standard errors from snapkv": apart}).round(2)

# %% [markdown]
# ## Quality against time
#
# Lines join the policies that no other beats in both.

# %%
SHOWN = ("heavy hitter", "drift", "passkey agnostic")
front = pd.DataFrame(
    {goal: non_dominated(np.column_stack([costs["time, µs"], -qualities[goal]]).astype(np.float64)) for goal in SHOWN},
    index=names,
)
figure = make_subplots(cols=len(SHOWN), subplot_titles=SHOWN)
for column, goal in enumerate(SHOWN, start=1):
    best = costs[front[goal]].sort_values("time, µs")
    line = {"color": "lightgrey", "shape": "hv"}
    figure.add_scatter(
        x=best["time, µs"],
        y=qualities.loc[best.index, goal],
        mode="lines",
        line=line,
        showlegend=False,
        col=column,
        row=1,
    )
    for name in names:
        figure.add_scatter(
            x=[costs.loc[name, "time, µs"]],
            y=[qualities.loc[name, goal]],
            mode="markers",
            name=name,
            marker={"color": colours[name], "size": 10},
            showlegend=column == 1,
            legendgroup=name,
            col=column,
            row=1,
        )
figure.update_xaxes(title="time of a step, µs", type="log")
figure.update_yaxes(title="quality", col=1)
figure.update_layout(template="simple_white", height=420)
figure

# %%
front

# %% [markdown]
# SnapKV and full attention are the ends of every front. Whether Quest lies between them depends on the question: with
# heavy hitters it does not; when what matters moves on (*drift*) or is asked for late (*passkey agnostic*) it does, if
# the memory has room for all keys.
#
# ## Larger batches
#
# With sixteen sequences the cores are busier, and a policy's share of the bytes is nearly its share of the time.

# %%
measured = {}
for cell in cells:
    if cell.policy in ("full", "snapkv") and cell.point and cell.point.workload:
        point = dataclasses.replace(cell.point, workload=cell.point.workload.with_(batch=16))
        measured[cell.policy] = measure(evaluate_on_chip(point))
batch = pd.DataFrame(measured).T[["memory_bytes", "seconds", "cores_used"]].astype(float)
moved, bytes_of, seconds = costs["moved, GB"], batch["memory_bytes"], batch["seconds"]
gains = pd.DataFrame(
    {
        "fewer bytes": [moved["full"] / moved["snapkv"], bytes_of["full"] / bytes_of["snapkv"]],
        "speed-up": [costs["speed-up"]["snapkv"], seconds["full"] / seconds["snapkv"]],
        "cores": [cores["snapkv"], batch["cores_used"]["snapkv"]],
    },
    index=pd.Index([1, 16], name="batch"),
)
gains.round(2)

# %% [markdown]
# ## What this does not show
#
# - Synthetic attention has no meaning. These are properties of selection rules, and not of a model's answers.
# - Qualities are those of 1,024 tokens, costs those of 32,768: the same share of a longer text may be worth another.
# - Costs are those of one decode step. What a policy spends on the prompt, as SnapKV and H2O do, is not among them.
