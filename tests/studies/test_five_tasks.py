"""What five people came for, typed as they would type it, and answered in what is printed."""

import re

import pytest

from studies.cli import main


@pytest.fixture
def typed(tmp_path, monkeypatch, capsys):
    """Function that runs a command in an empty folder and returns its exit code and all that it prints."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        code = main(list(words))
        shown = capsys.readouterr()
        return code, " ".join((shown.out + shown.err).split())

    return run


def test_latent_attention_on_my_chip_wants_more_local_memory(typed, tmp_path):
    assert typed("init", "chip")[0] == 0
    path = tmp_path / "my_chip.yaml"
    path.write_text(path.read_text().replace("sram_bytes: 512 KiB", "sram_bytes: 256 KiB"))
    model = ("--chip", str(path), "--workload", "deepseek-v3", "--context", "65536", "--batch", "32")
    code, answer = typed("explain", "mla.seq", *model)
    assert code == 0
    told = re.search(r"Best lever of the chip: (\S+) from (.+?) to (.+?) saves ([\d.]+) % of the time", answer)
    assert told, answer
    assert told.groups()[:3] == ("chip.core.sram_bytes", "256 KiB", "512 KiB")
    assert float(told[4]) > 60
    assert "times fewer bytes are moved" in answer


def test_seventy_billion_parameters_do_not_fit_one_chip_and_what_does_is_said(typed):
    step = ("--model", "llama3-70b", "--chip", "h100", "--batch", "decode 1 of 131072")
    code, answer = typed("run", "model.step", *step)
    assert code == 3
    assert "does not fit into 80 GB of hbm; it would fit with 4 chips (tp=4)" in answer
    code, answer = typed("run", "model.step", *step, "--set", "tp=4")
    assert code == 2, "one chip has no others"
    code, answer = typed("run", "model.step", *step[:2], "--system", "dgx_h100", *step[4:], "--set", "tp=4")
    assert code == 0
    rate = re.search(r"([\d,.]+) tokens per second of the model", answer)
    assert rate and 20 < float(rate[1].replace(",", "")) < 200


def test_an_edge_study_names_the_small_design_first(typed, tmp_path):
    typed("init", "chip", "-o", "edge.yaml")
    (tmp_path / "study.yaml").write_text(
        "name: edge\nalgorithm: decode.split_kv\nchip: edge.yaml\ntiming_only: true\n"
        "workload: {preset: llama3-8b, phase: decode, q_len: 1, kv_len: 4096}\nobjectives: [seconds, area_mm2]\n"
        "axes: {chip.cores: [4, 8, 16, 32], chip.lpddr.bytes_per_second: [51.2 GB/s, 102.4 GB/s]}\n"
    )
    assert typed("sweep", "study.yaml", "--jobs", "0", "--quiet")[0] == 0
    assert typed("report", "out/edge.sqlite", "-o", "edge.html")[0] == 0
    page = (tmp_path / "edge.html").read_text(encoding="utf-8")
    headline = re.sub(r"<[^>]+>", "", re.search(r'<p class="answer">(.*?)</p>', page, re.DOTALL)[1])
    named = re.findall(r"chip\.cores (\d+)", headline)
    assert named and int(named[0]) == 4, "32 cores are no faster"
    assert "32" not in named


def test_a_camera_is_told_whether_the_model_keeps_up(typed):
    options = ("--set", "seconds=10", "--set", "policy=streaming_llm(sink=64,recent=6208)")
    code, answer = typed("run", "live.stream", "camera-orin", *options)
    assert code == 0
    assert "10 frames of 196 tokens a second" in answer
    assert "keeps up;" in answer
    code, answer = typed("run", "live.stream", "camera-orin", *options, "--set", "rate=200")
    assert code == 0
    assert "does not keep up" in answer


FIVE_LINES = """import attnflow
study = attnflow.Study.ask("five", algorithm="decode.split_kv", workload={"preset": "llama3-8b", "phase": "decode",
    "q_len": 1, "kv_len": 4096}, chip="h100", timing_only=True, objectives=["seconds", "energy_j"],
    axes={"chip.hbm": ["hbm3 x 5", "hbm3e x 6"], "chip.cores": [66, 132]})
study.sweep("five.sqlite", jobs=0)
"""


def test_five_lines_in_a_notebook_have_a_picture_wherever_it_is_shown(tmp_path):
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    from nbformat.v4 import new_code_cell, new_notebook

    notebook = new_notebook(cells=[new_code_cell(FIVE_LINES)])
    nbclient.NotebookClient(notebook, timeout=1800, resources={"metadata": {"path": str(tmp_path)}}).execute()
    (shown,) = [
        output.data["text/html"] for output in notebook.cells[0].outputs if "text/html" in output.get("data", {})
    ]
    assert "<svg" in shown and "<script" not in shown
    assert shown.count("<circle") == 4
    assert ">Time<" in shown and ">Energy<" in shown
    assert "hbm3e x 6" in shown
