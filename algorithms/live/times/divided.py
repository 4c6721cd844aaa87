"""Step times on parts of a chip: fewer cores, and a part of the rate of the main memory.

Every size of a chip has a table of its own, whose launches are simulated on that many cores beside all of the cache.
"""

from __future__ import annotations

from collections.abc import Callable

from algorithms.live.requests import NANOSECONDS
from algorithms.live.schedulers.phases import ALL
from algorithms.live.steps import Part
from algorithms.live.tiers import IntArray
from algorithms.live.times.table import TableTimes
from algorithms.rounding import ceil_div

QUARTER = 25
"""Rates of the main memory are whole quarters of it, so that few of them have to be simulated."""


class DividedChip:
    """Times of steps on a chip and on parts of it; a `algorithms.live.schedulers.phases.DividedTimes`.

    Parameters
    ----------
    whole
        Table of the whole chip.
    part
        Makes the table of a chip with so many per cent of the cores and of the main memory's rate.
    moved
        Table of bytes in the main memory, in the place of seconds.
    bytes_per_second
        Rate of the main memory of a chip.
    """

    def __init__(
        self,
        whole: TableTimes,
        part: Callable[[int, int], TableTimes],
        moved: TableTimes,
        bytes_per_second: float,
    ) -> None:
        self.whole, self._part, self._moved, self.bytes_per_second = whole, part, moved, bytes_per_second
        self._tables = {(ALL, ALL): whole}

    @property
    def filled(self) -> int:
        """Values that were computed."""
        return sum(table.filled for table in self._tables.values())

    def at(self, cores_pct: int, memory_pct: int) -> TableTimes:
        """See `algorithms.live.schedulers.phases.DividedTimes`."""
        found = self._tables.get((cores_pct, memory_pct))
        if found is None:
            found = self._tables[cores_pct, memory_pct] = self._part(cores_pct, memory_pct)
        return found

    def memory_pct(self, cores_pct: int, prefill: tuple[Part, ...]) -> int:
        """See `algorithms.live.schedulers.phases.DividedTimes`; whole quarters, no less than what is moved."""
        seconds = self.at(cores_pct, ALL).mixed(0, 0, prefill) / NANOSECONDS
        moved = self._moved.rest(sum(part.new_tokens for part in prefill), len(prefill))
        moved += sum(self._moved.prefill_attention(part.new_tokens, part.cached_tokens) for part in prefill)
        share = moved / (seconds * self.bytes_per_second) if seconds else 0.0
        return min(QUARTER * max(ceil_div(round(ALL * share), QUARTER), 1), ALL)

    def decode(self, sequences: int, context_tokens: IntArray) -> IntArray:
        """Of the whole chip; see `algorithms.live.steps.StepTimes`."""
        return self.whole.decode(sequences, context_tokens)

    def mixed(self, sequences: int, context_tokens: int, prefill: tuple[Part, ...]) -> int:
        """Of the whole chip; see `algorithms.live.steps.StepTimes`."""
        return self.whole.mixed(sequences, context_tokens, prefill)
