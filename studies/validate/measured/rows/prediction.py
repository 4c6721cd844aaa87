"""How rows of a table are predicted: one predictor per table, registered by its name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from hwmodels.chips.accelerator import Accelerator, load_accelerator
from hwmodels.reading.errors import InputError
from simulator.errors import SimulatorError
from studies.validate.measured.tables.table import MeasuredTable


class UnsupportedRowError(Exception):
    """A row that the project cannot predict; the message says why."""


@dataclass(frozen=True)
class RowPrediction:
    """What a row should have taken.

    Parameters
    ----------
    microseconds
        Predicted time.
    kernel
        Profile used.
    dominating
        What takes the longest, in words.
    """

    microseconds: float
    kernel: str
    dominating: str


@dataclass(frozen=True)
class GroupKey:
    """Rows that are scored together.

    Parameters
    ----------
    table, gpu, stack, stack_version, kernel
        As in the table.
    """

    table: str
    gpu: str
    stack: str
    stack_version: str
    kernel: str

    def chip(self) -> Accelerator:
        """What the rows were measured on; raises InputError for a chip without a preset."""
        return load_accelerator(self.gpu)


@dataclass(frozen=True)
class Binned:
    """How rows of a table are told apart within their group.

    Parameters
    ----------
    name
        ``batch``, ``length`` and so on.
    column
        Of the table, or one that the predictor adds.
    edges
        Between bins; empty for one bin per value.
    """

    name: str
    column: str
    edges: tuple[float, ...] = ()


class RowPredictor:
    """Predicts the rows of one group; made anew for each, so that what it looks up is looked up once."""

    def __init__(self, key: GroupKey, table: MeasuredTable) -> None:
        self.key, self.table = key, table

    def predict(self, row: int) -> RowPrediction:
        """Row number ``row`` of the table.

        Raises
        ------
        UnsupportedRowError
            The project has no model of it, and why.
        """
        try:
            return self._predict(row)
        except (InputError, SimulatorError) as error:
            raise UnsupportedRowError("; ".join(str(error).splitlines())) from None

    def _predict(self, row: int) -> RowPrediction:
        del row
        raise UnsupportedRowError(f"rows of table {self.key.table!r} are read and not modelled")


class FittedRows(RowPredictor, ABC):
    """Rows whose profiles have numbers that can be fitted."""

    @abstractmethod
    def by(self, kernel: str, numbers: dict[str, float]) -> Self:
        """The same rows with other fitted numbers of one ``kernel``."""

    @abstractmethod
    def kernel_of(self, row: int) -> str:
        """Name of the profile that predicts a row; raises UnsupportedRowError without one."""


PredictorMaker = Callable[[GroupKey, MeasuredTable], RowPredictor]
PREDICTORS: dict[str, PredictorMaker] = {}
"""By table."""
BINS: dict[str, tuple[Binned, ...]] = {}
"""By table."""


def predictor_of(key: GroupKey, table: MeasuredTable) -> RowPredictor:
    """What predicts the rows of a group; one that predicts none where nobody registered for the table."""
    return PREDICTORS.get(table.name, RowPredictor)(key, table)


def predicts(*tables: str, bins: tuple[Binned, ...]) -> Callable[[type[RowPredictor]], type[RowPredictor]]:
    """Register the decorated class for ``tables``."""

    def register(maker: type[RowPredictor]) -> type[RowPredictor]:
        for table in tables:
            PREDICTORS[table] = maker
            BINS[table] = bins
        return maker

    return register
