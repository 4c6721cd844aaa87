"""Whole steps against published rates, and against measured tables where they lie beside the project."""

from pathlib import Path

import pytest

from studies.validate.models.cases import gpt_fast, sampled, silicon_points, splitwise
from studies.validate.models.score import Score, page, predicted

TABLES = Path(__file__).parents[4] / "shared" / "data" / "measured"
LIMITS = {"gpt-fast bf16": 0.03, "gpt-fast int8": 0.10, "gpt-fast tp": 0.10}


@pytest.mark.parametrize("case", list(gpt_fast()), ids=lambda case: f"{case.group} {case.model} tp{case.mapping.tp}")
def test_published_rates_of_single_sequences_are_met(case):
    score = predicted(case)
    assert abs(score.error) <= LIMITS[case.group]


def tables():
    if not TABLES.is_dir():
        pytest.skip(f"no tables of measured rows at {TABLES}: scores of silicon points and of Splitwise")
    return TABLES


@pytest.mark.parametrize(("group", "most"), [("silicon dense", 0.14), ("silicon mixtures", 0.20)])
def test_time_per_token_of_serving_is_met_in_the_median(group, most):
    cases = sampled([case for case in silicon_points(tables()) if case.group == group], 40, 1)
    errors = sorted(abs(score.error) for score in map(predicted, cases) if score.error is not None)
    assert len(errors) >= 15
    assert errors[len(errors) // 2] <= most


def test_every_row_of_splitwise_is_a_case_of_its_own():
    cases = list(splitwise(tables()))
    assert {case.group for case in cases} == {"splitwise prompt", "splitwise token"}
    assert all(case.seconds > 0 for case in cases)


def test_a_page_counts_what_could_not_be_predicted():
    case = next(gpt_fast())
    text = page([Score(case, case.seconds * 1.5), Score(case, None, "why")])
    assert "50.0%" in text
    assert "1 could not be predicted" in text
