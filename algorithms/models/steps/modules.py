"""Launches of the modules of Hugging Face's transformers, whose norms and rotations are element-wise operations.

Read from ``models/llama/modeling_llama.py`` and ``cache_utils.py`` of transformers 4.40: ``LlamaRMSNorm`` converts,
squares, takes a mean, adds, takes a root, multiplies, converts and multiplies; ``apply_rotary_pos_emb`` multiplies,
negates, joins, multiplies and adds for queries and for keys; ``DynamicCache`` joins what is cached with what is new;
``repeat_kv`` writes keys and values once for each query head; ``LlamaMLP`` multiplies behind its activation. Products,
attention and layer norms are single launches there, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from algorithms.chip.layers.passes import Pass
from algorithms.models.blocks import Attention
from algorithms.models.steps.batch import Part
from algorithms.models.steps.building import Builder
from algorithms.models.steps.operations import Operation
from algorithms.rounding import ceil_div

Moved = tuple[float, float]
"""Bytes of an element that an operation reads and writes."""

RMS_NORM: tuple[Moved, ...] = ((2, 4), (4, 4), (4, 0), (0, 0), (0, 0), (4, 4), (4, 2), (2, 2))
ROTATION: tuple[Moved, ...] = ((2, 2), (1, 1), (2, 2), (2, 2), (4, 2))
GATED_ACTIVATION: tuple[Moved, ...] = ((2, 2), (4, 2))


def as_modules(build: Builder) -> bool:
    """Whether a step is carried out so."""
    return build.whole.options.fusion == "modules"


def apart(build: Builder, whole: Operation, each: Pass, moved: Sequence[Moved]) -> Operation:
    """An operation whose pass is made of several launches over the same elements."""
    pieces = [replace(each, read_bytes=read, write_bytes=write, ops=1.0, exps=0.0) for read, write in moved]
    pieces[0] = replace(pieces[0], exps=each.exps)
    # weights are read, and what is to stay is written, by the last of them
    pieces[:-1] = [replace(piece, memory_bytes=0, stored_bytes=0) for piece in pieces[:-1]]
    return replace(whole, launches=tuple(piece.launch(build.whole.chip) for piece in pieces))


def norm(build: Builder, whole: Operation, each: Pass, kind: str) -> Operation:
    """A norm: RMS norms in pieces."""
    return apart(build, whole, each, RMS_NORM) if kind == "rms" and as_modules(build) else whole


def activation(build: Builder, whole: Operation, each: Pass, *, gated: bool) -> Operation:
    """An activation, and the product behind it as a launch of its own."""
    return apart(build, whole, each, GATED_ACTIVATION) if gated and as_modules(build) else whole


def positions(build: Builder, block: Attention, at: str, heads: int, groups: int) -> Iterator[Operation]:
    """Queries and keys rotated one after the other, caches joined, and keys and values repeated for each query head."""
    rows, width = build.tokens, block.head_dim
    if block.rotary:
        for name, count in (("q", heads), ("k", groups)):
            each = Pass(f"{at}rotate {name}", rows * count * width)
            yield apart(build, build.one_pass(each, "pass"), each, ROTATION)
    if not build.tower.causal:
        return
    joined = sum(_own_tokens(build, part) for part in build.own_parts if part.total > part.new)
    kept = sum(_own_tokens(build, part) for part in build.own_parts)
    for name in ("keys", "values"):
        if joined:
            yield build.one_pass(build.passes.copy(f"{at}join {name}", joined * groups * width), "pass")
        if heads > groups:
            each = Pass(f"{at}repeat {name}", kept * heads * width, 2.0 * groups / heads, 2.0)
            yield build.one_pass(each, "pass")


def _own_tokens(build: Builder, part: Part) -> int:
    return part.sequences * ceil_div(part.total, build.whole.mapping.cp)
