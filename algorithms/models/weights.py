"""Weights of a model: what each is called, its shape, and what it is for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field

from hwmodels.reading.cited import NO_TRUTH_VALUE

Role = Literal["matrix", "expert", "table", "vector"]
"""``matrix``: an operand of a product; ``expert``: one of many of which a token takes a few; ``table``: rows that are
looked up; ``vector``: norms, biases, scales, kernels of depthwise convolutions."""
NormKind = Literal["rms", "layer", "plain"]
"""``rms`` has a weight, ``layer`` a weight and a bias, ``plain`` neither."""

LARGEST = 10**9
"""Of a width, a count of heads or layers, rows of a table."""
Count = Annotated[int, NO_TRUTH_VALUE, Field(ge=1, le=LARGEST)]
"""A number of things of which there is at least one."""
CountOrNone = Annotated[int, NO_TRUTH_VALUE, Field(ge=0, le=LARGEST)]
"""A number of things of which there may be none."""


@dataclass(frozen=True)
class Weight:
    """A tensor of parameters.

    Parameters
    ----------
    name
        Dotted, unique within its block.
    shape
        Shape as stored; products have `(outputs, inputs)`, experts `(experts, outputs, inputs)`.
    role
        Role of the weight; number formats of weights concern ``matrix`` and ``expert`` alone.
    tied
        Another weight under a second name: no parameters of its own.
    """

    name: str
    shape: tuple[int, ...]
    role: Role
    tied: bool = False

    @property
    def size(self) -> int:
        """Parameters; 0 if they are another weight's."""
        return 0 if self.tied else math.prod(self.shape)

    def within(self, prefix: str) -> Weight:
        """The same weight, called by a longer name."""
        return replace(self, name=f"{prefix}.{self.name}")


def matrix(name: str, outputs: int, inputs: int, bias: bool = False) -> tuple[Weight, ...]:
    """A linear layer."""
    bare = Weight(f"{name}.weight", (outputs, inputs), "matrix")
    return (bare, vector(f"{name}.bias", outputs)) if bias else (bare,)


def vector(name: str, *shape: int) -> Weight:
    """Anything that is no operand of a product."""
    return Weight(name, shape, "vector")


def norm(name: str, kind: NormKind, width: int) -> tuple[Weight, ...]:
    """A norm over ``width`` elements."""
    names = {"rms": ("weight",), "layer": ("weight", "bias"), "plain": ()}[kind]
    return tuple(vector(f"{name}.{each}", width) for each in names)


def within(prefix: str, weights: Iterable[Weight]) -> Iterator[Weight]:
    """``weights``, all called by a longer name."""
    return (weight.within(prefix) for weight in weights)


def parameters(weights: Iterable[Weight]) -> int:
    """All of them added up."""
    return sum(weight.size for weight in weights)
