"""Whether files and folders are there, of names that a user wrote and the system may refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hwmodels.reading.errors import InputError, Problem


def is_file(path: Path) -> bool:
    """Whether there is a file at `path`.

    Raises
    ------
    InputError
        The system does not say: a name that is too long, a folder that may not be entered.
    """
    return _asked(path, path.is_file)


def is_folder(path: Path) -> bool:
    """Whether there is a folder at `path`; raises as `is_file`."""
    return _asked(path, path.is_dir)


def is_there(path: Path) -> bool:
    """Whether there is anything at `path`; raises as `is_file`."""
    return _asked(path, path.exists)


def _asked(path: Path, question: Callable[[], bool]) -> bool:
    try:
        return question()
    except OSError as error:  # pathlib keeps only "not there" to itself
        raise InputError(Problem(f"{path} cannot be read: {error.strerror}")) from None
