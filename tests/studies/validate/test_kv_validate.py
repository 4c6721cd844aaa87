"""`validate kv`: golden cases exact, ties told apart from mistakes, foreign cases named."""

import json
from pathlib import Path

import numpy as np
import pytest

from hwmodels.reading.errors import InputError
from studies.validate.kv.cases import load_cases
from studies.validate.kv.compare import Cut, tied
from studies.validate.kv.families import family_of
from studies.validate.kv.validate import validate_kv

DATA = Path(__file__).parents[1] / "data"
GOLDEN = DATA / "kv_golden.json"


@pytest.mark.parametrize(("name", "cases"), [("kv_golden.json", 20), ("kv_golden_more.json", 77)])
def test_every_golden_case_passes(name, cases):
    report = validate_kv(DATA / name)
    assert [row.id for row in report.rows if row.status != "pass"] == []
    assert len(report.rows) == cases


def test_every_expected_field_of_the_golden_file_is_compared():
    report = validate_kv(GOLDEN)
    assert [row.id for row in report.rows if "not compared" in row.why] == []
    assert max(row.error_pct for row in report.rows) < 1e-3


def test_the_json_document_has_the_agreed_form():
    document = validate_kv(GOLDEN).to_json()
    assert document["kind"] == "kv"
    assert (document["cases"], document["passed"], document["failed"], document["unsupported"]) == (20, 20, 0, 0)
    assert set(document["groups"][0]) == {"group", "n", "passed", "mean_abs_error_pct", "max_abs_error_pct"}
    assert set(document["rows"][0]) == {"id", "group", "status", "expected", "got", "error_pct", "why"}
    assert sum(group["n"] for group in document["groups"]) == 20
    json.dumps(document)


def one_case(tmp_path, case_id, change):
    """A file with one golden case after `change`."""
    document = json.loads(GOLDEN.read_text())
    case = next(case for case in document["cases"] if case["id"] == case_id)
    change(case)
    path = tmp_path / "cases.json"
    path.write_text(json.dumps({"format": document["format"], "cases": [case]}))
    return path


def only_row(path):
    (row,) = validate_kv(path).rows
    return row


def test_a_wrong_kept_key_fails(tmp_path):
    def swap(case):
        kept = case["expected"]["kept"][1]
        absent = next(at for at in range(case["n"]) if at not in kept)
        case["expected"]["kept"][1] = sorted([*kept[1:], absent])

    row = only_row(one_case(tmp_path, "kvpress_knorm/a", swap))
    assert row.status == "fail"
    assert "kept[1] differs" in row.why
    assert row.error_pct > 1


def test_a_wrong_output_fails(tmp_path):
    def nudge(case):
        case["expected"]["attn_out_at_step"]["60"][0][0] += 1e-4

    row = only_row(one_case(tmp_path, "tova/a", nudge))
    assert row.status == "fail"
    assert "attn_out_at_step.60" in row.why


def test_a_wrong_number_of_kept_keys_fails(tmp_path):
    row = only_row(one_case(tmp_path, "snapkv/a", lambda case: case["expected"]["kept"][0].pop()))
    assert row.status == "fail"


def test_another_seed_fails_where_the_checksum_is_gone(tmp_path):
    def reseed(case):
        case["seed"] += 1
        case.pop("checks")

    assert only_row(one_case(tmp_path, "h2o/a", reseed)).status == "fail"


def test_a_stream_that_cannot_be_regenerated_is_unsupported(tmp_path):
    row = only_row(one_case(tmp_path, "h2o/a", lambda case: case.update(seed=7)))
    assert row.status == "unsupported"
    assert "could not be regenerated" in row.why


def test_unknown_policies_are_named(tmp_path):
    def rename(case):
        case.update(policy="thinkv", upstream="somewhere: ThinKV")

    row = only_row(one_case(tmp_path, "h2o/a", rename))
    assert (row.status, row.group) == ("unsupported", "thinkv")
    assert "no model for policy 'thinkv'" in row.why


def test_a_case_without_its_parameters_is_unsupported(tmp_path):
    row = only_row(one_case(tmp_path, "h2o/a", lambda case: case["params"].clear()))
    assert row.status == "unsupported"


def test_the_policy_name_serves_where_upstream_says_nothing(tmp_path):
    for case_id in ("kvpress_knorm/a", "kvpress_adakv_knorm/a", "kcf_quest/a", "evict3r/a"):
        row = only_row(one_case(tmp_path, case_id, lambda case: case.update(upstream="")))
        assert row.status == "pass", case_id


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "must be a mapping"),
        ('{"cases": []}', "format: required key is missing"),
        ('{"format": "kv-golden/2", "cases": []}', "format: must be 'kv-golden/1' (got 'kv-golden/2')"),
        ('{"format": "kv-golden/1"}', "cases: required key is missing"),
        ('{"format": "kv-golden/1", "cases": [3]}', "cases[0]: must be a mapping"),
        ('{"format": "kv-golden/1", "cases": [{"id": "x"}]}', "cases[0].policy: required key is missing"),
    ],
)
def test_bad_files_are_told_in_lines(tmp_path, text, message):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        validate_kv(path)
    assert message in str(error.value)


def test_bad_sizes_are_told_together(tmp_path):
    path = one_case(tmp_path, "h2o/a", lambda case: case.update(hq=0, n="many"))
    with pytest.raises(InputError) as error:
        validate_kv(path)
    assert len(error.value.problems) == 2
    path = one_case(tmp_path, "h2o/a", lambda case: case.update(hq=6, hkv=4))
    with pytest.raises(InputError, match=r"cases\[0\]: hq must be a multiple of hkv"):
        validate_kv(path)


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        validate_kv(tmp_path / "absent.json")


def test_ties_are_only_ties():
    scores = np.array([[3.0, 1.0, 1.0, 1.0, 0.0, np.inf]])
    cut = Cut(scores, np.array([4]), np.array([4]))
    assert tied([[0, 1, 2, 5]], cut)
    assert tied([[0, 2, 3, 5]], cut)
    assert not tied([[0, 2, 4, 5]], cut)  # keeps a lower score
    assert not tied([[0, 1, 2, 3]], cut)  # drops a protected key
    assert not tied([[0, 1, 5]], cut)  # keeps too few


def test_all_families_of_the_file_are_computed_from_streams_alone():
    families = {family_of(case) for case in load_cases(GOLDEN)}
    assert len(families) > 3
    assert all(map(callable, families))
