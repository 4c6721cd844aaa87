"""A search for designs of two blocks that work side by side, such as attention beside feed-forward layers on an FPGA.

The slower block sets the pace, and both spend one budget: the heuristic is that of UbiMoE (Dong et al.,
arXiv:2502.05602). Stage one looks for the fastest first block, the second one being as small as it can be. Stage two
gives what is left to the second block, for every value of its leading axis (how many modules there are), by evolution
that stops as soon as the second block keeps pace. If it never does, the first block has taken too much: a binary search
over first blocks from fast and large to slow and small finds where both are equally fast. Evaluations that are left go
to the other first blocks that are faster than the best design: axes of the first block may matter to the second too.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from hwmodels.reading.errors import InputError, Problem
from studies.points.point import Scalar
from studies.search.samplers import NSGA2, Proposer, Verdict, population
from studies.study.axes import Choice, Space
from studies.study.goals import PacedBlock, number_of

EXPLORATIONS = 4
"""A single exploration gets at most one in so many evaluations."""

Found = TypeVar("Found")
Exploring = Generator[list[Choice], Sequence[Verdict], Found]
"""Yields designs to evaluate, is sent what became of them, and returns what it found."""


@dataclass(frozen=True)
class _Design:
    """A design within its constraints: cycles of the block explored, and how near it comes to the tightest limit."""

    pace: float
    cost: float
    choice: Choice


class TwoStage:
    """Proposes designs of two blocks.

    Parameters
    ----------
    space
        All axes, from small to large.
    blocks
        The two.
    seed, evaluations
        Where random numbers start, and how many designs may be evaluated.

    Raises
    ------
    InputError
        A study that names no blocks.
    """

    def __init__(self, space: Space, blocks: Sequence[PacedBlock], seed: int, evaluations: int) -> None:
        if not blocks:
            hint = "add 'blocks:' with two entries {metric: ..., axes: [...]}, whose slower one sets the pace"
            raise InputError(Problem("the study does not say what its two blocks are", field="blocks", hint=hint))
        self._space, self._seed = space, seed
        self._first, self._second = blocks
        self._share = max(evaluations // EXPLORATIONS, 1)
        self.batch = population(evaluations)
        self._smallest = {axis.name: axis.values[0] for axis in space.axes}
        self._plan = self._rounds()
        self._verdicts: dict[int, Verdict] = {}
        self._begun = False

    def ask(self) -> list[tuple[int, Choice]]:
        """Designs to evaluate, each with its number; none when the search is over."""
        try:
            if self._begun:
                choices = self._plan.send([self._verdicts[number] for number in sorted(self._verdicts)])
            else:
                choices, self._begun = next(self._plan), True
        except StopIteration:
            return []
        self._verdicts = {}
        return list(enumerate(choices))

    def tell(self, number: int, verdict: Verdict) -> None:
        """Take note of what became of a design of the last batch."""
        self._verdicts[number] = verdict

    def _rounds(self) -> Exploring[None]:
        """The search, and again with twice as much for every exploration as long as evaluations are left."""
        while True:
            yield from self._search()
            if self._share >= self._space.size:
                return
            self._share *= 2

    def _search(self) -> Exploring[None]:
        found = yield from self._explore(self._first, self._first.axes, {})
        firsts = frontier(found)
        low, middle, high, best = 0, 0, len(firsts) - 1, float("inf")
        tried: list[_Design] = []
        while low <= high:
            chosen = firsts[middle]
            second = yield from self._keep_pace(chosen)
            best = min(best, max(chosen.pace, second))
            tried.append(chosen)
            if second <= chosen.pace:
                high = middle - 1  # there was room: a faster first block may do
            else:
                low = middle + 1
            high = min(high, bisect_left(firsts, best, key=lambda design: design.pace) - 1)
            middle = (low + high) // 2
        for other in sorted(found, key=lambda design: -design.pace):
            if other.pace < best and other not in tried:
                best = min(best, max(other.pace, (yield from self._keep_pace(other))))

    def _keep_pace(self, first: _Design) -> Exploring[float]:
        """Fastest second block found beside a first one; enough is what does not slow it down."""
        leading, *others = self._second.axes
        fixed = {name: first.choice[name] for name in self._first.axes if name in first.choice}
        best = float("inf")
        for value in next(axis.values for axis in self._space.axes if axis.name == leading):
            designs = yield from self._explore(self._second, others, {**fixed, leading: value}, first.pace)
            best = min([best, *(design.pace for design in designs)])
            if best <= first.pace:
                break
        return best

    def _explore(
        self, block: PacedBlock, axes: Sequence[str], fixed: Mapping[str, Scalar], enough: float = 0.0
    ) -> Exploring[list[_Design]]:
        """Designs within their constraints that differ in some axes: all there are, or as many as evolution may try."""
        part = Space(tuple(axis for axis in self._space.axes if axis.name in axes))
        found: list[_Design] = []
        if part.size <= self._share:
            every = map(self._whole(fixed), part.choices())
            while choices := list(islice(every, self.batch)):
                found += self._read(block, choices, (yield choices))
                if any(design.pace <= enough for design in found):
                    break
            return found
        smallest = [self._whole(fixed)({})]
        found += self._read(block, smallest, (yield smallest))  # evolution may begin far beyond the constraints
        proposer = Proposer(part, 1, NSGA2, self._seed, self._share)
        for _ in range(-(-self._share // proposer.batch)):
            asked = proposer.ask()
            choices = [self._whole(fixed)(choice) for _, choice in asked]
            verdicts = yield choices
            for (trial, _), verdict in zip(asked, verdicts, strict=True):
                pace = number_of(verdict.metrics, block.metric)
                proposer.tell(trial, Verdict(None if pace is None else (pace,), verdict.violations))
            found += self._read(block, choices, verdicts)
            if any(design.pace <= enough for design in found):
                break
        return found

    def _whole(self, fixed: Mapping[str, Scalar]) -> _Whole:
        return _Whole(self._space, {**self._smallest, **fixed})

    def _read(self, block: PacedBlock, choices: Sequence[Choice], verdicts: Sequence[Verdict]) -> list[_Design]:
        """What was found: designs with a result and within all constraints."""
        paces = [number_of(verdict.metrics, block.metric) for verdict in verdicts]
        return [
            _Design(pace, max(verdict.violations, default=0.0), choice)
            for pace, verdict, choice in zip(paces, verdicts, choices, strict=True)
            if pace is not None and verdict.costs is not None and all(each <= 0 for each in verdict.violations)
        ]


@dataclass(frozen=True)
class _Whole:
    """Completes the choice of some axes by the values of all others that hold."""

    space: Space
    others: Mapping[str, Scalar]

    def __call__(self, choice: Choice) -> Choice:
        wanted, chosen = {**self.others, **choice}, dict[str, Scalar]()
        for axis in self.space.axes:
            if axis.holds(chosen):
                chosen[axis.name] = wanted[axis.name]
        return chosen


def frontier(designs: Sequence[_Design]) -> list[_Design]:
    """From fast to slow, those that are smaller than all faster ones."""
    kept: list[_Design] = []
    for design in sorted(designs, key=lambda design: (design.pace, design.cost)):
        if not kept or design.cost < kept[-1].cost:
            kept.append(design)
    return kept
