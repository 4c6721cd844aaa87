"""Computes a block program in float64, operation by operation, and draws tensors to compute it on."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from algorithms.chip.latent.attend import KeyCuts, attend
from algorithms.chip.latent.program import Append, Attention, Contraction, Pointwise, Program, Tensor, names_of
from algorithms.workload.shape import FloatArray

RMS_EPSILON = 1e-6
ROTARY_BASE = 10_000.0

Values = Mapping[str, FloatArray]


def compute(
    program: Program, tensors: Values, past: Values | None = None, cuts: KeyCuts | None = None
) -> dict[str, FloatArray]:
    """Values of all tensors that the operations of `program` make, in their order.

    Parameters
    ----------
    program
        Operations to do, in order.
    tensors
        Inputs and weights by name, axes in the order of their letters. Precomputed composites may be left out: they are
        made from their factors, as someone must have done before.
    past
        Cached rows of earlier tokens by name of the cache; none when everything is new.
    cuts
        How the attention cuts its keys.

    Returns
    -------
    dict
        Tensors by name, caches after this step included; ``out`` is the result.

    Raises
    ------
    KeyError
        A tensor is missing.
    """
    known = dict(tensors)
    for name, (left, right) in _COMPOSITES.items():
        if name in program.given("weight") and name not in known:
            product = Contraction(left, right, name)
            known[name] = _contract(_COMPOSITE_AXES, product, known[left], known[right])
    for operation in program.operations:
        if isinstance(operation, Contraction):
            axes = {name: program.labels(name) for name in (operation.left, operation.right, operation.out)}
            known[operation.out] = _contract(axes, operation, known[operation.left], known[operation.right])
        elif isinstance(operation, Pointwise):
            known[operation.out] = _pointwise(operation, known[operation.source], program.sizes["l"])
        elif isinstance(operation, Append):
            new = known[operation.new]
            known[operation.cache] = np.concatenate([past[operation.cache], new], axis=1) if past else new
        else:
            known[operation.out] = _attention(program, operation, known, cuts or KeyCuts())
    return known


def draw(program: Program, seed: int) -> dict[str, FloatArray]:
    """Inputs and weights of `program` that keep activations near unit size; each name has its own random stream.

    Orders of the same block draw the same tensors where they share them. A composite that the program
    takes ready-made is drawn as its factors.
    """
    axes = {**_FACTOR_AXES, **{name: program.labels(name) for name in program.given("input", "weight")}}
    wanted = [name for name in program.given("input", "weight") if name not in _COMPOSITES]
    factors = [factor for name in program.given("weight") for factor in _COMPOSITES.get(name, ())]
    return {name: _draw_one(name, axes[name], program, seed) for name in dict.fromkeys([*wanted, *factors])}


def past_of(program: Program, tensors: Values, hidden: FloatArray) -> dict[str, FloatArray]:
    """The caches after earlier tokens with hidden states `hidden` `(batch, tokens, width)` went through `program`."""
    tokens = hidden.shape[1]
    earlier = replace(program, sizes={**program.sizes, "s": tokens, "l": tokens}, reads_cache=False)
    known = compute(earlier, {**tensors, "x": hidden})
    return {append.cache: known[append.cache] for append in program.appends}


def draw_step(program: Program, seed: int) -> tuple[dict[str, FloatArray], dict[str, FloatArray]]:
    """Tensors for `compute`, and caches of earlier tokens whose hidden states are drawn like those of the new ones."""
    tensors = draw(program, seed)
    sizes = program.sizes
    shape = (sizes["b"], sizes["l"] - sizes["s"], sizes["d"])
    earlier = np.random.default_rng([seed, zlib.crc32(b"past")]).standard_normal(shape)
    return tensors, past_of(program, tensors, earlier) if shape[1] else {}


def up_to_heads(program: Program) -> Program:
    """`program` without its output projection; results of heads that a composite of it hides are made visible."""
    attention = program.operations.index(program.attention)
    operations = list(program.operations[: attention + 1])
    tensors = dict(program.tensors)
    if program.attention.out == "out_latent":
        operations.append(Contraction("out_latent", "w_uv", "heads"))
        tensors |= {"w_uv": Tensor("w_uv", "hcv", "weight"), "heads": Tensor("heads", "bshv")}
    used = dict.fromkeys(name for operation in operations for name in names_of(operation))
    tensors = {name: tensors[name] for name in used}
    return replace(program, tensors=tensors, operations=tuple(operations))


_COMPOSITES = {"w_qk": ("w_uq", "w_uk"), "w_vo": ("w_uv", "w_o")}
_FACTOR_AXES = {"w_uq": "rhk", "w_uk": "hck", "w_uv": "hcv", "w_o": "hvd"}
_COMPOSITE_AXES = {**_FACTOR_AXES, "w_qk": "hrc", "w_vo": "hcd"}
_DEPTHS = {"w_uk": "c", "w_uv": "c", "w_o": "hv"}
"""Letters that a weight sums over; its first letter when it is not named here."""


def _draw_one(name: str, axes: str, program: Program, seed: int) -> FloatArray:
    shape = tuple(program.sizes[label] for label in axes)
    depth = 1 if name == "x" else max(1, program.extent(_DEPTHS.get(name, axes[0])))
    values: FloatArray = np.random.default_rng([seed, zlib.crc32(name.encode())]).standard_normal(shape)
    values /= np.sqrt(depth)
    return values


def _contract(axes: Mapping[str, str], product: Contraction, left: FloatArray, right: FloatArray) -> FloatArray:
    """The product as one batched matrix product: letters sorted into groups, rows, depth and columns."""
    left_axes, right_axes, out_axes = axes[product.left], axes[product.right], axes[product.out]
    shared = [label for label in left_axes if label in right_axes]
    groups = [label for label in shared if label in out_axes]
    depth = [label for label in shared if label not in out_axes]
    rows = [label for label in left_axes if label not in shared]
    columns = [label for label in right_axes if label not in shared]
    a = _arranged(left, left_axes, groups, rows, depth)
    b = _arranged(right, right_axes, groups, depth, columns)
    size = dict(zip(left_axes + right_axes, left.shape + right.shape, strict=True))
    order = [*groups, *rows, *columns]
    made = (a @ b).reshape([size[label] for label in order])
    return made.transpose([order.index(label) for label in out_axes])


def _arranged(tensor: FloatArray, axes: str, *runs: list[str]) -> FloatArray:
    """Axes in the order of `runs`, each run as one axis."""
    size = dict(zip(axes, tensor.shape, strict=True))
    ordered = tensor.transpose([axes.index(label) for run in runs for label in run])
    return ordered.reshape([int(np.prod([size[label] for label in run])) for run in runs])


def _pointwise(operation: Pointwise, source: FloatArray, context: int) -> FloatArray:
    if operation.kind == "rms":
        made: FloatArray = source / np.sqrt(np.mean(source**2, axis=-1, keepdims=True) + RMS_EPSILON)
        return made
    return rotate(source, first_position=context - source.shape[1])


def rotate(source: FloatArray, first_position: int) -> FloatArray:
    """Rotary embedding (RoFormer, arXiv:2104.09864) of `(batch, tokens, ..., width)`, pairs of neighbours."""
    width = source.shape[-1]
    frequency = ROTARY_BASE ** (-np.arange(width // 2) * 2.0 / max(width, 1))
    angle = (first_position + np.arange(source.shape[1]))[:, None] * frequency
    angle = angle.reshape(1, source.shape[1], *(1,) * (source.ndim - 3), width // 2)
    even, odd = source[..., 0 : width - 1 : 2], source[..., 1::2]
    turned = source.copy()
    turned[..., 0 : width - 1 : 2] = even * np.cos(angle) - odd * np.sin(angle)
    turned[..., 1::2] = even * np.sin(angle) + odd * np.cos(angle)
    return turned


def _attention(program: Program, operation: Attention, known: Values, cuts: KeyCuts) -> FloatArray:
    def by_head(name: str) -> FloatArray:
        """`(batch, tokens, heads, width)`, or without heads, to `(batch, heads, tokens, width)`."""
        tensor = known[name]
        return tensor[:, None] if tensor.ndim == 3 else tensor.transpose(0, 2, 1, 3)

    pairs = [(by_head(query), by_head(key)) for query, key in operation.pairs]
    scale = sum(program.sizes[label] for label in operation.width) ** -0.5
    out, _ = attend(pairs, by_head(operation.values), scale, program.mask, cuts)
    return out.transpose(0, 2, 1, 3)
