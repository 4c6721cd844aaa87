"""Finding KV policies: one file and one decorator each, built-ins and plug-ins on the same path."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TypeVar, dataclass_transform

from algorithms.kv.policy import KVPolicy
from algorithms.register import load_all
from hwmodels.reading.errors import InputError, Problem, did_you_mean

P = TypeVar("P", bound=KVPolicy)
ENTRY_POINTS = "attnflow.kv_policies"
"""Group under which another distribution names modules that hold policies."""

_policies: dict[str, type[KVPolicy]] = {}
_aliases: dict[str, str] = {}


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
        made.name = name
        for known in (name, *aliases):
            other = _policies.get(_aliases.get(known, known))
            if other is not None and other.__module__ != made.__module__:
                raise InputError(
                    Problem(f"policy '{known}' of {made.__module__} is already registered by {other.__module__}")
                )
        _policies[name] = made
        _aliases.update(dict.fromkeys(aliases, name))
        return made

    return register


@cache
def discover() -> None:
    """Import every built-in policy and every plug-in, once; raises as `algorithms.register.load_all`."""
    load_all("algorithms.kv.policies", ENTRY_POINTS)


def policy_names() -> tuple[str, ...]:
    """Names of all policies, sorted."""
    discover()
    return tuple(sorted(_policies))


def policies_of_the_script() -> tuple[str, ...]:
    """Names of policies that the running script defines itself: processes that it starts do not know them."""
    return tuple(sorted(name for name, policy in _policies.items() if policy.__module__ == "__main__"))


def policy_class(name: str) -> type[KVPolicy]:
    """The policy registered as `name`.

    Raises
    ------
    InputError
        An unknown name, with the nearest known one.
    """
    discover()
    known = _aliases.get(name, name)
    if known not in _policies:
        raise InputError(Problem(f"unknown KV policy '{name}'", hint=did_you_mean(name, [*_policies, *_aliases])))
    return _policies[known]
