"""What tests of registers, and of tiles on their way, share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from algorithms.chip.algorithm import get_chip_algorithm
from algorithms.chip.plan.profile import unfitted_for
from algorithms.chip.timing.mapping import ChipRun, Mode, time_plan
from algorithms.registry import ALGORITHMS
from algorithms.workload.shape import Workload
from hwmodels.chips.accelerator import Accelerator


@pytest.fixture
def fresh_algorithms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what a test registers or discovers."""
    ALGORITHMS.discover()
    monkeypatch.setattr(ALGORITHMS, "_entries", dict(ALGORITHMS._entries))
    monkeypatch.setattr(ALGORITHMS, "_complete", False)
    monkeypatch.setattr(ALGORITHMS, "_alone", None)


def decided_parameters(name: str, workload: Workload, chip: Accelerator, **given: object) -> object:
    """Parameters of a chip algorithm with nothing automatic left."""
    algorithm = get_chip_algorithm(name)
    return algorithm.resolved(workload, algorithm.parameters(**given), chip)


@pytest.fixture(scope="session")
def decided() -> Callable[..., object]:
    """See `decided_parameters`."""
    return decided_parameters


@pytest.fixture(scope="session")
def timed() -> Callable[..., ChipRun]:
    """Runs a chip algorithm with what was decided, without a kernel's profile."""

    def run(name: str, workload: Workload, chip: Accelerator, mode: Mode = "symmetric", **given: object) -> ChipRun:
        parameters = decided_parameters(name, workload, chip, **given)
        plan = get_chip_algorithm(name).plan(workload, parameters, chip)
        return time_plan(plan, chip, unfitted_for(parameters), mode)

    return run
