"""What limits a design on a chip, and what to change next: every lever is simulated before it is named."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from hwmodels.reading.errors import InputError
from simulator.errors import SimulatorError
from studies.families.chip.evaluate import evaluate_on_chip
from studies.families.chip.evaluation import ChipEvaluation
from studies.families.chip.tables import bound_table, launch_table
from studies.families.explanation import Explanation, Lever
from studies.families.text import subject
from studies.points.find import find_algorithm
from studies.points.knobs import parameter_knobs
from studies.points.point import ChipSetting, DesignPoint, Json, Scalar
from studies.tables import table
from studies.words import count, number, quantity

DOUBLED = 2
CAPACITY_FACTORS = (2, 4)
"""How much larger memories are tried: a tile twice as high and as wide takes four times the room of its scores."""
ENOUGH_OF_GAIN = 0.9
"""Share of what the largest capacity gains from which a smaller one is the lever."""
IDLE_SHARE = 0.1
"""Share of idle cores from which they are worth a word."""
SATURATED = 0.85
"""Share of the time from which a tier counts as busy all the time."""
LEAST_BINDING_SHARE = 0.8
"""Share of the time from which a bound explains it, and is said to bind."""
LEAST_GAIN = 0.0005
"""Share of the time that a lever saves to be named as the best: what is not 0.0 %."""
WAITS = {
    "loads": "loads under way",
    "softmax": "the softmax of the step before",
    "matrix": "products of others",
}


def cache_limit(evaluation: ChipEvaluation) -> float | None:
    """Share of the time that the caches move bytes, where they set the pace."""
    if not evaluation.seconds:
        return None
    bound = evaluation.run.bounds.seconds / evaluation.seconds
    return saturated(evaluation.run.shares.get("cache", 0.0), bound)


def saturated(share: float, bound: float) -> float | None:
    """Share of the time that caches move bytes, where that is nearly all of it and more than the largest bound's.

    How many bytes cores ask of a cache depends on tiles and order, so it is no lower bound of the work; but once it is
    busy all the time, nothing else sets the pace.
    """
    return share if share > SATURATED and share > bound + IDLE_SHARE / 2 else None


@dataclass(frozen=True)
class ChipLever(Lever):
    """A change of a design on a chip, and what the algorithm makes of it.

    Parameters
    ----------
    decided
        Names of parameters that are decided otherwise with the change, with their values without and with it.
    moved_bytes
        Bytes that the main memory moves without and with it.
    """

    decided: tuple[tuple[str, Scalar, Scalar], ...] = ()
    moved_bytes: tuple[float, float] = (0.0, 0.0)

    @property
    def then(self) -> str:
        """What fits with the change, and what that saves, in words; empty where nothing is decided otherwise."""
        if not self.decided:
            return ""
        chosen = (f"{name} {number(after)} instead of {number(before)}" for name, before, after in self.decided)
        before, after = self.moved_bytes
        fewer = f", and {before / after:.2g} times fewer bytes are moved" if after and before / after >= CLEARLY else ""
        return f"then {', '.join(chosen)}{fewer}"


CLEARLY = 1.05
"""Factor between numbers of bytes from which it is worth a word."""


def busy_cores(used: int, cores: int) -> str:
    """How many cores work, where not nearly all of them do; else empty."""
    return f"{used:,} of {cores:,} cores busy" if cores - used > IDLE_SHARE * cores else ""


@dataclass(frozen=True)
class ChipExplanation(Explanation):
    """A design on a chip, its bounds, and levers in descending order of what they gain.

    Parameters
    ----------
    hardware, software
        Levers of the chip, and of the algorithm.
    """

    evaluation: ChipEvaluation
    hardware: tuple[ChipLever, ...]
    software: tuple[ChipLever, ...]

    @property
    def sentence(self) -> str:
        """What binds and the best lever of either kind, for people."""
        bounds, seconds = self.evaluation.run.bounds, self.evaluation.seconds
        share = 100 * bounds.seconds / seconds if seconds else 100.0
        cache = cache_limit(self.evaluation)
        if cache is not None:
            text = f"the cache binds: it moves bytes in {100 * cache:.0f} % of the time"
            text += f" (largest bound: {bounds.binding}, {share:.0f} %)"
        elif bounds.seconds < LEAST_BINDING_SHARE * seconds:
            busy = busy_cores(*self._cores)
            text = f"no bound explains it{': ' if busy else ''}{busy}"
            text += f"; the largest bound, {bounds.binding}, is {share:.0f} % of the time{self._waits()}"
        else:
            text = f"{bounds.binding} binds: its bound is {share:.0f} % of the time"
            if busy_cores(*self._cores):
                text += f", but {self.evaluation.idle_cores:,} of {self._cores[1]:,} cores have nothing to do"
        for what, levers in (("of the algorithm", self.software), ("of the chip", self.hardware)):
            best = next((lever for lever in levers if lever.gain >= LEAST_GAIN), None)
            if best is None:
                text += f". No lever {what} helps"
            else:
                change = f"{best.name} from {' to '.join(best.shown)}"
                text += f". Best lever {what}: {change} saves {100 * best.gain:.1f} % of the time"
                text += f" ({best.then})" if best.then else ""
        return text + "."

    @property
    def chosen(self) -> str:
        """Parameters that are decided for the chip."""
        asked = dict(self.evaluation.point.parameters)
        decided = self.evaluation.decided.items()
        return ", ".join(f"{name} {number(value)}" for name, value in decided if asked.get(name) != value)

    @property
    def _cores(self) -> tuple[int, int]:
        """Cores that have work in the longest launch, and cores."""
        cores = self.evaluation.chip.accelerator.cores
        return cores - self.evaluation.idle_cores, cores

    def _waits(self) -> str:
        """What score products of the longest launch wait for most, where they do."""
        launch = max(self.evaluation.run.launches, key=lambda launch: launch.seconds)
        cause = max(launch.stalled, key=lambda name: launch.stalled[name], default=None)
        if cause is None or launch.stalled[cause] < IDLE_SHARE:
            return ""
        return f"; its products wait for {WAITS[cause]} in {100 * launch.stalled[cause]:.0f} % of the longest launch"

    def describe(self) -> dict[str, Json]:
        """Plain JSON values."""
        evaluation = self.evaluation.describe()
        kept = ("key", "point", "parameters", "seconds", "cycles", "bounds", "launches")
        return {
            **{name: evaluation[name] for name in kept},
            "levers": {
                "chip": [_described(lever) for lever in self.hardware],
                "algorithm": [_described(lever) for lever in self.software],
            },
            "sentence": self.sentence,
        }

    def text(self) -> str:
        """Bounds, launches and levers for people."""
        evaluation, run = self.evaluation, self.evaluation.run
        time = f"time      {quantity(evaluation.seconds, 's')} ({count(evaluation.cycles, 'cycle')})"
        parts = [f"{subject(self.point)}\n{time}", bound_table(run), launch_table(run)]
        for levers in (self.software, self.hardware):
            rows = [
                (
                    lever.name,
                    *lever.shown,
                    quantity(lever.cost_after, "s"),
                    f"{round(-100 * lever.gain, 1) + 0.0:+.1f}%",
                    lever.then,
                )
                for lever in levers
            ]
            parts.append(table(("lever", "from", "to", "time", "change", ""), rows))
        return "\n\n".join([*parts, self.sentence])


def _described(lever: ChipLever) -> dict[str, Json]:
    """A lever in seconds, and what is decided otherwise with it."""
    return {
        "name": lever.name,
        "before": lever.before,
        "after": lever.after,
        "seconds": lever.cost_after,
        "gain": lever.gain,
        "then": {name: after for name, _, after in lever.decided},
    }


def explain_on_chip(point: DesignPoint) -> ChipExplanation:
    """Time `point`, then try each lever by itself: more of each resource, and other parameters.

    Rates are tried with the parameters as decided for the chip that is explained, capacities with those that were asked
    for: what a larger memory is good for is another tile.

    Raises
    ------
    InputError, simulator.CapacityError
        As `studies.families.chip.evaluate.evaluate_on_chip`.
    """
    point = dataclasses.replace(point, timing_only=True)
    evaluation = evaluate_on_chip(point)
    decided = dataclasses.replace(point, parameters=tuple(sorted(evaluation.decided.items())))
    hardware, software = (
        tuple(sorted(levers, key=lambda lever: -lever.gain))
        for levers in (
            (*_tried(evaluation, _other_chips(decided)), *_capacity_levers(evaluation, point)),
            _tried(evaluation, _other_parameters(decided, dict(point.parameters))),
        )
    )
    both = tuple(sorted((*software, *hardware), key=lambda lever: -lever.gain))
    return ChipExplanation(point, both, evaluation, hardware, software)


Candidate = tuple[str, Scalar, Scalar, DesignPoint]


def _tried(evaluation: ChipEvaluation, candidates: Iterable[Candidate]) -> Iterator[ChipLever]:
    """Levers that can be: what does not fit is left out."""
    for name, before, after, point in candidates:
        try:
            tried = evaluate_on_chip(point)
        except (InputError, SimulatorError):
            continue
        decided = tuple(
            (knob, evaluation.decided[knob], value)
            for knob, value in tried.decided.items()
            if knob != name and evaluation.decided.get(knob) != value
        )
        moved = tuple(each.run.tier_bytes[each.chip.accelerator.memory.name] for each in (evaluation, tried))
        yield ChipLever(name, before, after, evaluation.seconds, tried.seconds, decided, (moved[0], moved[1]))


def _capacity_levers(evaluation: ChipEvaluation, point: DesignPoint) -> Iterator[ChipLever]:
    """Each memory of the chip larger: the smallest that gains nearly what the largest one does."""
    for candidates in _larger_memories(point):
        levers = list(_tried(evaluation, candidates))
        best = max((lever.gain for lever in levers), default=0.0)
        yield from [lever for lever in levers if best <= 0 or lever.gain >= ENOUGH_OF_GAIN * best][:1]


def _larger_memories(point: DesignPoint) -> Iterator[list[Candidate]]:
    """The chip with one memory larger, by several factors each."""
    setting = point.on_chip
    chip = setting.accelerator
    paths = ["core.sram_bytes", "core.register_bytes", "core.accumulator_bytes"]
    paths += [f"{tier.name}.capacity_bytes" for tier in chip.caches]
    values = chip.values()
    for path in paths:
        before = values.get(path)
        if not isinstance(before, int | float) or before <= 0:
            continue
        yield [
            (
                f"chip.{path}",
                before,
                factor * before,
                dataclasses.replace(point, chip=_with(setting, path, factor * before)),
            )
            for factor in CAPACITY_FACTORS
        ]


def _with(setting: ChipSetting, path: str, value: float) -> ChipSetting:
    return dataclasses.replace(setting, accelerator=setting.accelerator.with_(**{path: value}))


def _other_chips(point: DesignPoint) -> Iterator[Candidate]:
    """The chip with twice of one resource."""
    setting = point.on_chip
    chip = setting.accelerator
    array = chip.core.matrix_format(point.attending.dtype)
    paths = ["cores", f"core.matrix_flops_per_cycle.{array}", "core.exp_per_cycle", "core.vector_flops_per_cycle"]
    paths += [f"{tier.name}.bytes_per_second" for tier in (*chip.caches, chip.memory)]
    values = chip.values()
    for path in paths:
        before = values[path]
        if isinstance(before, int | float):
            changed = _with(setting, path, DOUBLED * before)
            yield f"chip.{path}", before, DOUBLED * before, dataclasses.replace(point, chip=changed)


def _other_parameters(point: DesignPoint, asked: Mapping[str, Scalar]) -> Iterator[Candidate]:
    """The algorithm with one parameter of its schedule changed; 0 leaves a size that was asked for to the algorithm."""
    given = dict(point.parameters)
    algorithm = find_algorithm(point.algorithm)
    knobs = parameter_knobs(algorithm)
    for name in [field.name for field in dataclasses.fields(algorithm.parameters) if field.metadata.get("schedule")]:
        before = given[name]
        afters: list[Scalar] = [
            choice for choice in typing.get_args(knobs[name].kind) if choice not in (before, "auto")
        ]
        if isinstance(before, int) and before > 0:
            afters = [DOUBLED * before, *([before // DOUBLED] if before > 1 else []), *([0] if asked[name] else [])]
        for after in afters:
            changed = tuple((key, after if key == name else value) for key, value in point.parameters)
            yield name, before, after, dataclasses.replace(point, parameters=changed)
