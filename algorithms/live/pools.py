"""Chips of a deployment by what they do: all alike, or pools for prompts and tokens, or for layers and attention.

A system whose pools have chips of one kind is one set of chips, whatever its pools are called. Where they are unlike,
the pool ``prefill`` computes prompts and the pool ``decode`` makes tokens (Splitwise, Patel et al., ISCA 2024,
arXiv:2311.18677); or the pool ``compute`` does everything but attention, which is left to the pool ``attention``
(`algorithms.live.times.staggered`).
"""

from __future__ import annotations

from dataclasses import replace

from hwmodels.chips.accelerator import Accelerator
from hwmodels.reading.errors import InputError, Problem
from hwmodels.systems.system import System

PROMPTS, TOKENS = "prefill", "decode"
COMPUTE, ATTENTION = "compute", "attention"


def unlike(system: System) -> bool:
    """Whether a system has chips of several kinds."""
    return len({pool.chip.name for pool in system.pools}) > 1


def attends_elsewhere(system: System) -> bool:
    """Whether attention is left to chips of their own."""
    return unlike(system) and {COMPUTE, ATTENTION} <= {pool.name for pool in system.pools}


def split_by_phase(system: System) -> bool:
    """Whether prompts are computed on other chips than tokens are made on."""
    return unlike(system) and not attends_elsewhere(system)


def chips_for_tokens(system: System) -> System:
    """The chips that make tokens; raises as `part_of`."""
    return part_of(system, COMPUTE if attends_elsewhere(system) else TOKENS)


def chip_for_tokens(system: System) -> Accelerator:
    """The chip that makes tokens; raises InputError where chips are unlike and no pool says so."""
    if attends_elsewhere(system):
        return system.pool(COMPUTE).chip
    return system.pool(TOKENS).chip if unlike(system) else system.chip


def with_chip(system: System, chip: Accelerator) -> System:
    """The system with another chip in the place of the one that makes tokens; raises as `chip_for_tokens`."""
    own = chip_for_tokens(system).name
    return replace(
        system,
        pools=tuple(replace(pool, chip=chip) if pool.chip.name == own else pool for pool in system.pools),
    )


def part_of(system: System, pool: str) -> System:
    """The chips of one pool and the links among them; all of them where all are alike.

    Raises
    ------
    InputError
        No pool of that name, or no links that join its chips.
    """
    if not unlike(system):
        return system
    found = system.pool(pool)
    return replace(system, pools=(found,)).of(found.count)


def misfits(system: System, replicas: int, prefill: int, chips_of_one: int) -> list[Problem]:
    """Problems of so many replicas, some for prompts alone, on so many chips each."""
    if not unlike(system):
        chips = replicas * chips_of_one
        if not system.levels or chips <= system.count:
            return []
        message = f"{replicas} replicas on {chips_of_one} chips each need {chips} chips"
        return [Problem(f"{message}, {system.name} has {system.count}", field="replicas")]
    if attends_elsewhere(system):
        there, chips = system.pool(COMPUTE).count, replicas * chips_of_one
        if chips > there:
            return [Problem(f"needs {chips} chips, the pool {COMPUTE} of {system.name} has {there}", field="replicas")]
        return [Problem(f"must be 0: {system.name} splits layers, not phases", field="prefill")] if prefill else []
    if not prefill:
        return [Problem(f"must be given, as {system.name} has chips of several kinds", field="prefill")]
    problems: list[Problem] = []
    for name, count in ((PROMPTS, prefill), (TOKENS, replicas - prefill)):
        try:
            there = system.pool(name).count
        except InputError as error:
            problems += error.problems
            continue
        if count * chips_of_one > there:
            message = f"{count} replicas on {chips_of_one} chips each need {count * chips_of_one} chips"
            problems.append(Problem(f"{message}, the pool {name} of {system.name} has {there}", field="replicas"))
    return problems
