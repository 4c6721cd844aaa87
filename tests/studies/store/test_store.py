import json
import pickle
import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import pytest

from algorithms.workload.shape import Workload
from hwmodels.reading.errors import InputError
from studies.points.outcome import Outcome
from studies.points.point import DesignPoint, TensorFile, grid
from studies.store.file import SCHEMA_VERSION
from studies.store.store import Store

HEAD = Workload(name="h", phase="prefill", heads=1, kv_heads=1, q_len=8, kv_len=8, head_dim=4)


def points(count):
    return [DesignPoint("sdpa.naive", HEAD.with_(seed=i), (("depth", None),)) for i in range(count)]


def done(point, **metrics):
    return Outcome(point.key, "done", metrics, wall_s=0.5)


def test_a_key_depends_on_meaning_alone():
    point = DesignPoint("a", HEAD, (("depth", 2),), tensors=TensorFile("x/a.npz", "00"))
    assert len(point.key) == 64
    assert DesignPoint.from_description(point.describe()) == point
    moved = DesignPoint("a", HEAD, (("depth", 2),), tensors=TensorFile("y/b.npz", "00"))
    assert moved.key == point.key
    cited = DesignPoint("a", HEAD.with_(source="paper"), (("depth", 2),), tensors=point.tensors)
    assert cited.key == point.key
    different = [
        DesignPoint("b", HEAD, (("depth", 2),), tensors=point.tensors),
        DesignPoint("a", HEAD.with_(seed=1), (("depth", 2),), tensors=point.tensors),
        DesignPoint("a", HEAD, (("depth", 3),), tensors=point.tensors),
        DesignPoint("a", HEAD, (("depth", 2),), "simpy", tensors=point.tensors),
        DesignPoint("a", HEAD, (("depth", 2),), timing_only=True, tensors=point.tensors),
        DesignPoint("a", HEAD, (("depth", 2),), tensors=TensorFile("x/a.npz", "01")),
    ]
    assert len({p.key for p in [point, *different]}) == 7


def test_the_grid_runs_through_the_last_axis_first():
    assert [tuple(p.values()) for p in grid({"a": [1, 2], "b": "xy"})] == [
        (1, "x"),
        (1, "y"),
        (2, "x"),
        (2, "y"),
    ]
    assert list(grid({})) == [{}]


def test_rows_come_back_in_grid_order_with_everything(tmp_path):
    three = points(3)
    with Store(tmp_path / "s.sqlite", write=True) as store:
        keys = store.enter_grid("study", three)
        assert keys == [point.key for point in three]
        run = store.begin_run({"commit": "abc"})
        store.record(run, [done(three[2], cycles=7), Outcome(three[0].key, "failed", {}, None, "why", "Traceback")])
    with Store(tmp_path / "s.sqlite") as store:
        assert store.studies() == ["study"]
        assert list(store.statuses("study").values()) == ["failed", "pending", "done"]
        first, second, third = store.rows("study")
    assert (first.outcome.error, first.outcome.traceback, first.attempt) == ("why", "Traceback", 1)
    assert (second.outcome.status, second.attempt, second.provenance) == ("pending", 0, {})
    assert third.outcome == done(three[2], cycles=7)
    assert third.provenance == {"commit": "abc"}
    assert third.point == three[2]
    assert third.time_utc is not None


def test_some_metrics_of_all_points_come_in_grid_order_without_anything_else(tmp_path):
    known = points(4)
    with Store(tmp_path / "s.sqlite", write=True) as store:
        store.enter_grid("s", known[::-1])
        run = store.begin_run({})
        broken = Outcome(known[1].key, "failed", {}, None, "no")
        store.record(run, [done(known[0], cycles=7, deadlock=False), done(known[2], cycles=8, **{"a.b": 0.5}), broken])
        found = list(store.measured("s", ["a.b", "deadlock", "cycles"]))
        assert [values for _, _, values in store.measured("s", ["cycles"])] == [
            {"cycles": each} for each in (None, 8, None, 7)
        ]
    assert found == [
        (known[3].key, "pending", {"a.b": None, "deadlock": None, "cycles": None}),
        (known[2].key, "done", {"a.b": 0.5, "deadlock": None, "cycles": 8}),
        (known[1].key, "failed", {"a.b": None, "deadlock": None, "cycles": None}),
        (known[0].key, "done", {"a.b": None, "deadlock": False, "cycles": 7}),
    ]


def test_a_changed_grid_keeps_the_points_it_knows(tmp_path):
    with Store(tmp_path / "s.sqlite", write=True) as store:
        four = points(4)
        store.enter_grid("one", four[:3])
        store.record(store.begin_run({}), [done(point) for point in four[:3]])
        store.enter_grid("one", four[2:])
        assert list(store.statuses("one").values()) == ["done", "pending"]
        store.enter_grid("two", four)
        assert list(store.statuses("two").values()) == ["done", "done", "done", "pending"]
        assert len(list(store.rows())) == 6


def test_a_failed_transaction_leaves_nothing_behind(tmp_path):
    two = points(2)
    with Store(tmp_path / "s.sqlite", write=True) as store:
        store.enter_grid("study", two)
        run = store.begin_run({})
        with pytest.raises(sqlite3.IntegrityError):
            store.record(run, [done(two[0]), Outcome(two[1].key, "perhaps", {})])
        assert set(store.statuses("study").values()) == {"pending"}


def test_an_outcome_that_no_row_can_hold_is_a_failed_point_and_costs_no_other_one(tmp_path):
    four = points(4)
    with Store(tmp_path / "s.sqlite", write=True) as store:
        store.enter_grid("study", four)
        wrong = [done(four[0], cycles=float("nan")), done(four[1], cycles=object())]
        odd = Outcome(four[2].key, "failed", {}, None, "no such file: \udcff", wall_s=float("nan"))
        store.record(store.begin_run({}), [*wrong, odd, done(four[3], cycles=7)])
        rows = list(store.rows("study"))
    assert [row.outcome.status for row in rows] == ["failed", "failed", "failed", "done"]
    assert rows[0].outcome.error == "its result cannot be stored: metrics.cycles is nan"
    assert "not JSON serializable" in rows[1].outcome.error
    assert (rows[2].outcome.error, rows[2].outcome.wall_s) == ("no such file: \\udcff", 0)
    assert rows[3].outcome == done(four[3], cycles=7)


def test_there_is_one_writer_and_any_number_of_readers(tmp_path):
    path = tmp_path / "s.sqlite"
    with Store(path, write=True) as store:
        store.enter_grid("study", points(1))
        with pytest.raises(InputError, match="another process is writing"):
            Store(path, write=True)
        with Store(path) as reader:
            assert reader.studies() == ["study"]
    with Store(path, write=True) as store:
        assert store.studies() == ["study"]


def test_files_that_are_no_stores_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such store"):
        Store(tmp_path / "missing.sqlite")
    text = tmp_path / "text.sqlite"
    text.write_text("not a database, but long enough to be taken for one" * 100)
    with pytest.raises(InputError, match="cannot be used as a store"):
        Store(text)
    other = tmp_path / "other.sqlite"
    sqlite3.connect(other).execute("CREATE TABLE t (x)").connection.close()
    with pytest.raises(InputError, match="not a store of sweeps"):
        Store(other, write=True)
    newer = tmp_path / "newer.sqlite"
    Store(newer, write=True).close()
    sqlite3.connect(newer).execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}").connection.close()
    with pytest.raises(InputError, match=f"has store version {SCHEMA_VERSION + 1}"):
        Store(newer)
    with pytest.raises(InputError, match="cannot be written"):
        Store(tmp_path / "no" / "folder.sqlite", write=True)


def test_a_store_is_read_where_nothing_can_be_written(tmp_path):
    """A link to nowhere in the place of the file that SQLite makes beside a store stops it like a read-only disk."""
    path = tmp_path / "with space?.sqlite"
    with Store(path, write=True) as store:
        store.enter_grid("study", points(2))
        store.record(store.begin_run({}), [done(points(2)[0], cycles=3)])
    (tmp_path / f"{path.name}-shm").symlink_to(tmp_path / "no" / "folder")
    with pytest.raises(sqlite3.OperationalError, match="unable to open"), closing(sqlite3.connect(path)) as plain:
        plain.execute("PRAGMA user_version")
    with Store(path) as store:
        assert [row.outcome.metrics for row in store.rows("study")] == [{"cycles": 3}, {}]
    (tmp_path / f"{path.name}-wal").write_bytes(b"newer rows")
    with pytest.raises(InputError, match=r"newest rows are still in with space\?\.sqlite-wal, which takes a folder"):
        Store(path)


def test_an_unknown_study_gets_the_nearest_name(tmp_path):
    with Store(tmp_path / "s.sqlite", write=True) as store:
        store.enter_grid("fifo-depth", points(1))
        with pytest.raises(InputError, match="did you mean 'fifo-depth'"):
            list(store.rows("fifo-deph"))


# --- what a store survives ----------------------------------------------------------------------------

VERSION_1 = """
BEGIN;
CREATE TABLE runs (run INTEGER PRIMARY KEY, provenance TEXT NOT NULL);
CREATE TABLE points (key TEXT PRIMARY KEY, point TEXT NOT NULL, status TEXT NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0, metrics TEXT,
    detail TEXT, error TEXT, traceback TEXT, wall_s REAL, time_utc TEXT, run INTEGER) WITHOUT ROWID;
CREATE TABLE grid (study TEXT NOT NULL, position INTEGER NOT NULL, key TEXT NOT NULL,
    PRIMARY KEY (study, position)) WITHOUT ROWID;
PRAGMA application_id = 1635021926; PRAGMA user_version = 1;
COMMIT;
"""


def old_store(path):
    """A store as version 1 wrote it, with one finished point."""
    (point,) = points(1)
    with closing(sqlite3.connect(path)) as database:
        database.executescript(VERSION_1)
        run = json.dumps({"commit": "abc", "configuration": {"name": "old", "title": "An old study"}})
        database.execute("INSERT INTO runs VALUES (1, ?)", (run,))
        row = (point.key, json.dumps(point.describe()), "done", 1, '{"cycles": 7}', "{}", 0.5, "2026-01-01", 1)
        database.execute(
            "INSERT INTO points (key, point, status, attempt, metrics, detail, wall_s, time_utc, run)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            row,
        )
        database.execute("INSERT INTO grid VALUES ('old', 0, ?)", (point.key,))
        database.commit()


@pytest.mark.parametrize("write", [False, True])
def test_a_store_of_an_older_version_is_brought_to_this_one(tmp_path, write):
    path = tmp_path / "s.sqlite"
    old_store(path)
    with Store(path, write=write) as store:
        (row,) = store.rows("old")
        assert (row.outcome.metrics, row.attempt, row.provenance["commit"]) == ({"cycles": 7}, 1, "abc")
        assert store.description("old") == {"name": "old", "title": "An old study"}
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)


def test_a_grid_grows_and_is_cut(tmp_path):
    six = points(6)
    with Store(tmp_path / "s.sqlite", write=True) as store:
        store.extend_grid("search", 0, six[:2])
        store.extend_grid("search", 2, six[2:])
        store.extend_grid("search", 1, six[3:5])
        store.describe_study("search", {"sampler": "random"}, length=3)
        assert list(store.statuses("search")) == [six[i].key for i in (0, 3, 4)]
        assert store.description("search") == {"sampler": "random"}
        store.record(store.begin_run({}), [done(six[3], cycles=1)])
        found = store.outcomes([point.key for point in six])
    assert {key: outcome.metrics for key, outcome in found.items()} == {six[3].key: {"cycles": 1}}


def test_a_full_disk_loses_nothing_that_was_stored(tmp_path):
    path, many = tmp_path / "s.sqlite", points(400)
    with Store(path, write=True) as store:
        store.enter_grid("study", many)
        run = store.begin_run({})
        pages = store._database.execute("PRAGMA page_count").fetchone()[0]
        store._database.execute(f"PRAGMA max_page_count = {pages + 5}")
        stored = 0
        with pytest.raises(InputError, match=r"disk is full; points stored so far are safe: make room and repeat"):
            for point in many:
                store.record(run, [done(point, cycles=1, text="x" * 500)])
                stored += 1
        assert 0 < stored < 400
        assert list(store.statuses("study").values()).count("done") == stored
    with Store(path, write=True) as store:
        assert list(store.statuses("study").values()).count("done") == stored
        store.record(store.begin_run({}), [done(point) for point in many[stored:]])
        assert set(store.statuses("study").values()) == {"done"}


@pytest.mark.parametrize("place", [0.15, 0.4, 0.9])
def test_a_damaged_store_is_said_to_be_one_and_what_to_do(tmp_path, place):
    path = tmp_path / "s.sqlite"
    with Store(path, write=True) as store:
        store.enter_grid("study", points(300))
        store.record(store.begin_run({}), [done(point, cycles=1) for point in points(300)])
    content = bytearray(path.read_bytes())
    middle = int(len(content) * place)
    content[middle : middle + 20_000] = b"\xff" * len(content[middle : middle + 20_000])
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"s\.sqlite: .*(\.recover|begin another store)"), Store(path) as store:
        assert len(list(store.rows())) == 300


def test_a_truncated_store_is_said_to_be_damaged(tmp_path):
    path = tmp_path / "my store.sqlite"
    with Store(path, write=True) as store:
        store.enter_grid("study", points(300))
    path.write_bytes(path.read_bytes()[:9000])
    for write in (False, True):
        with pytest.raises(InputError, match=r"malformed; keep the file, .*`sqlite3 'my store\.sqlite' \.recover"):
            Store(path, write=write)


def test_a_clock_that_goes_back_changes_nothing_but_times(tmp_path, monkeypatch):
    clock = iter([datetime(2030, 1, 1, tzinfo=UTC), datetime(1999, 1, 1, tzinfo=UTC)])

    class Skewed(datetime):
        @classmethod
        def now(cls, tz=None):
            return next(clock)

    monkeypatch.setattr("studies.store.store.datetime", Skewed)
    (point,) = points(1)
    with Store(tmp_path / "s.sqlite", write=True) as store:
        store.enter_grid("study", [point])
        run = store.begin_run({})
        store.record(run, [done(point, cycles=1)])
        store.record(run, [done(point, cycles=2)])
        (row,) = store.rows()
    assert (row.outcome.metrics, row.attempt, row.time_utc[:4]) == ({"cycles": 2}, 2, "1999")


def test_nothing_in_a_store_is_executed(tmp_path):
    """What a store holds is JSON: a pickle in it is an error, not a call."""
    path = tmp_path / "s.sqlite"
    with Store(path, write=True) as store:
        store.enter_grid("study", points(1))
        store.record(store.begin_run({}), [done(points(1)[0])])
    bomb = pickle.dumps(Bomb())
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE points SET detail = ?", (bomb,))
        database.commit()
    with pytest.raises(InputError, match="is not JSON"), Store(path) as store:
        list(store.rows())


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was loaded",))


@pytest.mark.parametrize("replaced", [False, True])
def test_a_store_that_is_removed_while_it_is_written_is_told_at_once(tmp_path, replaced):
    path = tmp_path / "s.sqlite"
    with Store(path, write=True) as store:
        two = points(2)
        store.enter_grid("study", two)
        run = store.begin_run({})
        path.unlink()
        if replaced:
            path.write_bytes(b"")
        with pytest.raises(InputError, match="was removed or replaced while it was in use"):
            store.record(run, [done(two[0])])


def test_a_study_that_goes_on_writes_no_point_again(tmp_path):
    many = points(50)
    with Store(tmp_path / "s.sqlite", write=True) as store:
        store.enter_grid("study", many)
        before = store._database.total_changes
        assert store.enter_grid("study", many) == [point.key for point in many]
        assert store._database.total_changes - before == 1  # the description of the study alone
        store.enter_grid("study", many[:49])
        assert len(store.statuses("study")) == 49


def test_how_far_points_are_is_read_without_reading_them(tmp_path):
    with Store(tmp_path / "s.sqlite", write=True) as store:
        store.enter_grid("study", points(3))
        store.record(store.begin_run({"commit": "abc"}), [done(points(3)[1])])
        asked = []
        store._database.set_trace_callback(asked.append)
        assert list(store.statuses("study").values()) == ["pending", "done", "pending"]
        assert store.commits("study") == {"abc": 1}
        store._database.set_trace_callback(None)
        for query in asked:
            plan = " ".join(line for *_, line in store._database.execute(f"EXPLAIN QUERY PLAN {query}"))
            assert "SEARCH points USING COVERING INDEX points_progress" in plan


def test_stores_from_before_the_index_are_read_and_get_it_from_their_next_writer(tmp_path):
    path = tmp_path / "s.sqlite"
    with Store(path, write=True) as store:
        store.enter_grid("study", points(2))
        store.record(store.begin_run({"commit": "abc"}), [done(points(2)[0])])
        store._database.execute("DROP INDEX points_progress")
    with Store(path) as store:
        assert list(store.statuses("study").values()) == ["done", "pending"]
        assert store.commits("study") == {"abc": 1}
    with Store(path, write=True):
        pass
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*) FROM sqlite_master WHERE name = 'points_progress'").fetchone() == (1,)
