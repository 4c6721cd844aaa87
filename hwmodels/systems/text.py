"""Systems by name or from a file: the cited presets of this package, or a user's own in the same form."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict

from hwmodels.chips.accelerator import load_accelerator
from hwmodels.reading.bibliography import references, source_text
from hwmodels.reading.cited import CITE_PLAIN, NO_TRUTH_VALUE, Cited
from hwmodels.reading.errors import InputError
from hwmodels.reading.quantity import Bytes, BytesPerSecond, Hertz, Seconds
from hwmodels.reading.shipped import Shipped
from hwmodels.systems.system import Host, Level, Pool, System, Topology

Size = Annotated[Cited[Bytes], CITE_PLAIN]
Rate = Annotated[Cited[BytesPerSecond], CITE_PLAIN]
Time = Annotated[Cited[Seconds], CITE_PLAIN]
Share = Annotated[Cited[float], CITE_PLAIN]
Frequency = Annotated[Cited[Hertz], CITE_PLAIN]
Number = Annotated[int, NO_TRUTH_VALUE]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LevelText(_Strict):
    """One of ``levels``."""

    name: str
    topology: Topology
    size: Number
    rate: Rate
    efficiency: Share
    latency: Time
    message_rate: Frequency | None = None
    library_latency: Time | None = None
    library_hop: Time | None = None
    library_small_rate: Rate | None = None
    library_bulk_latency: Time | None = None
    reduces: bool = False


class PoolText(_Strict):
    """One of ``pools``."""

    name: str = "all"
    chip: str
    count: Number


class HostText(_Strict):
    """Section ``host``."""

    chips: Number
    dram: Size
    dram_rate: Rate
    link_rate: Rate
    nvme: Size | None = None
    nvme_rate: Rate | None = None


class SystemText(_Strict):
    """A system file."""

    name: str
    aliases: tuple[str, ...] = ()
    summary: str
    source: str
    pools: tuple[PoolText, ...]
    levels: tuple[LevelText, ...] = ()
    host: HostText | None = None
    price_usd: Share | None = None
    usd_per_hour: Share | None = None

    def system(self) -> System:
        """The plain system, its citations beside it."""
        levels = tuple(
            Level(
                name=each.name,
                topology=each.topology,
                size=each.size,
                bytes_per_second=each.rate.value,
                efficiency=each.efficiency.value,
                latency_s=each.latency.value,
                reduces=each.reduces,
                library_latency_s=each.library_latency.value if each.library_latency else None,
                library_hop_s=each.library_hop.value if each.library_hop else 0.0,
                library_bulk_latency_s=each.library_bulk_latency.value if each.library_bulk_latency else None,
                **(
                    {"library_small_bytes_per_second": each.library_small_rate.value} if each.library_small_rate else {}
                ),
                **({"messages_per_second": each.message_rate.value} if each.message_rate else {}),
            )
            for each in self.levels
        )
        return System(
            name=self.name,
            summary=self.summary,
            pools=tuple(Pool(each.name, load_accelerator(each.chip), each.count) for each in self.pools),
            levels=levels,
            host=_host(self.host) if self.host else None,
            price_usd=self.price_usd.value if self.price_usd else None,
            usd_per_hour=self.usd_per_hour.value if self.usd_per_hour else None,
            citations=tuple((path, source_text(value, references())) for path, value in self.cited()),
        )

    def cited(self) -> Iterator[tuple[str, Cited[float]]]:
        """Every cited value by its field path."""
        parts: list[tuple[str, BaseModel]] = [(f"{each.name}.", each) for each in self.levels]
        if self.host is not None:
            parts.append(("host.", self.host))
        for prefix, part in [*parts, ("", self)]:
            for name, value in part:
                if isinstance(value, Cited):
                    yield f"{prefix}{name}", value


def _host(text: HostText) -> Host:
    return Host(
        chips=text.chips,
        dram_bytes=text.dram.value,
        dram_bytes_per_second=text.dram_rate.value,
        link_bytes_per_second=text.link_rate.value,
        nvme_bytes=text.nvme.value if text.nvme else 0.0,
        nvme_bytes_per_second=text.nvme_rate.value if text.nvme_rate else 0.0,
    )


def _path(field: str | None, text: SystemText) -> tuple[str | int, ...]:
    """Where in the file a field of a system is: parts of lists have names there."""
    first, *rest = (field or "").split(".")
    for number, level in enumerate(text.levels):
        if level.name == first:
            return ("levels", number, *rest)
    return (first, *rest) if first else ()


_SHIPPED = Shipped("hwmodels.systems", "presets", "system")


def system_names() -> tuple[str, ...]:
    """Names of the shipped presets, sorted."""
    return _SHIPPED.names()


@cache
def system_aliases() -> dict[str, str]:
    """Names of presets by their other names."""
    return {alias: name for name in system_names() for alias in _text(name).aliases}


def load_system(name_or_path: str | Path) -> System:
    """A shipped preset by name or alias, or a system file by path.

    Raises
    ------
    InputError
        An unknown name (with the nearest one), or every problem of the file with its line.
    """
    text = str(name_or_path)
    if text in system_names() or text in system_aliases():
        return _preset(system_aliases().get(text, text))
    document = _SHIPPED.open(name_or_path)
    parsed = document.validate(SystemText)
    try:
        return parsed.system()
    except InputError as error:
        raise InputError(
            [document.problem(_path(p.field, parsed), p.message, p.hint) for p in error.problems]
        ) from None


@cache
def _text(name: str) -> SystemText:
    return _SHIPPED.document(name).validate(SystemText)


@cache
def _preset(name: str) -> System:
    return _text(name).system()
