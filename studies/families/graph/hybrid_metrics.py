"""Metrics of designs on an FPGA that run attention and linear layers on kernels of their own (``vit.hybrid``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from studies.families.metrics import metric
from studies.points.point import Scalar

if TYPE_CHECKING:
    from algorithms.hybrid.design import HybridDesign
    from studies.families.graph.evaluate import Evaluation


def _design(evaluation: Evaluation) -> HybridDesign | None:
    """The design of a point; None for one of another kind."""
    from algorithms.hybrid.parameters import HybridParameters
    from studies.points.find import find_algorithm

    kind = find_algorithm(evaluation.point.algorithm).parameters
    if not issubclass(kind, HybridParameters) or evaluation.point.workload is None:
        return None
    from algorithms.hybrid.design import HybridDesign

    return HybridDesign(evaluation.point.workload, kind(**dict(evaluation.point.parameters)))


@metric("image.seconds", "s", "time per image, all images together divided by their number", goal="min")
def _image_seconds(evaluation: Evaluation) -> Scalar:
    design = _design(evaluation)
    return evaluation.seconds / design.parameters.images if design else None


@metric("fpga.dsp", "", "DSP slices of attention and of linear layers", static=True)
def _dsp(evaluation: Evaluation) -> Scalar:
    design = _design(evaluation)
    return design.dsp if design else None


@metric("fpga.bram36", "", "36 Kbit block RAMs of weights, activations and scores", static=True)
def _block_rams(evaluation: Evaluation) -> Scalar:
    design = _design(evaluation)
    return design.block_rams if design else None


@metric(
    "block.attention_cycles", "cycle", "least time from image to image in the attention block of a layer", static=True
)
def _attention_block(evaluation: Evaluation) -> Scalar:
    design = _design(evaluation)
    return design.attention_block_cycles if design else None


@metric(
    "block.feed_forward_cycles",
    "cycle",
    "least time from image to image in the feed-forward block of a layer, mean over layers",
    static=True,
)
def _feed_forward_block(evaluation: Evaluation) -> Scalar:
    design = _design(evaluation)
    return design.feed_forward_cycles if design else None
