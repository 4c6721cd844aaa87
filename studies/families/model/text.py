"""A step of a model for people: time by kind of layer, the ledger against the capacity, and how times were made."""

from __future__ import annotations

from collections.abc import Iterator

from algorithms.models.steps.step import Step
from studies.tables import table
from studies.words import percent, quantity


def step_text(step: Step) -> str:
    """Everything that ``attnflow run`` prints."""
    parts = (
        _headline(step),
        table(("layers", "times", "each", "together", "share"), _layers(step)),
        table(("time by kind", "seconds", "share"), _kinds(step)),
        table(("memory of the fullest chip", "bytes", "share"), _ledger(step)),
        table(("made", "how", "seconds", "off by", "source"), _made(step)),
    )
    return "\n\n".join(parts)


def _headline(step: Step) -> str:
    mapping = step.mapping
    chips = f"{mapping.chips} x {step.chip.name}" + (f" of {step.system.name}" if mapping.chips > 1 else "")
    spread = ", ".join(
        f"{name}={value}"
        for name, value in (
            ("tp", mapping.tp),
            ("pp", mapping.pp),
            ("dp", mapping.dp),
            ("ep", mapping.ep),
            ("cp", mapping.cp),
        )
        if value != 1
    )
    return (
        f"{step.model.name} ({step.model.parameters:,} parameters), {step.batch}, on {chips}"
        f"{f' ({spread})' if spread else ''}: {quantity(step.seconds, 's')}, "
        f"{step.tokens_per_second:,.4g} tokens per second of the model, {quantity(step.energy_j, 'J')}; "
        f"most of the time waits for {step.binding}"
    )


def _layers(step: Step) -> Iterator[tuple[str, ...]]:
    for layer in step.layers:
        whole = layer.times * layer.seconds
        yield (
            layer.name,
            str(layer.times),
            quantity(layer.seconds, "s"),
            quantity(whole, "s"),
            percent(whole / step.device_s),
        )


def _kinds(step: Step) -> Iterator[tuple[str, ...]]:
    for kind, seconds in sorted(step.seconds_by_kind().items(), key=lambda pair: -pair[1]):
        yield kind, quantity(seconds, "s"), percent(seconds / step.device_s)
    if step.host_s:
        yield "host, beside the device", quantity(step.host_s, "s"), percent(step.host_s / step.seconds)


def _ledger(step: Step) -> Iterator[tuple[str, ...]]:
    ledger = step.ledger
    for entry in ledger.entries:
        yield entry.name, quantity(entry.bytes, "B"), percent(entry.bytes / ledger.usable_bytes)
    total = ledger.total_bytes
    yield f"of {quantity(ledger.usable_bytes, 'B')}", quantity(total, "B"), percent(total / ledger.usable_bytes)


def _made(step: Step) -> Iterator[tuple[str, ...]]:
    for part in step.made():
        off = "" if part.error is None else percent(part.error)
        yield part.kind, part.way, quantity(part.seconds, "s"), off, part.source
