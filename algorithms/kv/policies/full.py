"""Keep everything and see everything: the reference of every comparison."""

from __future__ import annotations

from typing import ClassVar

from algorithms.kv.policy import Action, Exactness, KVPolicy, LayerContext, PolicyState
from algorithms.kv.registry import kv_policy


@kv_policy("full")
class Full(KVPolicy):
    """Full attention over all keys; nothing is dropped."""

    action: ClassVar[Action] = "visible"
    exactness: ClassVar[Exactness] = "exact"
    requires_budget: ClassVar[bool] = False

    def start(self, layer: LayerContext) -> PolicyState:
        return PolicyState(self, layer)
