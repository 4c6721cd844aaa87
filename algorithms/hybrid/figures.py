"""Figures of designs on an FPGA that run attention and linear layers on kernels of their own (``vit.hybrid``)."""

from __future__ import annotations

from algorithms.figures import Figure, OwnFigures, Ran
from algorithms.hybrid.design import HybridDesign
from algorithms.hybrid.parameters import HybridParameters
from algorithms.workload.shape import Workload

ORDER = 200
IMAGE = Figure(
    "image.seconds", "s", "time per image, all images together divided by their number", goal="min", order=ORDER
)
DSP = Figure("fpga.dsp", "", "DSP slices of attention and of linear layers", static=True, order=ORDER)
BLOCK_RAMS = Figure(
    "fpga.bram36", "", "36 Kbit block RAMs of weights, activations and scores", static=True, order=ORDER
)
ATTENTION = Figure(
    "block.attention_cycles",
    "cycle",
    "least time from image to image in the attention block of a layer",
    static=True,
    order=ORDER,
)
FEED_FORWARD = Figure(
    "block.feed_forward_cycles",
    "cycle",
    "least time from image to image in the feed-forward block of a layer, mean over layers",
    static=True,
    order=ORDER,
)


def hybrid_figures(workload: Workload, parameters: HybridParameters, ran: Ran) -> tuple[Figure, ...]:
    """Time per image, resources of the FPGA, and what each of the two blocks takes at least."""
    design = HybridDesign(workload, parameters)
    return (
        IMAGE.of(ran.seconds / parameters.images),
        DSP.of(design.dsp),
        BLOCK_RAMS.of(design.block_rams),
        ATTENTION.of(design.attention_block_cycles),
        FEED_FORWARD.of(design.feed_forward_cycles),
    )


FIGURES = OwnFigures((IMAGE, DSP, BLOCK_RAMS, ATTENTION, FEED_FORWARD), hybrid_figures)
