"""A decoder layer with its gradients: norms, attention with shared KV heads, a gated feed-forward block.

Backward goes through the rows that it is told, from the layer's input alone (everything else is made again); one call
for all rows is what checkpointing does. Rotary embeddings are left out: they turn queries and keys, row by row, and
change no dependency between rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from algorithms.training.linear import (
    Array,
    gated,
    gated_backward,
    linear_backward,
    norm,
    norm_backward,
)
from algorithms.training.rectangles import Rectangle
from hwmodels.reading.errors import InputError, Problem

Weights = Mapping[str, Array]


@dataclass(frozen=True)
class LayerShape:
    """Sizes of a layer.

    Parameters
    ----------
    width
        Numbers of a token.
    heads, kv_heads, head_dim
        Query heads, KV heads, and the width of both.
    hidden
        Width inside the feed-forward block.

    Raises
    ------
    InputError
        If query heads are no multiple of the KV heads.
    """

    width: int
    heads: int
    kv_heads: int
    head_dim: int
    hidden: int

    def __post_init__(self) -> None:
        if self.kv_heads < 1 or self.heads % self.kv_heads:
            raise InputError(
                Problem(f"must be a multiple of kv_heads = {self.kv_heads} (got {self.heads})", field="heads")
            )

    @property
    def sizes(self) -> Mapping[str, tuple[int, ...]]:
        """Shapes of the weights by name."""
        attended, shared = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return {
            "norm_attention": (self.width,),
            "q": (self.width, attended),
            "k": (self.width, shared),
            "v": (self.width, shared),
            "o": (attended, self.width),
            "norm_feed_forward": (self.width,),
            "gate": (self.width, self.hidden),
            "up": (self.width, self.hidden),
            "down": (self.hidden, self.width),
        }

    def drawn(self, seed: int) -> Weights:
        """Random weights, with the variance of one over the inputs of a sum; scales of norms around one."""
        draws = np.random.default_rng(seed)
        return {
            name: draws.standard_normal(size) / np.sqrt(size[0]) if len(size) == 2 else draws.uniform(0.5, 1.5, size)
            for name, size in self.sizes.items()
        }


@dataclass
class LayerBackward:
    """A backward pass through one layer, chunk by chunk of its rows, last rows first or in any other order.

    Keys and values of all rows are made once and kept with their gradients; the rest lives for one chunk.

    Parameters
    ----------
    shape, weights
        Sizes and weights of the layer.
    x
        Input `(tokens, width)`, all that was kept of the forward pass.
    """

    shape: LayerShape
    weights: Weights
    x: Array

    def __post_init__(self) -> None:
        self.normed = norm(self.x, self.weights["norm_attention"])
        self.keys, self.values = self.normed @ self.weights["k"], self.normed @ self.weights["v"]
        self.of_keys, self.of_values = np.zeros_like(self.keys), np.zeros_like(self.values)
        self.of_normed, self.of_x = np.zeros_like(self.x), np.zeros_like(self.x)
        self.gradients = {name: np.zeros_like(weight) for name, weight in self.weights.items()}

    def forward(self, rows: range) -> Array:
        """Outputs of some rows."""
        return self._passed(rows)["out"]

    def _passed(self, rows: range) -> dict[str, Array]:
        """All that some rows make between input and output."""
        own, weights = slice(rows.start, rows.stop), self.weights
        made = {"q": self.normed[own] @ weights["q"]}
        rectangle = self._rectangle(rows)
        made["attended"] = rectangle.forward(made["q"], self.keys[: rows.stop], self.values[: rows.stop])
        made["middle"] = self.x[own] + made["attended"] @ weights["o"]
        made["normed"] = norm(made["middle"], weights["norm_feed_forward"])
        made["gate"], made["up"] = made["normed"] @ weights["gate"], made["normed"] @ weights["up"]
        made["gated"] = gated(made["gate"], made["up"])
        made["out"] = made["middle"] + made["gated"] @ weights["down"]
        return made

    def chunk(self, rows: range, gradient: Array) -> None:
        """Take the gradient `(rows, width)` of the outputs of some rows."""
        made, weights, own = self._passed(rows), self.weights, slice(rows.start, rows.stop)
        of_middle = gradient.copy()
        back = self._linear("down", made["gated"], gradient)
        of_gate, of_up = gated_backward(made["gate"], made["up"], back)
        back = self._linear("gate", made["normed"], of_gate) + self._linear("up", made["normed"], of_up)
        through, scale = norm_backward(made["middle"], weights["norm_feed_forward"], back)
        self.gradients["norm_feed_forward"] += scale
        of_middle += through
        back = self._linear("o", made["attended"], of_middle)
        rectangle = self._rectangle(rows)
        of_q, of_k, of_v = rectangle.backward(made["q"], self.keys[: rows.stop], self.values[: rows.stop], back)
        self.of_keys[: rows.stop] += of_k
        self.of_values[: rows.stop] += of_v
        self.of_normed[own] += self._linear("q", self.normed[own], of_q)
        self.of_x[own] += of_middle

    def finish(self) -> tuple[Array, Weights]:
        """Gradients of the input and of all weights, once all rows have been through."""
        back = self.of_normed
        for name, gradient in (("k", self.of_keys), ("v", self.of_values)):
            back = back + self._linear(name, self.normed, gradient)
        through, scale = norm_backward(self.x, self.weights["norm_attention"], back)
        self.gradients["norm_attention"] += scale
        return self.of_x + through, self.gradients

    def _linear(self, name: str, x: Array, gradient: Array) -> Array:
        """The gradient of the rows; that of the weights is added up."""
        back, of_weights = linear_backward(x, self.weights[name], gradient)
        self.gradients[name] += of_weights
        return back

    def _rectangle(self, rows: range) -> Rectangle:
        return Rectangle(rows.start, rows.stop, self.shape.heads, self.shape.kv_heads)


def chunks_of(tokens: int, chunk: int) -> Iterator[range]:
    """Rows of each chunk, the last one perhaps shorter.

    Raises
    ------
    InputError
        For a chunk below one token, or longer than the sequence.
    """
    if not 1 <= chunk <= tokens:
        raise InputError(
            Problem(f"must be from 1 to the {tokens:,} tokens of a sequence (got {chunk:,})", field="chunk")
        )
    for start in range(0, tokens, chunk):
        yield range(start, min(start + chunk, tokens))
