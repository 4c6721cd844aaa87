"""Steps of whole models on the command line: what they print, what they refuse, what explains them."""

import json

import pytest

from studies.cli.app import run_command_line
from studies.report.sections.models import _memory_bars, _time_bars
from studies.store.store import Store


def run(capsys, *words):
    code = run_command_line(list(words))
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_a_step_holds_time_rate_energy_layers_ledger_and_how(capsys):
    code, out, _ = run(
        capsys,
        *("run", "model.step", "--model", "llama3-70b", "--system", "dgx_h100"),
        *("--batch", "decode 1 of 1024 x64", "--set", "tp=8", "--json", "--quiet"),
    )
    assert code == 0
    found = json.loads(out)
    assert found["seconds"] > 0 and found["energy_j"] > 0
    assert found["tokens_per_second"] == pytest.approx(64 / found["seconds"])
    layers = {layer["name"]: layer for layer in found["layers"]}
    assert layers["text.layers"]["times"] == 80
    assert sum(layer["times"] * layer["seconds"] for layer in layers.values()) == pytest.approx(found["seconds"])
    assert {row["name"] for row in found["ledger"]} == {"weights.text", "kv.text", "activations"}
    assert sum(row["seconds"] for row in found["how"]) == pytest.approx(found["seconds"])
    assert {row["way"] for row in found["how"]} == {"simulated", "closed form", "cited number"}
    assert any(row["error"] for row in found["how"])


def test_a_configuration_file_is_a_model(capsys, tmp_path):
    config = {
        "model_type": "llama",
        "hidden_size": 256,
        "intermediate_size": 512,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "vocab_size": 1000,
    }
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    words = ("run", "model.step", "--model", str(path), "--chip", "h100", "--json", "--quiet")
    code, out, _ = run(capsys, *words)
    assert code == 0
    assert json.loads(out)["parameters_count"] == 2 * (4 * 256**2 + 3 * 256 * 512 + 512) + 256 + 2 * 256_000
    del config["hidden_size"]
    path.write_text(json.dumps(config))
    code, _, err = run(capsys, *words)
    assert code == 2
    assert "hidden_size: required key is missing" in err
    assert "Traceback" not in err


def test_what_does_not_fit_ends_with_code_3_and_what_would(capsys):
    code, _, err = run(
        capsys, *("run", "model.step", "--model", "llama3-70b", "--chip", "h100", "--batch", "decode 1 of 131072")
    )
    assert code == 3
    assert "does not fit into 80 GB of hbm; it would fit with 4 chips (tp=4)" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--chip", "h100", "--set", "tp=2"), "h100_sxm5_80g has 1 chips, the mapping needs 2"),
        (("--system", "dgx_h1000"), "--system: unknown system 'dgx_h1000'; did you mean 'dgx_h100'?"),
        (("--system", "dgx_h100", "--set", "tp=3"), "tp: must divide the 32 heads of text (got 3)"),
        (("--chip", "h100", "--model", "lama3-8b"), "unknown model 'lama3-8b'; did you mean 'llama3-8b'?"),
        (("--chip", "h100", "--batch", "decode"), "'decode' is no part"),
        (("--chip", "h100", "--set", "weights=float9"), "unknown weight format 'float9'"),
        ((), "chip"),
    ],
)
def test_bad_input_is_one_line_each(capsys, words, message):
    code, _, err = run(capsys, "run", "model.step", *words)
    assert code == 2
    assert message in err
    assert "Traceback" not in err


def test_an_explanation_names_a_lever_that_was_tried(capsys):
    code, out, _ = run(
        capsys, *("explain", "model.step", "--model", "gpt2", "--chip", "h100", "--batch", "decode 1 of 64", "--json")
    )
    assert code == 0
    found = json.loads(out)
    names = [lever["name"] for lever in found["levers"]]
    assert {"chip.hbm.bytes_per_second", "chip.cores", "chip.l2.capacity_bytes", "weights", "kv"} <= set(names)
    assert found["levers"][0]["gain"] >= found["levers"][-1]["gain"]


def test_a_model_shows_its_parameters_and_who_published_them(capsys):
    code, out, _ = run(capsys, "show", "model", "llama3-8b", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["parameters"] == found["published"]["parameters"] == 8_030_261_248


def test_models_and_systems_are_listed(capsys):
    for kind, name in (("models", "deepseek-v3"), ("systems", "nvl72")):
        code, out, _ = run(capsys, "list", kind, "--json")
        assert code == 0
        assert name in {entry["name"] for entry in json.loads(out)[kind]}


def test_a_system_shows_where_its_rates_are_from(capsys):
    code, out, _ = run(capsys, "show", "system", "dgx_h100", "--json")
    assert code == 0
    assert json.loads(out)["sources"]["nvlink.rate"]


STUDY = """
name: small-models
algorithm: model.step
parameters: {model: gpt2}
objectives: [model.tokens_per_second, model.held_bytes]
axes:
  system: [dgx_a100, dgx_h100]
  batch: [decode 1 of 64 x1, decode 1 of 64 x8]
  tp: [1, 4]
"""


def test_a_study_of_systems_needs_no_chip_and_its_report_shows_time_and_memory(capsys, tmp_path):
    study, store, page = tmp_path / "s.yaml", tmp_path / "s.sqlite", tmp_path / "s.html"
    study.write_text(STUDY)
    assert run(capsys, "sweep", str(study), "--store", str(store), "--jobs", "0", "--quiet")[0] == 0
    assert run(capsys, "report", str(store), "--output", str(page), "--quiet")[0] == 0
    html = page.read_text()
    assert "Time by kind of operation" in html and "Memory of the fullest chip" in html
    with Store(store) as points:
        details = [row.outcome.detail for row in points.rows()]
    assert {detail.point.on_chip.accelerator.name for detail in details} == {"a100_sxm4_80g", "h100_sxm5_80g"}
    for detail in details:
        bars = list(_time_bars(detail))
        assert sum(bar.value for bar in bars) == pytest.approx(detail.seconds)
        held = {bar.kind: bar.value for bar in _memory_bars(detail)}
        assert sum(held.values()) == detail.usable_bytes


def test_a_system_that_is_not_known_is_told_at_its_place(capsys, tmp_path):
    study = tmp_path / "s.yaml"
    study.write_text(STUDY.replace("dgx_a100", "dgx_a101"))
    code, _, err = run(capsys, "sweep", str(study), "--store", str(tmp_path / "s.sqlite"), "--quiet")
    assert code == 2
    assert "unknown system 'dgx_a101'; did you mean 'dgx_a100'?" in err
    study.write_text("\n".join(line for line in STUDY.splitlines() if "system" not in line))
    code, _, err = run(capsys, "sweep", str(study), "--store", str(tmp_path / "s.sqlite"), "--quiet")
    assert code == 2
    assert "chip: model.step steps a whole model: name one" in err
