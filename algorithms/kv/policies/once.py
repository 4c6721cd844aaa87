"""Drop keys at the end of the prefill only."""

from __future__ import annotations

from algorithms.kv import Schedule, Wrapper, kv_policy


@kv_policy("once")
class Once(Wrapper):
    """Let a policy choose at the end of the prefill and then let the cache grow.

    Parameters
    ----------
    base
        Policy that chooses.
    """

    def when(self) -> Schedule:
        return "prefill"
