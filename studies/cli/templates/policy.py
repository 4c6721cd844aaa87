"""A KV policy: what it keeps, given the cache. Run this file: it compares the policy with two others and writes a page.

Worker processes do not know what only a script defines, hence ``jobs=0``. In a package of your own, name the module in
the entry-point group ``attnflow.kv_policies``, and every verb knows the policy.
"""

import numpy as np

from attnflow import KVPolicy, PolicyState, Study, kv_policy


@kv_policy("{name}")
class Own(KVPolicy):
    """Keep the oldest and the newest tokens, half and half."""

    tokens: int = 1024

    def fixed_tokens(self):
        """How many tokens it keeps."""
        return self.tokens

    def start(self, layer):
        """The state of a layer before its first token."""
        return OwnState(self, layer)


class OwnState(PolicyState):
    """Looks at the cache after every step."""

    def keep(self, step, cache):
        """Which of the cached tokens stay, by head; None for all of them."""
        rank, half = np.arange(cache.count), self.capacity(cache) // 2
        kept = (rank < half) | (rank >= cache.count - half)
        return None if kept.all() else np.broadcast_to(kept, (cache.heads, cache.count))


if __name__ == "__main__":
    study = Study.ask(
        "{name}",
        algorithm="decode.policy",
        workload={"preset": "llama3-8b", "phase": "decode", "q_len": 1, "kv_len": 8192},
        chip="h100",
        timing_only=True,
        objectives=["seconds", "energy_j"],
        axes={"policy": ["full", "{name}(tokens=2048)", "window(tokens=2048)"]},
    )
    results = study.sweep("{name}.sqlite", jobs=0)
    print(results.frame()[["policy", "seconds", "energy_j"]].to_string())  # noqa: T201
    results.report("{name}.html")
