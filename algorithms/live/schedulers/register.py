"""The register of schedulers: one file and one decorator each, found by importing the package or an entry point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from algorithms.live.blocks import BlockPool
from algorithms.live.replica import Scheduler
from algorithms.register import Register

ENTRY_POINT_GROUP = "attnflow.schedulers"


@dataclass(frozen=True)
class Limits:
    """What bounds the batches of a replica.

    Parameters
    ----------
    most_sequences
        Sequences that run together.
    most_tokens
        New tokens of a step.
    prompts_pct, tokens_pct
        Shares of the cores, in per cent, that prompts and tokens may use at the same time; together they may be
        more than all.
    ttft_s, tpot_s
        Times that those shares are adjusted to; None where they stay as they are.
    """

    most_sequences: int = 256
    most_tokens: int = 2048
    prompts_pct: int = 100
    tokens_pct: int = 100
    ttft_s: float | None = None
    tpot_s: float | None = None


Make = Callable[[BlockPool, Limits], Scheduler]


@dataclass(frozen=True)
class SchedulerEntry:
    """A scheduler as it is registered.

    Parameters
    ----------
    name, summary, source
        Its name, one line for people, and the module that registered it.
    make
        Makes one for a replica, with its memory and limits; raises InputError for limits that cannot be.
    phases
        Whether it computes prompts and makes tokens at the same time, each on a share of the cores.
    """

    name: str
    summary: str
    source: str
    make: Make
    phases: bool = False


SCHEDULERS: Register[SchedulerEntry] = Register(
    "scheduler", "algorithms.live.schedulers", ENTRY_POINT_GROUP, field="scheduler"
)
"""Schedulers by name."""


def scheduler(name: str, *, phases: bool = False) -> Callable[[Make], Make]:
    """Register the decorated maker; the first line of its docstring is its summary.

    Parameters
    ----------
    phases
        Whether what it makes is a `algorithms.live.schedulers.phases.PhasedScheduler`.

    Raises
    ------
    InputError
        If the name is taken, naming both modules.
    """

    def register(make: Make) -> Make:
        summary = (make.__doc__ or name).strip().splitlines()[0]
        SCHEDULERS.add(name, SchedulerEntry(name, summary, make.__module__, make, phases))
        return make

    return register


def get_scheduler(name: str) -> SchedulerEntry:
    """The scheduler called ``name``; raises InputError if there is none, with the nearest name."""
    return SCHEDULERS.get(name)
