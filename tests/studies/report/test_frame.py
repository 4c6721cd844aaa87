"""Stored rows as a frame."""

import pandas as pd

from studies.report.frame import frame


def test_a_frame_has_a_line_per_point(make_row):
    rows = [
        make_row(0, depth=2, cycles=70),
        make_row(1, depth=4, cycles=50),
        make_row(2, depth=1, deadlock=True),
        make_row(3, depth=9, status="failed", error="why"),
    ]
    table = frame(rows)
    assert table.index.name == "point"
    assert table["state"].tolist() == ["done", "done", "deadlock", "failed"]
    assert table["fifo_depth"].tolist() == [2, 4, 1, 9]
    assert table.loc[table["state"] == "done", "cycles"].tolist() == [70, 50]
    assert table["cycles"].isna().tolist() == [False, False, True, True]
    assert table.loc[1, "command"].startswith("attnflow run sdpa.naive ")
    best = table.nsmallest(1, "cycles")
    assert best["fifo_depth"].item() == 4


def test_no_rows_make_an_empty_frame():
    assert isinstance(frame([]), pd.DataFrame)
    assert len(frame([])) == 0
