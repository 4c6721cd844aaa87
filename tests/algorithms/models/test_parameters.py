"""Parameters of models, computed and published, and models read from configuration files."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorithms.models.huggingface.config import model_of, read_config
from algorithms.models.text import load_model, model_names
from hwmodels.reading.documents import read_text
from hwmodels.reading.errors import InputError

CONFIGS = Path(__file__).parent / "configs"
FEWEST_EXACT = 75


@pytest.mark.parametrize("name", model_names())
def test_a_preset_has_as_many_parameters_as_published(name):
    model = load_model(name)
    assert model.name == name
    assert model.source
    if model.published is not None:
        assert model.published.source
        assert model.published.agrees(model.parameters)


def test_a_count_says_whether_it_was_seen_or_its_source_only_named():
    published = {name: load_model(name).published for name in model_names()}
    status = {name: count.status for name, count in published.items() if count is not None}
    assert status["llama3-8b"] == "seen"
    assert set(status.values()) == {"seen", "named"}


def test_most_published_counts_are_exact():
    models = [load_model(name) for name in model_names()]
    exact = [model for model in models if model.published is not None and model.published.digits is None]
    assert len(exact) >= FEWEST_EXACT


@pytest.mark.parametrize(
    ("name", "active"),
    [
        # deepseek-ai/DeepSeek-V3, README_WEIGHTS.md: 36.6B without the embedding
        ("deepseek-v3", 36_625_618_432),
        # model card of gpt-oss, table 1: 5.13B of 120b and 3.61B of 20b, of which unembedding but not embedding
        ("gpt-oss-120b", 5.13e9),
        ("gpt-oss-20b", 3.61e9),
    ],
)
def test_active_parameters_are_those_published(name, active):
    computed = load_model(name).active_parameters
    assert computed == active or (isinstance(active, float) and round(computed / 1e9, 2) == active / 1e9)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.json")), ids=lambda path: path.stem)
def test_a_configuration_file_says_what_the_preset_says(path):
    read, preset = read_config(path), load_model(path.stem)
    assert read.parameters == preset.parameters
    for tower, expected in zip(read.towers, preset.towers, strict=True):
        assert tower.model_copy(update={"layers": (), "repeat": 1}) == expected.model_copy(
            update={"layers": (), "repeat": 1}
        )
        written_out = [layer.blocks for layer in tower.runs for _ in range(layer.times)]
        assert written_out == [layer.blocks for layer in expected.runs for _ in range(layer.times)]


@given(
    heads=st.sampled_from([1, 2, 3, 8]),
    group=st.sampled_from([1, 2, 4]),
    head_dim=st.sampled_from([8, 64, 80]),
    inner=st.integers(1, 300),
    layers=st.integers(1, 5),
    vocabulary=st.integers(1, 1000),
    tied=st.booleans(),
)
def test_a_decoder_counts_as_its_closed_form(heads, group, head_dim, inner, layers, vocabulary, tied):
    width = heads * group * head_dim
    config = {
        "model_type": "llama",
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads * group,
        "num_key_value_heads": heads,
        "vocab_size": vocabulary,
        "tie_word_embeddings": tied,
    }
    model = model_of(read_text(json.dumps(config), "config.json"), "any")
    attention = 2 * width * width + 2 * width * heads * head_dim
    of_layer = attention + 3 * width * inner + 2 * width
    assert model.parameters == layers * of_layer + width + (1 if tied else 2) * vocabulary * width


def _config(**changes):
    config = json.loads((CONFIGS / "llama3-70b.json").read_text())
    for name, value in changes.items():
        if value is ...:
            del config[name]
        else:
            config[name] = value
    return json.dumps(config, indent=1)


@pytest.mark.parametrize(
    ("changes", "line", "message"),
    [
        ({"hidden_size": ...}, None, "hidden_size: required key is missing"),
        ({"hidden_size": -1}, 3, "hidden_size: must be at least 1 (got -1)"),
        ({"hidden_size": 10**9}, 3, "hidden_size: must be at most 1,000,000 (got 1,000,000,000)"),
        ({"num_hidden_layers": "many"}, 5, "num_hidden_layers: must be a whole number (got 'many')"),
        ({"num_hidden_layers": True}, 5, "num_hidden_layers: must be a whole number (got True)"),
        ({"num_key_value_heads": 7}, 7, "num_key_value_heads: must divide num_attention_heads = 64 (got 7)"),
        ({"num_attention_heads": 7}, 6, "num_key_value_heads: must divide num_attention_heads = 7 (got 8)"),
        ({"model_type": "lama"}, 2, "model_type: unknown kind of model 'lama'; did you mean 'llama'?"),
        ({"model_type": ...}, None, "model_type: required key is missing"),
        ({"hidden_act": "swosh"}, 9, "hidden_act: must be one of"),
        ({"vocab_size": 0}, 8, "vocab_size: must be at least 1 (got 0)"),
    ],
)
def test_a_bad_configuration_is_one_line_with_file_line_and_field(tmp_path, changes, line, message):
    path = tmp_path / "config.json"
    path.write_text(_config(**changes))
    with pytest.raises(InputError) as caught:
        read_config(path)
    first = str(caught.value).splitlines()[0]
    assert message in str(caught.value)
    assert first.startswith(f"{path}:{line}: " if line and "must divide" not in message else f"{path}:")


def test_all_problems_of_a_configuration_are_said_at_once(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(_config(hidden_size=-1, num_hidden_layers=0, num_key_value_heads=...))
    with pytest.raises(InputError) as caught:
        read_config(path)
    assert len(caught.value.problems) >= 2


def test_experts_that_a_token_takes_cannot_be_more_than_there_are(tmp_path):
    config = json.loads((CONFIGS / "mixtral-8x7b.json").read_text())
    config["num_experts_per_tok"] = 9
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    with pytest.raises(InputError, match="active must not exceed experts = 8"):
        read_config(path)


def test_a_model_is_found_by_the_name_of_its_repository():
    assert load_model("meta-llama/Llama-3.1-70B").name == "llama3-70b"


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(InputError, match="did you mean 'llama3-70b'"):
        load_model("llama3-70")


def test_a_model_file_of_ones_own_is_read_with_lines(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\nsource: own\ntowers:\n  - name: text\n    width: 64\n    layers:\n      - times: 2\n"
        "        blocks:\n          - {kind: attention, heads: 4, head_dim: 16, kv_heads: 3}\n"
    )
    with pytest.raises(InputError, match=r"mine.yaml:9: .*kv_heads must divide heads = 4"):
        load_model(path)


@pytest.mark.parametrize(
    ("quantization", "formats"),
    [
        (None, ("bfloat16", "")),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, ("float8_block", "")),
        ({"quant_method": "fp8"}, ("float8", "")),
        ({"quant_method": "mxfp4"}, ("bfloat16", "mxfp4")),
        ({"quant_method": "gptq", "bits": 8}, ("int8", "")),
        ({"quant_method": "awq", "bits": 4}, ("int4", "")),
    ],
)
def test_weights_are_in_the_format_of_the_checkpoint(quantization, formats):
    config = json.loads((CONFIGS / "qwen3-8b.json").read_text(encoding="utf-8"))
    config["quantization_config"] = quantization
    model = model_of(read_text(json.dumps(config), "config.json"), "any")
    assert (model.weight_format, model.expert_format) == formats


@pytest.mark.parametrize(
    ("quantization", "message"),
    [
        ({"quant_method": "fp9"}, "quantization_config.quant_method: unknown method 'fp9'; did you mean 'fp8'?"),
        ({"quant_method": "gptq", "bits": 3}, "quantization_config.bits: weights of 3 bits are not known; known: 4, 8"),
    ],
)
def test_an_unknown_format_of_a_checkpoint_is_said(quantization, message):
    config = json.loads((CONFIGS / "qwen3-8b.json").read_text(encoding="utf-8"))
    config["quantization_config"] = quantization
    with pytest.raises(InputError) as caught:
        model_of(read_text(json.dumps(config), "config.json"), "any")
    assert message in str(caught.value)
