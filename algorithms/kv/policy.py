"""What a KV policy is: frozen parameters, and a state per layer that the stream drives.

A stream calls the state of a layer in a fixed order every step: `make_room`, append, `append`, `select`,
attend, `observe`, `keep`, drop. The state answers with masks and selections over the resident keys and says
what each answer cost; it never touches storage, slots or tiers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np
from numpy.typing import DTypeLike

from algorithms.kv.budget import KVBudget
from algorithms.kv.cache import Array, KVCache
from algorithms.kv.cost import Barrier, CacheShape, Moment, Transfer, Work, ranking
from algorithms.kv.placement import Placement
from algorithms.kv.ranking import IntArray, Mask, keep_by_score
from algorithms.kv.step import Seen, Selection, Step
from hwmodels.reading.errors import InputError, Problem

Need = Literal["keys", "values", "last_probs", "col_sums", "window_probs", "logits", "grid", "modality"]
"""What a policy looks at; a fused attention kernel keeps none of the probabilities."""

HeadScope = Literal["each", "group", "layer", "model"]
"""Whose keys are decided together: each KV head alone, its query group, all heads, all layers."""

Action = Literal["visible", "evict", "place"]
"""Whether keys are hidden, dropped, or kept in a lower tier."""

Schedule = Literal["step", "prefill"]
"""When keys are dropped: whenever there are too many, or once at the end of the prefill."""

Exactness = Literal["exact", "bounded", "lossy"]


@dataclass(frozen=True)
class LayerContext:
    """Where a policy state lives.

    Parameters
    ----------
    shape
        Cache shape of the heads it decides for.
    layer
        Layer number from 0.
    budget
        Keys that may stay; None when the policy never drops.
    heads
        Labels of the KV heads; randomness is tied to them.
    seed
        Of everything random.
    tag
        Prefix of its per-key columns.
    placement
        Tiers, for policies that keep keys in a lower one.
    shared
        Object common to all layers of policies that decide for the whole model.
    outputs
        Whether attention outputs are computed, or only costs.
    """

    shape: CacheShape
    layer: int = 0
    budget: KVBudget | None = None
    heads: tuple[int, ...] = ()
    seed: int = 0
    tag: str = ""
    placement: Placement | None = None
    shared: object = None
    outputs: bool = True

    def generator(self, *labels: int) -> np.random.Generator:
        """A random stream that depends on the seed, the layer and `labels` alone."""
        return np.random.default_rng([self.seed, self.layer, *labels])


@dataclass(frozen=True)
class HeadPart:
    """Some KV heads (by index into the layer's heads) under their own policy."""

    heads: tuple[int, ...]
    policy: KVPolicy


@dataclass(frozen=True)
class KVPolicy:
    """Parameters of a policy; registered subclasses are frozen dataclasses too.

    Class attributes say what the policy is: its `needs`, whose heads it decides together, tokens per unit of
    selection (`granularity`), its `action`, its `schedule`, whether it `requires_budget`, whether a
    synthetic stream can judge it (`synthetic_evaluable`), whether it equals full attention as long as nothing
    has to go (`exact_when_unlimited`), and whether it can be a part of a union (`unites`; not when it does
    more than choose keys).
    """

    name: ClassVar[str] = ""
    source: ClassVar[str] = ""
    needs: ClassVar[frozenset[Need]] = frozenset()
    heads: ClassVar[HeadScope] = "each"
    granularity: ClassVar[int] = 1
    action: ClassVar[Action] = "evict"
    schedule: ClassVar[Schedule] = "step"
    exactness: ClassVar[Exactness] = "lossy"
    requires_budget: ClassVar[bool] = True
    synthetic_evaluable: ClassVar[bool] = True
    exact_when_unlimited: ClassVar[bool] = True
    wraps: ClassVar[bool] = False
    unites: ClassVar[bool] = True

    def start(self, layer: LayerContext) -> PolicyState:
        """A fresh state for one layer."""
        raise NotImplementedError

    def fixed_tokens(self) -> int | None:
        """Keys kept when the parameters alone decide; None when a budget has to."""
        return None

    def least_tokens(self) -> int:
        """Keys the policy never drops."""
        return 1

    def split(self, shape: CacheShape, layer: int) -> tuple[HeadPart, ...] | None:
        """Heads under different policies; None when all share this one."""
        return None

    def share(self, shape: CacheShape) -> object:
        """What the states of all layers have in common."""
        return None

    def layers_alike(self) -> bool:
        """Whether every layer keeps and reads equally much, so that one can stand for all."""
        return True

    def prefill_chunk(self) -> int | None:
        """Longest piece in which a prompt is fed; None for one piece."""
        return None

    def wanted(self) -> frozenset[Need]:
        """Everything this policy (and those it wraps) looks at."""
        return self.needs

    def when(self) -> Schedule:
        """When keys are dropped."""
        return self.schedule

    def effective_budget(self, given: KVBudget | None, context_tokens: int | None = None) -> KVBudget | None:
        """The budget that holds: the policy's own sizes, or the one given.

        Raises
        ------
        InputError
            Neither is there, the two contradict, or the budget does not fit the sinks or the context.
        """
        fixed = self.fixed_tokens()
        if fixed is None:
            if given is None and self.requires_budget:
                raise InputError(Problem(f"{self.name} needs a budget", field="budget"))
            if given is not None:
                given.check(str(self), self.least_tokens(), context_tokens)
            return given
        own = KVBudget(tokens=fixed)
        if given is not None and given.tokens is not None and given.tokens < fixed:
            raise InputError(
                Problem(f"{given.tokens} tokens are fewer than the {fixed} that {self} keeps", field="budget")
            )
        own.check(str(self), self.least_tokens(), context_tokens)
        return own

    def __str__(self) -> str:
        parts = [
            f"{field.name}={_written(getattr(self, field.name))}"
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        ]
        return f"{self.name}({','.join(parts)})" if parts else self.name

    def __add__(self, other: KVPolicy) -> KVPolicy:
        """Keep what either keeps: ``sink(4) + window(1020)``."""
        from algorithms.kv.combinators import Union

        return Union.of(self, other)

    def __or__(self, stage: Callable[[KVPolicy], KVPolicy]) -> KVPolicy:
        """Hand the policy to a wrapper: ``knorm | chunk(20)``."""
        return stage(self)

    def with_(self, **changes: object) -> Self:
        """A copy with other parameters."""
        return dataclasses.replace(self, **changes)


def _written(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + ",".join(_written(item) for item in value) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)


class PolicyState:
    """State of one policy in one layer; the base keeps everything and sees everything.

    Parameters
    ----------
    policy, layer
        Parameters and place.

    Attributes
    ----------
    combines
        Whether `combine` does anything, so that it has to run even where only costs are wanted.
    hits, misses
        Blocks found in the fast tier or not, since the last `drain`.
    token_bytes
        Bytes read per key and value on average where they are not stored in full; None for full ones.
    """

    combines: bool = False

    def __init__(self, policy: KVPolicy, layer: LayerContext) -> None:
        self.policy = policy
        self.layer = layer
        self.hits = 0
        self.misses = 0
        self.token_bytes: float | None = None
        self._work: list[Work] = []
        self._transfers: list[Transfer] = []

    # hooks, in the order of the step

    def make_room(self, step: Step, cache: KVCache) -> Mask | None:
        """Keys that stay before the new ones are appended; None for all."""
        return None

    def append(self, step: Step, cache: KVCache) -> None:
        """The new tokens are now the last columns of `cache`."""

    def queries(self, step: Step) -> tuple[Array, IntArray]:
        """Queries answered now `(query_heads, m, head_dim)` and their positions `(m,)`."""
        return step.q, step.query_positions

    def select(self, step: Step, cache: KVCache) -> Selection | None:
        """Keys the queries see; None for all resident ones."""
        return None

    def observe(self, step: Step, cache: KVCache, seen: Seen) -> None:
        """Learn from what attention revealed."""

    def combine(self, step: Step, q: Array, output: Array) -> Array:
        """The final output from attention's, for policies with a memory beside the cache."""
        return output

    def keep(self, step: Step, cache: KVCache) -> Mask | None:
        """Keys that stay after the step; None for all."""
        return None

    # bookkeeping

    def state_bytes(self, cache: KVCache) -> float:
        """Bytes of scores and metadata held beside the cache."""
        return 0.0

    def fast_tokens(self, cache: KVCache) -> IntArray | None:
        """Keys per head that lie in the fast tier; None when all do."""
        return None

    def capacity(self, cache: KVCache) -> int:
        """Keys that may stay now."""
        if self.layer.budget is None:
            return cache.count
        return self.layer.budget.capacity(cache.tokens_seen)

    def column(self, cache: KVCache, name: str, fill: float = 0.0, dtype: DTypeLike = np.float64) -> Array:
        """This state's per-key quantity `name`, a writable `(kv_heads, count)` view."""
        return cache.column(f"{self.layer.tag}{name}", fill, dtype)

    def allowance(self, cache: KVCache) -> int:
        """Keys per head that may be resident after this step; `capacity` unless drops are put off."""
        return self.capacity(cache)

    def spend(self, work: Work) -> None:
        """Record work."""
        self._work.append(work)

    def move(self, transfer: Transfer) -> None:
        """Record a transfer between tiers."""
        self._transfers.append(transfer)

    def drain(self) -> tuple[tuple[Work, ...], tuple[Transfer, ...], int, int]:
        """Work, transfers, hits and misses since the last call."""
        drained = tuple(self._work), tuple(self._transfers), self.hits, self.misses
        self._work, self._transfers, self.hits, self.misses = [], [], 0, 0
        return drained


class ScoreState(PolicyState):
    """A policy that gives every key a score and keeps the highest."""

    score_moment: Moment = "after"

    def score(self, step: Step, cache: KVCache) -> Array:
        """`(kv_heads or 1, count)`, larger for keys worth keeping."""
        raise NotImplementedError

    def protected(self, step: Step, cache: KVCache) -> Mask | None:
        """`(kv_heads or 1, count)` of keys kept whatever their score."""
        return None

    def keep(self, step: Step, cache: KVCache) -> Mask | None:
        capacity = self.capacity(cache)
        if cache.count <= capacity:
            return None
        scores = self.masked_score(step, cache)
        barrier: Barrier = "layer" if scores.shape[0] == 1 and self.layer.shape.kv_heads > 1 else "none"
        self.spend(ranking("choose keys", scores.shape[0], cache.count, capacity, self.score_moment, barrier))
        return keep_by_score(scores, capacity, self.protected(step, cache))

    def masked_score(self, step: Step, cache: KVCache) -> Array:
        """`score`, with `-inf` in unused columns."""
        scores = self.score(step, cache)
        return scores if cache.valid is None else np.where(cache.valid, scores, -np.inf)

    def lifted_score(self, step: Step, cache: KVCache) -> Array:
        """`score` of every head, with protected keys one above the highest score of all, as kvpress does."""
        scores = np.broadcast_to(self.masked_score(step, cache), (cache.heads, cache.count))
        protected = self.protected(step, cache)
        if protected is None:
            return scores.copy()
        return np.where(protected & (scores > -np.inf), scores.max() + 1, scores)


def newest(cache: KVCache, tokens: int) -> Mask:
    """`(kv_heads or 1, count)` of the `tokens` newest keys of each head."""
    ranks = np.arange(cache.count)
    if cache.uniform:
        return (ranks >= cache.count - tokens)[None]
    return ranks >= cache.lengths[:, None] - tokens


def oldest(cache: KVCache, tokens: int) -> Mask:
    """`(1, count)` of the keys that came at one of the first `tokens` positions.

    The first keys of a cache that lost its sinks are not sinks, so positions decide, not ranks.
    """
    return cache.positions < tokens


def problems_to_error(problems: list[Problem]) -> None:
    """Raise the problems of a policy's parameters, if any.

    Raises
    ------
    InputError
        With all of them.
    """
    if problems:
        raise InputError(problems)


def at_least(policy: KVPolicy, **smallest: float) -> list[Problem]:
    """Problems with numeric parameters below their smallest value; None is always allowed."""
    problems = []
    for name, least in smallest.items():
        value = getattr(policy, name)
        if value is not None and value < least:
            problems.append(Problem(f"must be at least {least} (got {value})", field=f"policy.{policy.name}.{name}"))
    return problems
