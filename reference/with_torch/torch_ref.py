"""Attention in PyTorch, on the CPU or on a GPU by the device of the tensors given.

Two kinds of functions. `fused_attention` runs PyTorch's own kernel of a named backend and tells which one ran; a
silent fallback is refused. All others are plain tensor operations, written to be compared with: they compute scores in
float32 (float64 stays float64), return the output in the format of q together with the log-sum-exp, and follow the
conventions of `reference.truth.oracle`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

Backend = Literal["math", "flash", "efficient", "cudnn"]
BACKENDS: tuple[Backend, ...] = ("math", "flash", "efficient", "cudnn")

_ENUM_NAMES = {
    "math": "MATH",
    "flash": "FLASH_ATTENTION",
    "efficient": "EFFICIENT_ATTENTION",
    "cudnn": "CUDNN_ATTENTION",
}
_FUSED_OPERATORS: dict[str, Backend] = {
    "_scaled_dot_product_flash_attention": "flash",
    "_scaled_dot_product_efficient_attention": "efficient",
    "_scaled_dot_product_cudnn_attention": "cudnn",
}


class BackendRefusedError(RuntimeError):
    """PyTorch did not run the backend asked for."""


@dataclass(frozen=True)
class FusedResult:
    """Output of a fused kernel, and the backend that computed it as seen in the operators dispatched."""

    out: Tensor
    backend: Backend


def why_no_torch() -> str | None:
    """Reason why PyTorch functions cannot run here, with the remedy; None when they can."""
    if find_spec("torch") is None:
        return "PyTorch is not installed: pip install 'attnflow[torch]'"
    return None


def fused_attention(
    q: Tensor, k: Tensor, v: Tensor, *, backend: Backend, mask: str = "full", scale: float | None = None
) -> FusedResult:
    """``scaled_dot_product_attention`` by one backend, with proof that it was this one.

    Shapes are those of `attention`. A causal mask of a rectangle is passed as a boolean tensor, because PyTorch's own
    flag aligns it to the top left; backends without mask support refuse it.

    Raises
    ------
    BackendRefusedError
        The backend does not take these arguments on this device, or another one ran.
    """
    import torch

    used = _operators_seen()
    with torch.no_grad(), only_backend(backend), used as operators:
        try:
            out = call_fused(q, k, v, mask=mask, scale=scale)
        except RuntimeError as error:
            raise BackendRefusedError(f"backend {backend} on {q.device.type}: {error}") from error
    ran: set[Backend] = {
        name for operator in operators for prefix, name in _FUSED_OPERATORS.items() if prefix in operator
    }
    if not ran:
        ran = {"math"}
    if ran != {backend}:
        raise BackendRefusedError(f"asked for backend {backend}, but {', '.join(sorted(ran))} ran")
    return FusedResult(out, backend)


def call_fused(q: Tensor, k: Tensor, v: Tensor, *, mask: str = "full", scale: float | None = None) -> Tensor:
    """The bare call, for timing inside `only_backend`; use `fused_attention` to learn that the backend accepts it."""
    import torch

    q_len, kv_len = q.shape[-2], k.shape[-2]
    causal = mask == "causal" and q_len > 1
    square = q_len == kv_len
    visible = _visible(q, k, mask, None, 0) if causal and not square else None
    result: Tensor = torch.nn.functional.scaled_dot_product_attention(
        q,
        k,
        v,
        attn_mask=visible,
        is_causal=causal and square,
        scale=scale,
        enable_gqa=q.shape[-3] != k.shape[-3],
    )
    return result


@contextmanager
def only_backend(backend: Backend) -> Iterator[None]:
    """Allow PyTorch no other attention backend than `backend`.

    Raises
    ------
    ValueError
        An unknown backend.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel

    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)} (got {backend!r})")
    with sdpa_kernel([getattr(SDPBackend, _ENUM_NAMES[backend])]):
        yield


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    mask: str = "full",
    scale: float | None = None,
    window: int | None = None,
    sinks: int = 0,
) -> tuple[Tensor, Tensor]:
    """Eager attention with the whole score matrix in memory.

    Parameters
    ----------
    q
        `(batch, heads, q_len, d)`.
    k, v
        `(batch, kv_heads, kv_len, d)` and `(batch, kv_heads, kv_len, d_v)`.
    mask
        ``"full"`` or ``"causal"``, aligned to the bottom right.
    scale
        Factor on the scores; `1/sqrt(d)` when None.
    window, sinks
        See `reference.truth.oracle.attention`.

    Returns
    -------
    out
        `(batch, heads, q_len, d_v)` in the format of q.
    lse
        `(batch, heads, q_len)` in the format of the scores.
    """
    group = q.shape[-3] // k.shape[-3]
    scores = _wide(q) @ _wide(k).repeat_interleave(group, dim=-3).transpose(-1, -2)
    scores = scores * (1.0 / math.sqrt(q.shape[-1]) if scale is None else scale)
    scores = scores.masked_fill(~_visible(q, k, mask, window, sinks), float("-inf"))
    return _weigh(scores, _wide(v).repeat_interleave(group, dim=-3), q)


def merge(parts: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Join `(out, lse)` of disjoint key sets."""
    import torch

    outs, lses = torch.stack([_wide(out) for out, _ in parts]), torch.stack([lse for _, lse in parts])
    lse = torch.logsumexp(lses, dim=0)
    weights = torch.exp(lses - torch.where(torch.isneginf(lse), torch.zeros_like(lse), lse))
    return (weights[..., None] * outs).sum(dim=0).to(parts[0][0].dtype), lse


def split_decode(
    q: Tensor, k: Tensor, v: Tensor, *, splits: int, mask: str = "causal", scale: float | None = None
) -> tuple[Tensor, Tensor]:
    """Attention with the keys divided into `splits` ranges, each attended apart and joined by log-sum-exp.

    Raises
    ------
    ValueError
        Fewer than one split.
    """
    if splits < 1:
        raise ValueError(f"splits must be at least 1 (got {splits})")
    visible = _visible(q, k, mask, None, 0)
    size = -(-k.shape[-2] // splits)
    group = q.shape[-3] // k.shape[-3]
    factor = 1.0 / math.sqrt(q.shape[-1]) if scale is None else scale
    parts = []
    for start in range(0, k.shape[-2], max(size, 1)):
        keys = slice(start, start + size)
        part_k = _wide(k[..., keys, :]).repeat_interleave(group, dim=-3)
        scores = (_wide(q) @ part_k.transpose(-1, -2) * factor).masked_fill(~visible[:, keys], float("-inf"))
        out, lse = _weigh(scores, _wide(v[..., keys, :]).repeat_interleave(group, dim=-3))
        parts.append((out, lse))
    if not parts:
        return attention(q, k, v, mask=mask, scale=scale)
    out, lse = merge(parts)
    return out.to(q.dtype), lse


def gathered(
    q: Tensor, k: Tensor, v: Tensor, table: Tensor, *, block_rows: int = 1, scale: float | None = None
) -> tuple[Tensor, Tensor]:
    """Attention over kept blocks of keys, copied together first: what eviction in PyTorch costs.

    `table` `(batch, kv_heads, entries)` names blocks of `block_rows` rows in the order wanted. Every key gathered is
    visible.
    """
    kept_k, kept_v = gather_rows(k, table, block_rows), gather_rows(v, table, block_rows)
    return attention(q, kept_k, kept_v, scale=scale)


def gather_rows(values: Tensor, table: Tensor, block_rows: int = 1) -> Tensor:
    """Copy the rows of the blocks in `table` `(batch, kv_heads, entries)` together: `(batch, kv_heads, rows, d)`."""
    import torch

    offsets = torch.arange(block_rows, device=table.device)
    rows = (table[..., None] * block_rows + offsets).flatten(start_dim=-2)
    return values.gather(-2, rows[..., None].expand(*rows.shape, values.shape[-1]))


def sink_window_decode(
    q: Tensor, k: Tensor, v: Tensor, *, window: int, sinks: int, scale: float | None = None
) -> tuple[Tensor, Tensor]:
    """One new token against the first `sinks` and the newest `window` keys, the rest never touched."""
    import torch

    kv_len = k.shape[-2]
    if q.shape[-2] != 1:
        raise ValueError(f"one query per head expected (got {q.shape[-2]})")
    if sinks + window < kv_len:
        k, v = (torch.cat([x[..., :sinks, :], x[..., kv_len - window :, :]], dim=-2) for x in (k, v))
    return attention(q, k, v, scale=scale)


def shared_prefix(
    q: Tensor, prefix_k: Tensor, prefix_v: Tensor, k: Tensor, v: Tensor, *, scale: float | None = None
) -> tuple[Tensor, Tensor]:
    """Attention of a batch to one common prefix, read once for all, and to each sequence's own keys.

    `prefix_k` and `prefix_v` are `(kv_heads, prefix_len, d)`; every query sees all of the prefix, and its own keys
    causally (RelayAttention, arXiv:2402.14808).
    """
    batch, heads, q_len, _ = q.shape
    folded = q.transpose(0, 1).reshape(1, heads, batch * q_len, q.shape[-1])
    out, lse = attention(folded, prefix_k[None], prefix_v[None], scale=scale)
    prefix = (
        out.reshape(heads, batch, q_len, -1).transpose(0, 1),
        lse.reshape(heads, batch, q_len).transpose(0, 1),
    )
    return merge([prefix, attention(q, k, v, mask="causal", scale=scale)])


def column_sums(
    q: Tensor, k: Tensor, *, mask: str = "full", scale: float | None = None, window: int | None = None, sinks: int = 0
) -> Tensor:
    """Probability each key received, summed over queries: `(batch, heads, kv_len)`."""
    import torch

    identity = torch.eye(k.shape[-2], dtype=_wide(k).dtype, device=k.device).expand(*k.shape[:-1], k.shape[-2])
    weights, _ = attention(_wide(q), k, identity, mask=mask, scale=scale, window=window, sinks=sinks)
    return weights.sum(dim=-2)


def _weigh(scores: Tensor, values: Tensor, like: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Softmax of masked scores times values, zeros where a row sees nothing; the output in the format of `like`."""
    import torch

    lse = torch.logsumexp(scores, dim=-1)
    weights = torch.exp(scores - torch.where(torch.isneginf(lse), torch.zeros_like(lse), lse)[..., None])
    out = weights @ values
    return (out if like is None else out.to(like.dtype)), lse


def _visible(q: Tensor, k: Tensor, mask: str, window: int | None, sinks: int) -> Tensor:
    """Boolean `(q_len, kv_len)`, True where a query sees a key."""
    import torch

    if mask not in ("full", "causal"):
        raise ValueError(f"mask must be 'full' or 'causal' (got {mask!r})")
    q_len, kv_len = q.shape[-2], k.shape[-2]
    key = torch.arange(kv_len, device=q.device)
    distance = torch.arange(q_len, device=q.device)[:, None] + (kv_len - q_len) - key
    visible = distance >= 0 if mask == "causal" else torch.ones_like(distance, dtype=torch.bool)
    if window is not None:
        visible = visible & ((distance < window) | (key < sinks))
    return visible


def _wide(x: Tensor) -> Tensor:
    """float32, or float64 where it already is."""
    import torch

    return x if x.dtype == torch.float64 else x.float()


@contextmanager
def _operators_seen() -> Iterator[list[str]]:
    """Names of the operators that PyTorch dispatches inside the block."""
    from torch.utils._python_dispatch import TorchDispatchMode

    names: list[str] = []

    def note(
        _: object,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        names.append(str(func))
        return func(*args, **(kwargs or {}))

    # made like this because a type checker without torch knows no class to derive from
    recorder: Callable[[], AbstractContextManager[object]] = type(
        "Recorder", (TorchDispatchMode,), {"__torch_dispatch__": note}
    )
    with recorder():
        yield names
