"""The orders of operations of multi-head latent attention (DeepSeek-V2, arXiv:2405.04434), as programs.

All compute the same block. They differ in what is cached, in which side of the attention the up-projections stand on,
and in whether the products of two up-projections are made once or in every step:

=========  ========================================================================================================
kvcache    keys and values of every head are cached
exp        the latent is cached; keys and values of all attended tokens are made from it in every step
seq        absorbed: queries go through ``W_UQ`` and ``W_UK``, results through ``W_UV`` and ``W_O``, one by one
rc         absorbed, ``W_UQ W_UK^T`` made anew in every step and applied to the query latent
ru         absorbed, ``W_UQ W_UK^T`` made once and read in every step
rc2, ru2   the same with ``W_UV W_O``
=========  ========================================================================================================

`rc` and `ru` are the "recomputing" and "reusing" of Geens and Verhelst, arXiv:2506.02523. `plain` is the block of
multi-head and grouped-query attention, for comparison.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from algorithms.chip.latent.program import (
    Append,
    Attention,
    Contraction,
    Operation,
    Pointwise,
    Program,
    Role,
    Tensor,
    names_of,
)
from algorithms.workload.shape import Workload
from hwmodels.reading.errors import InputError, Problem

Order = Literal["exp", "kvcache", "seq", "rc", "ru", "rc2", "ru2"]
ORDERS: tuple[Order, ...] = get_args(Order)

_AXES = {
    "x": "bsd",
    "w_dq": "dr",
    "w_uq": "rhk",
    "w_qr": "rhe",
    "w_dkv": "dc",
    "w_kr": "de",
    "w_uk": "hck",
    "w_uv": "hcv",
    "w_o": "hvd",
    "w_q": "dhk",
    "w_k": "dgk",
    "w_v": "dgv",
    "w_qk": "hrc",
    "w_vo": "hcd",
    "query_raw": "bsr",
    "query": "bsr",
    "latent_raw": "bsc",
    "latent_new": "bsc",
    "rope_raw": "bse",
    "rope_new": "bse",
    "q_nope": "bshk",
    "q_rope_raw": "bshe",
    "q_rope": "bshe",
    "q_latent": "bshc",
    "latent": "blc",
    "rope": "ble",
    "k_new": "bshk",
    "v_new": "bshv",
    "keys": "blhk",
    "values": "blhv",
    "out_latent": "bshc",
    "heads": "bshv",
    "out": "bsd",
    "q": "bshk",
    "k_plain_raw": "bsgk",
    "k_plain_new": "bsgk",
    "v_plain_new": "bsgv",
    "k_plain": "blgk",
    "v_plain": "blgv",
    "q_plain_raw": "bshk",
}


def latent_program(order: Order, workload: Workload) -> Program:
    """The whole block of `workload`, from hidden state to hidden state, in one order.

    Raises
    ------
    InputError
        A workload without latent attention or without a hidden size.
    """
    if workload.latent is None:
        raise InputError(Problem("has no latent attention; block.gqa is the block without", field="workload"))
    return latent_program_of(order, sizes_of(workload), workload)


def latent_program_of(order: Order, sizes: Mapping[str, int], workload: Workload) -> Program:
    """The program of `latent_program` with other `sizes`, which may be zero, than those of the workload."""
    low_rank = workload.latent is not None and workload.latent.q_lora_rank is not None
    front, query = _front(low_rank)
    operations = (*front, *_BEFORE[order](query), _ATTENTION[order], *_AFTER[order])
    return _program(operations, sizes, workload, query)


def plain_program(workload: Workload) -> Program:
    """The block of multi-head, grouped-query or multi-query attention: four projections around the attention.

    Raises
    ------
    InputError
        A workload with latent attention or without a hidden size.
    """
    if workload.latent is not None:
        raise InputError(Problem("has latent attention; use one of the orders mla.*", field="workload"))
    operations = (
        Contraction("x", "w_q", "q_plain_raw"),
        Contraction("x", "w_k", "k_plain_raw"),
        Contraction("x", "w_v", "v_plain_new"),
        Pointwise("rotate", "q_plain_raw", "q"),
        Pointwise("rotate", "k_plain_raw", "k_plain_new"),
        Append("k_plain_new", "k_plain"),
        Append("v_plain_new", "v_plain"),
        Attention((("q", "k_plain"),), "v_plain", "heads", "k"),
        Contraction("heads", "w_o", "out"),
    )
    return _program(operations, sizes_of(workload), workload, "x")


def sizes_of(workload: Workload) -> dict[str, int]:
    """Size of every letter of `latent_program`.

    Raises
    ------
    InputError
        The hidden size is unknown.
    """
    if workload.hidden is None:
        raise InputError(Problem("must be known for the projections of a block", field="workload.hidden"))
    sizes = {
        "b": workload.batch,
        "s": workload.q_len,
        "l": workload.kv_len,
        "d": workload.hidden,
        "h": workload.heads,
        "g": workload.kv_heads,
        "v": workload.v_head_dim,
    }
    latent = workload.latent
    if latent is None:
        return sizes | {"k": workload.head_dim}
    return sizes | {
        "k": workload.head_dim - latent.qk_rope_head_dim,
        "e": latent.qk_rope_head_dim,
        "c": latent.kv_lora_rank,
        "r": latent.q_lora_rank or workload.hidden,
    }


def _front(low_rank: bool) -> tuple[tuple[Operation, ...], str]:
    """Operations that all orders begin with, and the tensor that queries are made from."""
    query = "query" if low_rank else "x"
    down = (Contraction("x", "w_dq", "query_raw"), Pointwise("rms", "query_raw", "query")) if low_rank else ()
    return (
        *down,
        Contraction("x", "w_dkv", "latent_raw"),
        Pointwise("rms", "latent_raw", "latent_new"),
        Contraction("x", "w_kr", "rope_raw"),
        Pointwise("rotate", "rope_raw", "rope_new"),
        Append("rope_new", "rope"),
        Contraction(query, "w_qr", "q_rope_raw"),
        Pointwise("rotate", "q_rope_raw", "q_rope"),
    ), query


def _kvcache(query: str) -> tuple[Operation, ...]:
    return (
        Contraction(query, "w_uq", "q_nope"),
        Contraction("latent_new", "w_uk", "k_new"),
        Contraction("latent_new", "w_uv", "v_new"),
        Append("k_new", "keys"),
        Append("v_new", "values"),
    )


def _exp(query: str) -> tuple[Operation, ...]:
    return (
        Contraction(query, "w_uq", "q_nope"),
        Append("latent_new", "latent"),
        Contraction("latent", "w_uk", "keys"),
        Contraction("latent", "w_uv", "values"),
    )


def _seq(query: str) -> tuple[Operation, ...]:
    return (
        Contraction(query, "w_uq", "q_nope"),
        Contraction("q_nope", "w_uk", "q_latent"),
        Append("latent_new", "latent"),
    )


def _recomputed(query: str) -> tuple[Operation, ...]:
    return (Contraction("w_uq", "w_uk", "w_qk", "recompute"), *_reused(query))


def _reused(query: str) -> tuple[Operation, ...]:
    return (Contraction(query, "w_qk", "q_latent"), Append("latent_new", "latent"))


_EXPANDED = Attention((("q_nope", "keys"), ("q_rope", "rope")), "values", "heads", "ke")
_ABSORBED = Attention((("q_latent", "latent"), ("q_rope", "rope")), "latent", "out_latent", "ke")
_FROM_HEADS = (Contraction("heads", "w_o", "out"),)
_FACTORS = (Contraction("out_latent", "w_uv", "heads"), *_FROM_HEADS)
_COMPOSITE = (Contraction("out_latent", "w_vo", "out"),)
_NEW_COMPOSITE = (Contraction("w_uv", "w_o", "w_vo", "recompute"), *_COMPOSITE)

_BEFORE = {
    "exp": _exp,
    "kvcache": _kvcache,
    "seq": _seq,
    "rc": _recomputed,
    "ru": _reused,
    "rc2": _recomputed,
    "ru2": _reused,
}
_ATTENTION = {order: _EXPANDED if order in ("exp", "kvcache") else _ABSORBED for order in ORDERS}
_AFTER = {
    "exp": _FROM_HEADS,
    "kvcache": _FROM_HEADS,
    "seq": _FACTORS,
    "rc": _FACTORS,
    "ru": _FACTORS,
    "rc2": _NEW_COMPOSITE,
    "ru2": _COMPOSITE,
}


def _program(operations: tuple[Operation, ...], sizes: Mapping[str, int], workload: Workload, query: str) -> Program:
    """Checks nothing and declares every tensor that the operations name, with its role."""
    made = {operation.out for operation in operations if not isinstance(operation, Append)}
    caches = {operation.cache for operation in operations if isinstance(operation, Append)}
    tensors = {
        tensor: Tensor(tensor, _axes(tensor, query), _role(tensor, made, caches))
        for operation in operations
        for tensor in names_of(operation)
    }
    reads_cache = workload.phase == "decode" or sizes["l"] > sizes["s"]
    return Program(sizes, tensors, operations, workload.mask, reads_cache)


def _axes(tensor: str, query: str) -> str:
    """Axes of a tensor; without a query latent, what would begin there begins at the hidden state."""
    axes = _AXES[tensor]
    return axes.replace("r", "d") if query == "x" else axes


def _role(tensor: str, made: set[str], caches: set[str]) -> Role:
    if tensor == "x":
        return "input"
    if tensor == "out":
        return "output"
    if tensor in caches:
        return "cache"
    return "intermediate" if tensor in made else "weight"
