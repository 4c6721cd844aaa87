"""Encoders, and models that have one, from their configuration files.

Field names and defaults are those of the ``configuration_*.py`` of Hugging Face transformers 4.57 and diffusers 0.35.
"""

from __future__ import annotations

from algorithms.models.blocks import Attention, FeedForward, Modulation
from algorithms.models.edges import Edge, Linear, Norm, Table, Vector
from algorithms.models.huggingface.decoders import activation, heads_of, joined
from algorithms.models.huggingface.fields import Fields
from algorithms.models.model import Layer, Tower

CHANNELS = 3
"""Of an image."""


def patches(fields: Fields, image: str = "image_size", patch: str = "patch_size") -> tuple[int, int]:
    """Whole patches of an image, and the elements of one."""
    size, side = fields.width(image), fields.width(patch)
    if side > size:
        fields.complain(patch, f"must not exceed {image} = {size} (got {side})")
    channels = fields.count("num_channels", default=CHANNELS)
    return (size // side) ** 2, side * side * channels


def bert(fields: Fields) -> tuple[Tower, ...]:
    """BERT (arXiv:1810.04805) without the heads of its training, but for the pooler."""
    width, depth = fields.width("hidden_size"), fields.count("num_hidden_layers")
    heads, _, head_dim = heads_of(fields, width)
    inner = fields.width("intermediate_size")
    acts = activation(fields, "hidden_act", default="gelu")
    rows = fields.rows("vocab_size")
    positions = fields.rows("max_position_embeddings")
    types = fields.rows("type_vocab_size", default=2)
    fields.finish()
    layer = Layer(
        blocks=(
            Attention(heads=heads, head_dim=head_dim, bias="all", rotary=False),
            FeedForward(inner=inner, gated=False, activation=acts, bias=True),
        ),
        times=depth,
    )
    tables = (("embedding", rows), ("positions", positions), ("types", types))
    inputs: list[Edge] = [Table(name=name, rows=count, columns=width) for name, count in tables]
    return (
        Tower(
            name="text",
            width=width,
            causal=False,
            norm="layer",
            norm_place="behind",
            layers=(layer,),
            inputs=(*inputs, Norm()),
            outputs=(Linear(name="pooler", inputs=width, outputs=width, bias=True, per="sequence"),),
        ),
    )


def _plain_vision(fields: Fields) -> tuple[int, Layer, int, int]:
    """Width, layers, patches and elements of a patch of a vision transformer."""
    width, depth = fields.width("hidden_size"), fields.count("num_hidden_layers")
    heads, _, head_dim = heads_of(fields, width)
    inner = fields.width("intermediate_size")
    acts = activation(fields, "hidden_act", default="gelu")
    count, elements = patches(fields)
    fields.finish()
    layer = Layer(
        blocks=(
            Attention(heads=heads, head_dim=head_dim, bias="all", rotary=False),
            FeedForward(inner=inner, gated=False, activation=acts, bias=True),
        ),
        times=depth,
    )
    return width, layer, count, elements


def vit(fields: Fields) -> tuple[Tower, ...]:
    """ViT (arXiv:2010.11929) with its head of classes."""
    width, layer, count, elements = _plain_vision(fields)
    labels = fields.section("id2label") if fields.has("id2label") else None
    classes = len(labels.names) if labels else fields.count("num_labels", default=1000)
    return (
        Tower(
            name="vision",
            modality="image",
            width=width,
            causal=False,
            norm="layer",
            layers=(layer,),
            tokens=count + 1,
            inputs=(
                Linear(name="patches", inputs=elements, outputs=width, bias=True),
                Vector(name="class", size=width),
                Table(name="positions", rows=count + 1, columns=width, looked_up=False),
            ),
            outputs=(Norm(), Linear(name="classes", inputs=width, outputs=classes, bias=True, per="sequence")),
        ),
    )


def _clip_text(fields: Fields, projection: int, causal: bool, projected_bias: bool) -> Tower:
    width, depth = fields.width("hidden_size", default=512), fields.count("num_hidden_layers", default=12)
    heads = fields.count("num_attention_heads", default=8)
    fields.divides("num_attention_heads", heads, "hidden_size", width)
    inner = fields.width("intermediate_size", default=2048)
    rows = fields.rows("vocab_size", default=49408 if causal else 32000)
    positions = fields.rows("max_position_embeddings", default=77 if causal else 64)
    acts = activation(fields, "hidden_act", default="quick_gelu" if causal else "gelu_pytorch_tanh")
    fields.finish()
    layer = Layer(
        blocks=(
            Attention(heads=heads, head_dim=width // heads, bias="all", rotary=False),
            FeedForward(inner=inner, gated=False, activation=acts, bias=True),
        ),
        times=depth,
    )
    return Tower(
        name="text",
        width=width,
        causal=False,
        norm="layer",
        layers=(layer,),
        inputs=(Table(rows=rows, columns=width), Table(name="positions", rows=positions, columns=width)),
        outputs=(
            Norm(),
            Linear(name="projection", inputs=width, outputs=projection, bias=projected_bias, per="sequence"),
        ),
    )


def clip(fields: Fields) -> tuple[Tower, ...]:
    """CLIP (arXiv:2103.00020): an encoder of images and one of texts, and a temperature."""
    projection = fields.width("projection_dim", default=512)
    width, layer, count, elements = _plain_vision(fields.section("vision_config"))
    vision = Tower(
        name="vision",
        modality="image",
        width=width,
        causal=False,
        norm="layer",
        layers=(layer,),
        tokens=count + 1,
        inputs=(
            Linear(name="patches", inputs=elements, outputs=width),
            Vector(name="class", size=width),
            Table(name="positions", rows=count + 1, columns=width, looked_up=False),
            Norm(name="before"),
        ),
        outputs=(
            Norm(per="sequence"),
            Linear(name="projection", inputs=width, outputs=projection, per="sequence"),
            Vector(name="temperature", size=1),
        ),
    )
    return vision, _clip_text(fields.section("text_config"), projection, True, False)


def siglip_vision(fields: Fields, pooled: bool = True) -> Tower:
    """The image encoder of SigLIP (arXiv:2303.15343): no class token, pooled by an attention with one query."""
    width, layer, count, elements = _plain_vision(fields)
    inner = fields.width("intermediate_size")
    head: tuple[Edge, ...] = (
        Vector(name="probe", size=width),
        Linear(name="pool.q", inputs=width, outputs=width, bias=True, per="sequence"),
        Linear(name="pool.k", inputs=width, outputs=width, bias=True),
        Linear(name="pool.v", inputs=width, outputs=width, bias=True),
        Linear(name="pool.o", inputs=width, outputs=width, bias=True, per="sequence"),
        Norm(name="pool.norm", per="sequence"),
        Linear(name="pool.up", inputs=width, outputs=inner, bias=True, per="sequence", activation="gelu"),
        Linear(name="pool.down", inputs=inner, outputs=width, bias=True, per="sequence"),
    )
    return Tower(
        name="vision",
        modality="image",
        width=width,
        causal=False,
        norm="layer",
        layers=(layer,),
        tokens=count,
        inputs=(
            Linear(name="patches", inputs=elements, outputs=width, bias=True),
            Table(name="positions", rows=count, columns=width, looked_up=False),
        ),
        outputs=(Norm(), *(head if pooled else ())),
    )


def siglip(fields: Fields) -> tuple[Tower, ...]:
    """SigLIP: both encoders, a temperature and a bias."""
    vision = siglip_vision(fields.section("vision_config"))
    text = fields.section("text_config")
    width = text.width("hidden_size", default=768)
    tower = _clip_text(text, width, False, True)
    lone = Vector(name="temperature_and_bias", size=2)
    return vision, tower.model_copy(update={"outputs": (*tower.outputs, lone)})


def whisper(fields: Fields) -> tuple[Tower, ...]:
    """Whisper (arXiv:2212.04356): an encoder of spectra and a decoder that attends to it."""
    width = fields.width("d_model")
    bins, frames = fields.count("num_mel_bins"), fields.rows("max_source_positions")
    rows, positions = fields.rows("vocab_size"), fields.rows("max_target_positions")
    acts = activation(fields, "activation_function", default="gelu")
    sides = []
    for side in ("encoder", "decoder"):
        heads = fields.count(f"{side}_attention_heads")
        fields.divides(f"{side}_attention_heads", heads, "d_model", width)
        sides.append((fields.count(f"{side}_layers"), heads, fields.width(f"{side}_ffn_dim")))
    fields.finish()

    def blocks(heads: int, inner: int, cross: bool) -> Layer:
        own = Attention(heads=heads, head_dim=width // heads, bias="no_key", rotary=False)
        far = own.model_copy(update={"context": width})
        feed = FeedForward(inner=inner, gated=False, activation=acts, bias=True)
        return Layer(blocks=(own, far, feed) if cross else (own, feed))

    kernel = 3
    (depth, heads, inner), (depth_out, heads_out, inner_out) = sides
    encoder = Tower(
        name="audio",
        modality="audio",
        width=width,
        causal=False,
        norm="layer",
        layers=(Layer(blocks=blocks(heads, inner, False).blocks, times=depth),),
        tokens=frames,
        inputs=(
            Linear(name="stem.1", inputs=kernel * bins, outputs=width, bias=True, activation=acts, times=2),
            Linear(name="stem.2", inputs=kernel * width, outputs=width, bias=True, activation=acts),
            Table(name="positions", rows=frames, columns=width, looked_up=False),
        ),
        outputs=(Norm(),),
    )
    decoder = Tower(
        name="text",
        width=width,
        norm="layer",
        layers=(Layer(blocks=blocks(heads_out, inner_out, True).blocks, times=depth_out),),
        inputs=(Table(rows=rows, columns=width), Table(name="positions", rows=positions, columns=width)),
        outputs=(Norm(), Linear(name="head", inputs=width, outputs=rows, per="sampled", tied=True)),
    )
    return encoder, decoder


def qwen_vision(fields: Fields, version: str, out: int) -> Tower:
    """The encoder of Qwen2-VL (arXiv:2409.12191) or Qwen2.5-VL (arXiv:2502.13923): any size, 2 x 2 patches merged."""
    first = version == "qwen2_vl"
    width = fields.width("embed_dim" if first else "hidden_size")
    heads, depth = fields.count("num_heads"), fields.count("depth")
    fields.divides("num_heads", heads, "embed_dim" if first else "hidden_size", width)
    side, frames = fields.count("patch_size"), fields.count("temporal_patch_size", default=2)
    merged = fields.count("spatial_merge_size", default=2) ** 2
    elements = side * side * frames * fields.count("in_channels", "in_chans", default=CHANNELS)
    inner = round(width * fields.number("mlp_ratio", 4)) if first else fields.width("intermediate_size")
    window = fields.count("window_size", default=112) if not first else None
    full = set(fields.numbers("fullatt_block_indexes", () if first else (7, 15, 23, 31)))
    fields.finish()

    def layer(number: int) -> Layer:
        seen = None if window is None or number in full else (window // side) ** 2
        attention = Attention(heads=heads, head_dim=width // heads, bias="all", block=seen)
        if first:
            feed = FeedForward(inner=inner, gated=False, activation="quick_gelu", bias=True)
        else:
            feed = FeedForward(inner=inner, gated=True, activation="silu", bias=True)
        return Layer(blocks=(attention, feed))

    return Tower(
        name="vision",
        modality="image",
        width=width,
        causal=False,
        norm="layer" if first else "rms",
        layers=joined([layer(number) for number in range(depth)]),
        inputs=(Linear(name="patches", inputs=elements, outputs=width),),
        outputs=(
            Norm(name="merge.norm"),
            Linear(
                name="merge.1",
                inputs=merged * width,
                outputs=merged * width,
                bias=True,
                every=merged,
                activation="gelu",
            ),
            Linear(name="merge.2", inputs=merged * width, outputs=out, bias=True, every=merged),
        ),
    )


def wan(fields: Fields) -> tuple[Tower, ...]:
    """The diffusion transformer of Wan 2.1 (arXiv:2503.20314) as diffusers writes it."""
    heads, head_dim = fields.count("num_attention_heads"), fields.width("attention_head_dim")
    width = heads * head_dim
    patch = fields.numbers("patch_size", (1, 2, 2))
    volume = 1
    for side in patch:
        volume *= side
    channels, made = fields.count("in_channels", default=16), fields.count("out_channels", default=16)
    text, frequencies = fields.width("text_dim", default=4096), fields.width("freq_dim", default=256)
    inner, depth = fields.width("ffn_dim"), fields.count("num_layers")
    fields.finish()
    own = Attention(heads=heads, head_dim=head_dim, bias="all", qk_norm="all", norm="plain")
    layer = Layer(
        blocks=(
            Modulation(vectors=6),
            own,
            Attention(
                heads=heads, head_dim=head_dim, bias="all", qk_norm="all", norm="layer", context=width, rotary=False
            ),
            FeedForward(inner=inner, gated=False, activation="gelu", bias=True, norm="plain"),
        ),
        times=depth,
    )

    def linear(name: str, inputs: int, outputs: int, **more: object) -> Linear:
        return Linear.model_validate({"name": name, "inputs": inputs, "outputs": outputs, "bias": True, **more})

    return (
        Tower(
            name="video",
            modality="video",
            width=width,
            causal=False,
            norm="layer",
            layers=(layer,),
            inputs=(
                linear("patches", volume * channels, width),
                linear("time.1", frequencies, width, per="sequence", activation="silu"),
                linear("time.2", width, width, per="sequence", activation="silu"),
                linear("time.modulation", width, 6 * width, per="sequence"),
                linear("text.1", text, width, per="context", activation="gelu"),
                linear("text.2", width, width, per="context"),
            ),
            outputs=(
                Norm(norm="plain"),
                Vector(name="modulation", size=2 * width),
                linear("patches", width, volume * made),
            ),
        ),
    )
