"""Finding KV policies: one file and one decorator each, built-ins and plug-ins on the same path."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

from algorithms.kv.policy import KVPolicy
from algorithms.register import SCRIPT, Register

P = TypeVar("P", bound=KVPolicy)
ENTRY_POINTS = "attnflow.kv_policies"
"""Group under which another distribution names modules that hold policies."""

POLICIES: Register[type[KVPolicy]] = Register(
    "KV policy", "algorithms.kv.policies", ENTRY_POINTS, unknown="unknown {what} '{name}'"
)


@dataclass_transform(frozen_default=True)
def kv_policy(name: str, *, aliases: tuple[str, ...] = ()) -> Callable[[type[P]], type[P]]:
    """Register a policy under `name`; the class becomes a frozen dataclass.

    Raises
    ------
    InputError
        If another class has the name already.
    """

    def register(cls: type[P]) -> type[P]:
        made = dataclass(frozen=True)(cls)
        made.name, made.source = name, made.__module__
        # not that of the class it is derived from, whose name it would have
        made.example = made.__dict__.get("example") or (f"h2o | {name}" if made.wraps else name)
        POLICIES.add(name, made, aliases)
        return made

    return register


def policy_names() -> tuple[str, ...]:
    """Names of all policies, sorted."""
    return POLICIES.names()


def policies_of_the_script() -> tuple[str, ...]:
    """Names of policies that the running script defines itself: processes that it starts do not know them."""
    return POLICIES.registered_by(SCRIPT)


def policy_class(name: str) -> type[KVPolicy]:
    """The policy registered as `name`, or by one of its other names.

    Raises
    ------
    InputError
        An unknown name, with the nearest known one.
    """
    return POLICIES.get(name)
