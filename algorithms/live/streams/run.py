"""A camera and a model in simulated time: frames come at their rate, questions in between, one thing at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from dataclasses import dataclass, field

import simpy

from algorithms.live.requests import NANOSECONDS, nanoseconds
from algorithms.live.streams.scenario import StreamScenario
from algorithms.live.streams.watching import Watched, Watcher
from simulator.engines.progress import report


@dataclass(frozen=True)
class FrameDone:
    """A frame that was taken in: when it came, when work on it began and ended, and what is kept then."""

    came_ns: int
    began_ns: int
    ended_ns: int
    kept_tokens: float
    near_bytes: float
    far_bytes: float
    waiting: int


@dataclass(frozen=True)
class AnswerDone:
    """An answer: when it was asked for, its first and its last token."""

    asked_ns: int
    first_ns: int
    last_ns: int


@dataclass
class StreamRun:
    """What became of a stream.

    Parameters
    ----------
    scenario
        The stream that was watched.
    came, dropped
        Frames that came, and those that nobody looked at.
    frames, answers
        Frames and answers that are done, in order.
    left
        Frames that still waited when the camera stopped.
    most_waiting
        Frames that waited at most.
    busy_ns
        Time in which the model works, while the camera runs.
    work_j
        Energy of the work while the camera runs, on each chip and beyond waiting.
    full_ns
        When the memory was full; None if it never was.
    fixed_bytes, usable_bytes
        Weights, activations and workspace; and the memory of a chip.
    """

    scenario: StreamScenario
    fixed_bytes: int
    usable_bytes: int
    came: int = 0
    dropped: int = 0
    frames: list[FrameDone] = field(default_factory=list)
    answers: list[AnswerDone] = field(default_factory=list)
    left: int = 0
    most_waiting: int = 0
    busy_ns: int = 0
    work_j: float = 0.0
    full_ns: int | None = None


def watch(scenario: StreamScenario) -> StreamRun:
    """Run a stream until the camera stops or the memory is full.

    Raises
    ------
    InputError
        A policy that does not fit.
    simulator.errors.CapacityError
        If not even the weights fit.
    """
    return _Stream(scenario).run()


class _Stream:
    """The camera, who asks, and the model."""

    def __init__(self, scenario: StreamScenario) -> None:
        self.scenario = scenario
        self.watcher = Watcher(scenario)
        self.found = StreamRun(scenario, self.watcher.fixed_bytes, self.watcher.usable_bytes)
        self.environment = simpy.Environment()
        self.waiting: deque[int] = deque()
        self.questions: deque[int] = deque()
        self.busy = False
        self.wake = self.environment.event()
        self.end_ns = nanoseconds(scenario.text.frames.seconds)

    def run(self) -> StreamRun:
        """Until the camera stops."""
        self.scenario.steps.blocks(1, self.scenario.text.frames.tokens)  # refuses what cannot fit
        self.environment.process(self._camera())
        if self.scenario.text.questions is not None:
            self.environment.process(self._asker())
        self.environment.process(self._model())
        self.environment.run(until=self.end_ns)
        self.found.left = len(self.waiting)
        return self.found

    def _camera(self) -> Generator[simpy.Event, object, None]:
        overflow = self.scenario.text.frames.overflow
        for number in range(self.scenario.frames):
            moment = round(number * NANOSECONDS / self.scenario.text.frames.rate)
            if moment > self.environment.now:
                yield self.environment.timeout(moment - int(self.environment.now))
            self.found.came += 1
            report("frames that came", self.found.came, self.scenario.frames)
            if overflow == "drop" and (self.busy or self.waiting):
                self.found.dropped += 1
                continue
            if overflow == "newest":
                self.found.dropped += len(self.waiting)
                self.waiting.clear()
            self.waiting.append(int(self.environment.now))
            self.found.most_waiting = max(self.found.most_waiting, len(self.waiting))
            self._call()

    def _asker(self) -> Generator[simpy.Event, object, None]:
        asked = self.scenario.text.questions
        every = nanoseconds(asked.every) if asked else 1
        for _ in range(self.scenario.questions):
            yield self.environment.timeout(every)
            self.questions.append(int(self.environment.now))
            self._call()

    def _call(self) -> None:
        if not self.wake.triggered:
            self.wake.succeed()

    def _model(self) -> Generator[simpy.Event, object, None]:
        """Questions first, then frames in the order in which they came."""
        while self.found.full_ns is None:
            if not self.waiting and not self.questions:
                self.busy = False
                self.wake = self.environment.event()
                yield self.wake
            self.busy = True
            if self.questions:
                yield from self._answer(self.questions.popleft())
            elif self.waiting:
                yield from self._take_in(self.waiting.popleft())

    def _take_in(self, came: int) -> Generator[simpy.Event, object, None]:
        began, done = int(self.environment.now), self.watcher.frame()
        yield self._for(done)
        now = int(self.environment.now)
        frame = FrameDone(
            came, began, now, done.kept_tokens, done.near_bytes, done.far_bytes, waiting=len(self.waiting)
        )
        self.found.frames.append(frame)
        if self.watcher.fixed_bytes + done.near_bytes > self.watcher.usable_bytes:
            self.found.full_ns = now

    def _answer(self, asked: int) -> Generator[simpy.Event, object, None]:
        yield self._for(self.watcher.question())
        first = int(self.environment.now)
        wanted = self.scenario.text.questions
        for _ in range(wanted.answer - 1 if wanted else 0):
            yield self._for(self.watcher.token())
        self.found.answers.append(AnswerDone(asked, first, int(self.environment.now)))

    def _for(self, step: Watched) -> simpy.Event:
        duration = nanoseconds(step.seconds)
        within = max(min(duration, self.end_ns - int(self.environment.now)), 0)
        self.found.busy_ns += within
        self.found.work_j += step.joules * within / duration if duration else step.joules
        return self.environment.timeout(duration)
