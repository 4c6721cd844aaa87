"""Random scenarios for every registered scheduler: prefixes, tiers, replicas, clients; and memory that keeps books."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from algorithms.live.blocks import BlockPool
from algorithms.live.requests import Request
from algorithms.live.schedulers.register import Limits, get_scheduler
from algorithms.live.serve import serve
from algorithms.live.tiers import FarBlocks, FarTier


class Times:
    """Step times that depend on everything a step holds; parts of prompts are kept."""

    def __init__(self):
        self.parts = []

    def decode(self, sequences, context_tokens):
        return 1_000 + 37 * sequences + 3 * np.asarray(context_tokens)

    def mixed(self, sequences, context_tokens, prefill):
        self.parts.append((sequences, prefill))
        decode = int(self.decode(sequences, np.array([context_tokens]))[0])
        return decode + sum(11 * part.new_tokens * (1 + part.cached_tokens + part.new_tokens) for part in prefill)


class Parts(Times):
    """The same on parts of a chip: fewer cores and a slower memory take longer."""

    def __init__(self, cores=100, memory=100, parts=None):
        self.cores, self.memory = cores, memory
        self.parts = [] if parts is None else parts

    def at(self, cores_pct, memory_pct):
        return Parts(cores_pct, memory_pct, self.parts)

    def memory_pct(self, cores_pct, prefill):
        return 25 * (1 + (sum(part.new_tokens for part in prefill) + cores_pct) % 4)

    def decode(self, sequences, context_tokens):
        return super().decode(sequences, context_tokens) * 10_000 // (self.cores * self.memory)


class Audited(BlockPool):
    """A pool with books of its own: who takes what another one has, or gives back what it has not, is found out."""

    def __post_init__(self):
        super().__post_init__()
        self.owners = Counter()

    def take(self, count):
        taken = super().take(count)
        assert len(set(taken)) == count and not any(self.owners[block] for block in taken), "a block is owned twice"
        self.owners.update(taken)
        assert self.blocks is None or sum(each > 0 for each in self.owners.values()) <= self.blocks
        return taken

    def share(self, blocks):
        super().share(blocks)
        self.owners.update(blocks)

    def release(self, blocks):
        super().release(blocks)
        self.owners.subtract(blocks)
        assert min(self.owners.values(), default=0) >= 0, "a block is given back twice"


@dataclass(frozen=True)
class Random:
    """A scenario."""

    scheduler: str
    requests: tuple
    blocks: int
    block_tokens: int
    limits: Limits
    tiers: tuple
    replicas: int
    clients: int | None

    def serve(self, skip):
        """The run, and the step times that it asked for."""

        def make():
            pool = Audited(self.blocks, self.block_tokens, far=FarBlocks(self.tiers) if self.tiers else None)
            return get_scheduler(self.scheduler).make(pool, self.limits)

        times = Parts() if get_scheduler(self.scheduler).phases else Times()
        clients = {} if self.clients is None else {"clients": self.clients, "think_s": 2e-6}
        return serve(self.requests, make, times, replicas=self.replicas, skip=skip, **clients), times


def prefix_of(draw, prompt, block_tokens):
    """Hashes of the blocks of a prompt that shares a beginning with some others."""
    whole = prompt // block_tokens
    branch, shared = draw(st.integers(0, 2)), draw(st.integers(0, whole))
    path = [(0, i) if i < shared else (branch + 1, i) for i in range(whole)]
    return tuple(hash(("block", *path[: i + 1])) for i in range(whole))


@st.composite
def shares(draw):
    """Shares of the cores in per cent, and limits that they are adjusted to."""
    target = st.sampled_from([None, 1e-7, 3e-6, 1e-5])
    share = st.integers(1, 10).map(lambda tenths: 10 * tenths)
    return draw(share), draw(share), draw(target), draw(target)


@st.composite
def scenarios(draw, scheduler):
    """Any of them."""
    phases = get_scheduler(scheduler).phases
    block_tokens, most_sequences = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    arrivals = np.cumsum(draw(st.lists(st.integers(0, 20_000), min_size=1, max_size=16)))
    requests = []
    for number, arrival in enumerate(arrivals):
        prompt, output = draw(st.integers(1, 30)), draw(st.integers(1, 25))
        requests.append(Request(number, int(arrival), prompt, output, prefix_of(draw, prompt, block_tokens)))
    largest = max(-(-(each.prompt_tokens + each.output_tokens - 1) // block_tokens) for each in requests)
    tiers = tuple(
        FarTier(f"tier {i}", draw(st.integers(1, 12)), draw(st.integers(0, 900)), draw(st.integers(0, 500)))
        for i in range(draw(st.integers(0, 2)))
    )
    return Random(
        scheduler=scheduler,
        requests=tuple(requests),
        blocks=draw(st.integers(largest, 2 * largest + 3)),
        block_tokens=block_tokens,
        limits=Limits(most_sequences, draw(st.integers(most_sequences, 20)), *(draw(shares()) if phases else ())),
        tiers=tiers,
        replicas=draw(st.integers(1, 2)),
        clients=draw(st.sampled_from([None, None, 1, 3])),
    )
