"""The workload that attends when nobody names one: a single small head."""

from __future__ import annotations

from algorithms.workload.shape import Workload

ONE_HEAD = Workload(
    name="one-head",
    phase="prefill",
    heads=1,
    kv_heads=1,
    q_len=512,
    kv_len=512,
    head_dim=64,
    mask="full",
    dtype="float64",
    source="a single head of the textbook formula; used when no workload is named",
)
"""One head in float64: graphs of FIFOs compute in whatever their units are given."""

ONE_HEAD_CAUSAL = ONE_HEAD.with_(mask="causal")
"""The same head where a query can only know what has passed before it."""

ONE_HEAD_ON_CHIP = ONE_HEAD.with_(dtype="float16")
"""The same head for chips, whose arrays have no float64."""
