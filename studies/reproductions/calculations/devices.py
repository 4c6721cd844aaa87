"""Two kinds of devices for one model: layers on those that compute, attention on those that hold keys and values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from algorithms.chip.algorithm import get_chip_algorithm
from algorithms.chip.plan.profile import unfitted_for
from algorithms.chip.timing.mapping import time_plan
from algorithms.kv.cost import CacheShape
from algorithms.models.mapping import Mapping
from algorithms.models.options import StepOptions
from algorithms.models.steps.batch import parse_batch
from algorithms.models.steps.step import Step, model_step
from algorithms.models.text import load_model
from algorithms.workload.shape import Workload
from hwmodels.chips.accelerator import Accelerator
from hwmodels.reading.errors import InputError, Problem
from hwmodels.systems.system import System
from hwmodels.systems.text import load_system
from studies.reproductions.calculation import Figures, calculation
from studies.reproductions.calculations.kv import cache_shape

DECODING_ROWS = 16
"""Rows of the matrix instruction that decoding takes for a few queries (PTX mma.m16n8k16). The wide one of Hopper has
64, nearly all of them empty then; both pools and the GPUs they are held against take the narrow one."""
ROOMY_BYTES = 1e15
PROFILED_MODEL, PROFILED_TOKENS = "llama3-8b", 330
"""Model of the profile that a host's share is from, and its mean context: 161 tokens and half of 338 (ShareGPT)."""


@dataclass(frozen=True)
class Split:
    """A step of a batch on both pools.

    Parameters
    ----------
    compute_s, attention_s, link_s
        Time of everything but attention; of attention; of all exchanges of a step.
    """

    compute_s: float
    attention_s: float
    link_s: float

    @property
    def serial_s(self) -> float:
        """One after the other."""
        return self.compute_s + self.attention_s + self.link_s


@calculation("attention_offload")
def attention_offload(
    model: str = "llama3-70b",
    system: str = "lamina_2_4",
    compute_system: str = "dgx_h100",
    memory_system: str = "h20_8",
    base_chips: int = 4,
    base_usd_per_hour: float = 44.24,
    prompt_tokens: float = 1154.7,
    output_tokens: float = 211.1,
    usable: float = 0.9,
    link_bytes_per_second: float = 0.0,
    host_share: float = 0.0,
    base_most_sequences: int = 256,
) -> Figures:
    """Decoding with attention on a pool of its own, against GPUs for the same money, each at its full batch.

    Two half batches alternate between the pools (arXiv:2405.01814, section 4), so a step takes twice the slower pool,
    or what one half batch takes from end to end; exchanges are not hidden behind work of the same half batch. The GPUs
    hold weights and caches together. A request's cache is at its mean length, prompt and half of the output.

    ``host_share`` is the share of time that a serving engine's host takes with a small model on one GPU; the host takes
    as long for every step of others. GPUs wait for it after each step; of the pools one half batch does while the other
    is on, so it counts where a half batch with its host takes longer than two turns. ``base_most_sequences`` bounds the
    batch of the GPUs, as the default of vLLM does.
    """
    pair = load_system(system)
    tokens = round(prompt_tokens + output_tokens / 2)
    shape = cache_shape(model)
    per_sequence = tokens * shape.token_bytes * shape.kv_heads * shape.layers
    memory, compute = pair.pools[1], pair.pools[0]
    room = usable * memory.count * memory.chip.memory.capacity_bytes
    batch = max(int(room // per_sequence), 1)
    rate = link_bytes_per_second or pair.levels[0].bytes_per_second
    within = (load_system(compute_system), load_system(memory_system))
    whole, half = (_split(model, pair, within, size, tokens, rate) for size in (batch, max(batch // 2, 1)))
    base = within[0]
    host_s = _host_s(host_share, base, base_most_sequences)
    step_s = max(2 * max(half.compute_s, half.attention_s, host_s), half.serial_s + host_s)

    base_room = usable * base_chips * base.chip.memory.capacity_bytes - 2.0 * load_model(model).parameters
    base_batch = min(max(int(base_room // per_sequence), 1), base_most_sequences)
    base_step_s = host_s + _step_s(model, base, base_chips, base_batch, tokens)
    ratio = (batch / step_s) / (base_batch / base_step_s)
    usd = pair.usd_per_hour or float("nan")
    return {
        "batch": batch,
        "base_batch": base_batch,
        "batch_ratio": batch / base_batch,
        "throughput_ratio": ratio,
        "per_dollar_ratio": ratio * base_usd_per_hour / usd,
        "compute_s": whole.compute_s,
        "attention_s": whole.attention_s,
        "link_s": whole.link_s,
        "host_s": host_s,
        "compute_chips": compute.count,
    }


def _split(model: str, pair: System, within: tuple[System, System], batch: int, tokens: int, link_rate: float) -> Split:
    """A step of a batch; ``within`` are systems that join the chips of each pool."""
    compute, memory = pair.pools
    linear = _step(model, within[0], compute.count, batch, tokens)
    shape = cache_shape(model)
    width = shape.query_heads * shape.head_dim
    # queries go over and results come back, keys and values of the new token go over
    moved = (2 * width + 2 * shape.kv_heads * shape.head_dim) * shape.element_bytes * batch * shape.layers
    latency = 2 * shape.layers * pair.levels[0].latency_s
    attention_s = _attention_s(shape, memory.chip, memory.count, batch, tokens)
    return Split(_without_attention_s(linear), attention_s, latency + moved / link_rate)


def _host_s(share: float, system: System, sequences: int) -> float:
    """Time of a host for a step, of which it has a share where the model of a profile runs on one GPU."""
    if not 0.0 <= share < 1.0:
        raise InputError(Problem(f"must be from 0 to below 1 (got {share:g})", field="host_share"))
    return share / (1.0 - share) * _step_s(PROFILED_MODEL, system, 1, sequences, PROFILED_TOKENS) if share else 0.0


def _step_s(model: str, system: System, chips: int, batch: int, tokens: int) -> float:
    """A step of a batch on chips that hold weights and caches together."""
    rest = _without_attention_s(_step(model, system, chips, batch, tokens))
    return rest + _attention_s(cache_shape(model), system.pools[0].chip, chips, batch, tokens)


def _without_attention_s(step: Step) -> float:
    """Time of everything but attention."""
    return sum(
        layer.times * (each.seconds + each.gap_s)
        for layer in step.layers
        for each in layer.operations
        if each.kind != "attention"
    )


@lru_cache(maxsize=256)
def _attention_s(shape: CacheShape, chip: Accelerator, chips: int, batch: int, tokens: int) -> float:
    """Attention of all layers, heads dealt to the chips: a kernel whose tiles have `DECODING_ROWS` rows."""
    workload = Workload(
        "decode",
        "decode",
        shape.query_heads // chips,
        shape.kv_heads // chips,
        1,
        tokens,
        shape.head_dim,
        batch=batch,
        mask="full",
        dtype="bfloat16",
    )
    own = chip.with_(**{"core.matrix_rows": DECODING_ROWS, f"{chip.memory.name}.capacity_bytes": ROOMY_BYTES})
    algorithm = get_chip_algorithm("decode.split_kv")
    decided = algorithm.resolved(workload, algorithm.parameters(tile_rows=DECODING_ROWS), own)
    run = time_plan(algorithm.plan(workload, decided, own), own, unfitted_for(decided))
    return shape.layers * run.seconds


@lru_cache(maxsize=256)
def _step(model: str, system: System, chips: int, batch: int, tokens: int) -> Step:
    """A decode step, whose memory was counted elsewhere."""
    pools = []
    for pool in system.pools:
        roomy = pool.chip.with_(**{f"{pool.chip.memory.name}.capacity_bytes": ROOMY_BYTES})
        pools.append(replace(pool, chip=roomy))
    return model_step(
        load_model(model),
        parse_batch(f"decode 1 of {tokens} x{batch}"),
        replace(system, pools=tuple(pools)),
        Mapping(tp=chips),
        StepOptions(),
    )
