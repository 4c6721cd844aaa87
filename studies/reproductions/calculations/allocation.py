"""Requests that share a GPU's memory: pages, or rooms that are set aside for a sequence as a whole."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from algorithms.memory.paging import Request, run_paged
from algorithms.models.text import load_model
from hwmodels.chips.accelerator import load_accelerator
from hwmodels.reading.errors import InputError, Problem, did_you_mean
from studies.reproductions.calculation import Figures, calculation
from studies.reproductions.calculations.kv import cache_shape

Room = Literal["pages", "longest", "power_of_two", "exact"]
_SPREAD = 0.8
"""Standard deviation of the logarithm of lengths: of chat logs, about."""


@calculation("shared_memory")
def shared_memory(
    room: str = "pages",
    model: str = "opt-13b",
    chip: str = "a100_sxm4_40g",
    usable: float = 0.9,
    page_tokens: int = 16,
    longest: int = 2048,
    mean_prompt: float = 161.0,
    mean_output: float = 338.0,
    requests: int = 150,
    seed: int = 0,
) -> Figures:
    """A queue of requests served from what a GPU's memory has left: share that holds tokens, batch, and rate.

    Rooms are set aside by a buddy allocator, in powers of two (as Orca's in arXiv:2309.06180, section 6.1); means are
    over the steps in which somebody waits. A step reads the weights once and every cached token once at the memory's
    peak rate.
    """
    shape = cache_shape(model)
    token_bytes = shape.token_bytes * shape.kv_heads * shape.layers
    memory = load_accelerator(chip).memory
    weight_bytes = 2.0 * load_model(model).parameters
    slots = int((usable * memory.capacity_bytes - weight_bytes) // token_bytes)
    trace = _requests(requests, mean_prompt, mean_output, longest, seed)
    if room == "pages":
        run = run_paged(trace, slots // page_tokens, page_tokens)
        running, tokens, aside = list(run.running), list(run.stored_tokens), list(run.physical_tokens)
        # the queue is empty from the step on that lets the last request in
        busy = max(len(running) - longest // 2, 1)
    else:
        running, tokens, aside, busy = _in_rooms(trace, slots, _sizes(room, longest))
    moved = sum(weight_bytes + token_bytes * each for each in tokens)
    return {
        "useful": sum(tokens[:busy]) / (busy * slots),
        "useful_of_aside": sum(tokens[:busy]) / sum(aside[:busy]),
        "batch": float(np.mean(running[:busy])),
        "tokens_per_second": sum(running) / (moved / memory.bytes_per_second),
        "slots": slots,
    }


def _sizes(room: str, longest: int) -> Callable[[Request], int]:
    """Slots that are set aside for a request."""
    match room:
        case "longest":
            return lambda request: longest
        case "power_of_two":
            return lambda request: min(len(request.prompt) + (1 << (request.output - 1).bit_length()), longest)
        case "exact":
            return lambda request: len(request.prompt) + request.output
        case _:
            message = f"unknown way of setting memory aside {room!r}"
            raise InputError(Problem(message, field="room", hint=did_you_mean(room, get_args(Room))))


class _Buddies:
    """Slots in blocks of powers of two: a block is split in halves, and halves that are both free join again."""

    def __init__(self, slots: int) -> None:
        self._free: dict[int, set[int]] = {}
        self._sizes: dict[int, int] = {}
        start = 0
        for power in reversed(range(slots.bit_length())):
            if slots >> power & 1:
                self._free.setdefault(1 << power, set()).add(start)
                start += 1 << power

    def take(self, size: int) -> int | None:
        """First slot of a block of at least so many slots; None if there is no such block."""
        wanted = 1 << (size - 1).bit_length()
        block = min((each for each, starts in self._free.items() if starts and each >= wanted), default=None)
        if block is None:
            return None
        start = min(self._free[block])
        self._free[block].remove(start)
        while block > wanted:
            block //= 2
            self._free.setdefault(block, set()).add(start + block)
        self._sizes[start] = wanted
        return start

    def give(self, start: int) -> None:
        """Give a block back."""
        block = self._sizes.pop(start)
        while (start ^ block) in self._free.get(block, ()):
            self._free[block].remove(start ^ block)
            start, block = min(start, start ^ block), 2 * block
        self._free.setdefault(block, set()).add(start)


@dataclass
class _Active:
    request: Request
    start: int
    made: int = 0


def _in_rooms(
    trace: Sequence[Request], slots: int, size: Callable[[Request], int]
) -> tuple[list[int], list[int], list[int], int]:
    """First come first served, as many as find room: sequences, tokens, slots set aside by step; steps with a queue."""
    memory = _Buddies(slots)
    waiting = deque(trace)
    active: list[_Active] = []
    running: list[int] = []
    tokens: list[int] = []
    aside: list[int] = []
    busy = 0
    while waiting or active:
        while waiting and (start := memory.take(size(waiting[0]))) is not None:
            active.append(_Active(waiting.popleft(), start))
        if not active:
            raise InputError(Problem(f"a request of {size(waiting[0])} tokens does not fit into {slots}"))
        for each in active:
            each.made += 1
        running.append(len(active))
        tokens.append(sum(len(each.request.prompt) + each.made for each in active))
        aside.append(sum(size(each.request) for each in active))
        busy += bool(waiting)
        for each in active:
            if each.made == each.request.output:
                memory.give(each.start)
        active = [each for each in active if each.made < each.request.output]
    return running, tokens, aside, max(busy, 1)


def _requests(count: int, prompt: float, output: float, longest: int, seed: int) -> list[Request]:
    """All at once, lengths log-normal and capped, nothing shared."""
    rng = np.random.default_rng(seed)

    def lengths(mean: float) -> list[int]:
        drawn = rng.lognormal(np.log(mean) - _SPREAD**2 / 2, _SPREAD, count)
        return [int(each) for each in np.clip(np.rint(drawn), 1, longest // 2)]

    pairs = zip(lengths(prompt), lengths(output), strict=True)
    return [
        Request(0, tuple(range(number * longest, number * longest + own)), made)
        for number, (own, made) in enumerate(pairs)
    ]
