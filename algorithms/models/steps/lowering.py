"""A model and a batch as operations on every chip: which launches, which exchanges, in which order."""

from __future__ import annotations

from dataclasses import dataclass, replace

from algorithms.chip.layers.formats import weight_format
from algorithms.chip.layers.passes import Pass
from algorithms.models.blocks import (
    AnyBlock,
    Attention,
    Convolution,
    Experts,
    FeedForward,
    LatentAttention,
    Modulation,
    Normalise,
    StateAttention,
)
from algorithms.models.edges import Edge, Linear, Norm, Table
from algorithms.models.model import Layer as ModelLayer
from algorithms.models.steps import modules
from algorithms.models.steps.attending import Attending
from algorithms.models.steps.building import Builder, Setting
from algorithms.models.steps.feeding import convolution, experts, feed_forward
from algorithms.models.steps.operations import Communication, Kind, Layer, Operation, Tensor
from algorithms.models.steps.recurring import state_attention
from algorithms.rounding import ceil_div
from algorithms.workload.shape import DTYPE_BYTES


def replaced(layer: ModelLayer) -> ModelLayer:
    """The layer as the tokens that go through see it."""
    return layer.model_copy(update={"share": 1.0})


def lowered(setting: Setting) -> tuple[Layer, ...]:
    """All layers of all towers that the batch runs, in order."""
    found: list[Layer] = []
    for tower in setting.model.towers:
        parts = setting.batch.text if tower.modality == "text" else setting.batch.encoded(tower)
        if parts:
            found += TowerLowering(setting, tower, parts).layers()
    return tuple(found)


def attending(setting: Setting) -> tuple[Layer, ...]:
    """Of the same layers the operations alone that depend on what each part of the batch attends to."""
    found: list[Layer] = []
    for tower in setting.model.towers:
        parts = setting.batch.text if tower.modality == "text" else setting.batch.encoded(tower)
        if parts:
            found += TowerLowering(setting, tower, parts).attending()
    return tuple(found)


@dataclass(frozen=True)
class TowerLowering(Builder):
    """One tower with the parts of the batch that it works on."""

    def layers(self) -> list[Layer]:
        """Inputs, layers, outputs; layers that are alike are one record."""
        name = self.tower.name
        found = [Layer(f"{name}.inputs", tuple(self._edges(self.tower.inputs, "in")), 1, name)]
        for label, layer, times in self._kinds():
            found.append(Layer(label, self._layer(layer), times, name))
        if self.whole.mapping.pp > 1 and self.tower.layers:
            sent = Communication("send", 2, self.stream_bytes)
            hand_over = Operation("send", "exchange", communication=sent)
            found.append(Layer(f"{name}.stages", (hand_over,), self.whole.mapping.pp - 1, name))
        found.append(Layer(f"{name}.outputs", tuple(self._edges(self.tower.outputs, "out")), 1, name))
        return [layer for layer in found if layer.operations]

    def attending(self) -> list[Layer]:
        """Layers with what depends on what is attended to, and nothing else."""
        found = [Layer(label, self._attending(layer), times, self.tower.name) for label, layer, times in self._kinds()]
        return [layer for layer in found if layer.operations]

    def _kinds(self) -> list[tuple[str, ModelLayer, int]]:
        """Layers that are not alike, each with its label and how often it comes."""
        counted: dict[ModelLayer, int] = {}
        for layer in self.tower.runs:
            bare = layer.model_copy(update={"times": 1})
            counted[bare] = counted.get(bare, 0) + layer.times
        name = self.tower.name
        labels = [f"{name}.{number}" for number in range(len(counted))] if len(counted) > 1 else [f"{name}.layers"]
        return [(label, layer, times) for label, (layer, times) in zip(labels, counted.items(), strict=True)]

    def _attending(self, layer: ModelLayer) -> tuple[Operation, ...]:
        if layer.share < 1:
            return replace(self, parts=self.through(layer))._attending(replaced(layer))
        found: list[Operation] = []
        for number, block in enumerate(layer.blocks):
            at = f"{number}."
            if isinstance(block, Attention):
                found += Attending(self, block, at).attended(block)
            elif isinstance(block, LatentAttention | StateAttention):
                found += [each for each in self._block(block, at) if each.attends]
        return tuple(found)

    def _layer(self, layer: ModelLayer) -> tuple[Operation, ...]:
        if layer.share < 1:
            return (*self._chosen(layer), *replace(self, parts=self.through(layer))._layer(replaced(layer)))
        found: list[Operation] = []
        for number, block in enumerate(layer.blocks):
            found += self._block(block, f"{number}.")
        return tuple(found)

    def _chosen(self, layer: ModelLayer) -> list[Operation]:
        """A score for every token; those chosen are put beside each other, and back behind the layer."""
        if not layer.routed:
            # the cosine of a token and what it was: three sums of products over both
            compared = Pass("layer compare", self.tokens * self.tower.width, 2 * DTYPE_BYTES["bfloat16"], 0.0, 3.0)
            moved = self.passes.copy("layer gather", 2 * self.tokens * self.tower.width)
            return [self.one_pass(compared, "pass"), self.one_pass(moved, "pass")]
        scores = Tensor("scores", self.tokens * DTYPE_BYTES["bfloat16"])
        scored = self.product(
            "layer router", self.tokens, 1, self.tower.width, (), (scores,), weight_format("bfloat16")
        )
        chosen = self.passes.softmax("layer route", self.tokens, 1)
        moved = self.passes.copy("layer gather", 2 * self.tokens * self.tower.width)
        return [scored, self.one_pass(chosen, "pass", (scores.name,)), self.one_pass(moved, "pass")]

    def _block(self, block: AnyBlock, at: str) -> list[Operation]:
        if isinstance(block, Modulation):
            return []
        norm = self._norms(block, at)
        match block:
            case Normalise():
                return norm
            case Attention() | LatentAttention():
                inner = Attending(self, block, at).operations()
            case StateAttention():
                inner = state_attention(self, block, at)
            case FeedForward():
                inner = feed_forward(self, block, at)
            case Experts():
                inner = experts(self, block, at)
            case Convolution():
                inner = convolution(self, block, at)
        behind = []
        if self.tower.norm_place == "both":
            made = self.passes.norm(
                f"{at}norm behind", self.tokens, self.tower.width, kind=block.norm or self.tower.norm
            )
            behind.append(self.one_pass(made, "norm", (f"{at}out",), (), weights=self._norm_bytes(block)))
        if self.whole.options.fusion != "engine":
            added = self.passes.add(f"{at}add", self.tokens * self.tower.width)
            behind.append(self.one_pass(added, "pass", (f"{at}out",), ()))
        return [*norm, *inner, *behind]

    def _norm_bytes(self, block: AnyBlock) -> int:
        each = {"rms": 1, "layer": 2, "plain": 0}[block.norm or self.tower.norm]
        return each * self.tower.width * DTYPE_BYTES["bfloat16"]

    def _norms(self, block: AnyBlock, at: str) -> list[Operation]:
        fused = self.whole.options.fusion == "engine"
        kind = block.norm or self.tower.norm
        made = self.passes.norm(f"{at}norm", self.tokens, self.tower.width, residual=fused, kind=kind)
        out = Tensor(f"{at}normed", self.stream_bytes)
        whole = self.one_pass(made, "norm", (), (out,), weights=self._norm_bytes(block))
        return [modules.norm(self, whole, made, kind)]

    def _edges(self, edges: tuple[Edge, ...], side: str) -> list[Operation]:
        found: list[Operation] = []
        element, before = DTYPE_BYTES["bfloat16"], ""
        for edge in edges:
            name = f"{side}.{edge.name}"
            if isinstance(edge, Table):
                rows = self.tokens if edge.looked_up else 0
                if rows:
                    each = self.passes.lookup(name, rows, edge.columns, element)
                    out = Tensor(name, rows * edge.columns * element)
                    found.append(self.one_pass(each, "lookup", (), (out,), weights=each.memory_bytes))
                    before = name
                    found += self.summed(f"{name}.sum", rows, self.whole.mapping.edge_tp)
            elif isinstance(edge, Linear):
                rows = self._rows(edge)
                if rows:
                    found += self._edge_product(edge, name, rows, before)
                    before = name
            elif isinstance(edge, Norm):
                rows = self.sequences if edge.per == "sequence" else self.tokens
                width = edge.size or self.tower.width
                kind = edge.norm or self.tower.norm
                each = self.passes.norm(name, rows, width, kind=kind)
                out = Tensor(name, rows * width * element)
                weights = {"rms": 1, "layer": 2, "plain": 0}[kind] * width * element
                found.append(self.one_pass(each, "norm", (before,) if before else (), (out,), weights=weights))
                before = name
        return found

    def _rows(self, edge: Linear) -> int:
        each = {
            "token": self.tokens,
            "sampled": self.sequences,
            "sequence": self.sequences,
            "context": self.context,
        }[edge.per]
        return ceil_div(each * edge.times, edge.every)

    def _edge_product(self, edge: Linear, name: str, rows: int, before: str) -> list[Operation]:
        options, element = self.whole.options, DTYPE_BYTES["bfloat16"]
        head = edge.per == "sampled"
        tp = self.whole.mapping.edge_tp if head else 1
        outputs = ceil_div(edge.outputs, tp)
        # what stands before and behind the layers keeps 16 bits, the head its own format
        weights = options.head_weight if head else weight_format("bfloat16")
        out = Tensor(name, rows * outputs * element)
        takes = (before,) if before else ()
        kind: Kind = "head" if head else "product"
        found = [self.product(name, rows, outputs, edge.inputs, takes, (out,), weights, kind)]
        if edge.activation:
            act = self.passes.activation(f"{name}.act", rows * outputs, gated=False)
            found.append(self.one_pass(act, "pass", (name,), (Tensor(f"{name}.active", out.bytes),)))
        if head and tp > 1:
            found.append(self.exchange(f"{name}.gather", "all_gather", tp, rows * edge.outputs * element))
        return found
