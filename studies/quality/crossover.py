"""From which context on a constant state beats a cache that grows: in bytes, in time and in energy, chip by chip.

Both decode one token with the same heads on the same chip: `state.decode` with a rule, whose step costs the same at
every context, and `decode.split_kv`, whose step costs more with every token. The crossover is the first context at
which the cache costs more, found by bisection over contexts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from algorithms.state.rule import rule_names
from algorithms.workload.shape import Workload
from simulator.errors import SimulatorError
from studies.families.evaluate import evaluate
from studies.families.metrics import measure
from studies.points.find import find_algorithm
from studies.points.knobs import complete_parameters
from studies.points.point import ChipSetting, DesignPoint

GOALS = ("memory_bytes", "seconds", "energy_j")
"""Metrics that are compared."""
LONGEST = 1 << 20
"""Context up to which a crossover is looked for."""


@dataclass(frozen=True)
class Crossover:
    """Where a rule beats full attention on a chip.

    Parameters
    ----------
    chip, rule
        Names of both.
    state
        Cost of a step with the constant state, by metric.
    contexts
        First context at which the cache costs more, by metric; None where that is beyond `LONGEST` tokens.
    why
        Why there is nothing, for a state that does not fit.
    """

    chip: str
    rule: str
    state: dict[str, float] = field(default_factory=dict)
    contexts: dict[str, int | None] = field(default_factory=dict)
    why: str = ""


@dataclass
class _Cache:
    """Costs of decoding with a cache on one chip, each context evaluated once."""

    workload: Workload
    chip: ChipSetting
    known: dict[int, dict[str, float]] = field(default_factory=dict)

    def costs(self, context: int) -> dict[str, float]:
        """Costs of a step at a context."""
        if context not in self.known:
            work = self.workload.with_(phase="decode", q_len=1, kv_len=context)
            self.known[context] = _costs("decode.split_kv", work, self.chip, {})
        return self.known[context]

    def first_above(self, goal: str, cost: float) -> int | None:
        """The first context at which a step costs more than `cost`, by bisection between powers of two."""
        high = 1
        while self.costs(high)[goal] <= cost:
            high *= 2
            if high > LONGEST:
                return None
        low = high // 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.costs(middle)[goal] > cost else (middle, high)
        return high


def crossovers(workload: Workload, chips: Sequence[ChipSetting], rules: Sequence[str] = ()) -> Iterator[Crossover]:
    """Every rule on every chip.

    Parameters
    ----------
    workload
        Heads, batch and number format; phase and lengths are replaced.
    chips
        Where.
    rules
        Rules of constant states; all when empty.

    Raises
    ------
    InputError
        Unknown rule, or heads that no kernel takes.
    """
    for chip in chips:
        cache = _Cache(workload, chip)
        for rule in rules or rule_names():
            work = workload.with_(phase="decode", q_len=1, kv_len=1)
            try:
                state = _costs("state.decode", work, chip, {"rule": rule})
                found = {goal: cache.first_above(goal, state[goal]) for goal in GOALS}
            except SimulatorError as error:
                yield Crossover(chip.accelerator.name, rule, why=str(error))
                continue
            yield Crossover(chip.accelerator.name, rule, state, found)


def _costs(algorithm: str, workload: Workload, chip: ChipSetting, parameters: dict[str, str]) -> dict[str, float]:
    """The compared metrics of a point."""
    point = DesignPoint(
        algorithm,
        workload,
        complete_parameters(find_algorithm(algorithm), parameters),
        timing_only=True,
        chip=chip,
        clock_hz=chip.accelerator.clock_hz,
    )
    metrics = measure(evaluate(point))
    return {goal: float(metrics[goal] or 0.0) for goal in GOALS}
