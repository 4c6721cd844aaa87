"""Where compiled code is kept between runs; a computer with no place for it still runs, it only compiles again.

Numba reads what it keeps as pickles, so the place must be one that nobody else can write to.
"""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from pathlib import Path

VARIABLE = "NUMBA_CACHE_DIR"


def settle_cache() -> None:
    """Choose a folder of this user below the temporary one where Numba's usual place cannot be written.

    Has to be called before Numba is imported; processes that start later inherit the choice.
    """
    given = os.environ.get(VARIABLE)
    if _usable(given) if given else _usable_home():
        return
    own = _own_folder()
    if given:
        sys.stderr.write(f"compiled code cannot be kept in {given} ({VARIABLE}); it goes to {own}\n")
    os.environ[VARIABLE] = own


def _usable_home() -> bool:
    try:
        folder = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:  # a user without a home
        return False
    return _usable(folder)


def _usable(folder: str | Path) -> bool:
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _own_folder() -> str:
    """A folder that only this user can write to: the same every time, unless somebody else has taken its name."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"attnflow-{user}"
    try:
        folder.mkdir(0o700)
    except FileExistsError:
        found = folder.lstat()
        ours = stat.S_ISDIR(found.st_mode) and found.st_uid == user and not found.st_mode & 0o022
        if not ours:
            return tempfile.mkdtemp(prefix="attnflow-")
    return str(folder)
