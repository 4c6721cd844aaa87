"""The base of policies around a policy, which hand most calls through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from algorithms.kv.budget import KVBudget, Sizes
from algorithms.kv.cache import Array, KVCache
from algorithms.kv.cost import CacheShape, Transfer, Work
from algorithms.kv.layer import LayerContext, Need, Schedule
from algorithms.kv.policy import HeadPart, KVPolicy, PolicyState, drain_all
from algorithms.kv.ranking import IntArray, Mask
from algorithms.kv.step import Seen, Selection, Step
from hwmodels.reading.errors import InputError, Problem


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
    base: KVPolicy = None  # type: ignore[assignment]  # to follow defaults; a wrapper without one is refused

    def __post_init__(self) -> None:
        if not isinstance(self.base, KVPolicy):
            raise InputError(Problem(f"{self.name} wraps a policy, as in 'knorm | {self.name}(...)'", field="policy"))

    def fixed_tokens(self) -> int | None:
        return self.base.fixed_tokens()

    def least_tokens(self) -> int:
        return self.base.least_tokens()

    @classmethod
    def sized(cls, sizes: Sizes) -> str:
        del sizes
        return f"h2o | {cls.name}"

    def exact_tokens(self) -> int | None:
        return self.base.exact_tokens()

    def spare_tokens(self) -> int:
        return self.base.spare_tokens()

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
