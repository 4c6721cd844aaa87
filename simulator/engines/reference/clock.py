"""Time in the reference engine."""

from __future__ import annotations

import simpy
from simpy.events import EventPriority

END_OF_CYCLE = 2  # SimPy handles lower priorities first, so this comes after everything else at the same time


class Clock(simpy.Environment):
    """SimPy's environment with time as whole cycles."""

    @property
    def cycle(self) -> int:
        """The current cycle."""
        return int(self.now)

    def end_of_cycle(self) -> simpy.Event:
        """An event at the current time, after everything else at this time."""
        event = self.event()
        event._ok, event._value = True, None
        self.schedule(event, priority=EventPriority(END_OF_CYCLE))
        return event
