"""Policies made of policies: unions, and the base of wrappers that hand most calls through."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from algorithms.kv.budget import KVBudget
from algorithms.kv.cache import Array, KVCache
from algorithms.kv.cost import CacheShape, Transfer, Work
from algorithms.kv.policy import (
    HeadPart,
    KVPolicy,
    LayerContext,
    Need,
    PolicyState,
    Schedule,
    Seen,
    Selection,
    Step,
)
from algorithms.kv.ranking import IntArray, Mask
from hwmodels.reading.errors import InputError, Problem


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
        sizes = [part.fixed_tokens() for part in self.parts]
        return None if None in sizes else sum(sizes)

    def least_tokens(self) -> int:
        return sum(_reserved(part) for part in self.parts)

    def wanted(self) -> frozenset[Need]:
        return frozenset().union(*(part.wanted() for part in self.parts))

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
                replace(
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
    if not masks or any(mask is None for mask in masks):
        return None
    return np.logical_or.reduce(np.broadcast_arrays(*masks))


@dataclass(frozen=True)
class Wrapper(KVPolicy):
    """A policy around another: questions about sizes and needs go to `base`.

    Parameters
    ----------
    base
        The wrapped policy.
    """

    wraps: ClassVar[bool] = True
    requires_budget: ClassVar[bool] = False
    base: KVPolicy | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.base, KVPolicy):
            raise InputError(Problem(f"{self.name} wraps a policy, as in 'knorm | {self.name}(...)'", field="policy"))

    def fixed_tokens(self) -> int | None:
        return self.base.fixed_tokens()

    def least_tokens(self) -> int:
        return self.base.least_tokens()

    def wanted(self) -> frozenset[Need]:
        return self.base.wanted()

    def when(self) -> Schedule:
        return self.base.when()

    def prefill_chunk(self) -> int | None:
        return self.base.prefill_chunk()

    def layers_alike(self) -> bool:
        return self.base.layers_alike()

    def share(self, shape: CacheShape) -> object:
        return self.base.share(shape)

    def effective_budget(self, given: KVBudget | None, context_tokens: int | None = None) -> KVBudget | None:
        return self.base.effective_budget(given, context_tokens)

    def split(self, shape: CacheShape, layer: int) -> tuple[HeadPart, ...] | None:
        parts = self.base.split(shape, layer)
        if parts is None:
            return None
        return tuple(HeadPart(part.heads, self.with_(base=part.policy)) for part in parts)

    def start(self, layer: LayerContext) -> PolicyState:
        return WrapperState(self, layer, self.base.start(layer))

    def __str__(self) -> str:
        own = super().__str__()
        inner = str(self.base)
        return f"{inner} | {own.replace(f'base={inner},', '').replace(f'(base={inner})', '')}"


class WrapperState(PolicyState):
    """Hands every call to the state of the wrapped policy.

    Parameters
    ----------
    base
        State of the wrapped policy.
    """

    def __init__(self, policy: KVPolicy, layer: LayerContext, base: PolicyState) -> None:
        super().__init__(policy, layer)
        self.base = base
        self.combines = base.combines

    def make_room(self, step: Step, cache: KVCache) -> Mask | None:
        return self.base.make_room(step, cache)

    def append(self, step: Step, cache: KVCache) -> None:
        self.base.append(step, cache)

    def queries(self, step: Step) -> tuple[Array, IntArray]:
        return self.base.queries(step)

    def select(self, step: Step, cache: KVCache) -> Selection | None:
        return self.base.select(step, cache)

    def observe(self, step: Step, cache: KVCache, seen: Seen) -> None:
        self.base.observe(step, cache, seen)

    def combine(self, step: Step, q: Array, output: Array) -> Array:
        return self.base.combine(step, q, output)

    def keep(self, step: Step, cache: KVCache) -> Mask | None:
        return self.base.keep(step, cache)

    def state_bytes(self, cache: KVCache) -> float:
        return self.base.state_bytes(cache)

    def fast_tokens(self, cache: KVCache) -> IntArray | None:
        return self.base.fast_tokens(cache)

    def capacity(self, cache: KVCache) -> int:
        return self.base.capacity(cache)

    def allowance(self, cache: KVCache) -> int:
        return self.base.allowance(cache)

    def drain(self) -> tuple[tuple[Work, ...], tuple[Transfer, ...], int, int]:
        return drain_all([super().drain(), self.base.drain()])
