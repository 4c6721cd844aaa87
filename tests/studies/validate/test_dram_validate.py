"""`validate dram`: the results of two other simulators, and files that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hwmodels.reading.errors import InputError
from studies.cli.app import run_command_line
from studies.validate.dram.cases import DramCases
from studies.validate.dram.validate import validate_cases, validate_dram

DATA = Path(__file__).parents[1] / "data" / "dram_reference.json"


@pytest.fixture(scope="module")
def document():
    return json.loads(DATA.read_text())


def one_row(document, config, pattern, /, **changes):
    """A file with one result of the reference data, changed."""
    row = next(r for r in document["results"] if (r["config"], r["pattern"]) == (config, pattern))
    return {"configs": {config: document["configs"][config]}, "results": [{**row, **changes}]}


def rows_of(file):
    return validate_cases(DramCases.model_validate(file)).rows


def test_every_recorded_run_is_reproduced(document):
    report = validate_dram(DATA)
    assert [row.why for row in report.rows if row.status != "pass"] == []
    assert {row.group for row in report.rows} == {"DRAMsim3", "Ramulator 2.1"}
    # the model is the same state machine: what is left is the rounding of the recorded numbers
    assert max(abs(row.error_pct) for row in report.rows) < 0.05


def test_every_configuration_is_among_the_runs(document):
    assert {row["config"] for row in document["results"]} == set(document["configs"])


def test_a_wrong_number_fails(document):
    row = one_row(document, "D3/DDR4_8Gb_x8_3200", "c1_row_conflict_1bank")
    row["results"][0]["bw_gbs"] *= 1.03
    (found,) = rows_of(row)
    assert found.status == "fail"
    assert found.error_pct == pytest.approx(100 * (1 / 1.03 - 1), abs=0.01)
    assert "bandwidth -2.9" in found.why


def test_activations_of_a_pattern_without_a_seed_must_be_equal(document):
    config = "D3/DDR4_8Gb_x8_3200"
    exact = one_row(document, config, "c1_row_conflict_1bank")["results"][0]["n_act"]
    (found,) = rows_of(one_row(document, config, "c1_row_conflict_1bank", n_act=exact + 1))
    assert found.status == "fail"
    assert f"activations {exact} of {exact + 1}" in found.why
    (seeded,) = rows_of(one_row(document, config, "f_idle500", n_act=1))
    assert seeded.status == "pass"


@pytest.mark.parametrize(
    ("config", "changes", "reason"),
    [
        ("D3/DDR4_8Gb_x8_3200", {"generator": "no_such"}, "no address pattern is called 'no_such'"),
        ("D3/DDR4_8Gb_x8_3200", {"params": {"gap_ns": 500}}, "needs the parameter 'seed'"),
        ("D3/DDR4_8Gb_x8_3200", {"config": "D3/none"}, "no configuration 'D3/none'"),
        ("R2/HBM2_2000_8Gb_MOP4CLXOR", {"mode": "inorder"}, "front end 'inorder'"),
    ],
)
def test_a_row_that_cannot_be_run_says_why(document, config, changes, reason):
    (found,) = rows_of(one_row(document, config, "f_idle500", **changes))
    assert found.status == "unsupported"
    assert reason in found.why


@pytest.mark.parametrize(
    ("config", "path", "value", "reason"),
    [
        ("D3/DDR4_8Gb_x8_3200", ("dram_structure", "protocol"), "GDDR6", "protocol 'GDDR6'"),
        ("D3/DDR4_8Gb_x8_3200", ("system", "queue_structure"), "PER_RANK", "queue_structure 'PER_RANK'"),
        ("D3/DDR4_8Gb_x8_3200", ("timing", "tFAW"), None, "no 'tFAW'"),
        ("D3/DDR4_8Gb_x8_3200", ("timing", "tFAW"), "x", "cannot be read"),
        ("R2/HBM2_2000_8Gb_MOP4CLXOR", ("controller",), "PRAC", "controller 'PRAC'"),
        ("R2/HBM2_2000_8Gb_MOP4CLXOR", ("row_policy",), "ClosedCAP", "row_policy 'ClosedCAP'"),
        ("R2/HBM2_2000_8Gb_MOP4CLXOR", ("simulator",), "DRAMSys", "simulator 'DRAMSys'"),
        ("R2/HBM2_2000_8Gb_MOP4CLXOR", ("address_fields_lsb_to_msb",), [["xx", 3]], "address field 'xx'"),
        ("R2/HBM2_2000_8Gb_MOP4CLXOR", ("address_fields_lsb_to_msb",), [["ro", 3]], "covers 8 of the 65536"),
    ],
)
def test_what_is_not_modelled_is_named(document, config, path, value, reason):
    file = json.loads(json.dumps(one_row(document, config, "f_idle500")))
    place = file["configs"][config]
    for key in path[:-1]:
        place = place[key]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    (found,) = rows_of(file)
    assert found.status == "unsupported"
    assert reason in found.why


def test_a_file_that_is_no_list_of_cases_is_bad_input(tmp_path):
    bad = tmp_path / "bad.json"
    bad.write_text('{"configs": {},\n "results": [{"config": "a", "pattern": "b"}]}')
    with pytest.raises(InputError, match=r"bad.json:2: results\[0\].n: "):
        validate_dram(bad)


def test_the_command_prints_one_document_and_its_exit_code_tells(document, tmp_path, capsys):
    file = tmp_path / "cases.json"
    row = one_row(document, "D3/HBM2_8Gb_x128", "c1_row_conflict_1bank")
    file.write_text(json.dumps(row))
    assert run_command_line(["validate", "dram", "--cases", str(file), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["kind"], printed["cases"], printed["passed"]) == ("dram", 1, 1)
    row["results"][0]["avg_read_lat_ns"] *= 1.1
    file.write_text(json.dumps(row))
    assert run_command_line(["validate", "dram", "--cases", str(file), "--quiet"]) == 1
    assert "latency -9.0" in capsys.readouterr().out
