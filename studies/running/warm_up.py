"""The compiled engine's first start: said aloud, and done once before worker processes would all do it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from algorithms.workload.one_head import ONE_HEAD
from simulator.engines.compiled.engine import warm_up
from studies.families.compiled import ENGINE, Compiled
from studies.families.evaluate import evaluate, reason
from studies.families.family import families, family_of
from studies.points.find import find_algorithm
from studies.points.knobs import complete_parameters
from studies.points.point import DesignPoint
from studies.status_line import STATUS

WITH_MEMORY = "sdpa.memory_free", {"kv_tier": "hbm2"}
"""A graph whose keys and values come from a memory tier: no family rehearses with one."""


@dataclass(frozen=True)
class Warmed:
    """What one small design made ready.

    Parameters
    ----------
    design
        Its algorithm.
    kernels
        Names of what it needs compiled.
    cached
        Whether all of that was there before.
    seconds
        Time that the design took here, compilation included.
    failed
        Why it does not run here; empty if it does.
    """

    design: str
    kernels: tuple[str, ...]
    cached: bool
    seconds: float
    failed: str = ""


def announce_compilation(engine: str, *, quiet: bool, parts: Sequence[Compiled] = (ENGINE,)) -> None:
    """Tell the user on stderr why the first run takes longer, if it is going to: `parts` are what it needs."""
    silent = quiet or sys.stderr is None or engine != "compiled"
    missing = [] if silent else [part for part in parts if not part.is_cached()]
    if missing:
        names = " and ".join(part.name for part in missing)
        with STATUS.aside():
            sys.stderr.write(f"compiling {names} (once, about {sum(part.estimate_s for part in missing)} s)\n")


def announce_kernels(point: DesignPoint, *, quiet: bool, engine: str | None = None) -> None:
    """The same for what simulating `point` takes; `engine` if it is not the point's own that runs."""
    announce_compilation(engine or point.engine, quiet=quiet, parts=family_of(point).kernels(point))


def compile_engine(*, quiet: bool) -> None:
    """Have the engine compiled and cached."""
    announce_compilation("compiled", quiet=quiet)
    warm_up()


def compile_everything(*, quiet: bool) -> Iterator[Warmed]:
    """Have the kernels of all families compiled and cached: one small design of each is run."""
    name, chosen = WITH_MEMORY
    workload = ONE_HEAD.with_(q_len=4, kv_len=4)
    served = DesignPoint(name, workload, complete_parameters(find_algorithm(name), chosen), timing_only=True)
    for point in (*(family.rehearsal() for family in families()), served):
        yield _warmed(point, quiet=quiet)


def _warmed(point: DesignPoint, *, quiet: bool) -> Warmed:
    parts = family_of(point).kernels(point)
    cached = all(part.is_cached() for part in parts)
    announce_kernels(point, quiet=quiet)
    started = time.perf_counter()
    failed = ""
    try:
        evaluate(point)
    except Exception as error:
        failed = reason(error)
    names = tuple(part.name for part in parts)
    return Warmed(point.algorithm, names, cached, time.perf_counter() - started, failed)
