"""Replays logged runs on simulated chips, and says how far off latencies are; nothing is fitted to such runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from algorithms.live.deployment import Deployment
from algorithms.live.metrics import tpot_s, ttft_s
from algorithms.live.requests import Request, nanoseconds
from algorithms.live.schedulers.register import Limits
from algorithms.live.serve import ServedRun, serve
from algorithms.live.times.table import TableError, table_error
from algorithms.models.mapping import Mapping
from algorithms.models.options import StepOptions
from algorithms.models.text import load_model
from hwmodels.chips.accelerator import Accelerator, accelerator_aliases, accelerator_names, load_accelerator
from hwmodels.reading.errors import InputError, Problem
from hwmodels.systems.system import System, single
from hwmodels.systems.text import load_system, system_names
from simulator.errors import SimulatorError
from studies.points.point import Json
from studies.validate.served.runs import Logged, Run

MOST_SEQUENCES, MOST_TOKENS = 256, 2048
"""What vLLM takes where a log says nothing (v1/engine/arg_utils.py)."""
MEAN_LIMIT_PCT = {"ttft_s": 10.0, "tpot_s": 5.0, "latency_s": 5.0}
"""Errors of means that a run may have to pass."""
TTFT_LIMIT_S = 0.05
"""So many seconds pass, too."""
FORMATS = {"auto": "bfloat16", "fp8": "fp8", "fp8_e4m3": "fp8"}


@dataclass(frozen=True)
class Figures:
    """Mean, median and 99th percentile of some times."""

    mean: float
    median: float
    p99: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Figures:
        """Of times, each once."""
        return cls(float(np.mean(values)), float(np.median(values)), float(np.percentile(values, 99)))

    def to_json(self) -> dict[str, Json]:
        """As plain values."""
        return {"mean": self.mean, "median": self.median, "p99": self.p99}


@dataclass(frozen=True)
class Replayed:
    """A run and its replay.

    Parameters
    ----------
    run
        As it was logged.
    measured, simulated
        Figures of ``ttft_s``, ``tpot_s``, ``latency_s``; the latter empty where it could not be replayed.
    blocks, blocks_from
        KV blocks of a replica, and whether they were logged.
    busy_s, span_s
        Time in which replicas work, and until the last token.
    preemptions
        Times that requests lost their memory.
    table
        Error of step times that are read between simulated ones.
    why
        Why it could not be replayed.
    """

    run: Run
    measured: dict[str, Figures]
    simulated: dict[str, Figures]
    blocks: int = 0
    blocks_from: str = ""
    busy_s: float = 0.0
    span_s: float = 0.0
    preemptions: int = 0
    table: TableError | None = None
    why: str = ""

    def error_pct(self, what: str, figure: str) -> float:
        """Simulated over measured, minus 1, in per cent."""
        measured = getattr(self.measured[what], figure)
        simulated = getattr(self.simulated[what], figure)
        return float(100 * (simulated / measured - 1))

    @property
    def passed(self) -> bool:
        """Whether all means are near enough."""
        if not self.simulated:
            return False
        off_s = abs(self.simulated["ttft_s"].mean - self.measured["ttft_s"].mean)
        return all(
            abs(self.error_pct(what, "mean")) <= limit or (what == "ttft_s" and off_s <= TTFT_LIMIT_S)
            for what, limit in MEAN_LIMIT_PCT.items()
            if what in self.simulated
        )

    def to_json(self) -> dict[str, Json]:
        """As `attnflow validate served --json` prints it."""
        told: dict[str, Json] = {
            "run": self.run.name,
            "requests": len(self.run.requests),
            "measured": {what: each.to_json() for what, each in self.measured.items()},
            "simulated": {what: each.to_json() for what, each in self.simulated.items()},
            "error_pct": {
                what: {figure: self.error_pct(what, figure) for figure in ("mean", "median", "p99")}
                for what in self.simulated
            },
        }
        if self.why:
            return {**told, "passed": None, "why": self.why}
        return {
            **told,
            "passed": self.passed,
            "kv_blocks": self.blocks,
            "kv_blocks_from": self.blocks_from,
            "preemptions": self.preemptions,
            "busy_s": self.busy_s,
            "span_s": self.span_s,
            "table_error": self.table.mean if self.table else None,
        }


def replay(run: Run) -> Replayed:
    """A run on the chips that it was logged on."""
    measured = _figures([each.ttft_s for each in run.requests], run.requests)
    try:
        deployment = deployment_of(run)
        requests = [
            Request(i, nanoseconds(each.queued_s), each.input_tokens, each.output_tokens)
            for i, each in enumerate(run.requests)
        ]
        times = deployment.times()
        found = serve(requests, deployment.maker(), times, replicas=deployment.groups)
    except (InputError, SimulatorError) as error:
        return Replayed(run, measured, {}, why=str(error).splitlines()[0])
    refused = next((each.refused for each in found.requests if each.refused), "")
    if refused:
        return Replayed(run, measured, {}, why=f"a request can never be served: {refused}")
    steps = [each for log in found.logs for each in zip(log.sequences, log.contexts, log.parts, strict=True)]
    return Replayed(
        run=run,
        measured=measured,
        simulated=_simulated(found),
        blocks=deployment.pool_blocks,
        blocks_from="the log" if run.text.kv_cache.num_gpu_blocks else "the memory that weights leave",
        busy_s=sum(log.busy_ns for log in found.logs) / 1e9 / len(found.logs),
        span_s=found.end_ns / 1e9,
        preemptions=sum(each.preemptions for each in found.requests),
        table=table_error(times, steps),
    )


def _figures(ttft: Sequence[float], requests: Sequence[Logged]) -> dict[str, Figures]:
    tpot = [time for each in requests if (time := each.tpot_s) is not None]
    return _of(ttft, tpot, [each.latency_s for each in requests])


def _simulated(found: ServedRun) -> dict[str, Figures]:
    tpot = [time for each in found.requests if (time := tpot_s(each)) is not None]
    latency = [each.since_arrival_s(each.last_token_ns) for each in found.requests]
    return _of([ttft_s(each) for each in found.requests], tpot, latency)


def _of(ttft: Sequence[float], tpot: Sequence[float], latency: Sequence[float]) -> dict[str, Figures]:
    times = {"ttft_s": ttft, "tpot_s": tpot, "latency_s": latency}
    return {name: Figures.of(values) for name, values in times.items() if values}


def deployment_of(run: Run) -> Deployment:
    """What a log says that it ran on.

    Raises
    ------
    InputError
        A GPU, model or format that is not known.
    """
    engine, cache = run.text.engine_kwargs, run.text.kv_cache
    if engine.dtype not in ("bfloat16", "auto", "float16", "half") or engine.quantization:
        what = engine.quantization or engine.dtype
        raise InputError(Problem(f"weights in {what} are not replayed", field="engine_kwargs"))
    if engine.kv_cache_dtype not in FORMATS:
        raise InputError(Problem(f"keys and values in {engine.kv_cache_dtype} are not replayed", field="engine_kwargs"))
    chip = _chip_of(run.name)
    tp, dp = engine.tensor_parallel_size, engine.data_parallel_size
    mapping = Mapping(tp=tp, dp=dp, ep=tp * dp if engine.enable_expert_parallel else 1)
    return Deployment(
        model=load_model(_known_model(run.text.model)),
        system=_system_of(chip, mapping.chips),
        mapping=mapping,
        options=StepOptions(
            kv=FORMATS[engine.kv_cache_dtype],
            launch="eager" if engine.enforce_eager else "graph",
            exchange="library" if engine.disable_custom_all_reduce else "custom",
            usable=cache.gpu_memory_utilization,
        ),
        limits=Limits(engine.max_num_seqs or MOST_SEQUENCES, engine.max_num_batched_tokens or MOST_TOKENS),
        block_tokens=cache.block_size,
        blocks=cache.num_gpu_blocks,
        prefix_cache=False,  # logs say how long prompts are, not what they have in common
    )


def _plain(name: str) -> str:
    """Letters and digits alone, in lower case."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _chip_of(run: str) -> Accelerator:
    gpu = run.split("/")[0]
    known = {_plain(name): name for name in (*accelerator_names(), *accelerator_aliases())}
    return load_accelerator(known.get(_plain(gpu), gpu))


def _known_model(name: str) -> str:
    """A dated release of a model stands for the model: its sizes are the same."""
    return re.sub(r"-(Instruct|Base)?-?\d{4}$", "", name)


def _system_of(chip: Accelerator, chips: int) -> System:
    """The shipped system of such chips that is just large enough."""
    if chips == 1:
        return single(chip)
    fitting = []
    for name in system_names():
        system = load_system(name)
        if {pool.chip.name for pool in system.pools} == {chip.name} and system.count >= chips:
            fitting.append(system)
    if not fitting:
        raise InputError(Problem(f"no shipped system joins {chips} {chip.name}", field="tensor_parallel_size"))
    return min(fitting, key=lambda system: system.count)


@dataclass(frozen=True)
class ServedReport:
    """All runs of two files."""

    runs: tuple[Replayed, ...]

    @property
    def ok(self) -> bool:
        """Whether a run was replayed, and all that were are near enough."""
        replayed = [each for each in self.runs if each.simulated]
        return bool(replayed) and all(each.passed for each in replayed)

    def to_json(self) -> dict[str, Json]:
        """What ``attnflow validate served --json`` prints."""
        return {
            "runs": [each.to_json() for each in self.runs],
            "passed": sum(each.passed for each in self.runs),
            "failed": sum(bool(each.simulated) and not each.passed for each in self.runs),
            "unsupported": sum(not each.simulated for each in self.runs),
        }


def replay_all(runs: Sequence[Run], tell: Callable[[str], None] = lambda _: None) -> ServedReport:
    """Replay runs one after the other; ``tell`` is told which."""
    found = []
    for run in runs:
        tell(f"{run.name}: {len(run.requests)} requests ...")
        found.append(replay(run))
    return ServedReport(tuple(found))
