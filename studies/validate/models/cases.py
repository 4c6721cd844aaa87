"""Published and measured steps, each as a batch on a system with the time that it took."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from algorithms.models.mapping import Mapping
from algorithms.models.options import StepOptions
from algorithms.models.steps.batch import parse_batch
from algorithms.models.steps.step import model_step
from algorithms.models.text import load_model
from hwmodels.systems.text import load_system
from studies.validate.models.rows import read_rows


@dataclass(frozen=True)
class Work:
    """A batch that counts so many times.

    Parameters
    ----------
    batch
        As `algorithms.models.batch.parse_batch` reads it.
    times
        How often its step is part of the measured time.
    """

    batch: str
    times: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Case(ABC):
    """A measured time, and how the same is predicted.

    Parameters
    ----------
    group
        What it is scored with.
    seconds
        Measured.
    labels
        Pairs (name, value) that errors are told apart by.
    """

    group: str
    seconds: float
    labels: tuple[tuple[str, str], ...]

    @abstractmethod
    def predicted_s(self) -> float:
        """The time that the simulator gives; raises InputError and SimulatorError where it has none."""


@dataclass(frozen=True, kw_only=True)
class StepCase(Case):
    """Steps of a whole model that make up a measured time.

    Parameters
    ----------
    model, system
        Names of presets.
    mapping, options
        How it ran.
    work
        Steps whose times add up to it.
    """

    model: str
    system: str
    mapping: Mapping
    options: StepOptions
    work: tuple[Work, ...]

    def predicted_s(self) -> float:
        """All steps, each as often as it counts."""
        model, system = load_model(self.model), load_system(self.system)
        return sum(
            work.times * model_step(model, parse_batch(work.batch), system, self.mapping, self.options).seconds
            for work in self.work
        )


GPT_FAST = "pytorch-labs/gpt-fast README: A100-80GB, batch 1, CUDA graphs; tensor parallel by NCCL"
_GPT_FAST = (
    ("gpt-fast bf16", "llama2-7b", "bfloat16", 1, 104.9),
    ("gpt-fast bf16", "llama3-8b", "bfloat16", 1, 93.9),
    ("gpt-fast int8", "llama2-7b", "int8", 1, 155.6),
    ("gpt-fast int8", "llama3-8b", "int8", 1, 137.6),
    ("gpt-fast tp", "llama2-7b", "bfloat16", 2, 168.8),
    ("gpt-fast tp", "llama2-7b", "bfloat16", 4, 254.0),
    ("gpt-fast tp", "llama2-7b", "bfloat16", 8, 328.4),
)
"""(group, model, weights, tp, tokens per second); `tp.py` (141c69e) shares out layers alone."""


def gpt_fast() -> Iterator[Case]:
    """One token of Llama on an A100, as published; contexts are those of the benchmark, up to 200 tokens."""
    for group, model, weights, tp, rate in _GPT_FAST:
        options = StepOptions(weights=weights, exchange="library")
        labels = (("model", model), ("gpu", "a100_sxm"), ("tp", str(tp)), ("batch", "1"))
        yield StepCase(
            group=group,
            seconds=1 / rate,
            labels=labels,
            model=model,
            system="dgx_a100",
            mapping=Mapping(tp=tp, whole_edges=True),
            options=options,
            work=(Work("decode 1 of 128"),),
        )


SYSTEMS = {"h100_sxm": "dgx_h100", "h200_sxm": "dgx_h200", "b200_sxm": "dgx_b200", "gb200": "nvl72"}
DENSE = {
    "Qwen/Qwen3-32B": "qwen3-32b",
    "nvidia/Qwen3-32B-NVFP4": "qwen3-32b",
    "meta-llama/Llama-3.1-70B": "llama3-70b",
    "meta-llama/Llama-3.1-8B-Instruct": "llama3-8b",
    "nvidia/Llama-3.1-8B-Instruct-FP8": "llama3-8b",
}
MIXTURES = {
    "Qwen/Qwen3-235B-A22B-FP8": "qwen3-235b-a22b",
    "deepseek-ai/DeepSeek-R1": "deepseek-v3",
    "deepseek-ai/DeepSeek-V3": "deepseek-v3",
    "openai/gpt-oss-120b": "gpt-oss-120b",
    "moonshotai/Kimi-K2.5": "kimi-k2",
}
FORMATS = {"fp8": "float8", "fp8_block": "float8_block", "nvfp4": "nvfp4", "fp4": "nvfp4", "int4_wo": "int4"}
SILICON = "end_to_end/silicon_points.csv.gz"
SPLITWISE = "end_to_end/splitwise_whole_model.csv"


def silicon_points(folder: Path) -> Iterator[Case]:
    """Time per output token of aggregated serving, as AIConfigurator's repository has it (`silicon_sample.csv`).

    ``batch_size`` requests are under way at all times: a token of each takes a decode step over the mean context, and
    in the time that a request needs for its output every other one has its prompt taken in once.
    """
    for row in read_rows(folder / SILICON):
        if row["mode"] != "agg" or float(row["attention_dp_size"] or 1) > 1:
            continue
        dense = row["model_path"] in DENSE
        model = DENSE.get(row["model_path"]) or MIXTURES.get(row["model_path"])
        if model is None or row["system"] not in SYSTEMS:
            continue
        weights = FORMATS.get(row["gemm_quant_mode"] or row["precision"], "bfloat16")
        options = StepOptions(
            weights="mxfp4" if model.startswith("gpt-oss") else weights,
            head_weights="bfloat16",
            kv="fp8" if row["backend"] == "trtllm" and model != "gpt-oss-120b" else "bfloat16",
        )
        batch, prompt, output = (int(float(row[name])) for name in ("batch_size", "isl", "osl"))
        experts = 1 if dense else max(int(float(row["moe_ep_size"] or 1)), 1)
        work = (
            Work(f"decode 1 of {prompt + output // 2} x{batch}"),
            Work(f"prefill {prompt}", batch / output),
        )
        tp, pp = int(float(row["tp_size"])), int(float(row["pp_size"] or 1))
        labels = (
            ("model", model),
            ("gpu", row["system"]),
            ("tp", str(tp)),
            ("batch", size_bin(batch)),
            ("backend", row["backend"]),
            ("weights", weights),
        )
        group = "silicon dense" if dense else "silicon mixtures"
        yield StepCase(
            group=group,
            seconds=float(row["tpot_ms"]) / 1e3,
            labels=labels,
            model=model,
            system=SYSTEMS[row["system"]],
            mapping=Mapping(tp, pp, 1, experts),
            options=options,
            work=work,
        )


def splitwise(folder: Path) -> Iterator[Case]:
    """Prompts and tokens of whole models on a DGX, as splitwise-sim has them (`data/perf_model.csv`)."""
    systems = {"a100-80gb": "dgx_a100", "h100-80gb": "dgx_h100"}
    models = {"bloom-176b": "bloom-176b", "llama2-70b": "llama2-70b"}
    for row in read_rows(folder / SPLITWISE):
        if row["hardware"] not in systems or row["model"] not in models:
            continue
        prompt, batch, tokens = (int(float(row[name])) for name in ("prompt_size", "batch_size", "token_size"))
        labels = (
            ("model", row["model"]),
            ("gpu", row["hardware"]),
            ("tp", row["tensor_parallel"]),
            ("batch", size_bin(batch)),
        )
        mapping = Mapping(tp=int(float(row["tensor_parallel"])))
        for kind, batch_text, column in (
            ("prompt", f"prefill {prompt} x{batch}", "prompt_ms"),
            ("token", f"decode 1 of {prompt + tokens // 2} x{batch}", "token_ms"),
        ):
            seconds = float(row[column]) / 1e3
            system = systems[row["hardware"]]
            # vLLM of 2023: launches one by one, no graphs
            options = StepOptions(exchange="library", launch="eager", fusion="none")
            yield StepCase(
                group=f"splitwise {kind}",
                seconds=seconds,
                labels=labels,
                model=models[row["model"]],
                system=system,
                mapping=mapping,
                options=options,
                work=(Work(batch_text),),
            )


def size_bin(batch: int) -> str:
    """The bin of a number of sequences or tokens."""
    for most in (1, 4, 16, 64, 256):
        if batch <= most:
            return f"<= {most}"
    return "> 256"


AnyCase = TypeVar("AnyCase", bound=Case)


def sampled(cases: list[AnyCase], count: int, seed: int) -> list[AnyCase]:
    """``count`` of the cases at random; all if there are no more."""
    return cases if len(cases) <= count else random.Random(seed).sample(cases, count)
