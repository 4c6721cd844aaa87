"""Study files that are sound: which points they mean, in which order, and where each value comes from."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from algorithms import registry
from hwmodels.reading.documents import read_text
from hwmodels.reading.errors import InputError
from studies.study.goals import Goals
from studies.study.resolve import resolve


@dataclass(frozen=True)
class PipeParameters:
    granularity: Literal["row", "scalar"] = field(default="row", metadata={"help": "size of a token"})
    depth: int | None = field(default=2, metadata={"help": "slots of the FIFO", "unit": "token"})
    buffer: int = field(default=1024, metadata={"help": "on-chip memory", "unit": "B"})

    def __post_init__(self):
        if self.depth is not None and self.depth < 1:
            raise ValueError(f"depth must be at least 1 (got {self.depth})")


@dataclass(frozen=True)
class OtherParameters:
    granularity: Literal["row", "scalar"] = "row"


@pytest.fixture(autouse=True)
def algorithms(monkeypatch):
    registry.ALGORITHMS.discover()
    monkeypatch.setattr(registry.ALGORITHMS, "_entries", {})
    registry.algorithm("test.pipe", PipeParameters)(lambda workload, parameters, tensors: None)
    registry.algorithm("test.other", OtherParameters)(lambda workload, parameters, tensors: None)


def study(text, folder=Path()):
    return resolve(read_text(text, "s.yaml"), folder)


def problems(text):
    with pytest.raises(InputError) as caught:
        study(text)
    return str(caught.value).splitlines()


def test_a_study_without_axes_is_one_point():
    result = study("algorithm: test.pipe\nworkload: llama3-8b\nparameters: {buffer: 2 KiB}\nclock: 1.2 GHz\n")
    (point,) = result.points
    assert result.name == "s"
    assert point.algorithm == "test.pipe"
    assert point.workload.name == "llama3-8b"
    assert dict(point.parameters) == {"granularity": "row", "depth": 2, "buffer": 2048}
    assert point.clock_hz == 1.2e9
    assert point.engine == "compiled"


def test_the_grid_follows_the_file_with_the_last_axis_fastest_and_seeds_last():
    result = study(
        "name: n\ntitle: t\nalgorithm: test.pipe\nseeds: [5, 6]\n"
        "axes:\n  depth: [1, null]\n  workload.kv_len: {from: 8, to: 32, factor: 2}\n"
    )
    assert (result.name, result.title) == ("n", "t")
    chosen = [(dict(p.parameters)["depth"], p.workload.kv_len, p.workload.seed) for p in result.points]
    assert chosen == [(d, n, s) for d in (1, None) for n in (8, 16, 32) for s in (5, 6)]
    assert len({point.key for point in result.points}) == 12


def test_axes_may_be_algorithms_workloads_engines_and_clocks():
    result = study(
        "axes:\n  algorithm: [test.pipe, test.other]\n  workload: [llama3-8b, bert-base]\n"
        "  engine: [compiled, simpy]\n  clock: [1 GHz, 2 GHz]\n"
    )
    first, last = result.points[0], result.points[-1]
    assert len(result.points) == 16
    assert (first.algorithm, first.workload.name, first.engine, first.clock_hz) == (
        "test.pipe",
        "llama3-8b",
        "compiled",
        1e9,
    )
    assert (last.algorithm, last.workload.name, last.engine, last.clock_hz) == (
        "test.other",
        "bert-base",
        "simpy",
        2e9,
    )


def test_knobs_of_the_workload_apply_over_the_preset():
    result = study(
        "algorithm: test.pipe\nworkload: {preset: llama3-8b, seq_len: 64, mask: full}\naxes: {heads: [8, 16]}\n"
    )
    assert [p.workload.heads for p in result.points] == [8, 16]
    assert {(p.workload.q_len, p.workload.kv_len, p.workload.mask) for p in result.points} == {(64, 64, "full")}
    assert {p.workload.kv_heads for p in result.points} == {8}


def test_a_sequence_length_leaves_the_queries_of_a_decoding_workload_alone(tmp_path):
    (tmp_path / "w.yaml").write_text(
        "name: w\nsource: none\nphase: decode\nheads: 2\nkv_heads: 2\nq_len: 1\nkv_len: 8\nhead_dim: 4\n"
    )
    (point,) = study("algorithm: test.pipe\nworkload: w.yaml\naxes: {seq_len: [32]}\n", tmp_path).points
    assert (point.workload.q_len, point.workload.kv_len) == (1, 32)


def test_ranges_hit_their_end_exactly():
    def kv_lens(text):
        return [p.workload.kv_len for p in study(f"algorithm: test.pipe\naxes: {{kv_len: {text}}}\n").points]

    assert kv_lens("{from: 1, to: 10, step: 3}") == [1, 4, 7, 10]
    assert kv_lens("{from: 1, to: 11, step: 3}") == [1, 4, 7, 10]
    assert kv_lens("{from: 1, to: 3125, factor: 5}") == [1, 5, 25, 125, 625, 3125]
    assert kv_lens("{from: 7, to: 7, step: 1}") == [7]


def test_tensors_dictate_the_shape(tmp_path):
    tensor = np.ones((3, 8, 4))
    np.savez(tmp_path / "t.npz", q=tensor, k=tensor, v=tensor)
    (point,) = study("algorithm: test.pipe\nworkload: llama3-8b\ntensors: t.npz\n", tmp_path).points
    assert point.workload.q_shape == (1, 3, 8, 4)
    assert point.tensors.path == str(tmp_path / "t.npz")
    with pytest.raises(InputError, match="the tensors have 8"):
        study("algorithm: test.pipe\ntensors: t.npz\naxes: {kv_len: [8, 16]}\n", tmp_path)


def test_a_parameter_must_be_known_to_all_algorithms():
    text = "axes:\n  algorithm: [test.pipe, test.other]\n  depth: [1, 2]\n"
    assert problems(text) == [
        "s.yaml:3: axes.depth[0]: unknown parameter of test.other; known: granularity",
        "s.yaml:3: axes.depth[1]: unknown parameter of test.other; known: granularity",
    ]


def test_what_a_parameter_class_refuses_is_reported_where_it_stands():
    assert problems("algorithm: test.pipe\nparameters:\n  depth: -1\n") == [
        "s.yaml:3: parameters.depth: depth must be at least 1 (got -1)"
    ]
    assert problems("algorithm: test.pipe\naxes:\n  depth:\n    - 4\n    - -1\n    - 0\n") == [
        "s.yaml:5: axes.depth[1]: depth must be at least 1 (got -1)",
        "s.yaml:6: axes.depth[2]: depth must be at least 1 (got 0)",
    ]
    assert problems("algorithm: test.pipe\nparameters: {buffer: 2 KB}\n") == [
        "s.yaml:2: parameters.buffer: must be a quantity in B such as '64 KiB' (got '2 KB'); "
        "write '2 kB' (1000) or '2 KiB' (1024)"
    ]


def test_every_value_has_an_origin():
    result = study(
        "algorithm: test.pipe\nworkload:\n  preset: llama3-8b\n  heads: 16\n"
        "axes:\n  depth: [1, 2]\n  workload.seq_len: [8]\nseeds: [3]\nclock: 2 GHz\n"
    )
    origins = {setting.name: (setting.value, setting.origin) for setting in result.settings}
    assert origins["algorithm"] == ("test.pipe", "s.yaml:1")
    assert origins["workload"] == ("llama3-8b", "s.yaml:3")
    assert origins["workload.heads"] == (16, "s.yaml:4")
    assert origins["workload.head_dim"] == (128, "workload llama3-8b")
    assert origins["workload.kv_len"] == (8, "s.yaml:7")
    assert origins["workload.seed"] == ([3], "axis, s.yaml:8")
    assert origins["parameters.depth"] == ([1, 2], "axis, s.yaml:6")
    assert origins["parameters.buffer"] == (1024, "default of test.pipe")
    assert origins["clock"] == (2e9, "s.yaml:9")
    assert origins["engine"] == ("compiled", "default")


def test_an_axis_may_hold_for_some_values_of_an_earlier_one():
    result = study(
        "axes:\n  algorithm: [test.pipe, test.other]\n"
        "  depth: {values: [1, 2], when: {algorithm: test.pipe}}\n"
        "  buffer: {from: 1024, to: 4096, factor: 2, when: {depth: 2}}\n  kv_len: [8, 16]\n"
    )
    chosen = [
        (p.algorithm, *(dict(p.parameters).get(n) for n in ("depth", "buffer")), p.workload.kv_len)
        for p in result.points
    ]
    pipes = [("test.pipe", 1, 1024), *(("test.pipe", 2, size) for size in (1024, 2048, 4096))]
    assert chosen == [(*design, n) for design in (*pipes, ("test.other", None, None)) for n in (8, 16)]
    assert result.space.size == len(result.points) == len({point.key for point in result.points})
    origins = {setting.name: setting.origin for setting in result.settings}
    assert origins["parameters.depth"] == "axis, s.yaml:3, when algorithm is test.pipe"


def test_goals_have_directions_and_units():
    result = study(
        "algorithm: test.pipe\nobjectives: {cycles: null, firings: max}\n"
        "constraints: [seconds < 2 ms, fifo.capacity_bytes <= 64 KiB, cycles>=1e3]\n"
    )
    assert [str(objective) for objective in result.objectives] == ["min cycles", "max firings"]
    assert [objective.cost({"cycles": 5, "firings": 7}) for objective in result.objectives] == [5, -7]
    assert [str(c) for c in result.constraints] == [
        "seconds < 0.002 s",
        "fifo.capacity_bytes <= 65536 B",
        "cycles >= 1000 cycle",
    ]
    kept = {"seconds": 0.002, "fifo.capacity_bytes": 65536, "cycles": 999}
    assert [constraint.keeps(kept) for constraint in result.constraints] == [False, True, False]
    assert not result.constraints[0].keeps({})


def test_more_axes_than_any_study_has_are_refused_at_once():
    text = "algorithm: test.pipe\naxes:\n" + "".join(f"  axis{i}: [1]\n" for i in range(300))
    with pytest.raises(InputError) as caught:
        resolve(read_text(text, "s.yaml"), Path())
    assert str(caught.value) == "s.yaml:2: axes: has 300 axes, more than 256"


def test_a_study_says_how_near_designs_are_equally_good():
    text = "algorithm: test.pipe\nworkload: {seq_len: 8, head_dim: 4}\n"
    assert "tolerance" not in resolve(read_text(text, "s.yaml"), Path()).describe()
    chosen = resolve(read_text(f"{text}tolerance: 0.02\n", "s.yaml"), Path())
    assert chosen.describe()["tolerance"] == 0.02
    assert Goals.of({"s": chosen.describe()}).tolerance == 0.02
    for wrong in ("-0.1", "1", "x"):
        with pytest.raises(InputError, match=r"s\.yaml:3: tolerance: "):
            resolve(read_text(f"{text}tolerance: {wrong}\n", "s.yaml"), Path())
