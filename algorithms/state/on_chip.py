"""Attention with a constant state on the cores of a chip: decoding with the state in memory, prefill with it in a core.

Decoding, a work item is a KV head of a sequence: it loads its state, takes in one token after the other on the vector
lanes, and stores the state again. Prefill, a work item is a KV head of a sequence, or a part of its value columns: the
state stays in the core, and the tokens stream past it in chunks of matrix products. Value columns do not depend on each
other where queries and keys are shared, so they are split over cores when there are more cores than heads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from algorithms.chip.algorithm import TiledAlgorithm, chip_algorithm
from algorithms.chip.plan.plan import Launch, Matmul, TilePlan, TileStep, WorkItem
from algorithms.chip.timing.capacity import check_tensors_fit
from algorithms.registry import Tensors
from algorithms.rounding import ceil_div
from algorithms.state.rule import Array, Gate, Shape, State, StateRule, Tokens, rule_class
from algorithms.workload.levers import knob
from algorithms.workload.shape import DTYPE_BYTES, FloatArray, Workload
from hwmodels.reading.errors import InputError, Problem
from simulator import CapacityError

if TYPE_CHECKING:
    from hwmodels.chips.accelerator import Accelerator

SPLITTABLE = ("linear", "based", "prefix_linear", "ssd", "delta", "gated_delta")
"""Rules whose value columns need nothing of each other."""
_CHUNK = 64
"""Tokens of a chunk when nobody says."""
GATE_VALUES: Mapping[Gate, float] = {"decay": 0.98, "strength": 0.1, "momentum": 0.9}
"""Gates of all tokens where values are computed, as tensors bring none."""


@dataclass(frozen=True)
class StateParameters:
    """What one can change about attention with a constant state on a chip."""

    rule: str = field(default="gated_delta", metadata=knob("rule by which tokens enter and leave the state"))
    state_dtype: str = field(default="float32", metadata=knob("number format in which the state is kept"))
    chunk: int = field(
        default=0,
        metadata=knob("tokens of a chunk in prefill; 0: 64, or the whole sequence where it is shorter", "token"),
    )
    column_parts: int = field(
        default=0, metadata=knob("parts into which the value columns of a head are split; 0: as many as fill the cores")
    )

    def __post_init__(self) -> None:
        problems = []
        if self.state_dtype not in DTYPE_BYTES:
            problems.append(Problem(f"unknown number format {self.state_dtype!r}", field="state_dtype"))
        for name, low in (("chunk", 0), ("column_parts", 0)):
            if getattr(self, name) < low:
                problems.append(Problem(f"must be at least {low} (got {getattr(self, name)})", field=name))
        try:
            rule_class(self.rule)
        except InputError as error:
            problems += error.problems
        if problems:
            raise InputError(problems)

    def made(self) -> StateRule:
        """The rule with its own defaults."""
        return rule_class(self.rule)()

    def chunk_of(self, tokens: int) -> int:
        """Tokens of a chunk of a sequence of so many; raises InputError for a chunk that is longer."""
        if self.chunk > tokens:
            raise InputError(
                Problem(f"must be at most the {tokens:,} tokens of a sequence (got {self.chunk:,})", field="chunk")
            )
        return self.chunk or min(_CHUNK, tokens)


class _OnChip(TiledAlgorithm[StateParameters]):
    """Exact attention is no oracle of these: values are held against the definitions of the rules instead."""

    def prepared(self, workload: Workload, parameters: StateParameters, tensors: Tensors) -> Tensors:
        q, k, v = tensors
        length = np.sqrt((k * k).sum(axis=-1, keepdims=True))
        return q, k / np.where(length > 0, length, 1.0), v

    def values(self, workload: Workload, parameters: StateParameters, tensors: Tensors) -> FloatArray:
        """The rule over all tokens in chunks, with the same gates for all of them and keys of length one."""
        rule, work = parameters.made(), workload
        many = () if "route" not in rule.gates else (rule.start(1, 1, 1)["matrices"].shape[1],)
        streams = work.batch * work.kv_heads

        def laid_out(rows: Array) -> Array:
            flat = rows.reshape(streams, work.kv_len, rows.shape[-1])
            return np.broadcast_to(flat[:, None], (streams, *many, *flat.shape[1:])) if many else flat

        gates: dict[Gate, Array] = {
            name: np.full((streams, work.kv_len), GATE_VALUES[name]) for name in rule.gates if name != "route"
        }
        if many:
            gates["route"] = np.zeros((streams, work.kv_len, many[0] - 1))
        q, k, v = tensors
        queries = q.reshape(streams, work.group_size, work.q_len, work.head_dim)
        state = State(rule, streams, work.head_dim, work.v_head_dim)
        out = state.advance(Tokens(queries, laid_out(k), laid_out(v), gates), chunk=parameters.chunk or _CHUNK)
        return out.reshape(work.batch, work.heads, work.q_len, work.v_head_dim)

    def _plan(
        self,
        workload: Workload,
        parameters: StateParameters,
        chip: Accelerator,
        item: WorkItem,
        items: int,
        *,
        reads_state: bool,
    ) -> TilePlan:
        """One launch of equal items, which begin with a stored state or with an empty one."""
        rule, shape = parameters.made(), shape_of(workload)
        state_bytes = workload.batch * rule.held_elements(shape) * DTYPE_BYTES[parameters.state_dtype]
        tensors = token_bytes(workload, rule) * workload.batch * workload.kv_heads * workload.q_len
        check_tensors_fit(self.name, state_bytes + tensors, chip, workload.dtype)
        work = useful_work(rule, shape, workload)
        moved = workload.batch * rule.moved_elements(shape) * DTYPE_BYTES[parameters.state_dtype]
        # a prompt begins with an empty state, which is only stored at the end
        once = moved if reads_state else moved / 2
        launch = Launch(
            name=parameters.rule,
            items=((item, items),),
            unique_load_bytes=items * item.total("load_bytes"),
            matrix_format=workload.dtype,
        )
        return TilePlan(
            algorithm=self.name,
            launches=(launch,),
            useful_flops=round(work[0]),
            useful_exps=round(work[1]),
            compulsory_bytes=round(once + tensors),
            capacity_bytes=round(state_bytes + tensors),
            core_bytes=round(state_bytes / max(items, 1)),
        )


def shape_of(workload: Workload) -> Shape:
    """Sizes of a layer that a rule sees."""
    return Shape(workload.kv_heads, workload.group_size, workload.head_dim, workload.v_head_dim)


def token_bytes(workload: Workload, rule: StateRule) -> int:
    """Bytes of a token of one KV head: queries, key, value, gates and outputs."""
    group = workload.group_size
    elements = (group + 1) * workload.head_dim + (group + 1) * workload.v_head_dim + len(rule.gates)
    return elements * DTYPE_BYTES[workload.dtype]


def useful_work(rule: StateRule, shape: Shape, workload: Workload) -> tuple[float, float]:
    """FLOPs and exponentials of the recurrent form, which no order of work needs less of than the rule says."""
    step = rule.step_work(shape)
    tokens = workload.batch * workload.q_len
    return tokens * (step.matrix_flops + step.vector_flops), tokens * step.exps


@chip_algorithm("state.decode", StateParameters, has_values=False)
class StateDecode(_OnChip):
    """Decoding with a constant state: each KV head's state is loaded, changed token by token, and stored."""

    def plan(self, workload: Workload, parameters: StateParameters, chip: Accelerator) -> TilePlan:
        """A work item per KV head, or part of its value columns."""
        rule = parameters.made()
        one = Shape(1, workload.group_size, workload.head_dim, workload.v_head_dim)
        heads = workload.batch * workload.kv_heads
        parts = column_parts(parameters, workload, chip, heads)
        state = rule.moved_elements(one) / 2 * DTYPE_BYTES[parameters.state_dtype] / parts
        work = rule.step_work(one)
        step = TileStep(
            load_bytes=ceil_div(token_bytes(workload, rule), parts),
            vector_ops=round((work.vector_flops + work.matrix_flops) / 2 / parts),
            exps=round(work.exps / parts),
        )
        item = WorkItem(steps=((step, workload.q_len),), first_load_bytes=round(state), last_store_bytes=round(state))
        return self._plan(workload, parameters, chip, item, heads * parts, reads_state=True)


@chip_algorithm("state.prefill", StateParameters, has_values=False)
class StatePrefill(_OnChip):
    """Prefill with a constant state: it stays in a core, and chunks of tokens stream past it in matrix products."""

    def plan(self, workload: Workload, parameters: StateParameters, chip: Accelerator) -> TilePlan:
        """A work item per KV head, or part of its value columns; a step per chunk, the last one perhaps shorter."""
        rule = parameters.made()
        heads = workload.batch * workload.kv_heads
        parts = column_parts(parameters, workload, chip, heads)
        one = Shape(1, workload.group_size, workload.head_dim, ceil_div(workload.v_head_dim, parts))
        state = rule.carried_elements(one) * DTYPE_BYTES[parameters.state_dtype]
        chunk = parameters.chunk_of(workload.q_len)
        held = chip.core.sram_bytes + chip.core.register_bytes
        if state > held:
            what = "the state of a head" if parts == 1 else f"one of {parts} parts of the state of a head"
            raise CapacityError(
                f"{self.name}: {what} takes {state:,} bytes, and a core of {chip.name} holds {held:,.0f} "
                "in its local memory and registers"
            )
        whole, rest = divmod(workload.q_len, chunk)
        steps = [(_chunk_step(rule, one, workload, size), times) for size, times in ((chunk, whole), (rest, 1)) if size]
        runs = tuple((step, times) for step, times in steps if times)
        item = WorkItem(steps=runs, first_load_bytes=0, last_store_bytes=round(state))
        return self._plan(workload, parameters, chip, item, heads * parts, reads_state=False)


def column_parts(parameters: StateParameters, workload: Workload, chip: Accelerator, heads: int) -> int:
    """Parts of the value columns of a head: as asked for, or enough to give every core some, 16 columns at least."""
    if parameters.rule not in SPLITTABLE:
        if parameters.column_parts > 1:
            message = f"{parameters.rule} needs all value columns of a head together"
            raise InputError(Problem(message, field="column_parts"))
        return 1
    most = max(1, workload.v_head_dim // 16)
    if parameters.column_parts:
        if parameters.column_parts > workload.v_head_dim:
            message = f"must be at most {workload.v_head_dim} columns (got {parameters.column_parts})"
            raise InputError(Problem(message, field="column_parts"))
        return parameters.column_parts
    parts = 1
    while parts < most and heads * parts < chip.cores:
        parts *= 2
    return min(parts, most)


def _chunk_step(rule: StateRule, shape: Shape, workload: Workload, tokens: int) -> TileStep:
    """Products with the state before the decays and the local weights, products with the values after them."""
    work = rule.chunk_work(shape, tokens)
    products = [
        Matmul(each.rows, each.columns, each.depth)
        for each in rule.chunk_products(shape, tokens)
        for _ in range(each.times)
    ]
    before = [each for each in products if each.depth != tokens]
    after = [each for each in products if each.depth == tokens]
    elements = (shape.group + 1) * shape.key_dim + shape.value_dim + len(rule.gates)
    size = DTYPE_BYTES[workload.dtype]
    return TileStep(
        load_bytes=round((tokens * elements + rule.loaded_again(shape, tokens)) * size),
        scores=tuple(before),
        exps=round(work.exps),
        vector_ops=round(work.vector_flops),
        values=tuple(after),
        store_bytes=tokens * shape.group * shape.value_dim * size,
    )
