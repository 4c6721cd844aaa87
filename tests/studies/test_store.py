import sqlite3

import pytest

from algorithms.shape import Workload
from hwmodels.errors import InputError
from studies.space import DesignPoint, TensorFile, grid
from studies.store import SCHEMA_VERSION, Outcome, Store

HEAD = Workload(name="h", phase="prefill", heads=1, kv_heads=1, q_len=8, kv_len=8, head_dim=4)


def points(count):
    return [DesignPoint("sdpa.naive", HEAD.with_(seed=i), (("depth", None),)) for i in range(count)]


def done(point, **metrics):
    return Outcome(point.key, "done", metrics, {"units": []}, wall_s=0.5)


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
        store.record(run, [done(three[2], cycles=7), Outcome(three[0].key, "failed", {}, {}, "why", "Traceback")])
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
            store.record(run, [done(two[0]), Outcome(two[1].key, "perhaps", {}, {})])
        with pytest.raises(ValueError, match="JSON"):
            store.record(run, [done(two[0], cycles=float("nan"))])
        assert set(store.statuses("study").values()) == {"pending"}


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


def test_an_unknown_study_gets_the_nearest_name(tmp_path):
    with Store(tmp_path / "s.sqlite", write=True) as store:
        store.enter_grid("fifo-depth", points(1))
        with pytest.raises(InputError, match="did you mean 'fifo-depth'"):
            list(store.rows("fifo-deph"))
