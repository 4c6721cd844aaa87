"""The graph of a hybrid design: images through all layers, attention block and feed-forward block side by side.

Per layer: ``load_attention`` (weights) and ``qkv`` (norm, Q, K, V of an image) -> ``begin`` -> ``qk`` -> ``scores``,
the FIFO that holds a pass's scores until ``row_max`` is known -> ``pv`` -> ``project`` -> ``add`` -> ``feed_forward``
with ``load_feed_forward`` -> ``qkv`` of the next layer. Q, K and V have two buffers, so that those of one image are
made while another image is attended to; weights of the feed-forward layers have two, so that one set is loaded while
another works; the weights of attention have one.
"""

from __future__ import annotations

from collections.abc import Iterator

from algorithms.hybrid.design import HybridDesign
from algorithms.hybrid.figures import FIGURES
from algorithms.hybrid.parameters import HybridParameters
from algorithms.registry import UNNAMED, Tensors, algorithm
from algorithms.rounding import ceil_div
from algorithms.workload.shape import Workload
from hwmodels.reading.errors import InputError, Problem
from simulator import Block, FiringTable, Graph, Segment, Server, Unit

BURST_BYTES = 16384
"""Bytes that a port asks of the memory at a time: four of AXI's longest bursts, which follow each other in one page."""
MEMORY = "memory"


@algorithm("vit.hybrid", HybridParameters, has_values=False, figures=FIGURES)
def build(workload: Workload, parameters: HybridParameters, tensors: Tensors | None) -> Graph:
    """Vision transformer on an FPGA: streaming attention beside a shared linear kernel (UbiMoE); timing only."""
    if tensors is not None:
        raise InputError(Problem("vit.hybrid has timing only and takes no tensors"))
    return _Builder(HybridDesign(workload, parameters)).graph()


def _takes(cycles: int, take: tuple[int, ...], make: tuple[int, ...]) -> Segment:
    """One firing that keeps its unit for so long, with its tokens at the end."""
    return Segment(1, take, make, max(cycles, 1), max(cycles, 1))


def _table(segments: Iterator[Segment]) -> FiringTable:
    return FiringTable((Block(tuple(segments)),))


class _Builder:
    """Makes the units one after the other; tokens are whole images, weights or, inside attention, keys."""

    def __init__(self, design: HybridDesign) -> None:
        self.design, self.parameters = design, design.parameters
        self.images = design.parameters.images
        self.turns = [(layer, image) for layer in range(design.layers) for image in range(self.images)]

    def graph(self) -> Graph:
        """The graph with all units and channels."""
        graph = Graph(UNNAMED)
        graph.add_server(Server(MEMORY, self.parameters.memory_bytes_per_cycle))
        qkv, load_attention = graph.add(self._qkv()), graph.add(self._load_attention())
        begin, qk, pv, project = (graph.add(unit) for unit in self._attention())
        add = graph.add(self._add())
        feed_forward, load = graph.add(self._feed_forward()), graph.add(self._load_feed_forward())
        out = graph.add(Unit("out", "sink", FiringTable((Block((Segment(self.images, (1,), ()),)),))))
        hidden, bits = self.design.hidden, self.parameters.activation_bits
        image_bytes = self.design.tokens * hidden * bits // 8
        blocks, images = self.design.query_blocks, self.images
        score_bytes = self.parameters.attention_queries * self.design.workload.heads * bits // 8
        graph.connect(feed_forward, qkv, output=0, input=0, depth=images, initial_tokens=images, name="images")
        graph.connect(load_attention, qkv, depth=1, input=1, name="attention_weights")
        graph.connect(qkv, load_attention, output=1, depth=1, initial_tokens=1, name="attention_buffer")
        graph.connect(qkv, begin, output=0, input=0, depth=1, token_bytes=3 * image_bytes, name="qkv_buffer")
        graph.connect(project, begin, output=1, input=1, depth=1, initial_tokens=1, name="attention_free")
        graph.connect(begin, qk, depth=blocks, name="query_blocks")
        depth = self.parameters.score_depth or self.design.tokens
        graph.connect(qk, pv, output=0, input=0, depth=depth, token_bytes=score_bytes, name="scores")
        graph.connect(qk, pv, output=1, input=1, depth=2, token_bytes=score_bytes, name="row_max")
        graph.connect(pv, project, depth=blocks, name="attended")
        graph.connect(project, add, output=0, depth=1, token_bytes=image_bytes)
        graph.connect(add, feed_forward, input=0, depth=images, token_bytes=image_bytes)
        graph.connect(load, feed_forward, input=1, depth=2, name="feed_forward_weights")
        graph.connect(feed_forward, load, output=1, depth=2, initial_tokens=2, name="feed_forward_buffers")
        graph.connect(feed_forward, out, output=2, depth=images, token_bytes=image_bytes)
        return graph

    # --- attention --------------------------------------------------------------------------------------

    def _qkv(self) -> Unit:
        """Norm, Q, K and V of an image, one after the other; the first image of a layer waits for its weights."""
        cycles = self.design.pass_cycles + 3 * self.design.projection_cycles
        last = self.images - 1
        table = _table(_takes(cycles, (1, int(image == 0)), (1, int(image == last))) for _, image in self.turns)
        return Unit("qkv", "linear", table)

    def _load_attention(self) -> Unit:
        size = 4 * self.design.weight_bytes(self.design.hidden, self.design.hidden)
        return self._loader("load_attention", [size] * self.design.layers)

    def _attention(self) -> tuple[Unit, Unit, Unit, Unit]:
        """One of the equal modules: it takes an image when it is done with the one before."""
        design, keys = self.design, self.design.tokens
        images, blocks = len(self.turns), design.query_blocks
        ii = design.key_cycles

        def passes(
            first: tuple[int, ...], others: tuple[int, ...], made: tuple[int, ...], at_last: tuple[int, ...]
        ) -> FiringTable:
            """A pass over all keys: its first firing takes ``first``, its last one makes ``at_last``."""
            if keys == 1:
                segments = (Segment(1, first, at_last, ii, ii),)
            else:
                middle = (Segment(keys - 2, others, made, ii, ii),) if keys > 2 else ()
                segments = (Segment(1, first, made, ii, ii), *middle, Segment(1, others, at_last, ii, ii))
            return FiringTable((Block(segments, images * blocks),))

        begin = FiringTable((Block((Segment(1, (1, 1), (blocks,)),), images),))
        done = design.projection_cycles
        return (
            Unit("begin", "control", begin),
            Unit("qk", "attention", passes((1,), (0,), (1, 0), (1, 1))),
            Unit("pv", "attention", passes((1, 1), (1, 0), (0,), (1,))),
            Unit("project", "linear", FiringTable((Block((_takes(done, (blocks,), (1, 1)),), images),))),
        )

    def _add(self) -> Unit:
        cycles = self.design.pass_cycles
        return Unit("add", "elementwise", FiringTable((Block((_takes(cycles, (1,), (1,)),), len(self.turns)),)))

    # --- feed-forward -----------------------------------------------------------------------------------

    def _feed_forward(self) -> Unit:
        return Unit("feed_forward", "linear", _table(self._feed_forward_phases()))

    def _feed_forward_phases(self) -> Iterator[Segment]:
        """Takes (image, weights), makes (image for the next layer, free buffer, image that is done)."""
        design, last = self.design, self.images - 1
        for layer, image in self.turns:
            final = layer == design.layers - 1
            end = (int(not final), 0, int(final))
            if design.has_experts(layer):
                yield _takes(design.pass_cycles + design.gate_cycles, (1, 0), (0, 0, 0))
                for tokens in filter(None, design.queue_lengths):
                    for cycles in design.expert_cycles(tokens):
                        yield _takes(cycles, (0, 1), (0, 1, 0))
            else:
                first, second = design.dense_cycles
                load, free = int(image == 0), int(image == last)
                yield _takes(design.pass_cycles, (1, 0), (0, 0, 0))
                yield _takes(first, (0, load), (0, free, 0))
                yield _takes(second, (0, load), (0, free, 0))
            yield _takes(design.pass_cycles, (0, 0), end)

    def _load_feed_forward(self) -> Unit:
        """Weights in the order of their use: of experts for every image, of dense layers once for all images."""
        design = self.design
        sizes: list[int] = []
        for layer in range(design.layers):
            if design.has_experts(layer):
                used = sum(1 for tokens in design.queue_lengths if tokens)
                sizes += [design.weight_bytes(design.hidden, design.expert_hidden)] * (2 * used * self.images)
            else:
                sizes += [design.weight_bytes(design.hidden, design.feed_forward)] * 2
        return self._loader("load_feed_forward", sizes)

    def _loader(self, name: str, sizes: list[int]) -> Unit:
        """Loads sets of weights in bursts, each set when a buffer is free, through a port of its own."""

        def burst(size: int, count: int, first: bool, last: bool) -> Segment:
            cycles = self.design.load_cycles(size)
            return Segment(count, (int(first),), (int(last),), cycles, cycles, request_bytes=size)

        def bursts(size: int) -> Iterator[Segment]:
            if size <= BURST_BYTES:
                yield burst(size, 1, True, True)
                return
            between = ceil_div(size, BURST_BYTES) - 2
            yield burst(BURST_BYTES, 1, True, False)
            if between:
                yield burst(BURST_BYTES, between, False, False)
            yield burst(size - (1 + between) * BURST_BYTES, 1, False, True)

        return Unit(name, "load", _table(segment for size in sizes for segment in bursts(size)), server=MEMORY)
