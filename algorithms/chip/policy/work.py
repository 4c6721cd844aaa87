"""Work of a KV policy beside attention, as launches: rankings, scores, metadata, a second pass over the keys.

A decision has to be spread over cores to be fast, and has to wait for whom it compares: work that needs all heads of a
layer, all layers or the host cannot ride in the attention kernel and is a launch of its own. Products go to the matrix
array, comparisons and additions to the vector lanes, and a chain of dependent operations takes a cycle per link.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from algorithms.chip.plan.parameters import cached_bytes
from algorithms.chip.plan.plan import Launch, Matmul, TileStep, WorkItem
from algorithms.kv.cost import BARRIERS, Barrier, CacheShape, ScoreExport, StepCost, Work
from algorithms.rounding import ceil_div
from hwmodels.chips.accelerator import Accelerator

_ITEM_BYTES = 32 * 1024
"""Metadata that a work item reads at least before it is worth another one."""
_ITEM_OPERATIONS = 32 * 1024
"""Operations, likewise."""
_STEP_BYTES = 16 * 1024
"""Metadata read per tile step."""


@dataclass(frozen=True)
class Amount:
    """Work added up, in whole operations and bytes.

    Parameters
    ----------
    macs, exps, operations
        Operations on the matrix array, the exp unit and the vector lanes.
    load_bytes, store_bytes
        Metadata moved.
    depth
        Dependent operations in a row.
    """

    macs: int = 0
    exps: int = 0
    operations: int = 0
    load_bytes: int = 0
    store_bytes: int = 0
    depth: int = 0

    @classmethod
    def of(cls, works: Iterable[Work], copies: float = 0.0) -> Amount:
        """The sum of ``works``; ``copies`` bytes are read and written once. Chains follow one another."""
        works = tuple(works)
        return cls(
            macs=sum(work.macs for work in works),
            exps=sum(work.exps for work in works),
            operations=sum(work.adds + work.compares for work in works),
            load_bytes=round(sum(work.read_bytes for work in works) + copies),
            store_bytes=round(sum(work.write_bytes for work in works) + copies),
            depth=sum(work.serial_depth for work in works),
        )

    def times(self, sequences: int) -> Amount:
        """The amount of so many sequences; their chains run side by side."""
        return Amount(
            self.macs * sequences,
            self.exps * sequences,
            self.operations * sequences,
            self.load_bytes * sequences,
            self.store_bytes * sequences,
            self.depth,
        )

    @property
    def nothing(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.macs or self.exps or self.operations or self.load_bytes or self.store_bytes)

    def items(self, chip: Accelerator, rows: int, shape: CacheShape) -> tuple[tuple[WorkItem, int], ...]:
        """The amount in equal work items.

        Parameters
        ----------
        rows
            Decisions that need nothing of each other; as many items at least.
        shape
            Products are those of the query rows of a group with keys or their summaries.
        """
        depth = shape.group * shape.head_dim
        wanted = max(
            rows,
            ceil_div(self.load_bytes + self.store_bytes, _ITEM_BYTES),
            ceil_div(self.macs + self.operations + self.exps, _ITEM_OPERATIONS),
        )
        items = max(1, min(chip.cores, wanted))
        steps = max(1, ceil_div(self.load_bytes, items * _STEP_BYTES))
        columns = ceil_div(self.macs, depth * items * steps)
        step = TileStep(
            load_bytes=ceil_div(self.load_bytes, items * steps),
            scores=(Matmul(shape.group, columns, shape.head_dim),) if columns else (),
            exps=ceil_div(self.exps, items * steps),
            vector_ops=ceil_div(self.operations, items * steps),
        )
        lanes = chip.core.vector_flops_per_cycle / 2
        chain = round(self.depth * lanes) - step.vector_ops * steps
        return ((WorkItem(((step, steps),), 0, max(0, chain), ceil_div(self.store_bytes, items)), items),)


@dataclass(frozen=True)
class Tasks:
    """Work of a layer around its attention, by when it can happen.

    Parameters
    ----------
    before, after
        Launches of this layer; work that all layers or the host decide is not among them.
    fused
        Work that rides in the attention launch.
    """

    before: tuple[Launch, ...]
    fused: Amount
    after: tuple[Launch, ...]


def layer_tasks(cost: StepCost, shape: CacheShape, chip: Accelerator, batch: int, matrix_format: str) -> Tasks:
    """The launches of one layer."""
    own = [work for work in cost.work if work.barrier not in ("model", "host")]
    fused = Amount.of(work for work in own if work.moment == "fused").times(batch)
    before = [work for work in own if work.moment == "before"]
    after = [work for work in own if work.moment == "after"]
    copied = sum(copy.bytes for copy in cost.copies)
    launches = list(_launches("before", before, shape, chip, batch, matrix_format))
    later = list(_launches("after", after, shape, chip, batch, matrix_format))
    if copied:
        moved = Amount.of((), copied).times(batch)
        later.append(_launch("compaction", moved, shape.kv_heads * batch, shape, chip, matrix_format))
    return Tasks(tuple(launches), fused, tuple(later))


def model_launches(
    costs: Sequence[StepCost], moment: str, shape: CacheShape, chip: Accelerator, batch: int, matrix_format: str
) -> tuple[tuple[Launch, ...], bool]:
    """Work that needs all layers, once per step, and whether the host takes part.

    What all layers decide is their work together; what the host decides is decided once, for all layers.
    """
    of_model = [work for cost in costs for work in cost.work if work.barrier == "model" and work.moment == moment]
    of_host = [work for work in (costs[0].work if costs else ()) if work.barrier == "host" and work.moment == moment]
    launches = _launches(moment, [*of_model, *of_host], shape, chip, batch, matrix_format)
    return tuple(launches), bool(of_host)


def _launches(
    moment: str, works: Sequence[Work], shape: CacheShape, chip: Accelerator, batch: int, matrix_format: str
) -> Iterable[Launch]:
    """One launch per barrier, the narrowest first: none and group wait for nobody outside a KV head."""

    def width(work: Work) -> Barrier:
        return "group" if work.barrier == "none" else work.barrier

    for barrier, together in groupby(sorted(works, key=lambda work: BARRIERS.index(width(work))), key=width):
        amount = Amount.of(together).times(batch)
        rows = shape.kv_heads * batch if barrier == "group" else batch
        if not amount.nothing:
            yield _launch(f"{moment}: {barrier}", amount, rows, shape, chip, matrix_format)


def _launch(name: str, amount: Amount, rows: int, shape: CacheShape, chip: Accelerator, matrix_format: str) -> Launch:
    items = amount.items(chip, rows, shape)
    loaded = sum(item.total("load_bytes") * times for item, times in items)
    return Launch(name, items, loaded, matrix_format=matrix_format)


def exported_bytes(export: ScoreExport, batch: int) -> int:
    """Raw scores of all rows, as a kernel that exports them writes them."""
    return round(export.column_bytes) * export.rows * batch


def exports_scores(export: ScoreExport, batch: int) -> bool:
    """Whether writing raw scores and reading them again moves fewer bytes than a second pass over the keys."""
    return 2 * exported_bytes(export, batch) <= round(export.key_bytes) * batch


def probabilities_launch(
    export: ScoreExport, shape: CacheShape, chip: Accelerator, batch: int, matrix_format: str
) -> Launch:
    """The launch that a fused kernel makes necessary: exponentials of exported scores, or of a second ``q k^T``."""
    pairs = export.macs // shape.head_dim * batch
    if exports_scores(export, batch):
        amount = Amount(exps=pairs, operations=2 * pairs, load_bytes=exported_bytes(export, batch))
        launch = _launch("probabilities", amount, shape.kv_heads * batch, shape, chip, matrix_format)
        passing = amount.load_bytes
        return replace(launch, unique_load_bytes=launch.unique_load_bytes - cached_bytes(chip, passing))
    amount = Amount(
        macs=export.macs * batch,
        exps=pairs,
        operations=2 * pairs,
        load_bytes=round(export.key_bytes) * batch,
        store_bytes=round(export.column_bytes) * batch,
    )
    return _launch("second pass", amount, shape.kv_heads * batch, shape, chip, matrix_format)
