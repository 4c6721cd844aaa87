"""A chip algorithm speaks of itself by the name it was registered under, wherever it came from."""

from __future__ import annotations

import dataclasses

import pytest

from algorithms.chip.algorithm import chip_algorithm, chip_algorithm_names, get_chip_algorithm
from algorithms.chip.plan.plan import TilePlan
from algorithms.chip.timing.capacity import check_tensors_fit
from algorithms.workload.shape import Workload
from algorithms.workload.text import load_workload
from hwmodels.chips.accelerator import Accelerator, load_accelerator
from simulator.errors import CapacityError

MINE = "plugged.mine"
H100 = load_accelerator("h100")
SMALL_MEMORY = H100.with_(**{f"{H100.memory.name}.capacity_bytes": "1 B"})
PLAIN = Workload(
    name="step", phase="decode", heads=8, kv_heads=2, q_len=1, kv_len=256, head_dim=64, hidden=512, dtype="float16"
)
LATENT = load_workload("deepseek-v3").with_(phase="decode", q_len=1, kv_len=256)


def workload_of(name: str) -> Workload:
    return LATENT if name.startswith("mla.") else PLAIN


def planned(name: str, work: Workload, chip: Accelerator = H100) -> TilePlan:
    """The plan of an algorithm, held against the chip's memory as a run does."""
    found = get_chip_algorithm(name)
    plan = found.plan(work, found.parameters(), chip)
    check_tensors_fit(plan.algorithm, plan.capacity_bytes, chip, work.dtype)
    return plan


@pytest.fixture(params=chip_algorithm_names())
def original(request, fresh_algorithms) -> str:
    """A built-in algorithm, of which a subclass is registered as `MINE`."""
    found = get_chip_algorithm(request.param)
    mine = type("Mine", (type(found),), {"__doc__": "Mine."})
    chip_algorithm(MINE, found.parameters)(mine)
    return request.param


def test_a_plan_has_the_registered_name(original):
    work = workload_of(original)
    theirs, mine = planned(original, work), planned(MINE, work)
    assert (theirs.algorithm, mine.algorithm) == (original, MINE)
    assert dataclasses.replace(mine, algorithm=original) == theirs


def test_an_error_speaks_of_the_plug_in_and_of_nothing_else(original):
    with pytest.raises(CapacityError) as error:
        planned(MINE, workload_of(original), SMALL_MEMORY)
    assert f"tensors of {MINE} " in str(error.value)
    assert original not in str(error.value)
