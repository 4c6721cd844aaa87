"""A composition of experts on memory tiers: many models in a large tier, the lately used ones in a fast one.

Every request is for one expert. If it is resident in the fast tier it runs; if not, it is switched in first, over the
link between the tiers, and the expert used longest ago makes room (SN40L, Prabhakar et al., arXiv:2405.07518). Weights
do not change, so what leaves costs nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from algorithms.workload.shape import Workload
from hwmodels.reading.errors import InputError, Problem


@dataclass(frozen=True)
class ExpertMemory:
    """Memory tiers that experts live in.

    Parameters
    ----------
    expert_bytes
        Weights of one expert.
    fast_bytes
        Capacity of the tier that experts run from.
    switch_bytes_per_second, switch_latency_s
        Rate and latency from the large tier to the fast one; 0 s if not given.

    Raises
    ------
    InputError
        Sizes or rates that are not above 0, or a fast tier too small for one expert.
    """

    expert_bytes: float
    fast_bytes: float
    switch_bytes_per_second: float
    switch_latency_s: float = 0.0

    def __post_init__(self) -> None:
        problems = [
            Problem(f"must be greater than 0 (got {value:g})", field=name)
            for name, value in vars(self).items()
            if name != "switch_latency_s" and not value > 0
        ]
        if not problems and self.resident < 1:
            message = f"must hold one expert of {self.expert_bytes:g} B (got {self.fast_bytes:g})"
            problems.append(Problem(message, field="fast_bytes"))
        if problems:
            raise InputError(problems)

    @property
    def resident(self) -> int:
        """Experts that the fast tier holds."""
        return int(self.fast_bytes // self.expert_bytes)

    @property
    def switch_s(self) -> float:
        """Time to bring one expert in."""
        return self.switch_latency_s + self.expert_bytes / self.switch_bytes_per_second


@dataclass(frozen=True)
class ExpertRun:
    """A trace of requests, served one after the other.

    Parameters
    ----------
    requests, misses
        Requests served, and those whose expert had to be switched in.
    switch_s, run_s
        Time spent with switching and with running.
    """

    requests: int
    misses: int
    switch_s: float
    run_s: float

    @property
    def miss_rate(self) -> float:
        """Misses per request."""
        return self.misses / self.requests if self.requests else 0.0

    @property
    def seconds(self) -> float:
        """Time of all switches and runs."""
        return self.switch_s + self.run_s


def serve(memory: ExpertMemory, trace: Iterable[int], run_s: float) -> ExpertRun:
    """Serve requests for experts in order, `run_s` each, with least-recently-used residency."""
    resident: OrderedDict[int, None] = OrderedDict()
    requests = misses = 0
    for expert in trace:
        requests += 1
        if expert in resident:
            resident.move_to_end(expert)
            continue
        misses += 1
        if len(resident) == memory.resident:
            resident.popitem(last=False)
        resident[expert] = None
    return ExpertRun(requests, misses, misses * memory.switch_s, requests * run_s)


def draw_requests(experts: int, requests: int, seed: int = 0, skew: float = 0.0) -> NDArray[np.int64]:
    """Independent requests; expert ``i`` is asked for in proportion to ``(i + 1) ** -skew`` (0: all alike)."""
    weights = np.arange(1, experts + 1, dtype=float) ** -skew
    return np.random.default_rng(seed).choice(experts, size=requests, p=weights / weights.sum())


def dense_parameters(workload: Workload, feed_forward: int, vocabulary: int) -> int:
    """Weights of a Llama-like model: attention and gated feed-forward of all layers, norms, two embeddings.

    Raises
    ------
    InputError
        A workload whose hidden size or number of layers is unknown.
    """
    if workload.hidden is None or workload.layers is None:
        raise InputError(Problem("hidden and layers must be known to count a model's weights", field="workload"))
    hidden = workload.hidden
    layer = workload.projection_parameters + 3 * hidden * feed_forward + 2 * hidden
    return workload.layers * layer + 2 * vocabulary * hidden + hidden
