"""Launches of unfused attention, one list per implementation: the published algorithms, and a benchmark as written.

``algorithms`` is algorithm 0 of FlashAttention (arXiv:2205.14135) and, for training, its algorithm 3: no launch but
those that they name. ``attention_pytorch`` is the function of that name with which the benchmarks of FlashAttention-2
and -3 time PyTorch, launch by launch:

    q, k = copies of slices of the packed qkv as (b h) t d and (b h) d s        einops rearrange, reshape of a permute
    scores = baddbmm(empty, q, k, beta=0, alpha=scale)                           in float16; nothing is read into it
    scores + triu(full((s, s), -10000.0), 1).to(float16)                         if causal; the mask in float32 first
    softmax, dropout(p=0)                                                        the second launches nothing
    einsum("bhts,bshd->bthd")                                                    copies v, and is a batched product

Its backward pass is autograd's (tools/autograd/derivatives.yaml of PyTorch): of the product a product each for P and V;
of the softmax a product of two tensors of all scores and then softmax_backward; of the addition of a mask that needs no
gradient nothing; of baddbmm two products, each of which is scaled in a launch of its own; of the three slices a stack.

Sources: flash-attention benchmarks/benchmark_flash_attention.py, commit 0469c72723278048f1b1bd29f6c6155b5ef98369, and
hopper/benchmark_flash_attention.py, commit 1899c970c8639e82e6b8a78408f4041425e9f900 (the same function); PyTorch
aten/src/ATen/native/cuda/SoftMax.cu, CUDALoops.cuh and Shape.cu, and aten/src/ATen/native/Dropout.cpp.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from algorithms.chip.attention.operators import (
    Elementwise,
    OperatorParameters,
    Product,
    softmax_backward_launch,
    softmax_launch,
    strided_ops,
)
from algorithms.chip.plan.in_flight import NEXT_ITEM_HELP, STAGES_HELP, NextItemChoice
from algorithms.chip.plan.parameters import bad_choices, bad_numbers, cached_bytes
from algorithms.chip.plan.plan import Launch
from algorithms.workload.levers import knob
from algorithms.workload.shape import DTYPE_BYTES, Workload
from hwmodels.reading.errors import InputError

if TYPE_CHECKING:
    from hwmodels.chips.accelerator import Accelerator

ProgramName = Literal["algorithms", "attention_pytorch"]

INTEGER_DIVISION_OPS = 20
"""Operations of a division by a number only known at run time (CUDA programming guide: up to 20 instructions)."""


@dataclass(frozen=True)
class EagerParameters(OperatorParameters):
    """`OperatorParameters`, whose launches, how often scores are read and written besides, and tiles on their way."""

    program: ProgramName = field(
        default="algorithms",
        metadata=knob("launches: those of the published algorithms, or of flash-attention's attention_pytorch"),
    )
    elementwise_passes: int = field(
        default=0, metadata=knob("further launches that read and write all scores (mask, scale, dropout)")
    )

    stages: int = field(default=0, metadata=knob(STAGES_HELP, schedule=True))
    next_item: NextItemChoice = field(default="auto", metadata=knob(NEXT_ITEM_HELP, schedule=True))

    def __post_init__(self) -> None:
        super().__post_init__()
        problems = bad_numbers(self, {}) + bad_choices(self, {"program": ProgramName, "next_item": NextItemChoice})
        if problems:
            raise InputError(problems)


Launches = Callable[[Workload, EagerParameters, "Accelerator"], Iterator[Launch]]


@dataclass(frozen=True)
class Program:
    """The launches of an implementation of attention.

    Parameters
    ----------
    forward, backward
        Functions that make the launches of each pass, in order, for a workload on a chip.
    passing
        Launches of the forward pass between which the scores go, in order.
    kept_tensors
        Arrays of all scores that are held at most, without and with a backward pass.
    """

    forward: Launches
    backward: Launches
    passing: tuple[str, ...]
    kept_tensors: tuple[int, int]


def scores(workload: Workload) -> int:
    """Pairs of queries and keys of all heads, masked or not."""
    return workload.batch * workload.heads * workload.q_len * workload.kv_len


# --- the published algorithms


def _forward_of_algorithms(workload: Workload, parameters: EagerParameters, chip: Accelerator) -> Iterator[Launch]:
    """QK, elementwise passes, softmax, PV."""
    del chip
    first, last = _forward_products(workload, parameters)
    yield first
    one_pass = Elementwise("elementwise", scores(workload)).launch(parameters, workload.dtype)
    yield from (one_pass,) * parameters.elementwise_passes
    yield _softmax(workload, parameters)
    yield last


def _backward_of_algorithms(workload: Workload, parameters: EagerParameters, chip: Accelerator) -> Iterator[Launch]:
    """Gradients of V, P, S, Q and K in turn; every query head has its own gradient of K and V."""
    del chip
    dv, dp, dq, dk = _backward_products(workload, parameters)
    one_pass = Elementwise("elementwise_backward", scores(workload)).launch(parameters, workload.dtype)
    yield from (dv, dp)
    # P * (dP - sum(P * dP)): two operands in, one result out
    yield Elementwise("ds", scores(workload), reads=2, ops=4).launch(parameters, workload.dtype)
    yield from (one_pass,) * parameters.elementwise_passes
    yield from (dq, dk)


def _forward_products(workload: Workload, parameters: EagerParameters) -> tuple[Launch, Launch]:
    """QK and PV."""
    heads, group = workload.batch * workload.heads, workload.group_size
    queries, keys = workload.q_len, workload.kv_len
    return (
        Product("qk", heads, queries, keys, workload.head_dim, shared=group).launch(parameters, workload.dtype),
        Product("pv", heads, queries, workload.v_head_dim, keys, shared=group).launch(parameters, workload.dtype),
    )


def _backward_products(workload: Workload, parameters: EagerParameters) -> tuple[Launch, ...]:
    """Gradients of V, P, Q and K."""
    heads, group = workload.batch * workload.heads, workload.group_size
    queries, keys, width = workload.q_len, workload.kv_len, workload.head_dim
    products = (
        Product("dv", heads, keys, workload.v_head_dim, queries),
        Product("dp", heads, queries, keys, workload.v_head_dim, shared=group),
        Product("dq", heads, queries, width, keys, shared=group),
        Product("dk", heads, keys, width, queries),
    )
    return tuple(product.launch(parameters, workload.dtype) for product in products)


def _softmax(workload: Workload, parameters: EagerParameters) -> Launch:
    rows = workload.batch * workload.heads * workload.q_len
    return softmax_launch(rows, workload.kv_len, parameters, workload.dtype)


# --- attention_pytorch


def _forward_of_pytorch(workload: Workload, parameters: EagerParameters, chip: Accelerator) -> Iterator[Launch]:
    """Copies, baddbmm, mask, softmax, a copy, einsum."""
    heads, kv_heads = workload.batch * workload.heads, workload.batch * workload.kv_heads
    qk, pv = _forward_products(workload, parameters)

    def copied(name: str, elements: int, dimensions: int, scattered: int = 0) -> Launch:
        index = strided_ops(dimensions, operands=2)
        moved = Elementwise(name, elements, ops=0, integer_ops=index, scattered=scattered)
        return moved.launch(parameters, workload.dtype)

    yield copied("copy_q", heads * workload.q_len * workload.head_dim, dimensions=4)
    # keys become the inner dimension: neighbours that are written lie a token apart where they are read
    yield copied("copy_k", kv_heads * workload.kv_len * workload.head_dim, dimensions=3, scattered=1)
    yield qk
    if workload.mask == "causal":
        yield from _mask_launches(workload, parameters, chip)
    yield _softmax(workload, parameters)
    yield copied("copy_v", kv_heads * workload.kv_len * workload.v_head_dim, dimensions=4)
    yield pv


def _mask_launches(workload: Workload, parameters: EagerParameters, chip: Accelerator) -> Iterator[Launch]:
    """The mask of one head, and its addition to the scores of all."""
    square, all_scores = workload.q_len * workload.kv_len, scores(workload)
    yield Elementwise("full", square, reads=0, ops=0).launch(parameters, "float32")
    yield Elementwise("triu", square, ops=0, integer_ops=INTEGER_DIVISION_OPS).launch(parameters, "float32")
    narrower = DTYPE_BYTES["float32"] // workload.dtype_bytes
    yield Elementwise("to", square, reads=narrower).launch(parameters, workload.dtype)
    # before a head's mask is read for the next head, the scores of one head are read and written
    between = 3 * square * workload.dtype_bytes
    mask = square if cached_bytes(chip, between) else all_scores
    convert, multiply_add = 3, 1
    added = Elementwise(
        "add_mask",
        all_scores,
        reads=2,
        ops=convert + multiply_add,
        integer_ops=strided_ops(dimensions=2, operands=3),
        distinct=all_scores + mask,
    )
    yield added.launch(parameters, workload.dtype)


def _backward_of_pytorch(workload: Workload, parameters: EagerParameters, chip: Accelerator) -> Iterator[Launch]:
    """Autograd's launches for those of the forward pass, last ones first."""
    del chip
    dv, dp, dq, dk = _backward_products(workload, parameters)
    heads = workload.batch * workload.heads
    queries = heads * workload.q_len * workload.head_dim
    keys, values = heads * workload.kv_len * workload.head_dim, heads * workload.kv_len * workload.v_head_dim
    convert_both_and_back, multiply = 3, 1

    def scaled(name: str, elements: int) -> Launch:
        return Elementwise(name, elements, ops=3).launch(parameters, workload.dtype)

    yield from (dp, dv)
    product = Elementwise("softmax_product", scores(workload), reads=2, ops=convert_both_and_back + multiply)
    yield product.launch(parameters, workload.dtype)
    yield softmax_backward_launch(heads * workload.q_len, workload.kv_len, parameters, workload.dtype)
    yield from (dq, scaled("scale_dq", queries), dk, scaled("scale_dk", keys))
    yield from _stack_launch(parameters, workload.dtype, near=queries + values, apart=keys)


def _stack_launch(parameters: EagerParameters, number_format: str, near: int, apart: int) -> Iterator[Launch]:
    """Gradients of q, k and v into that of the packed qkv: CatArrayBatchedCopy (ATen/native/cuda/Shape.cu).

    It divides the number of an element by three sizes, for where it is and for where it goes. The gradient of k has
    its tokens side by side, so that reads are scattered. One launch with blocks for each tensor.
    """
    quotient_and_rest = INTEGER_DIVISION_OPS + 3
    index = 2 * 3 * quotient_and_rest
    parts = [
        Elementwise("stack", elements, ops=0, integer_ops=index, scattered=scattered).launch(parameters, number_format)
        for elements, scattered in ((near, 0), (apart, 1))
    ]
    first, second = parts
    yield replace(
        first,
        items=first.items + second.items,
        unique_load_bytes=first.unique_load_bytes + second.unique_load_bytes,
    )


PROGRAMS: dict[ProgramName, Program] = {
    "algorithms": Program(
        _forward_of_algorithms,
        _backward_of_algorithms,
        passing=("qk", "elementwise", "softmax", "pv"),
        kept_tensors=(2, 4),
    ),
    "attention_pytorch": Program(
        _forward_of_pytorch,
        _backward_of_pytorch,
        passing=("qk", "add_mask", "softmax", "pv"),
        kept_tensors=(2, 4),
    ),
}
"""Programs by name: the implementations whose launches eager attention can have."""
