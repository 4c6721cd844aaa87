"""Section ``quantization_config`` of a ``config.json``: the formats in which a checkpoint keeps its matrices."""

from __future__ import annotations

from algorithms.models.huggingface.fields import Fields
from hwmodels.reading.errors import did_you_mean

PLAIN = {"float32": "float32", "float16": "float16", "bfloat16": "bfloat16"}
"""Formats of weights by the names that configurations have for them."""
BY_BITS = {4: "int4", 8: "int8"}
"""Formats of matrices of whole numbers by their bits."""
METHODS = ("fp8", "mxfp4", "awq", "gptq", "bitnet")
"""Methods whose formats are known."""


def formats_of(fields: Fields) -> tuple[str, str]:
    """(format of matrices, that of experts' matrices or an empty one): names of `algorithms.chip.layers.formats`.

    A method that is not known is a problem of the file: its weights would have a size that nobody stated.
    """
    plain = PLAIN.get(fields.text("torch_dtype", fields.text("dtype", "bfloat16")), "bfloat16")
    if not fields.has("quantization_config"):
        return plain, ""
    own = fields.section("quantization_config")
    method = own.text("quant_method")
    match method:
        case "fp8":
            return ("float8_block" if own.has("weight_block_size") else "float8"), ""
        case "mxfp4":  # gpt-oss: experts alone
            return plain, "mxfp4"
        case "awq" | "gptq":
            bits = own.count("bits", default=4)
            if bits not in BY_BITS:
                own.complain(
                    "bits", f"weights of {bits} bits are not known", "known: " + ", ".join(map(str, sorted(BY_BITS)))
                )
            return BY_BITS.get(bits, plain), ""
        case "bitnet":
            return "ternary", ""
        case _:
            own.complain("quant_method", f"unknown method {method!r}", did_you_mean(method, METHODS))
            return plain, ""
