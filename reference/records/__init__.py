"""Measurements of real GPUs as committed data, one file per run of `attnflow measure`."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent


def record_paths() -> tuple[Path, ...]:
    """The committed records, sorted by name."""
    return tuple(sorted(FOLDER.glob("*.json")))
