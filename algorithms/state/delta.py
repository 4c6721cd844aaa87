"""Matrices of associations that forget and correct themselves: decayed sums, the delta rule, and both together.

    S_t = a_t S_(t-1) + k_t (b_t (v_t - a_t k_t^T S_(t-1)))^T          o_t = S_t^T q_t

With ``a = 1`` this is the delta rule (Schlag et al. 2021, arXiv:2102.11174; chunked by Yang et al. 2024,
arXiv:2406.06484), with gates the gated delta net (Yang et al. 2024, arXiv:2412.06464); without the correction it is the
scalar decay of Mamba-2's state-space duality (Dao and Gu 2024, arXiv:2405.21060).

In a chunk the corrected values solve a triangular system: with ``g_i`` the product of the decays up to token i,

    d_i = b_i (v_i - g_i k_i^T S_0 - sum over j < i of (g_i / g_j) (k_i . k_j) d_j)
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from algorithms.state.linear import passing_products
from algorithms.state.rule import Array, Decays, Gate, Memory, Product, Shape, StateRule, Tokens, Work, state_rule


class _Matrix(StateRule):
    """A matrix `(key_dim, value_dim)` per stream, read by products with queries."""

    def start(self, streams: int, key_dim: int, value_dim: int) -> Memory:
        return {"matrix": np.zeros((streams, key_dim, value_dim))}

    def read(self, memory: Memory, q: Array) -> Array:
        return q @ memory["matrix"][:, None]

    def _passed(self, memory: Memory, tokens: Tokens, written: Array) -> tuple[Memory, Array]:
        """Memory and outputs of a chunk whose tokens write the rows of `written`, under the decays of the chunk."""
        decays = _decays(tokens)
        inside = (tokens.q @ tokens.k[:, None].swapaxes(-1, -2)) * decays.between[:, None]
        before = decays.since_start[:, None, :, None] * self.read(memory, tokens.q)
        kept = decays.since_start[:, -1, None, None] * memory["matrix"]
        matrix = kept + (decays.to_end[..., None] * tokens.k).swapaxes(1, 2) @ written
        return {"matrix": matrix}, before + inside @ written[:, None]

    def _passing_work(self, shape: Shape, tokens: int) -> Work:
        """Products of a chunk with the matrix, and inside it, without the correction; decays on vectors."""
        heads, group, d_k, d_v = shape.kv_heads, shape.group, shape.key_dim, shape.value_dim
        pairs = tokens * (tokens + 1) / 2
        products = 2.0 * heads * (1 + group) * tokens * d_k * d_v + 2.0 * heads * group * pairs * (d_k + d_v)
        scaled = heads * (group * pairs + tokens * (d_k + group * d_v) + d_k * d_v) if "decay" in self.gates else 0.0
        return Work(products, scaled, heads * (pairs + tokens) if "decay" in self.gates else 0.0)

    def chunk_products(self, shape: Shape, tokens: int) -> tuple[Product, ...]:
        return passing_products(shape.group * tokens, tokens, shape.key_dim, shape.value_dim)

    def _step_work(self, shape: Shape) -> Work:
        """One outer product and the reads of a step; a decay scales the matrix."""
        heads, group, d_k, d_v = shape.kv_heads, shape.group, shape.key_dim, shape.value_dim
        return Work(vector_flops=heads * d_k * d_v * (2.0 * (1 + group) + ("decay" in self.gates)))


def _decays(tokens: Tokens) -> Decays:
    decay = tokens.gates.get("decay")
    return Decays.of(np.ones(tokens.k.shape[:2]) if decay is None else decay)


@state_rule("ssd")
class StateSpaceDual(_Matrix):
    """Mamba-2's state space dual (Dao and Gu 2024, arXiv:2405.21060): outer products under a scalar decay.

    In the paper's words keys are ``B``, queries ``C``, values ``dt x`` and the decay is ``exp(dt A)``.
    """

    gates: ClassVar[tuple[Gate, ...]] = ("decay",)

    def write(self, memory: Memory, token: Tokens) -> Memory:
        kept = token.gates["decay"][:, 0, None, None] * memory["matrix"]
        return {"matrix": kept + token.k[:, 0, :, None] * token.v[:, 0, None, :]}

    def chunk(self, memory: Memory, tokens: Tokens) -> tuple[Memory, Array]:
        return self._passed(memory, tokens, tokens.v)

    def step_work(self, shape: Shape) -> Work:
        return self._step_work(shape)

    def chunk_work(self, shape: Shape, tokens: int) -> Work:
        return self._passing_work(shape, tokens)


class _Corrected(_Matrix):
    """Writes what the matrix does not return for a key yet."""

    def write(self, memory: Memory, token: Tokens) -> Memory:
        kept = _decays(token).since_start[:, 0, None, None] * memory["matrix"]
        key = token.k[:, 0]
        returned = (key[:, None, :] @ kept)[:, 0]
        missing = token.gates["strength"][:, :1] * (token.v[:, 0] - returned)
        return {"matrix": kept + key[:, :, None] * missing[:, None, :]}

    def chunk(self, memory: Memory, tokens: Tokens) -> tuple[Memory, Array]:
        return self._passed(memory, tokens, self._missing(memory, tokens))

    def _missing(self, memory: Memory, tokens: Tokens) -> Array:
        """What every token of a chunk writes, `(streams, n, value_dim)`: the solution of the triangular system."""
        decays, strength = _decays(tokens), tokens.gates["strength"][..., None]
        seen = np.tril(tokens.k @ tokens.k.swapaxes(1, 2) * decays.between, -1)
        target = tokens.v - decays.since_start[..., None] * (tokens.k @ memory["matrix"])
        system = np.eye(tokens.count) + strength * seen
        missing: Array = np.linalg.solve(system, strength * target).astype(np.float64, copy=False)
        return missing

    def step_work(self, shape: Shape) -> Work:
        returned = shape.kv_heads * (2.0 * shape.key_dim * shape.value_dim + 2.0 * shape.value_dim)
        return self._step_work(shape) + Work(vector_flops=returned)

    def chunk_work(self, shape: Shape, tokens: int) -> Work:
        """The keys' own products and reads, and the triangular system solved for all value columns."""
        heads, d_k, d_v = shape.kv_heads, shape.key_dim, shape.value_dim
        pairs = tokens * (tokens - 1) / 2
        correction = 2.0 * heads * (pairs * d_k + tokens * d_k * d_v + pairs * d_v)
        scaled = heads * (2.0 * pairs + 3.0 * tokens * d_v)
        return self._passing_work(shape, tokens) + Work(correction, scaled)

    def chunk_products(self, shape: Shape, tokens: int) -> tuple[Product, ...]:
        """The triangular system is solved in blocks, whose products are those of one with its inverse."""
        d_k, d_v = shape.key_dim, shape.value_dim
        own = (Product(tokens, tokens, d_k), Product(tokens, d_v, d_k), Product(tokens, d_v, tokens))
        return (*super().chunk_products(shape, tokens), *own)


@state_rule("delta")
class DeltaRule(_Corrected):
    """Delta rule (Schlag et al. 2021, arXiv:2102.11174): writes the difference to what the memory returns."""

    gates: ClassVar[tuple[Gate, ...]] = ("strength",)


@state_rule("gated_delta")
class GatedDelta(_Corrected):
    """Gated delta net (Yang et al. 2024, arXiv:2412.06464): the delta rule on a memory that decays."""

    gates: ClassVar[tuple[Gate, ...]] = ("decay", "strength")
