"""What columns each table of measured kernels has, and what they are called where the tables are published.

Two layouts are read. The first is one CSV file per table, whose times are microseconds. The second is that of
AIConfigurator's collection (github.com/ai-dynamo/aiconfigurator, ``systems/data``): one Parquet file per GPU, stack,
version and table, whose times are milliseconds and whose lengths are in two columns, new tokens and tokens before them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hwmodels.reading.errors import InputError, Problem, did_you_mean

Kind = Literal["text", "count", "whole", "time"]
"""Of a column: words, numbers of at least 1, numbers of at least 0, or a time, which is positive."""

TIME_COLUMN = "time_us"
SPLIT_COLUMN = "split"
GROUP_COLUMNS = ("gpu", "stack", "stack_version", "kernel")
"""Besides the table, what errors are told apart by."""
UNITS = {"time_ms": "milliseconds", "time_s": "seconds", "time_ns": "nanoseconds", "latency": "no unit"}
"""Names of columns whose times are in another unit than this layout's."""


@dataclass(frozen=True)
class TableLayout:
    """One table.

    Parameters
    ----------
    name
        As on the command line, and the stem of its CSV file.
    columns
        Pairs (name, kind) without the time and the split.
    published
        Stem of its Parquet file; empty where it is not published as one.
    renamed
        Pairs (column here, column published) where they differ.
    cached
        Column that is the published ``isl`` plus ``step``, new tokens and those before; empty where there is none.
    timed
        Column of the time that is scored.
    """

    name: str
    columns: tuple[tuple[str, Kind], ...]
    published: str = ""
    renamed: tuple[tuple[str, str], ...] = ()
    cached: str = ""
    timed: str = TIME_COLUMN


_WHO: tuple[tuple[str, Kind], ...] = tuple((name, "text") for name in GROUP_COLUMNS)
_HEADS: tuple[tuple[str, Kind], ...] = (
    ("heads", "count"),
    ("kv_heads", "count"),
    ("head_dim", "count"),
    ("window", "whole"),
    ("attn_dtype", "text"),
    ("kv_dtype", "text"),
)
_ATTENTION_NAMES = (
    ("kernel", "kernel_source"),
    ("batch", "batch_size"),
    ("heads", "num_heads"),
    ("kv_heads", "num_key_value_heads"),
    ("window", "window_size"),
    ("kv_dtype", "kv_cache_dtype"),
)

LAYOUTS: tuple[TableLayout, ...] = (
    TableLayout(
        "attention_prefill",
        (*_WHO, ("batch", "count"), ("q_len", "count"), *_HEADS),
        "context_attention_perf",
        (*_ATTENTION_NAMES, ("q_len", "isl")),
    ),
    TableLayout(
        "attention_decode",
        (*_WHO, ("batch", "count"), ("kv_len", "count"), *_HEADS),
        "generation_attention_perf",
        _ATTENTION_NAMES,
        cached="kv_len",
    ),
    TableLayout(
        "attention_encoder",
        (
            *_WHO,
            ("batch", "count"),
            ("len", "count"),
            ("heads", "count"),
            ("head_dim", "count"),
            ("attn_dtype", "text"),
        ),
        "encoder_attention_perf",
        (("kernel", "kernel_source"), ("batch", "batch_size"), ("len", "isl"), ("heads", "num_heads")),
    ),
    *(
        TableLayout(
            name,
            (
                *_WHO,
                *((column, "count") for column in ("heads", "batch", "q_len", "kv_len")),
                ("mla_dtype", "text"),
                ("kv_dtype", "text"),
            ),
            published,
            (
                ("kernel", "kernel_source"),
                ("batch", "batch_size"),
                ("heads", "num_heads"),
                ("kv_dtype", "kv_cache_dtype"),
                ("q_len", "isl"),
            ),
            cached="kv_len",
        )
        for name, published in (("mla_prefill", "context_mla_perf"), ("mla_decode", "generation_mla_perf"))
    ),
    TableLayout(
        "gemm",
        (*_WHO, ("dtype", "text"), ("m", "count"), ("n", "count"), ("k", "count")),
        "gemm_perf",
        (("kernel", "kernel_source"), ("dtype", "gemm_dtype")),
    ),
    TableLayout(
        "moe",
        (
            *_WHO,
            *((name, "count") for name in ("hidden", "inter", "topk", "experts", "tp", "ep")),
            ("moe_dtype", "text"),
            ("distribution", "text"),
            ("tokens", "count"),
        ),
        "moe_perf",
        (
            ("kernel", "kernel_source"),
            ("hidden", "hidden_size"),
            ("inter", "inter_size"),
            ("experts", "num_experts"),
            ("tp", "moe_tp_size"),
            ("ep", "moe_ep_size"),
            ("tokens", "num_tokens"),
        ),
    ),
    TableLayout(
        "mla_bmm",
        (*_WHO, ("op_name", "text"), ("dtype", "text"), ("heads", "count"), ("tokens", "count")),
    ),
    *(
        TableLayout(
            name,
            (
                *_WHO,
                ("model", "text"),
                *((column, "count") for column in ("heads", "batch", "q_len", "kv_len")),
                *((column, "text") for column in (*formats, "kv_dtype", "gemm_type")),
            ),
        )
        for name, formats in (
            ("mla_module_prefill", ("attn_dtype",)),
            ("mla_module_decode", ("attn_dtype",)),
            ("dsa_module_prefill", ()),
            ("dsa_module_decode", ()),
        )
    ),
    TableLayout(
        "gated_delta_net",
        (
            *_WHO,
            ("op_name", "text"),
            ("phase", "text"),
            ("model_name", "text"),
            *((column, "count") for column in ("batch", "seq_len", "num_tokens", "d_model")),
            *((column, "count") for column in ("num_k_heads", "head_k_dim", "num_v_heads", "head_v_dim")),
        ),
    ),
    TableLayout(
        "collectives",
        (*_WHO, ("collective", "text"), ("dtype", "text"), ("num_gpus", "count"), ("bytes", "count")),
    ),
)
"""Tables that are scored."""


def layout_names() -> tuple[str, ...]:
    """Names of the tables that are scored."""
    return tuple(layout.name for layout in LAYOUTS)


def layout_called(name: str) -> TableLayout:
    """The layout of a table by name.

    Raises
    ------
    InputError
        For a table that is not scored, with the nearest name.
    """
    for layout in LAYOUTS:
        if layout.name == name:
            return layout
    known = ", ".join(layout_names())
    raise InputError(
        Problem(f"no table {name!r} is scored (those are: {known})", "--only", hint=did_you_mean(name, layout_names()))
    )
