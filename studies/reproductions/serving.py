"""Systems that move fewer bytes: a shared prefix, paged memory, low-rank activations, weights in flash."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from algorithms.chip.algorithm import get_chip_algorithm
from algorithms.chip.attention.low_rank import LowRankParameters
from algorithms.chip.attention.prefix import PrefixParameters
from algorithms.chip.plan.plan import TilePlan
from algorithms.chip.plan.profile import unfitted_for
from algorithms.chip.timing.mapping import ChipRun, time_plan
from algorithms.memory.experts import dense_parameters
from algorithms.memory.paging import AllocationTrace, Request, run_contiguous, run_paged
from algorithms.registry import Parameters
from algorithms.workload.shape import Workload
from algorithms.workload.text import load_workload
from hwmodels.chips.accelerator import Accelerator, load_accelerator
from hwmodels.reading.errors import InputError, Problem
from hwmodels.tiers.text import load_tier
from hwmodels.tiers.transfer import FlashTier
from studies.reproductions.register import Row, quoted, reproduced, reproduction

RELAY = "RelayAttention, arXiv:2402.14808"
VLLM = "PagedAttention, arXiv:2309.06180"
FLASH_SVD = "FlashSVD, arXiv:2508.01506"
IN_A_FLASH = "LLM in a flash, arXiv:2312.11514"

MEMORY_SHARE = 0.9
"""Of a GPU's memory for weights and cache."""
PAGE_TOKENS, LONGEST, REQUESTS = 16, 2048, 150
MEAN_PROMPT, MEAN_OUTPUT = 160, 340
"""Of chat logs, about; an assumption."""
SVD_RANKS = (16, 32, 40)
OPT_PARAMETERS, OPT_LAYERS, OPT_HIDDEN, OPT_FEED_FORWARD = 6.7e9, 32, 4096, 16384
FLOAT32_BYTES = 4
FRESH_SHARE, RESIDENT_SHARE = 0.024, 0.521
FLASH_MS, MANAGEMENT_MS = 125.0, 65.0
"""Per token on an M1 Max (LLM in a flash, section 4)."""


@reproduction("relay", "RelayAttention: a shared system prompt read once per step")
def relay() -> Iterable[Row]:
    """Decode steps of Llama-2-7B behind a shared prompt of s tokens, b sequences with c tokens of their own: keys and
    values that plans of split decode and of relay attention load, against b (s + c) and s + b c tokens; and time."""
    chip = load_accelerator("a100_sxm4_80g")
    for prompt, own, batch in ((1024, 256, 8), (1024, 256, 32), (4096, 256, 32), (16384, 128, 32)):
        workload = load_workload("llama2-7b").with_(
            phase="decode", q_len=1, kv_len=prompt + own, batch=batch, mask="full"
        )
        plain, plain_run = _timed("decode.split_kv", workload, chip)
        shared, shared_run = _timed("prefix.relay", workload, chip, PrefixParameters(prefix_len=prompt))
        queries = workload.q_bytes
        loads = _unique(plain) - queries, _unique(shared) - 2 * queries
        setting = f"s = {prompt}, c = {own}, b = {batch}"
        yield reproduced(
            f"KV bytes over relay's, {setting}",
            "x",
            batch * (prompt + own) / (prompt + batch * own),
            loads[0] / loads[1],
            f"{RELAY}: b (s + c) / (s + b c)",
            within_pct=0.5,
        )
        gain = plain_run.seconds / shared_run.seconds
        yield reproduced(f"time over relay's, {setting}", "x", None, gain, RELAY, note="attention of one layer")


@reproduction("paged", "PagedAttention: waste of memory, and the batch that fits without it")
def paged() -> Iterable[Row]:
    """A trace of requests served from the same memory in pages, and contiguously with room for the longest sequence;
    tokens per second from reading weights once per step and every cached token once."""
    base = load_workload("llama2-7b")
    chip = load_accelerator("a100_sxm4_40g")
    weights = dense_parameters(base, 11008, 32000) * base.dtype_bytes
    token = base.cache_elements_per_token * base.dtype_bytes * (base.layers or 1)
    slots = int((MEMORY_SHARE * chip.memory.capacity_bytes - weights) // token)
    trace = _requests()
    pages, whole = run_paged(trace, slots // PAGE_TOKENS, PAGE_TOKENS), run_contiguous(trace, slots, LONGEST)
    setting = f"{REQUESTS} requests at once, means {MEAN_PROMPT} in and {MEAN_OUTPUT} out, {slots:,} slots"
    yield reproduced(
        "slots set aside that hold no token, pages",
        "%",
        (0.0, 5.0),
        100 * pages.waste,
        f"{VLLM}: 'near-zero'",
        note=setting,
    )
    yield reproduced("slots set aside that hold no token, contiguous", "%", None, 100 * whole.waste, VLLM)
    yield reproduced("mean batch over contiguous", "x", None, pages.mean_running / whole.mean_running, VLLM)
    bandwidth = chip.memory.bytes_per_second
    rates = [_tokens_per_second(run, weights, token, bandwidth) for run in (pages, whole)]
    yield reproduced(
        "throughput over contiguous",
        "x",
        (2.0, 4.0),
        rates[0] / rates[1],
        f"{VLLM}, abstract: at equal latency",
        note="ours: a full queue, whole trace; lengths are an assumption near those of chat logs",
    )


@reproduction("flash-svd", "FlashSVD: activations of low-rank attention, expanded in the core")
def flash_svd() -> Iterable[Row]:
    """BERT-base, batch 32, 256 tokens: bytes of Q, K and V that plans load once with rank-R activations and with full
    ones, and the time of both on an A100."""
    chip = load_accelerator("a100_sxm4_80g")
    workload = load_workload("bert-base").with_(batch=32, q_len=256, kv_len=256, phase="prefill", mask="full")
    full, full_run = _timed("flash.q_outer", workload, chip)
    cuts = []
    for rank in SVD_RANKS:
        low, run = _timed("flash.low_rank", workload, chip, LowRankParameters(rank=rank))
        factors = 3 * workload.heads * rank * workload.head_dim * workload.dtype_bytes
        cuts.append(100 * (1 - (_unique(low) - factors) / _unique(full)))
        yield reproduced(
            f"less bytes of Q, K and V, rank {rank}",
            "%",
            100 * (1 - rank / workload.head_dim),
            cuts[-1],
            f"{FLASH_SVD}: 3 B H M R in place of 3 B H M d",
            within_pct=0.1,
        )
        ratio = run.seconds / full_run.seconds
        yield reproduced(
            f"time over full rank, rank {rank}",
            "x",
            1.0,
            ratio,
            f"{FLASH_SVD}: 'no added latency'",
            note="keys and values are expanded again for every tile of queries" if rank == SVD_RANKS[0] else "",
        )
    yield reproduced(
        "less transient activations, BERT-base",
        "%",
        75.0,
        (min(cuts), max(cuts)),
        f"{FLASH_SVD}, abstract",
        note=f"ours: attention alone, ranks {SVD_RANKS[0]} to {SVD_RANKS[-1]}; the abstract does not give the rank",
    )
    yield quoted("less peak activations, BERT-base", "%", 70.2, f"{FLASH_SVD}, abstract")


@reproduction("llm-in-a-flash", "LLM in a flash: bytes per token and what flash delivers")
def llm_in_a_flash() -> Iterable[Row]:
    """OPT-6.7B in float32, half of it in DRAM: neurons that a window of 5 tokens has not loaded yet, as bundles of a
    row and a column, at the random-read rate of a flash tier; against reading all that is not resident."""
    flash = load_tier("nvme_gen4")
    if not isinstance(flash, FlashTier):
        raise InputError(Problem("must be a flash tier", field="nvme_gen4"))
    bundle = 2 * OPT_HIDDEN * FLOAT32_BYTES
    fresh = FRESH_SHARE * OPT_LAYERS * OPT_FEED_FORWARD * bundle
    for chunk in (4096, 8192, 16384, bundle):
        rate = flash.random_bytes_per_second(chunk)
        yield reproduced(f"random reads of {chunk} B", "GB/s", None, rate / 1e9, flash.summary)
    yield reproduced("fresh weights per token", "MB", None, fresh / 1e6, IN_A_FLASH, note="2.4 % of the neurons")
    effective = fresh / (FLASH_MS * 1e-3)
    yield reproduced(
        "flash time per token",
        "ms",
        FLASH_MS,
        1e3 * fresh / flash.random_bytes_per_second(bundle),
        IN_A_FLASH,
        within_pct=20.0,
        note=f"an M1 Max there, {effective / 1e9:.1f} GB/s effective; here a drive of "
        f"{flash.peak_bytes_per_second / 1e9:g} GB/s, of which reads this long get all",
    )
    naive = (1 - RESIDENT_SHARE) * OPT_PARAMETERS * FLOAT32_BYTES
    own = naive / effective / ((FLASH_MS + MANAGEMENT_MS) * 1e-3)
    yield reproduced(
        "speed-up over reading all that is not resident, I/O and management alone",
        "x",
        (4.0, 25.0),
        own,
        f"{IN_A_FLASH}: 4-5x on CPU, 20-25x on GPU",
        note="at the paper's own flash rate for both; the naive baselines there load at other rates and add compute",
    )


def _timed(
    name: str, workload: Workload, chip: Accelerator, parameters: Parameters | None = None
) -> tuple[TilePlan, ChipRun]:
    algorithm = get_chip_algorithm(name)
    decided = algorithm.resolved(workload, algorithm.parameters() if parameters is None else parameters, chip)
    plan = algorithm.plan(workload, decided, chip)
    return plan, time_plan(plan, chip, unfitted_for(decided))


def _unique(plan: TilePlan) -> int:
    """Distinct bytes that the launches get from the main memory."""
    return sum(launch.unique_load_bytes for launch in plan.launches if launch.name != "merge")


def _requests() -> list[Request]:
    """All at once, lengths log-normal and capped, nothing shared."""
    rng = np.random.default_rng(0)

    def lengths(mean: float) -> Iterator[int]:
        spread = 0.8
        drawn = rng.lognormal(np.log(mean) - spread**2 / 2, spread, REQUESTS)
        return iter(np.clip(np.rint(drawn), 1, LONGEST // 2).astype(int).tolist())

    pairs = zip(lengths(MEAN_PROMPT), lengths(MEAN_OUTPUT), strict=True)
    return [
        Request(0, tuple(range(number * LONGEST, number * LONGEST + prompt)), output)
        for number, (prompt, output) in enumerate(pairs)
    ]


def _tokens_per_second(run: AllocationTrace, weights: float, token_bytes: float, bandwidth: float) -> float:
    """Every step reads the weights once and the cached tokens of all running sequences."""
    moved = sum(weights + token_bytes * tokens for tokens in run.logical_tokens)
    return sum(run.running) / (moved / bandwidth)
