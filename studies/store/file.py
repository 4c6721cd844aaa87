"""The file of a store: its tables, what brings an older one to this version, its one writer, and its troubles.

What is in it is the business of `studies.store.store`.
"""

from __future__ import annotations

import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from hwmodels.reading.errors import InputError, Problem
from hwmodels.reading.shipped import is_file
from studies.store.cells import DamagedError

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
_INDEX = """
CREATE INDEX IF NOT EXISTS points_progress ON points (key, status, run);
"""
"""How far points are, without reading the points: rows are long, and an index of a million of them is short.

Versions before it read and write stores that have it; a store without it gets it from its next writer.
"""
_WRITER_CACHE_KIB = 1 << 16
"""Of pages: keys are digests, so that outcomes meet pages all over the file, which the usual 2 MiB have lost."""
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


def open_database(path: Path, *, write: bool) -> sqlite3.Connection:
    """Open the store at `path`, made when it is missing and `write` is set, and brought to this version.

    Raises
    ------
    InputError
        Not a store, a store of a newer version, or no such file.
    """
    name = str(path)
    if not write and not is_file(path):
        raise InputError(Problem("no such store", name))
    try:
        database, application, version, tables = _connect(path, write=write)
    except sqlite3.Error as error:
        hint = _recover(path) if getattr(error, "sqlite_errorname", "").startswith("SQLITE_CORRUPT") else None
        raise InputError(Problem(f"cannot be used as a store: {error}", name, hint=hint)) from None
    except UnicodeDecodeError:  # SQLite quotes what it could not make sense of
        raise InputError(Problem("cannot be used as a store: it is damaged", name, hint=_recover(path))) from None
    try:
        if write and (version, application, tables) == (0, 0, 0):
            _create(database, path)
        elif application != APPLICATION_ID:
            raise InputError(Problem("is a database, but not a store of sweeps", name))
        elif version not in (*_MIGRATIONS, SCHEMA_VERSION):
            message = f"has store version {version}, this program reads versions up to {SCHEMA_VERSION}"
            raise InputError(Problem(message, name, hint="use a newer attnflow, or begin another store"))
        elif version != SCHEMA_VERSION:
            _migrate(database, path, version, locked=write)
        if write:
            with told(path):
                database.execute(_INDEX)
                database.execute(f"PRAGMA cache_size = -{_WRITER_CACHE_KIB}")
        # with WAL this is safe against a killed process; only a power cut can lose the newest rows
        database.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        database.close()
        raise
    return database


def _connect(path: Path, *, write: bool) -> tuple[sqlite3.Connection, int, int, int]:
    """The database, its application, version and number of tables."""
    database = sqlite3.connect(path, isolation_level=None, timeout=30)
    try:
        return database, *_read_head(database)
    except UnicodeDecodeError:
        database.close()
        raise
    except sqlite3.Error as error:
        database.close()
        if write or getattr(error, "sqlite_errorname", "") not in ("SQLITE_CANTOPEN", "SQLITE_READONLY_DIRECTORY"):
            raise
    # readers of a WAL file write beside it; where they cannot, nobody else does, and it can be taken as it is
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        message = f"its newest rows are still in {log.name}, which takes a folder that can be written: copy both there"
        raise InputError(Problem(message, str(path)))
    database = sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True, isolation_level=None)
    try:
        return database, *_read_head(database)
    except (sqlite3.Error, UnicodeDecodeError):
        database.close()
        raise


def _read_head(database: sqlite3.Connection) -> tuple[int, int, int]:
    (version,) = database.execute("PRAGMA user_version").fetchone()
    (application,) = database.execute("PRAGMA application_id").fetchone()
    (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return application, version, tables


def _create(database: sqlite3.Connection, path: Path) -> None:
    with told(path):
        # WAL outside the transaction: SQLite does not switch inside one
        database.execute("PRAGMA journal_mode = WAL")
        database.executescript(
            f"BEGIN; {_SCHEMA} {_INDEX} {_STUDIES} PRAGMA application_id = {APPLICATION_ID};"
            f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
        )


def _migrate(database: sqlite3.Connection, path: Path, version: int, *, locked: bool) -> None:
    """Bring a store of an older version to this one, all at once or not at all."""
    lock = None if locked else lock_writer(path)
    try:
        steps = " ".join(_MIGRATIONS[each] for each in range(version, SCHEMA_VERSION))
        with told(path):
            database.executescript(f"BEGIN; {steps} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
    finally:
        if lock is not None:
            lock.close()


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn what SQLite raises into one line that says what is safe and what to do."""
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise  # a mistake of this program
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorname", "")
        advice = next((text for start, text in _ADVICE.items() if code.startswith(start)), _recover(path))
        raise InputError(Problem(f"{error}; {advice}", str(path))) from error
    except UnicodeDecodeError as error:
        raise InputError(Problem(f"a row holds what is no text ({error}); begin another store", str(path))) from error
    except DamagedError as damaged:
        message = f"holds what no store holds: {damaged}; begin another store"
        raise InputError(Problem(message, str(path))) from None


def _recover(path: Path) -> str:
    """What to do about a damaged file."""
    saved = f"`sqlite3 {shlex.quote(path.name)} .recover | sqlite3 NEW.sqlite`"
    return f"keep the file, save what is readable with {saved}, or begin another store"


def lock_writer(path: Path) -> IO[str]:
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
