"""Initial machines of graphs, kept: those that differ in the depths of FIFOs alone are flattened once.

A study of depths, a search for the smallest one and the explanation of a deadlock run a graph again and again with
other depths. Nothing else of the machine follows from them but the sizes of rings, which are powers of two.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

import numpy as np

from simulator.engines.compiled.machine import Machine, build_machine, ring_slots
from simulator.engines.compiled.runs import start_all
from simulator.engines.compiled.watch import Watch, build_watch
from simulator.firing import IntArray
from simulator.graph import FrozenGraph

MOST_KEPT = 32
MOST_WORDS = 1 << 16
"""Larger machines are not kept."""
_KEPT: OrderedDict[Hashable, tuple[Machine, IntArray]] = OrderedDict()


def prepared(graph: FrozenGraph, *, skip: bool) -> tuple[Machine, Watch]:
    """A machine of ``graph`` in which every unit stands at its first run, and what looks for its steady state."""
    key = _key(graph)
    if key is None:
        machine = _started(graph)
        return machine, build_watch(machine, enabled=skip)
    if (key, skip) in _KEPT:
        _KEPT.move_to_end((key, skip))
        kept, pacers = _KEPT[key, skip]
        machine = _with_depths(kept, graph)
        return machine, build_watch(machine, enabled=skip, pacers=pacers.copy())
    machine = _started(graph)
    watch = build_watch(machine, enabled=skip)
    if len(machine.words) <= MOST_WORDS:
        _KEPT[key, skip] = Machine(*(part.copy() for part in machine)), watch.pacers.copy()
        if len(_KEPT) > MOST_KEPT:
            _KEPT.popitem(last=False)
    return machine, watch


def forget_machines() -> None:
    """Forget all machines that are kept."""
    _KEPT.clear()


def _started(graph: FrozenGraph) -> Machine:
    machine = build_machine(graph)
    units = machine.units
    start_all(units, machine.blocks, machine.segments)
    units["trace_ptr"] = np.cumsum(units["firings"]) - units["firings"]
    return machine


def _key(graph: FrozenGraph) -> Hashable:
    """All that a machine follows from, but for depths of rings of the same size; None where it is not worth asking."""
    rest = graph.but_for_channels
    if rest is None:
        return None
    channels = tuple(
        (
            channel.depth is None,
            ring_slots(graph, channel),
            channel.producer,
            channel.output,
            channel.consumer,
            channel.input,
            channel.latency_cycles,
            channel.credit_latency_cycles,
            channel.initial_tokens,
        )
        for channel in graph.channels
    )
    return rest, channels


def _with_depths(kept: Machine, graph: FrozenGraph) -> Machine:
    """A copy of a machine with the depths of a graph whose rings have the same sizes."""
    machine = Machine(*(part.copy() for part in kept))
    for number, channel in enumerate(graph.channels):
        if channel.depth is not None:
            machine.channels["depth"][number] = machine.channels["slots"][number] = channel.depth
    return machine
