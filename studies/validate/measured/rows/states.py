"""Predicts rows of gated delta layers: convolutions and recurrences of Qwen3.5 models, a token at a time and prompts.

How they were measured (collector/*/collect_gdn.py of ai-dynamo/aiconfigurator): a replayed graph holds the call on the
same tensors again and again, so that what fits into the caches is there. Rows are single kernels; a layer's products
with weights are rows of products.
"""

from __future__ import annotations

import copy
from typing import Self

from algorithms.state.served import SERVED_STATES, ServedState
from studies.validate.measured.rows.prediction import (
    Binned,
    FittedRows,
    GroupKey,
    RowPrediction,
    UnsupportedRowError,
    predicts,
)
from studies.validate.measured.tables.table import MeasuredTable


@predicts(
    "gated_delta_net",
    bins=(
        Binned("batch", "batch", (1.5, 4.5, 16.5, 64.5)),
        Binned("length", "seq_len", (1.5, 512.5, 4096.5, 16384.5)),
        Binned("heads", "num_v_heads", (4.5, 16.5, 32.5)),
    ),
)
class StateRows(FittedRows):
    """Rows whose profile is one of ``served_states``."""

    def __init__(self, key: GroupKey, table: MeasuredTable) -> None:
        super().__init__(key, table)
        self.chip = key.chip()
        self.served = SERVED_STATES.first(key.table, key.stack, key.stack_version, key.kernel, self.chip)

    def by(self, kernel: str, numbers: dict[str, float]) -> Self:
        """The same rows with other fitted numbers of one ``kernel``."""
        other = copy.copy(self)
        if self.served is not None and self.served.name == kernel:
            other.served = self.served.with_profile(self.served.profile.fitted_to(**numbers))
        return other

    def kernel_of(self, row: int) -> str:
        """Name of the profile that predicts a row; raises UnsupportedRowError without one."""
        return self._known().name

    def _known(self) -> ServedState:
        if self.served is None:
            key = self.key
            raise UnsupportedRowError(f"there is no profile of {key.kernel!r} in {key.stack} on {self.chip.name}")
        return self.served

    def _predict(self, row: int) -> RowPrediction:
        served = self._known()
        numbers = self.table.numbers
        batch, tokens = int(numbers["batch"][row]), int(numbers["seq_len"][row])
        sizes = ("num_k_heads", "num_v_heads", "head_k_dim", "head_v_dim")
        key_heads, value_heads, key_dim, value_dim = (int(numbers[name][row]) for name in sizes)
        call = served.call(batch, tokens, key_heads, value_heads, key_dim, value_dim)
        found = served.estimate(call, self.chip)
        return RowPrediction(found.seconds * 1e6, served.name, found.dominating)
