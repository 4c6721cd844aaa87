"""The compiled engine's first start: said aloud, and done once before worker processes would all do it."""

from __future__ import annotations

import sys

COMPILE_ESTIMATE_S = 15
"""Measured on one core of a cloud machine; only ever shown as "about"."""


def engine_is_compiled() -> bool:
    """Whether the cache of the present sources holds the engine, so that it starts at once."""
    from simulator.servers.kernel import cache_folder

    return any(cache_folder("engines").rglob("run_ahead.run-*.nbi"))


def announce_compilation(engine: str, *, quiet: bool) -> None:
    """Tell the user on stderr why the first run takes longer, if it is going to."""
    if engine == "compiled" and not quiet and not engine_is_compiled():
        sys.stderr.write(f"compiling engine (once, about {COMPILE_ESTIMATE_S} s)\n")


def compile_engine(*, quiet: bool) -> None:
    """Have the engine compiled and cached."""
    from simulator.engines.compiled import warm_up

    announce_compilation("compiled", quiet=quiet)
    warm_up()
