"""The register of algorithms: names, summaries, plug-ins that fail and names that are taken or unknown."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path

import pytest

from algorithms.registry import ALGORITHMS, ENTRY_POINT_GROUP, algorithm, algorithm_names, get_algorithm
from algorithms.streaming.parameters import StreamingParameters
from algorithms.workload.shape import Workload
from hwmodels.reading.errors import InputError
from simulator import Graph, simulate

WORKLOAD = Workload(name="w", phase="prefill", heads=2, kv_heads=1, q_len=3, kv_len=5, head_dim=2)


@dataclass(frozen=True)
class Nothing:
    """No parameters."""


def named(name: str, module: str):
    def build(workload: Workload, parameters: Nothing, tensors: object) -> Graph:
        """One line for people.

        And more for readers of the code.
        """
        return Graph(name)

    build.__module__ = module
    return build


def offer(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Pretend that an installed package has an entry point with this value."""
    point = importlib.metadata.EntryPoint("outside", value, ENTRY_POINT_GROUP)
    real = importlib.metadata.entry_points

    def found(**asked: str) -> object:
        return [point] if asked.get("group") == ENTRY_POINT_GROUP else real(**asked)

    monkeypatch.setattr(importlib.metadata, "entry_points", found)


class TestNames:
    def test_a_taken_name_names_both_modules(self, fresh_algorithms):
        algorithm("test.mine", Nothing)(named("first", "package.first"))
        with pytest.raises(InputError) as error:
            algorithm("test.mine", Nothing)(named("second", "package.second"))
        assert str(error.value) == "algorithm 'test.mine' is registered by both package.first and package.second"
        assert get_algorithm("test.mine").source == "package.first"

    def test_a_built_in_name_is_taken_too(self, fresh_algorithms):
        with pytest.raises(InputError, match=r"both algorithms\.streaming\.naive and outside\.naive"):
            algorithm("sdpa.naive", Nothing)(named("naive", "outside.naive"))

    def test_unknown_names_get_the_nearest_one(self):
        with pytest.raises(InputError) as error:
            get_algorithm("sdpa.naiv")
        assert str(error.value) == "algorithm: no algorithm is called 'sdpa.naiv'; did you mean 'sdpa.naive'?"

    def test_names_are_sorted_and_hold_the_streaming_variants(self):
        names = algorithm_names()
        assert list(names) == sorted(names)
        assert set(names) >= {"sdpa.naive", "sdpa.scaled", "sdpa.reordered", "sdpa.memory_free"}

    def test_parameters_must_be_a_dataclass(self, fresh_algorithms):
        with pytest.raises(
            InputError, match=r"package\.odd: algorithm 'test\.odd': its parameters must be a dataclass"
        ):
            algorithm("test.odd", dict)(named("odd", "package.odd"))
        assert "test.odd" not in algorithm_names()

    def test_the_summary_is_the_first_line_of_the_docstring(self, fresh_algorithms):
        algorithm("test.mine", Nothing)(named("mine", "package.mine"))
        assert get_algorithm("test.mine").summary == "One line for people."


class TestPlugIns:
    def test_one_that_does_not_load_is_named_and_left_out(self, fresh_algorithms, monkeypatch, caplog):
        offer(monkeypatch, "no_such_package.module")
        assert "sdpa.naive" in algorithm_names()
        (told,) = caplog.messages
        assert told.startswith("plug-in outside (no_such_package.module) does not load and is left out: ")
        assert "No module named 'no_such_package'" in told

    @pytest.mark.parametrize(
        ("source", "why"),
        [("raise RuntimeError('no licence')", "no licence"), ("raise SystemExit(7)", "it ends the program (7)")],
    )
    def test_one_whose_import_raises_is_left_out_with_its_reason(
        self, fresh_algorithms, monkeypatch, tmp_path, caplog, source, why
    ):
        (tmp_path / "broken_attention_plug_in.py").write_text(source)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "broken_attention_plug_in", raising=False)
        offer(monkeypatch, "broken_attention_plug_in")
        assert get_algorithm("sdpa.naive")
        assert caplog.messages == [f"plug-in outside (broken_attention_plug_in) does not load and is left out: {why}"]

    def test_a_good_one_is_found_beside_the_built_ins(self, fresh_algorithms, monkeypatch, tmp_path):
        (tmp_path / "good_attention_plug_in.py").write_text(
            "from algorithms.registry import algorithm\n"
            "from algorithms.streaming.naive import build as naive\n"
            "from algorithms.streaming.parameters import StreamingParameters\n"
            "\n"
            "@algorithm('outside.naive', StreamingParameters)\n"
            "def build(workload, parameters, tensors):\n"
            "    '''From outside.'''\n"
            "    return naive(workload, parameters, tensors)\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        offer(monkeypatch, "good_attention_plug_in")
        assert "outside.naive" in algorithm_names()
        found = get_algorithm("outside.naive")
        assert (found.summary, found.source) == ("From outside.", "good_attention_plug_in")
        own = get_algorithm("sdpa.naive")
        digests = {
            simulate(each.build(WORKLOAD, each.parameters()), timing_only=True).schedule_digest for each in (found, own)
        }
        assert len(digests) == 1
        assert (found.build(WORKLOAD, found.parameters()).name, own.build(WORKLOAD, own.parameters()).name) == (
            "outside.naive",
            "sdpa.naive",
        )

    def test_what_a_script_registers_may_be_said_again(self, fresh_algorithms):
        algorithm("test.mine", Nothing)(named("first", "__main__"))
        algorithm("test.mine", Nothing)(named("second", "__main__"))
        with pytest.raises(InputError, match=r"both __main__ and package\.other"):
            algorithm("test.mine", Nothing)(named("third", "package.other"))


def test_the_home_of_every_built_in_algorithm_is_known():
    found = {name: ALGORITHMS.get(name).source for name in ALGORITHMS.names()}
    built_in = {name: source for name, source in found.items() if source.startswith("algorithms.")}
    assert {name: f"algorithms.{module}" for name, module in ALGORITHMS.homes.items()} == built_in


class TestHomes:
    """A package of three modules: two whose homes are known, and one that is not."""

    @pytest.fixture
    def things(self, tmp_path, monkeypatch):
        package = f"things_{tmp_path.name.replace('-', '_')}"
        folder = tmp_path / package
        folder.mkdir()
        (folder / "__init__.py").write_text(
            "from algorithms.register import Register\n"
            f"THINGS = Register('thing', {package!r}, 'attnflow.things', homes={{'one': 'first', 'two': 'second'}})\n"
        )
        for module, name in (("first", "one"), ("second", "two"), ("third", "three")):
            (folder / f"{module}.py").write_text(
                "import types\n"
                f"from {package} import THINGS\n"
                f"THINGS.add({name!r}, types.SimpleNamespace(source=__name__))\n"
            )
        monkeypatch.syspath_prepend(tmp_path)
        return importlib.import_module(package).THINGS

    @staticmethod
    def imported(things):
        return sorted(name.rpartition(".")[2] for name in sys.modules if name.startswith(f"{things.package}."))

    def test_one_whose_home_is_known_is_imported_alone(self, things):
        assert things.get("two").source == f"{things.package}.second"
        assert self.imported(things) == ["second"]
        assert things.names() == ("one", "three", "two")

    def test_a_part_is_imported_alone_unless_others_take_part(self, things, monkeypatch):
        part = f"{things.package}.part"
        folder = Path(importlib.import_module(things.package).__file__).parent / "part"
        folder.mkdir()
        (folder / "__init__.py").touch()
        (folder / "fourth.py").write_text("name = __name__\n")
        things.load_part("elsewhere.part")
        assert self.imported(things) == []
        things.load_part(part)
        assert self.imported(things) == ["fourth", "part"]
        monkeypatch.setattr(things, "_alone", False)
        things.load_part(part)
        assert self.imported(things) == ["first", "fourth", "part", "second", "third"]

    def test_one_without_a_home_is_found_among_all(self, things):
        assert things.get("three").source == f"{things.package}.third"
        assert self.imported(things) == ["first", "second", "third"]

    def test_an_unknown_one_gets_the_nearest_of_all(self, things):
        with pytest.raises(InputError, match=r"no thing is called 'thre'; did you mean 'three'\?"):
            things.get("thre")

    def test_where_another_distribution_takes_part_everything_is_imported(self, things, monkeypatch, tmp_path):
        (tmp_path / "more_things.py").write_text("loaded = True\n")
        point = importlib.metadata.EntryPoint("more", "more_things", "attnflow.things")
        monkeypatch.setattr(importlib.metadata, "entry_points", lambda **_: [point])
        monkeypatch.delitem(sys.modules, "more_things", raising=False)
        things.get("one")
        assert self.imported(things) == ["first", "second", "third"]
        assert "more_things" in sys.modules


def test_algorithms_of_every_kind_are_registered():
    kinds = {type(ALGORITHMS.get(name)).what for name in ALGORITHMS.names()}
    assert kinds == {
        "is a graph of FIFOs",
        "runs on a chip",
        "measures a memory tier",
        "steps a whole model",
        "serves a scenario over time",
        "watches a stream of frames",
    }


@pytest.mark.parametrize("name", ALGORITHMS.names())
class TestWhateverIsRegistered:
    def test_it_has_a_summary_and_documented_parameters(self, name):
        found = ALGORITHMS.get(name)
        assert found.name == name
        assert found.summary and "\n" not in found.summary
        assert is_dataclass(found.parameters)
        for field in fields(found.parameters):
            assert field.metadata.get("help"), f"{name}: {field.name} has no help text"

    def test_its_defaults_are_usable_and_frozen(self, name):
        parameters = ALGORITHMS.get(name).parameters()
        assert fields(parameters)
        for field in fields(parameters):
            with pytest.raises(AttributeError):
                setattr(parameters, field.name, None)


class TestStreamingParameters:
    def test_all_problems_come_at_once(self):
        with pytest.raises(InputError) as error:
            StreamingParameters(granularity="tile", fifo_depth=0, long_depth=-1, exp_latency=-2, depths="a=0")
        assert str(error.value).splitlines() == [
            "fifo_depth: must be at least 1 (got 0)",
            "long_depth: must be at least 0 (got -1)",
            "exp_latency: must be at least 1 (got -2)",
            "granularity: must be row or scalar (got 'tile')",
            "depths: must read NAME=DEPTH,... with depths of at least 1 (got 'a=0')",
        ]

    def test_lanes_need_rows(self):
        with pytest.raises(InputError, match="mac_lanes: scalar granularity does one multiply-add per cycle"):
            StreamingParameters(granularity="scalar", mac_lanes=4)

    @pytest.mark.parametrize(("lanes", "interval"), [(0, 1), (1, 10), (3, 4), (10, 1), (64, 1)])
    def test_lanes_share_the_elements_of_a_row(self, lanes, interval):
        assert StreamingParameters(mac_lanes=lanes).mac_ii(10) == interval

    def test_single_depths_reach_their_fifos(self):
        found = get_algorithm("sdpa.naive")
        graph = found.build(WORKLOAD, found.parameters(depths="weights_fifo=77, q->q_hold=3", fifo_depth=5))
        depths = {channel.name: channel.depth for channel in graph.channels}
        assert (depths.pop("weights_fifo"), depths.pop("q->q_hold")) == (77, 3)
        assert set(depths.values()) <= {5, *range(5, 12)}

    def test_an_unknown_fifo_gets_the_nearest_name(self):
        found = get_algorithm("sdpa.naive")
        with pytest.raises(InputError) as error:
            found.build(WORKLOAD, found.parameters(depths="weight_fifo=7"))
        assert str(error.value) == "depths: no FIFO is called 'weight_fifo'; did you mean 'weights_fifo'?"

    @pytest.mark.parametrize("name", ["sdpa.naive", "sdpa.memory_free"])
    def test_a_causal_stream_needs_a_key_for_every_query(self, name):
        found = get_algorithm(name)
        with pytest.raises(InputError, match=r"q_len: a causal stream needs at least as many keys as queries"):
            found.build(WORKLOAD.with_(q_len=6), found.parameters())


@pytest.mark.parametrize("name", ALGORITHMS.names())
def test_a_wrong_name_of_a_parameter_gets_the_nearest(name):
    parameters = ALGORITHMS.get(name).parameters
    known = [each.name for each in fields(parameters) if each.init]
    if not known:
        return
    wrong = known[0] + "_x"
    with pytest.raises(InputError, match=rf"^{wrong}: unknown parameter of {parameters.__name__}; did you mean '"):
        parameters(**{wrong: 1})
    assert parameters() == parameters(**{known[0]: getattr(parameters(), known[0])})
