"""The store of a sweep: one SQLite file that survives a kill at any moment.

Four tables. ``points`` has one row per design point, by key, whatever study asked for it; ``grid`` says
which points belong to a study, in the order of its grid, and ``studies`` what it is after; ``runs`` holds the
provenance that rows refer to. The file is in WAL mode, so readers (a report, a shell) never disturb the one
writer; a second writer is turned away at once. Each batch of outcomes is one transaction: a row is there
completely or not at all. `studies.store.file` makes, opens and migrates the file.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from hwmodels.reading.errors import InputError, Problem, did_you_mean
from studies.families.detail import MisreadError
from studies.families.evaluate import read_detail
from studies.points.find import all_algorithm_names
from studies.points.outcome import Detail, Outcome, Row, Status
from studies.points.point import DesignPoint, Json
from studies.points.writing import told_by, written
from studies.store.cells import DamagedError, read_count, read_metrics, read_object, read_point, read_seconds, read_text
from studies.store.file import lock_writer, open_database, told
from studies.store.provenance import code_state


class Described(Protocol):
    """What a grid takes of a point."""

    @property
    def key(self) -> str:
        """Its name."""

    @property
    def text(self) -> str:
        """Its description in JSON."""


Extract = tuple[int, str, Status, str, str, str]
"""Position, key and status of a point; its workload, parts of it, some metrics: JSON arrays that end with a null."""

_NOWHERE = "$.-"
"""A path of JSON at which nothing is."""


class Store:
    """Open store; use as a context manager.

    Parameters
    ----------
    path
        The SQLite file; created when it does not exist and `write` is set.
    write
        Ask to be its one writer.

    Raises
    ------
    InputError
        Not a store, a store of a newer version, no such file, or another writer is at work. Any method
        raises it when the file is damaged or the disk is full.
    """

    def __init__(self, path: Path | str, *, write: bool = False) -> None:
        self.path = Path(path)
        self._lock = lock_writer(self.path) if write else None
        try:
            self._database = open_database(self.path, write=write)
            opened = self.path.stat()
            self._identity = (opened.st_dev, opened.st_ino)
            self._by_progress = self._progress_hint()
        except BaseException:
            self._unlock()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and let another writer in."""
        self._database.close()
        self._unlock()

    def _progress_hint(self) -> str:
        """What makes SQLite look up how far points are in the index of that; empty for a store without it."""
        query = "SELECT 1 FROM sqlite_master WHERE type = 'index' AND name = 'points_progress'"
        with told(self.path):
            return "INDEXED BY points_progress" if self._database.execute(query).fetchone() else ""

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._refuse_removed()
        with told(self.path):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:  # SQLite itself has rolled back when the disk is full
                    self._database.execute("ROLLBACK")
                raise

    def _refuse_removed(self) -> None:
        """Raise InputError if the file has been removed or replaced: what is written now would be lost."""
        try:
            there = self.path.stat()
        except OSError:
            there = None
        if there is None or (there.st_dev, there.st_ino) != self._identity:
            message = "was removed or replaced while it was in use: points since then are lost"
            raise InputError(Problem(message, str(self.path), hint="repeat the command"))

    def enter_grid(
        self, study: str, points: Sequence[Described], description: Mapping[str, Json] | None = None
    ) -> list[str]:
        """Make `points` the grid of `study`, new ones pending; points known already keep their rows.

        Parameters
        ----------
        description
            What the study says of itself, for reports.

        Returns
        -------
        list of str
            The keys, in grid order.
        """
        keys = [point.key for point in points]
        with self._transaction():
            self._describe(study, description)
            if keys != self._grid(study):  # else every point has its row: a study that goes on writes nothing
                self._database.execute("DELETE FROM grid WHERE study = ?", (study,))
                self._place(study, 0, points)
        return keys

    def _grid(self, study: str, position: int = 0, length: int = -1) -> list[str]:
        """Keys of the grid of `study` in order, all or so many from a position on."""
        query = "SELECT key FROM grid WHERE study = ? AND position >= ? ORDER BY position LIMIT ?"
        return [key for (key,) in self._database.execute(query, (study, position, length))]

    def extend_grid(self, study: str, position: int, points: Sequence[Described]) -> list[str]:
        """Make `points` the part of the grid of `study` that begins at `position`; otherwise as `enter_grid`."""
        keys = [point.key for point in points]
        with self._transaction():
            if keys != self._grid(study, position, len(keys)):
                self._place(study, position, points)
        return keys

    def describe_study(self, study: str, description: Mapping[str, Json], length: int | None = None) -> None:
        """Store what `study` says of itself; with `length`, nothing behind that position stays in its grid."""
        with self._transaction():
            self._describe(study, description)
            if length is not None:
                self._database.execute("DELETE FROM grid WHERE study = ? AND position >= ?", (study, length))

    def _describe(self, study: str, description: Mapping[str, Json] | None) -> None:
        text = _dump(description or {"name": study})
        self._database.execute("INSERT OR REPLACE INTO studies VALUES (?, ?)", (study, text))

    def entered(self, study: str, description: Mapping[str, Json], points: Mapping[int, Described]) -> int:
        """How many places of the grid of `study` are entered; 0 if what is there is another grid.

        Parameters
        ----------
        description
            What the study says of itself; another grid has another one.
        points
            Points by their places; those that are entered must be these.
        """
        query = "SELECT key FROM grid WHERE study = ? AND position = ?"
        size = self.size(study)
        if self.description(study) != json.loads(_dump(description)):
            return 0
        with told(self.path):
            same = (
                self._database.execute(query, (study, place)).fetchone() == (point.key,)
                for place, point in points.items()
                if place < size
            )
            return size if all(same) else 0

    def lacking(self, study: str, wanted: Collection[Status], section: int) -> dict[int, int]:
        """How many points of `study` have one of some states, by section of its grid; sections have so many places."""
        query = (
            f"SELECT position / ?, count(*) FROM grid CROSS JOIN points {self._by_progress} USING (key)"
            f" WHERE study = ? AND status IN ({', '.join('?' for _ in wanted)}) GROUP BY 1"
        )
        with told(self.path):
            return dict(self._database.execute(query, (section, study, *wanted)).fetchall())

    def tally(self, study: str) -> Counter[Status]:
        """How many different points of `study` have each status."""
        query = (
            f"SELECT status, count(DISTINCT key) FROM grid CROSS JOIN points {self._by_progress} USING (key)"
            " WHERE study = ? GROUP BY status"
        )
        with told(self.path):
            return Counter(dict(self._database.execute(query, (study,)).fetchall()))

    def _place(self, study: str, position: int, points: Sequence[Described]) -> list[str]:
        keys = [point.key for point in points]
        texts = (point.text for point in points)
        self._database.executemany(
            "INSERT OR IGNORE INTO points (key, point, status) VALUES (?, ?, 'pending')",
            zip(keys, texts, strict=True),
        )
        self._database.executemany(
            "INSERT OR REPLACE INTO grid VALUES (?, ?, ?)", ((study, position + i, key) for i, key in enumerate(keys))
        )
        return keys

    def description(self, study: str) -> dict[str, Json]:
        """What `study` says of itself; empty when it is unknown."""
        with told(self.path):
            row = self._database.execute("SELECT description FROM studies WHERE study = ?", (study,)).fetchone()
            return read_object(row[0], f"the description of study {study!r}") if row else {}

    def outcomes(self, keys: Sequence[str]) -> dict[str, Outcome]:
        """What became of some points, those that are neither done nor failed left out; without their detail."""
        found: dict[str, Outcome] = {}
        with told(self.path):
            for key in keys:
                row = self._database.execute(
                    "SELECT status, metrics, error, wall_s FROM points WHERE key = ? AND status != 'pending'", (key,)
                ).fetchone()
                if row:
                    status, metrics, error, wall_s = row
                    with _of_point(key):
                        why = read_text(error, "error")
                        found[key] = Outcome(key, status, read_metrics(metrics), None, why, wall_s=read_seconds(wall_s))
        return found

    def measured(self, study: str, metrics: Sequence[str]) -> Iterator[tuple[str, Status, dict[str, Json]]]:
        """Key and status of every point of `study` and some of its metrics, null where it has none, in grid order."""
        # one value would come without its brackets
        paths = [*(f"$.{json.dumps(name)}" for name in metrics), _NOWHERE, _NOWHERE]
        wanted = ", ".join("?" for _ in paths)
        query = (
            f"SELECT key, status, json_extract(coalesce(metrics, '{{}}'), {wanted})"
            " FROM grid CROSS JOIN points USING (key) WHERE study = ? ORDER BY position"
        )
        with told(self.path):
            for key, status, values in self._asked(query, [(*paths, study)]):
                yield key, status, dict(zip(metrics, json.loads(values), strict=False))

    def told(self, study: str) -> dict[str, str]:
        """Of every finished point of `study` what its metrics say of the design, as a digest."""
        query = "SELECT key, metrics FROM grid JOIN points USING (key) WHERE study = ? AND status = 'done'"
        found: dict[str, str] = {}
        with told(self.path):
            for key, metrics in self._database.execute(query, (study,)):
                with _of_point(key):
                    found[key] = told_by(read_metrics(metrics))
        return found

    def begin_run(self, provenance: dict[str, Json]) -> int:
        """Note the provenance of the outcomes to come; returns the number to record them under."""
        with self._transaction():
            cursor = self._database.execute("INSERT INTO runs (provenance) VALUES (?)", (json.dumps(provenance),))
        if cursor.lastrowid is None:
            raise sqlite3.DatabaseError("the row of a run got no number")
        return cursor.lastrowid

    def record(self, run: int, outcomes: Iterable[Outcome]) -> None:
        """Write outcomes of points that are in a grid, all in one transaction.

        An outcome that no row can hold, of numbers that are not finite for example, becomes a failed point with that
        reason: one point must not keep others from being stored.
        """
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        rows = [(*_cells(outcome), now, run, outcome.key) for outcome in outcomes]
        with self._transaction():
            self._database.executemany(
                "UPDATE points SET status = ?, attempt = attempt + 1, metrics = ?, detail = ?, error = ?,"
                " traceback = ?, wall_s = ?, time_utc = ?, run = ? WHERE key = ?",
                rows,
            )

    def statuses(self, study: str, position: int = 0, length: int = -1) -> dict[str, Status]:
        """Status of every point of `study`, or of so many from a position on, by key, in grid order."""
        query = (
            f"SELECT key, status FROM grid CROSS JOIN points {self._by_progress} USING (key)"
            " WHERE study = ? AND position >= ? ORDER BY position LIMIT ?"
        )
        with told(self.path):
            return dict(self._database.execute(query, (study, position, length)).fetchall())

    def commits(self, study: str) -> dict[str, int]:
        """Number of finished points of `study` by the state of the code that computed them.

        A state is the commit, with the hash of uncommitted changes behind a plus sign.
        """
        query = (
            f"SELECT provenance, count(*) FROM grid CROSS JOIN points {self._by_progress} USING (key)"
            " CROSS JOIN runs USING (run) WHERE study = ? GROUP BY run ORDER BY run"
        )
        counts: dict[str, int] = {}
        with told(self.path):
            for text, count in self._database.execute(query, (study,)):
                state = code_state(read_object(text, "the provenance of a run"))
                counts[state] = counts.get(state, 0) + count
        return counts

    def studies(self) -> list[str]:
        """Names of the studies in the store."""
        with told(self.path):
            return [name for (name,) in self._database.execute("SELECT DISTINCT study FROM grid ORDER BY study")]

    def size(self, study: str) -> int:
        """How many places the grid of `study` has."""
        with told(self.path):
            (count,) = self._database.execute("SELECT count(*) FROM grid WHERE study = ?", (study,)).fetchone()
            return int(count)

    def extracts(self, study: str, point: Sequence[str], metrics: Sequence[str]) -> Iterator[Extract]:
        """Parts of the points of `study` and some of their metrics, in grid order, one row in memory at a time.

        Parameters
        ----------
        point
            JSON paths of parts of points, such as ``$.parameters.splits``; workload and tensors stand before them.
        metrics
            Names of metrics.
        """
        # one value would come without its brackets, so there is always a second one
        of_point = ", ".join("?" for _ in (*point, "$"))
        of_metrics = ", ".join("?" for _ in (*metrics, "$"))
        query = (
            f"SELECT position, key, status, json_extract(point, '$.workload', '$.tensors', '{_NOWHERE}'),"
            f" json_extract(point, {of_point}),"
            f" json_extract(coalesce(metrics, '{{}}'), {of_metrics})"
            " FROM grid CROSS JOIN points USING (key) WHERE study = ? ORDER BY position"
        )
        paths = [*point, _NOWHERE, *(f"$.{json.dumps(name)}" for name in metrics), _NOWHERE]
        with told(self.path):
            yield from self._asked(query, [(*paths, study)])

    def rows(self, study: str | None = None, positions: Iterable[int] | None = None) -> Iterator[Row]:
        """Rows of `study` (of all studies when None), in grid order.

        Parameters
        ----------
        positions
            Places in the grid of `study` to read, in ascending order; all if not given.

        Raises
        ------
        InputError
            If the store holds no study of that name, or a result that is not what its family stores; the message names
            the field.
        """
        studies = self.studies()
        if study is not None and study not in studies:
            message = f"holds no study called {study!r}"
            raise InputError(Problem(message, str(self.path), hint=did_you_mean(study, studies)))
        query = (
            "SELECT study, position, key, point, status, attempt, metrics, detail, error, traceback, wall_s,"
            " time_utc, run FROM grid JOIN points USING (key) WHERE"
        )
        if positions is None:
            found_rows = self._asked(f"{query} ?1 IS NULL OR study = ?1 ORDER BY study, position", [(study,)])
        else:
            found_rows = self._asked(f"{query} study = ? AND position = ?", ((study, each) for each in positions))
        known = frozenset(all_algorithm_names())
        with told(self.path):
            runs = {
                run: read_object(text, f"the provenance of run {run}")
                for run, text in self._database.execute("SELECT run, provenance FROM runs")
            }
            for name, position, key, point, status, attempt, metrics, detail, *rest in found_rows:
                error, traceback, wall_s, time_utc, run = rest
                with _of_point(key):
                    found = read_point(point)
                    kept = self._detail(key, found, detail) if found.algorithm in known else None
                    why, trace = read_text(error, "error"), read_text(traceback, "traceback")
                    row = Row(
                        study=name,
                        position=read_count(position, "position"),
                        point=found,
                        outcome=Outcome(key, status, read_metrics(metrics), kept, why, trace, read_seconds(wall_s)),
                        attempt=read_count(attempt, "attempt"),
                        time_utc=read_text(time_utc, "time_utc"),
                        provenance=runs.get(run, {}),
                    )
                yield row

    def _asked(self, query: str, values: Iterable[tuple[object, ...]]) -> Iterator[tuple[Any, ...]]:
        """What a query finds for some values after the other."""
        # no `yield from` a cursor: a reader that stops early would close it after its database
        for each in values:
            yield from map(tuple, self._database.execute(query, each))

    def _detail(self, key: str, point: DesignPoint, text: str | None) -> Detail | None:
        """The detail of a point whose algorithm is there; None without one."""
        document = read_object(text, "the result")
        if not document:
            return None
        try:
            return read_detail(point, document)
        except RecursionError:
            raise DamagedError("the result is nested too deeply") from None
        except MisreadError as misread:
            problem = misread.problem(document, str(self.path))
        except InputError as error:
            problem = dataclasses.replace(error.problems[0], file=str(self.path))
        raise InputError(dataclasses.replace(problem, message=f"point {key[:12]} cannot be read: {problem.message}"))


def _cells(outcome: Outcome) -> tuple[str, str, str, str | None, str | None, float]:
    """What a row keeps of an outcome: status, metrics, detail, error, traceback and wall time."""
    told = written(outcome)
    if told.written is None:
        raise TypeError("a written outcome has texts")
    texts = told.written.metrics, told.written.detail
    return told.status, *texts, _writable(told.error), _writable(told.traceback), _seconds(told.wall_s)


def _writable(text: str | None) -> str | None:
    """A text as a database takes it: what is no character, a byte of a file name for example, as its number."""
    return None if text is None else text.encode("utf-8", "backslashreplace").decode("utf-8")


def _seconds(wall_s: float) -> float:
    return wall_s if math.isfinite(wall_s) else 0.0


def _dump(value: Mapping[str, Json]) -> str:
    return json.dumps(value, allow_nan=False)


@contextmanager
def _of_point(key: object) -> Iterator[None]:
    """Say of which point what is damaged."""
    try:
        yield
    except DamagedError as damaged:
        raise DamagedError(f"point {str(key)[:12]}: {damaged}") from None
