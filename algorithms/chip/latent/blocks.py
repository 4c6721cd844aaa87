"""Attention blocks on a chip: multi-head latent attention in every order of its operations, and plain blocks beside it.

`algorithms.chip.latent.orders` says what the orders are and `algorithms.chip.latent.plan` makes launches of them; here
they get names. Their values are the
results of all heads, which every order has in common, from the latent and the queries that the workload's seed draws.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from algorithms.chip.algorithm import TiledAlgorithm, chip_algorithm
from algorithms.chip.latent.attend import KeyCuts, attend
from algorithms.chip.latent.capacity import block_core_bytes
from algorithms.chip.latent.fit import BlockParameters, block_tiles, resolved_block
from algorithms.chip.latent.orders import Order, latent_program, plain_program
from algorithms.chip.latent.plan import BlockPlan, plan_block
from algorithms.chip.latent.program import Program, core_of
from algorithms.chip.latent.values import compute, draw_step, up_to_heads
from algorithms.chip.plan.plan import TilePlan
from algorithms.registry import ALGORITHMS, Tensors
from algorithms.workload.shape import FloatArray, Workload
from algorithms.workload.tensors import draw_tensors

if TYPE_CHECKING:
    from hwmodels.chips.accelerator import Accelerator

TILE_WITHOUT_CHIP = 64


class Block(TiledAlgorithm[BlockParameters]):
    """A block of attention between two hidden states."""

    def program(self, workload: Workload) -> Program:
        """The operations of the block, in order.

        Raises
        ------
        InputError
            A workload of another kind of attention.
        """
        raise NotImplementedError

    def scoped(self, workload: Workload, parameters: BlockParameters) -> Program:
        """`program`, or its attention alone."""
        program = self.program(workload)
        return program if parameters.scope == "block" else core_of(program)

    def resolved(self, workload: Workload, parameters: BlockParameters, chip: Accelerator) -> BlockParameters:
        """Parameters with tiles, splits and fusion decided for the chip."""
        return resolved_block(self.scoped(workload, parameters), workload.dtype, parameters, chip)

    def plan(self, workload: Workload, parameters: BlockParameters, chip: Accelerator) -> TilePlan:
        """One launch for each level of operations that need nothing of each other."""
        return self.block_plan(workload, parameters, chip).plan

    def block_plan(self, workload: Workload, parameters: BlockParameters, chip: Accelerator) -> BlockPlan:
        """The plan with counters of FLOP and bytes by what they are for."""
        program = self.scoped(workload, parameters)
        decided = resolved_block(program, workload.dtype, parameters, chip)
        tiles = block_tiles(program, workload.dtype, decided, chip)
        return plan_block(self.name, program, tiles, block_core_bytes(program, tiles, chip))


class LatentBlock(Block):
    """Multi-head latent attention in one order."""

    order: ClassVar[Order]

    def program(self, workload: Workload) -> Program:
        """The whole block in this order."""
        return latent_program(self.order, workload)

    def values(self, workload: Workload, parameters: BlockParameters, tensors: Tensors) -> FloatArray:
        """Results of all heads, computed in this order; of `tensors` nothing is needed, see `prepared`."""
        del tensors
        program = up_to_heads(self.program(workload))
        known = compute(program, *draw_step(program, workload.seed), cuts=_cuts(parameters))
        return known["heads"].transpose(0, 2, 1, 3)

    def prepared(self, workload: Workload, parameters: BlockParameters, tensors: Tensors) -> Tensors:
        """Queries, keys and values of all heads as the block makes them: expanded, whatever the order."""
        del parameters, tensors
        program = up_to_heads(latent_program("exp", workload))
        known = compute(program, *draw_step(program, workload.seed))
        rope = np.repeat(known["rope"][:, :, None], workload.heads, axis=2)
        q = np.concatenate([known["q_nope"], known["q_rope"]], axis=-1)
        k = np.concatenate([known["keys"], rope], axis=-1)
        return q.transpose(0, 2, 1, 3), k.transpose(0, 2, 1, 3), known["values"].transpose(0, 2, 1, 3)


@chip_algorithm("mla.exp", BlockParameters)
class Expanded(LatentBlock):
    """Latent attention with keys and values of all tokens expanded from the cached latent in every step."""

    order = "exp"


@chip_algorithm("mla.kvcache", BlockParameters)
class ExpandedCache(LatentBlock):
    """Latent attention with expanded keys and values in the cache."""

    order = "kvcache"


@chip_algorithm("mla.seq", BlockParameters)
class Sequential(LatentBlock):
    """Absorbed latent attention, projections applied one after the other (as FlashMLA, vLLM and SGLang do)."""

    order = "seq"


@chip_algorithm("mla.rc", BlockParameters)
class Recomputed(LatentBlock):
    """Absorbed latent attention, the composite W_UQ W_UK^T made anew in every step (arXiv:2506.02523)."""

    order = "rc"


@chip_algorithm("mla.ru", BlockParameters)
class Reused(LatentBlock):
    """Absorbed latent attention, the composite W_UQ W_UK^T made once and read in every step (arXiv:2506.02523)."""

    order = "ru"


@chip_algorithm("mla.rc2", BlockParameters)
class RecomputedBoth(LatentBlock):
    """Absorbed latent attention, both composites (W_UQ W_UK^T and W_UV W_O) made anew in every step."""

    order = "rc2"


@chip_algorithm("mla.ru2", BlockParameters)
class ReusedBoth(LatentBlock):
    """Absorbed latent attention, both composites (W_UQ W_UK^T and W_UV W_O) made once and read in every step."""

    order = "ru2"


class PlainBlock(Block):
    """Attention with its four projections; on a workload with latent attention, a plain layer in its place.

    That layer has the same heads, each as wide as the latent one's values.
    """

    kv_heads: ClassVar[int | None] = None

    def workload(self, workload: Workload) -> Workload:
        """The plain layer."""
        heads = workload.heads if self.kv_heads is None else self.kv_heads
        if workload.latent is None:
            return workload.with_(kv_heads=heads)
        width = workload.v_head_dim
        return workload.with_(latent=None, head_dim=width, v_head_dim=width, kv_heads=heads)

    def program(self, workload: Workload) -> Program:
        """The whole block."""
        return plain_program(self.workload(workload))

    def prepared(self, workload: Workload, parameters: BlockParameters, tensors: Tensors) -> Tensors:
        """The q, k and v given, keys and values repeated for all heads; drawn ones in place of latent attention."""
        del parameters
        layer = self.workload(workload)
        q, k, v = tensors if layer == workload else draw_tensors(layer)
        repeats = workload.kv_heads // layer.kv_heads
        return q, np.repeat(k, repeats, axis=1), np.repeat(v, repeats, axis=1)

    def values(self, workload: Workload, parameters: BlockParameters, tensors: Tensors) -> FloatArray:
        """The attention of the q, k and v given, tile by tile; projections leave no trace in it."""
        q, k, v = tensors
        return attend([(q, k)], v, q.shape[-1] ** -0.5, workload.mask, _cuts(parameters))[0]


@chip_algorithm("block.mha", BlockParameters)
class MultiHeadBlock(PlainBlock):
    """Multi-head attention with its projections: keys and values for every head."""


@chip_algorithm("block.gqa", BlockParameters)
class GroupedBlock(PlainBlock):
    """Grouped-query attention with its projections: the workload's KV heads, 8 in place of latent attention."""

    kv_heads = 8

    def workload(self, workload: Workload) -> Workload:
        """The plain layer."""
        return workload if workload.latent is None else super().workload(workload)


@chip_algorithm("block.mqa", BlockParameters)
class MultiQueryBlock(PlainBlock):
    """Multi-query attention with its projections: one KV head."""

    kv_heads = 1


def get_block(name: str) -> Block:
    """The block registered as ``name``, for those that want more of it than a plan.

    Raises
    ------
    InputError
        If there is none, with the nearest name.
    """
    return ALGORITHMS.get_kind(name, Block, "attention block")  # type: ignore[type-abstract]


def _cuts(parameters: BlockParameters) -> KeyCuts:
    return KeyCuts(parameters.tile_columns or TILE_WITHOUT_CHIP, parameters.splits or 1)
