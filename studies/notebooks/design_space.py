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
# # A design space, from question to decision
#
# *Which chip around an H100 should decode Llama-3-8B at 8 K context, if it must be fast, frugal and small?*
#
# The question is a study file: a workload, a chip, axes over its cores, memory bandwidth, local memory and clock, and
# over how decoding is mapped onto it; three objectives; two constraints. This notebook
#
# 1. sweeps the grid and looks at the front,
# 2. lets an evolutionary search find that front with a fraction of the evaluations,
# 3. confirms the front with a better model of the memory, and
# 4. decides.
#
# The grid of the file has 10,080 designs, which take a minute or two on two cores. Here every other value of three axes
# is left out, which leaves 1,728, unless `ATTNFLOW_FULL=1` is set: the notebook is also a test.

# %%
import dataclasses
import os
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import plotly.io

import attnflow
import studies
from studies.running.runner import available_cpus
from studies.search.confirm import confirm_front
from studies.search.pareto import hypervolume_share
from studies.study.axes import Axis, Space

# with plotly.js in the notebook: pages exported from it draw the figures as well, without a network
plotly.io.renderers.default = "plotly_mimetype+notebook"

# %% [markdown]
# ## The question
# A study shows its axes; `attnflow config show` prints where every value comes from.

# %%
FULL = os.environ.get("ATTNFLOW_FULL") == "1"
study = attnflow.Study.from_yaml(Path(studies.__file__).parent / "configs" / "decode-h100.yaml")
if not FULL:
    coarse = ("chip.cores", "chip.core.sram_bytes", "splits")
    axes = [Axis(axis.name, axis.values[:: 2 if axis.name in coarse else 1]) for axis in study.space.axes]
    study = dataclasses.replace(study, space=Space(tuple(axes)))
study

# %% [markdown]
# ## The whole grid
# The store keeps every point as soon as it is done: a sweep that is stopped goes on where it was.

# %%
folder = Path(tempfile.mkdtemp())
store = folder / "decode.sqlite"
grid = study.sweep(store)
print(f"{grid.summary['evaluated']} designs, {grid.summary['failed']} failed")
table = grid.frame()
table["state"].value_counts()

# %% [markdown]
# Designs on the front: none is better in time, energy or area without being worse in another. Bandwidth is no gift:
# every stack of HBM takes a PHY and a controller on the die, and power while it waits, so that not all have the most.

# %%
varied = [name for name in study.axes if name in table]
goals = [objective.metric for objective in study.objectives]
front = grid.front()
front[varied + goals]

# %%
shown = table[table["state"].isin(["done", "infeasible"])]
figure = go.Figure()
for state, colour in (("infeasible", "lightgrey"), ("done", "steelblue")):
    some = shown[shown["state"] == state]
    dots = {"size": 5, "opacity": 0.5, "color": colour}
    figure.add_scatter(x=some["area_mm2"], y=some["seconds"], mode="markers", name=state, marker=dots)
figure.add_scatter(x=front["area_mm2"], y=front["seconds"], mode="markers", name="front", marker={"color": "black"})
figure.update_layout(xaxis_title="area [mm2]", yaxis_title="time of a step through one layer's attention [s]")
figure

# %% [markdown]
# What each axis does to the time, as medians over all other axes. The memory's bandwidth decides: decoding reads the
# whole cache for every token.

# %%
feasible = table[table["state"] == "done"]
medians = {name: feasible.groupby(name)["seconds"].median() for name in varied}
effect = pd.Series({name: values.max() / values.min() for name, values in medians.items()}).sort_values(ascending=False)
effect

# %% [markdown]
# ## The same front for a fraction of the price
# A search evaluates only what its sampler proposes. What counts is how much of the volume that the true front dominates
# is dominated by what was found. On the full grid, NSGA-II found 98.2, 99.8 and 98.9 % of it with 504 evaluations and
# the seeds 0, 1 and 2.

# %%
share = 0.05 if FULL else 0.1


def costs(frame: pd.DataFrame) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Feasible designs as costs, less is better."""
    kept = frame[frame["state"] == "done"]
    designs = [{str(name): value for name, value in row.items()} for row in kept.to_dict("records")]
    return np.column_stack([[objective.cost(each) for each in designs] for objective in study.objectives])


known = costs(table)
searched = {}
for sampler in ("nsga2", "random"):
    search = study.search(int(share * len(table)), store, sampler=sampler, seed=0)
    searched[sampler] = {
        "designs": search.summary["points"],
        "evaluated again": search.summary["evaluated"],
        "share of the hypervolume": hypervolume_share(costs(search.frame()), known),
    }
found = pd.DataFrame(searched).T
found

# %% [markdown]
# ## Confirmed with a better model
# The sweep took the memory at its peak rate. The front, and a sample of other designs, are evaluated once more with
# the banks, buses and refreshes of the memory simulated command by command.

# %%
confirmation = confirm_front(store, study.name, "cycle", workers=available_cpus(), quiet=True)
agreement = pd.DataFrame([dataclasses.asdict(each) for each in confirmation.agreements]).set_index("metric")
print(f"{len(confirmation.kept)} of {confirmation.front} designs stay on the front")
agreement

# %% [markdown]
# ## The decision
# The fastest design that keeps the constraints, what binds it, and what it takes to get the same numbers again.

# %%
decision = grid.best("seconds")
print(decision[[*varied, *goals, "bound.binding"]].to_string())
print(decision["command"])

# %% [markdown]
# The report has all of this and more on one page that opens offline.

# %%
report = grid.report(folder / "decode.html")
print(f"{report.stat().st_size / 1e6:.1f} MB")
