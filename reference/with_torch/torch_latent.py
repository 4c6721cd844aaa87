"""Multi-head latent attention and compressive memory in PyTorch, on the device of the tensors given.

Latent attention (DeepSeek-V2, arXiv:2405.04434) in its two orders. Both cache per token the latent `c` and one rotary
key; `w_uk` and `w_uv` expand the latent to the keys and values of each head. *Expanded* makes these keys and values for
the whole cache; *absorbed* moves `w_uk` to the query and `w_uv` behind the sum, so the heads share the latent itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reference.with_torch.torch_ref import attention

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class LatentProjections:
    """Up-projections from the latent.

    Attributes
    ----------
    w_uk
        `(heads, latent, d_nope)`: keys without their rotary part.
    w_uv
        `(heads, latent, d_v)`: values.
    """

    w_uk: Tensor
    w_uv: Tensor


def latent_expanded(
    q_nope: Tensor,
    q_rope: Tensor,
    latent: Tensor,
    rope_key: Tensor,
    projections: LatentProjections,
    *,
    mask: str = "causal",
) -> tuple[Tensor, Tensor]:
    """Latent attention with keys and values expanded per head.

    Parameters
    ----------
    q_nope, q_rope
        `(batch, heads, q_len, d_nope)` and `(batch, heads, q_len, d_rope)`, rotated already.
    latent, rope_key
        `(batch, kv_len, latent)` and `(batch, kv_len, d_rope)`.

    Returns
    -------
    out, lse
        `(batch, heads, q_len, d_v)` and `(batch, heads, q_len)`; scores are scaled by `1/sqrt(d_nope + d_rope)`.
    """
    import torch

    keys = latent[:, None] @ projections.w_uk
    values = latent[:, None] @ projections.w_uv
    rotary = rope_key[:, None].expand(-1, q_nope.shape[1], -1, -1)
    q, k = torch.cat([q_nope, q_rope], dim=-1), torch.cat([keys, rotary], dim=-1)
    return attention(q, k, values, mask=mask)


def latent_absorbed(
    q_nope: Tensor,
    q_rope: Tensor,
    latent: Tensor,
    rope_key: Tensor,
    projections: LatentProjections,
    *,
    mask: str = "causal",
) -> tuple[Tensor, Tensor]:
    """Latent attention with the projections absorbed into query and output; arguments as in `latent_expanded`."""
    import torch

    scale = (q_nope.shape[-1] + q_rope.shape[-1]) ** -0.5
    q = torch.cat([q_nope @ projections.w_uk.transpose(-1, -2), q_rope], dim=-1)
    keys = torch.cat([latent, rope_key], dim=-1)[:, None]
    context, lse = attention(q, keys, latent[:, None], mask=mask, scale=scale)
    return context @ projections.w_uv, lse


@dataclass(frozen=True)
class CompressiveMemory:
    """Associative memory of Infini-attention (arXiv:2404.07143): constant size, whatever was written.

    Attributes
    ----------
    matrix
        `(batch, heads, d, d_v)`.
    normaliser
        `(batch, heads, d)`.
    """

    matrix: Tensor
    normaliser: Tensor

    @classmethod
    def empty(cls, k: Tensor, v: Tensor) -> CompressiveMemory:
        """A memory nothing was written to, for keys and values like `k` and `v`."""
        return cls(k.new_zeros(*k.shape[:2], k.shape[-1], v.shape[-1]), k.new_zeros(*k.shape[:2], k.shape[-1]))

    def read(self, q: Tensor) -> Tensor:
        """Values retrieved by `q` `(batch, heads, length, d)`; zeros from an empty memory."""
        phi = _positive(q)
        weight = (phi @ self.normaliser[..., None]).clamp_min(1e-30)
        return phi @ self.matrix / weight

    def update(self, k: Tensor, v: Tensor, *, delta: bool = False) -> CompressiveMemory:
        """The memory after writing a segment; `delta` writes only what reading the keys does not return yet."""
        phi = _positive(k)
        written = v - self.read(k) if delta else v
        return CompressiveMemory(self.matrix + phi.transpose(-1, -2) @ written, self.normaliser + phi.sum(dim=-2))


def compressive_attention(
    q: Tensor, k: Tensor, v: Tensor, *, segment: int, gate: Tensor, delta: bool = False
) -> tuple[Tensor, CompressiveMemory]:
    """Infini-attention over a stream: causal attention inside each segment, memory of all segments before it.

    Parameters
    ----------
    q, k, v
        `(batch, heads, length, d)`, `(batch, heads, length, d)`, `(batch, heads, length, d_v)`.
    segment
        Tokens per segment; the last one may be shorter.
    gate
        `(heads,)`: `sigmoid(gate)` is the share of the memory.
    delta
        Update rule, see `CompressiveMemory.update`.

    Returns
    -------
    out
        `(batch, heads, length, d_v)`.
    memory
        After the last segment.
    """
    import torch

    memory = CompressiveMemory.empty(k, v)
    share = torch.sigmoid(gate)[:, None, None]
    outs = []
    for start in range(0, q.shape[-2], segment):
        tokens = slice(start, start + segment)
        part_q, part_k, part_v = (x[..., tokens, :] for x in (q, k, v))
        local, _ = attention(part_q, part_k, part_v, mask="causal")
        outs.append(share * memory.read(part_q) + (1 - share) * local)
        memory = memory.update(part_k, part_v, delta=delta)
    return torch.cat(outs, dim=-2), memory


def _positive(x: Tensor) -> Tensor:
    """The feature map `elu(x) + 1`."""
    import torch

    return torch.nn.functional.elu(x) + 1
