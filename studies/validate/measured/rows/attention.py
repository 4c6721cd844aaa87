"""Predicts rows of attention: prompts, one new token per sequence, and encoders without a cache."""

from __future__ import annotations

import copy
from abc import abstractmethod
from typing import Literal, Self

import numpy as np

from algorithms.chip.attention.serving import AttentionCall, ServedAttention
from algorithms.chip.plan.served import SERVED_KERNELS
from algorithms.workload.shape import Mask, Phase, Workload
from studies.validate.measured.rows.prediction import (
    Binned,
    FittedRows,
    GroupKey,
    RowPrediction,
    UnsupportedRowError,
    predicts,
)
from studies.validate.measured.tables.table import MeasuredTable, Numbers

FORMATS = {"bf16": "bfloat16", "fp16": "float16", "fp8": "float8_e4m3"}
Table = Literal["attention_prefill", "attention_decode", "attention_encoder", "mla_prefill", "mla_decode"]

LENGTHS = {"attention_prefill": "q_len", "attention_decode": "kv_len", "attention_encoder": "len"} | dict.fromkeys(
    ("mla_prefill", "mla_decode"), "kv_len"
)
"""The column of lengths of each table."""
BIN_EDGES = {"batch": (1.5, 4.5, 16.5, 64.5), "length": (256.5, 1024.5, 4096.5, 16384.5)}


def _bins(table: Table) -> tuple[Binned, ...]:
    return (
        Binned("batch", "batch", BIN_EDGES["batch"]),
        Binned("length", LENGTHS[table], BIN_EDGES["length"]),
        Binned("heads", "heads") if table.startswith("mla") else Binned("head_dim", "head_dim"),
    )


class ServedRows(FittedRows):
    """Rows of attention by the profile of the stack that called it."""

    def __init__(self, key: GroupKey, table: MeasuredTable) -> None:
        super().__init__(key, table)
        self.chip = key.chip()
        kernels = SERVED_KERNELS.find(key.table, key.stack, key.stack_version, key.kernel, self.chip)
        self.served = tuple(ServedAttention(kernel, self.chip) for kernel in kernels)

    def by(self, kernel: str, numbers: dict[str, float]) -> Self:
        """The same rows with other fitted numbers of one ``kernel``."""
        other = copy.copy(self)
        other.served = tuple(
            served.with_profile(served.profile.fitted_to(**numbers)) if served.kernel.name == kernel else served
            for served in self.served
        )
        return other

    def served_by(self, call: AttentionCall) -> ServedAttention:
        """The kernel that takes ``call``; raises UnsupportedRowError without one."""
        for served in self.served:
            if served.kernel.takes(call.number_format, call.workload.group_size):
                return served
        key = self.key
        if not self.served:
            raise UnsupportedRowError(f"there is no profile of {key.kernel!r} in {key.stack} on {self.chip.name}")
        what = f"{call.number_format}, {call.workload.group_size} query heads per KV head"
        raise UnsupportedRowError(f"no profile of {key.kernel!r} in {key.stack} on {self.chip.name} takes {what}")

    def kernel_of(self, row: int) -> str:
        """Name of the profile that predicts a row; raises UnsupportedRowError without one."""
        return self.served_by(self.call(row)).kernel.name

    @abstractmethod
    def call(self, row: int) -> AttentionCall:
        """What the row measured; raises UnsupportedRowError for a format that is not known."""

    def _predict(self, row: int) -> RowPrediction:
        call = self.call(row)
        served = self.served_by(call)
        found = served.estimate(call)
        return RowPrediction(found.seconds * 1e6, served.kernel.name, found.dominating)


@predicts("attention_prefill", bins=_bins("attention_prefill"))
@predicts("attention_decode", bins=_bins("attention_decode"))
@predicts("attention_encoder", bins=_bins("attention_encoder"))
class AttentionRows(ServedRows):
    """Prompts, one new token per sequence, and encoders."""

    def __init__(self, key: GroupKey, table: MeasuredTable) -> None:
        super().__init__(key, table)
        self.lengths: Numbers = table.numbers[LENGTHS[key.table]]
        self.heads = table.numbers["heads"]
        self.kv_heads = table.numbers.get("kv_heads", self.heads)
        self.window = table.numbers.get("window", np.zeros(len(table), dtype=np.int64))
        self.formats = table.words["attn_dtype"]
        self.cache_formats = table.words.get("kv_dtype")

    def call(self, row: int) -> AttentionCall:
        """What the row measured; raises UnsupportedRowError for a format that is not known."""
        length = int(self.lengths[row])
        decode = self.key.table == "attention_decode"
        mask: Mask = "full" if self.key.table == "attention_encoder" else "causal"
        phase: Phase = "decode" if decode else "prefill"
        cached = "" if self.cache_formats is None else number_format(str(self.cache_formats[row]))
        workload = Workload(
            name="",
            phase=phase,
            heads=int(self.heads[row]),
            kv_heads=int(self.kv_heads[row]),
            q_len=1 if decode else length,
            kv_len=length,
            head_dim=int(self.table.numbers["head_dim"][row]),
            mask=mask,
            dtype=number_format(str(self.formats[row])),
            batch=int(self.table.numbers["batch"][row]),
        )
        return AttentionCall(workload, cached, int(self.window[row]))


EXPANDED, LATENT = (192, 128), (576, 512)
"""Widths of keys and values of a head in prompts, and of the cached latent (DeepSeek-V3, arXiv:2412.19437, 4.2)."""


@predicts("mla_prefill", bins=_bins("mla_prefill"))
@predicts("mla_decode", bins=_bins("mla_decode"))
class LatentRows(ServedRows):
    """Kernels of latent attention: on expanded heads, or on the latent that all heads share; the profile says which."""

    def call(self, row: int) -> AttentionCall:
        """What the row measured; raises UnsupportedRowError for a format that is not known."""
        numbers = {name: int(column[row]) for name, column in self.table.numbers.items()}
        decode = self.key.table == "mla_decode"
        absorbed = any(served.kernel.text.call.shared_values for served in self.served)
        keys, values = LATENT if absorbed else EXPANDED
        workload = Workload(
            name="",
            phase="decode" if decode else "prefill",
            heads=numbers["heads"],
            kv_heads=1 if absorbed else numbers["heads"],
            q_len=numbers["q_len"],
            kv_len=numbers["kv_len"],
            head_dim=keys,
            v_head_dim=values,
            mask="causal",
            dtype=number_format(str(self.table.words["mla_dtype"][row])),
            batch=numbers["batch"],
        )
        return AttentionCall(workload, number_format(str(self.table.words["kv_dtype"][row])))


def number_format(name: str) -> str:
    """The format that a table calls ``name``; raises UnsupportedRowError for one that is not modelled."""
    if name not in FORMATS:
        raise UnsupportedRowError(f"number format {name!r} is not modelled")
    return FORMATS[name]
