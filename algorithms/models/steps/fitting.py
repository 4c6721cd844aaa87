"""Whether a step fits into the memory of every chip, and the smallest changes that make it fit, each of them tried."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import lru_cache

from algorithms.memory.capacity import bytes_text
from algorithms.models.steps.batch import Batch, Part
from algorithms.models.steps.building import Setting
from algorithms.models.steps.ledger import Ledger, forget_weights, leaves_room, ledger_of
from hwmodels.reading.errors import InputError
from simulator.errors import CapacityError

MOST_CHIPS = 1024
"""Up to which more chips are tried."""


def forget_ledgers() -> None:
    """Forget what was added up, and what was found to fit."""
    forget_weights()
    _fits.cache_clear()


def check_fits(setting: Setting, ledger: Ledger) -> None:
    """That everything fits into the memory of every chip.

    Raises
    ------
    simulator.CapacityError
        The sum, and the smallest changes of each kind that make it fit, each tried.
    """
    if ledger.fits:
        return
    parts = " + ".join(f"{entry.name} {bytes_text(entry.bytes)}" for entry in ledger.entries if entry.bytes)
    chip = setting.chip
    remedies = list(_remedies(setting))
    advice = f"it would fit with {', or '.join(remedies)}" if remedies else "no change that was tried makes it fit"
    raise CapacityError(
        f"{setting.model.name} on {setting.mapping.chips} x {chip.name}: {parts} = {bytes_text(ledger.total_bytes)} "
        f"does not fit into {bytes_text(ledger.usable_bytes)} of {chip.memory.name}; {advice}"
    )


def is_hopeless(setting: Setting) -> bool:
    """Whether weights and cache alone are too much; what else is wrong with a step shows where it is lowered."""
    try:
        return not leaves_room(setting)
    except (InputError, CapacityError):
        return False


WEIGHT_FORMATS = ("float8", "int4")
KV_FORMATS = ("float8_e4m3",)
POLICIES = ("streaming_llm(sink=4,recent=4092)", "streaming_llm(sink=4,recent=1020)")
"""Formats and policies that are tried, those that change least first."""


def _remedies(setting: Setting) -> Iterator[str]:
    """One change of every kind, the smallest that makes the step fit; two together on chips that one does not help."""
    yield from _first(_more_chips(setting))
    on_these = [*_first(_weights(setting)), *_kept(setting)]
    yield from on_these
    for second in (_keys, _policies) if not on_these else ():
        yield from _first(
            (f"{what} and {other}", changed) for what, narrow in _weights(setting) for other, changed in second(narrow)
        )
    yield from _smaller(setting, "sequences", "{:,} sequences")


def _kept(setting: Setting) -> Iterator[str]:
    """Changes of what is kept of the past: its format, how much of it, how long it is."""
    yield from _first(_keys(setting))
    yield from _first(_policies(setting))
    yield from _smaller(setting, "total", "a context of {:,} tokens")


def _weights(setting: Setting) -> Iterator[tuple[str, Setting]]:
    for name in WEIGHT_FORMATS:
        yield f"weights in {name}", replace(setting, options=replace(setting.options, weights=name, expert_weights=""))


def _keys(setting: Setting) -> Iterator[tuple[str, Setting]]:
    for name in KV_FORMATS:
        yield f"keys and values in {name}", replace(setting, options=replace(setting.options, kv=name))


def _policies(setting: Setting) -> Iterator[tuple[str, Setting]]:
    if setting.options.policy != "full" or all(part.kind != "decode" for part in setting.batch.parts):
        return
    for name in POLICIES:
        yield f"the policy {name}", replace(setting, options=replace(setting.options, policy=name))


@lru_cache(maxsize=4096)
def _fits(setting: Setting) -> bool:
    """Whether a step would fit; its operations are only looked at where there is room for anything beside the rest."""
    try:
        setting.mapping.check(setting.model)
        return leaves_room(setting) and ledger_of(setting).fits
    except (InputError, CapacityError):
        return False


def _first(tried: Iterable[tuple[str, Setting]]) -> Iterator[str]:
    """The first change that fits."""
    for what, changed in tried:
        if _fits(changed):
            yield what
            return


def _more_chips(setting: Setting) -> Iterator[tuple[str, Setting]]:
    """More chips that share layers, then stages of them."""
    mapping = setting.mapping
    tp = mapping.tp
    while tp * 2 * mapping.pp <= MOST_CHIPS:
        tp *= 2
        changed = replace(mapping, tp=tp)
        yield f"{changed.chips} chips (tp={tp})", replace(setting, mapping=changed)
        if tp >= 8:
            break
    for pp in (2, 4, 8, 16):
        changed = replace(mapping, tp=tp, pp=pp * mapping.pp)
        yield f"{changed.chips} chips (tp={tp}, pp={changed.pp})", replace(setting, mapping=changed)


def _smaller(setting: Setting, name: str, what: str) -> Iterator[str]:
    """The largest context, or number of sequences, of the part with the most tokens that fits."""
    parts = setting.batch.text
    if not parts:
        return
    largest = max(parts, key=lambda part: part.total * part.sequences)

    def cut(size: int) -> Setting:
        part = _resized(largest, name, size)
        changed = tuple(part if each is largest else each for each in setting.batch.parts)
        return replace(setting, batch=Batch(changed))

    size = _largest(1, getattr(largest, name) - 1, lambda value: _fits(cut(value)))
    if size:
        yield what.format(size)


def _resized(part: Part, name: str, size: int) -> Part:
    if name == "sequences":
        return replace(part, sequences=size)
    return replace(part, total=size, new=min(part.new, size))


def _largest(low: int, high: int, fits: Callable[[int], bool]) -> int:
    """The largest number that fits where smaller ones do; 0 if none does. To a hundredth of itself."""
    if high < low or not fits(low):
        return 0
    while high - low > max(low // 100, 1):
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
