"""Blocks that models are composed of: sizes as in a file, and the weights that follow from them.

A block stands between two norms of its layer and adds its result to the residual stream, which is `width` wide. What a
block computes is said in `algorithms.models.values`, what it launches in `algorithms.models.steps.lowering`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from algorithms.models.weights import Count, CountOrNone, NormKind, Weight, matrix, norm, vector

Activation = Literal["silu", "gelu", "relu", "quick_gelu"]
QKNorm = Literal["head", "all"]
Biased = Literal["none", "qkv", "all", "no_key", "out"]
"""Which of the four projections have a bias: no one's, the first three's, all, all but the key's, the last one's."""


class Part(BaseModel):
    """Anything that has sizes and stands in a model file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Block(Part):
    """What all blocks have.

    Parameters
    ----------
    norm
        Norm of the block's input; None takes the tower's.
    layer_scale
        Whether its result is multiplied by a weight per element before it is added.
    """

    norm: NormKind | None = None
    layer_scale: bool = False

    def scale(self, width: int) -> tuple[Weight, ...]:
        """Weights of the layer scale."""
        return (vector("scale", width),) if self.layer_scale else ()


class Attention(Block):
    """Attention of heads, each KV head shared by a group of query heads.

    Parameters
    ----------
    heads, kv_heads, head_dim
        Query heads, KV heads (as many when None), and how wide they are.
    bias
        Which projections have one.
    qk_norm
        Norm of queries and keys: of each head, or over all heads together.
    qk_norm_kind
        Kind of the norm of queries and keys.
    window
        Keys that a query sees at most, itself among them; None: all.
    block
        Tokens in a row that see each other and no others (windows of an image, one frame of several); None: all.
    sinks
        Whether every head has a learned score that belongs to no key (gpt-oss).
    rotary
        Whether positions are rotations of queries and keys.
    relative
        Whether positions are scores of their own, with a projection and two vectors per head
        (Transformer-XL, Conformer).
    context
        Width of what keys and values are made from in cross-attention; None: the stream itself.
    gated
        Whether every element of the result is weighted by a gate that the token computes (Qwen3-Next).
    """

    kind: Literal["attention"] = "attention"
    heads: Count
    kv_heads: Count | None = None
    head_dim: Count
    bias: Biased = "none"
    qk_norm: QKNorm | None = None
    qk_norm_kind: NormKind = "rms"
    window: Count | None = None
    block: Count | None = None
    sinks: bool = False
    rotary: bool = True
    relative: bool = False
    context: Count | None = None
    gated: bool = False

    @model_validator(mode="after")
    def _groups(self) -> Self:
        if self.heads % self.groups:
            raise ValueError(f"kv_heads must divide heads = {self.heads} (got {self.kv_heads})")
        return self

    @property
    def groups(self) -> int:
        """KV heads."""
        return self.kv_heads or self.heads

    @property
    def q_width(self) -> int:
        """Elements of a query, all heads together."""
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Elements of a key, all heads together; as many of a value."""
        return self.groups * self.head_dim

    @property
    def cache_elements(self) -> int:
        """Cached for every token of a causal tower."""
        return 0 if self.context else 2 * self.kv_width

    def weights(self, width: int) -> Iterator[Weight]:
        """All of its weights."""
        biased = {"none": "", "qkv": "qkv", "all": "qkvo", "no_key": "qvo", "out": "o"}[self.bias]
        source = self.context or width
        yield from matrix("q", self.q_width, width, "q" in biased)
        yield from matrix("k", self.kv_width, source, "k" in biased)
        yield from matrix("v", self.kv_width, source, "v" in biased)
        if self.gated:
            yield from matrix("gate", self.q_width, width)
        yield from matrix("o", width, self.q_width, "o" in biased)
        if self.qk_norm:
            widths = (self.head_dim,) * 2 if self.qk_norm == "head" else (self.q_width, self.kv_width)
            yield from norm("q_norm", self.qk_norm_kind, widths[0])
            yield from norm("k_norm", self.qk_norm_kind, widths[1])
        if self.sinks:
            yield vector("sinks", self.heads)
        if self.relative:
            yield from matrix("position", self.q_width, width)
            yield vector("position_bias", 2, self.heads, self.head_dim)
        yield from self.scale(width)


class LatentAttention(Block):
    """Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434, section 2.1).

    Parameters
    ----------
    heads
        Query heads.
    q_lora_rank
        Width of the query latent; None: queries are projected directly.
    kv_lora_rank, qk_rope_head_dim
        Cached for every token: the latent and the shared rotary key.
    qk_nope_head_dim, v_head_dim
        Width of a head's key without its rotary part, and of its value.
    """

    kind: Literal["latent_attention"] = "latent_attention"
    heads: Count
    q_lora_rank: Count | None = None
    kv_lora_rank: Count
    qk_nope_head_dim: Count
    qk_rope_head_dim: Count
    v_head_dim: Count

    @property
    def head_dim(self) -> int:
        """Of a query."""
        return self.qk_nope_head_dim + self.qk_rope_head_dim

    @property
    def cache_elements(self) -> int:
        """Cached for every token."""
        return self.kv_lora_rank + self.qk_rope_head_dim

    def weights(self, width: int) -> Iterator[Weight]:
        """All of its weights."""
        queries, rank = self.heads * self.head_dim, self.q_lora_rank
        if rank is None:
            yield from matrix("q", queries, width)
        else:
            yield from matrix("q_down", rank, width)
            yield from norm("q_norm", "rms", rank)
            yield from matrix("q_up", queries, rank)
        yield from matrix("kv_down", self.cache_elements, width)
        yield from norm("kv_norm", "rms", self.kv_lora_rank)
        yield from matrix("kv_up", self.heads * (self.qk_nope_head_dim + self.v_head_dim), self.kv_lora_rank)
        yield from matrix("o", width, self.heads * self.v_head_dim)
        yield from self.scale(width)


class StateAttention(Block):
    """Attention with a state of constant size: the gated delta rule behind a short convolution.

    Queries, keys and values pass a causal convolution of their own channels and a SiLU; queries and keys have length
    one; what a head reads is normed and weighted by a gate (Gated DeltaNet, arXiv:2412.06464, figure 1, with a decay
    like that of Mamba-2).

    Parameters
    ----------
    key_heads, value_heads
        Heads of queries and keys, and of values, each of which has a state of its own.
    key_dim, value_dim
        Width of each.
    taps
        Taps of the convolution.
    """

    kind: Literal["state_attention"] = "state_attention"
    key_heads: Count
    value_heads: Count
    key_dim: Count
    value_dim: Count
    taps: Count = 4

    @model_validator(mode="after")
    def _shared(self) -> Self:
        if self.value_heads % self.key_heads:
            raise ValueError(f"key_heads must divide value_heads = {self.value_heads} (got {self.key_heads})")
        return self

    @property
    def key_width(self) -> int:
        """Elements of a key, all heads together; as many of a query."""
        return self.key_heads * self.key_dim

    @property
    def value_width(self) -> int:
        """Elements of a value, all heads together."""
        return self.value_heads * self.value_dim

    @property
    def channels(self) -> int:
        """Of the convolution."""
        return 2 * self.key_width + self.value_width

    def weights(self, width: int) -> Iterator[Weight]:
        """All of its weights."""
        for name, outputs in (("q", self.key_width), ("k", self.key_width), ("v", self.value_width)):
            yield from matrix(name, outputs, width)
        yield from matrix("gate", self.value_width, width)
        yield from matrix("strength", self.value_heads, width)
        yield from matrix("decay", self.value_heads, width)
        for name, channels in (("q", self.key_width), ("k", self.key_width), ("v", self.value_width)):
            yield vector(f"{name}_taps", channels, self.taps)
        yield vector("decay_rate", self.value_heads)
        yield vector("decay_bias", self.value_heads)
        yield from norm("out_norm", "rms", self.value_dim)
        yield from matrix("o", width, self.value_width)
        yield from self.scale(width)


class FeedForward(Block):
    """Two products with an activation between them, or three where the activation gates.

    Parameters
    ----------
    inner
        Width between the products.
    gated
        Whether the activation of one product is multiplied with another product.
    activation
        Activation between the two products.
    bias
        Whether the products have one.
    """

    kind: Literal["feed_forward"] = "feed_forward"
    inner: Count
    gated: bool = True
    activation: Activation = "silu"
    bias: bool = False

    def weights(self, width: int) -> Iterator[Weight]:
        """All of its weights."""
        if self.gated:
            yield from matrix("gate", self.inner, width, self.bias)
        yield from matrix("up", self.inner, width, self.bias)
        yield from matrix("down", width, self.inner, self.bias)
        yield from self.scale(width)


class Experts(Block):
    """Feed-forward blocks of which each token takes a few, and some that all take.

    Parameters
    ----------
    experts, active
        How many there are, and how many a token takes.
    inner
        Width of one.
    shared_inner
        Width of the one that all tokens take; 0: there is none.
    shared_gate
        Whether what it gives is weighted by a gate of its own.
    bias, router_bias
        Whether experts and the router have one.
    correction_bias
        Whether experts are chosen by scores with a bias that their weights do not have (DeepSeek-V3, arXiv:2412.19437).
    scores
        Function of the router's logits; ``top_softmax`` is a softmax over the chosen experts alone.
    scaling
        Factor of the weights.
    """

    kind: Literal["experts"] = "experts"
    experts: Count
    active: Count
    inner: Count
    shared_inner: CountOrNone = 0
    shared_gate: bool = False
    activation: Activation = "silu"
    bias: bool = False
    router_bias: bool = False
    correction_bias: bool = False
    scores: Literal["top_softmax", "softmax", "sigmoid"] = "top_softmax"
    scaling: Annotated[float, Field(gt=0)] = 1.0

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if self.active > self.experts:
            raise ValueError(f"active must not exceed experts = {self.experts} (got {self.active})")
        return self

    def weights(self, width: int) -> Iterator[Weight]:
        """All of its weights."""
        yield from matrix("router", self.experts, width, self.router_bias)
        if self.correction_bias:
            yield vector("correction", self.experts)
        for name, outputs, inputs in self.expert_matrices(width):
            yield Weight(f"experts.{name}.weight", (self.experts, outputs, inputs), "expert")
            if self.bias:
                yield vector(f"experts.{name}.bias", self.experts, outputs)
        if self.shared_inner:
            yield from matrix("shared.gate", self.shared_inner, width)
            yield from matrix("shared.up", self.shared_inner, width)
            yield from matrix("shared.down", width, self.shared_inner)
        if self.shared_gate:
            yield from matrix("shared_gate", 1, width)
        yield from self.scale(width)

    def expert_matrices(self, width: int) -> tuple[tuple[str, int, int], ...]:
        """(name, outputs, inputs) of the products of one expert."""
        return (("gate", self.inner, width), ("up", self.inner, width), ("down", width, self.inner))


class Convolution(Block):
    """The convolution module of a Conformer (arXiv:2005.08100, figure 2).

    A product with a gate, a depthwise convolution over time, a norm over the batch, an activation and a product.
    """

    kind: Literal["convolution"] = "convolution"
    kernel: Count
    bias: bool = True

    def weights(self, width: int) -> Iterator[Weight]:
        """All of its weights."""
        yield from matrix("expand", 2 * width, width, self.bias)
        yield vector("depthwise.weight", width, self.kernel)
        if self.bias:
            yield vector("depthwise.bias", width)
        yield from norm("batch_norm", "layer", width)
        yield from matrix("project", width, width, self.bias)
        yield from self.scale(width)


class Normalise(Block):
    """A norm of the stream itself, as behind the layers of a Conformer."""

    kind: Literal["normalise"] = "normalise"

    def weights(self, width: int) -> Iterator[Weight]:
        """None beside those of its norm."""
        return iter(self.scale(width))


class Modulation(Block):
    """Vectors that scale and shift what goes in and out of the other blocks of a layer (adaptive norms of a DiT)."""

    kind: Literal["modulation"] = "modulation"
    vectors: Count

    def weights(self, width: int) -> Iterator[Weight]:
        """All of its weights."""
        yield vector("modulation", self.vectors, width)


AnyBlock = Annotated[
    Attention | LatentAttention | StateAttention | FeedForward | Experts | Convolution | Normalise | Modulation,
    Field(discriminator="kind"),
]
"""Any block, told apart by `kind`."""
