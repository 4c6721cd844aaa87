"""Predicts rows of collectives on the links of the systems that have the GPU.

``bytes`` is the whole vector: what a rank reduces, or has when everything is gathered (nccl-tests' size).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Self, get_args

from algorithms.workload.changes import changed
from hwmodels.systems.collectives import Collective, exchange_on
from hwmodels.systems.text import load_system
from studies.validate.measured.rows.prediction import (
    Binned,
    GroupKey,
    RowPrediction,
    RowPredictor,
    UnsupportedRowError,
    predicts,
)
from studies.validate.measured.tables.table import MeasuredTable

SYSTEMS = {
    "a100_sxm4_80g": "dgx_a100",
    "h100_sxm5_80g": "dgx_h100",
    "h200_sxm_141g": "dgx_h200",
    "b200": "dgx_b200",
    "gb200": "nvl72",
}
"""Whose links are taken, by chip."""
NAMES = {"alltoall": "all_to_all"}
LIBRARY = ("nccl",)
"""Kernels of a general library, whose latency is one of the whole collective."""
LARGEST_CUSTOM_BYTES = 8 << 20
"""Of all-reduces of the stacks' own; larger vectors go to the library (vllm, custom_all_reduce.py, max_size; that of
sglang is the same, TensorRT-LLM's workspace holds as much)."""
HOST_S = {
    "SGLang_CustomAllReduce_eager": {"a100_sxm4_80g": 41e-6, "h100_sxm5_80g": 31e-6},
    "vLLM_custom_eager": {"a100_sxm4_80g": 45e-6, "h100_sxm5_80g": 22e-6},
}
"""What a host needs to call a collective that is launched by itself, which runs beside the links, by chip of its box:
medians of the rows marked calibrate of 1 MiB and less (ai-dynamo/aiconfigurator @ 095f58a, comm).
Those of a B200 are left out: sglang's are three, 65 us, and other rows that had been seen take 30."""
OTHER_HOST = "h100_sxm5_80g"
"""Whose host stands for those without such rows."""


@predicts("collectives", bins=(Binned("bytes", "bytes", (2**14, 2**20, 2**26)), Binned("num_gpus", "num_gpus")))
class CollectiveRows(RowPredictor):
    """All-reduce, all-gather, reduce-scatter and all-to-all of 2 to 8 GPUs."""

    def __init__(self, key: GroupKey, table: MeasuredTable) -> None:
        super().__init__(key, table)
        self.chip = key.chip()
        self.library = key.kernel in LIBRARY
        name = SYSTEMS.get(self.chip.name)
        self.system = load_system(name) if name else None

    def with_links(self, numbers: Mapping[str, float]) -> Self:
        """The same rows on levels with other ``numbers``."""
        other = copy.copy(self)
        if self.system is not None:
            levels = tuple(changed(level, numbers) for level in self.system.levels)
            other.system = replace(self.system, levels=levels)
        return other

    def _predict(self, row: int) -> RowPrediction:
        if self.system is None:
            raise UnsupportedRowError(f"no system is known that joins chips of {self.chip.name}")
        asked = str(self.table.words["collective"][row])
        collective = _collective(NAMES.get(asked, asked))
        chips, size = (int(self.table.numbers[name][row]) for name in ("num_gpus", "bytes"))
        library = self.library or size > LARGEST_CUSTOM_BYTES
        made = exchange_on(self.system.of(chips), collective, chips, float(size), library)
        hosts = HOST_S.get(self.key.kernel, {OTHER_HOST: 0.0})
        host_s = hosts.get(self.chip.name, hosts[OTHER_HOST])
        seconds = max(made.seconds, host_s)
        return RowPrediction(seconds * 1e6, self.system.name, "host" if host_s > made.seconds else made.algorithm)


def _collective(name: str) -> Collective:
    known: tuple[Collective, ...] = get_args(Collective)
    for collective in known:
        if collective == name:
            return collective
    raise UnsupportedRowError(f"collective {name!r} is not modelled")
