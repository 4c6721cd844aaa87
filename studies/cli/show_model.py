"""``attnflow show model`` and ``show system``: what a model is made of, and what joins the chips of a system."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from algorithms.models.model import Model
from algorithms.models.text import load_model
from hwmodels.systems.system import System
from hwmodels.systems.text import load_system
from studies.cli.output import emit, table

if TYPE_CHECKING:
    from studies.points.point import Json


def model_line(name: str) -> str:
    """One line about a shipped model: its parameters and towers."""
    model = load_model(name)
    towers = ", ".join(f"{tower.name} {tower.depth} x {tower.width}" for tower in model.towers)
    return f"{model.parameters:,} parameters; {towers}"


def system_line(name: str) -> str:
    """One line about a shipped system."""
    return load_system(name).summary


def show_model(name: str, as_json: bool) -> None:
    """Print the model `name`, a preset or a file, with its parameters as computed and as published.

    Raises
    ------
    InputError
        An unknown model, or a file that cannot be one.
    """
    model = load_model(name)
    published = model.published
    document: Json = {
        "name": model.name,
        "summary": model.summary,
        "source": model.source,
        "parameters": model.parameters,
        "active_parameters": model.active_parameters,
        "published": None
        if published is None
        else {"parameters": published.parameters, "source": published.source, "digits": published.digits},
        "towers": [
            {
                "name": tower.name,
                "modality": tower.modality,
                "width": tower.width,
                "layers": tower.depth,
                "causal": tower.causal,
                "parameters": tower.parameters,
                "cache_elements_per_token": tower.cache_elements,
            }
            for tower in model.towers
        ],
    }
    emit(document, lambda: _model_text(model), as_json=as_json)


def _model_text(model: Model) -> str:
    head = f"{model.name}: {model.parameters:,} parameters, {model.active_parameters:,} of them met by a token"
    if model.published is not None:
        digits = "" if model.published.digits is None else f" ({model.published.digits} digits)"
        head += f"\npublished: {model.published.parameters:,}{digits}, {model.published.source}"
    rows = [
        (tower.name, layer.times, " + ".join(block.kind for block in layer.blocks))
        for tower in model.towers
        for layer in tower.runs
    ]
    return f"{head}\nsource: {model.source}\n\n{table(('tower', 'layers', 'blocks'), rows)}"


def show_system(name: str, as_json: bool) -> None:
    """Print the system `name`, a preset or a file, every number with its source.

    Raises
    ------
    InputError
        An unknown system, or a file that cannot be one.
    """
    system = load_system(name)
    cited = system.sources()
    document: Json = {
        "name": system.name,
        "summary": system.summary,
        "chips": system.count,
        "pools": [{"name": pool.name, "chip": pool.chip.name, "count": pool.count} for pool in system.pools],
        "levels": [
            {
                "name": level.name,
                "topology": level.topology,
                "size": level.size,
                "bytes_per_second": level.bytes_per_second,
                "efficiency": level.efficiency,
                "latency_s": level.latency_s,
            }
            for level in system.levels
        ],
        "price_usd": system.price_usd,
        "usd_per_hour": system.usd_per_hour,
        "sources": dict(cited),
    }
    emit(document, lambda: _system_text(system), as_json=as_json)


def _system_text(system: System) -> str:
    def rows() -> Iterator[tuple[str, str, str]]:
        cited = system.sources()
        for pool in system.pools:
            yield pool.name, f"{pool.count} x {pool.chip.name}", ""
        for level in system.levels:
            yield level.name, f"{level.topology} of {level.size}", ""
            yield f"{level.name}.rate", f"{level.bytes_per_second / 1e9:,.4g} GB/s", cited.get(f"{level.name}.rate", "")
            yield f"{level.name}.efficiency", f"{level.efficiency:g}", cited.get(f"{level.name}.efficiency", "")
            yield f"{level.name}.latency", f"{1e6 * level.latency_s:g} us", cited.get(f"{level.name}.latency", "")

    return f"{system.name}: {system.summary}\n\n{table(('part', 'value', 'source'), rows())}"
