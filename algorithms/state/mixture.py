"""Mixture of memories: a router sends each token to a few of several memories; one more sees every token.

Memories are written by the gated delta rule and read by the same query; reads are summed by the router's weights, those
of the shared memory with weight one (Du et al. 2025, arXiv:2502.13685). A memory that a token is not routed to stays as
it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np

from algorithms.state.delta import GatedDelta
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
from hwmodels.reading.errors import InputError, Problem


@state_rule("mixture")
class MixtureOfMemories(StateRule):
    """Mixture of memories (Du et al. 2025, arXiv:2502.13685): routed gated-delta memories and a shared one.

    Keys and values are `(streams, memories + 1, n, dim)`, as each memory has projections of its own, the shared one
    last; gates are those of all memories.

    Parameters
    ----------
    memories
        Routed memories.
    top
        Memories that a token is routed to.
    """

    gates: ClassVar[tuple[Gate, ...]] = ("decay", "strength", "route")
    examples: ClassVar[tuple[Mapping[str, Parameter], ...]] = ({"memories": 3, "top": 1},)
    memories: int = 4
    top: int = 2

    def __post_init__(self) -> None:
        at_least(self, memories=1, top=1)
        if self.top > self.memories:
            raise InputError(Problem(f"must be at most memories, {self.memories} (got {self.top})", field="top"))

    def start(self, streams: int, key_dim: int, value_dim: int) -> Memory:
        return {"matrices": np.zeros((streams, self.memories + 1, key_dim, value_dim))}

    def shares(self, route: Array) -> Array:
        """Weights `(streams, n, memories + 1)`: a softmax over the largest logits, and one for the shared memory."""
        order = np.argsort(-route, axis=-1, kind="stable")[..., : self.top]
        chosen = np.zeros(route.shape, dtype=bool)
        np.put_along_axis(chosen, order, True, axis=-1)
        weights = np.where(chosen, np.exp(route - route.max(axis=-1, keepdims=True)), 0.0)
        weights = weights / weights.sum(axis=-1, keepdims=True)
        return np.concatenate([weights, np.ones((*route.shape[:-1], 1))], axis=-1)

    def write(self, memory: Memory, token: Tokens) -> Memory:
        return self.step(memory, token)[0]

    def read(self, memory: Memory, q: Array) -> Array:
        """What queries read of the shared memory; a routed one needs the route of a token, see `step`."""
        return q @ memory["matrices"][:, -1, None]

    def step(self, memory: Memory, token: Tokens) -> tuple[Memory, Array]:
        return self._passed(memory, token, chunked=False)

    def chunk(self, memory: Memory, tokens: Tokens) -> tuple[Memory, Array]:
        return self._passed(memory, tokens, chunked=True)

    def _passed(self, memory: Memory, tokens: Tokens, *, chunked: bool) -> tuple[Memory, Array]:
        """Each memory of each stream on its own, as the tokens of each are others: regrouped, and put back."""
        shares, rule = self.shares(tokens.gates["route"]), GatedDelta()
        after = memory["matrices"].copy()
        out = np.zeros((*tokens.q.shape[:-1], tokens.v.shape[-1]))
        for stream, number in np.ndindex(after.shape[:2]):
            (own,) = np.nonzero(shares[stream, :, number])
            if not len(own):
                continue
            part = Tokens(
                tokens.q[stream : stream + 1][:, :, own],
                tokens.k[stream : stream + 1, number, own],
                tokens.v[stream : stream + 1, number, own],
                {gate: tokens.gates[gate][stream : stream + 1, own] for gate in rule.gates},
            )
            one = {"matrix": after[stream : stream + 1, number]}
            changed, answer = rule.chunk(one, part) if chunked else rule.step(one, part)
            after[stream, number] = changed["matrix"][0]
            out[stream][:, own] += shares[stream, own, number][:, None] * answer[0]
        return {"matrices": after}, out

    def moved_elements(self, shape: Shape) -> float:
        """Only the memories that a token goes to, and the shared one, are read and written."""
        return 2.0 * shape.kv_heads * (self.top + 1) * shape.key_dim * shape.value_dim

    def step_work(self, shape: Shape) -> Work:
        return GatedDelta().step_work(shape).times(self.top + 1) + self._routing(shape, 1)

    def chunk_work(self, shape: Shape, tokens: int) -> Work:
        """Tokens spread evenly over the routed memories, and all of them through the shared one."""
        rule = GatedDelta()
        share = max(1, round(tokens * self.top / self.memories))
        routed = rule.chunk_work(shape, share).times(self.memories)
        return routed + rule.chunk_work(shape, tokens) + self._routing(shape, tokens)

    def chunk_products(self, shape: Shape, tokens: int) -> tuple[Product, ...]:
        """Those of every routed memory for its share of the tokens, and of the shared one for all."""
        rule = GatedDelta()
        share = max(1, round(tokens * self.top / self.memories))
        routed = (replace(each, times=self.memories) for each in rule.chunk_products(shape, share))
        return (*routed, *rule.chunk_products(shape, tokens))

    def _routing(self, shape: Shape, tokens: int) -> Work:
        summed = 2.0 * (self.top + 1) * shape.kv_heads * shape.group * shape.value_dim
        return Work(vector_flops=tokens * (summed + self.memories), exps=float(tokens * self.memories))
