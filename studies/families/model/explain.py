"""What binds a step of a model, and what to change next: every lever is tried before it is named, capacity included."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from hwmodels.reading.errors import InputError
from simulator.errors import SimulatorError
from studies.families.explanation import Explanation, Lever
from studies.families.model.evaluate import evaluate_model
from studies.families.model.evaluation import ModelEvaluation
from studies.families.model.text import step_text
from studies.points.point import DesignPoint, Json, Scalar
from studies.tables import table
from studies.words import percent, quantity

DOUBLED = 2
LEAST_GAIN = 0.0005
"""Share of the time that a lever saves to be named: what is not 0.0 %."""
CHOICES: dict[str, tuple[Scalar, ...]] = {
    "weights": ("float8", "int4"),
    "kv": ("fp8",),
    "fusion": ("engine",),
    "launch": ("graph",),
    "exchange": ("custom",),
}
"""Values of parameters that are tried."""


@dataclass(frozen=True)
class ModelExplanation(Explanation):
    """A step of a model, what binds it, and levers in descending order of what they gain."""

    evaluation: ModelEvaluation

    @property
    def sentence(self) -> str:
        """What binds and the lever that gains most."""
        step = self.evaluation.step
        text = f"most of the {quantity(step.seconds, 's')} waits for {step.binding}"
        gains = [lever for lever in self.levers if lever.gain > LEAST_GAIN]
        if not gains:
            return f"{text}; nothing that was tried saves time."
        best = gains[0]
        before, after = best.shown
        return f"{text}; {best.name} {before} -> {after} saves {percent(best.gain)}."

    def text(self) -> str:
        """The step, the levers, the sentence."""
        rows = [(lever.name, *lever.shown, percent(lever.gain)) for lever in self.levers]
        levers = table(("change", "from", "to", "saves"), rows) if rows else "No change could be tried."
        return f"{step_text(self.evaluation.step)}\n\n{levers}\n\n{self.sentence}"

    def describe(self) -> dict[str, Json]:
        """What binds, and all levers."""
        return {
            "algorithm": self.point.algorithm,
            "seconds": self.evaluation.seconds,
            "binding": self.evaluation.step.binding,
            "levers": [
                {
                    "name": lever.name,
                    "before": lever.before,
                    "after": lever.after,
                    "seconds_before": lever.cost_before,
                    "seconds_after": lever.cost_after,
                    "gain": lever.gain,
                }
                for lever in self.levers
            ],
            "sentence": self.sentence,
        }


def explain_model(point: DesignPoint) -> ModelExplanation:
    """Time `point`, and every lever beside it; raises as `evaluate_model`."""
    evaluation = evaluate_model(point)
    levers = sorted(_levers(point, evaluation.seconds), key=lambda lever: -lever.gain)
    return ModelExplanation(point, tuple(levers), evaluation)


def _levers(point: DesignPoint, seconds: float) -> Iterator[Lever]:
    """Levers that can be timed: of the chip, of its number, and of formats."""
    for name, before, after, changed in [*_of_chip(point), *_of_parameters(point)]:
        try:
            yield Lever(name, before, after, seconds, evaluate_model(changed).seconds)
        except (InputError, SimulatorError):
            continue


def _of_chip(point: DesignPoint) -> Iterator[tuple[str, Scalar, Scalar, DesignPoint]]:
    """Twice of a rate or of a capacity."""
    setting = point.on_chip
    chip = setting.accelerator
    paths = [f"{chip.memory.name}.bytes_per_second", "cores", "clock_hz"]
    paths += [f"{tier.name}.capacity_bytes" for tier in chip.caches]
    values = chip.values()
    for path in paths:
        before = values[path]
        if isinstance(before, int | float):
            after = DOUBLED * before
            changed = dataclasses.replace(setting, accelerator=chip.with_(**{path: after}))
            yield f"chip.{path}", before, after, dataclasses.replace(point, chip=changed)


def _of_parameters(point: DesignPoint) -> Iterator[tuple[str, Scalar, Scalar, DesignPoint]]:
    """Twice the chips that share layers, and other formats and launches."""
    values = dict(point.parameters)
    tp = values["tp"]
    tried: list[tuple[str, Scalar]] = [("tp", DOUBLED * tp)] if isinstance(tp, int) and values["system"] else []
    tried += [(name, value) for name, choices in CHOICES.items() for value in choices if values[name] != value]
    for name, value in tried:
        changed = tuple(sorted({**values, name: value}.items()))
        yield name, values[name], value, dataclasses.replace(point, parameters=changed)
