"""A ``config.json`` as a model: which reader serves which ``model_type``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from algorithms.models.edges import Linear, Norm, Vector
from algorithms.models.huggingface import decoders, encoders
from algorithms.models.huggingface.fields import Fields
from algorithms.models.huggingface.quantization import formats_of
from algorithms.models.model import Model, Tower
from hwmodels.reading.documents import Document, read_document
from hwmodels.reading.errors import InputError, Problem, did_you_mean

Reader = Callable[[Fields], tuple[Tower, ...]]


def _alone(reader: Callable[[Fields], Tower]) -> Reader:
    return lambda fields: (reader(fields),)


def _llava(fields: Fields) -> tuple[Tower, ...]:
    """LLaVA-OneVision (arXiv:2408.03326): an image encoder, two products, a language model."""
    vision_fields, text_fields = fields.section("vision_config"), fields.section("text_config")
    vision = encoders.siglip_vision(vision_fields, pooled=vision_fields.flag("vision_use_head", True))
    (text,) = towers_of(text_fields)
    width = text.width
    projector = (
        Linear(name="projector.1", inputs=vision.width, outputs=width, bias=True, activation="gelu"),
        Linear(name="projector.2", inputs=width, outputs=width, bias=True),
        Vector(name="newline", size=width),
    )
    return vision.model_copy(update={"outputs": (*vision.outputs, *projector)}), text


def _qwen_vl(fields: Fields) -> tuple[Tower, ...]:
    """Qwen2-VL and Qwen2.5-VL: an image encoder that merges patches, and a Qwen2."""
    kind = fields.text("model_type")
    text = decoders.llama_like(_as_qwen2(fields))
    return encoders.qwen_vision(fields.section("vision_config"), kind, text.width), text


def _as_qwen2(fields: Fields) -> Fields:
    """The language model's fields, which older files have beside the encoder's."""
    return fields.section("text_config") if fields.has("text_config") else fields


def _gemma3(fields: Fields) -> tuple[Tower, ...]:
    """Gemma 3 of 4B and more: a SigLIP of 896 pixels whose patches are pooled 4 x 4, and a product behind it."""
    vision = encoders.siglip_vision(fields.section("vision_config"), pooled=False)
    text = decoders.gemma(fields.section("text_config"))
    pooled = (vision.tokens or 1) // fields.count("mm_tokens_per_image", default=256)
    project = (
        Norm(name="projector.norm", norm="rms"),
        Linear(name="projector", inputs=vision.width, outputs=text.width, every=max(pooled, 1)),
    )
    return vision.model_copy(update={"outputs": (*vision.outputs, *project)}), text


READERS: dict[str, Reader] = {
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3"), _alone(decoders.llama_like)),
    **dict.fromkeys(("gemma", "gemma2", "gemma3_text"), _alone(decoders.gemma)),
    **dict.fromkeys(("mixtral", "qwen3_moe", "gpt_oss"), _alone(decoders.mixture)),
    **dict.fromkeys(("deepseek_v2", "deepseek_v3", "kimi_k2"), _alone(decoders.deepseek)),
    **dict.fromkeys(("qwen3_next", "qwen3_5_text", "qwen3_5_moe_text"), _alone(decoders.hybrid)),
    "opt": _alone(decoders.opt),
    "gpt2": _alone(decoders.gpt2),
    "bloom": _alone(decoders.bloom),
    "gemma3": _gemma3,
    "bert": encoders.bert,
    "vit": encoders.vit,
    "clip": encoders.clip,
    "siglip": encoders.siglip,
    "whisper": encoders.whisper,
    "llava_onevision": _llava,
    "qwen2_vl": _qwen_vl,
    "qwen2_5_vl": _qwen_vl,
    "WanTransformer3DModel": encoders.wan,
}
"""Readers by ``model_type``, or by ``_class_name`` in files of diffusers."""


def towers_of(fields: Fields) -> tuple[Tower, ...]:
    """The towers that a configuration, or a section of one, describes.

    Raises
    ------
    InputError
        A kind of model that is not known, fields that are missing, and those that cannot be, with their lines.
    """
    name = "model_type" if fields.has("model_type") else "_class_name"
    kind = fields.text(name)
    if kind not in READERS:
        if not kind:
            fields.complain("model_type", "required key is missing")
        else:
            fields.complain(name, f"unknown kind of model {kind!r}", did_you_mean(kind, READERS))
        fields.finish()
    try:
        towers = READERS[kind](fields)
    except ValidationError as error:
        # what the fields say apart is sound; together they are not
        first = error.errors(include_url=False)[0]
        raise InputError(Problem(str(first["msg"]).removeprefix("Value error, "), fields.document.name)) from None
    fields.finish()
    return towers


def read_config(path: Path | str) -> Model:
    """The model that a ``config.json`` describes, called as its folder is.

    Raises
    ------
    InputError
        A file that cannot be read, or everything that is wrong with its fields: file, line, field.
    """
    return model_of(read_document(path), Path(path).resolve().parent.name or "model")


def model_of(document: Document, name: str) -> Model:
    """The model of a parsed configuration; raises as `read_config`."""
    if not isinstance(document.data, dict):
        raise InputError(Problem("must be a mapping", document.name))
    if document.problems:
        raise InputError(document.problems)
    fields = Fields(document)
    weights, experts = formats_of(fields)
    return Model(
        name=name,
        source=f"{document.name}",
        towers=towers_of(fields),
        weight_format=weights,
        expert_format=experts,
    )
