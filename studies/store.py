"""The store of a sweep: one SQLite file that survives a kill at any moment.

Four tables. ``points`` has one row per design point, by key, whatever study asked for it; ``grid`` says
which points belong to a study, in the order of its grid, and ``studies`` what it is after; ``runs`` holds the
provenance that rows refer to. The file is in WAL mode, so readers (a report, a shell) never disturb the one
writer; a second writer is turned away at once. Each batch of outcomes is one transaction: a row is there
completely or not at all.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Literal, Self

from hwmodels.errors import InputError, Problem, did_you_mean
from studies.provenance import code_state
from studies.space import DesignPoint, Json

Status = Literal["pending", "done", "failed"]

APPLICATION_ID = 0x61747466  # "attf", so that `file` and this module know the format
SCHEMA_VERSION = 2
_SCHEMA = """
CREATE TABLE runs (
    run INTEGER PRIMARY KEY,
    provenance TEXT NOT NULL
);
CREATE TABLE points (
    key TEXT PRIMARY KEY,
    point TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('pending', 'done', 'failed')),
    attempt INTEGER NOT NULL DEFAULT 0,
    metrics TEXT,
    detail TEXT,
    error TEXT,
    traceback TEXT,
    wall_s REAL,
    time_utc TEXT,
    run INTEGER REFERENCES runs (run)
) WITHOUT ROWID;
CREATE TABLE grid (
    study TEXT NOT NULL,
    position INTEGER NOT NULL,
    key TEXT NOT NULL REFERENCES points (key),
    PRIMARY KEY (study, position)
) WITHOUT ROWID;
"""
_STUDIES = """
CREATE TABLE studies (
    study TEXT PRIMARY KEY,
    description TEXT NOT NULL
) WITHOUT ROWID;
"""
_MIGRATIONS = {
    # what a study is after was only in the provenance of its runs; the newest says it
    1: _STUDIES
    + """
INSERT OR REPLACE INTO studies
    SELECT json_extract(provenance, '$.configuration.name'), json_extract(provenance, '$.configuration')
    FROM runs WHERE json_extract(provenance, '$.configuration.name') IS NOT NULL ORDER BY run;
""",
}
"""What brings a store of a version to the next one."""

_SAFE = "points stored so far are safe: make room and repeat the command"
_ADVICE = {
    "SQLITE_FULL": _SAFE,
    "SQLITE_IOERR": _SAFE,
    "SQLITE_BUSY": "another program uses it: repeat the command when that has finished",
    "SQLITE_READONLY": "make the file and its folder writable, or begin another store",
}
"""What to do about errors of SQLite, by the beginning of their names."""


@dataclass(frozen=True)
class Outcome:
    """What became of one design point.

    Parameters
    ----------
    key
        Of the point.
    status
        ``"done"`` (a deadlocked design is a result, too) or ``"failed"``.
    metrics
        Flat values by metric name; empty when it failed.
    detail
        The whole result as plain JSON values: units, channels, deadlock.
    error
        One line: the reason of a failure.
    traceback
        Where it was raised; None when a process died instead.
    wall_s
        Time the evaluation took.
    value_passes
        Value passes that it ``computed``, and ``reused`` from earlier points of the same worker; not stored.
    """

    key: str
    status: Status
    metrics: Mapping[str, Json]
    detail: Mapping[str, Json]
    error: str | None = None
    traceback: str | None = None
    wall_s: float = 0.0
    value_passes: Mapping[str, int] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Row:
    """One point of a study as stored: its outcome, how often it was tried, and where that comes from."""

    study: str
    position: int
    point: DesignPoint
    outcome: Outcome
    attempt: int
    time_utc: str | None
    provenance: dict[str, Json]


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
        self._lock = _lock(self.path) if write else None
        try:
            self._database = self._open(write)
        except BaseException:
            self._unlock()
            raise

    def _open(self, write: bool) -> sqlite3.Connection:
        name = str(self.path)
        if not write and not self.path.is_file():
            raise InputError(Problem("no such store", name))
        try:
            database = sqlite3.connect(self.path, isolation_level=None, timeout=30)
            (version,) = database.execute("PRAGMA user_version").fetchone()
            (application,) = database.execute("PRAGMA application_id").fetchone()
            (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error as error:
            raise InputError(Problem(f"cannot be used as a store: {error}", name)) from None
        if write and (version, application, tables) == (0, 0, 0):
            with _told(self.path):
                # WAL outside the transaction: SQLite does not switch inside one
                database.execute("PRAGMA journal_mode = WAL")
                database.executescript(
                    f"BEGIN; {_SCHEMA} {_STUDIES} PRAGMA application_id = {APPLICATION_ID};"
                    f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
                )
        elif application != APPLICATION_ID:
            database.close()
            raise InputError(Problem("is a database, but not a store of sweeps", name))
        elif version not in (*_MIGRATIONS, SCHEMA_VERSION):
            database.close()
            message = f"has store version {version}, this program reads versions up to {SCHEMA_VERSION}"
            raise InputError(Problem(message, name))
        elif version != SCHEMA_VERSION:
            self._migrate(database, version, locked=write)
        # with WAL this is safe against a killed process; only a power cut can lose the newest rows
        database.execute("PRAGMA synchronous = NORMAL")
        return database

    def _migrate(self, database: sqlite3.Connection, version: int, *, locked: bool) -> None:
        """Bring a store of an older version to this one, all at once or not at all."""
        lock = None if locked else _lock(self.path)
        try:
            steps = " ".join(_MIGRATIONS[each] for each in range(version, SCHEMA_VERSION))
            with _told(self.path):
                database.executescript(f"BEGIN; {steps} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        except BaseException:
            database.close()
            raise
        finally:
            if lock is not None:
                lock.close()

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

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with _told(self.path):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:  # SQLite itself has rolled back when the disk is full
                    self._database.execute("ROLLBACK")
                raise

    def enter_grid(
        self, study: str, points: Sequence[DesignPoint], description: Mapping[str, Json] | None = None
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
        with self._transaction():
            self._database.execute("DELETE FROM grid WHERE study = ?", (study,))
            self._describe(study, description)
            return self._place(study, 0, points)

    def extend_grid(self, study: str, position: int, points: Sequence[DesignPoint]) -> list[str]:
        """Make `points` the part of the grid of `study` that begins at `position`; otherwise as `enter_grid`."""
        with self._transaction():
            return self._place(study, position, points)

    def describe_study(self, study: str, description: Mapping[str, Json], length: int | None = None) -> None:
        """Store what `study` says of itself; with `length`, nothing behind that position stays in its grid."""
        with self._transaction():
            self._describe(study, description)
            if length is not None:
                self._database.execute("DELETE FROM grid WHERE study = ? AND position >= ?", (study, length))

    def _describe(self, study: str, description: Mapping[str, Json] | None) -> None:
        text = _dump(description or {"name": study})
        self._database.execute("INSERT OR REPLACE INTO studies VALUES (?, ?)", (study, text))

    def _place(self, study: str, position: int, points: Sequence[DesignPoint]) -> list[str]:
        keys = [point.key for point in points]
        texts = (json.dumps(point.describe(), allow_nan=False) for point in points)
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
        with _told(self.path):
            row = self._database.execute("SELECT description FROM studies WHERE study = ?", (study,)).fetchone()
        return _load(row[0]) if row else {}

    def outcomes(self, keys: Sequence[str]) -> dict[str, Outcome]:
        """What became of some points, those that are neither done nor failed left out; without their detail."""
        found: dict[str, Outcome] = {}
        with _told(self.path):
            for key in keys:
                row = self._database.execute(
                    "SELECT status, metrics, error, wall_s FROM points WHERE key = ? AND status != 'pending'", (key,)
                ).fetchone()
                if row:
                    status, metrics, error, wall_s = row
                    found[key] = Outcome(key, status, _load(metrics), {}, error, wall_s=wall_s or 0.0)
        return found

    def begin_run(self, provenance: dict[str, Json]) -> int:
        """Note the provenance of the outcomes to come; returns the number to record them under."""
        with self._transaction():
            cursor = self._database.execute("INSERT INTO runs (provenance) VALUES (?)", (json.dumps(provenance),))
        if cursor.lastrowid is None:
            raise sqlite3.DatabaseError("the row of a run got no number")
        return cursor.lastrowid

    def record(self, run: int, outcomes: Iterable[Outcome]) -> None:
        """Write outcomes of points that are in a grid, all in one transaction."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        rows = [
            (o.status, _dump(o.metrics), _dump(o.detail), o.error, o.traceback, o.wall_s, now, run, o.key)
            for o in outcomes
        ]
        with self._transaction():
            self._database.executemany(
                "UPDATE points SET status = ?, attempt = attempt + 1, metrics = ?, detail = ?, error = ?,"
                " traceback = ?, wall_s = ?, time_utc = ?, run = ? WHERE key = ?",
                rows,
            )

    def statuses(self, study: str) -> dict[str, Status]:
        """Status of every point of `study`, by key, in grid order."""
        query = "SELECT key, status FROM grid JOIN points USING (key) WHERE study = ? ORDER BY position"
        with _told(self.path):
            return dict(self._database.execute(query, (study,)).fetchall())

    def commits(self, study: str) -> dict[str, int]:
        """Number of finished points of `study` by the state of the code that computed them.

        A state is the commit, with the hash of uncommitted changes behind a plus sign.
        """
        query = (
            "SELECT provenance, count(*) FROM grid JOIN points USING (key) JOIN runs USING (run)"
            " WHERE study = ? GROUP BY run ORDER BY run"
        )
        counts: dict[str, int] = {}
        with _told(self.path):
            for text, count in self._database.execute(query, (study,)):
                state = code_state(json.loads(text))
                counts[state] = counts.get(state, 0) + count
        return counts

    def studies(self) -> list[str]:
        """Names of the studies in the store."""
        with _told(self.path):
            return [name for (name,) in self._database.execute("SELECT DISTINCT study FROM grid ORDER BY study")]

    def rows(self, study: str | None = None) -> Iterator[Row]:
        """Rows of `study` (of all studies when None), in grid order.

        Raises
        ------
        InputError
            If the store holds no study of that name.
        """
        studies = self.studies()
        if study is not None and study not in studies:
            message = f"holds no study called {study!r}"
            raise InputError(Problem(message, str(self.path), hint=did_you_mean(study, studies)))
        query = (
            "SELECT study, position, key, point, status, attempt, metrics, detail, error, traceback, wall_s,"
            " time_utc, run FROM grid JOIN points USING (key) WHERE ?1 IS NULL OR study = ?1"
            " ORDER BY study, position"
        )
        with _told(self.path):
            runs = {run: json.loads(text) for run, text in self._database.execute("SELECT run, provenance FROM runs")}
            for name, position, key, point, status, attempt, metrics, detail, *rest in self._database.execute(
                query, (study,)
            ):
                error, traceback, wall_s, time_utc, run = rest
                yield Row(
                    study=name,
                    position=position,
                    point=DesignPoint.from_description(json.loads(point)),
                    outcome=Outcome(key, status, _load(metrics), _load(detail), error, traceback, wall_s or 0.0),
                    attempt=attempt,
                    time_utc=time_utc,
                    provenance=runs.get(run, {}),
                )


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn what SQLite raises into one line that says what is safe and what to do."""
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise  # a mistake of this program
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorname", "")
        damaged = (
            f"keep the file, save what is readable with `sqlite3 {path.name} .recover | sqlite3 NEW.sqlite`, "
            "or begin another store"
        )
        advice = next((text for start, text in _ADVICE.items() if code.startswith(start)), damaged)
        raise InputError(Problem(f"{error}; {advice}", str(path))) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(Problem(f"a row holds what is not JSON ({error}); begin another store", str(path))) from error


def _dump(value: Mapping[str, Json]) -> str:
    return json.dumps(value, allow_nan=False)


def _load(text: str | None) -> dict[str, Json]:
    value = json.loads(text) if text else {}
    if not isinstance(value, dict):
        raise sqlite3.DatabaseError("a row holds JSON that is not an object")
    return value


def _lock(path: Path) -> IO[str]:
    """Hold the writer's lock of the store at `path`; the system frees it when the process ends, however.

    A file of its own: opening the database file itself a second time would drop SQLite's locks when closed.
    """
    lock_path = path.with_name(path.name + ".lock")
    try:
        file = lock_path.open("a", encoding="utf-8")
    except OSError as error:
        raise InputError(Problem(f"cannot be written: {error.strerror}", str(path))) from None
    try:
        import fcntl
    except ImportError:
        return file  # no advisory locks on this system: SQLite's own locking remains
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise InputError(Problem("another process is writing to this store", str(path))) from None
    return file
