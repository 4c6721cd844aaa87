"""SN40L (arXiv:2405.07518, MICRO 2024; Hot Chips 2024 slides): three memory tiers and a composition of experts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import product

from algorithms.chip.latent.fusion import fused_bytes, unfused_bytes
from algorithms.chip.latent.orders import plain_program
from algorithms.memory.experts import ExpertMemory, dense_parameters, draw_requests, serve
from algorithms.workload.text import load_workload
from hwmodels.chips.accelerator import load_accelerator
from studies.reproductions.register import Row, quoted, reproduced, reproduction

ABSTRACT = "arXiv:2405.07518, abstract"
SLIDE = "Hot Chips 2024, SN40L slides"

BFLOAT16_BYTES = 2
EXPERTS = 150
"""Of Samba-CoE (abstract)."""
NODE_SOCKETS, RACK_SOCKETS, DGX_GPUS = 8, 16, 8
NODE_DDR_BYTES_PER_SECOND = 1.0e12
"""DDR of a node of 8 sockets as the paper's switching times imply; the slides' 100 GB/s per socket make 0.8 TB/s."""
NODE_DDR_BYTES = 12e12
"""Of 8 sockets (slides: 24 TB for 16)."""
LLAMA2_7B = {"feed_forward": 11008, "vocabulary": 32000}
LLAMA3_8B = {"feed_forward": 14336, "vocabulary": 128256}

TOKENS = (20, 200)
"""Generated per request; not stated, so a band."""
GPU_BANDWIDTH_SHARE = (0.2, 0.6)
"""Of peak that token generation reaches: 0.2 is the maker's figure for GPUs (DAC 2025 abstract), 0.6 a kind one."""
SOCKET_BANDWIDTH_SHARE = 0.75
"""The maker's figure for fused decoder layers (ibidem)."""
SKEWS = (0.0, 1.0)
"""Exponent of the popularity of experts; not stated, so a band."""
REQUESTS = 4000
PROMPTS = (512, 1024, 2048, 4096)


@reproduction("sn40l", "SN40L: expert switching, footprint, residency and fusion")
def sn40l() -> Iterable[Row]:
    """Switching times and ratios from tier bandwidths and model sizes, boxes from capacities, request traces through an
    LRU of experts, and fused against unfused attention from the bytes that its operations move."""
    yield from _switching()
    yield from _footprint()
    yield from _residency()
    yield from _fusion()
    yield quoted("bandwidth used when generating tokens, 8 and 16 sockets", "%", (75, 100), "DAC 2025 abstract")


def _switching() -> Iterator[Row]:
    socket = load_accelerator("sambanova_sn40l")
    hbm, ddr = socket.tier("hbm"), socket.tier("ddr")
    llama3 = dense_parameters(load_workload("llama3-8b"), **LLAMA3_8B) * BFLOAT16_BYTES
    slide = ExpertMemory(llama3, RACK_SOCKETS * hbm.capacity_bytes, RACK_SOCKETS * ddr.bytes_per_second)
    yield reproduced(
        "switch to Llama-3.1-8B, 16 sockets",
        "ms",
        10.0,
        slide.switch_s * 1e3,
        SLIDE,
        within_pct=1.0,
        note=f"{llama3 / 1e9:.2f} GB from DDR at 16 x {ddr.bytes_per_second / 1e9:.0f} GB/s",
    )
    node = _node(NODE_DDR_BYTES_PER_SECOND)
    slower = _node(NODE_SOCKETS * ddr.bytes_per_second)
    yield reproduced("switch of one Llama-2-7B expert, 8 sockets", "ms", None, node.switch_s * 1e3, ABSTRACT)
    for chip, published in (("a100_sxm4_80g", 31), ("h100_sxm5_80g", 15)):
        link = load_accelerator(chip).link("pcie").bytes_per_second
        host = _dgx(chip).switch_s
        name = "DGX " + chip.split("_")[0].upper()
        yield reproduced(
            f"switching speed over a {name}",
            "x",
            published,
            host / node.switch_s,
            ABSTRACT,
            within_pct=10.0,
            note=f"1 TB/s against one PCIe x16 of {link / 1e9:.3g} GB/s; the 1 TB/s is what the claim implies",
        )
        yield reproduced(
            f"switching speed over a {name}, DDR rate of the slides",
            "x",
            published,
            host / slower.switch_s,
            ABSTRACT,
            within_pct=10.0,
            note="100 GB/s per socket, as the slides say, does not reach the ratio of the abstract",
        )


def _footprint() -> Iterator[Row]:
    dgx = DGX_GPUS * load_accelerator("h100_sxm5_80g").memory.capacity_bytes
    expert = _expert_bytes()
    yield reproduced(
        "DGX boxes whose HBM holds what one node's DDR holds",
        "boxes",
        19,
        math.ceil(NODE_DDR_BYTES / dgx),
        ABSTRACT,
        within_pct=0.0,
        note=f"{NODE_DDR_BYTES / 1e12:.0f} TB over {dgx / 1e9:.0f} GB",
    )
    yield reproduced(
        "parameters of all experts",
        "T",
        1.0,
        EXPERTS * expert / BFLOAT16_BYTES / 1e12,
        ABSTRACT,
        within_pct=5.0,
        note=f"{EXPERTS} x Llama-2-7B: {EXPERTS * expert / 1e12:.2f} TB, in DDR of {NODE_DDR_BYTES / 1e12:.0f} TB",
    )
    note = f"{EXPERTS} fit neither here nor into a DGX"
    yield reproduced("experts resident in HBM of 8 sockets", "experts", None, _node(1e12).resident, "slides", note=note)


def _residency() -> Iterator[Row]:
    """Requests through an LRU: the share that misses, and time per request against DGX boxes."""
    node = _node(NODE_DDR_BYTES_PER_SECOND)
    rates = [serve(node, draw_requests(EXPERTS, REQUESTS, skew=skew), 0.0).miss_rate for skew in SKEWS]
    yield reproduced(
        "requests that switch, LRU",
        "%",
        None,
        (100 * min(rates), 100 * max(rates)),
        "-",
        note=f"{REQUESTS} requests, popularity of experts from uniform to Zipf with exponent {SKEWS[-1]:g}",
    )
    for chip, published in (("a100_sxm4_80g", 6.6), ("h100_sxm5_80g", 3.7)):
        ratios = [
            _request_s(_dgx(chip), chip, DGX_GPUS, share, tokens, skew)
            / _request_s(node, "sambanova_sn40l", NODE_SOCKETS, SOCKET_BANDWIDTH_SHARE, tokens, skew)
            for tokens, share, skew in product(TOKENS, GPU_BANDWIDTH_SHARE, SKEWS)
        ]
        yield reproduced(
            f"time per request over a DGX {chip.split('_')[0].upper()}",
            "x",
            published,
            (min(ratios), max(ratios)),
            ABSTRACT,
            note="the setting is unknown: "
            f"{TOKENS[0]} to {TOKENS[1]} tokens per request, GPUs at {GPU_BANDWIDTH_SHARE[0]:.0%} to "
            f"{GPU_BANDWIDTH_SHARE[1]:.0%} of their bandwidth, popularity uniform to Zipf",
        )


def _request_s(memory: ExpertMemory, chip: str, chips: int, bandwidth_share: float, tokens: int, skew: float) -> float:
    """Mean time of a request that generates `tokens`, each of which reads the expert's weights once."""
    bandwidth = chips * load_accelerator(chip).memory.bytes_per_second * bandwidth_share
    trace = draw_requests(EXPERTS, REQUESTS, skew=skew)
    run = serve(memory, trace, tokens * memory.expert_bytes / bandwidth)
    return run.seconds / run.requests


def _fusion() -> Iterator[Row]:
    """Attention blocks of Llama-2-7B, prompts and one decode step."""
    base = load_workload("llama2-7b").with_(dtype="bfloat16", mask="causal")
    ratios = []
    for tokens in PROMPTS:
        program = plain_program(base.with_(q_len=tokens, kv_len=tokens, phase="prefill"))
        ratios.append(unfused_bytes(program, BFLOAT16_BYTES) / fused_bytes(program, BFLOAT16_BYTES))
        yield reproduced(f"bytes unfused over fused, prompt of {tokens}", "x", None, ratios[-1], "-")
    program = plain_program(base.with_(q_len=1, kv_len=PROMPTS[-1], phase="decode"))
    decode = unfused_bytes(program, BFLOAT16_BYTES) / fused_bytes(program, BFLOAT16_BYTES)
    yield reproduced(
        f"bytes unfused over fused, one token after {PROMPTS[-1]}",
        "x",
        None,
        decode,
        "-",
        note="weights and cache dominate: fusing saves launches here, hardly any bytes",
    )
    yield reproduced(
        "fused over unfused, 8 sockets",
        "x",
        (2, 13),
        (min(ratios), max(ratios)),
        ABSTRACT,
        note=f"ours: bytes of an attention block, prompts of {PROMPTS[0]} to {PROMPTS[-1]} tokens; the claim is about "
        "the time of whole models, in settings that the abstract does not give",
    )


def _expert_bytes() -> int:
    return dense_parameters(load_workload("llama2-7b"), **LLAMA2_7B) * BFLOAT16_BYTES


def _node(ddr_bytes_per_second: float) -> ExpertMemory:
    """Experts in the DDR and HBM of 8 sockets."""
    hbm = load_accelerator("sambanova_sn40l").tier("hbm")
    return ExpertMemory(_expert_bytes(), NODE_SOCKETS * hbm.capacity_bytes, ddr_bytes_per_second)


def _dgx(chip: str) -> ExpertMemory:
    """Experts in host memory, switched over one PCIe x16 into the HBM of 8 GPUs."""
    gpu = load_accelerator(chip)
    return ExpertMemory(_expert_bytes(), DGX_GPUS * gpu.memory.capacity_bytes, gpu.link("pcie").bytes_per_second)
