"""`attnflow reproduce`: what rows mean, the register, the command, and the reproductions themselves."""

from __future__ import annotations

import json

import pytest

from hwmodels.reading.errors import InputError
from studies.cli.app import run_command_line
from studies.reproductions.register import get_reproduction, quoted, reproduced, reproduction, reproductions


@pytest.mark.parametrize(
    ("published", "ours", "within", "error", "agrees"),
    [
        (10.0, 10.04, 1.0, 0.4, True),
        (10.0, 8.0, 1.0, -20.0, False),
        (10.0, 8.0, None, -20.0, None),
        (None, 8.0, None, None, None),
        ((2.0, 13.0), 5.0, None, 0.0, True),
        ((2.0, 13.0), 1.0, None, -50.0, False),
        ((2.0, 13.0), (14.3, 20.0), None, 10.0, False),
        (6.6, (1.4, 9.9), None, 0.0, True),
        (6.6, (1.4, 3.3), None, -50.0, False),
    ],
)
def test_errors_are_those_of_the_nearest_ends(published, ours, within, error, agrees):
    row = reproduced("quantity", "x", published, ours, "somewhere", within)
    assert row.error_pct == (pytest.approx(error) if error is not None else None)
    assert row.agrees is agrees


def test_quoted_rows_claim_nothing():
    row = quoted("speed-up", "x", 3.7, "abstract")
    assert (row.mark, row.ours, row.error_pct, row.agrees) == ("quoted", None, None, None)


def test_names_are_unique_and_near_ones_are_suggested():
    with pytest.raises(InputError, match=r"sn40l.*both"):
        reproduction("sn40l", "another")(lambda: ())
    with pytest.raises(InputError, match="sn40l"):
        get_reproduction("sn40")
    assert run_command_line(["reproduce", "sn40"]) == 2


QUICK = (
    "flash-attention",
    "flash-svd",
    "llm-in-a-flash",
    "mla-crossovers",
    "paged",
    "relay",
    "sn40l",
    "tellme",
    "ubimoe",
)


@pytest.mark.parametrize(
    "name",
    [pytest.param(entry.name, marks=[] if entry.name in QUICK else [pytest.mark.slow]) for entry in reproductions()],
)
def test_every_row_says_what_it_is_and_where_its_claim_is_from(name):
    entry = get_reproduction(name)
    rows = entry.rows()
    assert entry.title
    assert len(entry.summary) > 40
    assert any(row.mark == "reproduced" for row in rows)
    assert len({row.quantity for row in rows}) == len(rows)
    for row in rows:
        assert row.mark in ("reproduced", "quoted")
        assert (row.ours is None) == (row.mark == "quoted")
        assert row.source


def test_sn40l_switches_as_published_and_keeps_its_misses(capsys):
    assert run_command_line(["reproduce", "sn40l", "--json", "--quiet"]) == 0
    document = json.loads(capsys.readouterr().out)
    rows = {row["quantity"]: row for row in document["rows"]}
    assert rows["switch to Llama-3.1-8B, 16 sockets"]["ours"] == pytest.approx(10.0, rel=0.01)
    assert rows["switching speed over a DGX A100"]["ours"] == pytest.approx(31, rel=0.03)
    assert rows["switching speed over a DGX H100"]["ours"] == pytest.approx(15, rel=0.06)
    assert rows["DGX boxes whose HBM holds what one node's DDR holds"]["ours"] == 19
    missed = [name for name, row in rows.items() if row["agrees"] is False]
    assert missed == [f"switching speed over a DGX {name}, DDR rate of the slides" for name in ("A100", "H100")]
    assert document["missed"] == len(missed)


def test_serving_systems_move_the_bytes_of_their_formulas():
    for name in ("relay", "flash-svd", "flash-attention"):
        formulas = [row for row in get_reproduction(name).rows() if row.within_pct is not None]
        assert len(formulas) >= 3
        assert all(row.agrees for row in formulas)
    paged = {row.quantity: row.ours for row in get_reproduction("paged").rows()}
    waste = paged["slots set aside that hold no token, pages"]
    assert isinstance(waste, float)
    # on average half of the last page of a sequence is empty
    assert 0.5 < waste < 3.0
    batch, throughput = paged["mean batch over contiguous"], paged["throughput over contiguous"]
    assert isinstance(batch, float)
    assert isinstance(throughput, float)
    assert 1 < throughput < batch  # weights are shared by the batch, caches are not


def test_the_command_lists_names_and_prints_tables(capsys):
    assert run_command_line(["reproduce"]) == 0
    assert "sn40l" in capsys.readouterr().out
    assert run_command_line(["reproduce", "sn40l", "--quiet"]) == 0
    printed = capsys.readouterr()
    assert "misses" in printed.out
    assert "quoted" in printed.out
    assert printed.err == ""


def test_tellme_is_bound_by_look_ups_with_three_weights_each():
    rows = {row.quantity: row for row in get_reproduction("tellme").rows()}
    assert rows["weights per index with the most per cycle"].ours == 3
    assert rows["decode rate"].agrees is True
    bound = rows["time of look-ups over time of reading the weights"].ours
    assert isinstance(bound, float)
    assert 4 < bound < 5
