"""The register of algorithms on chips: one name space with the streaming ones, plug-ins, unknown names."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass

import pytest

from algorithms.chip.algorithm import TiledAlgorithm, chip_algorithm, chip_algorithm_names, get_chip_algorithm
from algorithms.registry import ENTRY_POINT_GROUP, algorithm
from hwmodels.reading.errors import InputError


@dataclass(frozen=True)
class Nothing:
    """No parameters."""


def tiles_of(module: str) -> type[TiledAlgorithm]:
    class Tiles(TiledAlgorithm[Nothing]):
        """One line for people.

        And more for readers.
        """

        def plan(self, workload, parameters, chip):
            return None

        def values(self, workload, parameters, tensors):
            return tensors[0]

    Tiles.__module__ = module
    return Tiles


def test_a_taken_name_names_both_modules(fresh_algorithms):
    chip_algorithm("test.mine", Nothing)(tiles_of("package.first"))
    with pytest.raises(InputError) as error:
        chip_algorithm("test.mine", Nothing)(tiles_of("package.second"))
    assert str(error.value) == "algorithm 'test.mine' is registered by both package.first and package.second"
    assert get_chip_algorithm("test.mine").source == "package.first"
    assert get_chip_algorithm("test.mine").summary == "One line for people."


def test_streaming_and_chip_algorithms_share_their_names(fresh_algorithms):
    with pytest.raises(InputError, match=r"both algorithms\.streaming\.naive and package\.mine"):
        chip_algorithm("sdpa.naive", Nothing)(tiles_of("package.mine"))
    chip_algorithm("test.mine", Nothing)(tiles_of("package.first"))

    def build(workload, parameters, tensors):
        """A graph."""

    with pytest.raises(InputError, match=r"'test\.mine' is registered by both package\.first and"):
        algorithm("test.mine", Nothing)(build)


def test_an_unknown_name_gets_the_nearest_one(fresh_algorithms):
    chip_algorithm("test.mine", Nothing)(tiles_of("package.first"))
    with pytest.raises(InputError) as error:
        get_chip_algorithm("test.mein")
    assert str(error.value) == "algorithm: no algorithm on a chip is called 'test.mein'; did you mean 'test.mine'?"


def test_parameters_must_be_a_dataclass(fresh_algorithms):
    with pytest.raises(InputError, match=r"package\.odd: algorithm 'test\.odd': its parameters must be a dataclass"):
        chip_algorithm("test.odd", dict)(tiles_of("package.odd"))
    assert "test.odd" not in chip_algorithm_names()


def test_an_entry_point_may_bring_one(fresh_algorithms, monkeypatch, tmp_path):
    (tmp_path / "chip_attention_plug_in.py").write_text(
        "from dataclasses import dataclass\n"
        "from algorithms.chip.algorithm import TiledAlgorithm, chip_algorithm\n"
        "@dataclass(frozen=True)\n"
        "class P: ...\n"
        "@chip_algorithm('outside.tiles', P)\n"
        "class T(TiledAlgorithm[P]):\n"
        "    '''From outside.'''\n"
        "    def plan(self, workload, parameters, chip): ...\n"
        "    def values(self, workload, parameters, tensors): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    point = importlib.metadata.EntryPoint("outside", "chip_attention_plug_in", ENTRY_POINT_GROUP)
    real = importlib.metadata.entry_points

    def found(**asked: str) -> object:
        return [point] if asked.get("group") == ENTRY_POINT_GROUP else real(**asked)

    monkeypatch.setattr(importlib.metadata, "entry_points", found)
    assert "outside.tiles" in chip_algorithm_names()
    assert get_chip_algorithm("outside.tiles").source == "chip_attention_plug_in"
