"""Stores whose cells hold what no store holds: one line that names the point, whatever reads it."""

import sqlite3

import pytest

from studies.cli import main

STUDY = """
name: small
workload: {seq_len: 8, head_dim: 4}
algorithm: sdpa.naive
timing_only: true
axes: {exp_latency: [1, 2]}
objectives: [cycles]
"""
DEEP = '{"a":' * 5000 + "1" + "}" * 5000
DAMAGE = {
    "NaN metric": ("points", "metrics", '{"cycles": NaN}', "metrics is not JSON (NaN is no number)"),
    "infinite metric": ("points", "metrics", '{"cycles": 1e999}', "not finite: cycles is inf"),
    "infinite among others": ("points", "detail", '{"a": [0.5,-1.5E+400]}', "not finite: a.1 is -inf"),
    "infinite metric of few digits": ("points", "metrics", '{"cycles":1e309}', "not finite: cycles is inf"),
    "infinite metric of many digits": ("points", "metrics", '{"cycles": 1' + "0" * 310 + ".5}", "cycles is inf"),
    "text for a number": ("points", "metrics", '{"cycles": "<b>x"}', "metric cycles is no number (it is '<b>x')"),
    "nested metric": ("points", "metrics", '{"cycles": [1]}', "metric cycles is no single value"),
    "huge metric": ("points", "metrics", '{"cycles": 1' + "0" * 400 + "}", "metric cycles is too large"),
    "metrics of bytes": ("points", "metrics", b"\xff\xfe", "metrics is not JSON"),
    "metrics of a number": ("points", "metrics", 7, "metrics is not an object"),
    "empty point": ("points", "point", "{}", "the point is none: parameters is missing"),
    "listed point": ("points", "point", "[1]", "the point is not an object"),
    "other point": ("points", "point", '{"parameters": {}, "algorithm": 7}', "the point is none"),
    "deep result": ("points", "detail", DEEP, "nested too deeply"),
    "odd result": ("points", "detail", '{"units": 7}', "cannot be read"),
    "odd time": ("points", "wall_s", "x", "wall_s is no time (it is 'x')"),
    "odd attempt": ("points", "attempt", "often", "attempt is no count (it is 'often')"),
    "odd error": ("points", "error", b"\xff", "error is no text"),
    "provenance": ("runs", "provenance", "[]", "the provenance of run 1 is not an object"),
    "description": ("studies", "description", "[]", "the description of study 'small' is not an object"),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound")
    (folder / "small.yaml").write_text(STUDY)
    assert main(["sweep", str(folder / "small.yaml"), "--store", str(folder / "s.sqlite"), "--jobs", "0", "-q"]) == 0
    return folder


@pytest.fixture(params=DAMAGE)
def damaged(request, sound, tmp_path):
    """A copy of a sound store with one kind of cell changed, and what is said of it."""
    table, column, value, told = DAMAGE[request.param]
    source, target = sqlite3.connect(sound / "s.sqlite"), sqlite3.connect(tmp_path / "s.sqlite")
    with source, target:
        source.backup(target)
        target.execute(f"UPDATE {table} SET {column} = ?", (value,))
    source.close()
    target.close()
    return tmp_path / "s.sqlite", told


@pytest.mark.parametrize("suffix", ["html", "csv"])
def test_a_report_names_the_cell_in_one_line(damaged, suffix, capsys):
    store, told = damaged
    assert main(["report", str(store), "-o", str(store.with_suffix(f".{suffix}"))]) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.count("\n") == 1
    assert found.err.startswith(f"{store}: ")
    assert told in found.err
    assert not store.with_suffix(f".{suffix}").exists()


def test_a_sweep_goes_on_or_says_why_not(damaged, sound, capsys):
    store, _ = damaged
    code = main(["sweep", str(sound / "small.yaml"), "--store", str(store), "--jobs", "0"])
    assert code in (0, 2)
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("start", range(0, 5))
def test_a_byte_turned_anywhere_in_the_head_of_a_store_is_one_line_or_nothing(sound, tmp_path, start, capsys):
    """The head of the file, and the text of its tables, which SQLite quotes when it cannot make sense of them."""
    content = (sound / "s.sqlite").read_bytes()
    places = [*range(start, 100, 5), *range(3000 + start, 4096, 25)]
    for at in places:
        path = tmp_path / "s.sqlite"
        path.write_bytes(content[:at] + b"\xec" + content[at + 1 :])
        code = main(["report", str(path), "-o", str(tmp_path / "r.csv")])
        told = capsys.readouterr().err
        assert code in (0, 2)
        assert told.count("\n") == (code == 2)
