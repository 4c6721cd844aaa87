"""Single layers of models as measured by others: products, norms, rotations, activations, sums."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from algorithms.chip.layers.formats import weight_format
from algorithms.chip.layers.gemm import Gemm
from algorithms.chip.layers.passes import Pass, Passes
from algorithms.chip.timing.mapping import time_launch
from algorithms.chip.timing.memory_rate import at_fidelity
from algorithms.models.blocks import Attention, FeedForward
from algorithms.models.edges import Table
from algorithms.models.model import Model
from algorithms.models.steps.rates import rates_of
from algorithms.models.text import load_model
from algorithms.workload.shape import DTYPE_BYTES
from hwmodels.chips.accelerator import Accelerator, load_accelerator
from hwmodels.reading.errors import InputError, Problem
from studies.validate.models.cases import Case, size_bin
from studies.validate.models.rows import read_rows

VIDUR = "vidur/linear_ops.csv.gz"
CHIPS = {"a100": "a100_sxm4_80g", "h100": "h100_sxm5_80g"}
"""Chips by the names of Vidur's tables."""
FORMAT = "bfloat16"
"""Vidur measured float16, which all these chips treat alike."""


@dataclass(frozen=True, kw_only=True)
class LayerCase(Case):
    """One operation of a layer on a chip.

    Parameters
    ----------
    chip
        Name of a preset; an empty one: there is none.
    operation
        A product, or its elements and kind; None: it is not modelled.
    """

    chip: str
    operation: Gemm | Pass | None

    def predicted_s(self) -> float:
        """One launch and what it costs to start in a graph: a kernel's duration has that in it."""
        if not self.chip:
            raise InputError(Problem(f"no preset for the chip {dict(self.labels)['gpu']!r}"))
        if self.operation is None:
            raise InputError(Problem(f"{dict(self.labels)['op']!r} is not modelled"))
        chip = _chip(self.chip)
        rates = rates_of(chip)
        launch = self.operation.launch(chip)
        profile = rates.product(FORMAT, "graph") if isinstance(self.operation, Gemm) else rates.passes("graph")
        run = time_launch(launch, chip, at_fidelity(launch, chip, profile, "peak"), "symmetric")
        return run.seconds + rates.graph_fixed_s


@cache
def _chip(name: str) -> Accelerator:
    return load_accelerator(name)


def vidur_layers(folder: Path) -> Iterator[LayerCase]:
    """Medians of the layers that Vidur measured (microsoft/vidur, `data/profiling/compute`): one per size."""
    found: dict[tuple[str, ...], list[float]] = defaultdict(list)
    sizes = ("n_head", "n_kv_head", "n_embd", "n_expanded_embd", "num_tokens", "num_tensor_parallel_workers")
    for row in read_rows(folder / VIDUR, "gpu", "model", "op", "use_gated_mlp", "time_us", *sizes):
        key = tuple(row[name] for name in ("gpu", "model", "op", "use_gated_mlp", *sizes))
        found[key].append(float(row["time_us"]))
    for (gpu, model, name, gated, *numbers), times in found.items():
        heads, kv_heads, width, inner, tokens, tp = map(int, numbers)
        yield LayerCase(
            group="vidur products" if name in PRODUCTS else "vidur passes",
            seconds=statistics.median(times) / 1e6,
            labels=(("gpu", gpu), ("model", model), ("op", name), ("tp", str(tp)), ("tokens", size_bin(tokens))),
            chip=CHIPS.get(gpu, ""),
            operation=_operation(name, gated == "True", heads, kv_heads, width, inner, tokens, tp),
        )


PRODUCTS = ("attn_pre_proj", "attn_post_proj", "mlp_up_proj", "mlp_down_proj")
"""Operations that are products; the others pass over elements."""


def _operation(
    name: str, gated: bool, heads: int, kv_heads: int, width: int, inner: int, tokens: int, tp: int
) -> Gemm | Pass:
    """What one chip of ``tp`` does."""
    head_dim = width // heads
    own, own_kv = max(heads // tp, 1) * head_dim, max(kv_heads // tp, 1) * head_dim
    hidden = inner // tp
    shapes = {
        "attn_pre_proj": (own + 2 * own_kv, width),
        "attn_post_proj": (width, own),
        "mlp_up_proj": ((2 if gated else 1) * hidden, width),
        "mlp_down_proj": (width, hidden),
    }
    if name in shapes:
        columns, depth = shapes[name]
        return Gemm(name, tokens, columns, depth, weight_format(FORMAT), FORMAT)
    passes = Passes(FORMAT)
    if name == "input_layernorm":
        return passes.norm(name, tokens, width)
    if name == "mlp_act":
        return passes.activation(name, tokens * hidden, gated=gated)
    if name == "add":
        return passes.add(name, tokens * width)
    if name == "attn_rope":
        return passes.rotary(name, tokens, own + own_kv, 0, 0)
    raise InputError(Problem(f"unknown operation {name!r}", VIDUR, field="op"))


SERVING = "llmservingsim/layers.csv.gz"
SERVING_CHIPS = {"RTX4090": "rtx_4090", "RTXPRO6000": "rtx_pro_6000_server"}
"""Chips by the names of LLMServingSim's tables."""
SERVING_MODELS = {
    "Llama-3.1-8B": "llama3-8b",
    "Qwen3-32B": "qwen3-32b",
    "Qwen3-30B-A3B-Instruct-2507": "qwen3-30b-a3b",
}
"""Presets by the names of models there; what differs between releases of a model is not in a layer's sizes."""
SERVING_PRODUCTS = ("qkv_proj", "o_proj", "gate_up_proj", "down_proj", "lm_head")


def serving_layers(folder: Path) -> Iterator[LayerCase]:
    """Layers that LLMServingSim's profiler measured in vLLM (casys-kaist/LLMServingSim, `profiler/perf`)."""
    names = ("gpu", "model", "tp", "table", "layer", "tokens", "sequences", "split", "time_us")
    for row in read_rows(folder / SERVING, *names):
        layer, rows = row["layer"] or row["table"], row["tokens"] or row["sequences"]
        model, tp = load_model(SERVING_MODELS[row["model"]]), int(row["tp"])
        yield LayerCase(
            group="serving products" if layer in SERVING_PRODUCTS else "serving passes",
            seconds=float(row["time_us"]) / 1e6,
            labels=(
                ("gpu", row["gpu"]),
                ("model", row["model"]),
                ("op", layer),
                ("tp", str(tp)),
                ("tokens", size_bin(int(rows))),
            ),
            chip=SERVING_CHIPS[row["gpu"]],
            operation=_served_operation(layer, model, int(rows), tp),
        )


def _served_operation(layer: str, model: Model, rows: int, tp: int) -> Gemm | Pass | None:
    """What one chip of ``tp`` does of a layer of vLLM; None for what is not modelled (sampling, whole experts)."""
    tower = model.towers[-1]
    blocks = tower.runs[0].blocks
    attention = next(block for block in blocks if isinstance(block, Attention))
    dense = next((block for block in blocks if isinstance(block, FeedForward)), None)
    width, head_dim = tower.width, attention.head_dim
    own = attention.heads // tp * head_dim
    own_kv = max(attention.groups // tp, 1) * head_dim
    inner = dense.inner // tp if dense else 0
    table = next(edge for edge in tower.inputs if isinstance(edge, Table))
    products = {
        "qkv_proj": (own + 2 * own_kv, width),
        "o_proj": (width, own),
        "gate_up_proj": (2 * inner, width),
        "down_proj": (width, inner),
        "lm_head": (table.rows // tp, width),
    }
    if layer in products:
        columns, depth = products[layer]
        return Gemm(layer, rows, columns, depth, weight_format(FORMAT), FORMAT)
    passes = Passes(FORMAT)
    made: dict[str, Pass] = {
        "layernorm": passes.norm(layer, rows, width, residual=True),
        "final_layernorm": passes.norm(layer, rows, width, residual=True),
        "rotary_emb": passes.rotary(layer, rows, own + own_kv, 0, 0),
        "act_fn": passes.activation(layer, rows * inner, gated=True),
        "qk_norm": passes.norm(layer, rows, own + own_kv),
        "embedding": passes.lookup(layer, rows, width, DTYPE_BYTES[FORMAT]),
    }
    return made.get(layer)
