"""This computer: measured, made into a chip file, predicted; and the record that is committed."""

from __future__ import annotations

import json

import pytest

from hwmodels.chips.accelerator import load_accelerator
from hwmodels.reading.errors import InputError
from reference.measuring import host
from reference.records import FOLDER
from studies.cli import main
from studies.validate.host import ERROR_TABLES
from studies.validate.host.chip import ceilings_of, host_chip
from studies.validate.host.record import read_host_record
from studies.validate.host.score import score_host, summary

RECORDS = sorted((FOLDER / "host").glob("*.json"))
SMALL = (
    "product/512",
    "stream/65536",
    "stream/16777216",
    "exponential/16384",
    "reduction",
    "call",
    "softmax/512",
    "gemm/64",
)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A record of a few cases on this very computer."""
    path = tmp_path_factory.mktemp("host") / "here.json"
    only = [part for text in SMALL for part in ("--only", text)]
    assert main(["measure", "--device", "cpu", "--out", str(path), "--quiet", *only]) == 0
    return path


def test_a_computer_is_measured_made_a_chip_of_and_predicted_by_three_commands(measured, tmp_path, json_of):
    document = json_of("calibrate", "--record", str(measured), "--output", str(tmp_path), "--quiet")
    chip = load_accelerator(tmp_path / f"{document['name']}.yaml")
    assert chip.peak_flops_per_second("float32") == pytest.approx(document["ceilings"]["flops_per_second"], rel=1e-3)
    assert chip.memory.bytes_per_second == pytest.approx(document["ceilings"]["memory_bytes_per_second"], rel=1e-3)
    scored = json_of(
        "validate", "host", "--record", str(measured), "--chip", str(tmp_path / f"{chip.name}.yaml"), "--quiet"
    )
    assert [row["id"] for row in scored["rows"]] == ["gemm/64x2048x2048", "softmax/512x4096"]
    assert all(row["predicted_us"] > 0 and row["values_right"] for row in scored["rows"])


def test_values_are_checked_before_they_are_timed():
    class Wrong(host.NumpyBackend):
        def prepare(self, case):
            call, error = super().prepare(case)
            return call, lambda: error() + 1.0

    case = host.HostCase("softmax", (4, 8))
    good, bad = (
        host.measure_host(backend, (case,), None, lambda line: None) for backend in (host.NumpyBackend(), Wrong())
    )
    assert good.points[0]["passed"]
    assert not bad.points[0]["passed"]


@pytest.mark.parametrize(
    "case", [host.HostCase("attention", (1, 2, 8, 4, decode)) for decode in (0, 1)], ids=lambda case: case.id
)
def test_attention_counts_its_work(case):
    queries = 1 if case.sizes[-1] else 8
    assert case.flops == 4 * 2 * queries * 8 * 4
    assert case.bytes == 4 * 2 * 4 * (2 * 8 + 2 * queries)


def test_a_budget_leaves_cases_out():
    cases = (host.HostCase("call", (16,)), host.HostCase("call", (32,)))
    said = []
    record = host.measure_host(host.NumpyBackend(), cases, 0.0, said.append)
    assert len(record.points) < len(cases)
    assert "budget" in said[-1]


def test_the_clock_of_the_process_needs_a_single_thread(monkeypatch):
    backend = host.NumpyBackend()
    backend.threads = 2
    with pytest.raises(ValueError, match="adds up 2 threads"):
        host.measure_host(backend, (), None, lambda line: None, "process")


def test_limits_of_threads_are_those_of_the_library(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert host.NumpyBackend().threads == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("measure", "--device", "abacus"), "--device: cannot be used"),
        (("measure", "--device", "cpu", "--only", "nothing-like-it"), "no case id contains"),
        (("measure", "--device", "cpu", "--clock", "sun", "--only", "call"), "must be one of wall, process"),
        (("calibrate",), "give --tables, or --record"),
    ],
)
def test_bad_options_are_one_line(capsys, arguments, message):
    assert main([*arguments, "--quiet"]) == 2
    assert message in capsys.readouterr().err


def test_records_that_are_none_say_what_is_wrong(measured, tmp_path):
    document = json.loads(measured.read_text())
    points = [point for point in document["points"] if point["kind"] != "stream"]
    for change, message in (
        ({"format": "other/1"}, "must be 'attnflow-host-record/1'"),
        ({"points": points}, "has no ceiling of kind 'stream'"),
        ({"points": [*document["points"], document["points"][0] | {"kind": "dance"}]}, "unknown kind 'dance'"),
        ({"points": [document["points"][0] | {"time_us": -1}]}, "must be greater than 0"),
    ):
        path = tmp_path / "bad.json"
        path.write_text(json.dumps(document | change))
        with pytest.raises(InputError, match=message):
            read_host_record(path)


class TestCommittedRecord:
    def test_there_is_one(self):
        assert RECORDS

    @pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
    def test_predictions_are_as_close_as_the_table_beside_it_says(self, path, tmp_path):
        record = read_host_record(path)
        chip = host_chip(record, tmp_path, path.name)
        found = summary(score_host(record, chip))
        assert found["wrong_values"] == 0
        kept = json.loads((ERROR_TABLES / f"{path.stem}.json").read_text())
        assert found == kept["summary"]
        assert found["mean_abs_error_above_1_ms_pct"] <= 25

    @pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
    def test_ceilings_alone_make_the_chip(self, path, tmp_path):
        record = read_host_record(path)
        without = record.model_copy(
            update={"points": tuple(point for point in record.points if point.split == "calibrate")}
        )
        assert ceilings_of(without) == ceilings_of(record)
