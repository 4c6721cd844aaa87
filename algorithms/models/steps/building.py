"""What lowerings of blocks have in common: the setting, the sizes of one chip, products, passes and exchanges."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from algorithms.chip.layers.formats import WeightFormat, activation_format
from algorithms.chip.layers.gemm import Gemm
from algorithms.chip.layers.passes import Pass, Passes
from algorithms.models.mapping import Mapping
from algorithms.models.model import Layer, Model, Tower
from algorithms.models.options import StepOptions
from algorithms.models.steps.batch import Batch, Part
from algorithms.models.steps.operations import Communication, Kind, Operation, Tensor
from algorithms.models.steps.rates import Rates, rates_of
from algorithms.rounding import ceil_div
from algorithms.workload.shape import BITS, DTYPE_BYTES, OPERAND_BITS
from hwmodels.chips.accelerator import Accelerator
from hwmodels.systems.collectives import Collective

STREAM_FORMAT = "bfloat16"
"""Of the residual stream and of what passes between launches."""
NARROWED = ("float8", "float8_block", "nvfp4")
"""Formats of weights whose activations are narrowed, too: FP8 as engines quantise them, and NVFP4, whose scales of 16
elements serve both operands (NVIDIA TensorRT Model Optimizer, NVFP4_DEFAULT_CFG). Others are of weights alone."""


@dataclass(frozen=True)
class Setting:
    """Everything that decides the operations of a step on one kind of chip.

    Parameters
    ----------
    model, batch, mapping, options, chip
        Model, batch, spread over chips, manner of execution (formats that are not asked for become those of the model),
        and kind of chip.
    sizes_alone
        Whether operations are made for what they leave in memory: products and passes then come without launches, whose
        tiles take most of the time to choose. Attention keeps its own, as its tiles may not fit.
    """

    model: Model
    batch: Batch
    mapping: Mapping
    options: StepOptions
    chip: Accelerator
    sizes_alone: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", self.options.of(self.model))

    @cached_property
    def rates(self) -> Rates:
        """Of the chip."""
        return rates_of(self.chip)


@dataclass(frozen=True)
class Builder:
    """Makes operations of one tower for one chip of each kind of shard.

    Parameters
    ----------
    whole
        The setting.
    tower, parts
        Which tower works on which parts of the batch.
    """

    whole: Setting
    tower: Tower
    parts: tuple[Part, ...]

    def through(self, layer: Layer) -> tuple[Part, ...]:
        """Parts as a layer meets them that a share of the tokens goes through."""
        kept = layer.others == "cached"
        return tuple(
            replace(part, new=layer.through(part.new), total=part.total if kept else layer.through(part.total))
            for part in self.parts
        )

    # sizes

    @cached_property
    def own_parts(self) -> tuple[Part, ...]:
        """Parts of one chip: sequences dealt to groups of chips, tokens to the chips of a ring."""
        mapping = self.whole.mapping
        return tuple(
            replace(part, sequences=ceil_div(part.sequences, mapping.dp), new=ceil_div(part.new, mapping.cp))
            for part in self.parts
        )

    @property
    def tokens(self) -> int:
        """New tokens of one chip."""
        return sum(part.tokens for part in self.own_parts)

    @property
    def sequences(self) -> int:
        """Of one chip."""
        return sum(part.sequences for part in self.own_parts)

    @property
    def context(self) -> int:
        """Tokens that cross-attention attends to, all sequences of one chip."""
        return sum(part.context * part.sequences for part in self.own_parts)

    @property
    def passes(self) -> Passes:
        """In the format of the stream."""
        return Passes("bfloat16")

    @property
    def stream_bytes(self) -> int:
        """Of the residual stream on one chip."""
        return self.tokens * self.tower.width * DTYPE_BYTES["bfloat16"]

    def summed(self, name: str, rows: int, chips: int) -> list[Operation]:
        """The sum of what chips have, on all of them."""
        if chips == 1:
            return []
        size = rows * self.tower.width * DTYPE_BYTES["bfloat16"]
        return [self.exchange(name, "all_reduce", chips, size)]

    def exchange(self, name: str, collective: Collective, chips: int, size: int) -> Operation:
        """Something that chips exchange."""
        return Operation(name, "exchange", communication=Communication(collective, chips, size))

    # products and passes

    def formats(self, weights: WeightFormat) -> tuple[WeightFormat, str]:
        """Formats of a product's operands: activations are narrowed where the chip multiplies that way."""
        asked = self.whole.options.activations
        if asked == "auto":
            native = weights.operand if weights.name in NARROWED else None
            known = native is not None and native in self.whole.chip.core.matrix_flops_per_cycle
            return weights, native if known and native else "bfloat16"
        return weights, activation_format(asked)

    def product(
        self,
        name: str,
        rows: int,
        columns: int,
        depth: int,
        takes: tuple[str, ...] = (),
        makes: tuple[Tensor, ...] = (),
        weights: WeightFormat | None = None,
        kind: Kind = "product",
        count: int = 1,
        read: bool = True,
    ) -> Operation:
        """A product, after its tokens have been narrowed where that is needed.

        ``count`` products share nothing; without ``read`` their right operands are no weights of their own.
        """
        form, activations = self.formats(weights or self.whole.options.weight)
        gemm = Gemm(name, rows, columns, depth, form, activations, count=count, results=STREAM_FORMAT)
        operand, _ = form.runs_as(activations, self.whole.chip)
        launches = [] if self.whole.sizes_alone else [gemm.launch(self.whole.chip)]
        if activations != "bfloat16" and launches:
            narrowed = self.passes.quantise(f"{name} narrow", rows * count, depth, OPERAND_BITS[activations] / BITS)
            launches.insert(0, narrowed.launch(self.whole.chip))
        return Operation(
            name=name,
            kind=kind,
            launches=tuple(launches),
            profile=self.whole.rates.product(operand, self.whole.options.launch),
            flops=gemm.flops,
            weight_bytes=gemm.weight_bytes if read else 0,
            takes=takes,
            makes=makes,
        )

    def one_pass(
        self,
        each: Pass,
        kind: Kind,
        takes: tuple[str, ...] = (),
        makes: tuple[Tensor, ...] = (),
        weights: int = 0,
        cached: int = 0,
    ) -> Operation:
        """A pass as an operation."""
        return Operation(
            name=each.name,
            kind=kind,
            launches=() if self.whole.sizes_alone else (each.launch(self.whole.chip),),
            profile=self.whole.rates.passes(self.whole.options.launch),
            weight_bytes=weights,
            cache_bytes=cached,
            takes=takes,
            makes=makes,
        )
