"""What stands before and behind the layers of a tower: tables, projections, norms and lone vectors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from algorithms.models.blocks import Activation, Part
from algorithms.models.weights import Count, NormKind, Weight, matrix, norm, vector

Rows = Literal["token", "sampled", "sequence", "context"]
"""One row for every token, for the last token of every sequence (that from which the next one is sampled), one for
every sequence, or one for every token of what cross-attention attends to."""


class Table(Part):
    """Rows that tokens or positions look up."""

    kind: Literal["table"] = "table"
    name: str = "embedding"
    rows: Count
    columns: Count
    looked_up: bool = True

    def weights(self, width: int) -> Iterator[Weight]:
        """The table."""
        del width
        yield Weight(self.name, (self.rows, self.columns), "table")


class Linear(Part):
    """A product of rows with a matrix.

    Parameters
    ----------
    inputs, outputs
        Widths; convolutions whose windows do not overlap, as patch embeddings, have those of a whole window.
    every, times
        Tokens of the tower for one row (merged patches), and rows for one token (before a strided convolution).
    per
        Thing that each row of the product stands for.
    activation
        Behind it, if any.
    tied
        Its matrix is the first table of the tower.
    """

    kind: Literal["linear"] = "linear"
    name: str
    inputs: Count
    outputs: Count
    bias: bool = False
    every: Count = 1
    times: Count = 1
    per: Rows = "token"
    activation: Activation | None = None
    tied: bool = False

    def weights(self, width: int) -> Iterator[Weight]:
        """Matrix and bias."""
        del width
        bare, *bias = matrix(self.name, self.outputs, self.inputs, self.bias)
        yield Weight(bare.name, bare.shape, bare.role, tied=self.tied)
        yield from bias


class Norm(Part):
    """A norm of every token."""

    kind: Literal["norm"] = "norm"
    name: str = "norm"
    norm: NormKind | None = None
    size: Count | None = None
    per: Rows = "token"

    def weights(self, width: int) -> Iterator[Weight]:
        """Its weights; a tower fills in the kind where the file does not say."""
        yield from norm(self.name, self.norm or "plain", self.size or width)


class Vector(Part):
    """Lone parameters: class tokens, registers, probes, temperatures."""

    kind: Literal["vector"] = "vector"
    name: str
    size: Count

    def weights(self, width: int) -> Iterator[Weight]:
        """The vector."""
        del width
        yield vector(self.name, self.size)


Edge = Annotated[Table | Linear | Norm | Vector, Field(discriminator="kind")]
"""Anything before or behind the layers."""
