"""The answer in words: what was simulated, the best design by every objective, what binds it and what it needs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from markupsafe import Markup

from studies.points.point import Scalar
from studies.report.blocks import Block, html
from studies.report.columns import Column, State
from studies.report.points import Best, Points
from studies.report.registry import section
from studies.words import count, listing, number, percent, quantity, spread

_CLEAR = 1.1
"""Factor from which a difference is shown as a factor."""
_DESCRIBED = 3
"""Most workloads that are described, not only named."""
_TIMES = ("cycles", "seconds")
_SUPERLATIVES = {"cycles": "Fewest cycles", "fifo.capacity_bytes": "Smallest FIFOs"}


@dataclass(frozen=True)
class Tile:
    """A number that stands out; `href` leads to more, `tone` is ``good``, ``bad`` or empty."""

    value: str
    label: str
    tone: str = ""
    href: str = ""


@dataclass(frozen=True)
class Record:
    """What a design is best in: ``Fewest cycles``, ``16,591 cycles``, ``16.6 µs at 1 GHz``."""

    title: str
    value: str
    aside: str


@dataclass(frozen=True)
class Card:
    """A design that is best by some objectives, in words; `facts` are pairs (term, text)."""

    records: tuple[Record, ...]
    design: str
    facts: tuple[tuple[str, str], ...]
    point: int
    command: str


@section("answer", "The answer", order=10)
def headline(points: Points) -> Iterable[Block]:
    """Sentence, tiles and one card per best design."""
    yield html(
        "headline.html",
        warning=warning(points),
        answer=answer(points),
        subject=subject(points),
        tiles=tuple(tiles(points)),
        cards=tuple(cards(points)),
    )


def warning(points: Points) -> str:
    """Which designs a page must not compare: those whose metrics are of different numbers of layers."""
    if not points.mixed_layers:
        return ""
    of_layers = [
        f"{count(layers, 'layer')} of {listing(algorithms)}" for layers, algorithms in points.mixed_layers.items()
    ]
    return (
        f"Times, bytes and energies on this page are of different numbers of layers: {listing(of_layers)}. Only points "
        "of equally many layers are compared with each other in words, in factors and on fronts."
    )


def subject(points: Points) -> str:
    """What was simulated: algorithms, workloads (nothing attends where a memory tier is measured), what was varied."""
    algorithms = [str(name) for name in _values(points, "algorithm")]
    by_name: dict[str, list[int]] = defaultdict(list)
    attending = points.column("workload")
    for i, name in enumerate(attending.values if attending else ()):
        if name is not None:
            by_name[str(name)].append(i)
    workloads = list(by_name)
    if len(workloads) <= _DESCRIBED:
        workloads = [f"{name} ({', '.join(_shape(points, members))})" for name, members in by_name.items()]
    on = f" on {listing(workloads)}" if workloads else ""
    text = f"{count(points.total, 'design point')} of {listing(algorithms)}{on}."
    names = ("algorithm", "workload")
    varied = [
        f"{column.name} ({spread(column.values, column.unit)})" for column in points.axes if column.name not in names
    ]
    told = f"{text} Varied: {', '.join(varied)}." if varied else text
    return f"{told} {points.census.words}; so do all lists below." if points.census else told


def _shape(points: Points, members: list[int]) -> Iterator[str]:
    """The workload of some points in a few words."""

    def of(name: str) -> tuple[Scalar, ...]:
        return _values(points, name, members)

    yield spread(of("phase"))
    if of("batch") != (1,):
        yield f"batch {spread(of('batch'))}"
    shared = f" on {spread(of('kv_heads'))} KV heads" if of("kv_heads") != of("heads") else ""
    yield f"{spread(of('heads'))} {'head' if of('heads') == (1,) else 'heads'}{shared}"
    if points.column("seq_len"):
        yield f"{spread(of('seq_len'))} tokens"
    else:
        yield f"{spread(of('q_len'))} {'query' if of('q_len') == (1,) else 'queries'}, {spread(of('kv_len'))} keys"
    yield f"head dim {spread(of('head_dim'))}"
    yield f"{spread(of('mask'))} mask"
    yield spread(of("dtype"))
    if of("tensors"):
        yield "real tensors"


def _values(points: Points, name: str, members: Iterable[int] | None = None) -> tuple[Scalar, ...]:
    """Different values of a column, of all points or of some."""
    column = points.column(name)
    if column is None or members is None:
        return column.distinct if column else ()
    return tuple(dict.fromkeys(column.values[i] for i in members if column.values[i] is not None))


def answer(points: Points) -> Markup:
    """The first sentence: the best design by the first objective and what binds it, or why there is none."""
    if not points.best:
        waiting = points.in_state("pending")
        if len(waiting) == len(points):
            return Markup("Nothing has been simulated yet: all {} are pending.").format(count(len(points), "point"))
        return Markup("<strong>No point has a result</strong>: {}.").format(_outcomes(points))
    best = points.best[0]
    workload = points.workload_labels[points.workload_of[best.point]]
    several = best.workloads > 1
    superlative = _superlative(best.objective)
    binding = points.binding(best.point)
    extreme = Markup("{}<strong>{}</strong> {} {} with <strong>{}</strong>{}{}.").format(
        Markup("On the largest workload ({}), ").format(workload) if several else "",
        f"the {superlative}" if several else f"The {superlative}",
        "takes" if best.objective.name in _TIMES else "has",
        _value_in_words(points, best),
        _design(points, best.point),
        Markup("; it is bound by {}").format(binding) if binding else "",
        Markup("; {}").format(published) if (published := _published(points, best)) else "",
    )
    return Markup(" ").join([*_compromise(points), extreme])


def _design(points: Points, point: int) -> str:
    return points.label(point, "design") or str(points.rows[point].point.algorithm)


def _compromise(points: Points) -> Iterator[Markup]:
    """A sentence about the knee of the front, which comes first: what it takes of every objective."""
    knee = points.knee
    if knee is None or any(best.point == knee for best in points.best):
        return
    values = listing([_value_of(points, column, knee) for column in points.objectives])
    yield Markup("The design that gives up least is <strong>{}</strong>: {}.").format(_design(points, knee), values)


def _value_of(points: Points, column: Column, point: int) -> str:
    """A value of an objective with its name where its unit does not tell, and with what it rests on."""
    shown = column.words(column.values[point])
    named = shown if column.unit in ("s", "cycle", "mm2", "J") else f"{column.spoken} {shown}"
    estimate = points.estimate(point, column.name)
    return f"{named} ({estimate})" if estimate else named


def _published(points: Points, best: Best) -> str:
    """What a value rests on, and the best one that rests on nothing like that; empty for a value that does not."""
    estimate = points.estimate(best.point, best.objective.name)
    if not estimate:
        return ""
    other = points.best_published(best)
    if other is None:
        return f"that rests on an {estimate}, as it does for all rivals"
    return (
        f"that rests on an {estimate}: without one the best is "
        f"{_value_of(points, best.objective, other)} with {_design(points, other)}"
    )


def _superlative(objective: Column) -> str:
    """What the best design by an objective is called."""
    if objective.name in _TIMES:
        return "fastest design"
    return f"design of {'highest' if objective.goal == 'max' else 'lowest'} {objective.spoken}"


def _outcomes(points: Points) -> str:
    """How many points ended how."""
    states: dict[State, str] = {
        "done": "done",
        "infeasible": "beyond a constraint",
        "deadlock": "deadlocked",
        "failed": "failed",
        "pending": "pending",
    }
    counts = [(points.tally(state), word) for state, word in states.items()]
    return ", ".join(f"{many:,} {word}" for many, word in counts if many)


def _value_in_words(points: Points, best: Best) -> str:
    value = best.objective.values[best.point]
    if not isinstance(value, int | float):
        return number(value)
    seconds, clock = points.column("seconds"), points.column("clock")
    text = best.objective.words(value)
    if best.objective.unit == "cycle" and seconds and clock:
        time, hertz = seconds.values[best.point], clock.values[best.point]
        if isinstance(time, int | float) and isinstance(hertz, int | float):
            text += f" ({quantity(time, 's')} at {quantity(hertz, 'Hz')})"
    return text


def tiles(points: Points) -> Iterator[Tile]:
    """How many points there are, how they ended, how far apart they are, and how exact their values."""
    total, done = points.total, points.tally("done")
    with_result = "all with a result" if done == total else f"{done:,} with a result"
    yield Tile(number(total), f"{'point' if total == 1 else 'points'}, {with_result}", href="#points")
    stuck, failed, pending = (points.tally(state) for state in ("deadlock", "failed", "pending"))
    beyond = points.tally("infeasible")
    if beyond:
        yield Tile(number(beyond), "beyond a constraint", "bad", "#constraints")
    if stuck:
        yield Tile(number(stuck), "deadlocked", "bad", "#trouble")
    if failed:
        yield Tile(number(failed), "failed", "bad", "#trouble")
    if pending:
        yield Tile(number(pending), "pending", href="#points")
    if points.best and points.slowest is not None:
        objective = points.objectives[0]
        fastest, slowest = (objective.values[i] for i in (points.best[0].point, points.slowest))
        if isinstance(fastest, int | float) and isinstance(slowest, int | float) and 0 < fastest < slowest:
            factor = slowest / fastest
            apart = f"{factor:.3g}×" if factor > _CLEAR else f"+{percent(factor - 1)}".replace("+<", "<")
            ends = "slowest design against the fastest" if objective.name in _TIMES else "highest against the lowest"
            yield Tile(apart, f"{objective.spoken} of the {ends}")
    if len(points.objectives) > 1:
        owner = " of their workload" if len(points.workload_labels) > 1 else ""
        on_front = points.census.front if points.census else sum(points.front)
        yield Tile(number(on_front), f"on the Pareto front{owner}", href="#tradeoff")
    if points.column("workload"):  # else nothing attends, and there are no values that could be off
        yield from _error_tile(points) or _bound_tile(points)


def _bound_tile(points: Points) -> list[Tile]:
    """How much of the time of the first design shown its lower bound explains, where pages have no values."""
    point = points.knee if points.knee is not None else points.best[0].point if points.best else None
    ratio, bound = points.column("bound.ratio"), points.column("bound.binding")
    if point is None or ratio is None or bound is None:
        return []
    value = ratio.values[point]
    if not isinstance(value, int | float) or value <= 0:
        return []
    which = "the knee" if point == points.knee else "the best design"
    return [
        Tile(percent(1 / value), f"of the time of {which} is its bound by {bound.values[point]}", href="#chip-units")
    ]


def _error_tile(points: Points) -> list[Tile]:
    column = points.column("error.rel_l2")
    errors = [value for value in column.distinct if isinstance(value, int | float)] if column else []
    if not errors:
        return []
    checked = sum(value is not None for value in column.values) if column else 0
    told = f"largest relative error of {count(checked, 'point')} against the float64 oracle"
    return [Tile(f"{max(errors):.1e}", told)]


def cards(points: Points) -> Iterator[Card]:
    """The knee of the front, then one card per design that is best by some objective."""
    knee = points.knee
    if knee is not None and not any(best.point == knee for best in points.best):
        yield Card(
            records=(Record("Gives up least", _knee_value(points, knee), "knee of the front"),),
            design=_design(points, knee),
            facts=tuple((term, text) for term, text in _point_facts(points, knee) if text),
            point=knee,
            command=points.commands[knee],
        )
    by_point: dict[int, list[Best]] = {}
    for best in points.best:
        by_point.setdefault(best.point, []).append(best)
    for point, wins in by_point.items():
        yield Card(
            records=tuple(_record(points, best) for best in wins),
            design=points.label(point, "design") or points.rows[point].point.algorithm,
            facts=tuple((term, text) for term, text in _facts(points, point, wins) if text),
            point=point,
            command=points.commands[point],
        )


def _knee_value(points: Points, point: int) -> str:
    return ", ".join(_value_of(points, column, point) for column in points.objectives[:2])


def _record(points: Points, best: Best) -> Record:
    extreme = "Highest" if best.objective.goal == "max" else "Lowest"
    title = _SUPERLATIVES.get(best.objective.name, f"{extreme} {best.objective.spoken}")
    value, _, aside = _value_in_words(points, best).partition(" (")
    asides = [aside.rstrip(")"), points.estimate(best.point, best.objective.name)]
    return Record(title, value, ", ".join(filter(None, asides)))


def _facts(points: Points, point: int, wins: list[Best]) -> Iterator[tuple[str, str]]:
    if wins[0].workloads > 1:
        yield "Workload", f"{points.workload_labels[points.workload_of[point]]}, the largest of {wins[0].workloads:,}"
        yield "Best on", listing([f"{best.wins:,} of {best.workloads:,} workloads" + _by(best, wins) for best in wins])
    yield from _point_facts(points, point)
    published = [_published(points, best) for best in wins]
    yield "Estimate", listing(list(filter(None, published)))
    ties = [f"{count(best.ties - 1, 'other point')}" + _by(best, wins) for best in wins if best.ties > 1]
    within = f" within {percent(points.goals.tolerance)}" if points.goals.tolerance else ""
    yield "Ties", f"{listing(ties)}{within}; shown is the best otherwise" if ties else ""


def _point_facts(points: Points, point: int) -> Iterator[tuple[str, str]]:
    """What is told of any design."""
    path = points.paths.get(point)
    yield "Bound by", points.binding(point)
    yield "Critical path", path.sentence.rstrip(".") if path and path.parts else ""
    yield from points.facts(point)
    yield "Error", _error(points, point)


def _by(best: Best, wins: list[Best]) -> str:
    """Names the objective where a card is about several."""
    return f" by {best.objective.spoken}" if len(wins) > 1 else ""


def _error(points: Points, point: int) -> str:
    attending = points.column("workload")
    if attending is None or attending.values[point] is None:
        return ""
    column = points.column("error.rel_l2")
    value = column.values[point] if column else None
    if not isinstance(value, int | float):
        return "timing only, no values computed"
    return f"{value:.1e} relative L2 against the float64 oracle"
