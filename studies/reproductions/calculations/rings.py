"""Layers over time that keep their last inputs: work and buffers of published networks, and how far ahead they look."""

from __future__ import annotations

import numpy as np

from algorithms.state.rings.attention import LeftContextAttention
from algorithms.state.rings.conformer import FRAME_SECONDS, StatefulConformer
from algorithms.state.rings.convolution import CausalConvolution
from algorithms.state.rings.lmuformer import LMUFormer
from algorithms.state.rings.movinet import movinet
from algorithms.state.rings.overlapping import OverlappingWindows
from algorithms.state.rings.ring import Array, RingLayer, Stream, held_elements, macs_per_frame
from hwmodels.reading.errors import InputError, Problem
from studies.reproductions.calculation import Figures, calculation

SMALL_WIDTH, SMALL_HEADS = 8, 2
"""Sizes of layers of which only dependencies are asked for."""


@calculation("stream_network")
def stream_network(network: str = "a5", clip: int = 0, element_bytes: float = 4.0) -> Figures:
    """A MoViNet from its table of blocks: multiply-adds of a clip and bytes of its stream buffers.

    ``clip`` is a number of frames; 0 takes the network's own.
    """
    known = movinet(network)
    layers, frames = known.layers(), clip or known.clip
    frame_macs = macs_per_frame(layers, known.frame)
    return {
        "frame_macs": frame_macs,
        "clip_macs": frames * frame_macs,
        "buffer_bytes": element_bytes * held_elements(layers, known.frame),
    }


@calculation("keyword_network")
def keyword_network(width: int = 256, blocks: int = 1, frames: int = 128) -> Figures:
    """LMUFormer from its layers: trained numbers, multiply-adds of a recording, and numbers kept of a stream."""
    known = LMUFormer(width=width, blocks=blocks)
    return {"parameters": known.parameters, "macs": frames * known.frame_macs, "held": known.held_elements}


@calculation("overlapping_windows")
def overlapping_windows(window: int = 960, fresh: int = 96, kernel: int = 3) -> Figures:
    """A network over windows that overlap: multiply-adds of a window made anew, and of one with rings."""
    streamed, anew = (OverlappingWindows(window, new, kernel=kernel) for new in (fresh, window))
    return {"macs": streamed.macs, "recomputed_macs": anew.macs, "held": streamed.held_elements}


@calculation("look_ahead")
def look_ahead(layers: int = 17, left: int = 70, right: int = 13, kernel: int = 9, chunks: int = 12) -> Figures:
    """Conformer layers in a row, each with a bounded left context: frames ahead that an output hangs on, and caches.

    An input is changed and the first output that differs is looked for, for every place in a chunk. Caches are counted
    while chunks pass, and scaled to the published width.
    """
    stack = _stack(layers, left, right + 1, kernel)
    frames = np.random.default_rng(1).standard_normal((1, chunks * (right + 1), SMALL_WIDTH))
    stream = Stream(stack, 1, (SMALL_WIDTH,))
    kept = []
    for start in range(0, frames.shape[1], right + 1):
        stream.push(frames[:, start : start + right + 1])
        kept.append(stream.elements)
    known = StatefulConformer(layers=layers, left=left, right=right, kernel=kernel)
    ahead = max(_ahead(stack, frames[:, : 3 * (right + 1)], place) for place in range(right + 1, 2 * (right + 1)))
    return {
        "frames": ahead,
        "seconds": ahead * FRAME_SECONDS,
        "half_kept": kept[chunks // 2 - 1],
        "kept": kept[-1],
        "cached_bytes": 2.0 * kept[-1] * known.width / SMALL_WIDTH,
        "buffered_ratio": known.buffered_ratio,
    }


def _stack(layers: int, left: int, chunk: int, kernel: int) -> list[RingLayer]:
    if layers < 1:
        raise InputError(Problem(f"must be at least 1 (got {layers})", field="layers"))
    draws = np.random.default_rng(0)
    found: list[RingLayer] = []
    for _ in range(layers):
        projections = draws.standard_normal((4, SMALL_WIDTH, SMALL_WIDTH)) / np.sqrt(SMALL_WIDTH)
        found.append(LeftContextAttention(projections, SMALL_HEADS, left, chunk))
        by_channel = draws.standard_normal((kernel, SMALL_WIDTH)) / np.sqrt(kernel)
        found.append(CausalConvolution(by_channel, by_channel=True, activation=np.tanh))
    return found


def _ahead(stack: list[RingLayer], frames: Array, place: int) -> int:
    """Frames from the first output that changes with an input to that input."""
    changed = frames.copy()
    changed[:, place] += 1.0
    outputs = [Stream(stack, 1, (SMALL_WIDTH,)).push(each) for each in (frames, changed)]
    differ = np.flatnonzero(np.abs(outputs[1] - outputs[0]).max(axis=(0, 2)) > 0)
    return place - int(differ[0])
