"""The shape of one attention layer and the exact work and traffic that follow from it.

A `Workload` is pure data. Counts are exact integers in the usual conventions (FlashAttention, Dao et al.
2022): one multiply-add is 2 FLOP, softmax is counted apart as exponentials, and a causal mask is counted
pair by pair, not as half of the square.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from algorithms.workload.changes import changed
from hwmodels.reading.cards import html_table
from hwmodels.reading.errors import InputError, Problem, did_you_mean, nearest

Phase = Literal["prefill", "decode"]
Mask = Literal["full", "causal"]
FloatArray = NDArray[np.float64]

DTYPE_BYTES: dict[str, int] = {
    "float64": 8,
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "float8_e4m3": 1,
    "int8": 1,
}
"""Storage size of one element by format name."""
BITS = 8
OPERAND_BITS = {name: BITS * size for name, size in DTYPE_BYTES.items()} | {"float4_e2m1": 4}
"""Of an element of the left operand of a product, by format."""

LARGEST_COUNT = 10**12
"""Largest size of anything: beyond any workload, and small enough to be multiplied and counted."""


def operand_bytes(count: int, number_format: str) -> int:
    """Bytes of ``count`` elements of a left operand or of a result; raises InputError for an unknown format."""
    if number_format not in OPERAND_BITS:
        hint = did_you_mean(number_format, OPERAND_BITS)
        raise InputError(Problem(f"unknown format {number_format!r}", field="activations", hint=hint))
    return -(-count * OPERAND_BITS[number_format] // BITS)  # rounded up


@dataclass(frozen=True)
class LatentAttention:
    """Low-rank projections of multi-head latent attention (DeepSeek-V2, arXiv:2405.04434, section 2.1).

    Parameters
    ----------
    kv_lora_rank
        Width of the latent that is cached for K and V together.
    qk_rope_head_dim
        Width of the shared rotary key cached beside the latent; part of the workload's `head_dim`.
    q_lora_rank
        Width of the query latent; None when queries are projected directly (DeepSeek-V2-Lite).
    """

    kv_lora_rank: int
    qk_rope_head_dim: int
    q_lora_rank: int | None = None

    @property
    def cache_elements(self) -> int:
        """Elements cached per token: the KV latent and the rotary key."""
        return self.kv_lora_rank + self.qk_rope_head_dim


@dataclass(frozen=True)
class Workload:
    """One attention layer: phase, shapes, number format and seed.

    Parameters
    ----------
    name
        Name in reports.
    phase
        ``"prefill"`` (all queries of a prompt) or ``"decode"`` (the newest token or tokens against a cache).
    heads, kv_heads
        Query heads, and the KV heads they share; `heads` is a multiple of `kv_heads`.
    q_len, kv_len
        New tokens, and tokens attended, per sequence.
    head_dim
        Width of a query and of a key head; for latent attention the expanded one, rotary part included.
    v_head_dim
        Width of a value head; `head_dim` when None.
    mask
        ``"full"`` or ``"causal"``; causal masks are aligned to the bottom right (the last query sees every
        key).
    dtype
        Storage format of q, k, v and the output, a key of `DTYPE_BYTES`.
    seed
        Seed of the tensors that `algorithms.workload.tensors.draw_tensors` makes.
    batch
        Number of sequences.
    layers, hidden
        Number of such layers in the whole model, and width of the residual stream; None when unknown.
    latent
        Present for multi-head latent attention.
    source
        Publication that the shape is from.
    citations
        Pairs (field, source) of single numbers; `with_` drops those of the fields it changes.

    Raises
    ------
    InputError
        With every field that is wrong, one line each.
    """

    name: str
    phase: Phase
    heads: int
    kv_heads: int
    q_len: int
    kv_len: int
    head_dim: int
    v_head_dim: int = 0
    mask: Mask = "causal"
    dtype: str = "float16"
    seed: int = 0
    batch: int = 1
    layers: int | None = None
    hidden: int | None = None
    latent: LatentAttention | None = None
    source: str = ""
    citations: tuple[tuple[str, str], ...] = dataclasses.field(default=(), repr=False)

    def __post_init__(self) -> None:
        if self.v_head_dim == 0:
            object.__setattr__(self, "v_head_dim", self.head_dim)
        problems = [*_bad_counts(self), *_bad_choices(self), *_bad_relations(self)]
        if problems:
            raise InputError(problems)

    def with_(self, **changes: object) -> Self:
        """A copy with some fields replaced; the citations of replaced fields are dropped.

        Raises
        ------
        InputError
            An unknown field, or values that do not fit together.
        """
        fields = {field.name for field in dataclasses.fields(self)}
        unknown = [name for name in changes if name not in fields]
        if unknown:
            raise InputError(
                [
                    Problem("unknown field of a workload", field=name, hint=did_you_mean(name, fields))
                    for name in unknown
                ]
            )
        if "head_dim" in changes and "v_head_dim" not in changes and self.v_head_dim == self.head_dim:
            changes["v_head_dim"] = changes["head_dim"]
        kept = tuple(pair for pair in self.citations if pair[0].split(".")[0] not in changes)
        return changed(self, {"citations": kept, **changes})

    # sizes

    @property
    def group_size(self) -> int:
        """Query heads per KV head."""
        return self.heads // self.kv_heads

    @property
    def dtype_bytes(self) -> int:
        """Bytes per element."""
        return DTYPE_BYTES[self.dtype]

    @property
    def q_shape(self) -> tuple[int, int, int, int]:
        """`(batch, heads, q_len, head_dim)`."""
        return (self.batch, self.heads, self.q_len, self.head_dim)

    @property
    def k_shape(self) -> tuple[int, int, int, int]:
        """`(batch, kv_heads, kv_len, head_dim)`."""
        return (self.batch, self.kv_heads, self.kv_len, self.head_dim)

    @property
    def v_shape(self) -> tuple[int, int, int, int]:
        """`(batch, kv_heads, kv_len, v_head_dim)`."""
        return (self.batch, self.kv_heads, self.kv_len, self.v_head_dim)

    # work

    @property
    def pairs_per_head(self) -> int:
        """Visible (query, key) pairs of one head of one sequence.

        Causal: query `i` sees `clip(i + 1 + kv_len - q_len, 0, kv_len)` keys; the sum is a trapezoid.
        """
        if self.mask == "full":
            return self.q_len * self.kv_len
        rows = min(self.q_len, self.kv_len)
        return rows * (2 * self.kv_len - rows + 1) // 2

    @property
    def exponentials(self) -> int:
        """Softmax exponentials: one per visible pair, query head and sequence."""
        return self.batch * self.heads * self.pairs_per_head

    @property
    def attention_flops(self) -> int:
        """FLOP of `q k^T` and `p v`: `2 * (head_dim + v_head_dim)` per visible pair."""
        return 2 * (self.head_dim + self.v_head_dim) * self.exponentials

    @property
    def projection_parameters(self) -> int:
        """Weights of the q, k, v and output projections of one layer, biases not counted.

        Raises
        ------
        InputError
            `hidden` is unknown.
        """
        if self.hidden is None:
            raise InputError(Problem("must be known to count projection weights", field="hidden"))
        out = self.heads * self.v_head_dim * self.hidden
        if self.latent is None:
            q_and_kv = self.heads * self.head_dim + self.kv_heads * (self.head_dim + self.v_head_dim)
            return self.hidden * q_and_kv + out
        return self._latent_parameters(self.hidden, self.latent) + out

    def _latent_parameters(self, hidden: int, latent: LatentAttention) -> int:
        """Down and up projections of queries, and those of keys and values (arXiv:2405.04434, appendix C)."""
        rank = latent.q_lora_rank
        queries = self.heads * self.head_dim
        query_weights = hidden * queries if rank is None else (hidden + queries) * rank
        nope = self.head_dim - latent.qk_rope_head_dim
        up = latent.kv_lora_rank * self.kv_heads * (nope + self.v_head_dim)
        return query_weights + hidden * latent.cache_elements + up

    # traffic

    @property
    def q_bytes(self) -> int:
        """Bytes of q."""
        return self.batch * self.heads * self.q_len * self.head_dim * self.dtype_bytes

    @property
    def k_bytes(self) -> int:
        """Bytes of k, each KV head counted once; latent attention counts its expanded keys."""
        return self.batch * self.kv_heads * self.kv_len * self.head_dim * self.dtype_bytes

    @property
    def v_bytes(self) -> int:
        """Bytes of v, each KV head counted once; latent attention counts its expanded values."""
        return self.batch * self.kv_heads * self.kv_len * self.v_head_dim * self.dtype_bytes

    @property
    def out_bytes(self) -> int:
        """Bytes of the output `(batch, heads, q_len, v_head_dim)`."""
        return self.batch * self.heads * self.q_len * self.v_head_dim * self.dtype_bytes

    @property
    def compulsory_bytes(self) -> int:
        """Least off-chip traffic of the layer's attention: q, k and v read once, the output written once."""
        return self.q_bytes + self.k_bytes + self.v_bytes + self.out_bytes

    @property
    def cache_elements_per_token(self) -> int:
        """Elements one layer caches per token: all KV heads, or the shared latent and rotary key."""
        if self.latent is not None:
            return self.latent.cache_elements
        return self.kv_heads * (self.head_dim + self.v_head_dim)

    @property
    def cache_bytes(self) -> int:
        """Bytes of this layer's KV cache over the batch."""
        return self.batch * self.kv_len * self.cache_elements_per_token * self.dtype_bytes

    def _repr_html_(self) -> str:
        cited = dict(self.citations)
        rows = [
            (field.name, _shown(getattr(self, field.name)), cited.get(field.name, ""))
            for field in dataclasses.fields(self)
            if field.name != "citations" and getattr(self, field.name) not in (None, "")
        ]
        derived = ("attention_flops", "exponentials", "compulsory_bytes", "cache_bytes")
        rows += [(name, f"{getattr(self, name):,}", "derived") for name in derived]
        return html_table(f"Workload {self.name}", ("field", "value", "source"), rows)


def _shown(value: object) -> str:
    """A field as a reader wants it: separators in counts, nested records on one line."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return ", ".join(f"{name} {_shown(item)}" for name, item in dataclasses.asdict(value).items())
    return f"{value:,}" if isinstance(value, int) else str(value)


def _bad_counts(workload: Workload) -> list[Problem]:
    counts: dict[str, object] = {
        field.name: getattr(workload, field.name)
        for field in dataclasses.fields(workload)
        if field.type in ("int", "int | None") and field.name != "seed"
    }
    if workload.latent is not None:
        counts |= {f"latent.{name}": value for name, value in dataclasses.asdict(workload.latent).items()}
    optional = ("layers", "hidden", "latent.q_lora_rank")
    problems = []
    for name, value in counts.items():
        defaulted = name == "v_head_dim" and value == workload.head_dim
        if defaulted or (value is None and name in optional):
            continue
        if not isinstance(value, int) or isinstance(value, bool):
            problems.append(Problem(f"must be a whole number (got {value!r})", field=name))
        elif value < 1:
            problems.append(Problem(f"must be at least 1 (got {value})", field=name))
        elif value > LARGEST_COUNT:
            problems.append(Problem(f"must be at most {LARGEST_COUNT:,} (got {value:,})", field=name))
    if not isinstance(workload.seed, int) or workload.seed < 0:
        problems.append(Problem(f"must be a whole number of at least 0 (got {workload.seed!r})", field="seed"))
    return problems


def _bad_choices(workload: Workload) -> list[Problem]:
    choices = {"phase": get_args(Phase), "mask": get_args(Mask), "dtype": tuple(DTYPE_BYTES)}
    problems = []
    for name, known in choices.items():
        value = getattr(workload, name)
        if value not in known:
            match = nearest(str(value), known)
            hint = f"did you mean '{match}'?" if match else None
            message = f"must be one of {', '.join(known)} (got {value!r})"
            problems.append(Problem(message, field=name, hint=hint))
    return problems


def _bad_relations(workload: Workload) -> list[Problem]:
    if _bad_counts(workload):
        return []
    problems = []
    if workload.heads % workload.kv_heads:
        problems.append(Problem(f"must divide heads = {workload.heads} (got {workload.kv_heads})", field="kv_heads"))
    if workload.phase == "decode" and workload.q_len > workload.kv_len:
        problems.append(
            Problem(
                f"must not exceed kv_len = {workload.kv_len} when decoding (got {workload.q_len})",
                field="q_len",
            )
        )
    latent = workload.latent
    if latent is not None and latent.qk_rope_head_dim >= workload.head_dim:
        message = f"must be below head_dim = {workload.head_dim} (got {latent.qk_rope_head_dim})"
        problems.append(Problem(message, field="latent.qk_rope_head_dim"))
    return problems
