"""Kernels that a first simulation compiles: their names, whether they are cached, about how long they take."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.servers import kernel


@dataclass(frozen=True)
class Compiled:
    """Kernels that are compiled together: what to call them, the one compiled last, and about how long they take."""

    name: str
    package: str
    kernel: str
    estimate_s: int

    def is_cached(self) -> bool:
        """Whether the cache of the present sources holds them, so that they start at once."""
        return any(kernel.cache_folder(self.package).rglob(f"{self.kernel}-*.nbi"))


# estimates were measured on one core of a cloud machine, and are only ever shown as "about"
ENGINE = Compiled("engine", "engines", "run_ahead.run", 15)
MEMORY = Compiled("memory models", "servers", "service.run_independent", 35)
ENGINE_WITH_MEMORY = Compiled("engine with memory models", "engines.compiled.tiers", "tiers_turns.run_with_tiers", 40)
