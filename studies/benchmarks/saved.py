"""Figures of an earlier run, as ``attnflow bench --json`` printed them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from hwmodels.reading.errors import InputError, Problem


def read_figures(path: Path) -> dict[str, dict[str, float]]:
    """Figures by benchmark and name.

    Raises
    ------
    InputError
        A file that cannot be read, or holds no such document.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(Problem(f"cannot be read: {error.strerror}", str(path))) from None
    except ValueError as error:
        raise InputError(Problem(f"is not JSON ({error})", str(path))) from None
    if not isinstance(found, Mapping):
        raise InputError(Problem("is not what `attnflow bench --json` prints", str(path)))
    kept: dict[str, dict[str, float]] = {}
    for name, figures in found.items():
        if name == "ratios":  # of a run that was compared itself
            continue
        if not isinstance(figures, Mapping) or not all(_is_number(value) for value in figures.values()):
            raise InputError(Problem("is not what `attnflow bench --json` prints", str(path), field=str(name)))
        kept[str(name)] = {str(figure): float(value) for figure, value in figures.items()}
    return kept


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
