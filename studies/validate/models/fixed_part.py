"""Fixed parts of short products, as rows show them: ``python -m studies.validate.models.fixed_part --help``.

A fixed part is what a launch takes beyond what is simulated of it: the gap before it, its ramp-up and its end. Only
rows marked ``calibrate`` are read. What is printed is cited in ``algorithms/models/steps/rates.yaml``.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import statistics
import sys
from pathlib import Path

from algorithms.chip.layers.formats import weight_format
from algorithms.chip.layers.gemm import Gemm
from algorithms.chip.timing.mapping import time_launch
from algorithms.models.steps.rates import rates_of
from hwmodels.chips.accelerator import Accelerator, load_accelerator

SHORT_S = 10e-6
"""Products up to so long have a fixed part that is much of their time."""


def fixed_parts(path: Path, gpu: str, stack: str, chip: Accelerator) -> list[float]:
    """Seconds that the short products of 16 bits of a stack took beyond what is simulated of them.

    Parameters
    ----------
    path
        AIConfigurator's products (``gemm.csv.gz``), packed by gzip.
    gpu, stack
        As the table calls them.
    """
    rates, form = rates_of(chip), weight_format("bfloat16")
    found = []
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            seconds = float(row["time_us"]) * 1e-6
            named = (row["gpu"], row["stack"], row["dtype"], row["split"])
            if named == (gpu, stack, "bf16", "calibrate") and seconds <= SHORT_S:
                gemm = Gemm("product", int(row["m"]), int(row["n"]), int(row["k"]), form, "bfloat16")
                run = time_launch(gemm.launch(chip), chip, rates.product("bfloat16", "graph"), "symmetric")
                found.append(seconds - run.seconds)
    return found


def main() -> None:
    """Print the median and the quartiles."""
    parser = argparse.ArgumentParser(description="Fixed parts of short products, from rows marked calibrate.")
    parser.add_argument("path", type=Path, help="table of products, packed by gzip")
    parser.add_argument("gpu", help="as the table calls it")
    parser.add_argument("stack", help="as the table calls it")
    parser.add_argument("chip", help="preset of the chip")
    given = parser.parse_args()
    found = fixed_parts(given.path, given.gpu, given.stack, load_accelerator(given.chip))
    if len(found) < 2:
        parser.error(f"{given.path} has {len(found)} short rows of {given.stack} on {given.gpu}")
    low, median, high = (1e6 * each for each in statistics.quantiles(found, n=4))
    sys.stdout.write(
        f"{given.chip}: {len(found)} rows, median {median:.2f} us, quartiles {low:.2f} and {high:.2f} us\n"
    )


if __name__ == "__main__":
    main()
