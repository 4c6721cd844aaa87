"""Predicts rows of whole blocks of latent attention from the profiles of their parts; nothing is fitted to such rows.

A block projects tokens to latent queries and keys, expands queries (and, for prompts, keys and values), attends, and
projects back (DeepSeek-V3, arXiv:2412.19437, section 2.1.1). Products take the profile of the stack's products in the
row's format, the core that of the stack's latent attention; launches follow each other as in a replayed graph.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from algorithms.chip.attention.serving import AttentionCall, ServedAttention
from algorithms.chip.layers.passes import Pass
from algorithms.chip.layers.served import SERVED_PRODUCTS, ServedProduct
from algorithms.chip.plan.served import SERVED_KERNELS
from algorithms.chip.timing.calls import GRAPH_EDGE_S, REFERENCE_CLOCK_HZ, CallEstimate, Part, estimate_call
from algorithms.chip.timing.launch_work import LaunchWork
from algorithms.workload.shape import Workload
from studies.validate.measured.rows.attention import EXPANDED, LATENT, number_format
from studies.validate.measured.rows.prediction import (
    Binned,
    GroupKey,
    RowPrediction,
    RowPredictor,
    UnsupportedRowError,
    predicts,
)
from studies.validate.measured.tables.table import MeasuredTable

HIDDEN, QUERY_RANK, LATENT_RANK, ROPE = 7168, 1536, 512, 64
"""Of DeepSeek-V3: residual stream, latent of queries, latent of keys and values, rotated part of a head."""
CORES = {
    "default": ("trtllm", "default"),
    "FLASHMLA": ("vllm", "vllm_flashmla"),
    "FLASH_ATTN_MLA": ("vllm", "vllm_flash_attn_mla"),
    "FLASH_ATTN": ("vllm", "vllm_flash_attn_mla"),
    "FLASHINFER_MLA": ("sglang", "trtllm_mla"),
    "TRTLLM_RAGGED": ("sglang", "trtllm_mla"),
}
"""Stack and kernel, as the tables of cores call them, of the core in a block."""
NORM_OPS, ROTATE_OPS = 4.0, 6.0
MODEL = "deepseek-ai/DeepSeek-V3"


@predicts(
    "mla_module_prefill",
    "mla_module_decode",
    bins=(Binned("batch", "batch", (1.5, 16.5, 64.5)), Binned("length", "kv_len", (256.5, 4096.5, 32768.5))),
)
class ModuleRows(RowPredictor):
    """Blocks of latent attention."""

    def __init__(self, key: GroupKey, table: MeasuredTable) -> None:
        super().__init__(key, table)
        self.chip = key.chip()
        self.decode = key.table == "mla_module_decode"
        stack, kernel = CORES.get(key.kernel, ("", ""))
        kind = "mla_decode" if self.decode else "mla_prefill"
        found = SERVED_KERNELS.find(kind, stack, key.stack_version, kernel, self.chip)
        self.cores = tuple(ServedAttention(core, self.chip) for core in found)

    def _predict(self, row: int) -> RowPrediction:
        if not self.cores:
            raise UnsupportedRowError(f"no core is known for blocks by {self.key.kernel!r} on {self.chip.name}")
        model = str(self.table.words["model"][row])
        if model != MODEL:
            raise UnsupportedRowError(f"the widths of {model!r} are not known")
        numbers = {name: int(column[row]) for name, column in self.table.numbers.items()}
        tokens = numbers["batch"] * numbers["q_len"]
        calls = [*self._products(row, numbers["heads"], tokens), self._core(row, numbers)]
        launches = [part for call in calls for part in call.launches]
        slower = REFERENCE_CLOCK_HZ / self.chip.clock_hz
        seconds = sum(part.seconds for part in launches) + slower * GRAPH_EDGE_S * len(launches)
        longest = max(launches, key=lambda part: part.seconds)
        return RowPrediction(1e6 * seconds, self.cores[0].kernel.name, f"{longest.name}: {longest.binding}")

    def _products(self, row: int, heads: int, tokens: int) -> Iterator[CallEstimate]:
        """Everything but the core, in the order of the block."""
        product = self._product(str(self.table.words["gemm_type"][row]))
        sizes = [("down", QUERY_RANK + LATENT_RANK + ROPE, HIDDEN, 1), ("queries", heads * EXPANDED[0], QUERY_RANK, 1)]
        if self.decode:
            plain = self._product("bf16")
            for name, columns, depth in (("absorb", LATENT_RANK, EXPANDED[1]), ("values", EXPANDED[1], LATENT_RANK)):
                yield plain.estimate((plain.gemm(name, tokens, columns, depth, heads),), self.chip)
        else:
            sizes.append(("keys and values", heads * 2 * EXPANDED[1], LATENT_RANK, 1))
        sizes.append(("out", HIDDEN, heads * EXPANDED[1], 1))
        for name, columns, depth, count in sizes:
            yield product.estimate((product.gemm(name, tokens, columns, depth, count),), self.chip)
        norm = Pass("norm", tokens * (QUERY_RANK + LATENT_RANK), 2.0, 2.0, NORM_OPS)
        rotated = Pass("rotate and write", tokens * (heads + 1) * ROPE, 2.0, 2.0, ROTATE_OPS)
        parts = [Part(LaunchWork.of(each.launch(self.chip)), warm=True) for each in (norm, rotated)]
        yield estimate_call(parts, self.chip, product.profile)

    def _product(self, form: str) -> ServedProduct:
        found = _product_for(self.key.stack, form, self.chip.name)
        if found is None:
            what = f"products in {form} of {self.key.stack} on {self.chip.name}"
            raise UnsupportedRowError(f"there is no profile of {what}")
        return found

    def _core(self, row: int, numbers: dict[str, int]) -> CallEstimate:
        absorbed = any(core.kernel.text.call.shared_values for core in self.cores)
        keys, values = LATENT if absorbed else EXPANDED
        words = self.table.words
        workload = Workload(
            name="",
            phase="decode" if self.decode else "prefill",
            heads=numbers["heads"],
            kv_heads=1 if absorbed else numbers["heads"],
            q_len=numbers["q_len"],
            kv_len=numbers["kv_len"],
            head_dim=keys,
            v_head_dim=values,
            mask="causal",
            dtype="bfloat16",
            batch=numbers["batch"],
        )
        return self.cores[0].estimate(AttentionCall(workload, number_format(str(words["kv_dtype"][row]))))


@cache
def _product_for(stack: str, form: str, chip: str) -> ServedProduct | None:
    """The first profile of a stack's products in a format on a chip."""
    for product in map(SERVED_PRODUCTS.load, SERVED_PRODUCTS.names()):
        text = product.text
        if "gemm" in text.kinds and stack in text.stacks and form in text.formats and chip in text.chips:
            return product
    return None
