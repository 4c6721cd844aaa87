"""What a step keeps in the memory of one chip: weights, cached keys and values, live activations, workspace.

Capacity is looked at before time: see `algorithms.models.steps.fitting` for what is said of a step that does not fit.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from algorithms.chip.algorithm import get_chip_algorithm
from algorithms.chip.layers.formats import WeightFormat
from algorithms.chip.policy.run import PolicyParameters
from algorithms.models.blocks import AnyBlock, Attention, Experts, FeedForward, LatentAttention, StateAttention
from algorithms.models.mapping import Mapping
from algorithms.models.model import Layer as ModelLayer
from algorithms.models.model import Tower
from algorithms.models.options import StepOptions
from algorithms.models.steps.attending import Attending
from algorithms.models.steps.batch import Part
from algorithms.models.steps.building import STREAM_FORMAT, Builder, Setting
from algorithms.models.steps.lowering import lowered
from algorithms.models.steps.operations import Layer, Operation
from algorithms.models.steps.recurring import kept_bytes
from algorithms.models.weights import Weight
from algorithms.rounding import ceil_div
from algorithms.workload.shape import DTYPE_BYTES, Workload
from hwmodels.chips.accelerator import Accelerator

ELEMENT = DTYPE_BYTES[STREAM_FORMAT]
MOST_KEPT = 1024


@dataclass(frozen=True)
class Entry:
    """Something that lies in memory.

    Parameters
    ----------
    name
        ``weights``, ``kv``, ``activations``, ``workspace``, with the tower where there are several.
    tier
        Memory tier of the chip that holds it.
    bytes
        Bytes on the fullest chip.
    """

    name: str
    tier: str
    bytes: int


@dataclass(frozen=True)
class Ledger:
    """All entries, and what may be used.

    Parameters
    ----------
    entries
        Entries of the fullest chip.
    usable_bytes
        Usable bytes of that chip's memory.
    """

    entries: tuple[Entry, ...]
    usable_bytes: int

    @property
    def total_bytes(self) -> int:
        """Of all entries."""
        return sum(entry.bytes for entry in self.entries)

    @property
    def fits(self) -> bool:
        """Whether there is room for everything."""
        return self.total_bytes <= self.usable_bytes

    def of(self, name: str) -> int:
        """Bytes of all entries whose names begin so."""
        return sum(entry.bytes for entry in self.entries if entry.name.startswith(name))


def ledger_of(setting: Setting, layers: Sequence[Layer] | None = None) -> Ledger:
    """The ledger of a step; ``layers`` are those of the setting, if they are known already."""
    known = lowered(replace(setting, sizes_alone=True)) if layers is None else layers
    tier = setting.chip.memory.name
    activations = Entry("activations", tier, activation_bytes(setting, known))
    before, behind = without_activations(setting)
    return Ledger((*before, activations, *behind), usable_bytes_of(setting))


def usable_bytes_of(setting: Setting) -> int:
    """Of the memory of a chip, as the options say."""
    return int(setting.chip.memory.capacity_bytes * setting.options.usable)


def leaves_room(setting: Setting) -> bool:
    """Whether there is room for anything beside what `without_activations` adds up."""
    before, behind = without_activations(setting)
    return sum(entry.bytes for entry in (*before, *behind)) <= usable_bytes_of(setting)


def without_activations(setting: Setting) -> tuple[list[Entry], list[Entry]]:
    """Entries before and behind the activations: all that is known without a look at operations."""
    tier = setting.chip.memory.name
    entries = []
    for tower in setting.model.towers:
        entries.append(Entry(f"weights.{tower.name}", tier, resident_weight_bytes(setting, tower)))
        cached = cache_bytes(setting, tower)
        if cached:
            entries.append(Entry(f"kv.{tower.name}", tier, cached))
    size = setting.options.workspace
    return entries, [Entry("workspace", tier, round(size))] if size else []


# weights


_WEIGHTS: OrderedDict[tuple[int, Mapping, StepOptions], tuple[Tower, int]] = OrderedDict()
"""With the towers, which are told apart by identity: comparing them takes longer than adding up."""


def resident_weight_bytes(setting: Setting, tower: Tower) -> int:
    """Of a tower on the chip that holds the most of it."""
    key = id(tower), setting.mapping, setting.options
    if key not in _WEIGHTS:
        _WEIGHTS[key] = tower, _resident_weight_bytes(setting, tower)
        if len(_WEIGHTS) > MOST_KEPT:
            _WEIGHTS.popitem(last=False)
    return _WEIGHTS[key][1]


def _resident_weight_bytes(setting: Setting, tower: Tower) -> int:
    mapping, depth = setting.mapping, tower.depth
    flat = [layer for layer in tower.runs for _ in range(layer.times)]
    sizes = {layer.blocks: layer_weight_bytes(setting, tower, layer) for layer in tower.runs}
    edges = edge_weight_bytes(setting, tower)
    stages, first = [], 0
    for count in mapping.layers_of_stage(depth):
        stages.append(sum(sizes[layer.blocks] for layer in flat[first : first + count]))
        first += count
    # the first stage has what stands before the layers, the last one what stands behind
    stages[0] += edges[0]
    stages[-1] += edges[1] if mapping.pp > 1 else edges[1] - edges[2]
    return max(stages)


def edge_weight_bytes(setting: Setting, tower: Tower) -> tuple[int, int, int]:
    """Before and behind the layers, and of the latter what is a table of the former under a second name."""
    before = behind = tied = 0
    for weight in tower.edge_weights():
        vocabulary = weight.role == "table" or weight.name == "outputs.head.weight"
        shards = setting.mapping.edge_tp if vocabulary else 1
        head = weight.name.startswith("outputs.head")
        form = setting.options.head_weight if head and weight.role == "matrix" and not weight.tied else None
        size = _stored(weight, form, ceil_div(weight.shape[0], shards), weight.shape[1:])
        if weight.name.startswith("inputs"):
            before += size
        else:
            behind += size
            tied += size if weight.tied else 0
    return before, behind, tied


def layer_weight_bytes(setting: Setting, tower: Tower, layer: ModelLayer) -> int:
    """Of one layer on one chip."""
    total = sum(
        _stored(weight, None, 1, weight.shape[1:])
        for weight in tower.layer_weights(layer)
        if weight.name == "router.weight"
    )
    for number, block in enumerate(layer.blocks):
        start = f"{number}.{block.kind}."
        for weight in tower.layer_weights(layer):
            if weight.name.startswith(start):
                total += _sharded(setting, block, replace(weight, name=weight.name.removeprefix(start)))
    return total


def _sharded(setting: Setting, block: AnyBlock, weight: Weight) -> int:
    """Bytes of a chip's part of a weight of a block."""
    mapping = setting.mapping
    rows, rest = weight.shape[0], weight.shape[1:]
    name = weight.name.split(".")[0]
    match block:
        case Attention():
            groups = max(block.groups // mapping.tp, 1) * block.head_dim
            own = {"q": ceil_div(rows, mapping.tp), "gate": ceil_div(rows, mapping.tp), "k": groups, "v": groups}
            rows = own.get(name, ceil_div(rows, mapping.tp) if name == "sinks" else rows)
            rest = (ceil_div(rest[0], mapping.tp),) if weight.name == "o.weight" else rest
        case LatentAttention():
            rows = ceil_div(rows, mapping.tp) if name in ("q", "q_up", "kv_up") else rows
            rest = (ceil_div(rest[0], mapping.tp),) if weight.name == "o.weight" else rest
        case StateAttention() if weight.name == "o.weight":
            rest = (ceil_div(rest[0], mapping.tp),)
        case StateAttention() if name != "out_norm":
            rows = ceil_div(rows, mapping.tp)
        case FeedForward():
            rows, rest = _halved(weight, name, rows, rest, mapping.tp)
        case Experts() if weight.name.startswith("experts."):
            part = weight.name.split(".")[1]
            inner = ceil_div(block.inner, mapping.expert_tp)
            rows = ceil_div(rows, mapping.experts_parts)
            shape = {"gate": (inner, *rest[1:]), "up": (inner, *rest[1:]), "down": (rest[0], inner)}[part]
            rest = shape if weight.role == "expert" else (inner,) if part != "down" else rest
        case Experts() if name == "shared":
            rows, rest = _halved(weight, weight.name.split(".")[1], rows, rest, mapping.tp)
        case _:
            pass
    # routers stay in 16 bits
    options = setting.options
    form: WeightFormat | None = options.expert_weight if name == "experts" else options.weight
    if name in ("router", "shared_gate"):
        form = None
    return _stored(weight, form, rows, rest)


def _halved(weight: Weight, name: str, rows: int, rest: tuple[int, ...], tp: int) -> tuple[int, tuple[int, ...]]:
    if name in ("gate", "up"):
        return ceil_div(rows, tp), rest
    return rows, (ceil_div(rest[0], tp),) if weight.role == "matrix" else rest


def _stored(weight: Weight, form: WeightFormat | None, rows: int, rest: tuple[int, ...]) -> int:
    """Bytes of ``rows`` of a weight: operands of products in their format, everything else in 16 bits."""
    if form is None or weight.role in ("table", "vector"):
        return rows * math.prod(rest) * ELEMENT
    if weight.role == "expert":
        return rows * form.matrix_bytes(rest[0], rest[1])
    return form.matrix_bytes(rows, math.prod(rest))


# keys and values


def cache_bytes(setting: Setting, tower: Tower) -> int:
    """Cached keys and values of a tower on one chip, every layer with as many tokens as it still needs."""
    if not tower.causal or not setting.batch.text:
        return 0
    build = Builder(setting, tower, setting.batch.text)

    def layer_bytes(layer: ModelLayer) -> int:
        own = replace(build, parts=build.through(layer)) if layer.share < 1 else build
        return sum(_block_cache_bytes(setting, own, block) for block in layer.blocks) * layer.times

    sizes = [layer_bytes(layer) for layer in tower.runs]
    if setting.mapping.pp == 1:
        return sum(sizes)
    flat = [size // layer.times for layer, size in zip(tower.runs, sizes, strict=True) for _ in range(layer.times)]
    first, most = 0, 0
    for count in setting.mapping.layers_of_stage(len(flat)):
        most = max(most, sum(flat[first : first + count]))
        first += count
    return most


def _block_cache_bytes(setting: Setting, build: Builder, block: AnyBlock) -> int:
    size = DTYPE_BYTES[setting.options.kv_format]
    if isinstance(block, LatentAttention):
        return sum(_cached_tokens(setting, part, None) for part in build.own_parts) * block.cache_elements * size
    if isinstance(block, StateAttention):
        return sum(part.sequences for part in build.own_parts) * kept_bytes(block, setting.mapping.tp)
    if not isinstance(block, Attention):
        return 0
    groups = max(block.groups // setting.mapping.tp, 1)
    elements = 2 * groups * block.head_dim
    if block.context:
        return sum(part.context * part.sequences for part in build.own_parts) * elements * size
    total = 0
    for part in build.own_parts:
        if setting.options.policy != "full" and part.kind == "decode":
            total += _policy_bytes(setting, build, block, part)
        else:
            total += _cached_tokens(setting, part, block.window) * elements * size
    return total


def _cached_tokens(setting: Setting, part: Part, window: int | None) -> int:
    """Of all sequences of a part on one chip."""
    kept = ceil_div(part.total, setting.mapping.cp)
    return part.sequences * (min(kept, window) if window else kept)


def _policy_bytes(setting: Setting, build: Builder, block: Attention, part: Part) -> int:
    """What a KV policy keeps of one layer in the chip's memory, whole pages and its own state together."""
    attending = Attending(build, block, "")
    workload = replace(
        attending.workload(block.model_copy(update={"window": None, "block": None}), part),
        layers=1,
        phase="decode",
        mask="full",
    )
    return _policy_capacity(workload, setting.options.policy, setting.options.budget, setting.chip)


@lru_cache(maxsize=MOST_KEPT)
def _policy_capacity(workload: Workload, policy: str, budget: int, chip: Accelerator) -> int:
    """Bytes of a layer under a policy; layers and the changes that are tried for a step have them in common."""
    parameters = PolicyParameters(policy=policy, budget=budget, layers=1)
    return get_chip_algorithm("decode.policy").plan(workload, parameters, chip).capacity_bytes


# activations


def activation_bytes(setting: Setting, layers: Sequence[Layer]) -> int:
    """The most that is alive at a time in any layer, with the stream that goes through all of them."""
    most = 0
    for layer in layers:
        tower = setting.model.tower(layer.tower)
        if tower is None:
            continue
        parts = setting.batch.text if tower.modality == "text" else setting.batch.encoded(tower)
        stream = Builder(setting, tower, parts).stream_bytes
        most = max(most, stream + high_water_bytes(layer.operations))
    return most


def high_water_bytes(operations: Sequence[Operation]) -> int:
    """The most that tensors between operations take at a time.

    A tensor is there from the operation that makes it to the last that takes it; one that nothing takes is added to the
    stream at the end of the operation that makes it.
    """
    last: dict[str, int] = {}
    for number, operation in enumerate(operations):
        for tensor in operation.makes:
            last.setdefault(tensor.name, number)
        for name in operation.takes:
            last[name] = number
    alive: dict[str, int] = {}
    most = 0
    for number, operation in enumerate(operations):
        alive |= {tensor.name: tensor.bytes for tensor in operation.makes}
        most = max(most, sum(alive.values()))
        alive = {name: size for name, size in alive.items() if last[name] > number}
    return most


def forget_weights() -> None:
    """Forget what was added up."""
    _WEIGHTS.clear()
    _policy_capacity.cache_clear()
