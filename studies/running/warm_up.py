"""The compiled engine's first start: said aloud, and done once before worker processes would all do it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from simulator.engines.compiled.engine import warm_up
from studies.families.compiled import ENGINE, Compiled
from studies.families.family import family_of
from studies.points.point import DesignPoint


def announce_compilation(engine: str, *, quiet: bool, parts: Sequence[Compiled] = (ENGINE,)) -> None:
    """Tell the user on stderr why the first run takes longer, if it is going to: `parts` are what it needs."""
    silent = quiet or sys.stderr is None or engine != "compiled"
    missing = [] if silent else [part for part in parts if not part.is_cached()]
    if missing:
        names = " and ".join(part.name for part in missing)
        sys.stderr.write(f"compiling {names} (once, about {sum(part.estimate_s for part in missing)} s)\n")


def announce_kernels(point: DesignPoint, *, quiet: bool, engine: str | None = None) -> None:
    """The same for what simulating `point` takes; `engine` if it is not the point's own that runs."""
    announce_compilation(engine or point.engine, quiet=quiet, parts=family_of(point).kernels(point))


def compile_engine(*, quiet: bool) -> None:
    """Have the engine compiled and cached."""
    announce_compilation("compiled", quiet=quiet)
    warm_up()
