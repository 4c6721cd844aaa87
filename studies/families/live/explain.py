"""What requests wait for, and what to change next: every lever is a run of the same requests."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from hwmodels.reading.errors import InputError
from simulator.errors import SimulatorError
from studies.families.explanation import Explanation, LeftOut, Lever
from studies.families.live.evaluate import evaluate_live
from studies.families.live.evaluation import LiveEvaluation
from studies.families.live.summary import waits_for
from studies.families.live.text import live_text
from studies.points.point import DesignPoint, Json, Scalar
from studies.tables import table
from studies.words import percent, quantity

DOUBLED = 2
LEAST_GAIN = 0.0005
"""Share of the mean latency that a lever saves to be named: what is not 0.0 %."""


@dataclass(frozen=True)
class LiveExplanation(Explanation):
    """A scenario, what requests wait for, levers in descending order of the mean latency that they save, and the rest.

    The rest, `left_out`, are levers under which it cannot be served, or under which fewer requests are.
    """

    evaluation: LiveEvaluation
    left_out: tuple[LeftOut, ...] = ()

    @property
    def sentence(self) -> str:
        """What binds and the lever that gains most."""
        found = self.evaluation.found
        mean = found.metrics.latency.mean_s
        if not found.metrics.finished:
            return "no request has all of its tokens."
        text = f"most of the mean latency of {quantity(mean, 's')} goes into {waits_for(found)}"
        gains = [lever for lever in self.levers if lever.gain > LEAST_GAIN]
        if not gains:
            return f"{text}; nothing that was tried saves time."
        before, after = gains[0].shown
        return f"{text}; {gains[0].name} {before} -> {after} saves {percent(gains[0].gain)}."

    @property
    def stuck(self) -> bool:
        """Whether a request can never be served."""
        return self.evaluation.stuck

    def text(self) -> str:
        """The run, the levers, the sentence."""
        rows = [(lever.name, *lever.shown, percent(lever.gain)) for lever in self.levers]
        levers = table(("change", "from", "to", "saves of the mean latency"), rows) if rows else "Nothing was tried."
        left_out = "".join(f"\n{each.text()}" for each in self.left_out)
        return f"{live_text(self.evaluation.found)}\n\n{levers}{left_out}\n\n{self.sentence}"

    def describe(self) -> dict[str, Json]:
        """What binds, and all levers."""
        found = self.evaluation.found
        return {
            "algorithm": self.point.algorithm,
            "mean_latency_s": found.metrics.latency.mean_s if found.metrics.finished else None,
            "binding": waits_for(found),
            "levers": [
                {
                    "name": lever.name,
                    "before": lever.before,
                    "after": lever.after,
                    "mean_latency_s_before": lever.cost_before,
                    "mean_latency_s_after": lever.cost_after,
                    "gain": lever.gain,
                }
                for lever in self.levers
            ],
            "left_out": [each.describe() for each in self.left_out],
            "sentence": self.sentence,
        }


def explain_live(point: DesignPoint) -> LiveExplanation:
    """Serve `point`, and every lever beside it; raises as `evaluate_live`."""
    evaluation = evaluate_live(point)
    cost = evaluation.found.metrics.latency.mean_s
    tried = tuple(_levers(point, evaluation, cost)) if cost > 0 else ()
    levers = sorted((each for each in tried if isinstance(each, Lever)), key=lambda lever: -lever.gain)
    left_out = tuple(each for each in tried if isinstance(each, LeftOut))
    return LiveExplanation(point, tuple(levers), evaluation, left_out)


def _levers(point: DesignPoint, evaluation: LiveEvaluation, cost: float) -> Iterator[Lever | LeftOut]:
    """Levers that serve all requests that were served before, and why others cannot."""
    finished = evaluation.found.metrics.finished
    for name, before, after, changed in [*_of_chip(point), *_of_deployment(point, evaluation)]:
        try:
            found = evaluate_live(changed).found.metrics
        except (InputError, SimulatorError) as error:
            yield LeftOut.refused(name, after, error)
            continue
        if found.finished >= finished:
            yield Lever(name, before, after, cost, found.latency.mean_s)
        else:
            yield LeftOut(name, after, f"{found.finished} requests have all of their tokens, {finished} without it")


def _of_chip(point: DesignPoint) -> Iterator[tuple[str, Scalar, Scalar, DesignPoint]]:
    """Twice the memory's rate, the cores, and the memory's capacity, where the scenario's system is not replaced."""
    if dict(point.parameters).get("system"):
        return
    setting = point.on_chip
    chip = setting.accelerator
    values = chip.values()
    for path in (f"{chip.memory.name}.bytes_per_second", "cores", f"{chip.memory.name}.capacity_bytes"):
        before = values[path]
        if isinstance(before, int | float):
            after = DOUBLED * before
            changed = dataclasses.replace(setting, accelerator=chip.with_(**{path: after}))
            yield f"chip.{path}", before, after, dataclasses.replace(point, chip=changed)


def _of_deployment(point: DesignPoint, evaluation: LiveEvaluation) -> Iterator[tuple[str, Scalar, Scalar, DesignPoint]]:
    """Twice the replicas, places, tokens of a step and chips of a replica, and narrower formats."""
    values = dict(point.parameters)
    deployment = evaluation.found.scenario.deployment
    tried: list[tuple[str, Scalar, Scalar]] = [
        ("replicas", deployment.replicas, DOUBLED * deployment.replicas),
        ("prefill", deployment.prefill, deployment.prefill + 1 if deployment.prefill else 0),
        ("tp", deployment.mapping.tp, DOUBLED * deployment.mapping.tp),
        ("most_sequences", deployment.limits.most_sequences, DOUBLED * deployment.limits.most_sequences),
        ("most_tokens", deployment.limits.most_tokens, DOUBLED * deployment.limits.most_tokens),
        ("weights", deployment.options.weights, "float8"),
        ("kv", deployment.options.kv, "fp8"),
    ]
    for name, before, after in tried:
        if name in values and before != after:
            changed = tuple(sorted({**values, name: after}.items()))
            yield name, before, after, dataclasses.replace(point, parameters=changed)
