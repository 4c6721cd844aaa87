"""What a viewer knows of its stores: how far each is, and its page as of now."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hwmodels.reading.errors import InputError, Problem
from studies.points.outcome import Row
from studies.points.point import Json
from studies.report.page import render
from studies.report.points import Points
from studies.report.reading import read_points
from studies.store.store import Store
from studies.study.goals import Goals

REFRESH_S = 5
"""Seconds after which the page of a store that is being written asks for itself again."""


@dataclass(frozen=True)
class Standing:
    """How far a store is.

    Parameters
    ----------
    number, name
        Its place on the shelf, and its file.
    titles
        Of its studies.
    counts
        Points by status; empty where the store cannot be read.
    fault
        Why it cannot be read.
    """

    number: int
    name: str
    titles: tuple[str, ...] = ()
    counts: tuple[tuple[str, int], ...] = ()
    fault: str = ""

    @property
    def total(self) -> int:
        """Points of all studies."""
        return sum(many for _, many in self.counts)

    @property
    def pending(self) -> int:
        """Points that have not been evaluated."""
        return dict(self.counts).get("pending", 0)

    def describe(self) -> dict[str, Json]:
        """Plain JSON values."""
        return {
            "number": self.number,
            "name": self.name,
            "titles": list(self.titles),
            "total": self.total,
            "counts": dict(self.counts),
            "fault": self.fault,
        }


class Shelf:
    """Stores by number; nothing else can be asked for.

    Parameters
    ----------
    paths
        SQLite files.

    Raises
    ------
    InputError
        If a file is none, or there are two of the same.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        if len({path.resolve() for path in paths}) < len(paths):
            raise InputError(Problem("a store is named twice", field="STORE"))
        for path in paths:
            with Store(path):
                pass
        self._paths = tuple(paths)
        self._pages: dict[tuple[int, ...], tuple[object, str]] = {}

    def __len__(self) -> int:
        return len(self._paths)

    def standings(self) -> list[Standing]:
        """How far all stores are, as they are now."""
        return [self._standing(number) for number in range(len(self))]

    def page(self, *numbers: int) -> str:
        """The report about one store, or about several together; made again only if one of them has changed.

        Raises
        ------
        IndexError
            If there is no such store.
        InputError
            If one cannot be read.
        """
        paths = [self._paths[number] for number in numbers]
        state = tuple((path.stat().st_mtime_ns, _size(path)) for path in map(_journal, paths))
        known = self._pages.get(numbers)
        if known is None or known[0] != state:
            known = self._pages[numbers] = (state, _page(paths))
        return known[1]

    def _standing(self, number: int) -> Standing:
        path = self._paths[number]
        try:
            with Store(path) as store:
                studies = store.studies()
                counts = sum((store.tally(study) for study in studies), Counter())
                titles = tuple(str(store.description(study).get("title") or study) for study in studies)
        except (InputError, OSError) as error:
            return Standing(number, str(path), fault=str(error))
        return Standing(number, str(path), titles, tuple(sorted(counts.items())))


def _journal(path: Path) -> Path:
    """What grows while a store is written: its journal, where there is one."""
    journal = path.with_name(f"{path.name}-wal")
    return journal if journal.exists() else path


def _size(path: Path) -> int:
    return path.stat().st_size


def _page(paths: Sequence[Path]) -> str:
    told: dict[str, dict[str, Json]] = {}
    if len(paths) == 1:
        with Store(paths[0]) as store:
            told = {study: store.description(study) for study in store.studies()}
            return _rendered(read_points(store, goals=Goals.of(told)), told)
    rows: list[Row] = []
    for path in paths:
        with Store(path) as store:
            for study in store.studies():
                name = f"{path.stem}: {study}"
                told[name] = store.description(study)
                rows += [dataclasses.replace(row, study=name) for row in store.rows(study)]
    return _rendered(Points.of(rows, Goals.of(told)), told)


def _rendered(points: Points, told: Mapping[str, Mapping[str, Json]]) -> str:
    titles = dict.fromkeys(str(each.get("title") or name) for name, each in told.items())
    refresh = REFRESH_S if points.tally("pending") else None
    return render(points, ", ".join(titles) or "no study", refresh_s=refresh)
