"""Where studies go that were not told: files named after them, whatever they are called."""

from __future__ import annotations

import re
from pathlib import Path

OUT = Path("out")
"""Folder for stores, below the present one."""
_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f/\\\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]+")
_LONGEST_BYTES = 200


def store_of(name: str) -> Path:
    """The usual store of a study of that name; it is in the folder `OUT` itself, whatever the name.

    >>> store_of("lanes").as_posix(), store_of("../up").as_posix(), store_of("a/b").as_posix()
    ('out/lanes.sqlite', 'out/_up.sqlite', 'out/a_b.sqlite')
    """
    plain = _UNFIT.sub("_", name).lstrip(".").encode("utf-8", "replace")[:_LONGEST_BYTES].decode("utf-8", "ignore")
    return OUT / f"{plain or 'study'}.sqlite"
