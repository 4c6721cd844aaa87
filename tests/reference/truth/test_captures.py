"""The shipped capture is what its README says, and the oracle reproduces the attention recorded in it."""

from __future__ import annotations

import hashlib
import json
import re

import numpy as np
import pytest

from reference.captures import capture_minilm, capture_names, capture_path
from reference.truth import metrics, oracle

NAME = "minilm_l6_layer3"
README = (capture_path(NAME).parent / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def arrays():
    with np.load(capture_path(NAME), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def test_file_and_arrays_have_the_published_hashes_shapes_and_types(arrays):
    assert hashlib.sha256(capture_path(NAME).read_bytes()).hexdigest() in README
    assert capture_path(NAME).stat().st_size < 1_000_000
    rows = re.findall(r"\| `(\w+)` \| \(([\d, ]+)\) \| (\w+) \| `(\w{64})` \|", README)
    assert {row[0] for row in rows} == set(arrays)
    for name, shape, dtype, digest in rows:
        array = arrays[name]
        assert array.shape == tuple(int(size) for size in re.findall(r"\d+", shape))
        assert array.dtype == dtype and np.all(np.isfinite(array))
        assert hashlib.sha256(array.tobytes()).hexdigest() == digest


def test_the_oracle_gives_the_recorded_output(arrays):
    out, lse = oracle.attention(arrays["q"], arrays["k"], arrays["v"])
    assert metrics.relative_l2(arrays["out"], out) < metrics.TOLERANCES["float32"].relative_l2
    assert np.all(np.isfinite(lse))
    wrong, _ = oracle.attention(arrays["q"], arrays["k"], arrays["v"], mask="causal")
    assert metrics.relative_l2(arrays["out"], wrong) > 0.1


def test_real_attention_is_structured_where_random_data_is_not(arrays):
    """Why the capture is shipped: its heads concentrate on few keys, unlike independent normal data."""
    weights = oracle.probabilities(arrays["q"], arrays["k"])
    top = np.sort(weights, axis=-1)[..., -8:].sum(axis=-1).mean()
    rng = np.random.default_rng(0)
    noise = oracle.probabilities(rng.standard_normal((12, 128, 32)), rng.standard_normal((12, 128, 32)))
    assert top > 1.5 * np.sort(noise, axis=-1)[..., -8:].sum(axis=-1).mean()


def test_unknown_captures_are_refused():
    assert NAME in capture_names()
    with pytest.raises(ValueError, match=f"unknown capture 'nothing'.*{NAME}"):
        capture_path("nothing")


def tiny_model(rng: np.random.Generator) -> capture_minilm.Model:
    """A BERT of width 8 with 2 heads and random weights, in the published naming."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "sea", "##man", "##ship", "-", ",", "cafe"]
    shapes = {
        "embeddings.word_embeddings.weight": (len(words), 8),
        "embeddings.position_embeddings.weight": (128, 8),
        "embeddings.token_type_embeddings.weight": (2, 8),
    }
    linears = ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"]
    for layer in range(capture_minilm.LAYER + 1):
        prefix = f"encoder.layer.{layer}"
        shapes |= {f"{prefix}.{name}.weight": (8, 8) for name in linears}
        shapes |= {f"{prefix}.{name}.bias": (8,) for name in linears}
        shapes |= {f"{prefix}.intermediate.dense.weight": (16, 8), f"{prefix}.intermediate.dense.bias": (16,)}
        shapes |= {f"{prefix}.output.dense.weight": (8, 16), f"{prefix}.output.dense.bias": (8,)}
        for norm in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes |= {f"{prefix}.{norm}.weight": (8,), f"{prefix}.{norm}.bias": (8,)}
    shapes |= {"embeddings.LayerNorm.weight": (8,), "embeddings.LayerNorm.bias": (8,)}
    weights = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    return capture_minilm.Model(weights, {word: i for i, word in enumerate(words)}, 2, 1e-12, "")


def test_wordpiece_takes_the_longest_match_and_marks_unknown_words():
    vocabulary = tiny_model(np.random.default_rng(0)).vocabulary
    ids = capture_minilm.tokenize("The seaman--the CAFÉ, seaxship", vocabulary)
    names = {i: word for word, i in vocabulary.items()}
    assert [names[i] for i in ids] == ["the", "sea", "##man", "-", "-", "the", "cafe", ",", "[UNK]"]


def test_capture_stores_the_tensors_of_the_recorded_layer():
    model = tiny_model(np.random.default_rng(1))
    arrays = capture_minilm.capture(model, "the sea " * 100)
    assert arrays["token_ids"].shape == (128,) and arrays["token_ids"][-1] == model.vocabulary["[SEP]"]
    assert arrays["q"].shape == arrays["out"].shape == (2, 128, 4)
    out, _ = oracle.attention(arrays["q"], arrays["k"], arrays["v"])
    assert metrics.relative_l2(arrays["out"], out) < 1e-5


def test_layer_norm_and_gelu_do_what_their_names_say():
    model = tiny_model(np.random.default_rng(2))
    x = np.random.default_rng(3).standard_normal((5, 8))
    plain = capture_minilm.Model(
        {"n.weight": np.ones(8), "n.bias": np.zeros(8)}, {}, model.heads, model.layer_norm_epsilon, ""
    ).layer_norm(x, "n")
    np.testing.assert_allclose(plain.mean(axis=-1), 0, atol=1e-12)
    np.testing.assert_allclose(plain.std(axis=-1), 1, rtol=1e-9)
    shape = capture_minilm.encode_layer(model, x, 0).shape
    assert shape == x.shape


def test_safetensors_reader_follows_the_format():
    values = np.arange(6, dtype="<f4").reshape(2, 3)
    header = json.dumps(
        {"__metadata__": {"format": "pt"}, "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}
    ).encode()
    raw = len(header).to_bytes(8, "little") + header + values.tobytes()
    np.testing.assert_array_equal(capture_minilm.read_safetensors(raw)["a"], values)
