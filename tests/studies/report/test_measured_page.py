"""The page of measured rows: groups, scatters, and the rows that are farthest off."""

from __future__ import annotations

from studies.report.measured import worst_rows, write_measured
from studies.validate.measured.command import measured_report
from tests.studies.validate.measured.conftest import PREFILL, write_table

__all__ = ["write_table"]


def test_holds_every_group_and_the_worst_row_first(write_table, tmp_path):
    rows = [PREFILL, PREFILL | {"time_us": 1e7, "q_len": 777}, PREFILL | {"kernel": "unheard_of"}]
    report = measured_report(write_table("attention_prefill.csv", rows))
    write_measured(report, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "unheard_of" in text
    assert "vllm_flash_attn_fa3" in text
    worst = worst_rows(report.tables[0], 5)
    assert len(worst) == 2  # the third has no prediction
    assert "q_len 777" in str(worst[0][1])
