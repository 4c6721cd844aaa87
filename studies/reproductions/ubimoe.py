"""UbiMoE (arXiv:2502.05602): attention streams beside a linear kernel that is used again and again, on an FPGA.

What its designs were built from is published for one of them only, so that the others are held against the band that
plausible settings span: one image at a time or many, M3ViT as wide as Edge-MoE's sources say or twice that, as UbiMoE's
own do.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from algorithms.hybrid.design import HybridDesign
from algorithms.hybrid.graph import build
from algorithms.hybrid.parameters import HybridParameters
from algorithms.workload.shape import Workload
from algorithms.workload.text import load_workload
from simulator import simulate
from studies.api import Study
from studies.reproductions.register import Row, quoted, reproduced, reproduction

TABLES = "arXiv:2502.05602, tables I and III"
SOURCES = "github.com/DJ000011/UbiMoE, ViT_Fixed16, commit 166c8b6"
MANY = 8
"""Images that go through a layer together where blocks are to overlap."""
CLOCKS_HZ = (200e6, 300e6)
"""UbiMoE's slowest clock on an Alveo card, and what the kernels of an Alveo card run at by default."""
FIXED_16: dict[str, int] = {"attention_tile": 16, "linear_units": 2, "activation_bits": 16}
"""Constants of the published 16-bit sources: words of 256 bit hold 16 activations; feed-forward layers have a linear
unit each. Blocks of weights are 16 x 16 and four queries share a pass, as by default."""
WITH_EXPERTS: dict[str, int] = {"experts": 16}
"""Constants of the published 32-bit sources, which are the defaults."""
SEARCH = "fpga-moe-vit.yaml"
EVALUATIONS = 160
ZCU102_MS, ZCU102_DSP = 25.76, 1850
U280_MS = 10.33


@reproduction("ubimoe", "UbiMoE: streaming attention beside a shared linear kernel on FPGAs")
def ubimoe() -> Iterable[Row]:
    """Time per image of published settings, DSP slices from the published formula, and a search under its budget."""
    small = _cycles("vit-small", FIXED_16, MANY)
    yield reproduced(
        "ViT-S, 16 bit, the published sources on an Alveo U50",
        "ms",
        26.4,
        _ms(small, *CLOCKS_HZ),
        f"{SOURCES}, README.md",
        note=f"clock not stated: band of 200 to 300 MHz; {small:,.0f} cycles per image, patch embedding not modelled",
    )
    for board, model, clock_hz, published_ms in (
        ("ZCU102", "vit-tiny", 300e6, 8.20),
        ("U280", "vit-small", 250e6, 11.66),
    ):
        cycles = [_cycles(model, _scaled(FIXED_16, times), images) for times in (1, 2) for images in (1, MANY)]
        yield reproduced(
            f"{model}, 16 bit, {board}",
            "ms",
            published_ms,
            _ms(max(cycles), clock_hz, least=min(cycles)),
            TABLES,
            note="setting not stated: the sources' own, which fill a third of a U50, or twice that; one image or many",
        )
    tiny = load_workload("m3vit-tiny")
    widths = (tiny, tiny.with_(head_dim=2 * tiny.head_dim, hidden=2 * (tiny.hidden or 0)))
    for board, clock_hz, published_ms in (("ZCU102", 300e6, ZCU102_MS), ("U280", 200e6, U280_MS)):
        cycles = [_cycles(width, WITH_EXPERTS, images) for width in widths for images in (1, MANY)]
        yield reproduced(
            f"M3ViT, 32-bit activations, {board}",
            "ms",
            published_ms,
            _ms(max(cycles), clock_hz, least=min(cycles)),
            TABLES,
            note="setting not stated: the sources' sample setting, both published widths, one image at a time to many",
        )
    yield from _resources(tiny)
    yield from _search()
    yield quoted("throughput over Edge-MoE on a ZCU102", "x", 1.34, "arXiv:2502.05602, abstract")
    yield quoted("energy efficiency over Edge-MoE on a ZCU102", "x", 1.75, "arXiv:2502.05602, abstract")


def _scaled(parameters: dict[str, int], times: int) -> dict[str, int]:
    """A setting with so many times its modules and units."""
    units = parameters.get("linear_units", HybridParameters().linear_units)
    return {**parameters, "linear_units": units * times, "streaming_modules": times}


def _resources(workload: Workload) -> Iterable[Row]:
    """DSP slices and block RAMs of the sample setting, with one to three linear units, beside those used."""
    designs = [HybridDesign(workload, HybridParameters(linear_units=units, **WITH_EXPERTS)) for units in (1, 3)]
    note = "setting not stated: the sources' sample setting with one to three shared linear units"
    dsp, rams = ([getattr(design, name) for design in designs] for name in ("dsp", "block_rams"))
    yield reproduced("DSP slices, ZCU102", "", ZCU102_DSP, (min(dsp), max(dsp)), TABLES, note=note)
    note = "every buffer in block RAM, Q, K and V twice; synthesis puts small ones elsewhere"
    yield reproduced("block RAMs, ZCU102", "", 458.0, (min(rams), max(rams)), TABLES, note=note)


def _search() -> Iterable[Row]:
    """The best design that a search in two stages finds with UbiMoE's DSP slices."""
    study = Study.from_yaml(Path(__file__).parent.parent / "configs" / SEARCH)
    with TemporaryDirectory() as folder:
        results = study.search(EVALUATIONS, Path(folder) / "s.sqlite", sampler="two_stage", jobs=0)
        best = results.best("image.seconds")["image.seconds"]
        count = len(results.rows())
    yield reproduced(
        "M3ViT on a ZCU102, best design found with no more DSP slices: no slower",
        "ms",
        (0.0, ZCU102_MS),
        float(best) * 1e3,
        TABLES,
        note=f"search in two stages, {count} designs simulated; the model is Edge-MoE's M3ViT, 192 wide",
    )


def _cycles(workload: Workload | str, parameters: dict[str, int], images: int) -> float:
    """Simulated cycles per image, of a workload or of a model by name."""
    chosen = load_workload(workload) if isinstance(workload, str) else workload
    return _simulated(chosen, tuple(parameters.items()), images)


@cache
def _simulated(workload: Workload, parameters: tuple[tuple[str, int], ...], images: int) -> float:
    graph = build(workload, HybridParameters(images=images, **dict(parameters)), None)
    return simulate(graph, timing_only=True, digest=False).cycles / images


def _ms(cycles: float, *clocks_hz: float, least: float | None = None) -> tuple[float, float]:
    """From the least cycles at the fastest clock to all of them at the slowest."""
    return (least or cycles) / max(clocks_hz) * 1e3, cycles / min(clocks_hz) * 1e3
