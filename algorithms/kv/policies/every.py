"""Put dropping off: compress once every few steps."""

from __future__ import annotations

from algorithms.kv import (
    KVCache,
    LayerContext,
    Mask,
    PolicyState,
    Schedule,
    Sizes,
    Step,
    Wrapper,
    WrapperState,
    at_least,
    kv_policy,
    problems_to_error,
)


@kv_policy("every")
class Every(Wrapper):
    """Drop keys at the end of the prefill and then every `steps` steps (kvpress 0.5.5 `DecodingPress`).

    In between, up to the tokens of `steps - 1` steps more than the budget are resident. Gives policies that
    choose once per prompt a bounded cache in a long generation.

    Parameters
    ----------
    base
        Policy that chooses.
    steps
        Steps between two compressions.
    """

    example = "h2o | every(2)"
    steps: int = 512

    def __post_init__(self) -> None:
        super().__post_init__()
        problems_to_error(at_least(self, steps=1))

    def when(self) -> Schedule:
        return "step"

    @classmethod
    def sized(cls, sizes: Sizes) -> str:
        return f"h2o | {cls.name}(64)"

    def start(self, layer: LayerContext) -> PolicyState:
        return _EveryState(self, layer, self.base.start(layer))


class _EveryState(WrapperState):
    policy: Every

    def __init__(self, policy: Every, layer: LayerContext, base: PolicyState) -> None:
        super().__init__(policy, layer, base)
        self._steps = 0
        self._tokens = 0

    def append(self, step: Step, cache: KVCache) -> None:
        super().append(step, cache)
        self._steps += 1
        self._tokens += step.tokens

    def keep(self, step: Step, cache: KVCache) -> Mask | None:
        closes = step.phase == "prefill" and step.closes
        if self._steps < self.policy.steps and not closes:
            return None
        self._steps = self._tokens = 0
        return self.base.keep(step, cache)

    def allowance(self, cache: KVCache) -> int:
        return self.base.allowance(cache) + self._tokens
