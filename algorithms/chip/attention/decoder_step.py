"""One decode step of a whole decoder-only model, kernel by kernel, as unfused code launches it.

Projections are products of one row per sequence with the weights, columns shared out over all cores; attention is
split-KV decode. Heads that keep only sinks and a window attend apart, as in DuoAttention (arXiv:2410.10819), whose
evaluation code (mit-han-lab/duo-attention, duo_attn/patch) has the kernels named here: FlashInfer's norm and rotary
embedding, copies into a static cache, FlashAttention over full and over streaming heads.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from algorithms.chip.attention.decode import SplitParameters, resolved_splits, split_plan
from algorithms.chip.attention.operators import Elementwise, OperatorParameters, Product
from algorithms.chip.plan.plan import Launch, TilePlan
from algorithms.rounding import ceil_div, round_up
from algorithms.workload.shape import DTYPE_BYTES, Workload

if TYPE_CHECKING:
    from hwmodels.chips.accelerator import Accelerator

STEP = "decoder.step"
"""Name of its plans; it is no algorithm of the register, which takes a workload."""
STEP_DEPTH = 512
"""Elements of the sum that a step of a projection loads weights for."""


@dataclass(frozen=True)
class Decoder:
    """Sizes of a decoder-only model with gated feed-forward layers.

    Parameters
    ----------
    name, source
        Name for people, and where the sizes were published.
    layers, hidden, intermediate, vocabulary
        Number of layers, width of the residual stream and of the feed-forward layers, rows of the output projection.
    heads, kv_heads, head_dim
        Query heads, KV heads and width of a head.
    """

    name: str
    source: str
    layers: int
    hidden: int
    intermediate: int
    vocabulary: int
    heads: int
    kv_heads: int
    head_dim: int

    @property
    def weight_elements(self) -> int:
        """Weights read in every step: all projections and the output projection, not the embedding."""
        attention = self.hidden * self.head_dim * 2 * (self.heads + self.kv_heads)
        return self.layers * (attention + 3 * self.hidden * self.intermediate) + self.hidden * self.vocabulary


DECODERS = {
    model.name: model
    for model in (
        Decoder("llama2-7b", "config.json of meta-llama/Llama-2-7b-hf", 32, 4096, 11008, 32000, 32, 32, 128),
        Decoder("llama3-8b", "config.json of meta-llama/Meta-Llama-3-8B", 32, 4096, 14336, 128256, 32, 8, 128),
        Decoder("mistral-7b", "config.json of mistralai/Mistral-7B-v0.1", 32, 4096, 14336, 32000, 32, 8, 128),
    )
}
"""Models by name."""


@dataclass(frozen=True)
class Context:
    """The tokens that a step attends.

    Parameters
    ----------
    tokens
        Tokens in the cache of every full head.
    full_share
        Share of the KV heads that attend to all of them.
    window
        Sinks and recent tokens that the others attend to.
    batch
        Number of sequences.
    """

    tokens: int
    full_share: float = 1.0
    window: int = 0
    batch: int = 1


def decoder_step(
    model: Decoder,
    context: Context,
    chip: Accelerator,
    parameters: SplitParameters,
    dtype: str = "float16",
) -> TilePlan:
    """The plan of one step: all launches, in order.

    Raises
    ------
    InputError
        If parameters do not fit.
    simulator.CapacityError
        If tiles do not fit into a core.
    """
    step = _Step(model, context, chip, parameters, dtype)
    launches = step.layer() * model.layers + step.head()
    size = DTYPE_BYTES[dtype]
    cache = 2 * model.layers * model.head_dim * context.batch * step.cached_head_tokens * size
    weights = model.weight_elements * size
    scores = model.layers * context.batch * step.cached_head_tokens * (model.heads // model.kv_heads)
    return TilePlan(
        algorithm=STEP,
        launches=launches,
        useful_flops=2 * context.batch * model.weight_elements + 4 * model.head_dim * scores,
        useful_exps=scores,
        compulsory_bytes=weights + cache,
        capacity_bytes=weights + cache,
        core_bytes=max(plan.core_bytes for plan in step.attention_plans()),
    )


@dataclass(frozen=True)
class _Step:
    model: Decoder
    context: Context
    chip: Accelerator
    parameters: SplitParameters
    dtype: str

    @property
    def full_heads(self) -> int:
        """KV heads that attend to the whole context."""
        return round(self.model.kv_heads * self.context.full_share)

    @property
    def cached_head_tokens(self) -> int:
        """Tokens attended, added up over the KV heads of a layer."""
        full = self.full_heads
        window = min(self.context.window, self.context.tokens)
        return full * self.context.tokens + (self.model.kv_heads - full) * window

    def attention_plans(self) -> tuple[TilePlan, ...]:
        """Plans of the attention of full heads, and of those with a window."""
        streaming = self.model.kv_heads - self.full_heads
        parts = ((self.full_heads, self.context.tokens), (streaming, min(self.context.window, self.context.tokens)))
        return tuple(self._attention(heads, tokens) for heads, tokens in parts if heads and tokens)

    def layer(self) -> tuple[Launch, ...]:
        """Attention and feed-forward part of a layer."""
        model, width = self.model, self.model.hidden
        queries, keys = model.heads * model.head_dim, model.kv_heads * model.head_dim
        streaming = (model.kv_heads - self.full_heads) * model.head_dim
        held = streaming * min(self.context.window, self.context.tokens)
        attention = tuple(launch for plan in self.attention_plans() for launch in plan.launches)
        append = (self._pass("append", keys),) * 2
        window = (
            *(self._pass("concatenate", held),) * 2,
            *(self._pass("shift", held // 2),) * 4,
            self._pass("join heads", queries),
        )
        return (
            self._pass("norm", width, reads=2, ops=4),
            self._project("q", queries, width),
            *(self._project("kv", keys, width),) * 2,
            *(self._pass("position", 1),) * 2,
            self._pass("rotary", queries + keys, ops=4),
            *append,
            *attention,
            *(window if held else ()),
            self._project("o", width, queries),
            self._pass("add", width, reads=2),
            self._pass("norm", width, reads=2, ops=4),
            *(self._project("gate and up", model.intermediate, width),) * 2,
            self._pass("silu", model.intermediate, ops=4),
            self._pass("multiply", model.intermediate, reads=2),
            self._project("down", width, model.intermediate),
            self._pass("add", width, reads=2),
        )

    def head(self) -> tuple[Launch, ...]:
        """Last norm and output projection."""
        model = self.model
        return (
            self._pass("norm", model.hidden, reads=2, ops=4),
            self._project("vocabulary", model.vocabulary, model.hidden),
        )

    def _attention(self, kv_heads: int, tokens: int) -> TilePlan:
        group = self.model.heads // self.model.kv_heads
        workload = Workload(
            name=self.model.name,
            phase="decode",
            heads=kv_heads * group,
            kv_heads=kv_heads,
            q_len=1,
            kv_len=tokens,
            head_dim=self.model.head_dim,
            mask="full",
            dtype=self.dtype,
            batch=self.context.batch,
        )
        return split_plan(STEP, workload, resolved_splits(workload, self.parameters, self.chip), self.chip)

    def _project(self, name: str, columns: int, depth: int) -> Launch:
        """A row per sequence with a matrix whose columns are shared out evenly over the cores."""
        core = self.chip.core
        width = round_up(ceil_div(columns, self.chip.cores), core.matrix_columns)
        rows = round_up(self.context.batch, core.matrix_rows)
        tiles = OperatorParameters(tile_rows=rows, tile_columns=width, tile_depth=min(STEP_DEPTH, depth))
        return Product(name, 1, self.context.batch, columns, depth).launch(tiles, self.dtype)

    def _pass(self, name: str, elements: int, reads: int = 1, ops: int = 2) -> Launch:
        """A small elementwise kernel over all cores."""
        total = elements * self.context.batch
        size = DTYPE_BYTES[self.dtype]
        tiles = replace(OperatorParameters(), elementwise_bytes=max(ceil_div(total * size, self.chip.cores), 64))
        return Elementwise(name, total, reads=reads, ops=ops).launch(tiles, self.dtype)
