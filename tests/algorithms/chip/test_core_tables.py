"""Tables of a core's units: run-length coded from places, equal to what walking every step of every item gives."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from algorithms.chip.algorithm import get_chip_algorithm
from algorithms.chip.cores.core_tables import Place, Places, firing_table
from algorithms.chip.plan.plan import Launch, Matmul, TileStep, WorkItem
from algorithms.chip.plan.profile import UNFITTED
from algorithms.chip.timing.mapping import time_launch
from algorithms.chip.timing.throughput import Throughput
from algorithms.workload.shape import Workload
from hwmodels.chips.accelerator import load_accelerator
from simulator import Block, FiringTable, Segment, simulate

CHIP = load_accelerator("h100_sxm5_80g")
STEPS = [
    TileStep(load_bytes=1000 * n, scores=(Matmul(64, 64 * n, 64),), exps=64 * n, store_bytes=n // 3 * 500)
    for n in range(1, 5)
]


def throughput() -> Throughput:
    return Throughput.of(Launch("any", (), 0), CHIP, UNFITTED)


def some_items(seed: int) -> list[tuple[WorkItem, int]]:
    """Items of random steps, some alike, some without any, some many times."""
    draw = random.Random(seed)
    items = []
    for _ in range(draw.randint(1, 6)):
        runs = tuple((draw.choice(STEPS), draw.randint(0, 4)) for _ in range(draw.randint(0, 4)))
        item = WorkItem(runs, draw.choice([0, 7]), draw.choice([0, 99]), draw.choice([0, 50]))
        items.append((item, draw.choice([1, 1, 3])))
    return items


def tokens_at(place: Place) -> Segment | None:
    """A firing that shows where it is; none at some places."""
    if place.step.load_bytes == 2000 and not place.last:
        return None
    return Segment(
        1, (1 + place.first,), (1, int(place.last)), 1, max(place.step.scores, 1), request_bytes=place.stored_bytes
    )


def start_of(place: Place) -> Segment:
    return Segment(1, (5,), (0, 0), 2, 3, request_bytes=place.first_load_bytes)


def walked(items: list[tuple[WorkItem, int]], *, before: bool) -> list[Segment]:
    """Every firing of every step, one after the other."""
    found, at = [], throughput()
    for item, times in items:
        for _ in range(times):
            steps = [step for step, count in item.steps for _ in range(count)] or [TileStep()]
            around = item.first_load_bytes, item.last_vector_ops, item.last_store_bytes
            places = [Place(at.step(s), i == 0, i == len(steps) - 1, *around) for i, s in enumerate(steps)]
            found += [start_of(places[0])] if before else []
            found += [segment for segment in map(tokens_at, places) if segment is not None]
    return found


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("seed", range(40))
def test_a_table_holds_the_firings_of_every_step(seed, before):
    items = some_items(seed)
    table = firing_table(Places(throughput()).work(tuple(items)), tokens_at, start_of if before else None)
    assert [replace(run, count=1) for run, count in table.runs() for _ in range(count)] == walked(items, before=before)
    assert all(a != b for block in table.blocks for a, b in zip(block.segments, block.segments[1:], strict=False))


def test_items_that_differ_in_length_alone_are_one_run():
    """Where neither the first nor the last step of an item stands out."""
    items = tuple((WorkItem(((STEPS[0], count),)), 1) for count in range(1, 100))
    work = Places(throughput()).work(items)
    same = firing_table(work, lambda place: Segment(1, (1,), (1,), 1, place.step.scores))
    assert [(len(b.segments), b.loops) for b in same.blocks] == [(1, 1)]
    assert same.firings == sum(range(1, 100))
    ends = firing_table(work, lambda place: Segment(1, (1,), (int(place.last),), 1, place.step.scores))
    assert sum(len(block.segments) for block in ends.blocks) == 2 * 99 - 1


def one_by_one(table: FiringTable) -> FiringTable:
    """A table with a record for every firing."""
    return FiringTable((Block(tuple(replace(run, count=1) for run, count in table.runs() for _ in range(count))),))


@pytest.mark.parametrize("mask", ["causal", "full"])
@pytest.mark.parametrize("chip", ["h100_sxm5_80g", "tpu_v5p", "mi300x"])
@pytest.mark.parametrize(
    ("name", "length"), [("flash.q_outer", 1500), ("flash.q_outer", 5000), ("flash.kv_outer", 1500)]
)
def test_a_launch_takes_as_long_as_with_every_firing_simulated(name, length, chip, mask):
    algorithm = get_chip_algorithm(name)
    work = Workload("head", "prefill", 4, 4, length, length, 128, mask=mask, dtype="bfloat16")
    on = load_accelerator(chip)
    plan = algorithm.plan(work, algorithm.parameters(), on)
    run = time_launch(plan.launches[0], on, UNFITTED, "symmetric")
    graph = replace(run.graph, units=[replace(unit, table=one_by_one(unit.table)) for unit in run.graph.units])
    complete = simulate(graph, timing_only=True, skip=False, digest=False)
    assert run.result.cycles == complete.cycles
    assert run.result.units == complete.units
    assert run.result.channels == complete.channels
    assert run.result.servers == complete.servers
