"""Benchmarks of steps of whole models: from a model and a batch to its time, with nothing remembered."""

from __future__ import annotations

import time

from algorithms.models.mapping import Mapping
from algorithms.models.steps.batch import parse_batch
from algorithms.models.steps.step import forget_steps, model_step
from algorithms.models.text import load_model
from hwmodels.systems.text import load_system
from studies.benchmarks.register import Figures, benchmark

REPEATS = 5
GENZ_MS = 30.0
"""Analytic estimate of one Llama-2-7B step by GenZ (PyPI genz_llm 0.0.16), as timed on a laptop; not run here."""


@benchmark(
    "model-step",
    "a step of Llama-3-70B on eight H100 and of DeepSeek-V3 on eight H200, 64 sequences decode 4,096 tokens",
    llama3_70b_ms=100,
    deepseek_v3_ms=250,
    repeated_ms=1,
)
def model_steps() -> Figures:
    """The best of several: others share the machine."""
    figures: Figures = {"genz_llama2_7b_ms": GENZ_MS}
    for name, system in (("llama3-70b", "dgx_h100"), ("deepseek-v3", "dgx_h200")):
        figures[f"{name.replace('-', '_')}_ms"] = _milliseconds(name, system, forget=True)
    figures["repeated_ms"] = _milliseconds("llama3-70b", "dgx_h100", forget=False)
    return figures


def _milliseconds(name: str, system: str, *, forget: bool) -> float:
    model, batch, chips = load_model(name), parse_batch("decode 1 of 4096 x64"), load_system(system)
    best = float("inf")
    for _ in range(REPEATS):
        if forget:
            forget_steps()
        begin = time.perf_counter()
        model_step(model, batch, chips, Mapping(tp=8))
        best = min(best, time.perf_counter() - begin)
    return 1e3 * best
