"""Cost of a policy per step at a long context, without a prompt's worth of attention.

A timing run drives the very policies of a quality run over a surrogate stream: keys, values and queries of
eight numbers per head with sinks, heavy keys and locality, one for all layers, whose queries differ. The
context is taken in by one step that attends with the last few queries only. Selections, gathers, evictions
and cache hits are then those of the policy on that stream; bytes and operations are counted for the true
head sizes. Positions are as good as the surrogate, and the numbers of keys are exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from algorithms.kv.budget import KVBudget
from algorithms.kv.cache import Array
from algorithms.kv.cost import CacheShape, StackCost
from algorithms.kv.layer import Schedule
from algorithms.kv.placement import Placement
from algorithms.kv.policy import KVPolicy
from algorithms.kv.ranking import IntArray
from algorithms.kv.run.account import Accounting
from algorithms.kv.run.stream import KVStack, StepResult, stack_cost
from hwmodels.reading.errors import InputError, Problem

Phase = Literal["prefill", "decode", "frame"]
SURROGATE_DIM = 8
"""Numbers per surrogate key; enough for directions to be told apart."""

WARM_QUERIES = 8
"""Queries that attend while the context is taken in."""

_HEAVY_SHARE = 0.04
_HEAVY_RUN = 8
_SINKS = 4
_SINK_VALUE = 0.05
_QUERY = 4.0
_HEAVY = 4.0


class SurrogateStream:
    """Keys, values and queries of small dimension.

    Along one direction queries get 4 and runs of eight heavy keys (4 % of all) 4. The first four keys get as much as
    makes them weigh about as much as all heavy ones, and values next to nothing, since sinks take a large part of the
    attention of trained models at any length (Xiao et al., arXiv:2309.17453). A slow process common to queries and
    keys makes neighbours alike.

    Parameters
    ----------
    heads
        KV heads; there is one query per KV head.
    tokens
        Length of the stream.
    layers
        Layers that ask their own queries of the same keys.
    seed
        Seed of everything.
    """

    def __init__(self, heads: int, tokens: int, layers: int, seed: int = 0) -> None:
        self._rng = np.random.default_rng([5, seed])
        shape = (heads, tokens, SURROGATE_DIM)
        self.keys: Array = self._rng.standard_normal(shape, dtype=np.float32)
        self.values: Array = self._rng.standard_normal(shape, dtype=np.float32)
        direction = self._rng.standard_normal((heads, 1, SURROGATE_DIM), dtype=np.float32)
        self._direction = direction / np.linalg.norm(direction, axis=-1, keepdims=True)
        runs = max(1, int(_HEAVY_SHARE * tokens / _HEAVY_RUN))
        for head in range(heads):
            starts = self._rng.integers(0, max(1, tokens - _HEAVY_RUN), runs)
            heavy = np.minimum(starts[:, None] + np.arange(_HEAVY_RUN), tokens - 1).ravel()
            self.keys[head, np.unique(heavy)] += _HEAVY * self._direction[head]
        # many keys profit from the spread of their logits, whose variance is about |q|^2 / dim; four do not
        spread = (_QUERY**2 + 1.5 * SURROGATE_DIM) / SURROGATE_DIM
        more = math.log(max(runs * _HEAVY_RUN, _SINKS) / _SINKS) + spread / 2
        heavier = more * math.sqrt(SURROGATE_DIM) / _QUERY
        self.keys[:, :_SINKS] += (_HEAVY + heavier) * self._direction
        self.values[:, :_SINKS] *= _SINK_VALUE
        self.keys += self._locality(tokens)
        self._layers = layers

    def _locality(self, tokens: int) -> Array:
        """A smooth path `(1, tokens, dim)`: a random walk over blocks of 64 tokens, interpolated."""
        knots = max(2, tokens // 64 + 1)
        walk = self._rng.standard_normal((knots, SURROGATE_DIM))
        at = np.linspace(0, knots - 1, tokens)
        low = np.minimum(at.astype(np.int64), knots - 2)
        share = (at - low)[:, None]
        drift: Array = ((1 - share) * walk[low] + share * walk[low + 1]).astype(np.float32)[None]
        return drift

    def queries(self, end: int, rows: int) -> list[Array]:
        """Queries of every layer, `rows` of the tokens before `end` each, `(heads, rows, dim)`."""
        heads = len(self.keys)
        follow = 0.5 * self.keys[:, end - rows : end]
        return [
            _QUERY * self._direction
            + follow
            + self._rng.standard_normal((heads, rows, SURROGATE_DIM), dtype=np.float32)
            for _ in range(self._layers)
        ]


@dataclass(frozen=True)
class TimingOptions:
    """How a timing run counts.

    Parameters
    ----------
    accounting
        Pages, holes and tier.
    placement
        Tiers for policies that keep keys in a lower one.
    when
        Overrides when the policy drops keys.
    seed
        Seed of the surrogate stream and of everything random in the policy.
    sampled_layers
        Layers that are run where all keep and read equally much (or the next smaller divisor of
        their number) and stand for the others in turn; 0 runs every layer.
    """

    accounting: Accounting = field(default_factory=Accounting)
    placement: Placement | None = None
    when: Schedule | None = None
    seed: int = 0
    sampled_layers: int = 0

    def layers_run(self, policy: KVPolicy, layers: int) -> int:
        """How many of a model's `layers` are simulated."""
        if not self.sampled_layers or not policy.layers_alike():
            return layers
        return max(n for n in range(1, layers + 1) if layers % n == 0 and n <= max(1, self.sampled_layers))


@dataclass(frozen=True)
class StepWorth:
    """How near attention over the keys that were seen comes to full attention, on the surrogate stream.

    Entries that stand for keys (summaries, low-bit copies, merged values) are left out, so of a policy that has them
    more is right than this says.

    Parameters
    ----------
    mass_recall
        Probability that full attention puts on the keys seen, mean over heads.
    relative_error
        Norm of the difference of the outputs over that of full attention's, mean over heads.
    """

    mass_recall: float
    relative_error: float


class TimingRun:
    """A model's caches at a context length, ready to take steps.

    Parameters
    ----------
    policy, shape, budget
        Policy, shape and budget as of `KVStack`; `shape.layers` layers.
    context_tokens
        Tokens before the first step; 0 starts with an empty cache.
    more_tokens
        Tokens that steps may add.
    options
        How to count.

    Raises
    ------
    InputError
        A budget that does not fit the policy or the context.
    """

    def __init__(
        self,
        policy: KVPolicy,
        shape: CacheShape,
        context_tokens: int,
        budget: KVBudget | None = None,
        more_tokens: int = 64,
        options: TimingOptions = TimingOptions(),
    ) -> None:
        if context_tokens < 0 or more_tokens < 0:
            raise InputError(Problem("must not be negative", field="context"))
        total = context_tokens + more_tokens
        self._layers = shape.layers
        shape = replace(shape, layers=options.layers_run(policy, shape.layers))
        self._surrogate = SurrogateStream(shape.kv_heads, total, shape.layers, options.seed)
        self._end = 0
        self._total = total
        self._queries: list[Array] = []
        self._results: list[StepResult] = []
        self._rng = np.random.default_rng([6, options.seed])
        self.stack = KVStack(
            policy,
            shape,
            budget,
            source=(self._surrogate.keys, self._surrogate.values),
            accounting=options.accounting,
            placement=options.placement,
            when=options.when,
            outputs=False,
            seed=options.seed,
            context_tokens=total,
        )
        if context_tokens:
            self._advance(context_tokens, WARM_QUERIES, "prefill", closes=True)

    def steps(self, count: int, tokens: int, phase: Phase = "decode", *, question: bool = True) -> Iterator[StackCost]:
        """`count` steps of `tokens` tokens, which see each other in both directions if they are a frame.

        With `question` each of them asks something, and policies that retrieve per question look again.
        """
        for _ in range(count):
            yield self._advance(tokens, WARM_QUERIES, phase, causal=phase != "frame", question=question)

    def decode(self, steps: int = 1) -> Iterator[StackCost]:
        """`steps` decode steps of one token."""
        return self.steps(steps, 1)

    def worth(self) -> StepWorth:
        """Worth of the keys that the last step saw to its last query, over all heads and layers run."""
        keys, values = (rows[:, : self._end] for rows in (self._surrogate.keys, self._surrogate.values))
        recalls, errors = [], []
        for q, result in zip(self._queries, self._results, strict=True):
            for head, seen in enumerate(result.selected):
                logits = keys[head] @ q[head, -1] / math.sqrt(SURROGATE_DIM)
                weight = np.exp(logits - logits.max())
                full = weight @ values[head] / weight.sum()
                kept = weight[seen]
                partial = kept @ values[head, seen] / kept.sum() if seen.size else np.zeros_like(full)
                recalls.append(float(kept.sum() / weight.sum()))
                errors.append(float(np.linalg.norm(partial - full) / np.linalg.norm(full)))
        return StepWorth(float(np.mean(recalls)), float(np.mean(errors)))

    def _advance(
        self,
        tokens: int,
        rows: int,
        phase: Phase,
        *,
        closes: bool = False,
        causal: bool = True,
        question: bool = True,
    ) -> StackCost:
        start, end = self._end, self._end + tokens
        if end > self._total:
            raise InputError(Problem(f"the run was made for {self._total} tokens in all", field="more_tokens"))
        self._end = end
        new = slice(start, end)
        keys, values = self._surrogate.keys[:, new], self._surrogate.values[:, new]
        self._queries = self._surrogate.queries(end, min(rows, tokens))
        layers = [(q, keys, values) for q in self._queries]
        results = self._results = self.stack.step(
            layers,
            phase=phase,
            closes=closes,
            causal=causal,
            question=question,
            information=self._rng.gamma(1.5, 2.0, tokens),
            modality=self._modality(tokens, phase),
        )
        return stack_cost(results).standing_for(self._layers)

    @staticmethod
    def _modality(tokens: int, phase: Phase) -> IntArray:
        """Frames are vision, everything else is text."""
        return np.full(tokens, int(phase == "frame"))


def decode_cost(
    policy: KVPolicy,
    shape: CacheShape,
    context_tokens: int,
    budget: KVBudget | None = None,
    options: TimingOptions = TimingOptions(),
) -> StackCost:
    """Cost of one decode step in the steady state at `context_tokens`.

    The second step after the context is reported: the first one still settles what the prompt left.
    """
    *_, last = TimingRun(policy, shape, context_tokens, budget, 2, options).decode(2)
    return last
