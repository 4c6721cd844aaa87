"""Decoder-only language models from their configuration files.

Field names and defaults are those of the ``configuration_*.py`` of Hugging Face transformers 4.57.
"""

from __future__ import annotations

from algorithms.models.blocks import (
    Activation,
    Attention,
    Biased,
    Experts,
    FeedForward,
    LatentAttention,
    QKNorm,
    StateAttention,
)
from algorithms.models.edges import Edge, Linear, Norm, Table
from algorithms.models.huggingface.fields import Fields
from algorithms.models.model import Layer, NormPlace, Tower
from algorithms.models.weights import NormKind

ACTIVATIONS: dict[str, Activation] = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu",
    "gelu_fast": "gelu",
    "gelu_python": "gelu",
    "gelu_pytorch_tanh": "gelu",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
}
"""Activations by the names that configurations have for them; the kinds of GELU cost the same."""


def activation(fields: Fields, *names: str, default: str) -> Activation:
    """What stands between the products of a feed-forward block."""
    name = next((each for each in names if fields.has(each)), names[0])
    text = fields.text(name, default)
    if text not in ACTIVATIONS:
        fields.complain(name, f"must be one of {', '.join(ACTIVATIONS)} (got {text!r})")
    return ACTIVATIONS.get(text, "silu")


def heads_of(fields: Fields, width: int) -> tuple[int, int, int]:
    """Query heads, KV heads and the width of a head."""
    heads = fields.count("num_attention_heads")
    groups = fields.count("num_key_value_heads", default=heads)
    fields.divides("num_key_value_heads", groups, "num_attention_heads", heads)
    if fields.has("head_dim"):
        return heads, groups, fields.width("head_dim")
    fields.divides("num_attention_heads", heads, "hidden_size", width)
    return heads, groups, max(width // heads, 1)


def joined(layers: list[Layer]) -> tuple[Layer, ...]:
    """Neighbours that are alike, counted."""
    found: list[Layer] = []
    for layer in layers:
        if found and found[-1].blocks == layer.blocks:
            found[-1] = Layer(blocks=layer.blocks, times=found[-1].times + layer.times)
        else:
            found.append(layer)
    return tuple(found)


def text_tower(
    fields: Fields,
    layers: list[Layer],
    width: int,
    norm: NormKind = "rms",
    place: NormPlace = "before",
    inputs: tuple[Edge, ...] = (),
    tied: bool = False,
) -> Tower:
    """A tower of tokens with an embedding, a norm behind the last layer, and a head."""
    vocabulary = fields.rows("vocab_size")
    head = Linear(
        name="head",
        inputs=width,
        outputs=vocabulary,
        per="sampled",
        tied=fields.flag("tie_word_embeddings", tied),
    )
    fields.finish()
    return Tower(
        name="text",
        width=width,
        norm=norm,
        norm_place=place,
        layers=joined(layers),
        inputs=(Table(rows=vocabulary, columns=width), *inputs),
        outputs=(Norm(), head),
    )


def windows_of(fields: Fields, depth: int) -> list[int | None]:
    """The window of every layer."""
    window = fields.count("sliding_window", most=10**9) if fields.has("sliding_window") else None
    kinds = fields.texts("layer_types")
    if kinds:
        if len(kinds) != depth:
            fields.complain("layer_types", f"must name all {depth} layers (got {len(kinds)})")
        return [window if kind == "sliding_attention" else None for kind in (kinds * depth)[:depth]]
    return [window] * depth


def llama_like(fields: Fields) -> Tower:
    """Llama, Mistral, Qwen2, Qwen3, and whoever is built like them."""
    kind = fields.text("model_type", "llama")
    width, depth = fields.width("hidden_size"), fields.count("num_hidden_layers")
    heads, groups, head_dim = heads_of(fields, width)
    windows: list[int | None] = [None] * depth
    # the window of Qwen2 and Qwen3 is given in every file and used where a flag says so
    if fields.flag("use_sliding_window", kind == "mistral") and fields.has("sliding_window"):
        windows = windows_of(fields, depth)
    bias: Biased = "qkv" if kind.startswith("qwen2") else "all" if fields.flag("attention_bias") else "none"
    inner = FeedForward(
        inner=fields.width("intermediate_size"),
        activation=activation(fields, "hidden_act", default="silu"),
        bias=fields.flag("mlp_bias"),
    )

    def layer(window: int | None) -> Layer:
        norms: QKNorm | None = "head" if kind.startswith("qwen3") else None
        attention = Attention(heads=heads, kv_heads=groups, head_dim=head_dim, bias=bias, qk_norm=norms, window=window)
        return Layer(blocks=(attention, inner))

    fields.finish()
    return text_tower(fields, [layer(window) for window in windows], width)


def gemma(fields: Fields) -> Tower:
    """Gemma, Gemma 2 and Gemma 3: heads of their own width, norms around every block, windows in most layers."""
    kind = fields.text("model_type", "gemma")
    width, depth = fields.width("hidden_size"), fields.count("num_hidden_layers")
    heads, groups, head_dim = heads_of(fields, width)
    windows: list[int | None] = [None] * depth
    if kind != "gemma":
        window = fields.count("sliding_window", default=4096, most=10**9)
        pattern = fields.count("sliding_window_pattern", default=2 if kind == "gemma2" else 6)
        if fields.texts("layer_types"):
            windows = windows_of(fields, depth)
        else:
            windows = [window if (number + 1) % pattern else None for number in range(depth)]
    inner = FeedForward(
        inner=fields.width("intermediate_size"),
        activation=activation(fields, "hidden_activation", "hidden_act", default="gelu_pytorch_tanh"),
    )
    norms: QKNorm | None = "head" if kind.startswith("gemma3") else None

    def layer(window: int | None) -> Layer:
        return Layer(
            blocks=(Attention(heads=heads, kv_heads=groups, head_dim=head_dim, qk_norm=norms, window=window), inner)
        )

    fields.finish()
    place: NormPlace = "before" if kind == "gemma" else "both"
    return text_tower(fields, [layer(window) for window in windows], width, place=place, tied=True)


def mixture(fields: Fields) -> Tower:
    """Mixtral, Qwen3-MoE and gpt-oss: attention as usual, experts in every layer."""
    kind = fields.text("model_type")
    width, depth = fields.width("hidden_size"), fields.count("num_hidden_layers")
    heads, groups, head_dim = heads_of(fields, width)
    oss = kind == "gpt_oss"
    experts = Experts(
        experts=fields.count("num_local_experts", "num_experts"),
        active=fields.count("num_experts_per_tok", "experts_per_token"),
        inner=fields.width("moe_intermediate_size", "intermediate_size"),
        bias=oss,
        router_bias=oss,
        scores="softmax" if kind == "qwen3_moe" and not fields.flag("norm_topk_prob") else "top_softmax",
    )
    windows: list[int | None] = [None] * depth
    if oss or (kind == "mixtral" and fields.has("sliding_window")):
        windows = windows_of(fields, depth)
    if oss and not fields.texts("layer_types"):
        windows = [windows[0] if number % 2 == 0 else None for number in range(depth)]

    def layer(window: int | None) -> Layer:
        attention = Attention(
            heads=heads,
            kv_heads=groups,
            head_dim=head_dim,
            bias="all" if oss else "none",
            qk_norm="head" if kind == "qwen3_moe" else None,
            window=window,
            sinks=oss,
        )
        return Layer(blocks=(attention, experts))

    fields.finish()
    return text_tower(fields, [layer(window) for window in windows], width)


def hybrid(fields: Fields) -> Tower:
    """Qwen3-Next and Qwen3.5: gated delta rules, and gated attention in every fourth layer or as a list says."""
    width, depth = fields.width("hidden_size"), fields.count("num_hidden_layers")
    heads, groups, head_dim = heads_of(fields, width)
    attention = Attention(heads=heads, kv_heads=groups, head_dim=head_dim, qk_norm="head", gated=True)
    keys, values = fields.count("linear_num_key_heads"), fields.count("linear_num_value_heads")
    fields.divides("linear_num_key_heads", keys, "linear_num_value_heads", values)
    state = StateAttention(
        key_heads=keys,
        value_heads=values if values % keys == 0 else keys,
        key_dim=fields.width("linear_key_head_dim"),
        value_dim=fields.width("linear_value_head_dim"),
        taps=fields.count("linear_conv_kernel_dim", default=4),
    )
    interval = fields.count("full_attention_interval", default=4)
    kinds = fields.texts("layer_types")
    if kinds and len(kinds) != depth:
        fields.complain("layer_types", f"must name all {depth} layers (got {len(kinds)})")
    whole = [kind == "full_attention" for kind in kinds] or [(place + 1) % interval == 0 for place in range(depth)]
    inner: Experts | FeedForward
    if fields.has("num_experts"):
        inner = Experts(
            experts=fields.count("num_experts"),
            active=fields.count("num_experts_per_tok"),
            inner=fields.width("moe_intermediate_size"),
            shared_inner=fields.width("shared_expert_intermediate_size"),
            shared_gate=True,
            scores="top_softmax" if fields.flag("norm_topk_prob", True) else "softmax",
        )
    else:
        inner = FeedForward(
            inner=fields.width("intermediate_size"), activation=activation(fields, "hidden_act", default="silu")
        )
    fields.finish()
    return text_tower(fields, [Layer(blocks=(attention if each else state, inner)) for each in whole], width)


def deepseek(fields: Fields) -> Tower:
    """DeepSeek-V2, DeepSeek-V3 and Kimi-K2: latent attention, a few dense layers, then shared and routed experts."""
    width, depth = fields.width("hidden_size"), fields.count("num_hidden_layers")
    v3 = fields.text("model_type") in ("deepseek_v3", "kimi_k2")
    attention = LatentAttention(
        heads=fields.count("num_attention_heads"),
        q_lora_rank=fields.width("q_lora_rank") if fields.has("q_lora_rank") else None,
        kv_lora_rank=fields.width("kv_lora_rank"),
        qk_nope_head_dim=fields.width("qk_nope_head_dim"),
        qk_rope_head_dim=fields.width("qk_rope_head_dim"),
        v_head_dim=fields.width("v_head_dim"),
    )
    dense = FeedForward(inner=fields.width("intermediate_size"))
    inner, shared = fields.width("moe_intermediate_size"), fields.count("n_shared_experts", default=1, least=0)
    count = fields.count("n_routed_experts")
    active = fields.count("num_experts_per_tok")
    if active > count:
        fields.complain("num_experts_per_tok", f"must not exceed n_routed_experts = {count} (got {active})")
    first = fields.count("first_k_dense_replace", default=0, least=0)
    if first > depth:
        fields.complain("first_k_dense_replace", f"must not exceed num_hidden_layers = {depth} (got {first})")
    fields.finish()
    experts = Experts(
        experts=count,
        active=active,
        inner=inner,
        shared_inner=shared * inner,
        correction_bias=v3,
        scores="sigmoid" if v3 else "softmax",
        scaling=fields.number("routed_scaling_factor", 1.0),
    )
    layers = [Layer(blocks=(attention, dense), times=first)] if first else []
    if depth > first:
        layers.append(Layer(blocks=(attention, experts), times=depth - first))
    return text_tower(fields, layers, width)


def opt(fields: Fields) -> Tower:
    """OPT (arXiv:2205.01068): learned positions with two unused rows, biases everywhere, ReLU."""
    width, depth = fields.width("hidden_size"), fields.count("num_hidden_layers")
    heads, _, head_dim = heads_of(fields, width)
    narrow = fields.width("word_embed_proj_dim", default=width)
    if narrow != width:
        fields.complain("word_embed_proj_dim", f"must be hidden_size = {width} (got {narrow})")
    inner = fields.width("ffn_dim")
    acts = activation(fields, "activation_function", default="relu")
    positions = fields.rows("max_position_embeddings") + 2
    fields.finish()
    layer = Layer(
        blocks=(
            Attention(heads=heads, head_dim=head_dim, bias="all", rotary=False),
            FeedForward(inner=inner, gated=False, activation=acts, bias=True),
        ),
        times=depth,
    )
    table = Table(name="positions", rows=positions, columns=width)
    return text_tower(fields, [layer], width, norm="layer", inputs=(table,), tied=True)


def gpt2(fields: Fields) -> Tower:
    """GPT-2 and GPT-3: learned positions, biases everywhere, a head tied to the embedding."""
    width, depth = fields.width("n_embd"), fields.count("n_layer")
    heads = fields.count("n_head")
    fields.divides("n_head", heads, "n_embd", width)
    inner = fields.width("n_inner", default=4 * width)
    acts = activation(fields, "activation_function", default="gelu_new")
    positions = fields.rows("n_positions")
    fields.finish()
    layer = Layer(
        blocks=(
            Attention(heads=heads, head_dim=width // heads, bias="all", rotary=False),
            FeedForward(inner=inner, gated=False, activation=acts, bias=True),
        ),
        times=depth,
    )
    table = Table(name="positions", rows=positions, columns=width)
    return text_tower(fields, [layer], width, norm="layer", inputs=(table,), tied=True)


def bloom(fields: Fields) -> Tower:
    """BLOOM (arXiv:2211.05100): positions as slopes on the scores, a norm behind the embedding."""
    width = fields.width("hidden_size", "n_embed")
    depth, heads = fields.count("n_layer", "num_hidden_layers"), fields.count("n_head", "num_attention_heads")
    fields.divides("n_head", heads, "hidden_size", width)
    fields.finish()
    layer = Layer(
        blocks=(
            Attention(heads=heads, head_dim=width // heads, bias="all", rotary=False),
            FeedForward(inner=4 * width, gated=False, activation="gelu", bias=True),
        ),
        times=depth,
    )
    return text_tower(fields, [layer], width, norm="layer", inputs=(Norm(),), tied=True)
