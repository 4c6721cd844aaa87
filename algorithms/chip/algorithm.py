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
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from algorithms.registry import ALGORITHMS, Given, Tensors, check_parameters, first_line

if TYPE_CHECKING:
    from algorithms.chip.plan.plan import TilePlan
    from algorithms.workload.shape import FloatArray, Workload
    from hwmodels.chips.accelerator import Accelerator

Parameters = TypeVar("Parameters")


class TiledAlgorithm(ABC, Generic[Parameters]):
    """What an algorithm on a chip has to say; the first line of its docstring is its summary."""

    @abstractmethod
    def plan(self, workload: Workload, parameters: Parameters, chip: Accelerator) -> TilePlan:
        """What cores have to do, tile by tile.

        Raises
        ------
        InputError
            If workload and parameters do not fit this algorithm.
        simulator.CapacityError
            If tiles do not fit into a core.
        """

    @abstractmethod
    def values(self, workload: Workload, parameters: Parameters, tensors: Tensors) -> FloatArray:
        """The output `(batch, heads, q_len, v_head_dim)` in float64, computed by the tile loops of the plan."""

    def resolved(self, workload: Workload, parameters: Parameters, chip: Accelerator) -> Parameters:
        """`parameters` with everything automatic decided for ``chip``; `plan` and `values` agree on these."""
        del workload, chip
        return parameters

    def prepared(self, workload: Workload, parameters: Parameters, tensors: Tensors) -> Tensors:
        """The q, k and v that are attended, for algorithms that only take tensors of some structure.

        A shared prefix makes the keys of all sequences start alike; low-rank attention rounds to its rank. Values and
        the oracle are both computed from these.
        """
        del workload, parameters
        return tensors

    def tokens_made(self, workload: Workload, parameters: Parameters) -> float:
        """Tokens that a run advances all sequences by."""
        del parameters
        return workload.batch * workload.q_len

    def layers_made(self, workload: Workload, parameters: Parameters) -> int:
        """Layers of the model that a run goes through."""
        del workload, parameters
        return 1

    def details(self, workload: Workload, parameters: Parameters, chip: Accelerator) -> dict[str, float | str]:
        """Further figures of this family by name, for people and for ``--json``."""
        del workload, parameters, chip
        return {}


@dataclass(frozen=True)
class ChipAlgorithm(Generic[Parameters]):
    """An algorithm that runs on a chip.

    Parameters
    ----------
    name
        As on the command line, ``family.variant``.
    summary
        One line for people.
    parameters
        A frozen dataclass; its fields are what ``--set`` and study axes can change, each with ``metadata["help"]``.
    tiles
        What it does.
    source
        Module that registered it.
    """

    what: ClassVar[str] = "runs on a chip"
    takes: ClassVar[frozenset[Given]] = frozenset(
        {"workload", "tensors", "timing_only", "chip", "kernel", "mapping", "memory"}
    )
    keyed: ClassVar[frozenset[Given]] = takes

    name: str
    summary: str
    parameters: type[Parameters]
    tiles: TiledAlgorithm[Parameters]
    source: str

    def plan(self, workload: Workload, parameters: Parameters, chip: Accelerator) -> TilePlan:
        """What cores have to do; see `TiledAlgorithm.plan`."""
        return self.tiles.plan(workload, self.resolved(workload, parameters, chip), chip)

    def values(self, workload: Workload, parameters: Parameters, tensors: Tensors) -> FloatArray:
        """The output; see `TiledAlgorithm.values`."""
        return self.tiles.values(workload, parameters, tensors)

    def resolved(self, workload: Workload, parameters: Parameters, chip: Accelerator) -> Parameters:
        """Nothing automatic left; see `TiledAlgorithm.resolved`."""
        return self.tiles.resolved(workload, parameters, chip)

    def prepared(self, workload: Workload, parameters: Parameters, tensors: Tensors) -> Tensors:
        """What is attended; see `TiledAlgorithm.prepared`."""
        return self.tiles.prepared(workload, parameters, tensors)

    def tokens_made(self, workload: Workload, parameters: Parameters) -> float:
        """Tokens by which a run advances; see `TiledAlgorithm.tokens_made`."""
        return self.tiles.tokens_made(workload, parameters)

    def layers_made(self, workload: Workload, parameters: Parameters) -> int:
        """Layers it goes through; see `TiledAlgorithm.layers_made`."""
        return self.tiles.layers_made(workload, parameters)

    def details(self, workload: Workload, parameters: Parameters, chip: Accelerator) -> dict[str, float | str]:
        """Figures of its family; see `TiledAlgorithm.details`."""
        return self.tiles.details(workload, parameters, chip)


Tiles = TypeVar("Tiles", bound=TiledAlgorithm)


def chip_algorithm(name: str, parameters: type[Parameters]) -> Callable[[type[Tiles]], type[Tiles]]:
    """Register the decorated class; the first line of its docstring is its summary.

    Raises
    ------
    InputError
        If the name is taken; the message names both modules.
    """

    def register(tiles: type[Tiles]) -> type[Tiles]:
        module = tiles.__module__
        check_parameters(name, parameters, module)
        ALGORITHMS.add(name, ChipAlgorithm(name, first_line(tiles, name), parameters, tiles(), module))
        return tiles

    return register


def chip_algorithm_names() -> tuple[str, ...]:
    """Names of all algorithms that run on a chip, sorted."""
    return ALGORITHMS.names(ChipAlgorithm)


def get_chip_algorithm(name: str) -> ChipAlgorithm:
    """The chip algorithm called ``name``.

    Raises
    ------
    InputError
        If there is none, with the nearest name.
    """
    return ALGORITHMS.get_kind(name, ChipAlgorithm, "algorithm on a chip")
