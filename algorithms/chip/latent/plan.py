"""A block program as launches for a chip, with counters of what the launches do.

Operations that need nothing of each other share a launch. Elementwise steps and writes to the cache belong to the
product before them. Two kinds of intermediate results never leave a core where that is possible: keys and values
expanded from the latent, and composites of two weights; each of their elements is made once either way. All others
stay in the chip's shared memory if they fit there, and go through the main memory if they do not, which is counted
apart: the counters of a block (`BlockCounters`) are those of the published formulas, without such spills.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace

from algorithms.chip.latent.core import (
    CoreTiles,
    Expansion,
    attention_items,
    core_shape,
    merge_items,
    partial_bytes,
)
from algorithms.chip.latent.gemm import GemmTiles, ItemRuns, Task, gemm_items
from algorithms.chip.latent.program import Append, Attention, Contraction, Pointwise, Program, Role
from algorithms.chip.plan.in_flight import Buffers
from algorithms.chip.plan.plan import Launch, Overlap, TilePlan
from algorithms.rounding import ceil_div

OPS_PER_POINTWISE = 4
"""Square and add, then multiply, of a normalisation; two multiply-adds of a rotation; either with a convert."""


@dataclass(frozen=True)
class BlockCounters:
    """Work and bytes of all launches of a block, added up.

    Parameters
    ----------
    projection_flops, core_flops, recompute_flops
        Useful FLOPs of products with tokens, of scores and results over visible pairs, of products of weights alone.
    weight_bytes, input_bytes, output_bytes
        Bytes of weights and hidden states, each once.
    cache_read_bytes, cache_write_bytes
        Bytes of the cache of all sequences, and of the rows of the new tokens.
    spill_bytes
        Bytes of intermediate results through the main memory, both ways.
    """

    projection_flops: int = 0
    core_flops: int = 0
    recompute_flops: int = 0
    weight_bytes: int = 0
    input_bytes: int = 0
    output_bytes: int = 0
    cache_read_bytes: int = 0
    cache_write_bytes: int = 0
    spill_bytes: int = 0

    def __add__(self, other: BlockCounters) -> BlockCounters:
        return BlockCounters(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def flops(self) -> int:
        """Useful FLOPs of all launches."""
        return self.projection_flops + self.core_flops + self.recompute_flops

    @property
    def compulsory_bytes(self) -> int:
        """Compulsory bytes: everything except spills."""
        cache = self.cache_read_bytes + self.cache_write_bytes
        return self.weight_bytes + cache + self.input_bytes + self.output_bytes


@dataclass(frozen=True)
class BlockTiles:
    """Sizes and choices with nothing automatic left.

    Parameters
    ----------
    core
        Tiles of the attention.
    gemm
        Tiles of the products.
    cores
        Number of cores of the chip.
    kept_bytes
        Largest intermediate result that stays in the chip's shared memory.
    expansion
        Expansion of keys and values from the latent, fused into the attention; None makes them before it.
    composite
        Whether the making of composites of weights is fused into the product that uses them.
    element_bytes, number_format
        Bytes and format of everything stored.
    overlap, row_groups
        Overlap and row groups of the attention, see `algorithms.chip.plan.plan.Launch`.
    buffers
        Tiles on their way to a core.
    """

    core: CoreTiles
    gemm: GemmTiles
    cores: int
    kept_bytes: int
    expansion: Expansion | None
    composite: bool
    element_bytes: int
    number_format: str
    overlap: Overlap = "serial"
    row_groups: int = 1
    buffers: Buffers = field(default_factory=Buffers)


@dataclass(frozen=True)
class BlockPlan:
    """Launches and their counters."""

    plan: TilePlan
    counters: BlockCounters


def plan_block(name: str, program: Program, tiles: BlockTiles, core_bytes: int) -> BlockPlan:
    """Launches of `program` under the `name` of an algorithm; `core_bytes` is what its tiles take of a core."""
    lowering = _Lowering(program, tiles)
    stages = [stage for level in _levels(program, tiles) for stage in lowering.stages(level)]
    counters = sum((stage.counters for stage in stages), BlockCounters())
    held = counters.weight_bytes + sum(
        program.elements(name) * tiles.element_bytes for name in program.given("input", "cache", "output")
    )
    plan = TilePlan(
        algorithm=name,
        launches=tuple(stage.launch for stage in stages if stage.launch.items),
        useful_flops=counters.flops,
        useful_exps=lowering.core.visible_pairs,
        compulsory_bytes=counters.compulsory_bytes,
        capacity_bytes=held + counters.spill_bytes,
        core_bytes=core_bytes,
    )
    return BlockPlan(plan, counters)


def product_tasks(program: Program, tiles: BlockTiles) -> tuple[Task, ...]:
    """Products of the launches of `program`, in order."""
    lowering = _Lowering(program, tiles)
    return tuple(lowering.task(node) for level in _levels(program, tiles) for node in level.nodes.values())


@dataclass(frozen=True)
class _Node:
    """A product, with the name of what elementwise steps behind it make of its result."""

    product: Contraction
    result: str
    composite: Contraction | None = None
    pointwise: int = 0


@dataclass(frozen=True)
class _Stage:
    launch: Launch
    counters: BlockCounters


@dataclass
class _Level:
    """Operations that need the same number of launches before them."""

    nodes: dict[str, _Node] = field(default_factory=dict)
    attention: bool = False


def _levels(program: Program, tiles: BlockTiles) -> list[_Level]:
    """Products and the attention by the number of launches that must come before."""
    inside = _fused_products(program, tiles)
    after: dict[str, int] = dict.fromkeys(program.given("input", "weight", "cache"), 0)
    levels: defaultdict[int, _Level] = defaultdict(_Level)
    for operation in program.operations:
        if isinstance(operation, Append):
            after[operation.cache] = after[operation.new]
        elif isinstance(operation, Pointwise):
            after[operation.out] = after[operation.source]
            nodes = levels[after[operation.source] - 1].nodes
            before = nodes.pop(operation.source)
            nodes[operation.out] = replace(before, result=operation.out, pointwise=before.pointwise + 1)
        else:
            level = max(after[name] for name in _sources(operation))
            fused = operation.out in inside
            after[operation.out] = level if fused else level + 1
            if isinstance(operation, Attention):
                levels[level].attention = True
            elif not fused:
                levels[level].nodes[operation.out] = _Node(operation, operation.out, inside.get(operation.right))
    return [levels[number] for number in sorted(levels)]


def _sources(operation: Contraction | Attention) -> tuple[str, ...]:
    if isinstance(operation, Contraction):
        return operation.left, operation.right
    return (*(name for pair in operation.pairs for name in pair), operation.values)


def _fused_products(program: Program, tiles: BlockTiles) -> dict[str, Contraction]:
    """Intermediate results that never leave a core, with the product that is fused to make them."""
    return {
        product.out: product
        for product in program.contractions
        if (product.part == "recompute" and tiles.composite)
        or (tiles.expansion is not None and product.out in ("keys", "values"))
    }


class _Lowering:
    """Turns levels of a program into launches, remembering what has been loaded before."""

    def __init__(self, program: Program, tiles: BlockTiles) -> None:
        self._program, self._tiles = program, tiles
        self._inside = _fused_products(program, tiles)
        self._loaded: set[str] = set()
        self._appended = {append.new: append.cache for append in program.appends}
        self.core = core_shape(program, tiles.element_bytes, tiles.expansion)

    def stages(self, level: _Level) -> list[_Stage]:
        """The launches of one level: all products in one, then the attention with its merge."""
        stages = [self._products(tuple(level.nodes.values()))] if level.nodes else []
        return [*stages, *self._attention()] if level.attention else stages

    def _products(self, nodes: Sequence[_Node]) -> _Stage:
        tiles = self._tiles
        tasks = [self.task(node) for node in nodes]
        loads, counters = self._loads(name for node in nodes for name in self._operands(node))
        items = gemm_items(tasks, tiles.gemm, tiles.cores)
        kept = 0
        for node, runs in zip(nodes, items, strict=True):
            counters += self._stores(node.result) + _work(node, runs)
            # partial sums are added up in the shared cache: only the result itself leaves it
            leaves = 0 if self._keeps(node.result) else self._size(node.result)
            kept += max(_stored(runs) - leaves, 0)
        launch = Launch(
            name="+".join(node.result for node in nodes),
            items=tuple(run for runs in items for run in runs),
            unique_load_bytes=loads,
            matrix_format=tiles.number_format,
            overlap="ping_pong",
            row_groups=self._row_groups(tasks),
            reused_bytes=sum(task.reused_bytes(tiles.gemm) for task in tasks),
            kept_store_bytes=kept,
        )
        return _Stage(launch, counters)

    def _row_groups(self, tasks: Sequence[Task]) -> int:
        """A tile of a composite is made, converted and used: its halves take turns if either fills the array."""
        gemm = self._tiles.gemm
        return 2 if any(task.composite for task in tasks) and gemm.depth % (2 * gemm.array_rows) == 0 else 1

    def task(self, node: _Node) -> Task:
        program, composite = self._program, node.composite
        # tiles of a composite are made group by group, so what uses them goes through its groups too
        groups = set(program.labels(composite.left)) & set(program.labels(composite.out)) if composite else set()
        groups &= set(program.labels(composite.right)) if composite else set()
        return Task(
            product=program.product(node.product, "".join(groups)),
            element_bytes=self._tiles.element_bytes,
            vector_ops_per_element=1 + OPS_PER_POINTWISE * node.pointwise,
            composite=program.product(composite) if composite else None,
        )

    def _operands(self, node: _Node) -> tuple[str, ...]:
        if node.composite is None:
            return _sources(node.product)
        return (node.product.left, node.composite.left, node.composite.right)

    def _attention(self) -> list[_Stage]:
        program, tiles, core = self._program, self._tiles, self.core
        attention = program.attention
        expansions = [product for name, product in self._inside.items() if name in _sources(attention)]
        sources = [name for name in _sources(attention) if name not in self._inside]
        sources += [name for product in expansions for name in (product.left, product.right)]
        loads, counters = self._loads(sources)
        counters += BlockCounters(core_flops=core.useful_flops, projection_flops=core.expansion_flops)
        partial = partial_bytes(core, tiles.core)
        spill = self._spill(partial)
        counters += BlockCounters(spill_bytes=2 * spill) + self._stores(attention.out)
        items = attention_items(core, tiles.core)
        keeps = not spill if partial else self._keeps(attention.out)
        launch = Launch(
            name="attention",
            items=items,
            unique_load_bytes=loads,
            order="longest_first",
            matrix_format=tiles.number_format,
            overlap=tiles.overlap,
            row_groups=tiles.row_groups,
            shared_by=ceil_div(core.rows, tiles.core.rows),
            kept_store_bytes=_stored(items) if keeps else 0,
        )
        if not partial:
            return [_Stage(launch, counters)]
        joined = merge_items(core, tiles.core.splits, tiles.cores)
        kept = _stored(joined) if self._keeps(attention.out) else 0
        merge = Launch("merge", joined, unique_load_bytes=spill, kept_store_bytes=kept)
        return [_Stage(launch, counters), _Stage(merge, BlockCounters())]

    def _loads(self, names: Iterable[str]) -> tuple[int, BlockCounters]:
        """Bytes that a launch has to get from the main memory, and what they count as."""
        total, counters = 0, BlockCounters()
        for name in dict.fromkeys(names):
            role = self._program.tensors[name].role
            size = self._size(name)
            if role == "cache" and not self._program.reads_cache:
                role = "intermediate"  # the tokens of a prompt: made in the launch before, cached for later ones
            if role == "intermediate" or name in self._loaded:
                spill = self._spill(size)
                total += spill
                counters += BlockCounters(spill_bytes=spill)
                continue
            self._loaded.add(name)
            total += size
            counters += _counted(role, size)
        return total, counters

    def _stores(self, name: str) -> BlockCounters:
        size = self._size(name)
        if name in self._appended:
            return BlockCounters(cache_write_bytes=size)
        if self._program.tensors[name].role == "output":
            return BlockCounters(output_bytes=size)
        return BlockCounters(spill_bytes=self._spill(size))

    def _keeps(self, name: str) -> bool:
        """Whether what is stored under that name stays in the chip until it is used."""
        used_later = name not in self._appended and self._program.tensors[name].role == "intermediate"
        return used_later and not self._spill(self._size(name))

    def _size(self, name: str) -> int:
        return self._program.elements(name) * self._tiles.element_bytes

    def _spill(self, size: int) -> int:
        return size if size > self._tiles.kept_bytes else 0


def _work(node: _Node, runs: ItemRuns) -> BlockCounters:
    """FLOP of the items of a product; what comes first in a step makes a composite."""
    total = sum(item.total("flops") * times for item, times in runs)
    inner = sum(
        product.flops * steps * times for item, times in runs for step, steps in item.steps for product in step.scores
    )
    recompute = total if node.product.part == "recompute" else inner
    return BlockCounters(projection_flops=total - recompute, recompute_flops=recompute)


def _stored(runs: ItemRuns) -> int:
    return sum(item.total("store_bytes") * times for item, times in runs)


def _counted(role: Role, size: int) -> BlockCounters:
    if role == "weight":
        return BlockCounters(weight_bytes=size)
    return BlockCounters(input_bytes=size) if role == "input" else BlockCounters(cache_read_bytes=size)
