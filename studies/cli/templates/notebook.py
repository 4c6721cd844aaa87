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
# # {name}
# A question, the designs that answer it, and a page. Open it in Jupyter (the extra `notebooks` brings jupytext), or run
# it as a script.

# %%
import attnflow

study = attnflow.Study.ask(
    "{name}",
    algorithm="decode.split_kv",
    workload={"preset": "llama3-8b", "phase": "decode", "q_len": 1, "kv_len": 8192},
    chip="h100",
    timing_only=True,
    objectives=["seconds", "energy_j"],
    axes={"chip.hbm": ["hbm3 x 5", "hbm3e x 6"], "batch": [1, 16]},
)
results = study.sweep("{name}.sqlite", jobs=0)
results.front()

# %%
results.report("{name}.html")
