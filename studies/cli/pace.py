"""How long it still takes, of what tells now and then how much of it is done."""

from __future__ import annotations

TRUSTED_AFTER_S = 4.0
"""A rate that was seen for less says nothing."""


class Pace:
    """Rate and time left, whatever holds a run up once: the longest pause is left out.

    A run that compiles something stands still for a minute, at its start or amid its work, and then goes on a thousand
    times as fast; a rate that counts this minute promises hours.

    Parameters
    ----------
    done, total
        How much is done, of how much, when it is told first.
    now_s
        When that is, of any clock that is never set back.
    """

    def __init__(self, done: int, total: int, now_s: float) -> None:
        self.done = done
        self.total = total
        self._first_done = done
        self._first_s = self._moved_s = now_s
        self._longest_s = 0.0
        self._longest_done = 0

    def note(self, done: int, total: int, now_s: float) -> None:
        """This much is done, not less than before."""
        self.total = total
        if done == self.done:
            return
        if now_s - self._moved_s >= self._longest_s:
            self._longest_s, self._longest_done = now_s - self._moved_s, done - self.done
        self.done, self._moved_s = done, now_s

    def left_s(self, now_s: float) -> float | None:
        """Seconds left; None before a rate can be trusted, in a pause longer than all work so far, and at the end."""
        moving_s = self._moved_s - self._first_s - self._longest_s
        moved = self.done - self._first_done - self._longest_done
        if not self.done < self.total or moved <= 0 or moving_s < TRUSTED_AFTER_S or now_s - self._moved_s > moving_s:
            return None
        return (self.total - self.done) * moving_s / moved
