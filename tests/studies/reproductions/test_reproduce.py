"""`attnflow reproduce`: its document, its tables, and its page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from studies.cli.app import run_command_line
from studies.reproductions.judging import SECOND_HAND, judge_systems
from studies.reproductions.system import load_system, system_names
from studies.reproductions.table import counts

QUICK = "relay-attention"


@pytest.fixture
def store(tmp_path) -> str:
    return str(tmp_path / "s.sqlite")


def test_the_document_has_every_field_of_a_claim(capsys, store):
    assert run_command_line(["reproduce", QUICK, "--json", "--quiet", "--store", store, "--jobs", "0"]) == 0
    document = json.loads(capsys.readouterr().out)
    (system,) = document["systems"]
    assert {"name", "title", "family", "verdict", "wall_s", "claims"} <= set(system)
    assert system["name"] == QUICK
    for claim in system["claims"]:
        assert {
            "metric",
            "published",
            "ours",
            "unit",
            "tolerance",
            "verdict",
            "kind",
            "source",
            "why",
        } <= set(claim)
    first = system["claims"][0]
    assert first["verdict"] == "reproduced"
    assert first["ours"] == pytest.approx(first["published"], rel=first["tolerance"] / 100)


def test_quoted_systems_say_what_is_missing_and_have_no_figure(capsys, store):
    assert run_command_line(["reproduce", "specmemo", "--json", "--quiet", "--store", store]) == 0
    (system,) = json.loads(capsys.readouterr().out)["systems"]
    assert (system["verdict"], system["kind"]) == ("quoted", "quoted")
    for claim in system["claims"]:
        assert claim["ours"] is None
        assert claim["tolerance"] is None
        assert "not published" in claim["why"] or "not at hand" in claim["why"]


def test_arithmetic_is_called_arithmetic_and_notes_are_called_notes(capsys, store):
    assert run_command_line(["reproduce", "balancekv", "--quiet", "--store", store, "--jobs", "0"]) == 0
    assert "reproduced (arithmetic)" in capsys.readouterr().out
    assert run_command_line(["reproduce", "llm-in-a-flash", "--quiet", "--store", store, "--jobs", "0"]) == 0
    printed = capsys.readouterr().out
    assert "arithmetic  [notes]" in printed
    assert SECOND_HAND in printed
    assert "missed" in printed


def test_a_page_opens_offline_with_every_claim(tmp_path, capsys, store):
    page = tmp_path / "page.html"
    arguments = ["reproduce", QUICK, "--quiet", "--store", store, "--jobs", "0", "--output", str(page)]
    assert run_command_line(arguments) == 0
    text = page.read_text(encoding="utf-8")
    assert "RelayAttention" in text
    assert "HBM bytes over relay" in text
    assert "attnflow run prefix.relay" in text
    # a box per verdict hides the systems that have it, and a paper with a number is a link
    assert 'id="verdict-0" checked> reproduced (1)' in text
    assert '<details id="system-relay-attention" data-verdict="0" open>' in text
    assert 'href="https://arxiv.org/abs/2402.14808"' in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "b (s + c)" in capsys.readouterr().out


def test_results_of_other_code_are_said_to_be(capsys, store, monkeypatch):
    arguments = ["reproduce", QUICK, "--store", store, "--jobs", "0"]
    assert run_command_line(arguments) == 0
    assert "other code" not in capsys.readouterr().err
    monkeypatch.setattr("studies.reproductions.running.code_state", lambda _: "later")
    assert run_command_line(arguments) == 0
    assert "4 designs are from the store and were evaluated by other code" in capsys.readouterr().err


def test_a_verdict_on_growth_alone_is_called_that(capsys, store):
    assert run_command_line(["reproduce", "sfhand", "--quiet", "--store", store, "--jobs", "0"]) == 0
    assert "reproduced (growth alone): 1 of 1 hold" in capsys.readouterr().out
    (found,) = judge_systems([load_system("movinets")], store, jobs=0)
    assert (found.verdict, found.growth_alone) == ("reproduced", False)


@pytest.mark.slow
def test_the_readme_counts_what_the_table_says(store):
    found = counts(judge_systems([load_system(name) for name in system_names()], store))
    growing = found["reproduced (growth alone)"]
    held = found["reproduced"] + found["in band"] + growing
    words = (
        f"{held} hold from mechanism ({growing} of them only in how memory or work grows with a stream) and "
        f"{found['reproduced (arithmetic)']} by arithmetic; missed: {found['missed']}, "
        f"not judged: {found['not judged']}, quoted: {found['quoted']}."
    )
    assert sum(found.values()) == held + sum(
        found[each] for each in ("reproduced (arithmetic)", "missed", "not judged", "quoted")
    )
    assert words in " ".join((Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8").split())


def test_bad_names_and_pages_are_one_line(capsys, store):
    assert run_command_line(["reproduce", "relay-atention"]) == 2
    assert "relay-attention" in capsys.readouterr().err
    assert run_command_line(["reproduce", QUICK, "--store", store, "--output", "page.pdf"]) == 2
    assert "must end in .html" in capsys.readouterr().err
