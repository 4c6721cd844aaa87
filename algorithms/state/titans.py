"""Titans' neural memory: a small network that learns keys to values while tokens pass, with momentum and forgetting.

    S_t = n_t S_(t-1) - b_t grad |M(k_t) - v_t|^2        M_t = (1 - a_t) M_(t-1) + S_t        o_t = M_t(q_t)

(Behrouz et al. 2025, arXiv:2501.00663). Gradients are taken at the weights with which a batch of tokens began, so that
those of a batch are products of matrices; momentum and forgetting go on from token to token. Here ``1 - a`` is the gate
``decay``, ``n`` is ``momentum`` and ``b`` is ``strength``.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from algorithms.state.rule import (
    Array,
    Gate,
    Memory,
    Parameter,
    Product,
    Shape,
    StateRule,
    Tokens,
    Work,
    at_least,
    state_rule,
)

_EXPS_PER_SILU = 1


def silu(x: Array) -> Array:
    """`x / (1 + exp(-x))`."""
    return x * _sigmoid(x)


def _silu_slope(x: Array) -> Array:
    share = _sigmoid(x)
    return share * (1.0 + x * (1.0 - share))


def _sigmoid(x: Array) -> Array:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


@state_rule("titans")
class NeuralMemory(StateRule):
    """Titans' neural memory (Behrouz et al. 2025, arXiv:2501.00663): weights that are trained on the tokens they see.

    Parameters
    ----------
    depth
        Layers of the network: 1 is a matrix, each further one a matrix behind a SiLU.
    hidden
        Width of inner layers; that of the keys when 0.
    batch
        Tokens whose gradients are taken at the same weights.
    seed
        Seed of the first weights, which the paper learns.
    """

    gates: ClassVar[tuple[Gate, ...]] = ("decay", "strength", "momentum")
    counters: ClassVar[tuple[str, ...]] = ("passed",)
    examples: ClassVar[tuple[Mapping[str, Parameter], ...]] = (
        {"depth": 1, "batch": 5},
        {"depth": 3, "hidden": 5, "batch": 4},
        {"batch": 1},
    )
    depth: int = 2
    hidden: int = 0
    batch: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(self, depth=1, hidden=0, batch=1)

    def widths(self, key_dim: int, value_dim: int) -> list[int]:
        """Widths between the layers, those of keys and values at the ends."""
        return [key_dim, *[self.hidden or key_dim] * (self.depth - 1), value_dim]

    def first_weights(self, key_dim: int, value_dim: int) -> list[Array]:
        """Weights before the first token, `(rows in, columns out)` per layer, normal with variance 1/rows."""
        widths = self.widths(key_dim, value_dim)
        draws = np.random.default_rng(self.seed)
        return [draws.standard_normal(pair) / np.sqrt(pair[0]) for pair in itertools.pairwise(widths)]

    def start(self, streams: int, key_dim: int, value_dim: int) -> Memory:
        memory: dict[str, Array] = {"passed": np.zeros((streams, 1))}
        for layer, weights in enumerate(self.first_weights(key_dim, value_dim)):
            many = np.repeat(weights[None], streams, axis=0)
            memory |= {f"weights{layer}": many, f"change{layer}": np.zeros_like(many)}
        return self._anchored(memory)

    def write(self, memory: Memory, token: Tokens) -> Memory:
        memory = self._anchored(memory)
        inputs, errors = self._gradients(memory, token)
        gate = {name: token.gates[name][:, 0, None, None] for name in self.gates}
        after = {"passed": memory["passed"] + 1.0}
        for layer in range(self.depth):
            gradient = inputs[layer].swapaxes(1, 2) @ errors[layer]
            change = gate["momentum"] * memory[f"change{layer}"] - gate["strength"] * gradient
            after[f"change{layer}"] = change
            after[f"weights{layer}"] = gate["decay"] * memory[f"weights{layer}"] + change
        return {**after, **self._anchors(memory)}

    def read(self, memory: Memory, q: Array) -> Array:
        rows = q
        for layer in range(self.depth):
            rows = (silu(rows) if layer else rows) @ memory[f"weights{layer}"][:, None]
        return rows

    def chunk(self, memory: Memory, tokens: Tokens) -> tuple[Memory, Array]:
        parts, start = [], 0
        while start < tokens.count:
            memory = self._anchored(memory)
            room = self.batch - int(memory["passed"][0, 0]) % self.batch
            piece = tokens[start : start + room]
            memory, part = self._together(memory, piece)
            parts.append(part)
            start += piece.count
        return memory, np.concatenate(parts, axis=-2)

    def _anchored(self, memory: Memory) -> Memory:
        """The memory with its present weights as those that gradients are taken at, where a batch begins."""
        if self.batch == 1 or int(memory["passed"][0, 0]) % self.batch:
            return memory
        return {**memory, **{f"anchor{layer}": memory[f"weights{layer}"] for layer in range(self.depth)}}

    def _anchors(self, memory: Memory) -> Memory:
        """The weights that a batch began with, which are kept while it lasts; a batch of one needs none."""
        return {name: array for name, array in memory.items() if name.startswith("anchor")}

    def _anchor(self, memory: Memory, layer: int) -> Array:
        return memory[f"weights{layer}" if self.batch == 1 else f"anchor{layer}"]

    def _gradients(self, memory: Memory, tokens: Tokens) -> tuple[list[Array], list[Array]]:
        """Per layer its inputs and the errors at its outputs; their outer product is a token's gradient."""
        inputs, sums = [tokens.k], [tokens.k @ self._anchor(memory, 0)]
        for layer in range(1, self.depth):
            inputs.append(silu(sums[-1]))
            sums.append(inputs[-1] @ self._anchor(memory, layer))
        errors = [2.0 * (sums[-1] - tokens.v)]
        for layer in range(self.depth - 1, 0, -1):
            back = errors[0] @ self._anchor(memory, layer).swapaxes(1, 2)
            errors.insert(0, back * _silu_slope(sums[layer - 1]))
        return inputs, errors

    def _together(self, memory: Memory, tokens: Tokens) -> tuple[Memory, Array]:
        """Tokens of one batch: their weights are never formed one by one, only what queries read of them."""
        inputs, errors = self._gradients(memory, tokens)
        mixing = _Mixing.of(tokens)
        rows = tokens.q
        after: dict[str, Array] = {"passed": memory["passed"] + tokens.count}
        for layer in range(self.depth):
            rows = silu(rows) if layer else rows
            weights, change = memory[f"weights{layer}"], memory[f"change{layer}"]
            overlap = (rows @ inputs[layer][:, None].swapaxes(-1, -2)) * mixing.of_gradients[:, None]
            old = mixing.of_weights[:, None, :, None] * (rows @ weights[:, None])
            moving = mixing.of_change[:, None, :, None] * (rows @ change[:, None])
            scaled = inputs[layer] * mixing.of_gradients[:, -1, :, None]
            after[f"weights{layer}"] = (
                mixing.of_weights[:, -1, None, None] * weights
                + mixing.of_change[:, -1, None, None] * change
                + scaled.swapaxes(1, 2) @ errors[layer]
            )
            pushed = inputs[layer] * mixing.into_change[..., None]
            after[f"change{layer}"] = mixing.kept_change[:, None, None] * change + pushed.swapaxes(1, 2) @ errors[layer]
            rows = old + moving + overlap @ errors[layer][:, None]
        return {**after, **self._anchors(memory)}, rows

    def held_elements(self, shape: Shape) -> int:
        """Weights, momentum, and the weights that a batch began with where it has more than one token."""
        return self._parameters(shape) * (2 + (self.batch > 1))

    def moved_elements(self, shape: Shape) -> float:
        """Weights and momentum are read for every token, which they answer, and written once per batch."""
        return (2.0 + 2.0 / self.batch) * self._parameters(shape)

    def step_work(self, shape: Shape) -> Work:
        work = self.chunk_work(shape, 1)
        return Work(vector_flops=work.matrix_flops + work.vector_flops, exps=work.exps)

    def chunk_work(self, shape: Shape, tokens: int) -> Work:
        """Forward and backward of the keys, the sums into weights and momentum, and the reads of the queries."""
        parameters = self._parameters(shape)
        inner = shape.kv_heads * (self.depth - 1) * (self.hidden or shape.key_dim)
        first = 2.0 * shape.kv_heads * shape.key_dim * self.widths(shape.key_dim, shape.value_dim)[1]
        training = tokens * (2.0 * parameters + (2.0 * parameters - first) + 4.0 * parameters)
        batches = -(-tokens // self.batch)
        pairs = batches * (min(tokens, self.batch) + 1) * min(tokens, self.batch) / 2
        widths = self.widths(shape.key_dim, shape.value_dim)
        ends = sum(a + b for a, b in itertools.pairwise(widths))
        reading = shape.group * (4.0 * tokens * parameters + 2.0 * shape.kv_heads * pairs * ends)
        return Work(
            matrix_flops=training + reading,
            vector_flops=4.0 * batches * parameters + 8.0 * tokens * inner * (1 + shape.group),
            exps=float(_EXPS_PER_SILU * tokens * inner * (1 + shape.group)),
        )

    def chunk_products(self, shape: Shape, tokens: int) -> tuple[Product, ...]:
        """Keys forward, errors backward, sums into weights and momentum, reads of the queries; per batch and layer."""
        size, queries = min(tokens, self.batch), shape.group * min(tokens, self.batch)
        batches = -(-tokens // self.batch)
        found: list[Product] = []
        for layer, (a, b) in enumerate(itertools.pairwise(self.widths(shape.key_dim, shape.value_dim))):
            backward = [Product(size, a, b, batches)] if layer else []
            sums = Product(a, b, size, 2 * batches)
            reads = [Product(queries, b, a, 2 * batches), Product(queries, size, a, batches)]
            found += [Product(size, b, a, batches), *backward, sums, *reads, Product(queries, b, size, batches)]
        return tuple(found)

    def _parameters(self, shape: Shape) -> int:
        widths = self.widths(shape.key_dim, shape.value_dim)
        return shape.kv_heads * sum(a * b for a, b in itertools.pairwise(widths))


class _Mixing:
    """How much of what a batch began with, and of each of its gradients, is in the weights after each token."""

    def __init__(self, weights: Array, change: Array, gradients: Array, kept: Array, into: Array) -> None:
        self.of_weights, self.of_change, self.of_gradients = weights, change, gradients
        self.kept_change, self.into_change = kept, into

    @classmethod
    def of(cls, tokens: Tokens) -> _Mixing:
        """The recurrences of weights and momentum, with numbers in place of matrices."""
        decay, strength, momentum = (tokens.gates[name] for name in ("decay", "strength", "momentum"))
        streams, count = decay.shape
        of_weights, of_change = np.empty((streams, count)), np.empty((streams, count))
        of_gradients = np.zeros((streams, count, count))
        old, moving, kept = np.ones(streams), np.zeros(streams), np.ones(streams)
        written, pushed = np.zeros((streams, count)), np.zeros((streams, count))
        for i in range(count):
            kept = momentum[:, i] * kept
            pushed = momentum[:, i, None] * pushed
            pushed[:, i] -= strength[:, i]
            old, moving = decay[:, i] * old, decay[:, i] * moving + kept
            written = decay[:, i, None] * written + pushed
            of_weights[:, i], of_change[:, i], of_gradients[:, i] = old, moving, written
        return cls(of_weights, of_change, of_gradients, kept, pushed)
