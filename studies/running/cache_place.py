"""Where compiled code is kept between runs; a computer with no place for it still runs, it only compiles again.

Numba reads what it keeps as pickles, so the place must be one that nobody else can write to.
"""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

VARIABLE = "NUMBA_CACHE_DIR"
FOLDERS = ("", "attnflow")
"""What has to be private in a place that was asked for: it, and the folder of the engines in it."""
NO_PLACE = " "
"""Reason that needs no word: nothing can be written there."""


def settle_cache() -> None:
    """Choose a folder of this user below the temporary one where Numba's usual place cannot be written.

    Has to be called before Numba is imported; processes that start later inherit the choice.
    """
    given = os.environ.get(VARIABLE)
    why = _unusable(Path(given), FOLDERS) if given else _unusable_home()
    if not why:
        return
    own = _own_folder()
    if sys.stderr is None:
        pass  # nobody listens
    elif given:
        sys.stderr.write(f"compiled code cannot be kept in {given} ({VARIABLE}{why.rstrip()}); it goes to {own}\n")
    elif why != NO_PLACE:
        sys.stderr.write(f"compiled code is not kept where others could change it{why}; it goes to {own}\n")
    os.environ[VARIABLE] = own


def _unusable_home() -> str:
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # a user without a home
        return NO_PLACE
    return _unusable(folder, ("attnflow", "numba"))


def _unusable(folder: Path, inside: Iterable[str]) -> str:
    """Why a folder is no place for compiled code, empty if it is one: it, or what is kept inside, is open to others."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder = folder.resolve()
        if not os.access(folder, os.W_OK | os.X_OK):
            return NO_PLACE
        # what is not there yet is made by this user
        places = [place for place in (folder / name for name in inside) if place.is_symlink() or place.exists()]
        return next((f": {place} is not this user's alone" for place in places if not _is_private(place)), "")
    except OSError:
        return NO_PLACE


def _is_private(folder: Path) -> bool:
    """Whether `folder` is one of this user's that nobody else can write to."""
    if not hasattr(os, "getuid"):
        return folder.is_dir()
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022


def _own_folder() -> str:
    """A folder that only this user can write to: the same every time, unless somebody else has taken its name."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"attnflow-{user}"
    try:
        folder.mkdir(0o700)
    except FileExistsError:
        if not _is_private(folder):
            return tempfile.mkdtemp(prefix="attnflow-")
    return str(folder)
