"""A page that is watched is written again whenever points have come, and stands still once all are there."""

from studies.cli import main
from studies.cli.verbs import report
from studies.families.attempt import attempt
from studies.store.provenance import provenance
from studies.store.store import Store
from studies.study.resolve import read_study


def test_a_watched_page_follows_the_store(tmp_path, monkeypatch, capsys):
    path, file, page = tmp_path / "s.yaml", tmp_path / "s.sqlite", tmp_path / "s.html"
    path.write_text(
        "name: s\nalgorithm: sdpa.naive\nworkload: {seq_len: 8, head_dim: 4}\naxes: {exp_cycles: [1, 2, 3]}\n"
    )
    study = read_study(path)
    with Store(file, write=True) as store:
        store.enter_grid(study.name, study.points, study.describe())
        store.record(store.begin_run(provenance({})), [attempt(study.points[0])])
    waiting = list(study.points[1:])
    refreshes = []

    def sweep_goes_on(seconds):
        del seconds
        refreshes.append('http-equiv="refresh"' in page.read_text(encoding="utf-8"))
        with Store(file, write=True) as store:
            store.record(store.begin_run(provenance({})), [attempt(waiting.pop(0))])

    monkeypatch.setattr(report, "sleep", sweep_goes_on)
    assert main(["report", str(file), "-o", str(page), "--watch"]) == 0
    assert refreshes == [True, True], "a browser shows it anew while points come"
    assert 'http-equiv="refresh"' not in page.read_text(encoding="utf-8")
    told = capsys.readouterr()
    assert "1 of 3 points; goes on while points come" in told.err
    assert told.out == f"{page}: 3 points\n"


def test_only_pages_are_watched(tmp_path, capsys):
    assert main(["report", str(tmp_path / "s.sqlite"), "-o", str(tmp_path / "s.csv"), "--watch"]) == 2
    assert "only pages are written again" in capsys.readouterr().err
