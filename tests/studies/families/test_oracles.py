"""Graphs are held against the definition of what they compute, which not all of them share."""

from __future__ import annotations

import dataclasses

import pytest

from algorithms.registry import ALGORITHMS, algorithm_names, get_algorithm
from hwmodels.reading.errors import InputError
from studies.cli.options import DesignOptions, design_point
from studies.families.evaluate import evaluate
from studies.families.graph.oracles import ORACLES, expected_of

SMALL = {"seq_len": 24, "head_dim": 4, "heads": 4, "kv_heads": 2}


@pytest.mark.parametrize("name", [name for name in algorithm_names() if get_algorithm(name).has_values])
def test_values_of_every_graph_equal_its_own_oracle(name):
    own = {} if get_algorithm(name).oracle == "attention" else SMALL
    evaluation = evaluate(design_point(name, DesignOptions(**(own or {"seq_len": 24, "head_dim": 4}))))
    assert evaluation.deviation is not None
    assert evaluation.deviation.rel_l2 < 1e-11


@pytest.mark.parametrize("name", ["state.linear", "state.delta", "state.legendre"])
def test_a_wrong_oracle_is_seen(name, monkeypatch):
    entry = get_algorithm(name)
    monkeypatch.setitem(ALGORITHMS._entries, name, dataclasses.replace(entry, oracle="attention"))
    evaluation = evaluate(design_point(name, DesignOptions(seq_len=24, head_dim=4)))
    assert evaluation.deviation.rel_l2 > 1e-3


def test_parameters_that_decide_values_decide_the_oracle_and_others_do_not():
    def point(name, **parameters):
        options = DesignOptions(seq_len=24, head_dim=4, set_=[f"{key}={value}" for key, value in parameters.items()])
        return design_point(name, options)

    weak, strong = point("state.delta", strength=0.1), point("state.delta", strength=0.9)
    assert abs(expected_of(weak) - expected_of(strong)).max() > 0.01
    assert expected_of(strong) is expected_of(point("state.delta", strength=0.9, mac_lanes=2))
    naive, free = point("sdpa.naive"), point("sdpa.memory_free")
    assert expected_of(naive) is expected_of(free)


def test_an_unknown_oracle_gets_the_nearest_name():
    with pytest.raises(InputError, match="did you mean 'linear'"):
        ORACLES.get("linea")
