"""Designs on chips from the command line and from studies: results, keys, errors, reports and comparisons."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from algorithms.chip.algorithm import chip_algorithm_names
from algorithms.registry import algorithm_names
from algorithms.workload.one_head import ONE_HEAD, ONE_HEAD_ON_CHIP
from hwmodels.chips.accelerator import load_accelerator
from hwmodels.costs.energy import energy_table
from hwmodels.reading.documents import read_text
from hwmodels.reading.errors import InputError
from simulator.errors import CapacityError
from studies.cli import main
from studies.families.attempt import attempt
from studies.families.chip.evaluate import LARGEST_CHECKED
from studies.families.chip.evaluation import ChipEvaluation
from studies.families.evaluate import evaluate
from studies.families.metrics import measure, metrics
from studies.points.chips import chip_setting
from studies.points.command import command_of
from studies.points.find import find_algorithm
from studies.points.knobs import complete_parameters
from studies.points.point import DesignPoint
from studies.study.resolve import resolve

H100 = load_accelerator("h100_sxm5_80g")
SMALL = ONE_HEAD_ON_CHIP.with_(q_len=96, kv_len=96, mask="causal")


def point_on(accelerator=H100, algorithm="flash.q_outer", workload=SMALL, changes=None, mapping=None, **parameters):
    values = complete_parameters(find_algorithm(algorithm), parameters)
    return DesignPoint(algorithm, workload, values, chip=chip_setting(accelerator, changes or {}, {"mapping": mapping}))


def complaints(capsys, *arguments, code=2):
    assert main([*arguments]) == code
    said = capsys.readouterr()
    assert said.out == ""
    return said.err.splitlines()


# --- points and their keys ---------------------------------------------------------------------------------


def test_the_key_is_the_content_of_the_chip_whatever_it_was_made_from(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: h100_sxm5_80g\nbase: h100\n")
    preset, file = point_on(), point_on(load_accelerator(path))
    assert preset.key == file.key == point_on(changes={"cores": 132}).key
    others = {
        point_on(changes={"cores": 131}).key,
        point_on(changes={"hbm.bytes_per_second": "4 TB/s"}).key,
        point_on(mapping="exact").key,
        point_on(tile_rows=64).key,
        point_on(load_accelerator("h20")).key,
    }
    assert len(others) == 5 and preset.key not in others
    assert point_on(changes={"cores": 131}).key == point_on(changes={"cores": "131"}).key


def test_a_description_leads_back_to_the_point():
    point = point_on(changes={"hbm.bytes_per_second": "4 TB/s"}, mapping="exact")
    back = DesignPoint.from_description(json.loads(json.dumps(point.describe())))
    assert back.key == point.key
    assert back.chip.accelerator.changes == (("hbm.bytes_per_second", "4 TB/s"),)
    assert back.chip.accelerator.core == point.chip.accelerator.core
    assert evaluate(back).seconds == evaluate(point).seconds


def test_points_without_a_chip_keep_the_keys_they_had():
    """Stores that were written before there were chips stay valid."""
    point = DesignPoint("sdpa.naive", ONE_HEAD, complete_parameters(find_algorithm("sdpa.naive"), {}))
    assert "chip" not in point.describe()
    assert "chip" not in json.loads(point.canonical)


@pytest.mark.parametrize("changes", [{}, {"hbm.bytes_per_second": "4 TB/s", "cores": 64}])
def test_the_command_of_a_point_gives_the_point(json_of, changes):
    point = point_on(load_accelerator("a100_sxm4_80g"), "decode.split_kv", changes=changes, splits=2, mapping="exact")
    words = shlex.split(command_of(point))
    assert words[0] == "attnflow"
    assert json_of(*words[1:])["key"] == point.key


# --- evaluation ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["flash.q_outer", "flash.kv_outer", "decode.split_kv", "eager.forward"])
def test_a_run_says_time_bounds_traffic_and_energy(algorithm):
    result = evaluate(point_on(algorithm=algorithm))
    assert isinstance(result, ChipEvaluation)
    values = measure(result)
    assert values["seconds"] >= values["bound.seconds"] > 0
    assert values["seconds"] == pytest.approx(values["cycles"] / H100.clock_hz, rel=1e-3)
    assert values["memory_bytes"] >= SMALL.compulsory_bytes
    assert values["energy_j"] == pytest.approx(sum(result.energy_j.values()), rel=1e-6, abs=0)
    assert values["power_w"] * values["seconds"] == pytest.approx(values["energy_j"], rel=1e-6, abs=0)
    assert values["tokens_per_second"] == pytest.approx(SMALL.q_len / values["seconds"])
    assert values["bound.binding"] in ("memory", "matrix", "exp", "vector")
    assert values["roofline.ratio"] == pytest.approx(values["seconds"] / result.run.bounds.roofline_s)
    assert values["error.rel_l2"] < 1e-12
    assert values["area_mm2"] == H100.area_mm2
    waiting = {"static": energy_table(H100).static_w, "hbm.idle": energy_table(H100).idle_w["hbm"]}
    assert values["power.idle_w"] == pytest.approx(sum(waiting.values()))
    for name, watts in waiting.items():
        assert result.energy_j[name] == pytest.approx(watts * values["seconds"], rel=1e-6, abs=0)
    assert not values.keys() & {"fifo.capacity_bytes", "deadlock"}
    json.dumps(result.describe(), allow_nan=False)


UNITS = {
    *("", "B", "B/s", "FLOP", "FLOP/B", "FLOP/s", "J", "J/B", "J/token", "USD", "W", "cycle", "mm2", "s", "token"),
    *("token/s", "frame/s", "request/s"),
}


def test_every_metric_says_what_it_is_in_words_of_its_own():
    told = [(metric.meaning, metric.unit) for metric in metrics()]
    assert len(told) > 50
    assert len(set(told)) == len(told), "two metrics are said to be the same"
    for meaning, unit in told:
        assert len(meaning.split()) >= 3 and not meaning.endswith("."), meaning
        assert "\n" not in meaning
        assert unit in UNITS, f"{unit!r}: {meaning}"


def test_graphs_have_no_metrics_of_chips():
    values = attempt(
        DesignPoint("sdpa.naive", ONE_HEAD.with_(q_len=4, kv_len=4), point_parameters("sdpa.naive"))
    ).metrics
    assert "energy_j" not in values and values["cycles"] > 0


def point_parameters(name):
    return complete_parameters(find_algorithm(name), {})


def test_more_bandwidth_is_never_slower_and_helps_where_memory_binds():
    work = SMALL.with_(phase="decode", q_len=1, kv_len=8192, heads=8, kv_heads=8, batch=16)
    slow, fast = (
        evaluate(point_on(algorithm="decode.split_kv", workload=work, changes={"hbm.bytes_per_second": rate}))
        for rate in ("1 TB/s", "4 TB/s")
    )
    assert slow.run.bounds.binding == "memory"
    assert slow.seconds > 2 * fast.seconds


def test_large_values_are_not_checked_and_the_reason_is_told():
    work = SMALL.with_(q_len=4096, kv_len=4096)
    result = evaluate(point_on(workload=work))
    assert result.deviation is None
    assert result.note == f"values are not checked: {4096 * 4096:,} scores are more than {LARGEST_CHECKED:,}"
    work = SMALL.with_(q_len=1, kv_len=1 << 17, phase="decode")
    assert "elements of a tensor" in evaluate(point_on(algorithm="decode.split_kv", workload=work)).note


def test_tensors_must_fit_into_the_memory():
    room = r"hbm of h100_sxm5_80g: .* MB for tensors of flash.q_outer does not fit into 1 MB of 5 stacks, by .* MB"
    advice = r"; it would fit with \d+ stacks instead of 5"
    with pytest.raises(CapacityError, match=room + advice):
        evaluate(point_on(workload=SMALL.with_(kv_len=8192, batch=8), changes={"hbm.capacity_bytes": 1_000_000}))


def test_a_kernel_brings_its_tiles_and_overheads(json_of):
    design = ["flash.q_outer", "--chip", "h100", "--workload", "llama3-8b", "--seq-len", "4096"]
    plain = json_of("run", *design)
    kernel = json_of("run", *design, "--kernel", "fa3_hopper")
    assert (kernel["parameters"]["tile_rows"], kernel["parameters"]["tile_columns"]) == (128, 128)
    assert kernel["seconds"] > plain["seconds"]
    assert kernel["key"] != plain["key"]
    own = json_of("run", *design, "--kernel", "fa3_hopper", "--set", "tile_rows=64")
    assert own["parameters"]["tile_rows"] == 64


# --- the command line ----------------------------------------------------------------------------------------


def test_all_kinds_of_algorithms_are_listed(json_of):
    listed = {entry["name"]: entry["summary"] for entry in json_of("list", "algorithms")["algorithms"]}
    on_chips = {name for name, summary in listed.items() if summary.startswith("[chip] ")}
    assert on_chips == set(chip_algorithm_names()) > {"flash.q_outer"}
    assert {name for name, summary in listed.items() if not summary.startswith("[")} == set(algorithm_names())
    shown = json_of("show", "algorithm", "flash.q_outer")
    assert shown["runs_on_chip"] is True
    assert "tile_rows" in [parameter["name"] for parameter in shown["parameters"]]
    assert "fa3_hopper" in [entry["name"] for entry in json_of("list", "kernels")["kernels"]]


def test_a_run_reads_well(capsys):
    arguments = ["flash.q_outer", "--chip", "h100", "--seq-len", "256", "--set", "chip.cores=66", "--quiet"]
    assert main(["run", *arguments]) == 0
    text = capsys.readouterr().out
    assert "chip: h100_sxm5_80g, 66 cores at 1.83 GHz; changed: cores = 66" in text
    for start in ("time ", "bound by ", "rate ", "energy ", "values ", "lower bound", "launch ", "tier "):
        assert any(line.startswith(start) for line in text.splitlines()), start
    assert "from the float64 oracle" in text


def test_a_rate_of_tokens_is_written_out(capsys):
    long = ["--chip", "h100", "--workload", "llama3-8b", "--timing-only", "--quiet"]
    assert main(["run", "flash.q_outer", *long]) == 0
    text = capsys.readouterr().out
    assert re.search(r"^tokens +\d\d,\d{3},\d{3} per second through this attention", text, re.MULTILINE), text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            "run flash.q_outer",
            "--chip: flash.q_outer runs on a chip: name one; for example --chip h100; see `attnflow list chips`",
        ),
        ("run sdpa.naive --chip h100", "--chip: sdpa.naive is a graph of FIFOs and runs on no chip"),
        ("run sdpa.naive --set chip.cores=2", "--set chip.cores: sdpa.naive is a graph of FIFOs and runs on no chip"),
        ("run flash.q_outer --chip h1000", "--chip: unknown chip 'h1000'; did you mean 'h100'?"),
        (
            "run flash.q_oter --chip h100",
            "ALGORITHM: no algorithm is called 'flash.q_oter'; did you mean 'flash.q_outer'?",
        ),
        (
            "run flash.q_outer --chip h100 --set chip.hbm.bytes_per_secnd=1",
            "--set chip.hbm.bytes_per_secnd: h100_sxm5_80g has no such field; did you mean 'hbm.bytes_per_second'?",
        ),
        ("run flash.q_outer --chip h100 --set chip.cores=-1", "--set chip.cores: must be greater than 0 (got -1)"),
        ("run flash.q_outer --chip h100 --clock 2GHz", "--clock: flash.q_outer runs on a chip, which has its own"),
        ("run flash.q_outer --chip h100 --engine simpy", "--engine: flash.q_outer runs on a chip, which has its own"),
        (
            "run flash.q_outer --chip h100 --mapping exakt",
            "--mapping: must be 'symmetric' or 'exact' (got 'exakt'); did you mean 'exact'?",
        ),
        (
            "run flash.q_outer --chip h100 --kernel fa3_hoper",
            "--kernel: unknown kernel profile 'fa3_hoper'; did you mean 'fa3_hopper'?",
        ),
        (
            "run decode.split_kv --chip h100 --kernel fa3_hopper",
            "--kernel: fa3_hopper is a kernel of flash.q_outer, not of decode.split_kv",
        ),
        ("advise depths flash.q_outer --chip h100", "flash.q_outer runs on a chip and is no graph of FIFOs"),
        ("trace flash.q_outer --chip h100", "flash.q_outer runs on a chip and is no graph of FIFOs"),
    ],
)
def test_bad_input_is_one_clear_line(capsys, arguments, said):
    lines = [line for line in complaints(capsys, *arguments.split()) if not line.startswith("compiling")]
    assert len(lines) == 1
    assert lines[0].startswith(said)


def test_all_problems_come_at_once(capsys):
    arguments = "run flash.q_outer --chip h100 --set chip.cores=0 --set tile_rows=x --mapping no --kv-len 0"
    lines = complaints(capsys, *arguments.split())
    assert [line.split(": ")[0] for line in lines] == ["--kv-len", "--set tile_rows", "--mapping", "--set chip.cores"]


def test_tiles_that_do_not_fit_are_a_design_that_fails(capsys):
    arguments = ["run", "flash.q_outer", "--chip", "h100", "--set", "tile_rows=2048", "--set", "tile_columns=512", "-q"]
    (line,) = complaints(capsys, *arguments, code=3)
    assert line.startswith("tiles of 2048 queries and 2 x 512 keys need")


def test_an_explanation_tries_levers_before_it_names_them(capsys, json_of):
    """The best ones are those that the mapping demands, and gain what a run with them says."""
    design = ["--chip", "h100", "--workload", "llama3-8b", "-q"]
    told = json_of("explain", "flash.q_outer", *design, "--seq-len", "1024", "--set", "overlap=serial")
    best = told["levers"]["algorithm"][0]
    assert (best["name"], best["before"], best["after"]) == ("overlap", "serial", "ping_pong")
    again = json_of("run", "flash.q_outer", *design, "--seq-len", "1024", "--set", "overlap=ping_pong", "--timing-only")
    assert best["seconds"] == pytest.approx(again["seconds"], rel=1e-9)
    assert best["gain"] == pytest.approx(1 - again["seconds"] / told["seconds"], rel=1e-9)
    told = json_of("explain", "decode.split_kv", *design, "--context", "8192", "--set", "splits=1")
    assert told["levers"]["algorithm"][0]["name"] == "splits"
    assert told["sentence"].startswith("no bound explains it: 8 of 132 cores busy; the largest bound, memory, is ")
    gains = [lever["gain"] for lever in told["levers"]["chip"]]
    assert gains == sorted(gains, reverse=True)
    assert "chip.hbm.bytes_per_second" in [lever["name"] for lever in told["levers"]["chip"]]
    assert main(["explain", "decode.split_kv", *design, "--context", "8192"]) == 0
    shown = capsys.readouterr().out
    assert "chip.hbm.bytes_per_second" in shown and "3.35 TB/s  6.7 TB/s" in shown


def test_shares_are_the_same_in_sentence_and_table_and_the_peak_has_its_format(capsys):
    assert main(["run", "flash.q_outer", "--chip", "h100", "--workload", "llama3-8b", "--timing-only"]) == 0
    lines = {line.split()[0]: line for line in reversed(capsys.readouterr().out.splitlines()) if line.strip()}
    binding = (
        lines["bound"].removeprefix("bound by").replace("no bound explains it; the largest is", "").split()[0][:-1]
    )
    said = lines["bound"].rsplit(", ", 1)[1].removesuffix(" % of the time")
    assert f" {said}% " in lines[binding]
    assert lines["rate"].endswith("of the peak in bfloat16")


def test_energy_per_token_says_of_how_many_layers_it_is(json_of):
    design = ("--chip", "h100", "--workload", "llama3-8b", "--context", "512", "--batch", "4", "--timing-only")
    one, all_ = (json_of("run", name, *design)["metrics"] for name in ("decode.split_kv", "decode.policy"))
    assert (one["layers"], all_["layers"]) == (1, 32)
    for found in (one, all_):
        assert found["energy_per_token_j"] == pytest.approx(found["energy_j"] / 4, rel=1e-6, abs=0)


def test_a_cache_that_is_busy_all_the_time_is_said_to_bind(capsys, json_of):
    design = ("--chip", "mi300x", "--workload", "llama3-8b", "--seq-len", "4096")
    busy = json_of("run", "flash.q_outer", *design, "--timing-only")["launches"][0]["busy"]
    assert busy["cache"] > 0.9 > busy["matrix"]
    assert json_of("explain", "flash.q_outer", *design)["sentence"].startswith("the cache binds: it moves bytes in 9")
    assert main(["run", "flash.q_outer", *design, "--timing-only"]) == 0
    assert "and so sets the pace" in capsys.readouterr().out
    assert main(["run", "flash.q_outer", "--chip", "h100", *design[2:], "--timing-only"]) == 0
    assert "sets the pace" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "workload"),
    [
        ("mla.seq", ("--workload", "deepseek-v3", "--context", "2048")),
        ("eager.forward", ("--workload", "llama3-8b", "--seq-len", "512")),
        ("decode.split_kv", ("--workload", "llama3-8b", "--context", "2048")),
        ("flash.q_outer", ("--workload", "llama3-8b", "--seq-len", "512")),
    ],
)
def test_tiles_on_the_way_can_be_set_and_are_levers(json_of, name, workload):
    design = (name, "--chip", "tpu_v5e", *workload, "--set", "stages=2", "--set", "next_item=stored")
    found = json_of("explain", *design)
    assert (found["parameters"]["stages"], found["parameters"]["next_item"]) == (2, "stored")
    levers = {(lever["name"], lever["after"]): lever["gain"] for lever in found["levers"]["algorithm"]}
    assert min(levers["stages", 0], levers["next_item", "ahead"]) > 0.05 > 0 > levers["stages", 1]
    free = json_of("run", *design[:-4], "--timing-only")
    assert free["parameters"]["stages"] > 2 and free["parameters"]["next_item"] == "ahead"
    assert free["seconds"] < 0.6 * found["seconds"]


@pytest.mark.parametrize(
    ("kernel", "design"),
    [
        ("flashmla_hopper", ("mla.seq", "--chip", "h20", "--workload", "deepseek-v3", "--context", "2048")),
        ("fa3_hopper", ("flash.q_outer", "--chip", "h100", "--workload", "llama3-8b", "--seq-len", "2048")),
    ],
)
def test_kernels_keep_the_tiles_on_the_way_that_they_state(json_of, kernel, design):
    design = (*design, "--timing-only")
    found = json_of("run", *design, "--kernel", kernel)
    assert (found["parameters"]["stages"], found["parameters"]["next_item"]) == (2, "stored")
    other = json_of("run", *design, "--kernel", kernel, "--set", "stages=1")
    assert other["seconds"] == found["seconds"] != json_of("run", *design)["seconds"]


def test_when_a_kernel_loads_can_be_chosen(json_of):
    design = (
        "run",
        "flash.q_outer",
        "--chip",
        "h100",
        "--kernel",
        "fa3_hopper",
        "--workload",
        "llama3-8b",
        "--seq-len",
    )
    stored, ahead = (json_of(*design, "2048", "--timing-only", *more) for more in ((), ("--set", "next_item=ahead")))
    assert ahead["parameters"]["next_item"] == "ahead"
    assert 0.9 * stored["seconds"] < ahead["seconds"] < stored["seconds"]


def test_levers_that_save_next_to_nothing_are_not_named(json_of):
    found = json_of("explain", "decode.split_kv", "--chip", "tpu_v5e", "--workload", "llama3-8b", "--context", "8192")
    assert 0 < max(lever["gain"] for lever in found["levers"]["algorithm"]) < 0.0005
    assert "No lever of the algorithm helps" in found["sentence"]


def test_a_small_bound_is_not_said_to_bind(json_of):
    design = ("--chip", "tpu_v5e", "--workload", "llama3-8b", "--context", "8192", "--set", "stages=1")
    sentence = json_of("explain", "decode.split_kv", *design)["sentence"]
    assert sentence.startswith("no bound explains it; the largest bound, memory, is ")
    assert "; its products wait for loads under way in " in sentence


# --- studies -------------------------------------------------------------------------------------------------


def study(text):
    return resolve(read_text(text, "s.yaml"), Path())


def test_chips_and_their_fields_are_axes():
    found = study(
        "algorithm: flash.q_outer\nworkload: {preset: llama3-8b, seq_len: 256}\n"
        "chip: {preset: h100, cores: 100}\n"
        "axes:\n  chip: [h100, a100_sxm4_80g]\n  chip.hbm.bytes_per_second: [1 TB/s, 2 TB/s]\n"
        "  mapping: [symmetric, exact]\n"
    )
    chips = [
        (p.chip.accelerator.name, p.chip.accelerator.memory.bytes_per_second, p.chip.mapping) for p in found.points
    ]
    assert chips[:3] == [
        ("h100_sxm5_80g", 1e12, "symmetric"),
        ("h100_sxm5_80g", 1e12, "exact"),
        ("h100_sxm5_80g", 2e12, "symmetric"),
    ]
    assert len({point.key for point in found.points}) == len(found.points) == 8
    assert {point.chip.accelerator.cores for point in found.points} == {100}
    assert {point.clock_hz for point in found.points} == {1.83e9, 1.41e9}
    settings = {setting.name: setting for setting in found.settings}
    assert settings["chip"].value == ["h100", "a100_sxm4_80g"]
    assert settings["chip.cores"].origin == "s.yaml:3"
    assert settings["chip.hbm.bytes_per_second"].origin == "axis, s.yaml:6"
    assert "FlashAttention-3" in settings["chip.core.exp_per_cycle"].origin


def test_studies_mix_graphs_and_chips_where_an_axis_says_when():
    found = study(
        "algorithm: sdpa.naive\nchip: h100\naxes:\n  algorithm: [sdpa.naive, flash.q_outer]\n"
        "  chip: {values: [h100, h20], when: {algorithm: flash.q_outer}}\n"
    )
    assert [point.chip.accelerator.name if point.chip else None for point in found.points] == [
        None,
        "h100_sxm5_80g",
        "h20",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "algorithm: flash.q_outer\n",
            "s.yaml:1: chip: flash.q_outer runs on a chip: name one; for example `chip: h100`, here or as an axis",
        ),
        ("algorithm: sdpa.naive\nchip: h100\n", "s.yaml:2: chip: sdpa.naive is a graph of FIFOs and runs on no chip"),
        ("algorithm: flash.q_outer\nchip: h1000\n", "s.yaml:2: chip: unknown chip 'h1000'; did you mean 'h100'?"),
        (
            "algorithm: flash.q_outer\nchip:\n  preset: h100\n  hbm.bytes_per_scond: 1\n",
            "s.yaml:4: chip.hbm.bytes_per_scond: h100_sxm5_80g has no such field; did you mean 'hbm.bytes_per_second'?",
        ),
        (
            "algorithm: flash.q_outer\nchip: h100\naxes:\n  chip.cores: [2, 0]\n",
            "s.yaml:4: axes.chip.cores[1]: must be greater than 0 (got 0)",
        ),
        (
            "algorithm: flash.q_outer\nchip: h100\nclock: 1 GHz\n",
            "s.yaml:3: clock: flash.q_outer runs on a chip, which has its own; change chip.clock_hz",
        ),
        (
            "algorithm: flash.q_outer\nchip: a100_sxm4_80g\nkernel: fa3_hopper\n",
            "s.yaml:3: kernel: fa3_hopper is a kernel for h100_sxm5_80g",
        ),
    ],
)
def test_what_is_wrong_with_a_study_has_its_line(text, said):
    with pytest.raises(InputError) as error:
        study(text)
    (line,) = str(error.value).splitlines()
    assert line.startswith(said)


def test_a_sweep_over_chips_is_stored_reported_and_compared(capsys, json_of, tmp_path):
    path, store, page = tmp_path / "s.yaml", tmp_path / "s.sqlite", tmp_path / "s.html"
    path.write_text(
        "name: chips\nalgorithm: flash.q_outer\nworkload: {preset: llama3-8b, seq_len: 512}\n"
        "axes:\n  chip: [h100, a100_sxm4_80g]\n  chip.cores: [50, 100]\n"
    )
    swept = json_of("sweep", str(path), "--store", str(store), "--jobs", "0", "--quiet")
    assert (swept["done"], swept["failed"]) == (4, 0)
    again = json_of("sweep", str(path), "--store", str(store), "--jobs", "0", "--quiet")
    assert (again["evaluated"], again["skipped"]) == (0, 4)
    json_of("report", str(store), "-o", str(page))
    text = page.read_text(encoding="utf-8")
    for words in (
        "it is bound by no single unit: the largest lower bound, matrix, is ",
        "Units and bounds",
        "What would make them faster",
        "--set chip.cores=100",
    ):
        assert words in text
    keys = [point.key for point in resolve(read_text(path.read_text(), "s.yaml"), tmp_path).points]
    assert main(["compare", f"{store}:{keys[0]}", f"{store}:{keys[1]}", "--json"]) == 1
    compared = json.loads(capsys.readouterr().out)
    assert [change["name"] for change in compared["config"]] == ["chip.cores"]
    assert any(stall["unit"] == "attention: matrix" for stall in compared["stalls"])
    assert main(["compare", f"{store}:{keys[0]}", f"{store}:{keys[0]}"]) == 0
