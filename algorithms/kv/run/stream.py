"""Running a KV policy over a stream of tokens: one run gives the attention output and the cost.

`KVStream` is one layer. Per step: make room, append, select, attend, observe, drop. `KVStack` runs the
layers of a model in step, so that policies which compare layers see all of them before anything is dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypedDict, Unpack

import numpy as np

from algorithms.kv.budget import KVBudget
from algorithms.kv.cache import Array, Dropped, KVCache
from algorithms.kv.cost import CacheShape, StackCost, StepCost
from algorithms.kv.layer import LayerContext, Need, Schedule
from algorithms.kv.placement import Placement
from algorithms.kv.policy import HeadPart, KVPolicy, PolicyState
from algorithms.kv.ranking import IntArray, Mask
from algorithms.kv.run.account import Accounting, HeadRecord, step_cost
from algorithms.kv.run.attention import Attended, Visible, attend
from algorithms.kv.step import Seen, Selection, Step, StepDetails
from hwmodels.reading.errors import InputError, Problem


@dataclass(frozen=True, eq=False)
class StepResult:
    """Outcome of one step of one layer.

    Parameters
    ----------
    output
        `(query_heads, m, value_dim)`; None when the stream does not compute outputs.
    answered
        Positions of the queries answered `(m,)`; policies that let queries wait answer older ones.
    selected
        Positions each KV head attended, ascending.
    cost
        Cost of the step.
    """

    output: Array | None
    answered: IntArray
    selected: tuple[IntArray, ...]
    cost: StepCost


class _Part:
    """Heads of a layer under one policy, with their own cache."""

    def __init__(
        self,
        heads: IntArray,
        state: PolicyState,
        cache: KVCache,
        when: Schedule,
        group: int,
    ) -> None:
        self.heads = heads
        self.query_heads = (heads[:, None] * group + np.arange(group)).ravel()
        self.state = state
        self.cache = cache
        self.when = when
        self.every_head = False

    def learns(self, step: Step) -> bool:
        """Whether what attention shows can still decide anything: not once a policy that chooses once has chosen."""
        return self.when == "step" or step.phase == "prefill"

    def wanted(self, step: Step) -> frozenset[Need]:
        """Things that the policy looks at in this step."""
        return self.state.policy.wanted() if self.learns(step) else frozenset()

    def query_rows(self, step: Step) -> IntArray:
        """Rows of `step.q` that belong to these heads; `q` may have fewer heads per group than the model."""
        group = step.q.shape[0] // step.k.shape[0]
        rows: IntArray = (self.heads[:, None] * group + np.arange(group)).ravel()
        return rows

    def narrow(self, step: Step) -> Step:
        """The step as these heads see it."""
        if self.every_head:
            return step
        rows = self.query_rows(step)
        return replace(
            step,
            q=step.q[rows],
            k=step.k[self.heads],
            v=step.v[self.heads],
            next_q=None if step.next_q is None else step.next_q[rows],
        )


class KVStream:
    """One layer's cache under a policy.

    Parameters
    ----------
    policy
        Policy that says what is kept and seen.
    shape
        Heads and widths. Accounting uses these even when the arrays handed to `step` are narrower.
    budget
        Keys per head; None where the policy has its own sizes.
    layer
        Layer number.
    accounting
        Page size, treatment of holes and tiers for the cost records.
    placement
        Tiers for policies that keep keys in a lower one.
    when
        Overrides when the policy drops keys.
    outputs
        Whether attention is computed even where the policy does not need it.
    source
        Whole key and value streams; see `KVCache`.
    seed
        Seed of everything random in the policy.
    context_tokens
        Length the stream will reach, to refuse a budget above it.
    shared
        Object that the states of all layers have in common; made here when None.
    head_labels
        Names of the KV heads that randomness is tied to; their numbers when None.

    Raises
    ------
    InputError
        A budget that does not fit the policy or the context.
    """

    def __init__(
        self,
        policy: KVPolicy,
        shape: CacheShape,
        budget: KVBudget | None = None,
        *,
        layer: int = 0,
        accounting: Accounting | None = None,
        placement: Placement | None = None,
        when: Schedule | None = None,
        outputs: bool = True,
        source: tuple[Array, Array] | None = None,
        seed: int = 0,
        context_tokens: int | None = None,
        shared: object = None,
        head_labels: Sequence[int] | None = None,
    ) -> None:
        if shape.query_heads % shape.kv_heads:
            raise InputError(Problem(f"{shape.query_heads} query heads do not share {shape.kv_heads} KV heads evenly"))
        self.policy = policy
        self.shape = shape
        self.layer = layer
        self.accounting = accounting or Accounting()
        self.outputs = outputs
        self.steps = 0
        self._labels = tuple(range(shape.kv_heads)) if head_labels is None else tuple(head_labels)
        self._records: list[HeadRecord] = []
        shared = policy.share(shape) if shared is None else shared
        parts = policy.split(shape, layer) or (HeadPart(tuple(range(shape.kv_heads)), policy),)
        base = LayerContext(shape, layer, None, (), seed, "", placement, shared, outputs)
        self._parts = [self._start(part, base, budget, when, source, context_tokens) for part in parts]
        self._parts[0].every_head = len(self._parts) == 1

    def _start(
        self,
        part: HeadPart,
        base: LayerContext,
        budget: KVBudget | None,
        when: Schedule | None,
        source: tuple[Array, Array] | None,
        context_tokens: int | None,
    ) -> _Part:
        heads = np.array(part.heads, np.int64)
        shape = replace(self.shape, kv_heads=heads.size, query_heads=heads.size * self.shape.group)
        context = replace(
            base,
            shape=shape,
            heads=tuple(self._labels[head] for head in part.heads),
            budget=part.policy.effective_budget(budget, context_tokens),
        )
        if source is not None and heads.size != self.shape.kv_heads:
            source = source[0][heads], source[1][heads]
        cache = KVCache(heads.size, self.accounting.layout, source)
        state = part.policy.start(context)
        return _Part(heads, state, cache, when or part.policy.when(), self.shape.group)

    # what is there

    @property
    def tokens_seen(self) -> int:
        """Tokens appended so far."""
        return self._parts[0].cache.tokens_seen

    @property
    def states(self) -> tuple[PolicyState, ...]:
        """States of the parts, in order."""
        return tuple(part.state for part in self._parts)

    @property
    def caches(self) -> tuple[KVCache, ...]:
        """Caches of the parts, in order."""
        return tuple(part.cache for part in self._parts)

    def kept(self) -> tuple[IntArray, ...]:
        """Positions resident in each KV head, ascending."""
        rows: list[IntArray] = [np.empty(0, np.int64)] * self.shape.kv_heads
        for part in self._parts:
            for row, head in enumerate(part.heads):
                rows[head] = part.cache.positions[row, : part.cache.lengths[row]].copy()
        return tuple(rows)

    # running

    def prefill(
        self,
        q: Array,
        k: Array,
        v: Array,
        chunk: int | None = None,
        information: Array | None = None,
        modality: IntArray | None = None,
    ) -> list[StepResult]:
        """A prompt, in one causal pass or in chunks; the last one ends the prefill.

        Without `chunk` the policy decides.
        """
        total = k.shape[1]
        chunk = chunk or self.policy.prefill_chunk() or total
        return [
            self.step(
                q[:, start : start + chunk],
                k[:, start : start + chunk],
                v[:, start : start + chunk],
                phase="prefill",
                closes=start + chunk >= total,
                information=None if information is None else information[start : start + chunk],
                modality=None if modality is None else modality[start : start + chunk],
            )
            for start in range(0, total, chunk)
        ]

    def step(self, q: Array, k: Array, v: Array, **details: Unpack[StepDetails]) -> StepResult:
        """Append `m` tokens and answer their queries.

        Parameters
        ----------
        q, k, v
            `(query_heads, m, head_dim)`, `(kv_heads, m, head_dim)`, `(kv_heads, m, value_dim)`.
        **details
            Further fields of `Step`.
        """
        return self.settle(self.advance(self.make_step(q, k, v, **details)))

    def make_step(self, q: Array, k: Array, v: Array, **details: Unpack[StepDetails]) -> Step:
        """The next `Step`, with its number and positions."""
        positions = np.arange(self.tokens_seen, self.tokens_seen + k.shape[1])
        step = Step(self.steps, positions, q, k, v, **details)
        self.steps += 1
        return step

    def advance(self, step: Step) -> Step:
        """First half of a step: everything up to `observe`."""
        self._records = [self._attend(part, part.narrow(step)) for part in self._parts]
        return step

    def settle(self, step: Step) -> StepResult:
        """Second half of a step: drop keys and write the record."""
        for part, record in zip(self._parts, self._records, strict=True):
            narrow = part.narrow(step)
            mask = part.state.keep(narrow, part.cache) if self._due(part, step) else None
            if mask is not None:
                _check_mask(mask, part)
                compact = step.phase == "prefill" and step.closes
                record.dropped.append(part.cache.retain(mask, compact))
        cost = step_cost(self.shape, self.layer, step, self._records, self.accounting)
        return self._result(cost)

    @staticmethod
    def _due(part: _Part, step: Step) -> bool:
        return part.when == "step" or (step.phase == "prefill" and step.closes)

    def _attend(self, part: _Part, step: Step) -> HeadRecord:
        state, cache = part.state, part.cache
        dropped: list[Dropped] = []
        room: Mask | None = state.make_room(step, cache) if cache.count else None
        if room is not None:
            dropped.append(cache.retain(room))
        written = cache.append(step.positions, step.k, step.v)
        state.append(step, cache)
        q, positions = state.queries(step)
        selection = state.select(step, cache)
        answered = step.positions if step.sampled else positions
        wanted = part.wanted(step)
        record = HeadRecord.of(part.heads, state, cache, selection, written, answered, dropped, wanted)
        if q.shape[1] and (self.outputs or state.combines or wanted & {"last_probs", "col_sums"}):
            attended = self._attention(q, positions, step, cache, selection, wanted)
            output = state.combine(step, q, attended.output)
            record.output = output if self.outputs else None
            if part.learns(step):
                state.observe(step, cache, Seen(attended, selection, cache.heads))
        return record

    def _attention(
        self,
        q: Array,
        positions: IntArray,
        step: Step,
        cache: KVCache,
        selection: Selection | None,
        wanted: frozenset[Need],
    ) -> Attended:
        waited = positions[-1] < step.positions[-1]
        return attend(
            q,
            positions,
            _visible(cache, selection),
            causal=step.causal and not waited,
            column_sums="col_sums" in wanted,
            last_probabilities="last_probs" in wanted,
        )

    def _result(self, cost: StepCost) -> StepResult:
        answered = self._records[0].answered
        selected: list[IntArray] = [np.empty(0, np.int64)] * self.shape.kv_heads
        output = None
        for part, record in zip(self._parts, self._records, strict=True):
            for row, head in enumerate(part.heads):
                selected[head] = record.selected_positions(row)
            if record.output is not None:
                if output is None:
                    shape = (self.shape.query_heads, *record.output.shape[1:])
                    output = np.empty(shape, record.output.dtype)
                output[part.query_heads] = record.output
        return StepResult(output, answered, tuple(selected), cost)


def _visible(cache: KVCache, selection: Selection | None) -> Visible:
    """Keys that the queries see, from the cache and the selection."""
    bias = cache.column("bias") if cache.has("bias") else None
    weight = cache.column("value_weight") if cache.has("value_weight") else None
    if selection is None:
        return Visible(cache.keys, cache.values, cache.positions, cache.valid, bias, weight)
    index, n = selection.indices, selection.indices.shape[1]
    full = (selection.lengths == n).all()
    valid = None if full else np.arange(n) < selection.lengths[:, None]
    keys = selection.keys
    values = selection.values
    return Visible(
        np.take_along_axis(cache.keys, index[:, :, None], 1) if keys is None else keys,
        np.take_along_axis(cache.values, index[:, :, None], 1) if values is None else values,
        np.take_along_axis(cache.positions, index, 1),
        valid,
        _added(None if bias is None else np.take_along_axis(bias, index, 1), selection.bias),
        _scaled(None if weight is None else np.take_along_axis(weight, index, 1), selection.value_weight),
        selection.pair_bias,
        selection.pair_count,
        selection.summaries,
    )


def _added(first: Array | None, second: Array | None) -> Array | None:
    return second if first is None else first if second is None else first + second


def _scaled(first: Array | None, second: Array | None) -> Array | None:
    return second if first is None else first if second is None else first * second


def _check_mask(mask: Mask, part: _Part) -> None:
    """Tell the author of a policy what `keep` has to return, where it is something else."""
    cache = part.cache
    allowed = {(cache.heads, cache.count), (1, cache.count), (cache.count,)}
    if np.shape(mask) not in allowed or np.asarray(mask).dtype != bool:
        found = f"{np.asarray(mask).dtype} of shape {np.shape(mask)}"
        expected = f"bool of shape ({cache.heads} heads or 1, {cache.count} keys)"
        name = part.state.policy.name
        raise InputError(Problem(f"keep of KV policy {name!r} must return None or {expected}, it returned {found}"))


class StreamOptions(TypedDict, total=False):
    """Options that `KVStack` hands on to the streams of its layers, see `KVStream`."""

    accounting: Accounting | None
    placement: Placement | None
    when: Schedule | None
    outputs: bool
    seed: int
    context_tokens: int | None
    head_labels: Sequence[int] | None


class KVStack:
    """The layers of a model, stepped together.

    Parameters
    ----------
    policy, shape
        Policy and shape as of `KVStream`; `shape.layers` layers are made.
    budget
        Keys per head and layer.
    **options
        Further options of `KVStream`; `source` may be one pair of streams for all layers or one per layer.
    """

    def __init__(
        self,
        policy: KVPolicy,
        shape: CacheShape,
        budget: KVBudget | None = None,
        *,
        source: tuple[Array, Array] | list[tuple[Array, Array]] | None = None,
        **options: Unpack[StreamOptions],
    ) -> None:
        shared = policy.share(shape)
        sources = source if isinstance(source, list) else [source] * shape.layers
        self.streams = tuple(
            KVStream(policy, shape, budget, layer=layer, source=sources[layer], shared=shared, **options)
            for layer in range(shape.layers)
        )

    def step(self, layers: Sequence[tuple[Array, Array, Array]], **details: Unpack[StepDetails]) -> list[StepResult]:
        """One step of every layer from its (q, k, v)."""
        steps = [
            stream.advance(stream.make_step(q, k, v, **details))
            for stream, (q, k, v) in zip(self.streams, layers, strict=True)
        ]
        return [stream.settle(step) for stream, step in zip(self.streams, steps, strict=True)]


def stack_cost(results: Sequence[StepResult]) -> StackCost:
    """The costs of the layers of one step."""
    return StackCost(tuple(result.cost for result in results))
