"""Energy of served requests: what chips draw while they wait, all the time, and what each step adds.

Steps are read from a table of joules with the grid of the table of times. Sums do not depend on the order of steps, so
stretches and single steps come to the same. Hosts, links between racks and cooling are not counted, and of
programmable chips neither instructions nor clocks (`algorithms.chip.timing.energy`): a lower estimate.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

import numpy as np

from algorithms.live.replica import StepLog
from algorithms.live.times.table import TableTimes


def joules_of_steps(logs: Iterable[StepLog], joules: TableTimes) -> float:
    """What the steps of some replicas add on one chip of each.

    Parameters
    ----------
    joules
        Table of joules.
    """
    rest: Counter[tuple[int, int]] = Counter()
    parts: Counter[tuple[int, int]] = Counter()
    contexts: dict[int, list[np.ndarray[tuple[int], np.dtype[np.int64]]]] = {}
    for log in logs:
        for durations, sequences, context, prefill in zip(
            log.durations, log.sequences, log.contexts, log.parts, strict=True
        ):
            steps = len(durations)
            new = sequences + sum(part.new_tokens for part in prefill)
            rest[new, sequences + len(prefill)] += steps
            parts.update((part.new_tokens, part.cached_tokens) for part in prefill)
            if sequences:
                contexts.setdefault(sequences, []).append(context + sequences * np.arange(steps, dtype=np.int64))
    terms = [count * joules.rest(*key) for key, count in rest.items()]
    terms += [count * joules.prefill_attention(*key) for key, count in parts.items()]
    for sequences, read in contexts.items():
        terms += joules.decode_attention(sequences, np.concatenate(read)).tolist()
    return math.fsum(terms)
