"""Tensors recorded from published models, and the scripts that recorded them."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent


def capture_names() -> tuple[str, ...]:
    """Names of the shipped captures, sorted."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.npz")))


def capture_path(name: str) -> Path:
    """The ``.npz`` file of a shipped capture, with arrays `q`, `k`, `v` and `out` of `(heads, length, dim)`.

    Raises
    ------
    ValueError
        An unknown name.
    """
    if name not in capture_names():
        raise ValueError(f"unknown capture {name!r}: choose from {', '.join(capture_names())}")
    return _FOLDER / f"{name}.npz"
