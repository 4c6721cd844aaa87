"""Golden cases that are more than a kept set: pages, frames, entropies, walks, memories, clusters."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from algorithms.kv.budget import KVBudget
from algorithms.kv.cache import KVCache
from algorithms.kv.parts.balance import balanced_halving
from algorithms.kv.parts.clusters import WaveIndex, segment_kmeans
from algorithms.kv.policies.evict3r import Evict3R, LayerShares
from algorithms.kv.policies.infini_attention import InfiniAttention, InfiniState
from algorithms.kv.policies.infinipot_v import InfiniPotV
from algorithms.kv.policies.infllm import InfLLM, InfLLMState
from algorithms.kv.policies.quest import Quest, QuestState
from algorithms.kv.policies.sirllm import SirLLM
from algorithms.kv.ranking import IntArray
from algorithms.kv.run.attention import Visible, attend, merge_partials
from algorithms.kv.run.stream import KVStack, KVStream
from algorithms.kv.run.timing import Phase
from algorithms.kv.step import Step
from studies.validate.kv.cases import Array, Case, Given, UnsupportedCaseError
from studies.validate.kv.compare import Overlap, kept_rows, overlap_asked
from studies.validate.kv.run import Computation, doubled, one_shot, output_of, set_outputs, shape_of, state_of

Family = Callable[[Case], Computation]


@dataclass(frozen=True)
class Families:
    """Families by pattern of the upstream text and of the policy name."""

    by_upstream: Sequence[tuple[str, Family]]
    by_policy: Sequence[tuple[str, Family]]


def quest(case: Case) -> Computation:
    """Pages by key bounds for the last query."""
    params = case.params
    streams = case.streams()
    if kept_rows(case.expected.get("kept", [])) == case.query_heads:
        streams = streams.repeated()
    streams = doubled(streams)
    page, recent = params.whole("page_size"), params.whole("recent_size", 0)
    policy = Quest(page=page, pages=params.whole("page_budget"), recent=max(1, recent))
    stream = KVStream(policy, shape_of(streams))
    stream.prefill(streams.q[:, :-1], streams.k[:, :-1], streams.v[:, :-1])
    result = stream.step(streams.q[:, -1:], streams.k[:, -1:], streams.v[:, -1:])
    kept = [row.tolist() for row in result.selected]
    scores = state_of(stream, QuestState).page_scores(streams.q[:, -1:], stream.caches[0])
    prefix = case.n - recent
    pages = [sorted({at // page for at in row if at < prefix}) for row in kept]
    fields = {"pages": pages, "page_scores": scores, "kept": kept, **set_outputs(streams, kept)}
    return Computation(fields)


def infinipot_v(case: Case) -> Computation:
    """One compression of a video cache."""
    params = case.params
    method = params.values.get("method", "infinipot-v")
    if method not in ("infinipot-v", "tar_val"):
        raise UnsupportedCaseError(f"no model for method '{method}'")
    policy = InfiniPotV(
        frame=params.whole("token_per_frame"),
        frames=params.whole("compress_frame_num"),
        system=params.whole("system_size", 0),
        tar_ratio=params.real("tar_ratio", 0.5),
        query_ratio=params.real("query_ratio", 0.25),
        pooling=params.flag("adaptive_pooling", False),
        grid_rows=params.whole("height_width", 14) if params.flag("adaptive_pooling", False) else 1,
    )
    layers = params.whole("num_layers", 1)
    return one_shot(case.streams(), policy, None, params.whole("layer_idx", 0), layers)


def sirllm(case: Case) -> Computation:
    """Room for coming tokens by self-information."""
    recipe = re.search(r"default_rng\((\d+)\)\.gamma\(\s*([\d.]+)\s*,\s*([\d.]+)", case.protocol)
    seed, shape, scale = recipe.groups() if recipe else (9000 + case.seed, 1.5, 2.0)
    information = np.random.default_rng(int(seed)).gamma(float(shape), float(scale), size=case.n)

    def kept(params: Given) -> list[int]:
        policy = SirLLM(params.whole("start_size"), params.whole("recent_size"), params.whole("token_entropy_size"))
        return _sirllm_room(case, policy, information, params.whole("num_coming"))

    first = kept(case.params)
    fields: dict[str, object] = {"kept": first, "entropies_kept": information[first]}
    if "second" in case.params:
        fields["kept_second"] = kept(case.params.inner("second"))
    return Computation(fields)


def _sirllm_room(case: Case, policy: SirLLM, information: Array, coming: int) -> list[int]:
    streams = doubled(case.streams())
    cache = KVCache(case.kv_heads)
    stream = KVStream(policy, shape_of(streams))
    state = stream.states[0]
    whole = Step(0, np.arange(case.n), streams.q, streams.k, streams.v, information=information)
    cache.append(whole.positions, whole.k, whole.v)
    state.append(whole, cache)
    ahead = np.zeros((1, coming, case.d))
    mask = state.make_room(Step(1, np.arange(case.n, case.n + coming), ahead, ahead, ahead), cache)
    if mask is not None:
        cache.retain(mask)
    return [int(at) for at in cache.positions[0]]


def balancekv(case: Case) -> Computation:
    """The balancing walk, in the order of the published code."""
    params = case.params
    streams = doubled(case.streams())
    sink, window = (params.whole(name, 0) for name in ("sinks", "window"))
    offset = re.search(r"seed\s*\+\s*(\d+)", case.protocol)
    rng = np.random.default_rng(case.seed + int(offset.group(1) if offset else 5000))
    halvings = params.whole("itrs")
    inner = slice(sink, case.n - window)
    walk = SimpleNamespace(
        block=params.whole("block_size"),
        gamma=params.real("gamma", 4.0),
        temperature=params.real("temp", 1.0),
        beta=params.real("beta", 0.0),
    )
    order, weights = balanced_halving(
        streams.k[:, inner],
        streams.v[:, inner] if params.flag("value_kernel", True) else None,
        None,
        halvings,
        lambda shape: rng.random((1, *shape)).astype(np.float32)[0].astype(np.float64),
        walk,
    )
    order = order + sink
    rows = np.arange(case.kv_heads)[:, None]
    visible = Visible(
        streams.k[rows, order],
        streams.v[rows, order],
        order,
        bias=np.full(order.shape, halvings * np.log(2.0)),
        value_weight=weights / 2.0**halvings,
    )
    output = attend(streams.q[:, -1:], np.array([case.n]), visible).output[:, 0]
    fields: dict[str, object] = {"kept": order, "weights": weights.astype(int), "attn_out_last_query": output}
    return Computation(fields)


def relay_attention(case: Case) -> Computation:
    """System prompt and own context apart, merged by log-sum-exp."""
    streams = doubled(case.streams())
    cut, last = case.params.whole("system_len"), np.array([case.n])
    parts = []
    for span in (slice(0, cut), slice(cut, case.n)):
        positions = np.arange(case.n)[span][None]
        visible = Visible(streams.k[:, span], streams.v[:, span], positions)
        parts.append(attend(streams.q[:, -1:], last, visible))
    output, alpha = merge_partials(parts[0].output, parts[0].log_sum_exp, parts[1].output, parts[1].log_sum_exp)
    whole = Visible(streams.k, streams.v, np.arange(case.n)[None])
    full = attend(streams.q[:, -1:], last, whole).output
    gap = float(np.abs(output - full).max())
    # upstream's own gap is rounding in single precision; the claim behind it is that there is none
    limit = max(gap, Given(case.expected).real("max_abs_diff_to_full_f64", gap))
    fields = {
        "alpha_system": alpha[:, 0],
        "attn_out_last_query": output[:, 0],
        "max_abs_diff_to_full_f64": limit if gap <= 1e-12 else gap,
    }
    return Computation(fields)


def infini_attention(case: Case) -> Computation:
    """Segments with a compressive memory."""
    streams = doubled(case.streams())
    segment = case.params.whole("segment")
    many = isinstance(case.params.values["beta"], list)
    gates = tuple(case.params.reals("beta")) if many else case.params.real("beta")
    policy = InfiniAttention(segment, gates, case.params.flag("delta_rule", False))
    stream = KVStream(policy, shape_of(streams))
    last = []
    for start in range(0, case.n - segment + 1, segment):
        rows = slice(start, start + segment)
        result = stream.step(streams.q[:, rows], streams.k[:, rows], streams.v[:, rows])
        last.append(output_of(result)[:, -1].ravel())
    memory = state_of(stream, InfiniState).memory
    matrix, normaliser = memory.matrix, memory.normaliser
    if matrix is None or normaliser is None:
        raise UnsupportedCaseError("no segment has entered the memory")
    return Computation(
        {
            "out_last_token_per_segment": last,
            "memory_sum": matrix.sum((1, 2)),
            "z_first4": normaliser.ravel()[:4],
        }
    )


def evict3r(case: Case) -> Computation:
    """Frames through several layers that share a budget."""
    params = case.params
    layers, frame, frames = (params.whole(name) for name in ("layers", "tokens_per_frame", "frames"))
    streams = [doubled(case.streams(case.seed + layer)) for layer in range(layers)]
    policy = Evict3R(
        frame=frame,
        special=params.whole("special_tokens_per_frame"),
        temperature=params.real("temp"),
        accumulator="float16",
    )
    budget = params.real("P") * frames * frame
    if budget != int(budget):
        raise UnsupportedCaseError("P times the tokens of all frames is not a whole number")
    stack = KVStack(policy, shape_of(streams[0], layers), KVBudget(tokens=int(budget)))
    log = []
    for number in range(frames):
        rows = slice(number * frame, (number + 1) * frame)
        stack.step(
            [(s.q[:, rows], s.k[:, rows], s.v[:, rows]) for s in streams],
            phase="frame",
            causal=False,
            final=number == frames - 1,
        )
        if 0 < number < frames - 1:
            shared = stack.streams[0].states[0].layer.shared
            if not isinstance(shared, LayerShares):
                raise UnsupportedCaseError("the layers of this case share no budget")
            shares = shared.shares()
            log.append(
                {
                    "frame": number,
                    "alphas": shares,
                    "remove_counter": [s.tokens_seen - s.states[0].capacity(s.caches[0]) for s in stack.streams],
                    "kept_len": [s.caches[0].count for s in stack.streams],
                }
            )
    kept = [stream.kept()[0].tolist() for stream in stack.streams]
    least = overlap_asked(case.protocol)
    return Computation({"kept_final": kept if least is None else Overlap(kept, least), "log": log})


def infllm(case: Case) -> Computation:
    """Local window, initial tokens and retrieved blocks."""
    params = case.params
    streams = doubled(case.streams())
    strategy = params.values.get("cache_strategy", "lru")
    if strategy != "lru" or params.values.get("fattn") or params.values.get("chunk_topk_calc"):
        raise UnsupportedCaseError("only the LRU cache without batched top-k is modelled")
    policy = InfLLM(
        init=params.whole("n_init"),
        local=params.whole("n_local"),
        block=params.whole("block_size"),
        blocks=params.whole("topk"),
        representatives=params.whole("repr_topk", 1),
        cached=params.whole("max_cached_block"),
        chunk=params.whole("exc_block_size"),
        strict=False,
    )
    stream = KVStream(policy, shape_of(streams))
    prefill = params.whole("prefill")
    outputs: dict[str, Array] = {}
    loads, chosen = [], []
    ends = [*range(policy.chunk, prefill, policy.chunk), prefill, *range(prefill + 1, case.n + 1)]
    start = 0
    for end in ends:
        rows = slice(start, end)
        phase: Phase = "prefill" if end <= prefill else "decode"
        result = stream.step(
            streams.q[:, rows], streams.k[:, rows], streams.v[:, rows], phase=phase, closes=end == prefill
        )
        outputs[str(end - 1)] = output_of(result)[:, -1]
        loads.append((end, result.cost.misses))
        chosen.append(sorted(state_of(stream, InfLLMState).chosen))
        start = end
    state = state_of(stream, InfLLMState)
    return Computation(
        {
            "topk_blocks_per_chunk": chosen,
            "num_blocks": len(state.representatives),
            "cached_blocks_final": list(state.memory.tiers.resident()),
            "block_loads_during_prefill": sum(count for end, count in loads if end <= prefill),
            "block_loads_total": sum(count for _, count in loads),
            "representative_first8": _first_representatives(case, state),
            "attn_out_at_step": outputs,
        }
    )


def _first_representatives(case: Case, state: InfLLMState) -> Array:
    """The first 8 numbers of as many blocks as the case lists."""
    told = case.expected.get("representative_first8")
    listed = len(told) if isinstance(told, list) else 0
    flat = state.representatives.reshape(len(state.representatives), -1)
    return flat[:listed, :8]


def retroinfer(case: Case) -> Computation:
    """Clusters, the zones of the last query, and its output from both."""
    params = case.params
    streams = doubled(case.streams())
    found = segment_kmeans(
        streams.k,
        streams.v,
        params.whole("num_centroids"),
        params.whole("num_segments", 1),
        params.whole("num_iters", 10),
    )
    index = WaveIndex(case.kv_heads)
    index.add(found, 0)
    rank = index.rank(streams.q[:, -1:])
    probe, estimated = params.whole("nprobe"), params.whole("es_clusters")
    zones = [{"retrieval": row[:probe].tolist(), "estimation": row[probe : probe + estimated].tolist()} for row in rank]
    clusters = range(index.clusters)
    fields: dict[str, object] = {
        "cluster_size": found.size,
        "members": [[sorted(index.members(head, [one]).tolist()) for one in clusters] for head in range(case.kv_heads)],
        "centroids_first4": found.centroid[:, :, :4],
        "value_sum_first4": found.value_sum[:, :, :4],
        "selection": zones,
        "attn_out_last_query": _zone_output(case, index, rank, probe, estimated),
    }
    return Computation(fields)


def _zone_output(case: Case, index: WaveIndex, rank: IntArray, probe: int, estimated: int) -> Array:
    streams = doubled(case.streams())
    group = case.query_heads // case.kv_heads
    summaries = index.summaries(rank[:, probe : probe + estimated])
    rows = []
    for head in range(case.kv_heads):
        exact = np.sort(index.members(head, [int(one) for one in rank[head, :probe]]))
        one = slice(head, head + 1)
        entries = type(summaries)(summaries.centroid[one], summaries.value_sum[one], summaries.size[one])
        visible = Visible(streams.k[one, exact], streams.v[one, exact], exact[None], summaries=entries)
        q = streams.q[head * group : (head + 1) * group, -1:]
        rows.append(attend(q, np.array([case.n]), visible).output[:, 0])
    return np.concatenate(rows)


SPECIAL = Families(
    by_upstream=(
        (r"select_quest_pages", quest),
        (r"process_kv_cache", infinipot_v),
        (r"evict_for_space_token_entropy", sirllm),
        (r"balanced_walk", balancekv),
        (r"relay_fusion", relay_attention),
        (r"InfiniAttention", infini_attention),
        (r"evict3r", evict3r),
        (r"ContextManager", infllm),
        (r"segment_k_means", retroinfer),
    ),
    by_policy=(
        (r"quest(_pages)?", quest),
        (r"infinipot_v", infinipot_v),
        (r"sirllm", sirllm),
        (r"balancekv", balancekv),
        (r"relay(_attention|_fusion)?", relay_attention),
        (r"infini_attention", infini_attention),
        (r"evict3r", evict3r),
        (r"infllm", infllm),
        (r"retroinfer(_kmeans)?", retroinfer),
    ),
)
