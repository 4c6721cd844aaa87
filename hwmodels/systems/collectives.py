"""How chips exchange data: algorithms as rounds of messages, and how long these take on a level of links.

A round begins when a chip has everything of the round before. Its messages share the chip's way out; they have arrived
when the last byte is off the wire and the latency of the level has passed. With the same messages at every chip the
time of a round is ``latency + max(bytes / rate, messages / message rate)``, and rounds add up. Where all chips share
one way they come to it one after the other, and whoever is first goes on while others still send: of several rounds
this is then the longest that they take.

    one_shot        everything to everyone, added up there              1 round,      (n - 1) B out of every chip
    two_shot        a part to its owner, added up, the sum to everyone  2 rounds,     2 (n - 1) B / n
    ring            parts around a ring, twice                          2 (n - 1),    2 (n - 1) B / n
    tree            halves exchanged with partners 1, 2, 4... apart     2 log2 n,     2 (n - 1) B / n
    in_network      switches add up (multicast back)                    2 rounds,     2 B / n out, B in

(Thakur, Rabenseifner, Gropp, 2005, sections 3 and 4; NCCL; custom all-reduce of vLLM and TensorRT-LLM.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from hwmodels.reading.errors import InputError, Problem, did_you_mean
from hwmodels.systems.system import Level, System

Collective = Literal["all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send"]
Pattern = Literal["everyone", "next", "partner"]


@dataclass(frozen=True)
class Round:
    """Messages that every chip sends before it waits.

    Parameters
    ----------
    pattern
        To whom: everyone else, the next chip of a ring, or the partner ``distance`` away (exclusive or of numbers).
    message_bytes
        Of one message.
    times
        How many such rounds follow each other.
    distance
        Of a partner.
    """

    pattern: Pattern
    message_bytes: float
    times: int = 1
    distance: int = 1

    def messages(self, chips: int) -> int:
        """Of one chip."""
        return chips - 1 if self.pattern == "everyone" else 1

    def targets(self, chip: int, chips: int) -> tuple[int, ...]:
        """Chips that ``chip`` sends to."""
        if self.pattern == "everyone":
            return tuple((chip + step) % chips for step in range(1, chips))
        if self.pattern == "next":
            return ((chip + 1) % chips,)
        return (chip ^ self.distance,)

    def bytes_out(self, chips: int) -> float:
        """Of one chip."""
        return self.messages(chips) * self.message_bytes


@dataclass(frozen=True)
class Schedule:
    """An algorithm on so many chips.

    Parameters
    ----------
    algorithm, chips
        What is done by how many.
    rounds
        One after the other.
    """

    algorithm: str
    chips: int
    rounds: tuple[Round, ...]

    @property
    def bytes_out(self) -> float:
        """Sent by one chip."""
        return sum(each.times * each.bytes_out(self.chips) for each in self.rounds)

    @property
    def steps(self) -> int:
        """Rounds, repeated ones counted."""
        return sum(each.times for each in self.rounds)

    def seconds(self, level: Level) -> float:
        """On the links of a level, nothing else on them."""
        return sum(each.times * round_seconds(each, self.chips, level) for each in self.rounds)


def round_seconds(each: Round, chips: int, level: Level) -> float:
    """One round on a level: latency, and the longer of bytes on the wire and messages at the port."""
    sharing = chips if level.topology == "shared" else 1
    wire = sharing * each.bytes_out(chips) / level.payload_bytes_per_second
    return level.latency_s + max(wire, each.messages(chips) / level.messages_per_second)


Maker = Callable[[int, float], tuple[Round, ...]]


def _halving(chips: int, size: float) -> tuple[Round, ...]:
    """A reduce-scatter by recursive halving: with partner `n / 2` half of everything, then a quarter..."""
    return tuple(
        Round("partner", size * distance / chips, distance=distance)
        for distance in (chips >> step for step in range(1, chips.bit_length()))
    )


def _doubling(chips: int, size: float) -> tuple[Round, ...]:
    return tuple(reversed(_halving(chips, size)))


ALGORITHMS: dict[str, dict[str, Maker]] = {
    "all_reduce": {
        "one_shot": lambda chips, size: (Round("everyone", size),),
        "two_shot": lambda chips, size: (Round("everyone", size / chips, times=2),),
        "ring": lambda chips, size: (Round("next", size / chips, times=2 * (chips - 1)),),
        "tree": lambda chips, size: _halving(chips, size) + _doubling(chips, size),
        "in_network": lambda chips, size: (Round("next", size / 2, times=2),),
    },
    "all_gather": {
        "direct": lambda chips, size: (Round("everyone", size / chips),),
        "ring": lambda chips, size: (Round("next", size / chips, times=chips - 1),),
        "tree": _doubling,
    },
    "reduce_scatter": {
        "direct": lambda chips, size: (Round("everyone", size / chips),),
        "ring": lambda chips, size: (Round("next", size / chips, times=chips - 1),),
        "tree": _halving,
    },
    "all_to_all": {
        "direct": lambda chips, size: (Round("everyone", size / chips),),
        "ring": lambda chips, size: (Round("next", size / 2, times=chips - 1),),
    },
    "send": {"direct": lambda chips, size: (Round("next", size),)},
}
"""Algorithms of every collective. ``size`` is what a chip has at the larger end: the whole vector of an all-reduce, the
gathered vector, everything that a chip sends to all chips, itself included. A ring has no direct ways: what goes to all
chips passes through those between, half the ring on average."""


def algorithms_on(collective: str, chips: int, level: Level) -> tuple[str, ...]:
    """Algorithms that the links of a level allow."""
    if collective not in ALGORITHMS:
        hint = did_you_mean(collective, ALGORITHMS)
        raise InputError(Problem(f"unknown collective {collective!r}", field="collective", hint=hint))
    known = ALGORITHMS[collective]
    if level.topology == "ring":
        return tuple(name for name in known if name == "ring") or tuple(known)
    power = chips & (chips - 1) == 0
    return tuple(
        name
        for name in known
        if not (name == "tree" and not power) and not (name == "in_network" and not level.reduces)
    )


def schedule(collective: str, algorithm: str, chips: int, size: float) -> Schedule:
    """An algorithm on ``chips`` chips with ``size`` bytes.

    Raises
    ------
    InputError
        An algorithm that there is not.
    """
    known = ALGORITHMS.get(collective, {})
    if algorithm not in known:
        hint = did_you_mean(algorithm, known)
        raise InputError(Problem(f"{collective} has no algorithm {algorithm!r}", field="algorithm", hint=hint))
    return Schedule(algorithm, chips, known[algorithm](chips, size))


@dataclass(frozen=True)
class Exchange:
    """A collective on a system.

    Parameters
    ----------
    collective, chips, size
        What, by how many, how much.
    algorithm
        What was fastest; ``+`` between levels.
    seconds
        From start to end.
    bytes_out
        Sent by one chip, by name of the level.
    """

    collective: str
    chips: int
    size: float
    algorithm: str
    seconds: float
    bytes_out: tuple[tuple[str, float], ...]


def exchange_on(system: System, collective: Collective, chips: int, size: float, library: bool = False) -> Exchange:
    """The fastest of the algorithms that the system's links allow, or what a general library does (``library``).

    A library's collective takes its measured latencies and the time of its bytes on the wire.

    Over several levels an all-reduce is hierarchical: the parts are added up inside of groups, every chip's part goes
    across, and comes together inside again. All others go at the rate of the farthest level that they cross.

    Raises
    ------
    InputError
        If no links join so many chips.
    """
    levels = system.joining(chips)
    if not levels or not size:
        return Exchange(collective, chips, size, "none", 0.0, ())
    if collective == "all_reduce" and len(levels) > 1:
        return _hierarchical(levels, chips, size)  # libraries do so, too
    if library and levels[-1].library_latency_s is not None:
        return _of_library(levels[-1], levels[-1].library_latency_s, collective, chips, size)
    best = min(_on_level(levels[-1], collective, chips, size), key=lambda each: each[0])
    seconds, made = best
    return Exchange(collective, chips, size, made.algorithm, seconds, ((levels[-1].name, made.bytes_out),))


def _of_library(level: Level, latency_s: float, collective: str, chips: int, size: float) -> Exchange:
    """The algorithm with the fewest bytes, by the faster of two protocols.

    Words with flags need no other signal, so that a round of the one for small vectors costs a hop, at a part of the
    rate; chunks of the other one follow each other through all rounds, once they are under way (NCCL 2.27,
    src/graph/tuning.cc, protocols LL and Simple).
    """
    made = [schedule(collective, name, chips, size) for name in algorithms_on(collective, chips, level)]
    least = min(made, key=lambda each: each.bytes_out)
    sharing = chips if level.topology == "shared" else 1
    sent = sharing * least.bytes_out
    bulk_s = sent / level.payload_bytes_per_second
    if level.library_bulk_latency_s is None:
        seconds = latency_s + bulk_s
    else:
        hops_s = library_rounds(collective, chips) * level.library_hop_s
        small_s = latency_s + hops_s + sent / min(level.library_small_bytes_per_second, level.payload_bytes_per_second)
        seconds = min(small_s, level.library_bulk_latency_s + bulk_s)
    return Exchange(collective, chips, size, "library", seconds, ((level.name, least.bytes_out),))


def library_rounds(collective: str, chips: int) -> int:
    """Rounds of a ring, and the one in which everybody sends to everybody."""
    if collective in ("all_to_all", "send"):
        return 1
    return (2 if collective == "all_reduce" else 1) * (chips - 1)


def _on_level(level: Level, collective: str, chips: int, size: float) -> Iterator[tuple[float, Schedule]]:
    for name in algorithms_on(collective, chips, level):
        made = schedule(collective, name, chips, size)
        yield made.seconds(level), made


def _hierarchical(levels: Sequence[Level], chips: int, size: float) -> Exchange:
    """Scatter inside, reduce across, gather inside, level by level; or all at once over the farthest, if faster."""
    seconds, names, sent = 0.0, [], []
    part, inside = size, 1
    for level in levels[:-1]:
        group = min(level.size, chips) // inside
        if group > 1:
            for collective in ("reduce_scatter", "all_gather"):
                time, made = min(_on_level(level, collective, group, part), key=lambda each: each[0])
                seconds += time
                sent.append((level.name, made.bytes_out))
            names.append(level.name)
            part, inside = part / group, inside * group
    outer = math.ceil(chips / inside)
    if outer > 1:
        time, made = min(_on_level(levels[-1], "all_reduce", outer, part), key=lambda each: each[0])
        seconds, names = seconds + time, [*names, made.algorithm]
        sent.append((levels[-1].name, made.bytes_out))
    flat_s, flat = min(_on_level(levels[-1], "all_reduce", chips, size), key=lambda each: each[0])
    if flat_s < seconds:
        return Exchange("all_reduce", chips, size, flat.algorithm, flat_s, ((levels[-1].name, flat.bytes_out),))
    return Exchange("all_reduce", chips, size, "hierarchical: " + " + ".join(names), seconds, tuple(sent))
