"""Closed formulas of FLOP and bytes of attention blocks, which the counters of plans must equal exactly.

FLOP: 2 per multiply-add; softmax, normalisation and rotation are not counted. Bytes: every weight once per step, the
cache of every sequence once, new cache rows and the hidden states in and out; all else stays on the chip. With D hidden
size, n heads, g KV heads, dh, dr and dv widths of a key head without and of its rotary part and of a value head, dc and
dq widths of the latents of keys and values and of queries, T new tokens of all sequences, L attended tokens of each,
``P = D dq + dq n (dh + dr) + D (dc + dr) + dc n (dh + dv) + n dv D``:

=========  ==================================================  ==================  ===================================
order      FLOP of projections                                 FLOP of attention   weights
=========  ==================================================  ==================  ===================================
plain      2 T (D n dh + D g (dh + dv) + n dv D)               2 n T L (dh + dv)   the same
kvcache    2 T P                                               ... (dh + dr + dv)  P
exp        2 T (P - dc n (dh + dv)) + 2 B L dc n (dh + dv)     ... (dh + dr + dv)  P
seq        2 T P                                               ... (2 dc + dr)     P
rc         2 T (P - (dq + dc) n dh + n dq dc), 2 n dq dh dc    as seq              P
ru         2 T (P - (dq + dc) n dh + n dq dc)                  as seq              P - (dq + dc) n dh + n dq dc
=========  ==================================================  ==================  ===================================

`rc2` and `ru2` replace ``dc n dv + n dv D`` by ``n dc D`` likewise, and `rc2` adds ``2 n dc dv D``. The numbers of
multiply-adds follow from the shapes of DeepSeek-V2's weights (arXiv:2405.04434, section 2.1 and appendix C).
"""

from __future__ import annotations

from dataclasses import dataclass

from algorithms.workload.shape import Workload


@dataclass(frozen=True)
class Costs:
    """What a block costs.

    Parameters
    ----------
    projection_flops, core_flops, recompute_flops
        Products with tokens, scores and results, products of weights alone.
    weight_bytes, cache_read_bytes, cache_write_bytes, hidden_bytes
        Moved once each.
    """

    projection_flops: int
    core_flops: int
    recompute_flops: int
    weight_bytes: int
    cache_read_bytes: int
    cache_write_bytes: int
    hidden_bytes: int

    @property
    def flops(self) -> int:
        """All."""
        return self.projection_flops + self.core_flops + self.recompute_flops

    @property
    def bytes(self) -> int:
        """All."""
        return self.weight_bytes + self.cache_read_bytes + self.cache_write_bytes + self.hidden_bytes

    @property
    def intensity(self) -> float:
        """FLOP per byte."""
        return self.flops / self.bytes

    @property
    def core_intensity(self) -> float | None:
        """FLOP of the attention per byte of cache; None when no cache is read."""
        return self.core_flops / self.cache_read_bytes if self.cache_read_bytes else None


@dataclass(frozen=True)
class _Symbols:
    """The symbols of the formulas; queries without a latent have ``dq = D`` and nothing that makes it."""

    D: int
    n: int
    dh: int
    dv: int
    dc: int
    dr: int
    dq: int
    down: int

    @property
    def weights(self) -> int:
        """``P``: weights of a latent block."""
        queries = self.down + self.dq * self.n * (self.dh + self.dr)
        cached = self.D * (self.dc + self.dr)
        return queries + cached + self.dc * self.n * (self.dh + self.dv) + self.n * self.dv * self.D


def costs(order: str, workload: Workload) -> Costs:
    """The formulas for one order (``plain``, ``kvcache``, ``exp``, ``seq``, ``rc``, ``ru``, ``rc2``, ``ru2``).

    A prompt (phase prefill with as many queries as keys) reads no cache.
    """
    hidden = workload.hidden or 0
    tokens, size = workload.batch * workload.q_len, workload.dtype_bytes
    pairs = workload.exponentials  # n T L, or what a causal mask leaves of it
    cached = _cached(order, workload)
    reads = workload.phase == "decode" or workload.kv_len > workload.q_len
    projection, recompute, weights, width = _plain(workload) if order == "plain" else _latent(order, workload)
    return Costs(
        projection_flops=projection,
        core_flops=2 * pairs * width,
        recompute_flops=recompute,
        weight_bytes=size * weights,
        cache_read_bytes=size * workload.batch * workload.kv_len * cached if reads else 0,
        cache_write_bytes=size * tokens * cached,
        hidden_bytes=size * 2 * tokens * hidden,
    )


def absorption_crossover(workload: Workload) -> float:
    """New tokens per sequence at which expanded and absorbed attention take the same FLOP.

    ``q* = L dc (dh + dv) / (dc (dh + dv) + L (2 dc - dh - dv))``: expanding costs the same for any number of new
    tokens, absorbing costs more for each of them. No mask.
    """
    s, context = _symbols(workload), workload.kv_len
    expansion = s.dc * (s.dh + s.dv)
    return context * expansion / (expansion + context * (2 * s.dc - s.dh - s.dv))


def reuse_crossover(workload: Workload, recomputed: str = "rc", reused: str = "ru") -> float:
    """Ridge (FLOP per byte) above which the recomputing order is the faster one on a roofline.

    Where recomputing is bound by arithmetic and reusing by memory, both take the same time at
    ``flops(recomputed) / bytes(reused)``.
    """
    return costs(recomputed, workload).flops / costs(reused, workload).bytes


def _symbols(workload: Workload) -> _Symbols:
    latent, hidden = workload.latent, workload.hidden or 0
    if latent is None:
        return _Symbols(hidden, workload.heads, workload.head_dim, workload.v_head_dim, 0, 0, 0, 0)
    return _Symbols(
        D=hidden,
        n=workload.heads,
        dh=workload.head_dim - latent.qk_rope_head_dim,
        dv=workload.v_head_dim,
        dc=latent.kv_lora_rank,
        dr=latent.qk_rope_head_dim,
        dq=latent.q_lora_rank or hidden,
        down=hidden * (latent.q_lora_rank or 0),
    )


def _cached(order: str, workload: Workload) -> int:
    """Elements per token."""
    s = _symbols(workload)
    if order == "plain":
        return workload.kv_heads * (s.dh + s.dv)
    return s.n * (s.dh + s.dv) + s.dr if order == "kvcache" else s.dc + s.dr


def _plain(workload: Workload) -> tuple[int, int, int, int]:
    s = _symbols(workload)
    weights = s.D * s.n * s.dh + s.D * workload.kv_heads * (s.dh + s.dv) + s.n * s.dv * s.D
    return 2 * workload.batch * workload.q_len * weights, 0, weights, s.dh + s.dv


def _latent(order: str, workload: Workload) -> tuple[int, int, int, int]:
    """FLOP of projections and of recomputing, weights read, and FLOP / 2 of the attention per pair."""
    s, tokens = _symbols(workload), workload.batch * workload.q_len
    if order in ("kvcache", "exp"):
        up = s.dc * s.n * (s.dh + s.dv)
        expanded = workload.batch * workload.kv_len if order == "exp" else tokens
        return 2 * tokens * (s.weights - up) + 2 * expanded * up, 0, s.weights, s.dh + s.dr + s.dv
    applied, recompute = s.weights, 0
    if order != "seq":
        applied += s.n * s.dq * s.dc - (s.dq + s.dc) * s.n * s.dh
        recompute += 2 * s.n * s.dq * s.dh * s.dc
    if order in ("rc2", "ru2"):
        applied += s.n * s.dc * s.D - (s.dc + s.D) * s.n * s.dv
        recompute += 2 * s.n * s.dc * s.dv * s.D
    reused = order in ("ru", "ru2")
    return 2 * tokens * applied, 0 if reused else recompute, applied if reused else s.weights, 2 * s.dc + s.dr
