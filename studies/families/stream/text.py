"""A stream for people: the verdict, frames and answers, and memory at the beginning, in the middle and at the end."""

from __future__ import annotations

from collections.abc import Iterator

from algorithms.live.metrics import Distribution
from algorithms.live.requests import NANOSECONDS
from algorithms.live.streams.metrics import StreamMetrics
from algorithms.live.streams.run import StreamRun
from studies.families.stream.evaluation import verdict
from studies.tables import table
from studies.words import percent, quantity


def stream_title(found: StreamRun) -> str:
    """What was watched, on what."""
    text = found.scenario.text
    return (
        f"{text.name}: {found.scenario.steps.model.name} on {found.scenario.steps.system.chip.name}, "
        f"{text.frames.rate:g} frames of {text.frames.tokens} tokens a second for {text.frames.seconds:g} s"
    )


def stream_text(found: StreamRun, judged: StreamMetrics) -> str:
    """Everything that ``attnflow run`` prints."""
    parts = (
        f"{stream_title(found)}, policy {found.scenario.text.policy}\n{verdict(judged)}",
        table(("time", "mean", "median", "99 %", "most"), _times(judged)),
        table(("figure", "value"), _figures(found, judged)),
        table(("frame that came after", "work on it", "wait", "keys read", "memory kept"), _course(found)),
    )
    return "\n\n".join(parts)


def _times(judged: StreamMetrics) -> Iterator[tuple[str, ...]]:
    rows: tuple[tuple[str, Distribution], ...] = (
        ("from a frame to its end", judged.latency),
        ("work on a frame", judged.work),
        ("from a question to the first token", judged.first_token),
        ("from a question to the last token", judged.answer),
    )
    for name, each in rows:
        if each.count:
            yield name, *(quantity(value, "s") for value in (each.mean_s, each.p50_s, each.p99_s, each.largest_s))


def _figures(found: StreamRun, judged: StreamMetrics) -> Iterator[tuple[str, str]]:
    yield "frames that came", f"{judged.came:,}"
    yield "taken in", f"{judged.taken_in:,}, {judged.frames_per_second:.3g} a second"
    yield "dropped, and still waiting at the end", f"{judged.dropped:,}, {judged.left:,}"
    yield "frames that waited at most", f"{judged.most_waiting:,}"
    yield "the model works", percent(judged.busy_share)
    if judged.taken_in:
        yield "energy per frame", quantity(judged.energy_j / judged.taken_in, "J")
    yield "weights, activations, workspace", quantity(found.fixed_bytes, "B")
    yield "memory at most", f"{quantity(judged.peak_bytes, 'B')} of {quantity(found.usable_bytes, 'B')}"
    if judged.far_bytes:
        yield "in farther tiers", quantity(judged.far_bytes, "B")


def _course(found: StreamRun) -> Iterator[tuple[str, ...]]:
    frames = found.frames
    for place in sorted(
        {0, len(frames) // 4, len(frames) // 2, 3 * len(frames) // 4, len(frames) - 1} if frames else ()
    ):
        each = frames[place]
        yield (
            quantity(each.came_ns / NANOSECONDS, "s"),
            quantity((each.ended_ns - each.began_ns) / NANOSECONDS, "s"),
            quantity((each.began_ns - each.came_ns) / NANOSECONDS, "s"),
            f"{each.kept_tokens:,.0f}",
            quantity(each.near_bytes, "B"),
        )
