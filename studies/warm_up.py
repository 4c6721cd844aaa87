"""The compiled engine's first start: said aloud, and done once before worker processes would all do it."""

from __future__ import annotations

import sys
from pathlib import Path

COMPILE_ESTIMATE_S = 8
"""Measured on two cores of a cloud machine; only ever shown as "about"."""


def engine_is_compiled() -> bool:
    """Whether Numba's cache holds the engine, so that it starts at once."""
    from simulator.engines import compiled

    # numba compiles again when the source of the entry point is newer than the index of its cache
    source = Path(compiled.__file__)
    folder = Path(compiled.run.stats.cache_path or "")
    compiled_at = [path.stat().st_mtime for path in folder.glob(f"{source.stem}.run-*.nbi")]
    return bool(compiled_at) and max(compiled_at) >= source.stat().st_mtime


def announce_compilation(engine: str, *, quiet: bool) -> None:
    """Tell the user on stderr why the first run takes longer, if it is going to."""
    if engine == "compiled" and not quiet and not engine_is_compiled():
        sys.stderr.write(f"compiling engine (once, about {COMPILE_ESTIMATE_S} s)\n")


def compile_engine(*, quiet: bool) -> None:
    """Have the engine compiled and cached."""
    from simulator.engines.compiled import warm_up

    announce_compilation("compiled", quiet=quiet)
    warm_up()
