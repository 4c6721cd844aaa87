"""Confirming a front: the same designs with a better model of the memory, and how well the two agree."""

import doctest
import json
from pathlib import Path

import numpy as np
import pytest

from hwmodels.reading.errors import InputError
from studies import Study
from studies.cli import main
from studies.running.runner import open_inline
from studies.search import confirm
from studies.search.confirm import confirm_front, rank_correlation
from studies.store.store import Store

TEXT = """
name: chips
algorithm: decode.split_kv
workload: {preset: llama3-8b, phase: decode, batch: 4, q_len: 1, kv_len: 2048}
chip: h100_sxm5
timing_only: true
objectives: [seconds, energy_j, area_mm2]
constraints: [area_mm2 <= 900]
axes:
  chip.cores: [66, 132, 198]
  chip.hbm.bytes_per_second: [1.6 TB/s, 3.35 TB/s]
  splits: [1, 4, 8]
"""


@pytest.fixture
def swept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text(TEXT)
    return Study.from_yaml("s.yaml").sweep("s.sqlite", jobs=0)


def test_examples_in_docstrings():
    assert doctest.testmod(confirm, extraglobs={"np": np}).attempted > 0


def test_ranks_of_equal_values_are_shared():
    a, b = np.array([1.0, 1.0, 2.0, 3.0]), np.array([5.0, 5.0, 7.0, 9.0])
    assert rank_correlation(a, b) == pytest.approx(1)
    assert rank_correlation(a, -b) == pytest.approx(-1)
    assert rank_correlation(a, np.ones(4)) is None


def test_the_front_is_evaluated_again_and_compared(swept):
    confirmation = confirm_front(swept.store, "chips", "analytic", workers=1, quiet=True, open_executor=open_inline)
    table = swept.frame()
    assert confirmation.front == table["front"].sum()
    assert confirmation.front + confirmation.sample == (table["state"] == "done").sum()
    assert set(confirmation.kept) <= set(table.loc[table["front"], "key"])
    agreement = {each.metric: each for each in confirmation.agreements}
    assert agreement["seconds"].rank_correlation > 0.8
    assert 0 < agreement["seconds"].mean_change_pct <= agreement["seconds"].largest_change_pct
    assert agreement["area_mm2"].rank_correlation == pytest.approx(1)
    assert agreement["area_mm2"].largest_change_pct == 0
    with Store(swept.store) as store:
        rows = list(store.rows("chips/analytic"))
    assert {row.point.chip.memory for row in rows} == {"analytic"}
    assert "confirmed with memory analytic" in Store(swept.store).description("chips/analytic")["title"]


def test_the_command_line_confirms_what_it_found(swept, capsys):
    command = ["search", "s.yaml", "-n", "12", "--store", "s.sqlite", "--jobs", "0", "-q", "--confirm", "analytic"]
    assert main([*command, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["evaluated"] == 0
    assert document["confirmation"]["front"] == len(document["front"])
    assert main(command) == 0
    assert "memory analytic instead of peak" in (text := capsys.readouterr().out)
    assert "rank correlation" in text
    assert main([*command[:-1], "exact"]) == 2
    assert "--confirm: unknown fidelity 'exact'" in capsys.readouterr().err


def test_what_cannot_be_confirmed(tmp_path):
    (tmp_path / "s.yaml").write_text(
        "name: s\nalgorithm: sdpa.naive\nworkload: {seq_len: 8, head_dim: 4}\ntiming_only: true\nobjectives: [cycles]\n"
    )
    results = Study.from_yaml(tmp_path / "s.yaml").sweep(tmp_path / "s.sqlite", jobs=0)
    with pytest.raises(InputError, match=r"sdpa\.naive runs on no chip"):
        confirm_front(results.store, "s", "cycle", workers=1, quiet=True, open_executor=open_inline)
