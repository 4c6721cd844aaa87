"""The measured tables themselves, where they lie beside the repository; without them these tests say so and skip."""

from __future__ import annotations

from pathlib import Path

import pytest

from studies.validate.measured.command import measured_report

TABLES = Path(__file__).resolve().parents[4].parent / "shared" / "data" / "measured"

pytestmark = pytest.mark.skipif(
    not TABLES.is_dir(), reason=f"the tables are not at {TABLES}: no prediction is compared with measured rows"
)


@pytest.fixture(scope="module")
def report():
    return measured_report(TABLES, only="attention_prefill,attention_decode,attention_encoder", sample=600, seed=1)


def test_every_kernel_of_the_tables_has_a_profile(report):
    missing = [group.key for group in report.groups if group.unsupported == group.n]
    assert missing == []


def test_few_rows_have_no_prediction(report):
    assert sum(group.unsupported for group in report.groups) <= 0.02 * report.rows


def test_predictions_are_of_the_right_size(report):
    means = {group.key: group.mean_abs_error_pct for group in report.groups if group.errors.size >= 10}
    assert means
    assert sum(means.values()) / len(means) < 30
