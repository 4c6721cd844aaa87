"""Steps of a model under a KV policy, run once per policy, workload and memory tiers, whatever the chip.

Costs come from a surrogate stream (see `algorithms.kv.run.timing`), which takes a context of any length; outputs come
from the tensors of the workload, with the same policy, budget and seed. A workload has the queries of its new tokens
alone, so while the context is taken in the newest of them stand for those of the prompt.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from algorithms.chip.plan.exchange import check_tiers, memory_tiers
from algorithms.chip.plan.parameters import TileParameters, bad_choices
from algorithms.kv.budget import KVBudget
from algorithms.kv.cache import Layout
from algorithms.kv.cost import CacheShape, StackCost
from algorithms.kv.layer import Schedule
from algorithms.kv.placement import Placement, Replacement
from algorithms.kv.policy import KVPolicy
from algorithms.kv.run.account import Accounting
from algorithms.kv.run.stream import KVStream
from algorithms.kv.run.timing import StepWorth, TimingOptions, TimingRun
from algorithms.kv.text import parse_policy
from algorithms.registry import Tensors
from algorithms.workload.levers import knob
from algorithms.workload.shape import FloatArray, Workload
from hwmodels.reading.errors import InputError, Problem

if TYPE_CHECKING:
    from hwmodels.chips.accelerator import Accelerator

When = Literal["policy", "step", "prefill"]
_NEUTRAL_TIERS = tuple(f"tier {number}" for number in range(8))
"""Names in a run that chips with different tiers share."""
MEASURED_STEPS = 2
"""The first step after the context still settles what the prompt left; the second is reported."""


@dataclass(frozen=True)
class PolicyParameters(TileParameters):
    """A KV policy, its budget, where keys lie, and what bytes are counted in; `TileParameters` besides.

    Raises
    ------
    InputError
        For a policy that does not parse and for values out of range, all at once.
    """

    policy: str = field(default="full", metadata=knob("a KV policy, e.g. streaming_llm(sink=4,recent=1020)"))
    budget: int = field(default=0, metadata=knob("keys kept per KV head; 0: the policy's own sizes", "token"))
    kept: float = field(default=0.0, metadata=knob("budget as a share of the tokens seen; 0: see budget"))
    layers: int = field(default=0, metadata=knob("attention layers of a step; 0: all of the model"))
    sampled_layers: int = field(
        default=2, metadata=knob("layers that are run where all keep equally much, to stand for all; 0: every layer")
    )
    when: When = field(default="policy", metadata=knob("when keys are dropped: as the policy says, step or prefill"))
    layout: Layout = field(default="slots", metadata=knob("holes of dropped keys: slots, shift or rewrite"))
    page_tokens: int = field(default=16, metadata=knob("keys per page of the cache", "token"))
    placement: str = field(
        default="", metadata=knob("memory tiers from near to far, e.g. hbm,host; empty: all that the chip has")
    )
    cached: int = field(default=0, metadata=knob("blocks held in the nearest of several tiers; 0: the policy's own"))
    replacement: Replacement = field(
        default="lru", metadata=knob("which of these blocks leaves first: lru, or the least attended (score_decay)")
    )
    host_seconds: float = field(
        default=10e-6, metadata=knob("time from a question to the host to its answer, an assumption", "s")
    )

    def __post_init__(self) -> None:
        problems = bad_choices(self, {"when": When, "layout": Layout, "replacement": Replacement})
        if not 0 <= self.kept <= 1:
            problems.append(Problem(f"must lie between 0 and 1 (got {self.kept})", field="kept"))
        if self.kept and self.budget:
            problems.append(Problem("give either budget or kept", field="kept"))
        if self.host_seconds < 0:
            problems.append(Problem(f"must not be negative (got {self.host_seconds})", field="host_seconds"))
        if self.page_tokens < 1:
            problems.append(Problem(f"must be at least 1 (got {self.page_tokens})", field="page_tokens"))
        for attempt in (super().__post_init__, self.chosen):
            try:
                attempt()
            except InputError as error:
                problems += error.problems
        if problems:
            raise InputError(problems)

    @property
    def key_parts(self) -> int:
        """Each layer splits the keys that it attends as they come."""
        return 0

    def chosen(self) -> KVPolicy:
        """The policy; raises InputError at ``policy`` if its text is none."""
        try:
            return parse_policy(self.policy)
        except InputError as error:
            raise InputError(replace(found, field=found.field or "policy") for found in error.problems) from None

    def limit(self) -> KVBudget | None:
        """The budget, or None for the policy's own sizes."""
        if self.kept:
            return KVBudget(fraction_kept=self.kept)
        return KVBudget(tokens=self.budget) if self.budget else None

    def tiers_on(self, chip: Accelerator) -> tuple[str, ...]:
        """Memory tiers in use; raises InputError for one that ``chip`` lacks."""
        named = tuple(part.strip() for part in self.placement.split(",") if part.strip())
        check_tiers(chip, named, "placement")
        return named or memory_tiers(chip)[:2]

    def timing(self, count: int) -> TimingOptions:
        """How the run is counted when keys lie in ``count`` tiers, whose names do not matter to it."""
        tiers = _NEUTRAL_TIERS[:count]
        cached = (self.cached, *(None for _ in tiers[2:])) if self.cached and count > 1 else None
        return TimingOptions(
            accounting=Accounting(self.page_tokens, layout=self.layout, tier=tiers[0]),
            placement=Placement(tiers, cached, self.replacement),
            when=None if self.when == "policy" else self.when,
            sampled_layers=self.sampled_layers,
        )


def cache_shape(workload: Workload, layers: int) -> CacheShape:
    """Cache of one sequence, with ``layers`` layers, or all of the model's if 0."""
    shape = CacheShape.of(workload)
    return CacheShape(
        shape.query_heads,
        shape.kv_heads,
        shape.head_dim,
        shape.value_dim,
        layers or shape.layers,
        shape.element_bytes,
    )


@dataclass(frozen=True)
class RunKey:
    """Everything that the cost of a step depends on."""

    policy: str
    budget: KVBudget | None
    shape: CacheShape
    context_tokens: int
    step_tokens: int
    frames: bool
    options: TimingOptions

    @classmethod
    def of(cls, workload: Workload, parameters: PolicyParameters, tiers: int, frames: bool) -> RunKey:
        """The key of a step that ends at `workload.kv_len` tokens."""
        context = workload.kv_len - MEASURED_STEPS * workload.q_len
        if context < 1:
            least = MEASURED_STEPS * workload.q_len + 1
            message = f"a context of {workload.kv_len} tokens leaves none before {MEASURED_STEPS} steps of "
            raise InputError(Problem(f"{message}{workload.q_len}: take at least {least:,}", field="kv_len"))
        shape = cache_shape(workload, parameters.layers)
        return cls(
            str(parameters.chosen()),
            parameters.limit(),
            shape,
            context,
            workload.q_len,
            frames,
            parameters.timing(tiers),
        )


@lru_cache(maxsize=256)
def step_record(key: RunKey) -> tuple[StackCost, StepWorth]:
    """The step that ends at the context's length, in the steady state: its cost, in tiers of neutral names, its worth.

    Raises
    ------
    InputError
        A budget that does not fit the policy or the context.
    """
    more = MEASURED_STEPS * key.step_tokens
    policy = parse_policy(key.policy)
    run = TimingRun(policy, key.shape, key.context_tokens, key.budget, more, key.options)
    *_, last = run.steps(MEASURED_STEPS, key.step_tokens, "frame" if key.frames else "decode")
    return last, run.worth()


@lru_cache(maxsize=256)
def step_cost_in(key: RunKey, tiers: tuple[str, ...]) -> StackCost:
    """Cost of a step, with the names of a chip's ``tiers``."""
    names = dict(zip(_NEUTRAL_TIERS, tiers, strict=False))
    return StackCost(tuple(layer.in_tiers(names) for layer in step_record(key)[0].layers))


def policy_values(workload: Workload, parameters: PolicyParameters, tensors: Tensors, frames: bool) -> FloatArray:
    """Output of the last step, `(batch, heads, q_len, v_head_dim)`, over the keys that the policy lets it see."""
    q, k, v = tensors
    outputs = [
        _sequence_values(workload, parameters, (q[row], k[row], v[row]), frames, row) for row in range(workload.batch)
    ]
    return np.stack(outputs)


def _sequence_values(
    workload: Workload, parameters: PolicyParameters, tensors: Tensors, frames: bool, sequence: int
) -> FloatArray:
    q, k, v = tensors
    context = workload.kv_len - workload.q_len
    when: Schedule | None = None if parameters.when == "policy" else parameters.when
    stream = KVStream(
        parameters.chosen(),
        cache_shape(workload, 1),
        parameters.limit(),
        source=(k, v),
        accounting=Accounting(parameters.page_tokens, layout=parameters.layout),
        when=when,
        outputs=False,
        seed=workload.seed + sequence,
        context_tokens=workload.kv_len,
    )
    rng = np.random.default_rng([7, workload.seed, sequence])
    information = rng.gamma(1.5, 2.0, workload.kv_len)
    modality = np.full(workload.kv_len, int(frames))
    if context:
        sample = q[:, -min(context, workload.q_len) :]
        stream.step(
            sample,
            k[:, :context],
            v[:, :context],
            phase="prefill",
            closes=True,
            information=information[:context],
            modality=modality[:context],
        )
    stream.outputs = True
    result = stream.step(
        q,
        k[:, context:],
        v[:, context:],
        phase="frame" if frames else "decode",
        causal=workload.mask == "causal" and not frames,
        information=information[context:],
        modality=modality[context:],
    )
    output = np.zeros((workload.heads, workload.q_len, workload.v_head_dim))
    if result.output is not None:
        output[:, workload.q_len - result.output.shape[1] :] = result.output
    return output
