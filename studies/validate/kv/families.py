"""Which policy a golden case is about, and how its parameters are named there."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from algorithms.kv.budget import KVBudget
from algorithms.kv.policies.adakv import AdaKV
from algorithms.kv.policies.block import Block
from algorithms.kv.policies.chunk import Chunk
from algorithms.kv.policies.duo_attention import DuoAttention
from algorithms.kv.policies.h2o import H2O
from algorithms.kv.policies.h2o_oneshot import H2OOneShot
from algorithms.kv.policies.keydiff import KeyDiff
from algorithms.kv.policies.knorm import KNorm
from algorithms.kv.policies.lagkv import LagKV
from algorithms.kv.policies.observed_attention import ObservedAttention
from algorithms.kv.policies.pyramidkv import PyramidKV
from algorithms.kv.policies.snapkv import SnapKV
from algorithms.kv.policies.streaming_llm import StreamingLLM
from algorithms.kv.policies.tova import Tova
from algorithms.kv.policy import KVPolicy
from studies.validate.kv.cases import Case, Streams, UnsupportedCaseError
from studies.validate.kv.compare import kept_rows
from studies.validate.kv.run import Computation, one_shot, online, rows_or_all
from studies.validate.kv.special import SPECIAL

P = TypeVar("P", bound=KVPolicy)
Family = Callable[[Case], Computation]


def family_of(case: Case) -> Family:
    """The function that computes a case.

    The class or file named in `upstream` decides; without a known one the case's `policy` does.

    Raises
    ------
    UnsupportedCaseError
        Neither is known.
    """
    for pattern, family in _BY_UPSTREAM:
        if re.search(pattern, case.upstream):
            return family
    name = re.sub(r"[^a-z0-9]+", "_", case.policy.lower()).strip("_")
    for pattern, family in _BY_POLICY:
        if re.fullmatch(pattern, name):
            return family
    raise UnsupportedCaseError(f"no model for policy '{case.policy}' of '{case.upstream}'")


def _streams(case: Case) -> Streams:
    """The case's tensors; with keys repeated per query head where it lists kept keys that way."""
    streams = case.streams()
    rows = kept_rows(case.expected.get("kept", []))
    per_query_head = rows == case.query_heads != case.kv_heads
    return streams.repeated() if per_query_head else streams


# kvpress: a removed share


def _kept_share(case: Case) -> KVBudget:
    ratio = case.params.real("compression_ratio")
    return KVBudget(fraction_kept=1 - ratio)


def _press(policy: Callable[[Case], KVPolicy]) -> Family:
    def compute(case: Case) -> Computation:
        layers = case.params.whole("num_layers", case.params.whole("num_hidden_layers", 1))
        layer = case.params.whole("layer_idx", 0)
        return one_shot(_streams(case), policy(case), _kept_share(case), layer, layers)

    return compute


def _given(case: Case, **names: str) -> dict[str, object]:
    """Parameters under this project's names, for those the case states."""
    return {ours: case.params.values[theirs] for ours, theirs in names.items() if theirs in case.params}


def _made(kind: Callable[..., P], *inner: KVPolicy, **fields: object) -> P:
    """A policy whose fields a case names: the policy itself refuses what does not fit."""
    return kind(*inner, **fields)


def _press_snapkv(case: Case) -> KVPolicy:
    return _made(SnapKV, **{"window": 64, **_given(case, window="window_size", kernel="kernel_size")})


def _press_pyramid(case: Case) -> KVPolicy:
    given = _given(case, window="window_size", kernel="kernel_size", beta="beta")
    return _made(PyramidKV, **{"window": 64, **given})


def _press_lagkv(case: Case) -> KVPolicy:
    return _made(LagKV, **_given(case, sink="n_sink", lag="lag_size", cross_scoring="cross_scoring"))


def _press_streaming(case: Case) -> KVPolicy:
    return _made(StreamingLLM, rotate=False, **_given(case, sink="n_sink"))


_PRESSES: dict[str, Callable[[Case], KVPolicy]] = {
    "knorm": lambda case: KNorm(),
    "keydiff": lambda case: KeyDiff(),
    "lagkv": _press_lagkv,
    "snapkv": _press_snapkv,
    "tova": lambda case: Tova(force_last=True),
    "observed_attention": lambda case: ObservedAttention(),
    "observedattention": lambda case: ObservedAttention(),
    "streaming_llm": _press_streaming,
    "streamingllm": _press_streaming,
}


def _base(case: Case) -> KVPolicy:
    """The press that a wrapping press holds, from `base` (or `press`) or from the policy's own text."""
    named = case.params.values.get("base", case.params.values.get("press"))
    if named is None:
        inner = re.search(r"\(\s*([A-Za-z_0-9]+)", case.policy)
        named = inner.group(1) if inner else ""
    name = re.sub(r"press$", "", str(named).lower().split("(")[0].strip())
    if name not in _PRESSES:
        raise UnsupportedCaseError(f"no model for the inner press '{named}'")
    return _PRESSES[name](case)


def _press_adakv(case: Case) -> KVPolicy:
    return _made(AdaKV, _base(case), **_given(case, floor="alpha_safeguard"))


def _press_chunk(case: Case) -> KVPolicy:
    return _made(Chunk, _base(case), **_given(case, tokens="chunk_length"))


def _press_block(case: Case) -> KVPolicy:
    return _made(Block, _base(case), **_given(case, tokens="block_size"))


def _duo(case: Case) -> Computation:
    params = case.params
    streaming = _streaming_heads(case)
    pattern = tuple(0 if head in streaming else 1 for head in range(case.kv_heads))
    policy = DuoAttention(
        sink=params.whole("sink_size", 128),
        recent=params.whole("recent_size", 256),
        pattern=(pattern,),
    )
    return one_shot(_streams(case), policy, None)


def _streaming_heads(case: Case) -> set[int]:
    """KV heads that stream, from a mask, a list, or scores and the share that streams."""
    params = case.params
    for name in ("streaming_mask", "streaming_heads_mask"):
        if name in params:
            return {head for head, streams in enumerate(params.reals(name)) if streams}
    if "streaming_heads" in params:
        if params.is_mask("streaming_heads"):
            return {head for head, streams in enumerate(params.reals("streaming_heads")) if streams}
        return set(params.wholes("streaming_heads"))
    for name in ("retrieval_heads", "full_heads", "full_attention_heads"):
        if name in params:
            return set(range(case.kv_heads)) - set(params.wholes(name))
    if "head_scores" in params and "head_compression_ratio" in params:
        scores = np.array(params.reals("head_scores"))
        count = round(scores.size * params.real("head_compression_ratio"))
        return {int(head) for head in np.argsort(scores)[:count]}
    raise UnsupportedCaseError("the case does not say which heads stream")


# SnapKV and KVCache-Factory: an absolute capacity


def _capacity(case: Case) -> int:
    for name in ("max_capacity_prompt", "max_capacity", "capacity", "cache_size"):
        if name in case.params:
            return case.params.whole(name)
    raise UnsupportedCaseError("the case gives no capacity")


def _clusters(policy: Callable[[Case], KVPolicy]) -> Family:
    def compute(case: Case) -> Computation:
        capacity = _capacity(case)
        layers = case.params.whole("num_hidden_layers", case.params.whole("num_layers", 1))
        layer = case.params.whole("layer_idx", 0)
        layers = max(layers, layer + 1)
        return one_shot(_streams(case), policy(case), KVBudget(tokens=capacity), layer, layers)

    return compute


def _window(case: Case) -> int:
    return case.params.whole("window_size", 64)


def _snap_parameters(case: Case) -> dict[str, object]:
    return _given(case, window="window_size", kernel="kernel_size", pooling="pooling", aggregate="gqa_score_agg")


def _cluster_adakv(case: Case) -> KVPolicy:
    base = _made(SnapKV, **{"window": 32, "kernel": 7, "pooling": "maxpool", **_snap_parameters(case)})
    stated = [case.params.real(name) for name in ("floor", "floor_ratio", "floor_alpha") if name in case.params]
    return AdaKV(base, stated[0] if stated else 0.2, "original", case.params.flag("normalize", True))


def _cluster_pyramid(case: Case) -> KVPolicy:
    given = {"beta": 20, **_given(case, beta="beta")}
    return _made(PyramidKV, variant="factory", **given, **{"window": 64, **_snap_parameters(case)})


def _cluster_h2o(case: Case) -> KVPolicy:
    return H2OOneShot(window=_window(case))


def _cluster_l2norm(case: Case) -> KVPolicy:
    return KNorm(skip_layers=tuple(case.params.wholes("skip_layers", ())))


def _cluster_streaming(case: Case) -> KVPolicy:
    sink = _capacity(case) - _window(case)
    return StreamingLLM(sink=sink, recent=_window(case), rotate=False)


def _cluster_snapkv(case: Case) -> KVPolicy:
    return _made(SnapKV, **{"window": 64, **_snap_parameters(case)})


# one token per step


def _online_fields(case: Case, policy: KVPolicy, score: str | None = None) -> Computation:
    prefill = case.params.whole("prefill", 0)
    run = online(case.streams(), policy, prefill, score)
    wanted = case.expected

    def kept(end: int, field: object) -> object:
        return rows_or_all(case, run.kept_after[end], field)

    after = wanted.get("kept_after_step")
    fields: dict[str, object] = {
        "kept_final": kept(case.n - 1, wanted.get("kept_final")),
        "kept_after_step": {
            step: kept(int(step), value) for step, value in (after if isinstance(after, dict) else {}).items()
        },
        "kv_len_attended_per_step": run.attended,
        "kv_len_attended_per_pass": run.attended,
        "evicted_per_pass": run.evicted,
        "attn_out_at_step": {str(end): output for end, output in run.outputs.items()},
    }
    if run.scores:
        fields["score_of_kept"] = {str(end): scores for end, scores in run.scores.items()}
    return Computation(fields)


def _streaming_llm(case: Case) -> Computation:
    policy = StreamingLLM(case.params.whole("start_size"), case.params.whole("recent_size"), rotate=False)
    computation = _online_fields(case, policy)
    for name in case.expected:
        room = re.fullmatch(r"evict_for_space_(\d+)_on_full_sequence", name)
        cut = re.fullmatch(r"evict_range_(\d+)_(\d+)_on_full_sequence", name)
        if room:
            computation.fields[name] = policy.kept_for(case.n, int(room.group(1))).tolist()
        elif cut:
            start, end = int(cut.group(1)), int(cut.group(2))
            computation.fields[name] = [at for at in range(case.n) if not start <= at < end]
    return computation


def _tova(case: Case) -> Computation:
    return _online_fields(case, Tova(tokens=_capacity(case)))


def _h2o(case: Case) -> Computation:
    policy = H2O(case.params.whole("hh_size"), case.params.whole("recent_size"))
    return _online_fields(case, policy, "score")


_BY_UPSTREAM: Sequence[tuple[str, Family]] = (
    (r"AdaKVPress", _press(_press_adakv)),
    (r"ChunkKVPress", _press(_press_chunk)),
    (r"BlockPress", _press(_press_block)),
    (r"DuoAttentionPress", _duo),
    (r"PyramidKVPress", _press(_press_pyramid)),
    (r"SnapKVPress", _press(_press_snapkv)),
    (r"TOVAPress", _press(_PRESSES["tova"])),
    (r"ObservedAttentionPress", _press(_PRESSES["observed_attention"])),
    (r"KnormPress", _press(_PRESSES["knorm"])),
    (r"KeyDiffPress", _press(_PRESSES["keydiff"])),
    (r"LagKVPress", _press(_PRESSES["lagkv"])),
    (r"StreamingLLMPress", _press(_PRESSES["streaming_llm"])),
    (r"StreamingLLMKVCluster", _clusters(_cluster_streaming)),
    (r"L2NormCluster", _clusters(_cluster_l2norm)),
    (r"H2OKVCluster", _clusters(_cluster_h2o)),
    (r"AdaKVCluster", _clusters(_cluster_adakv)),
    (r"PyramidKVCluster", _clusters(_cluster_pyramid)),
    (r"SnapKVCluster", _clusters(_cluster_snapkv)),
    *SPECIAL.by_upstream,
    (r"StartRecentKVCache", _streaming_llm),
    (r"TOVA", _tova),
    (r"H2OKVCache", _h2o),
)

_BY_POLICY: Sequence[tuple[str, Family]] = (
    (r"streaming_llm", _streaming_llm),
    (r"tova", _tova),
    (r"h2o", _h2o),
    (r"tova_oneshot", _press(_PRESSES["tova"])),
    (r"observed_attention", _press(_PRESSES["observed_attention"])),
    (r"snapkv_group_mean", _press(_press_snapkv)),
    (r"knorm", _press(_PRESSES["knorm"])),
    (r"keydiff", _press(_PRESSES["keydiff"])),
    (r"lagkv", _press(_PRESSES["lagkv"])),
    (r"pyramidkv", _press(_press_pyramid)),
    (r"adakv_\w+", _press(_press_adakv)),
    (r"chunk(kv)?_\w+", _press(_press_chunk)),
    (r"block_\w+", _press(_press_block)),
    (r"duo(_attention)?", _duo),
    (r"h2o_oneshot", _clusters(_cluster_h2o)),
    (r"l2norm", _clusters(_cluster_l2norm)),
    (r"streaming_llm_oneshot", _clusters(_cluster_streaming)),
    (r"snapkv(_gqa)?", _clusters(_cluster_snapkv)),
    (r"adakv", _clusters(_cluster_adakv)),
    *SPECIAL.by_policy,
)
