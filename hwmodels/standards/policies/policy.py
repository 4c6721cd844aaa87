"""Traits of a controller's queue policy that latency and bandwidth follow from, by the name of the policy."""

from __future__ import annotations

from dataclasses import dataclass

from hwmodels.reading.discovery import import_all
from hwmodels.reading.errors import InputError, Problem, did_you_mean

ENTRY_POINT_GROUP = "attnflow.queue_policies"


@dataclass(frozen=True)
class QueuePolicy:
    """A queue policy; `simulator.servers.dram` has the controller of the same name.

    Parameters
    ----------
    name
        Name in the controller section of a standard or tier.
    command_ticks
        Ticks from the acceptance of a transaction to its first command on an idle channel.
    has_bank_queues
        Whether transactions pass from the shared queue into one of `bank_depth` places of their bank.
    drains_to_low
        Whether a batch of buffered writes ends at `drain_low`; else it ends when the buffer is empty.
    """

    name: str
    command_ticks: int
    has_bank_queues: bool = False
    drains_to_low: bool = False


_POLICIES: dict[str, QueuePolicy] = {}


def register_queue_policy(policy: QueuePolicy) -> None:
    """Make a queue policy known.

    Raises
    ------
    InputError
        If another one has its name.
    """
    if _POLICIES.setdefault(policy.name, policy) != policy:
        raise InputError(Problem(f"two queue policies are called {policy.name!r}"))


def queue_policy_names() -> tuple[str, ...]:
    """Names of all queue policies, sorted."""
    import_all(__package__ or "", ENTRY_POINT_GROUP)
    return tuple(sorted(_POLICIES))


def queue_policy(name: str) -> QueuePolicy:
    """Traits of the queue policy called ``name``.

    Raises
    ------
    InputError
        There is none, with the nearest name.
    """
    names = queue_policy_names()
    if name not in _POLICIES:
        shown = " or ".join(f"'{each}'" for each in names)
        raise InputError(Problem(f"must be {shown} (got {name!r})", hint=did_you_mean(name, names)))
    return _POLICIES[name]
