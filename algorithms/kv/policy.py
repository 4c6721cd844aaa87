"""The contract of a KV policy: frozen parameters, and a state per layer that the stream drives; and unions of them.

A stream calls the state of a layer in a fixed order every step: `make_room`, append, `append`, `select`,
attend, `observe`, `keep`, drop. The state answers with masks and selections over the resident keys and says
what each answer cost; it never touches storage, slots or tiers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import DTypeLike

from algorithms.kv.budget import KVBudget, Sizes
from algorithms.kv.cache import Array, KVCache
from algorithms.kv.cost import CacheShape, Transfer, Work
from algorithms.kv.layer import Action, Exactness, HeadScope, LayerContext, Need, Schedule
from algorithms.kv.ranking import IntArray, Mask
from algorithms.kv.step import Seen, Selection, Step
from hwmodels.reading.errors import InputError, Problem


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

    Tests and comparisons need no list of policies, because each says how it takes part: `example` is the text of a
    small configuration, for a dozen keys, frames of 4 tokens, 2 KV heads and one layer (empty: the bare name);
    `sized` one for a budget; `budgeted` whether a budget limits what it keeps or sees; and `ties` whether many keys
    have equal scores (ranks, counters), so that it is arbitrary which of them goes.
    """

    name: ClassVar[str] = ""
    source: ClassVar[str] = ""
    example: ClassVar[str] = ""
    budgeted: ClassVar[bool] = True
    ties: ClassVar[bool] = False
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

    @classmethod
    def sized(cls, sizes: Sizes) -> str:
        """Text of the configuration with which it is compared with others; sizes from a paper are scaled to fit."""
        del sizes
        return cls.name

    def exact_tokens(self) -> int | None:
        """Tokens up to which it equals full attention however large the budget; None for any number."""
        return self.fixed_tokens()

    def spare_tokens(self) -> int:
        """Keys that it may hold or see above the budget, as of a frame that is still arriving."""
        return 0

    def split(self, shape: CacheShape, layer: int) -> tuple[HeadPart, ...] | None:
        """Heads under different policies; None when all share this one."""
        return None

    def share(self, shape: CacheShape) -> object:
        """Object that the states of all layers have in common."""
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
        """Moment at which keys are dropped."""
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


@dataclass(frozen=True)
class Union(KVPolicy):
    """Keep (and see) what any part keeps (or sees); the parts share the resident keys.

    Parts with sizes of their own take those; what is left of the budget is shared evenly by the others.

    Parameters
    ----------
    parts
        Two or more policies.
    """

    name: ClassVar[str] = "union"
    requires_budget: ClassVar[bool] = False
    parts: tuple[KVPolicy, ...] = ()

    def __post_init__(self) -> None:
        lonely = [part for part in self.parts if not part.unites]
        if lonely:
            raise InputError(
                [
                    Problem(f"{part.name} does more than choose keys and cannot be united", field="policy")
                    for part in lonely
                ]
            )

    @classmethod
    def of(cls, *policies: KVPolicy) -> Union:
        """A union, with nested ones flattened."""
        parts: list[KVPolicy] = []
        for policy in policies:
            parts += policy.parts if isinstance(policy, Union) else [policy]
        return cls(tuple(parts))

    def fixed_tokens(self) -> int | None:
        known = [tokens for tokens in (part.fixed_tokens() for part in self.parts) if tokens is not None]
        return sum(known) if len(known) == len(self.parts) else None

    def least_tokens(self) -> int:
        return sum(_reserved(part) for part in self.parts)

    def exact_tokens(self) -> int | None:
        known = [tokens for tokens in (part.exact_tokens() for part in self.parts) if tokens is not None]
        return max(known) if len(known) == len(self.parts) else None

    def spare_tokens(self) -> int:
        return sum(part.spare_tokens() for part in self.parts)

    def wanted(self) -> frozenset[Need]:
        return frozenset[Need]().union(*(part.wanted() for part in self.parts))

    def when(self) -> Schedule:
        return "step" if any(part.when() == "step" for part in self.parts) else "prefill"

    def layers_alike(self) -> bool:
        return all(part.layers_alike() for part in self.parts)

    def share(self, shape: CacheShape) -> object:
        return tuple(part.share(shape) for part in self.parts)

    def start(self, layer: LayerContext) -> PolicyState:
        return _UnionState(self, layer)

    def __str__(self) -> str:
        return " + ".join(f"({part})" if part.wraps else str(part) for part in self.parts)


def _reserved(part: KVPolicy) -> int:
    fixed = part.fixed_tokens()
    return part.least_tokens() if fixed is None else fixed


def _part_budget(union: Union, part: KVPolicy, budget: KVBudget | None) -> KVBudget | None:
    fixed = part.fixed_tokens()
    if fixed is not None:
        return KVBudget(tokens=fixed)
    if budget is None:
        return part.effective_budget(None)
    if budget.tokens is None:
        raise InputError(Problem("a union needs a budget in tokens", field="budget"))
    reserved = sum(size for size in (other.fixed_tokens() for other in union.parts) if size)
    free = [other for other in union.parts if other.fixed_tokens() is None]
    rest = budget.tokens - reserved
    return part.effective_budget(KVBudget(tokens=max(1, rest // len(free))))


class _UnionState(PolicyState):
    policy: Union

    def __init__(self, policy: Union, layer: LayerContext) -> None:
        super().__init__(policy, layer)
        shared = layer.shared if isinstance(layer.shared, tuple) else (None,) * len(policy.parts)
        self.parts = [
            part.start(
                dataclasses.replace(
                    layer,
                    tag=f"{layer.tag}{number}.",
                    budget=_part_budget(policy, part, layer.budget),
                    shared=shared[number],
                )
            )
            for number, part in enumerate(policy.parts)
        ]

    def make_room(self, step: Step, cache: KVCache) -> Mask | None:
        return _either([part.make_room(step, cache) for part in self.parts])

    def append(self, step: Step, cache: KVCache) -> None:
        for part in self.parts:
            part.append(step, cache)

    def select(self, step: Step, cache: KVCache) -> Selection | None:
        selections = [part.select(step, cache) for part in self.parts]
        if all(selection is None for selection in selections):
            return None
        masks: list[Mask | None] = []
        for part, selection in zip(self.parts, selections, strict=True):
            if selection is not None:
                masks.append(selection.mask(cache.count))
            elif part.policy.action == "evict":
                masks.append(part.keep(step, cache))
        seen = _either(masks)
        return None if seen is None else Selection.of_mask(seen, cache.heads)

    def observe(self, step: Step, cache: KVCache, seen: Seen) -> None:
        for part in self.parts:
            part.observe(step, cache, seen)

    def keep(self, step: Step, cache: KVCache) -> Mask | None:
        return _either([part.keep(step, cache) for part in self.parts])

    def state_bytes(self, cache: KVCache) -> float:
        return sum(part.state_bytes(cache) for part in self.parts)

    def allowance(self, cache: KVCache) -> int:
        return sum(part.allowance(cache) for part in self.parts)

    def drain(self) -> tuple[tuple[Work, ...], tuple[Transfer, ...], int, int]:
        return drain_all([super().drain(), *(part.drain() for part in self.parts)])


def drain_all(
    drained: list[tuple[tuple[Work, ...], tuple[Transfer, ...], int, int]],
) -> tuple[tuple[Work, ...], tuple[Transfer, ...], int, int]:
    """The records of several states as one."""
    return (
        tuple(work for part in drained for work in part[0]),
        tuple(transfer for part in drained for transfer in part[1]),
        sum(part[2] for part in drained),
        sum(part[3] for part in drained),
    )


def _either(masks: list[Mask | None]) -> Mask | None:
    """Union of masks; None (everything) if any part wants everything."""
    known = [mask for mask in masks if mask is not None]
    if not known or len(known) < len(masks):
        return None
    either: Mask = np.logical_or.reduce(np.broadcast_arrays(*known))
    return either
