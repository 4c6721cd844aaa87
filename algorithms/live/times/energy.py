"""Energy of served requests: what chips draw while they wait, all the time, and what each step adds.

Steps are read from a table of joules with the grid of the table of times. Sums do not depend on the order of steps, so
stretches and single steps come to the same. Where tokens are drafted, a step takes its share of a verification and of
the drafts before it, rejected ones among them, as its time does (`algorithms.live.times.speculation`). Hosts, links
between racks and cooling are not counted, and of programmable chips neither instructions nor clocks
(`algorithms.chip.timing.energy`): a lower estimate.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable

import numpy as np

from algorithms.live.replica import StepLog
from algorithms.live.tiers import IntArray
from algorithms.live.times.speculation import Speculation
from algorithms.live.times.table import TableTimes


def joules_of_steps(
    logs: Iterable[StepLog], joules: TableTimes, speculation: Speculation | None = None, draft: TableTimes | None = None
) -> float:
    """What the steps of some replicas add on one chip of each.

    Parameters
    ----------
    joules
        Table of joules; of verifications, where tokens are drafted.
    speculation
        How tokens are drafted; None where each is a step of the model.
    draft
        Table of joules of the model that drafts; None where drafts cost nothing.
    """
    share = 1.0 if speculation is None else 1 / speculation.made
    rest: dict[tuple[int, int], float] = defaultdict(float)
    parts: Counter[tuple[int, int]] = Counter()
    contexts: dict[int, list[IntArray]] = {}
    for log in logs:
        for durations, sequences, context, prefill in zip(
            log.durations, log.sequences, log.contexts, log.parts, strict=True
        ):
            steps, new = len(durations), sequences * joules.queries
            if prefill:  # whatever a step has beyond those that decode is computed whole
                rest[new + sum(part.new_tokens for part in prefill), new + len(prefill)] += steps
                rest[new, new] -= steps
            rest[new, new] += steps * share
            parts.update((part.new_tokens, part.cached_tokens) for part in prefill)
            if sequences:
                contexts.setdefault(sequences, []).append(context + sequences * np.arange(steps, dtype=np.int64))
    read = {sequences: np.concatenate(each) for sequences, each in contexts.items()}
    terms = [count * joules.rest(*key) for key, count in rest.items() if count and key[0]]
    terms += [count * joules.prefill_attention(*key) for key, count in parts.items()]
    for sequences, tokens in read.items():
        terms += (share * joules.decode_attention(sequences, tokens)).tolist()
    if speculation is not None and draft is not None:
        drafted = speculation.drafted * share
        for sequences, tokens in read.items():
            terms.append(drafted * len(tokens) * draft.rest(sequences, sequences))
            terms += (drafted * draft.decode_attention(sequences, tokens)).tolist()
    return math.fsum(terms)
