"""The register of algorithms that run on a chip: what they do tile by tile, and what they compute.

One file and one decorator each, found like those of `algorithms.registry`, with which they share one name space::

    @chip_algorithm("flash.q_outer", FlashParameters)
    class QueryOuter(TiledAlgorithm[FlashParameters]):
        \"\"\"Tiled online softmax, query tiles outside.\"\"\"

        def plan(self, workload, parameters, chip): ...
        def values(self, workload, parameters, tensors): ...
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from algorithms.figures import Figure, Ran
from algorithms.registry import ALGORITHMS, Entry, Given, P, Parameters, Tensors, register_algorithm
from algorithms.workload.one_head import ONE_HEAD_ON_CHIP
from algorithms.workload.shape import FloatArray, Workload

if TYPE_CHECKING:
    from algorithms.chip.plan.plan import TilePlan
    from hwmodels.chips.accelerator import Accelerator


class TiledAlgorithm(Entry[P], ABC):
    """An algorithm that runs on a chip; what is registered is the object itself, under ``self.name``."""

    what: ClassVar[str] = "runs on a chip"
    keyed: ClassVar[frozenset[Given]] = frozenset(
        {"workload", "tensors", "timing_only", "chip", "kernel", "mapping", "memory"}
    )
    # skipping periods is exact: whether it is asked for changes no result
    takes: ClassVar[frozenset[Given]] = keyed | {"skip"}
    default_workload: ClassVar[Workload | None] = ONE_HEAD_ON_CHIP

    @abstractmethod
    def plan(self, workload: Workload, parameters: P, chip: Accelerator) -> TilePlan:
        """The plan of all launches, tile by tile, under `name`; `resolved` decides what ``parameters`` leave open.

        Raises
        ------
        InputError
            If workload and parameters do not fit this algorithm.
        simulator.CapacityError
            If tiles do not fit into a core.
        """

    @abstractmethod
    def values(self, workload: Workload, parameters: P, tensors: Tensors) -> FloatArray:
        """The output `(batch, heads, q_len, v_head_dim)` in float64, computed by the tile loops of the plan."""

    def resolved(self, workload: Workload, parameters: P, chip: Accelerator) -> P:
        """`parameters` with everything automatic decided for ``chip``; `plan` and `values` agree on these."""
        del workload, chip
        return parameters

    def prepared(self, workload: Workload, parameters: P, tensors: Tensors) -> Tensors:
        """The q, k and v that are attended, for algorithms that only take tensors of some structure.

        A shared prefix makes the keys of all sequences start alike; low-rank attention rounds to its rank. Values and
        the oracle are both computed from these.
        """
        del workload, parameters
        return tensors

    def tokens_made(self, workload: Workload, parameters: P) -> float:
        """Tokens that a run advances all sequences by."""
        del parameters
        return workload.batch * workload.q_len

    def layers_made(self, workload: Workload, parameters: P) -> int:
        """Layers of the model that a run goes through."""
        del workload, parameters
        return 1

    def details(self, workload: Workload, parameters: P, chip: Accelerator) -> dict[str, float | str]:
        """Further figures of this family by name, for people and for ``--json``."""
        del workload, parameters, chip
        return {}

    def figures(self, workload: Workload, parameters: P, chip: Accelerator, ran: Ran) -> tuple[Figure, ...]:
        """The figures of `figure_kinds` with their values, which stores keep and reports compare."""
        del workload, parameters, chip, ran
        return ()


Tiles = TypeVar("Tiles", bound=TiledAlgorithm[Any])


def chip_algorithm(name: str, parameters: type[P], *, has_values: bool = True) -> Callable[[type[Tiles]], type[Tiles]]:
    """Register an object of the decorated class; the first line of its docstring is its summary.

    Raises
    ------
    InputError
        As `algorithms.registry.register_algorithm`.
    """

    def register(tiles: type[Tiles]) -> type[Tiles]:
        register_algorithm(name, parameters, tiles, partial(tiles, has_values=has_values))
        return tiles

    return register


def chip_algorithm_names() -> tuple[str, ...]:
    """Names of all algorithms that run on a chip, sorted."""
    return ALGORITHMS.names(TiledAlgorithm)


def get_chip_algorithm(name: str) -> TiledAlgorithm[Parameters]:
    """The chip algorithm called ``name``.

    Raises
    ------
    InputError
        If there is none, with the nearest name.
    """
    return ALGORITHMS.get_kind(name, TiledAlgorithm, "algorithm on a chip")  # type: ignore[type-abstract]
