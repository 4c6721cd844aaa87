"""A tiny point before the first one with limits: what a worker loads once is not time and memory of a design."""

from __future__ import annotations

from contextlib import suppress

import numpy as np

from studies.families.attempt import attempt
from studies.families.family import family_of
from studies.points.point import DesignPoint

_rehearsed: set[str] = set()
"""Keys of the tiny points that this process has evaluated."""


def rehearse(point: DesignPoint) -> None:
    """Load what evaluating points like this one takes, once in a process; what fails here fails again there."""
    with suppress(Exception):
        tiny = family_of(point).rehearsal(point.engine)
        if tiny.key not in _rehearsed:
            _rehearsed.add(tiny.key)
            square = np.ones((256, 256))
            np.matmul(square, square)  # large enough to make the library of linear algebra take its working memory
            attempt(tiny)
