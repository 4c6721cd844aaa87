"""A prefix that all sequences share: attended once for the whole batch, the rest per sequence, joined by log-sum-exp.

RelayAttention (arXiv:2402.14808): the keys and values of a shared system prompt of s tokens are read once per step and
not once per sequence, s + b c instead of b (s + c) tokens for b sequences with c tokens of their own. Queries of all
sequences share tiles over the prefix, so that decoding becomes a matrix product there.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from algorithms.chip.algorithm import TiledAlgorithm, chip_algorithm
from algorithms.chip.attention.decode import SplitParameters, resolved_splits, split_plan
from algorithms.chip.attention.flash import core_bytes, launch_of
from algorithms.chip.attention.splits import Split, merge_launch, partial_bytes
from algorithms.chip.plan.online import merged
from algorithms.chip.plan.parameters import cached_bytes, tiling_of
from algorithms.chip.plan.plan import Launch, TilePlan
from algorithms.registry import Tensors
from algorithms.workload.levers import knob
from algorithms.workload.shape import FloatArray, Workload
from hwmodels.reading.errors import InputError, Problem

if TYPE_CHECKING:
    from hwmodels.chips.accelerator import Accelerator


@dataclass(frozen=True)
class PrefixParameters(SplitParameters):
    """`SplitParameters` for what each sequence has of its own, and those of the prefix."""

    prefix_len: int = field(default=0, metadata=knob("first keys that all sequences share; 0: none", "token"))
    prefix_tile_rows: int = field(
        default=0, metadata=knob("query rows of a tile over the prefix; 0: from the chip's local memory")
    )
    prefix_splits: int = field(default=0, metadata=knob("parts of the prefix; 0: as many as fill the cores"))


@dataclass(frozen=True)
class _Piece:
    """Attention over the prefix, or over the keys that each sequence has of its own."""

    name: str
    workload: Workload
    parameters: SplitParameters

    @property
    def split(self) -> Split:
        return Split.of(tiling_of(self.workload, self.parameters), self.parameters.splits or 1)

    def launch(self, chip: Accelerator) -> Launch:
        """The launch of every part of its keys, with float32 outputs and log-sum-exps."""
        split = self.split
        kept = cached_bytes(chip, partial_bytes(self.workload, len(split.parts)))
        return launch_of(self.name, split.tiling, self.parameters, split.items(self.parameters, partial=True), kept)

    def values(self, q: FloatArray, k: FloatArray, v: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Outputs and log-sum-exps of every part, `(parts, batch, heads, q_len, ...)`."""
        split = self.split
        outputs, log_sum_exps = split.values(q, k, v)
        restored = [split.tiling.restored(part) for part in outputs]
        return np.stack(restored), np.stack([split.tiling.restored(part[..., None])[..., 0] for part in log_sum_exps])


@chip_algorithm("prefix.relay", PrefixParameters)
class Relay(TiledAlgorithm[PrefixParameters]):
    """A shared prefix attended once for all sequences, merged by log-sum-exp (RelayAttention)."""

    def resolved(self, workload: Workload, parameters: PrefixParameters, chip: Accelerator) -> PrefixParameters:
        """Tile sizes and splits of both parts for the chip."""
        if not _has_prefix(workload, parameters):
            return resolved_splits(workload, parameters, chip)
        asked = parameters
        parameters = resolved_splits(_own(workload, parameters), parameters, chip)
        piece = _pieces(workload, parameters)[0]
        automatic = replace(piece.parameters, stages=asked.stages, next_item=asked.next_item)
        of_prefix = resolved_splits(piece.workload, automatic, chip)
        if of_prefix.next_item != parameters.next_item:  # only one of them has room for loads ahead
            return self.resolved(workload, replace(asked, next_item="stored"), chip)
        return replace(
            parameters,
            prefix_tile_rows=of_prefix.tile_rows,
            prefix_splits=of_prefix.splits,
            stages=min(parameters.stages, of_prefix.stages),  # so that both fit
        )

    def plan(self, workload: Workload, parameters: PrefixParameters, chip: Accelerator) -> TilePlan:
        """The prefix, what each sequence has of its own, and the merge of both."""
        parameters = self.resolved(workload, parameters, chip)
        if not _has_prefix(workload, parameters):
            return split_plan(self.name, workload, parameters, chip)
        pieces = _pieces(workload, parameters)
        parts = sum(len(piece.split.parts) for piece in pieces)
        prefix = pieces[0].workload
        launches = [piece.launch(chip) for piece in pieces]
        compulsory = workload.compulsory_bytes - (workload.batch - 1) * (prefix.k_bytes + prefix.v_bytes)
        return TilePlan(
            algorithm=self.name,
            launches=(*launches, merge_launch(workload, parts, sum(launch.kept_store_bytes for launch in launches))),
            useful_flops=workload.attention_flops,
            useful_exps=workload.exponentials,
            compulsory_bytes=compulsory,
            capacity_bytes=compulsory + partial_bytes(workload, parts),
            core_bytes=max(core_bytes(piece.workload, piece.parameters, chip) for piece in pieces),
        )

    def prepared(self, workload: Workload, parameters: PrefixParameters, tensors: Tensors) -> Tensors:
        """Tensors whose sequences all start with the keys and values of the first."""
        q, k, v = (np.array(tensor) for tensor in tensors)
        for tensor in (k, v):
            tensor[:, :, : parameters.prefix_len] = tensor[:1, :, : parameters.prefix_len]
        return q, k, v

    def values(self, workload: Workload, parameters: PrefixParameters, tensors: Tensors) -> FloatArray:
        """Reads the prefix of the first sequence only, for the queries of all."""
        q, k, v = tensors
        if not _has_prefix(workload, parameters):
            return Split.of(tiling_of(workload, parameters), parameters.splits or 1).merged_values(q, k, v)
        length = parameters.prefix_len
        prefix, own = _pieces(workload, parameters)
        queries = q.swapaxes(0, 1).reshape(prefix.workload.q_shape)
        first, second = (
            prefix.values(queries, k[:1, :, :length], v[:1, :, :length]),
            own.values(q, k[:, :, length:], v[:, :, length:]),
        )
        by_sequence = [
            part.reshape(len(part), workload.heads, workload.batch, workload.q_len, *part.shape[4:]).swapaxes(1, 2)
            for part in first
        ]
        outputs, log_sum_exps = (np.concatenate(pair) for pair in zip(by_sequence, second, strict=True))
        return merged(outputs, log_sum_exps)[0]


def _has_prefix(workload: Workload, parameters: PrefixParameters) -> bool:
    """Whether there is a prefix; raises InputError for one that leaves too few keys."""
    own = workload.kv_len - parameters.prefix_len
    needed = workload.q_len if workload.mask == "causal" else 1
    if parameters.prefix_len and own < needed:
        raise InputError(
            Problem(
                f"must leave each sequence {needed} of its {workload.kv_len} keys (got {parameters.prefix_len}): "
                "all queries see the whole prefix",
                field="prefix_len",
            )
        )
    return parameters.prefix_len > 0


def _own(workload: Workload, parameters: PrefixParameters) -> Workload:
    """Attention over what each sequence has of its own."""
    return workload.with_(kv_len=workload.kv_len - parameters.prefix_len)


def _pieces(workload: Workload, parameters: PrefixParameters) -> tuple[_Piece, _Piece]:
    """The prefix, with the queries of all sequences side by side, and the rest."""
    queries = workload.batch * workload.q_len
    shared = workload.with_(phase="prefill", batch=1, q_len=queries, kv_len=parameters.prefix_len, mask="full")
    of_prefix = replace(parameters, tile_rows=parameters.prefix_tile_rows, splits=parameters.prefix_splits)
    return _Piece("prefix", shared, of_prefix), _Piece("own", _own(workload, parameters), parameters)
