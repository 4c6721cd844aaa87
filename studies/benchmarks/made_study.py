"""A study of any size that nobody simulated: designs around an H100 with results by simple laws, for benchmarks.

Designs are those of ``decode-h100.yaml`` with finer clocks, and rows go through the writer of the store. What rows say
of their designs is true; the results mean nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from math import ceil
from pathlib import Path

from studies.families.attempt import attempt_to_store
from studies.points.outcome import Outcome, Written
from studies.points.point import DesignPoint
from studies.points.writing import told_by
from studies.store.provenance import provenance
from studies.store.store import Store
from studies.study.axes import Axis, Space
from studies.study.question import Question
from studies.study.resolve import read_study

STUDY = Path(__file__).parents[1] / "configs" / "decode-h100.yaml"
CLOCK = "chip.clock_hz"
BATCH = 2_000
"""Rows of one transaction."""
_LEAST_HZ, _MOST_HZ = 1.0e9, 2.2e9


@dataclass(frozen=True)
class MadePoint:
    """A point as a store takes it: a description, named by its digest, and what its result is made of."""

    text: str
    like: DesignPoint
    clock_hz: float

    @property
    def key(self) -> str:
        """Digest of the description."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def made_question(count: int) -> Question:
    """``decode-h100`` with so many clocks that it has `count` points or somewhat more; the clock changes fastest."""
    question = read_study(STUDY)
    others = tuple(axis for axis in question.space.axes if axis.name != CLOCK)
    clocks = max(2, ceil(count / Space(others).size))
    step = (_MOST_HZ - _LEAST_HZ) / (clocks - 1)
    values = tuple(f"{(_LEAST_HZ + step * i) / 1e6:.6f} MHz" for i in range(clocks))
    return replace(
        question, name="made", title="Designs that nobody simulated", space=Space((*others, Axis(CLOCK, values)))
    )


def made_points(question: Question) -> Iterator[MadePoint]:
    """The points of a made question in the order of its grid; those that differ in the clock are written once."""
    *others, clock = question.space.axes
    first = str(clock.values[0])
    for choice in Space(tuple(others)).choices():
        like = question.point({**choice, CLOCK: first})
        before, number, after = like.text.rpartition(f'"clock_hz": {like.on_chip.accelerator.clock_hz}')
        for value in clock.values:
            clock_hz = float(str(value).split()[0]) * 1e6
            told = f'{before}"clock_hz": {clock_hz}{after.replace(first, str(value))}' if number else like.text
            yield MadePoint(told, like, clock_hz)


def make_store(path: Path, count: int, *, simulated: bool = False) -> Question:
    """Write a study of `count` points to a new store, some thousand at a time; returns what it asks.

    Parameters
    ----------
    simulated
        Give every row the result of one design, which is simulated for this, so that rows are as long as those of a
        sweep; else they have metrics alone.
    """
    question = made_question(count)
    points = islice(made_points(question), count)
    detail = _detail(question) if simulated else "{}"
    with Store(path, write=True) as store:
        store.describe_study(question.name, question.describe())
        run = store.begin_run(provenance(question.describe()))
        position = 0
        while batch := list(islice(points, BATCH)):
            store.extend_grid(question.name, position, batch)
            store.record(run, [_outcome(point, detail) for point in batch])
            position += len(batch)
    return question


def _detail(question: Question) -> str:
    """The result of the first point, as stores keep it."""
    (outcome,) = attempt_to_store.many([question.point(next(question.space.choices()))])
    if outcome.written is None:
        raise ValueError(f"the point fails: {outcome.error}")
    return outcome.written.detail


def _outcome(point: MadePoint, detail: str) -> Outcome:
    """Metrics by laws that pull apart: more of all is faster, larger and hungrier, and the key adds some noise."""
    chip, parameters, key = point.like.on_chip.accelerator, dict(point.like.parameters), point.key
    memory = chip.memory.bytes_per_second
    splits, stages = float(str(parameters["splits"])), float(str(parameters["stages"]))
    noise = 1 + int(key[:8], 16) / 2**32 / 50
    bound = 5.4e8 / memory + 3e7 / (chip.cores * point.clock_hz) / min(stages, 2) * (1 + 2 / splits)
    seconds = bound * (1 + 0.01 * splits / stages) * noise
    area = 120 + 2.6 * chip.cores * (1 + chip.core.sram_bytes / 2**20) + memory / 4e10
    energy = (2e-2 + area * seconds / 8 * (point.clock_hz / 1e9) ** 2) * noise
    metrics = {"cycles": round(seconds * point.clock_hz), "seconds": seconds, "energy_j": energy, "area_mm2": area}
    metrics |= {"power_w": energy / seconds, "memory_bytes": 537214492, "bound.seconds": bound, "layers": 1}
    metrics |= {"bound.ratio": seconds / bound, "cores_used": chip.cores, "wall_s": 0.001}
    return Outcome(key, "done", {}, wall_s=0.001, written=Written(json.dumps(metrics), detail, told_by(metrics)))
