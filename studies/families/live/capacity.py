"""The smallest deployment of a scenario that holds its service level; every candidate really serves the requests.

Candidates are numbers of replicas, and of chips that share the layers of one (powers of two, as far as the system's
links go). For each such number replicas are doubled until the level is held, and then halved in between: that more
replicas never serve fewer requests within the limits is what makes this a search and not a list.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from algorithms.live.algorithm import ServeParameters
from algorithms.live.metrics import ServiceLevel
from algorithms.live.pools import chip_for_tokens
from algorithms.live.scenario import Scenario, load_scenario
from hwmodels.reading.errors import InputError, Problem
from hwmodels.reading.made import made
from simulator.errors import CapacityError
from studies.families.live.evaluate import evaluate_live
from studies.points.point import DesignPoint, Json
from studies.tables import table
from studies.words import count, percent, quantity

MOST_CHIPS = 64
"""Chips that are tried at most where a scenario names a chip and no system."""
SHARE = 0.99
"""Share of the requests that meet the level, unless another is asked for."""


@dataclass(frozen=True)
class Candidate:
    """A deployment that was tried.

    Parameters
    ----------
    tp, replicas, chips
        Chips that share the layers of a replica, replicas, and all chips.
    share
        Share of all requests that met the level.
    ttft_p99_s, tpot_p99_s, latency_p99_s
        None where there is no such time.
    why
        Why it cannot be; empty for all others.
    """

    tp: int
    replicas: int
    chips: int
    share: float = 0.0
    ttft_p99_s: float | None = None
    tpot_p99_s: float | None = None
    latency_p99_s: float | None = None
    why: str = ""


@dataclass(frozen=True)
class Capacity:
    """Deployments of a scenario that were tried, and the smallest that holds the level.

    Parameters
    ----------
    point
        Scenario that was asked for.
    level
        Limits of a request.
    share
        Share of the requests that must meet them.
    chip, most_chips
        Name of the chip, and how many of them there may be.
    tried
        Candidates in the order in which they were tried.
    """

    point: DesignPoint
    level: ServiceLevel
    share: float
    chip: str
    most_chips: int
    tried: tuple[Candidate, ...]

    @property
    def smallest(self) -> Candidate | None:
        """The candidate with the fewest chips that holds the level; of several, the one that holds it for most."""
        holding = [each for each in self.tried if not each.why and each.share >= self.share]
        return min(holding, key=lambda each: (each.chips, -each.share, each.tp), default=None)

    @property
    def sentence(self) -> str:
        """The answer for people."""
        limits = ", ".join(
            f"{name} {quantity(limit, 's')}" for name, limit in _limits(self.level).items() if limit is not None
        )
        wanted = f"{limits} for {percent(self.share)} of the requests"
        found = self.smallest
        if found is not None:
            shape = f"{count(found.replicas, 'replica')} with tp = {found.tp}"
            verb = "holds" if found.replicas == 1 else "hold"
            rest = "nothing smaller does" if found.chips > 1 else "nothing is smaller"
            held = f"{shape} {verb} {wanted}, and {percent(found.share)} are within; {rest}"
            return f"{count(found.chips, 'chip')} ({self.chip}): {held}."
        best = max((each for each in self.tried if not each.why), key=lambda each: each.share, default=None)
        if best is None:
            return f"nothing up to {count(self.most_chips, 'chip')} can run: {self.tried[-1].why}."
        where = f"{count(best.replicas, 'replica')} with tp = {best.tp} come nearest, with {percent(best.share)}"
        return f"nothing up to {count(self.most_chips, 'chip')} ({self.chip}) holds {wanted}; {where}."

    def text(self) -> str:
        """All candidates, and the answer last."""
        rows = [
            (
                str(each.chips),
                str(each.tp),
                str(each.replicas),
                *(
                    (each.why, "", "", "")
                    if each.why
                    else (
                        percent(each.share),
                        *(
                            "none" if time is None else quantity(time, "s")
                            for time in (each.ttft_p99_s, each.tpot_p99_s, each.latency_p99_s)
                        ),
                    )
                ),
            )
            for each in self.tried
        ]
        header = ("chips", "tp", "replicas", "within the level", "TTFT 99 %", "TPOT 99 %", "latency 99 %")
        return f"{table(header, rows)}\n\n{self.sentence}"

    def describe(self) -> dict[str, Json]:
        """All candidates, and the answer."""
        found = self.smallest
        return {
            "scenario": str(dict(self.point.parameters)["scenario"]),
            "level": {name.lower() + "_s": limit for name, limit in _limits(self.level).items()},
            "share": self.share,
            "chip": self.chip,
            "most_chips": self.most_chips,
            "smallest": None if found is None else dataclasses.asdict(found),
            "tried": [dataclasses.asdict(each) for each in self.tried],
            "sentence": self.sentence,
        }


def _limits(level: ServiceLevel) -> dict[str, float | None]:
    return {"TTFT": level.ttft_s, "TPOT": level.tpot_s, "latency": level.latency_s}


def _told(seconds: float) -> float | None:
    return None if math.isnan(seconds) else seconds


def advise_capacity(point: DesignPoint, share: float = SHARE, most_chips: int | None = None) -> Capacity:
    """Find the smallest deployment that holds the service level of a scenario.

    Parameters
    ----------
    point
        The scenario, as ``live.serve`` takes it; its replicas and chips per replica are replaced.
    share
        Share of the requests that must meet the level, above 0 and at most 1.
    most_chips
        Chips to try at most; None for those of the system, or `MOST_CHIPS`.

    Raises
    ------
    InputError
        A scenario without limits, a share that cannot be, or as `evaluate_live`.
    """
    problems = []
    if not 0 < share <= 1:
        problems.append(Problem(f"must be above 0 and at most 1 (got {share:g})", field="--share"))
    if most_chips is not None and most_chips < 1:
        problems.append(Problem(f"must be at least 1 (got {most_chips})", field="--most-chips"))
    if problems:
        raise InputError(problems)
    parameters = made(ServeParameters, dict(point.parameters))
    chip = None if parameters.system else point.on_chip.accelerator
    scenario = load_scenario(parameters.scenario, parameters.changes(), parameters.trace or None, chip)
    if all(limit is None for limit in _limits(scenario.level).values()):
        message = "says no limit that requests must meet: ttft, tpot or latency"
        raise InputError(Problem(message, file=parameters.scenario, field="service"))
    system = scenario.deployment.system
    most = min(most_chips or system.count, system.count) if system.levels else most_chips or MOST_CHIPS
    search = _Search(point, scenario, share, most)
    for tp in search.sizes:
        search.smallest_of(tp)
    return Capacity(point, scenario.level, share, chip_for_tokens(system).name, most, tuple(search.tried.values()))


class _Search:
    """Candidates that were tried so far, and which to try next."""

    def __init__(self, point: DesignPoint, scenario: Scenario, share: float, most: int) -> None:
        self.point, self.share, self.most = point, share, most
        self.chips_of_one = scenario.deployment.mapping.dp
        self.least = scenario.deployment.prefill + 1
        self.sizes = [1]
        while scenario.deployment.system.levels and 2 * self.sizes[-1] * self.chips_of_one <= most:
            self.sizes.append(2 * self.sizes[-1])
        self.tried: dict[tuple[int, int], Candidate] = {}

    def smallest_of(self, tp: int) -> None:
        """Double the replicas until the level is held, then halve what lies between; as far as it can be the best."""
        fails, holds = self.least - 1, 0
        replicas = self.least
        while not holds and replicas <= self._worthwhile(tp):
            if self._holds(tp, replicas):
                holds = replicas
            elif self.tried[tp, replicas].why:
                return
            else:
                fails, replicas = replicas, min(2 * replicas, max(self._worthwhile(tp), replicas + 1))
        while holds - fails > 1:
            middle = (fails + holds) // 2
            if self._holds(tp, middle):
                holds = middle
            else:
                fails = middle

    def _worthwhile(self, tp: int) -> int:
        """Replicas that are no more chips than there are, and fewer than, or as many as, the smallest that holds."""
        holding = [each.chips for each in self.tried.values() if self._enough(each)]
        return min([self.most, *holding]) // (tp * self.chips_of_one)

    def _holds(self, tp: int, replicas: int) -> bool:
        self.tried[tp, replicas] = found = self._serve(tp, replicas)
        return self._enough(found)

    def _enough(self, each: Candidate) -> bool:
        return not each.why and each.share >= self.share

    def _serve(self, tp: int, replicas: int) -> Candidate:
        chips = tp * replicas * self.chips_of_one
        values = {**dict(self.point.parameters), "tp": tp, "replicas": replicas}
        try:
            found = evaluate_live(dataclasses.replace(self.point, parameters=tuple(sorted(values.items())))).found
        except (CapacityError, InputError) as error:
            return Candidate(tp, replicas, chips, why=str(error).splitlines()[0])
        within = sum(found.scenario.level.met_by(each) for each in found.run.requests)
        metrics = found.metrics
        return Candidate(
            tp,
            replicas,
            found.scenario.deployment.chips,
            share=within / len(found.run.requests),
            ttft_p99_s=_told(metrics.ttft.p99_s),
            tpot_p99_s=_told(metrics.tpot.p99_s),
            latency_p99_s=_told(metrics.latency.p99_s),
        )
