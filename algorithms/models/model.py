"""What a model is: towers of layers of blocks, with what stands before and behind them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from algorithms.models.blocks import AnyBlock, Attention, Experts, LatentAttention, Part
from algorithms.models.edges import Edge, Norm
from algorithms.models.weights import Count, NormKind, Weight, matrix, norm, parameters, within
from hwmodels.reading.cards import html_table

Modality = Literal["text", "image", "audio", "video"]
CountStatus = Literal["seen", "named"]
NormPlace = Literal["before", "behind", "both"]


class Layer(Part):
    """Blocks one after the other, as often as they follow each other.

    Parameters
    ----------
    blocks
        Blocks of the layer in their order.
    times
        How many such layers follow each other.
    share
        Share of the new tokens of a sequence that go through the layer.
    others
        Fate of the rest. ``pass``: a router lets the share through, the others stay as they are, and the layer
        has no keys of them (mixture of depths, arXiv:2404.02258). ``cached``: they, and their keys, are those of a
        frame before, which the share that goes through has changed most from (STC, arXiv:2512.00891).
    """

    blocks: tuple[AnyBlock, ...] = Field(min_length=1)
    times: Count = 1
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    others: Literal["pass", "cached"] = "pass"

    @property
    def routed(self) -> bool:
        """Whether a router has weights."""
        return self.share < 1 and self.others == "pass"

    def through(self, tokens: int) -> int:
        """How many of a sequence's tokens go through the layer."""
        return math.ceil(self.share * tokens - 1e-9)


class Tower(Part):
    """A stack of layers over one stream of tokens.

    Parameters
    ----------
    name
        ``text``, ``vision``, ``audio``...
    modality
        Kind of input that the tokens stand for.
    width
        Width of the residual stream.
    causal
        Whether tokens see only those before them, and keys and values are cached.
    norm, norm_place
        Norm of every block, and its place: before the block, behind the sum, or before and behind the block.
    layers
        Layers in their order; a file may give a pattern and how often it repeats by `repeat`.
    repeat
        How often all of `layers` follow each other.
    inputs, outputs
        Parts before the first layer, and behind the last one.
    tokens
        Tokens of one image, clip or frame where that is fixed; None: as many as are given.
    every
        Tokens that are given for one of this tower (coarser feature maps of the same image).
    """

    name: str
    modality: Modality = "text"
    width: Count
    causal: bool = True
    norm: NormKind = "rms"
    norm_place: NormPlace = "before"
    layers: tuple[Layer, ...] = ()
    repeat: Count = 1
    inputs: tuple[Edge, ...] = ()
    outputs: tuple[Edge, ...] = ()
    tokens: Count | None = None
    every: Count = 1

    @property
    def runs(self) -> tuple[Layer, ...]:
        """Layers in order, repetitions of patterns written out; layers that follow each other are still counted."""
        return self.layers * self.repeat

    @property
    def depth(self) -> int:
        """Layers."""
        return sum(layer.times for layer in self.runs)

    def layer_weights(self, layer: Layer) -> Iterator[Weight]:
        """Of one of such layers."""
        if layer.routed:
            yield from matrix("router", 1, self.width)
        for number, block in enumerate(layer.blocks):
            prefix = f"{number}.{block.kind}"
            if block.kind != "modulation":
                kind = block.norm or self.norm
                places = ("norm_before", "norm_behind") if self.norm_place == "both" else ("norm",)
                for place in places:
                    yield from within(prefix, norm(place, kind, self.width))
            yield from within(prefix, block.weights(self.width))

    def edge_weights(self) -> Iterator[Weight]:
        """Before and behind the layers."""
        for side, edges in (("inputs", self.inputs), ("outputs", self.outputs)):
            for edge in edges:
                known = edge.model_copy(update={"norm": edge.norm or self.norm}) if isinstance(edge, Norm) else edge
                yield from within(side, known.weights(self.width))

    @cached_property
    def parameters(self) -> int:
        """Weights, tied ones once."""
        layers = sum(layer.times * parameters(self.layer_weights(layer)) for layer in self.runs)
        return layers + parameters(self.edge_weights())

    @property
    def cache_elements(self) -> int:
        """Cached for a token by all layers together, where none of them forgets; 0 where nothing is cached."""
        if not self.causal:
            return 0
        return sum(
            layer.times * block.cache_elements
            for layer in self.runs
            for block in layer.blocks
            if isinstance(block, Attention | LatentAttention)
        )


@dataclass(frozen=True)
class Published:
    """A count of parameters that somebody else published.

    Parameters
    ----------
    parameters
        Number of parameters as published.
    source
        Source that publishes the number.
    digits
        Leading digits that it gives; None: it is exact.
    status
        ``seen``: the count was found in public text, digit for digit; ``named``: the source says where it can be
        looked up, and was not read when the file was written.
    """

    parameters: int
    source: str
    digits: int | None = None
    status: CountStatus = "named"

    def agrees(self, computed: int) -> bool:
        """Whether a computed count is this one, to the digits given."""
        if self.digits is None:
            return computed == self.parameters
        unit = float(10 ** (len(str(self.parameters)) - self.digits))
        return round(computed / unit) == round(self.parameters / unit)


class Model(Part):
    """A model with everything that its weights, work and memory follow from.

    Parameters
    ----------
    name, summary
        Name of the model, and one line for people.
    source
        Where its sizes were published.
    towers
        Towers in the order in which they run; the last causal one makes tokens.
    published
        Its parameters as others count them; None: not known.
    weight_format, expert_format
        Formats in which the matrices, and those of experts, are published: names of `algorithms.chip.layers.formats`;
        an empty one of experts: as the others.
    """

    name: str
    summary: str = ""
    source: str
    towers: tuple[Tower, ...] = Field(min_length=1)
    published: Published | None = None
    weight_format: str = "bfloat16"
    expert_format: str = ""
    aliases: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [tower.name for tower in self.towers]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"tower {twice[0]!r} is there twice")
        return self

    @property
    def parameters(self) -> int:
        """All weights, tied ones once."""
        return sum(tower.parameters for tower in self.towers)

    @property
    def active_parameters(self) -> int:
        """Weights that a token of every tower meets: of experts only the chosen ones; tables are not counted."""
        return sum(_active(tower) for tower in self.towers)

    @property
    def decoder(self) -> Tower | None:
        """The tower that makes tokens, if there is one."""
        causal = [tower for tower in self.towers if tower.causal]
        return causal[-1] if causal else None

    def tower(self, name: str) -> Tower | None:
        """The tower of a name."""
        return next((tower for tower in self.towers if tower.name == name), None)

    def _repr_html_(self) -> str:
        rows = [
            (tower.name, tower.modality, f"{tower.width:,}", f"{tower.depth}", f"{tower.parameters:,}")
            for tower in self.towers
        ]
        caption = f"Model {self.name}: {self.parameters:,} parameters"
        return html_table(caption, ("tower", "modality", "width", "layers", "parameters"), rows)


def _active(tower: Tower) -> int:
    total = 0
    for layer in tower.runs:
        for weight in tower.layer_weights(layer):
            if weight.role != "table":
                total += layer.times * _met(weight, layer)
    return total + sum(
        weight.size or _of_tied(weight) for weight in tower.edge_weights() if weight.role in ("matrix", "vector")
    )


def _met(weight: Weight, layer: Layer) -> int:
    for number, block in enumerate(layer.blocks):
        if isinstance(block, Experts) and weight.name.startswith(f"{number}.experts.experts."):
            return weight.size // block.experts * block.active
    return weight.size


def _of_tied(weight: Weight) -> int:
    return weight.shape[0] * weight.shape[1]
