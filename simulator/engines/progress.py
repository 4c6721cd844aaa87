"""How far a long run is: told between slices to whoever listens, never to anybody else.

A run that takes long calls `report` whenever Python has its turn. Without a listener nothing is computed.
"""

from __future__ import annotations

from collections.abc import Callable

Listener = Callable[[str, int, int], None]
"""Takes what is counted, how much of it is done, and how much there is in all."""

_listeners: list[Listener] = []


def listen(listener: Listener) -> None:
    """Have ``listener`` told from now on, from whatever thread a run is in."""
    _listeners.append(listener)


def leave(listener: Listener) -> None:
    """Tell ``listener`` nothing any more; one that is not told anything may leave, too."""
    if listener in _listeners:
        _listeners.remove(listener)


def is_heard() -> bool:
    """Whether anybody wants to know, so that counting is worth while."""
    return bool(_listeners)


def report(what: str, done: int, total: int) -> None:
    """Tell that ``done`` of ``total`` are done, a plural in ``what`` saying of what."""
    for listener in _listeners:
        listener(what, done, total)
