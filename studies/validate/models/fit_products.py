"""Two rates of products of a chip, fitted: ``python -m studies.validate.models.fit_products --help``.

Only rows marked ``calibrate`` are read for the fit; the error is that on all others. Weights that fit the caches are
left out: such tables repeat a product, so that its weights lie there, as they never do within a model. What is printed
stands in ``algorithms/models/steps/rates.yaml``.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from algorithms.chip.layers.formats import weight_format
from algorithms.chip.layers.gemm import Gemm
from algorithms.chip.timing.mapping import time_launch
from algorithms.models.blocks import Attention, FeedForward
from algorithms.models.model import Model
from algorithms.models.steps.rates import Rates, rates_of
from algorithms.models.text import load_model
from algorithms.workload.shape import DTYPE_BYTES
from hwmodels.chips.accelerator import Accelerator, load_accelerator

SHARES = tuple(share / 100 for share in range(50, 101))
FEW_ROWS = 128
"""Up to so many rows a product waits for its weights."""


@dataclass(frozen=True)
class Product:
    """A measured product of so many rows, columns and depth."""

    rows: int
    columns: int
    depth: int
    seconds: float
    fitted: bool


def products(path: Path, gpu: str, model: str, preset: Model) -> list[Product]:
    """Rows of the four products of a layer on one chip."""
    shapes = layer_shapes(preset)
    found = []
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if (row["gpu"], row["model"], row["tp"]) == (gpu, model, "1") and row["layer"] in shapes:
                seconds = float(row["time_us"]) * 1e-6
                shape = shapes[row["layer"]]
                found.append(Product(int(row["tokens"]), *shape, seconds, row["split"] == "calibrate"))
    return found


def layer_shapes(model: Model) -> dict[str, tuple[int, int]]:
    """Columns and depth of the products of a layer, by the names of the table."""
    decoder = model.decoder
    if decoder is None:
        raise ValueError(f"{model.name} has no decoder")
    attention = next(b for layer in decoder.runs for b in layer.blocks if isinstance(b, Attention))
    feed = next(b for layer in decoder.runs for b in layer.blocks if isinstance(b, FeedForward))
    q, kv = attention.heads * attention.head_dim, 2 * attention.groups * attention.head_dim
    return {
        "qkv_proj": (q + kv, decoder.width),
        "o_proj": (decoder.width, q),
        "gate_up_proj": (2 * feed.inner, decoder.width),
        "down_proj": (decoder.width, feed.inner),
    }


def errors(rows: Sequence[Product], chip: Accelerator, rates: Rates) -> list[float]:
    """Simulated over measured, minus 1."""
    return [_seconds(row, chip, rates.bandwidth, rates.products) / row.seconds - 1 for row in rows]


@cache
def _seconds(row: Product, chip: Accelerator, bandwidth: float, share: float) -> float:
    rates = replace(rates_of(chip), bandwidth=bandwidth, products=share)
    gemm = Gemm("product", row.rows, row.columns, row.depth, weight_format("bfloat16"), "bfloat16")
    run = time_launch(gemm.launch(chip), chip, rates.product("bfloat16", "graph"), "symmetric")
    return run.seconds + rates.graph_fixed_s


def fitted(rows: Sequence[Product], chip: Accelerator) -> Rates:
    """Shares with the least mean of absolute errors: of the memory's rate on few rows, then of the arrays' on many."""
    few = [row for row in rows if row.rows <= FEW_ROWS]
    many = [row for row in rows if row.rows > FEW_ROWS]
    rates = rates_of(chip)
    rates = _best((replace(rates, bandwidth=share) for share in SHARES), few, chip)
    return _best((replace(rates, products=share) for share in SHARES), many, chip)


def _best(tried: Iterable[Rates], rows: Sequence[Product], chip: Accelerator) -> Rates:
    return min(tried, key=lambda rates: statistics.fmean(map(abs, errors(rows, chip, rates))))


def main() -> None:
    """Fit, and print what the rates are and how far off rows that were not read are."""
    parser = argparse.ArgumentParser(description="Two rates of products of a chip, fitted on rows marked for it.")
    parser.add_argument("path", type=Path, help="table of layers, packed by gzip")
    parser.add_argument("gpu", help="as the table calls it")
    parser.add_argument("model", help="as the table calls it")
    parser.add_argument("preset", help="preset of the model")
    parser.add_argument("chip", help="preset of the chip")
    given = parser.parse_args()
    chip = load_accelerator(given.chip)
    cached = sum(tier.capacity_bytes for tier in chip.caches)
    found = products(given.path, given.gpu, given.model, load_model(given.preset))
    rows = [row for row in found if row.columns * row.depth * DTYPE_BYTES["bfloat16"] > cached]
    rates = fitted([row for row in rows if row.fitted], chip)
    held = errors([row for row in rows if not row.fitted], chip, rates)
    sys.stdout.write(
        f"{chip.name}: bandwidth {rates.bandwidth:.2f}, products {rates.products:.2f}; {len(held)} rows that were not "
        f"read: mean of absolute errors {statistics.fmean(map(abs, held)):.3f}, bias {statistics.fmean(held):+.3f}\n"
    )


if __name__ == "__main__":
    main()
