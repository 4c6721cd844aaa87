"""An attention block as a short program of labelled products: one description that is computed, counted and tiled.

A program names tensors by the letters of their axes, and lists what is done with them in order.
`algorithms.chip.latent.values` computes it in float64, `algorithms.chip.latent.plan` turns it into launches for a chip,
and both read the same lines, so the order of operations that is timed is the order whose values are tested. Letters:

====  ===============================================  ====  ==========================================
b     sequences                                        r     query latent (the hidden state itself where
s     new tokens of a sequence                               queries have no latent)
l     attended tokens of a sequence, new ones last     c     latent of keys and values
d     hidden state                                     k     width of a key head without its rotary part
h     query heads                                      e     width of the rotary part
g     KV heads                                         v     width of a value head
====  ===============================================  ====  ==========================================
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from algorithms.workload.shape import Mask

Role = Literal["input", "weight", "cache", "output", "intermediate"]
"""Role of a tensor: from the layer before, the model or the KV cache; to the next layer; or between two operations."""
Part = Literal["projection", "recompute"]


@dataclass(frozen=True)
class Tensor:
    """A tensor by its axes, for example ``hck`` for `(heads, latent, width)`."""

    name: str
    labels: str
    role: Role = "intermediate"


@dataclass(frozen=True)
class Contraction:
    """A matrix product, batched over the letters that all three tensors share.

    Parameters
    ----------
    left, right, out
        Names of tensors; a letter of both inputs that the output lacks is summed over.
    part
        ``recompute`` for products of weights alone, which do not depend on any token.
    """

    left: str
    right: str
    out: str
    part: Part = "projection"


@dataclass(frozen=True)
class Attention:
    """Softmax attention whose scores are a sum over pairs (query part, key part).

    Parameters
    ----------
    pairs
        Names (query, key) whose products are added up before the softmax.
    values, out
        Names of the value tensor, which may be one of the keys, and of the result.
    width
        Letters whose sizes add up to the width that scores are scaled by, ``width ** -0.5``.
    """

    pairs: tuple[tuple[str, str], ...]
    values: str
    out: str
    width: str


@dataclass(frozen=True)
class Pointwise:
    """An elementwise step along the last axis: ``rms`` divides by the root mean square, ``rotate`` turns by position.

    Gains of a normalisation are part of the weights that follow it, so neither has any.
    """

    kind: Literal["rms", "rotate"]
    source: str
    out: str


@dataclass(frozen=True)
class Append:
    """The rows of the new tokens written behind those of earlier tokens in a cache."""

    new: str
    cache: str


Operation = Contraction | Attention | Pointwise | Append


def names_of(operation: Operation) -> tuple[str, ...]:
    """Names of all tensors that an operation reads or makes."""
    if isinstance(operation, Contraction):
        return (operation.left, operation.right, operation.out)
    if isinstance(operation, Attention):
        return (*(name for pair in operation.pairs for name in pair), operation.values, operation.out)
    if isinstance(operation, Pointwise):
        return (operation.source, operation.out)
    return (operation.new, operation.cache)


@dataclass(frozen=True)
class Program:
    """Operations on tensors of known sizes.

    Parameters
    ----------
    sizes
        Size of every letter.
    tensors
        Tensors by name.
    operations
        Operations in order: each uses only what is given or made before it.
    mask
        ``full`` or ``causal``, aligned to the newest token.
    reads_cache
        Whether earlier tokens lie in a cache (a prompt's own tokens do not: they have just been made).
    """

    sizes: Mapping[str, int]
    tensors: Mapping[str, Tensor]
    operations: tuple[Operation, ...]
    mask: Mask
    reads_cache: bool

    def extent(self, labels: str) -> int:
        """Product of sizes."""
        return math.prod(self.sizes[label] for label in labels)

    def elements(self, name: str) -> int:
        """Elements of a tensor."""
        return self.extent(self.tensors[name].labels)

    def labels(self, name: str) -> str:
        """Axes of a tensor."""
        return self.tensors[name].labels

    def product(self, contraction: Contraction, by_group: str = "") -> Product:
        """The sizes of a contraction as a batched matrix product.

        Letters of the right operand alone that are named in `by_group` count as groups instead of columns: the same
        product, cut into one per letter with the left operand in common.
        """
        left, right, out = (self.labels(name) for name in (contraction.left, contraction.right, contraction.out))
        shared = [label for label in left if label in right]
        alone = [label for label in right if label not in left]
        groups = [label for label in shared if label in out] + [label for label in alone if label in by_group]
        return Product(
            groups=self.extent("".join(groups)),
            rows=self.extent("".join(label for label in left if label not in right)),
            depth=self.extent("".join(label for label in shared if label not in out)),
            columns=self.extent("".join(label for label in alone if label not in by_group)),
        )

    @property
    def attention(self) -> Attention:
        """The one attention of the program."""
        return next(operation for operation in self.operations if isinstance(operation, Attention))

    @property
    def contractions(self) -> tuple[Contraction, ...]:
        """Products with weights, in order."""
        return tuple(operation for operation in self.operations if isinstance(operation, Contraction))

    @property
    def appends(self) -> tuple[Append, ...]:
        """Writes to a cache, in order."""
        return tuple(operation for operation in self.operations if isinstance(operation, Append))

    def given(self, *roles: Role) -> tuple[str, ...]:
        """Names of the tensors of these roles, in the order in which they are declared."""
        return tuple(name for name, tensor in self.tensors.items() if tensor.role in roles)


@dataclass(frozen=True)
class Product:
    """A batched matrix product: `groups` times `(rows, depth) x (depth, columns)`."""

    groups: int
    rows: int
    depth: int
    columns: int

    @property
    def flops(self) -> int:
        """2 per multiply-add."""
        return 2 * self.groups * self.rows * self.depth * self.columns


def core_of(program: Program) -> Program:
    """The attention of `program` alone: its operands come from the layer before, its result is the output.

    What an attention kernel is measured on. Keys and values are a cache, also where the whole block would have made
    them on the way.
    """
    attention = program.attention
    tensors = {}
    for query, key in attention.pairs:
        tensors[query] = Tensor(query, program.labels(query), "input")
        tensors[key] = Tensor(key, program.labels(key), "cache")
    tensors[attention.values] = Tensor(attention.values, program.labels(attention.values), "cache")
    tensors[attention.out] = Tensor(attention.out, program.labels(attention.out), "output")
    return Program(program.sizes, tensors, (attention,), program.mask, reads_cache=True)
