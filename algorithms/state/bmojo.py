"""B'MOJO: softmax over a window, over tokens that surprised, and over summaries of what fades.

    S_t = a_t S_(t-1) + k_t v_t^T                    a state space memory, which fades
    surprise_t = |v_t - a_t S_(t-1)^T k_t|^2 / |v_t|^2
    out_t = softmax(q_t K^T / sqrt(d)) V             K, V: window, eidetic tokens, fading tokens

(Zancato et al. 2024, arXiv:2407.06324). The last tokens are a window. One that leaves it becomes eidetic if the memory
had predicted it badly when it came; the oldest eidetic token leaves. At the end of every segment the memory, read by
the key of the last token, becomes a fading token; as many are kept as segments fit into the window.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from algorithms.state.delta import StateSpaceDual
from algorithms.state.rule import (
    Array,
    Decays,
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

Marks = NDArray[np.bool_]


@state_rule("bmojo")
class BMojo(StateRule):
    """B'MOJO (Zancato et al. 2024, arXiv:2407.06324): a window, eidetic tokens and fading summaries under one softmax.

    Parameters
    ----------
    window
        Tokens that are attended whatever they are.
    eidetic
        Tokens kept for their surprise.
    segment
        Tokens per fading token.
    threshold
        Share of a value's energy that the memory must have missed for its token to be kept.
    """

    gates: ClassVar[tuple[Gate, ...]] = ("decay",)
    counters: ClassVar[tuple[str, ...]] = ("passed", "surprising", "eidetic_count")
    examples: ClassVar[tuple[Mapping[str, Parameter], ...]] = (
        {"window": 5, "eidetic": 3, "segment": 2},
        {"window": 4, "eidetic": 2, "segment": 3, "threshold": 0.5},
        {"window": 1, "eidetic": 1, "segment": 1, "threshold": 1e9},
    )
    window: int = 512
    eidetic: int = 128
    segment: int = 32
    threshold: float = 1.0

    def __post_init__(self) -> None:
        at_least(self, window=1, eidetic=1, segment=1, threshold=0.0)

    @property
    def fading(self) -> int:
        """Fading tokens that are kept."""
        return max(1, self.window // self.segment)

    @property
    def attended(self) -> int:
        """Most tokens that a query attends."""
        return self.window + self.eidetic + self.fading

    def start(self, streams: int, key_dim: int, value_dim: int) -> Memory:
        memory: dict[str, Array] = {
            "matrix": np.zeros((streams, key_dim, value_dim)),
            "passed": np.zeros((streams, 1)),
            "surprising": np.zeros((streams, self.window)),
            "eidetic_count": np.zeros((streams, 1)),
        }
        for part, size in (("window", self.window), ("eidetic", self.eidetic), ("fading", self.fading)):
            memory[f"{part}_keys"] = np.zeros((streams, size, key_dim))
            memory[f"{part}_values"] = np.zeros((streams, size, value_dim))
        return memory

    def write(self, memory: Memory, token: Tokens) -> Memory:
        decay, key, value = token.gates["decay"][:, :1], token.k[:, 0], token.v[:, 0]
        kept = decay[..., None] * memory["matrix"]
        missed = value - np.einsum("sd,sdv->sv", key, kept)
        matrix = kept + key[:, :, None] * value[:, None, :]
        surprising = _energy(missed) > self.threshold * _energy(value)
        after = dict(memory)
        self._remember(after, memory)
        for name, new in (("window_keys", key), ("window_values", value), ("surprising", surprising)):
            after[name] = np.concatenate([memory[name][:, 1:], new[:, None]], axis=1)
        after |= {"matrix": matrix, "passed": memory["passed"] + 1.0}
        if int(after["passed"][0, 0]) % self.segment == 0:
            summary = np.einsum("sd,sdv->sv", key, matrix)
            for name, new in (("fading_keys", key), ("fading_values", summary)):
                after[name] = np.concatenate([memory[name][:, 1:], new[:, None]], axis=1)
        return after

    def _remember(self, after: dict[str, Array], memory: Memory) -> None:
        """Keep what leaves the full window of `memory`, in the streams in which it surprised."""
        if memory["passed"][0, 0] < self.window:
            return
        leaves = memory["surprising"][:, 0] > 0
        for part in ("keys", "values"):
            old, new = memory[f"eidetic_{part}"], memory[f"window_{part}"][:, :1]
            shifted = np.concatenate([old[:, 1:], new], axis=1)
            after[f"eidetic_{part}"] = np.where(leaves[:, None, None], shifted, old)
        count = memory["eidetic_count"] + leaves[:, None]
        after["eidetic_count"] = np.minimum(count, self.eidetic)

    def read(self, memory: Memory, q: Array) -> Array:
        """All queries see all that is kept; nothing is read of an empty memory."""
        passed = int(memory["passed"][0, 0])
        if passed == 0:
            return np.zeros((*q.shape[:-1], memory["window_values"].shape[-1]))
        keys, values = self._kept(memory)
        streams = len(keys)
        newest = np.arange(self.fading) >= self.fading - min(passed // self.segment, self.fading)
        window = np.arange(self.window) >= self.window - min(passed, self.window)
        visible = np.concatenate(
            [np.broadcast_to(newest, (streams, self.fading)), self._eidetic(memory), np.tile(window, (streams, 1))],
            axis=1,
        )
        return _attended(q, keys, values, visible[:, None, :])

    def chunk(self, memory: Memory, tokens: Tokens) -> tuple[Memory, Array]:
        reach = _Reach.of(self, memory, tokens)
        out = _attended(tokens.q, reach.keys, reach.values, reach.visible)
        return reach.after(memory), out

    def _eidetic(self, memory: Memory) -> Marks:
        """`(streams, eidetic)`: places that hold a token; the newest is last."""
        held: Marks = np.arange(self.eidetic) >= self.eidetic - memory["eidetic_count"]
        return held

    def _kept(self, memory: Memory) -> tuple[Array, Array]:
        """Keys and values of fading tokens, eidetic ones and the window."""
        keys, values = (
            np.concatenate([memory[f"{part}_{what}"] for part in ("fading", "eidetic", "window")], axis=1)
            for what in ("keys", "values")
        )
        return keys, values

    def held_elements(self, shape: Shape) -> int:
        widths = shape.key_dim + shape.value_dim
        return shape.kv_heads * (shape.key_dim * shape.value_dim + self.attended * widths)

    def moved_elements(self, shape: Shape) -> float:
        """All is read, the matrix and one token are written."""
        return self.held_elements(shape) + shape.kv_heads * (
            shape.key_dim * shape.value_dim + (shape.key_dim + shape.value_dim) * (1 + 1 / self.segment)
        )

    def carried_elements(self, shape: Shape) -> int:
        """The window is loaded again for every chunk, as attention does."""
        return self.held_elements(shape) - shape.kv_heads * self.window * (shape.key_dim + shape.value_dim)

    def loaded_again(self, shape: Shape, tokens: int) -> float:
        return float(shape.kv_heads * self.window * (shape.key_dim + shape.value_dim))

    def step_work(self, shape: Shape) -> Work:
        work = self.chunk_work(shape, 1)
        return Work(vector_flops=work.matrix_flops + work.vector_flops, exps=work.exps)

    def chunk_work(self, shape: Shape, tokens: int) -> Work:
        """Full memories: every query attends all that is kept; the state space memory predicts and takes in values."""
        heads, group, d_k, d_v = shape.kv_heads, shape.group, shape.key_dim, shape.value_dim
        rows = heads * group * tokens * self.attended
        predicting = StateSpaceDual().chunk_work(Shape(heads, 1, d_k, d_v), tokens)
        scored = 4.0 * heads * tokens * d_v
        return predicting + Work(2.0 * rows * (d_k + d_v), 2.0 * rows + scored, rows)

    def chunk_products(self, shape: Shape, tokens: int) -> tuple[Product, ...]:
        """Blocks of queries with the keys of their block and what is attended before it; then the fading memory's."""
        block = min(tokens, self.attended)
        whole, rest = divmod(tokens, block)
        attending: list[Product] = []
        for size, times in ((block, whole), (rest, 1)):
            if size:
                queries, keys = shape.group * size, size + self.attended
                attending.append(Product(queries, keys, shape.key_dim, times))
                attending.append(Product(queries, shape.value_dim, keys, times))
        predicting = StateSpaceDual().chunk_products(Shape(1, 1, shape.key_dim, shape.value_dim), tokens)
        return (*attending, *predicting)


@dataclass(frozen=True)
class _Reach:
    """All that the queries of a chunk might attend, and which of it each of them does.

    Candidates are fading tokens, old and new, then eidetic tokens, the window and the new tokens, each oldest first.
    """

    rule: BMojo
    fading: tuple[Array, Array]
    stored: tuple[Array, Array]
    marked: Marks
    matrix: Array
    passed: int
    count: int

    @classmethod
    def of(cls, rule: BMojo, memory: Memory, tokens: Tokens) -> _Reach:
        decays = Decays.of(tokens.gates["decay"])
        overlap = tokens.k @ tokens.k.swapaxes(1, 2) * decays.between
        before = decays.since_start[..., None] * (tokens.k @ memory["matrix"])
        predicted = before + np.tril(overlap, -1) @ tokens.v
        surprising = _energy(tokens.v - predicted) > rule.threshold * _energy(tokens.v)
        passed = int(memory["passed"][0, 0])
        ends = [i for i in range(tokens.count) if (passed + i + 1) % rule.segment == 0]
        summaries = (before + overlap @ tokens.v)[:, ends]
        window = np.arange(rule.window) >= rule.window - passed
        marks = (rule._eidetic(memory), (memory["surprising"] > 0) & window, surprising)
        kept = decays.since_start[:, -1, None, None] * memory["matrix"]
        stored_keys = [memory["eidetic_keys"], memory["window_keys"], tokens.k]
        stored_values = [memory["eidetic_values"], memory["window_values"], tokens.v]
        fading_keys, fading_values = [memory["fading_keys"], tokens.k[:, ends]], [memory["fading_values"], summaries]
        return cls(
            rule,
            (np.concatenate(fading_keys, axis=1), np.concatenate(fading_values, axis=1)),
            (np.concatenate(stored_keys, axis=1), np.concatenate(stored_values, axis=1)),
            np.concatenate(marks, axis=1),
            kept + (decays.to_end[..., None] * tokens.k).swapaxes(1, 2) @ tokens.v,
            passed,
            tokens.count,
        )

    @property
    def keys(self) -> Array:
        """Keys of all candidates, `(streams, candidates, key_dim)`."""
        return np.concatenate([self.fading[0], self.stored[0]], axis=1)

    @property
    def values(self) -> Array:
        """Values of all candidates, `(streams, candidates, value_dim)`."""
        return np.concatenate([self.fading[1], self.stored[1]], axis=1)

    @property
    def places(self) -> NDArray[np.int64]:
        """Number of each stored candidate in the sequence; eidetic tokens left the window long ago."""
        rule, first = self.rule, self.passed - self.rule.window
        recent = np.arange(first, self.passed + self.count)
        return np.concatenate([np.full(rule.eidetic, first - rule.window - self.count), recent]).astype(np.int64)

    @property
    def visible(self) -> Marks:
        """`(streams, queries, candidates)`."""
        rule, streams = self.rule, len(self.marked)
        queries = np.arange(self.passed, self.passed + self.count)[:, None]
        # summaries in order of their segments, the first `fading` of which came before this chunk
        ended = self.passed // rule.segment
        summary = np.arange(ended - rule.fading, ended - rule.fading + self.fading[0].shape[1])
        last = (queries + 1) // rule.segment
        fading = (summary >= 0) & (summary < last) & (summary >= last - rule.fading)
        places = self.places
        recent = (places >= 0) & (places > queries - rule.window) & (places <= queries)
        recent[:, : rule.eidetic] = False
        gone = self._gone(queries[:, 0])
        rank = np.cumsum(self.marked, axis=1)[:, None, :]
        eidetic = self.marked[:, None, :] & (rank <= gone[..., None]) & (rank > gone[..., None] - rule.eidetic)
        return np.concatenate([np.broadcast_to(fading, (streams, *fading.shape)), eidetic | recent], axis=2)

    def _gone(self, queries: NDArray[np.int64]) -> NDArray[np.int64]:
        """`(streams, queries)`: marked candidates that have left the window when each query is answered."""
        left = self.places[None, :] <= queries[:, None] - self.rule.window
        counted: NDArray[np.int64] = self.marked.astype(np.int64) @ left.T.astype(np.int64)
        return counted

    def after(self, memory: Memory) -> Memory:
        """The memory behind the last token."""
        rule = self.rule
        found: dict[str, Array] = {"matrix": self.matrix, "passed": memory["passed"] + self.count}
        last = self._gone(np.array([self.passed + self.count - 1]))[:, 0]
        rank = np.cumsum(self.marked, axis=1)
        chosen = self.marked & (rank <= last[:, None]) & (rank > last[:, None] - rule.eidetic)
        for number, what in enumerate(("keys", "values")):
            eidetic = np.zeros_like(memory[f"eidetic_{what}"])
            for stream, own in enumerate(chosen):
                if own.any():
                    eidetic[stream, -int(own.sum()) :] = self.stored[number][stream, own]
            found[f"eidetic_{what}"] = eidetic
            found[f"window_{what}"] = self.stored[number][:, -rule.window :]
            found[f"fading_{what}"] = self.fading[number][:, -rule.fading :]
        found["surprising"] = self.marked[:, -rule.window :].astype(np.float64)
        found["eidetic_count"] = chosen.sum(axis=1, keepdims=True).astype(np.float64)
        return found


def _energy(rows: Array) -> Array:
    """Sum of squares of each row."""
    total: Array = (rows * rows).sum(axis=-1)
    return total


def _attended(q: Array, keys: Array, values: Array, visible: Marks) -> Array:
    """Softmax attention of queries `(streams, group, n, d)` to what each sees, `visible` `(streams, n or 1, keys)`."""
    scores = q @ keys[:, None].swapaxes(-1, -2) / math.sqrt(q.shape[-1])
    scores = np.where(visible[:, None], scores, -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    mixed: Array = weights @ values[:, None] / weights.sum(axis=-1, keepdims=True)
    return mixed
