"""Every registered KV policy in a configuration that fits a budget, so that all can be compared at an equal one.

A policy says itself what that is (`algorithms.kv.policy.KVPolicy.sized`): sizes that a paper states in tokens
(windows, blocks, frames) are scaled down where they would not fit; a wrapper gets the base its paper uses it with.
"""

from __future__ import annotations

from dataclasses import dataclass

from algorithms.kv.budget import Sizes
from algorithms.kv.registry import policy_class, policy_names


@dataclass(frozen=True)
class Entry:
    """A policy of the line-up.

    Parameters
    ----------
    name
        Registered.
    policy
        Text of the configuration.
    budgeted
        Whether the budget binds it; otherwise it keeps or sees what its own parameters say.
    """

    name: str
    policy: str
    budgeted: bool = True


def line_up(budget: int, kv_heads: int, layers: int) -> tuple[Entry, ...]:
    """All policies at ``budget`` keys per KV head, sorted by name."""
    sizes = Sizes(budget, kv_heads, layers)
    kinds = {name: policy_class(name) for name in policy_names()}
    return tuple(Entry(name, kind.sized(sizes), kind.budgeted) for name, kind in kinds.items())
