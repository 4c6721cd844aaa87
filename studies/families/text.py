"""What texts of all families begin with: the design and its workload, and the parameters that were changed."""

from __future__ import annotations

import dataclasses

from studies.points.find import find_algorithm
from studies.points.knobs import parameter_knobs
from studies.points.point import DesignPoint
from studies.words import count


def subject(point: DesignPoint) -> str:
    """What was simulated on which workload, in which number format."""
    shape = point.attending
    queries = count(shape.q_len, "query", "queries")
    return (
        f"{point.algorithm} on {shape.name}: batch {shape.batch}, {count(shape.heads, 'head')} ({shape.kv_heads} KV),"
        f" {queries}, {count(shape.kv_len, 'key')}, head dim {shape.head_dim}, {shape.mask} mask, {_formats(point)}"
    )


def _formats(point: DesignPoint) -> str:
    """The workload's number format, or those that a design chooses itself."""
    values = dict(point.parameters)
    chosen = [
        f"{values[field.name]}-bit {field.metadata['format_of']}"
        for field in dataclasses.fields(find_algorithm(point.algorithm).parameters)
        if "format_of" in field.metadata
    ]
    return ", ".join(chosen) or point.attending.dtype


def changed_parameters(point: DesignPoint) -> str:
    """Parameters that differ from their defaults, in the order in which they are declared."""
    values = dict(point.parameters)
    knobs = parameter_knobs(find_algorithm(point.algorithm)).values()
    changed = [f"{knob.name} = {values[knob.name]}" for knob in knobs if values[knob.name] != knob.default]
    return ", ".join(changed) or "all at their defaults"
