"""Products as serving stacks call them: profiles keyed by stack and version, one YAML file of ``served_products`` each.

A call quantises its activations where the format asks for it, multiplies, and adds up parts of the depth in a launch of
its own where a library does (cuBLAS' split-K). At most four numbers are fitted, by ``attnflow calibrate`` from rows
marked ``calibrate``, each for the mechanism that `MECHANISMS` of `algorithms.chip.plan.served` or `PRODUCT_MECHANISMS`
names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from pydantic import Field

from algorithms.chip.layers.formats import weight_format
from algorithms.chip.layers.gemm import STAGES, Gemm, chosen_tile
from algorithms.chip.layers.grouped import GroupedGemm, Routing
from algorithms.chip.layers.passes import Pass
from algorithms.chip.plan.called import CalledFolder, CalledText
from algorithms.chip.plan.parameters import ACCUMULATOR_BYTES
from algorithms.chip.plan.profile import FITTABLE, KernelProfile, NextItem
from algorithms.chip.plan.served import MECHANISMS
from algorithms.chip.timing.calls import CallEstimate, Launching, Part, estimate_call
from algorithms.chip.timing.launch_work import LaunchWork
from algorithms.workload.shape import BITS, DTYPE_BYTES, OPERAND_BITS
from hwmodels.chips.accelerator import Accelerator
from hwmodels.reading.shipped import Shipped

PRODUCT_MECHANISMS = MECHANISMS | {
    "quantise_element_ops": "instructions of the launches that quantise activations, per element",
}
"""What each number that may be fitted stands for."""
UNQUANTISED = "bfloat16"
"""Format in which activations come."""
GATE_OPS = 4.0
"""Per element of a gated activation: a negation for the exponential, an addition and a reciprocal of it, a product."""


class ProductText(CalledText):
    """A file of ``served_products``."""

    formats: tuple[str, ...] = Field(description="as tables name them")
    weights: str = Field(description="format of weights")
    activations: str = Field(description="format that products take of the other operand")
    quantise_passes: int = Field(0, description="launches that go through activations first; the last one writes them")
    whole_passes: bool = Field(False, description="whether passes of experts go over rows of other ranks, too")
    reduction: bool = Field(False, description="whether parts of the depth are added up by a launch of its own")
    launching: Launching = "graph"


@dataclass(frozen=True)
class ProductProfile(KernelProfile):
    """`KernelProfile`, and what quantising costs.

    Parameters
    ----------
    quantise_element_ops
        Vector operations for each element of every pass over activations.
    """

    tiles_in_flight: int = STAGES
    next_item: NextItem = "ahead"
    quantise_element_ops: float = 1.0

    @property
    def fittable(self) -> tuple[str, ...]:
        """Numbers that may be fitted."""
        return (*FITTABLE, "quantise_element_ops")


@dataclass(frozen=True)
class ServedProduct:
    """A product as a stack calls it.

    Parameters
    ----------
    text
        Profile of its file.
    profile
        Its numbers.
    """

    text: ProductText
    profile: ProductProfile

    @property
    def name(self) -> str:
        """Of its file."""
        return self.text.name

    def gemm(self, name: str, rows: int, columns: int, depth: int, count: int = 1) -> Gemm:
        """A product in its formats."""
        text = self.text
        weights = weight_format(text.weights)
        return Gemm(name, rows, columns, depth, weights, text.activations, count, results=UNQUANTISED)

    def experts(self, name: str, routing: Routing, columns: int, depth: int) -> GroupedGemm:
        """One product in its formats for each expert."""
        text = self.text
        weights = weight_format(text.weights)
        return GroupedGemm(name, routing, columns, depth, weights, text.activations, results=UNQUANTISED)

    def expert_parts(
        self, routing: Routing, hidden: int, inner: int, tokens: int, chosen: int, chip: Accelerator
    ) -> tuple[Part, ...]:
        """A layer of gated experts: up and gate, what the gate leaves, down, and the sum over a token's experts.

        Parameters
        ----------
        routing
            Tokens of the experts that are here.
        hidden, inner
            Widths of a token and of an expert.
        tokens, chosen
            Tokens that enter the layer, and experts of each, here or elsewhere.
        """
        size = DTYPE_BYTES[UNQUANTISED]
        # kernels that put rows in the order of experts first have only their own; others mark those of other ranks
        rows = tokens * chosen if self.text.whole_passes else routing.rows
        up, down = self.experts("up", routing, 2 * inner, hidden), self.experts("down", routing, hidden, inner)
        gate = Pass("gate", rows * inner, 2 * size, size, GATE_OPS, exps=1.0)
        total = Pass("sum of experts", rows * hidden, size, size * tokens / rows, 1.0)
        fits = _fits(rows * max(2 * inner, hidden) * size, chip)
        return (
            *self.parts((up,), chip, fits, tokens),
            Part(_work(gate, chip), warm=fits),
            *self.parts((down,), chip, fits, rows),
            Part(_work(total, chip), warm=fits),
        )

    def parts(
        self, products: Sequence[Gemm | GroupedGemm], chip: Accelerator, warm_inputs: bool, quantised_rows: int = 0
    ) -> tuple[Part, ...]:
        """Launches of products that share their left operand, quantised once before the first of them.

        Parameters
        ----------
        quantised_rows
            Rows of the left operand when it is quantised; 0 stands for those of the first product.
        """
        first = products[0]
        rows = quantised_rows or (first.rows if isinstance(first, Gemm) else first.routing.rows)
        found = [Part(_work(each, chip), warm=warm_inputs) for each in self._quantising(rows, first.depth)]
        for product in products:
            found.append(Part(_work(product, chip)))
            if self.text.reduction and isinstance(product, Gemm):
                found += _reduction(product, chip)
        return tuple(found)

    def _quantising(self, rows: int, depth: int) -> Iterator[Pass]:
        """Passes over the activations as they come; all but the last only read (the largest magnitude of a tensor)."""
        elements, ops = rows * depth, self.profile.quantise_element_ops
        size, to = DTYPE_BYTES[UNQUANTISED], OPERAND_BITS[self.text.activations] / BITS
        for number in range(self.text.quantise_passes):
            last = number == self.text.quantise_passes - 1
            yield Pass("quantise", elements, size, to if last else 0.0, ops)

    def estimate(
        self, products: Sequence[Gemm | GroupedGemm], chip: Accelerator, *, warm: bool = False
    ) -> CallEstimate:
        """Time of a call.

        Parameters
        ----------
        warm
            Whether weights are in the caches; activations are where they fit.
        """
        parts = self.parts(products, chip, warm or _fits(_input_bytes(products[0]), chip))
        return self.estimate_parts(parts, chip, warm=warm)

    def estimate_parts(self, parts: Sequence[Part], chip: Accelerator, *, warm: bool = False) -> CallEstimate:
        """Time of a call of such launches."""
        return estimate_call(parts, chip, self.profile, warm=warm, launching=self.text.launching)

    def with_profile(self, profile: ProductProfile) -> ServedProduct:
        """The same with other numbers."""
        return replace(self, profile=profile)


@lru_cache(maxsize=1 << 15)
def _work(made: Gemm | GroupedGemm | Pass, chip: Accelerator) -> LaunchWork:
    """What a launch is made of, kept since it depends on no number that is fitted but for quantisation."""
    return LaunchWork.of(made.launch(chip))


def _fits(count: int, chip: Accelerator) -> bool:
    """Whether so many bytes stay in the caches, the other half of which is what passes through."""
    return count <= sum(tier.capacity_bytes for tier in chip.caches) / 2


def _reduction(product: Gemm, chip: Accelerator) -> list[Part]:
    """The launch that adds up the parts of a depth that the chooser has cut; none where it has not."""
    splits = chosen_tile(product, chip).splits
    if splits == 1:
        return []
    outputs = product.count * product.rows * product.columns
    size = DTYPE_BYTES[UNQUANTISED]
    added = Pass("add up parts", outputs, splits * ACCUMULATOR_BYTES, size, float(splits))
    return [Part(_work(added, chip), warm=True)]


def _input_bytes(product: Gemm | GroupedGemm) -> int:
    rows = product.rows if isinstance(product, Gemm) else product.routing.rows
    return rows * product.depth * DTYPE_BYTES[UNQUANTISED]


def _product(text: ProductText) -> ServedProduct:
    numbers = SERVED_PRODUCTS.load(text.numbers_of).text.fitted_numbers if text.numbers_of else text.fitted_numbers
    profile = ProductProfile(name=text.name, fitted=tuple(text.fitted)).fitted_to(**numbers)
    return ServedProduct(text, profile)


SERVED_PRODUCTS = CalledFolder(
    Shipped("algorithms.chip.layers", "served_products", "served product"), ProductText, _product
)
"""Products as serving stacks call them."""


def find_product(
    kind: str, stack: str, version: str, kernel: str, number_format: str, chip: Accelerator
) -> ServedProduct | None:
    """The product behind a name as a version of a stack calls it, else as other versions do; None if no file does."""
    return SERVED_PRODUCTS.first(kind, stack, version, kernel, chip, lambda text: number_format in text.formats)
