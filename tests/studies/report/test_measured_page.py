"""The page of measured rows: groups, scatters, and the rows that are farthest off."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import studies.report
from studies.report.measured import _against, _over_time, worst_rows, write_measured
from studies.validate.measured.command import measured_report
from tests.studies.validate.measured.conftest import PREFILL, write_table

__all__ = ["write_table"]

VERSIONS = ("0.23.0", "0.24.0")
ASSETS = Path(studies.report.__file__).parent / "assets"


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


def test_dots_have_a_colour_per_gpu_and_name_their_stack_and_kernel(write_table):
    gpus = ("h100_sxm", "h200_sxm")
    rows = [PREFILL | {"gpu": gpu, "stack_version": version} for gpu in gpus for version in VERSIONS]
    scored = measured_report(write_table("attention_prefill.csv", rows)).tables[0]
    for view in (_against(scored), _over_time(scored)):
        traces = [trace for trace in view.data["data"] if trace["mode"] == "markers"]
        assert [trace["name"] for trace in traces] == list(gpus)
        for trace in traces:
            assert sorted(trace["text"]) == [f"vllm {version} vllm_flash_attn_fa3" for version in VERSIONS]


@pytest.mark.parametrize("template", sorted(ASSETS.glob("*.html")), ids=lambda path: path.stem)
def test_every_table_of_a_page_is_scrolled_where_it_is_too_wide(template):
    text = template.read_text(encoding="utf-8")
    for table in re.finditer(r"<table", text):
        before = text[: table.start()].rstrip()
        assert 'class="scroll"' in before[before.rindex("<") :], text[table.start() :][:80]
