"""The compiled engine's first start: said aloud, and done once before worker processes would all do it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from studies.points.point import DesignPoint


@dataclass(frozen=True)
class Compiled:
    """Kernels that are compiled together: what to call them, the one compiled last, and about how long they take."""

    name: str
    package: str
    kernel: str
    estimate_s: int

    def is_cached(self) -> bool:
        """Whether the cache of the present sources holds them, so that they start at once."""
        from simulator.servers.kernel import cache_folder

        return any(cache_folder(self.package).rglob(f"{self.kernel}-*.nbi"))


# estimates were measured on one core of a cloud machine, and are only ever shown as "about"
ENGINE = Compiled("engine", "engines", "run_ahead.run", 15)
MEMORY = Compiled("memory models", "servers", "service.run_independent", 35)
ENGINE_WITH_MEMORY = Compiled("engine with memory models", "engines.compiled.tiers", "tiers_turns.run_with_tiers", 40)


def announce_compilation(engine: str, *, quiet: bool, parts: Sequence[Compiled] = (ENGINE,)) -> None:
    """Tell the user on stderr why the first run takes longer, if it is going to: `parts` are what it needs."""
    missing = [] if quiet or engine != "compiled" else [part for part in parts if not part.is_cached()]
    if missing:
        names = " and ".join(part.name for part in missing)
        sys.stderr.write(f"compiling {names} (once, about {sum(part.estimate_s for part in missing)} s)\n")


def parts_for(point: DesignPoint) -> tuple[Compiled, ...]:
    """What has to be compiled to simulate `point`."""
    from studies.points.find import find_algorithm

    if "workload" not in find_algorithm(point.algorithm).takes:
        return (MEMORY,)
    if dict(point.parameters).get("kv_tier"):
        return (ENGINE_WITH_MEMORY,)
    return (ENGINE, MEMORY) if point.chip is not None and point.chip.memory == "cycle" else (ENGINE,)


def compile_engine(*, quiet: bool) -> None:
    """Have the engine compiled and cached."""
    from simulator.engines.compiled.engine import warm_up

    announce_compilation("compiled", quiet=quiet)
    warm_up()
