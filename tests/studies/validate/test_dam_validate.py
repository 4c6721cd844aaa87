"""`validate dam`: every recorded case exact, disagreements and foreign cases named, bad files in one line each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hwmodels.reading.errors import InputError
from studies.cli.app import run_command_line
from studies.validate.dam.validate import validate_dam

CASES = Path(__file__).parents[1] / "data" / "dam_sdpa.json"

NAIVE = {
    "graph": "dam-experiments/naive",
    "variant": "naive",
    "group": "mine",
    "N": 16,
    "d": 1,
    "fifo_depths": {"short": 16, "long": 18},
    "units": {"exp": {"ii": 1, "latency": 1}},
    "cycles": 311,
    "deadlock": False,
}
DEADLOCK = {**NAIVE, "fifo_depths": {"short": 16, "long": 15}, "cycles": None, "deadlock": True}
COMPOSED = {**NAIVE, "graph": "composed", "fifo_depths": {"short": 2, "long": "unbounded"}}


@pytest.fixture
def write(tmp_path):
    """Writes a file of cases and returns its path."""

    def write(*cases, text=None):
        path = tmp_path / "cases.json"
        path.write_text(json.dumps({"cases": cases}, indent=1) if text is None else text)
        return path

    return write


class TestRecordedCases:
    def test_all_are_exact_on_the_compiled_engine(self):
        report = validate_dam(CASES)
        assert [row for row in report.rows if row.status != "pass"] == []
        assert (len(report.rows), report.count("pass")) == (203, 203)
        assert sum(row.got == "deadlock" for row in report.rows) == 10
        assert len({row.id for row in report.rows}) == 203

    def test_all_are_exact_on_the_simpy_engine(self):
        report = validate_dam(CASES, "simpy")
        assert [row for row in report.rows if row.status != "pass"] == []
        assert len(report.rows) == 203

    def test_they_say_where_they_are_from(self):
        document = json.loads(CASES.read_text())
        assert "DAM-RS master 8771934" in document["meta"]["about"]
        assert all(case["obtained"] for case in document["cases"])


def only_row(path):
    (row,) = validate_dam(path).rows
    return row


class TestVerdicts:
    def test_the_document_has_the_agreed_form(self, write):
        document = validate_dam(write(NAIVE, {**NAIVE, "cycles": 300}, DEADLOCK)).to_json()
        assert set(document) == {"kind", "cases", "passed", "failed", "unsupported", "groups", "rows"}
        assert (document["kind"], document["cases"], document["passed"], document["failed"]) == ("dam", 3, 2, 1)
        (group,) = document["groups"]
        assert (group["group"], group["n"], group["passed"]) == ("mine", 3, 2)
        assert group["max_abs_error_pct"] == pytest.approx(100 * 11 / 300)
        assert document["rows"][1] == {
            "id": "cases[1]/naive/N16/d1",
            "group": "mine",
            "status": "fail",
            "expected": 300,
            "got": 311,
            "error_pct": pytest.approx(100 * 11 / 300),
            "why": "+11 cycles",
        }
        assert (document["rows"][2]["expected"], document["rows"][2]["got"]) == ("deadlock", "deadlock")

    def test_a_deadlock_that_was_not_expected_is_explained(self, write):
        row = only_row(write({**DEADLOCK, "cycles": 300, "deadlock": False}))
        assert (row.status, row.expected, row.got, row.error_pct) == ("fail", 300, "deadlock", None)
        assert "exp waits for space: exp->div holds 15/15" in row.why

    def test_a_deadlock_that_did_not_happen_fails(self, write):
        row = only_row(write({**NAIVE, "cycles": None, "deadlock": True}))
        assert (row.status, row.why) == ("fail", "ends after 311 cycles, DAM deadlocks")

    @pytest.mark.parametrize("engine", ["compiled", "simpy"])
    def test_either_engine_can_be_asked(self, write, engine):
        assert validate_dam(write(NAIVE), engine).ok


class TestCaseForms:
    def test_an_id_of_the_file_is_kept(self, write):
        assert only_row(write({**NAIVE, "id": "first"})).id == "first"

    def test_without_a_group_it_is_the_graph(self, write):
        assert only_row(write({key: value for key, value in NAIVE.items() if key != "group"})).group == NAIVE["graph"]

    @pytest.mark.parametrize(
        ("words", "cycles"),
        [
            ("all ii=1, latency=1; reduce emits ii+latency after its last input; repeat ii=0 latency=1", 280),
            ("all ii=1, latency=1", 280),
            ("dot latency 5=1+log2(d), exp (or scan) latency 5, others 1, all ii=1", 288),
            ("all ii=3, latency=1", 3 * (16 * 16 + 16) + 8),
        ],
    )
    def test_timing_in_words(self, write, words, cycles):
        depths = {"short": 16, "long": "unbounded"}
        row = only_row(write({**COMPOSED, "fifo_depths": depths, "units": words, "cycles": cycles}))
        assert (row.got, row.status) == (cycles, "pass")

    def test_timing_by_unit_does_the_same_as_in_words(self, write):
        words = "dot latency 7=1+log2(d), exp (or scan) latency 5, others 1, all ii=1"
        units = {"dot": {"latency": 7, "ii": 1}, "exp": {"latency": 5, "ii": 1}}
        rows = validate_dam(write({**COMPOSED, "units": words}, {**COMPOSED, "units": units})).rows
        assert rows[0].got == rows[1].got == 800

    def test_latencies_of_channels_are_used(self, write):
        slow = {"latency": 2, "response_latency": 3}
        fast, delayed = validate_dam(write(NAIVE, {**NAIVE, "channel": slow})).rows
        assert delayed.got > fast.got == 311

    @pytest.mark.parametrize(
        ("change", "why"),
        [
            ({"graph": "dam-experiments/flash"}, "no graph is called 'dam-experiments/flash'"),
            ({"graph": "composed", "variant": "flash"}, "no composed graph is called 'flash'"),
            ({"fifo_depths": {"short": 2}}, "fifo_depths: long_depth of dam.naive is not given"),
            ({"fifo_depths": {"short": 2, "long": None}}, "fifo_depths: long_depth of dam.naive is not given"),
            (
                {"fifo_depths": {"short": 2, "long": 18, "deep": 3}},
                "fifo_depths: dam.naive has no FIFOs called 'deep'",
            ),
            (
                {"graph": "dam-experiments/agnostic", "units": {}},
                "fifo_depths: dam.agnostic has no FIFOs called 'long'",
            ),
            ({"units": {"exp": {"lanes": 4}}}, "units: dam.naive has no parameter exp_lanes"),
            ({"units": {"exp": {"ii": "seldom"}}}, "units: exp_ii is not understood (got 'seldom')"),
            ({"units": "fast"}, "units: the words 'fast' are not understood"),
            ({"N": 10**9, "d": 10**9}, "are too large: a number of cycles might not fit into 64 bits"),
        ],
    )
    def test_what_is_not_supported_is_named(self, write, change, why):
        row = only_row(write({**NAIVE, **change}))
        assert (row.status, row.got) == ("unsupported", None)
        assert why in row.why

    def test_unsupported_cases_do_not_fail_the_file(self, write):
        report = validate_dam(write(NAIVE, {**NAIVE, "graph": "other"}))
        assert report.ok
        assert report.count("unsupported") == 1


class TestBadFiles:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", ":1: is not JSON: Expecting value"),
            ('{"cases": [\n{"N": 4,}]}', ":2: is not JSON: "),
            ('{"rows": []}', ":1: cases: required key is missing"),
            ('{"cases": []}', ":1: cases: holds no case"),
            ('{"cases":\n [4]}', ":2: cases[0]: must be "),
        ],
    )
    def test_what_is_no_list_of_cases(self, write, text, message):
        with pytest.raises(InputError) as error:
            validate_dam(write(text=text))
        (line,) = str(error.value).splitlines()
        assert message in line

    def test_every_wrong_field_has_its_line(self, write):
        wrong = {**NAIVE, "N": 0, "d": "wide", "fifo_depths": {"short": 0, "long": 3}, "cycles": 1.5}
        with pytest.raises(InputError) as error:
            validate_dam(write(NAIVE, wrong))
        fields = [problem.field for problem in error.value.problems]
        assert fields == ["cases[1].N", "cases[1].d", "cases[1].fifo_depths.short", "cases[1].cycles"]
        assert all(problem.line and problem.line > 20 for problem in error.value.problems)

    @pytest.mark.parametrize("change", [{"cycles": None}, {"deadlock": True}])
    def test_a_case_has_either_cycles_or_a_deadlock(self, write, change):
        with pytest.raises(InputError, match=r"cases\[0\]: needs either cycles or a deadlock"):
            validate_dam(write({**NAIVE, **change}))

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(InputError, match=r"absent\.json: No such file or directory"):
            validate_dam(tmp_path / "absent.json")


class TestCommand:
    def test_json_is_the_only_output(self, write, capsys):
        assert run_command_line(["validate", "dam", "--cases", str(write(NAIVE, DEADLOCK)), "--json", "--quiet"]) == 0
        printed = capsys.readouterr()
        assert json.loads(printed.out)["passed"] == 2
        assert printed.err == ""

    def test_a_table_names_what_did_not_pass(self, write, capsys):
        path = write(NAIVE, {**NAIVE, "id": "wrong", "cycles": 1}, {**NAIVE, "id": "odd", "graph": "other"})
        assert run_command_line(["validate", "dam", "--cases", str(path), "--quiet"]) == 1
        text = capsys.readouterr().out
        assert "validate dam: 3 cases, 1 passed, 1 failed, 1 unsupported" in text
        shown = [line for line in text.splitlines() if line.startswith(("wrong", "odd"))]
        assert [line.split()[1] for line in shown] == ["fail", "unsupported"]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["dam", "--cases", "absent.json"], "absent.json: No such file or directory"),
            (["dam"], "Missing option '--cases'; see --help"),
            (["dam", "--cases", str(CASES), "--engine", "simpi"], "unknown engine 'simpi'; did you mean 'simpy'?"),
            (["dm", "--cases", str(CASES)], "No such command 'dm'"),
        ],
    )
    def test_bad_input_is_one_line_and_exit_code_2(self, capsys, arguments, message):
        assert run_command_line(["validate", *arguments]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert len(printed.err.splitlines()) == 1
        assert message in printed.err

    def test_a_bad_file_is_exit_code_2(self, write, capsys):
        assert run_command_line(["validate", "dam", "--cases", str(write(text="{"))]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1

    def test_policies_are_validated_by_the_same_command(self, capsys):
        golden = Path(__file__).parents[1] / "data" / "kv_golden.json"
        assert run_command_line(["validate", "kv", "--cases", str(golden), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["kind"] == "kv"
