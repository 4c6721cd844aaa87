"""Running a policy over the streams of a golden case, and attention over given sets of keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from algorithms.kv.budget import KVBudget
from algorithms.kv.cache import KVCache
from algorithms.kv.cost import CacheShape
from algorithms.kv.policies.adakv import AdaState
from algorithms.kv.policy import KVPolicy, PolicyState
from algorithms.kv.run.attention import Visible, attend
from algorithms.kv.run.stream import KVStream, StepResult
from algorithms.kv.run.timing import Phase
from algorithms.kv.score import ScoreState
from algorithms.kv.step import Step
from studies.validate.kv.cases import Array, Case, Streams, UnsupportedCaseError
from studies.validate.kv.compare import TIE, Cut

S = TypeVar("S", bound=PolicyState)


@dataclass
class Computation:
    """What the project computes for a case.

    Parameters
    ----------
    fields
        Values by the names of the case's `expected`.
    kept, cut
        Kept keys per head, and where the ranking was cut, for ties.
    outputs_of
        Fields that follow from a kept set.
    remarks
        For the row.
    """

    fields: dict[str, object]
    kept: Sequence[Sequence[int]] = ()
    cut: Cut | None = None
    outputs_of: Callable[[Sequence[Sequence[int]]], Mapping[str, object]] | None = None
    remarks: list[str] = field(default_factory=list)

    def use(self, kept: Sequence[Sequence[int]]) -> None:
        """Take `kept` as the kept set."""
        self.kept = kept
        self.fields["kept"] = [list(row) for row in kept]
        if self.outputs_of is not None:
            self.fields.update(self.outputs_of(kept))


def shape_of(streams: Streams, layers: int = 1) -> CacheShape:
    """Cache shape of a case's tensors."""
    return CacheShape(streams.q.shape[0], streams.k.shape[0], streams.k.shape[2], layers=layers)


def doubled(streams: Streams) -> Streams:
    """The same numbers in double precision."""
    return Streams(*(tensor.astype(np.float64) for tensor in (streams.k, streams.v, streams.q)))


def last_query_output(streams: Streams, kept: Sequence[Sequence[int]]) -> Array:
    """Attention of the last query over the kept keys of its KV head: `(query_heads, d)`."""
    group = streams.q.shape[0] // len(kept)
    rows = []
    for head, positions in enumerate(kept):
        picked = np.asarray(positions, np.int64)
        visible = Visible(streams.k[head][picked][None], streams.v[head][picked][None], picked[None])
        q = streams.q[head * group : (head + 1) * group, -1:]
        rows.append(attend(q, np.array([streams.q.shape[1]]), visible).output[:, 0])
    return np.concatenate(rows)


def set_outputs(streams: Streams, kept: Sequence[Sequence[int]]) -> dict[str, object]:
    """Fields that every one-shot case has."""
    got = last_query_output(streams, kept)
    full = last_query_output(streams, [range(streams.k.shape[1])] * streams.k.shape[0])
    error = np.linalg.norm(got - full, axis=-1) / np.linalg.norm(full, axis=-1)
    return {
        "attn_out_last_query": got,
        "mean_rel_err_vs_full": float(error.mean()),
        "kept_per_head": [len(row) for row in kept],
    }


def one_shot(
    streams: Streams, policy: KVPolicy, budget: KVBudget | None, layer: int = 0, layers: int = 1
) -> Computation:
    """Compress a whole sequence once with `policy`."""
    streams = doubled(streams)
    stream = KVStream(policy, shape_of(streams, layers), budget, layer=layer, when="step", outputs=False)
    step = stream.make_step(streams.q, streams.k, streams.v, phase="prefill", closes=True)
    stream.advance(step)
    cut = _cut(stream, step)
    stream.settle(step)
    kept = [row.tolist() for row in stream.kept()]
    return Computation(
        {"kept": kept, **set_outputs(streams, kept)},
        kept,
        cut,
        lambda chosen: set_outputs(streams, chosen),
    )


def _cut(stream: KVStream, step: Step) -> Cut | None:
    """Where a scoring policy is about to cut; None for any other policy."""
    state, cache = stream.states[0], stream.caches[0]
    if len(stream.states) > 1:
        return None
    if isinstance(state, AdaState) and state.policy.variant == "original":
        return _contested_cut(state, step, cache)
    if not isinstance(state, ScoreState):
        return None
    scores = np.broadcast_to(state.masked_score(step, cache), (cache.heads, cache.count))
    protected = state.protected(step, cache)
    capacity = np.full(cache.heads, min(state.capacity(cache), cache.count))
    return Cut(scores if protected is None else np.where(protected, np.inf, scores), capacity, capacity)


def _contested_cut(state: AdaState, step: Step, cache: KVCache) -> Cut:
    """Heads compete: a head may win any number of the places tied at the threshold."""
    window, past, weighted, room = state.contest(step, cache)
    places = min(cache.heads * room, int(np.isfinite(weighted).sum()))
    threshold = np.sort(weighted.ravel())[-places]
    sure = (weighted > threshold * (1 + TIE)).sum(1)
    possible = (weighted >= threshold * (1 - TIE)).sum(1)
    fewest, most = (window.sum(1) + state.sizes(won, room) for won in (sure, possible))
    return Cut(np.where(window, np.inf, past), fewest, most)


@dataclass
class OnlineRun:
    """A stream run pass by pass.

    Parameters
    ----------
    kept_after
        Kept positions per head after the pass that ends at a position.
    attended
        Keys each pass attended.
    evicted
        Positions dropped in each pass (of the first head).
    outputs
        Output of the last query of a pass, by position.
    scores
        Scores of kept keys by position, where the policy has a column of that name.
    """

    kept_after: dict[int, list[list[int]]] = field(default_factory=dict)
    attended: list[int] = field(default_factory=list)
    evicted: list[list[int]] = field(default_factory=list)
    outputs: dict[int, Array] = field(default_factory=dict)
    scores: dict[int, Array] = field(default_factory=dict)


def online(streams: Streams, policy: KVPolicy, prefill: int, score: str | None = None) -> OnlineRun:
    """Prefill `prefill` tokens in one pass, then one token per pass."""
    streams = doubled(streams)
    stream = KVStream(policy, shape_of(streams))
    run = OnlineRun()
    n = streams.k.shape[1]
    ends = [*([prefill] if prefill > 0 else []), *range(max(prefill, 0) + 1, n + 1)]
    before: list[list[int]] = [[] for _ in range(streams.k.shape[0])]
    start = 0
    for end in ends:
        rows = slice(start, end)
        phase: Phase = "prefill" if end - start > 1 else "decode"
        result = stream.step(
            streams.q[:, rows], streams.k[:, rows], streams.v[:, rows], phase=phase, closes=phase == "prefill"
        )
        kept = [row.tolist() for row in stream.kept()]
        present = set(before[0]) | set(range(start, end))
        run.kept_after[end - 1] = kept
        run.attended.append(max(result.cost.attended))
        run.evicted.append(sorted(present - set(kept[0])))
        run.outputs[end - 1] = output_of(result)[:, -1]
        if score is not None:
            run.scores[end - 1] = np.array(stream.caches[0].column(score))
        before, start = kept, end
    return run


def output_of(result: StepResult) -> Array:
    """Output of a step of a stream that computes outputs."""
    if result.output is None:
        raise UnsupportedCaseError("the stream of this case computes no outputs")
    return result.output


def state_of(stream: KVStream, kind: type[S]) -> S:
    """The only state of a stream, which must be of type `kind`."""
    state = stream.states[0]
    if not isinstance(state, kind):
        raise UnsupportedCaseError("the policy of this case has another state")
    return state


def rows_or_all(case: Case, rows: Sequence[Sequence[int]], expected: object) -> object:
    """`rows`, or the one list all heads share when the case writes a flat one."""
    flat = isinstance(expected, list) and (not expected or not isinstance(expected[0], list))
    if not flat:
        return [list(row) for row in rows]
    if any(list(row) != list(rows[0]) for row in rows):
        raise UnsupportedCaseError(f"{case.id} expects one list but heads differ")
    return list(rows[0])
