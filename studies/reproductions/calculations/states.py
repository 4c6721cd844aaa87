"""Sizes of states that do not grow, as the rules themselves make them."""

from __future__ import annotations

import inspect

from algorithms.state.rule import Shape, rule_class
from hwmodels.reading.errors import InputError, Problem
from hwmodels.reading.made import made
from studies.reproductions.calculation import Figures, calculation


@calculation("state_size")
def state_size(
    rule: str = "infini",
    layers: int = 12,
    kv_heads: int = 8,
    key_dim: int = 128,
    value_dim: int = 128,
    memories: int = 0,
    top: int = 0,
    depth: int = 0,
) -> Figures:
    """Numbers that a rule keeps, and moves for a token, in all layers of one sequence.

    ``memories``, ``top`` and ``depth`` are parameters of rules that have them; 0 takes a rule's own.
    """
    given = {name: value for name, value in (("memories", memories), ("top", top), ("depth", depth)) if value}
    kind = rule_class(rule)
    strange = [name for name in given if name not in inspect.signature(kind).parameters]
    if strange:
        raise InputError([Problem(f"the rule {rule} has no {name}", field=name) for name in strange])
    chosen = made(kind, given)
    shape = Shape(kv_heads, 1, key_dim, value_dim)
    work = chosen.step_work(shape)
    return {
        "held": layers * chosen.held_elements(shape),
        "moved": layers * chosen.moved_elements(shape),
        "flops": layers * (work.matrix_flops + work.vector_flops),
    }
