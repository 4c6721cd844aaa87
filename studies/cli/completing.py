"""Names that a shell completes: what `attnflow list` lists, asked for only when a shell asks."""

from __future__ import annotations

from collections.abc import Iterable


def _starting(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def algorithms(incomplete: str) -> list[str]:
    """Algorithms that begin so."""
    from studies.points.find import all_algorithm_names

    return _starting(all_algorithm_names(), incomplete)


def chips(incomplete: str) -> list[str]:
    """Chips that begin so."""
    from hwmodels.chips.accelerator import accelerator_names

    return _starting(accelerator_names(), incomplete)


def workloads(incomplete: str) -> list[str]:
    """Workloads that begin so."""
    from algorithms.workload.text import workload_names

    return _starting(workload_names(), incomplete)
