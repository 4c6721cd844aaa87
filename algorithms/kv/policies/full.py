"""Keep everything and see everything: the reference of every comparison."""

from __future__ import annotations

from algorithms.kv import KVPolicy, LayerContext, PolicyState, kv_policy


@kv_policy("full")
class Full(KVPolicy):
    """Full attention over all keys; nothing is dropped."""

    budgeted = False
    action = "visible"
    exactness = "exact"
    requires_budget = False

    def start(self, layer: LayerContext) -> PolicyState:
        return PolicyState(self, layer)
