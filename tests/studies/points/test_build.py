"""One builder of points: command lines and study files that say the same mean the same design, and fail alike."""

from __future__ import annotations

import dataclasses
import json
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest

from algorithms import registry
from algorithms.registry import ALGORITHMS, Entry, register_algorithm
from algorithms.workload.one_head import ONE_HEAD, ONE_HEAD_ON_CHIP
from hwmodels.chips.accelerator import load_accelerator
from hwmodels.costs.area import area_of
from hwmodels.reading.documents import read_text
from hwmodels.reading.errors import InputError
from studies.cli.options import DesignOptions, design_point
from studies.families.attempt import attempt
from studies.points.build import Inputs, PointBuilder
from studies.points.command import command_of
from studies.points.find import all_algorithm_names, find_algorithm
from studies.points.knobs import complete_parameters, parameter_knobs
from studies.points.point import ChipSetting, DesignPoint
from studies.points.vocabulary import Vocabulary
from studies.report.columns import flat_settings
from studies.study.resolve import resolve

NAMES = all_algorithm_names()


def studied(text, folder=Path()):
    """The points of a study file."""
    return resolve(read_text(text, "s.yaml"), folder).points


def told(action):
    """What a mistake is called, without its place."""
    with pytest.raises(InputError) as caught:
        action()
    return [problem.message for problem in caught.value.problems]


def options_of(name, *, rich):
    """Options of a design of an algorithm, and the same as entries of a study file."""
    takes = find_algorithm(name).takes
    options, entries = {}, {"algorithm": name}
    if "chip" in takes:
        options["chip"] = entries["chip"] = "h100"
    if not rich:
        return options, entries
    settings = {name: knob.default for name, knob in parameter_knobs(find_algorithm(name)).items()}
    chosen = dict([next((name, value) for name, value in settings.items() if value is not None)])
    entries["parameters"] = chosen
    options["set_"] = [f"parameters.{name}={value}" for name, value in chosen.items()]
    if "workload" in takes:
        options |= {"workload": "llama3-8b", "seq_len": 64, "heads": 4, "kv_heads": 2, "timing_only": True, "seed": 5}
        knobs = {"preset": "llama3-8b", "seq_len": 64, "heads": 4, "kv_heads": 2, "seed": 5}
        entries |= {"workload": knobs, "timing_only": True}
    if "chip" in takes:
        options |= {"mapping": "exact", "memory": "analytic"}
        options["set_"] += ["chip.cores=12", "chip.hbm.bytes_per_second=2 TB/s"]
        entries |= {"mapping": "exact", "memory": "analytic"}
        entries["chip"] = {"preset": "h100", "cores": 12, "hbm.bytes_per_second": "2 TB/s"}
    if "engine" in takes:
        options |= {"engine": "simpy", "clock": "1.2 GHz"}
        entries |= {"engine": "simpy", "clock": "1.2 GHz"}
    if "skip" in takes:
        options["no_skip"] = True
        entries["skip"] = False
    return options, entries


def test_there_is_something_to_build():
    assert len(NAMES) > 30
    assert len({find_algorithm(name).takes for name in NAMES}) >= 3


@pytest.mark.parametrize("rich", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_command_lines_and_study_files_mean_the_same_point(name, rich):
    options, entries = options_of(name, rich=rich)
    point = design_point(name, DesignOptions(**options))
    (same,) = studied(json.dumps(entries))
    assert same == point
    assert same.key == point.key
    assert DesignPoint.from_description(json.loads(json.dumps(point.describe()))).key == point.key


@pytest.mark.parametrize("name", NAMES)
def test_a_point_has_all_that_is_said_and_defaults_of_the_rest(name):
    entry = find_algorithm(name)
    options, entries = options_of(name, rich=True)
    point = design_point(name, DesignOptions(**options))
    assert dict(point.parameters).items() >= entries["parameters"].items()
    assert set(dict(point.parameters)) == set(parameter_knobs(entry))
    assert point.timing_only == ("timing_only" in entry.keyed)
    assert point.skip == ("skip" not in entry.takes)
    assert point.engine == ("simpy" if "engine" in entry.takes else "compiled")
    assert (point.workload is not None) == ("workload" in entry.takes)
    if "workload" in entry.takes:
        shape = point.attending
        assert (shape.name, shape.q_len, shape.kv_len, shape.heads, shape.kv_heads) == ("llama3-8b", 64, 64, 4, 2)
        assert (shape.seed, point.seed) == (5, None)
    assert (point.chip is not None) == ("chip" in entry.takes)
    if "chip" in entry.takes:
        chip = point.on_chip.accelerator
        assert (chip.name, chip.cores, chip.tier("hbm").bytes_per_second) == ("h100_sxm5_80g", 12, 2e12)
        assert (point.on_chip.mapping, point.on_chip.memory) == ("exact", "analytic")
        assert point.clock_hz == chip.clock_hz
    else:
        assert point.clock_hz == (1.2e9 if "clock" in entry.takes else 1e9)


@pytest.mark.parametrize("rich", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_the_command_of_a_point_means_that_point(name, rich):
    point = design_point(name, DesignOptions(**options_of(name, rich=rich)[0]))
    _, _, algorithm, *words = shlex.split(command_of(point))
    options = {"set_": []}
    while words:
        option = words.pop(0).removeprefix("--").replace("-", "_")
        if option == "set":
            options["set_"].append(words.pop(0))
        else:
            options[option] = True if option in ("timing_only", "no_skip") else words.pop(0)
    assert design_point(algorithm, DesignOptions(**options)).key == point.key


@pytest.mark.parametrize("name", NAMES)
def test_keys_depend_on_what_the_entry_says_and_on_nothing_else(name):
    point = design_point(name, DesignOptions(**options_of(name, rich=False)[0]))
    changes = {"engine": {"engine": "simpy"}, "skip": {"skip": False}, "clock": {"clock_hz": 2e9}}
    keyed = {given for given, change in changes.items() if dataclasses.replace(point, **change).key != point.key}
    assert keyed == set(changes) & find_algorithm(name).keyed


@pytest.mark.parametrize("name", ["sdpa.naive", "flash.q_outer", "tier.probe"])
def test_points_of_algorithms_that_are_gone_keep_their_keys_and_can_be_shown(name, monkeypatch):
    point = design_point(name, DesignOptions(**options_of(name, rich=True)[0]))
    key, command, flat = point.key, command_of(point), flat_settings(point)
    monkeypatch.setattr(ALGORITHMS, "_entries", {})
    again = DesignPoint.from_description(point.describe())
    assert again.key == key
    assert flat_settings(again) == flat
    if point.workload is None or point.workload.name != "one-head":
        assert command_of(again) == command


# --- mistakes --------------------------------------------------------------------------------------------------------

MISTAKES = [
    ("sdpa.naive", {"chip": "h100"}, "chip: h100", "is a graph of FIFOs and runs on no chip"),
    ("sdpa.naive", {"memory": "peak"}, "memory: peak", "does not apply to sdpa.naive"),
    ("sdpa.naive", {"mapping": "exact"}, "mapping: exact", "does not apply to sdpa.naive"),
    ("sdpa.naive", {"kernel": "fa3_hopper"}, "kernel: fa3_hopper", "does not apply to sdpa.naive"),
    ("flash.q_outer", {}, "", "flash.q_outer runs on a chip: name one"),
    ("flash.q_outer", {"chip": "h100", "clock": "2 GHz"}, "chip: h100\nclock: 2 GHz", "which has its own"),
    (
        "flash.q_outer",
        {"chip": "h100", "engine": "simpy"},
        "chip: h100\nengine: simpy",
        "which has its own",
    ),
    (
        "decode.split_kv",
        {"chip": "h100", "kernel": "fa3_hopper"},
        "chip: h100\nkernel: fa3_hopper",
        "fa3_hopper is a kernel of flash.q_outer, not of decode.split_kv",
    ),
    ("tier.probe", {"chip": "h100"}, "chip: h100", "tier.probe measures a memory tier and runs on no chip"),
    ("tier.probe", {"heads": 4}, "workload: {heads: 4}", "does not apply to tier.probe"),
    ("tier.probe", {"workload": "llama3-8b"}, "workload: llama3-8b", "does not apply to tier.probe"),
    ("tier.probe", {"seed": 3}, "seeds: [3]", "does not apply to tier.probe"),
    ("tier.probe", {"clock": "2 GHz"}, "clock: 2 GHz", "does not apply to tier.probe"),
    ("tier.probe", {"no_skip": True}, "skip: false", "does not apply to tier.probe"),
    ("tier.probe", {"set_": ["tier=hbm22"]}, "parameters: {tier: hbm22}", "unknown tier 'hbm22'"),
    ("sdpa.naive", {"heads": 3, "kv_heads": 2}, "workload: {heads: 3, kv_heads: 2}", "must divide heads = 3 (got 2)"),
    ("sdpa.naive", {"heads": 0}, "workload: {heads: 0}", "must be at least 1 (got 0)"),
    ("sdpa.naive", {"granularity": "col"}, "parameters: {granularity: col}", "must be 'row' or 'scalar' (got 'col')"),
    ("flash.q_outer", {"chip": "h1"}, "chip: h1", "unknown chip 'h1'"),
    ("sdpa.naive", {"clock": "2 GB"}, "clock: 2 GB", "must be a quantity in Hz such as '1.755 GHz' (got '2 GB')"),
    (
        "flash.q_outer",
        {"chip": "h100", "set_": ["chip.corse=3"]},
        "chip: {preset: h100, corse: 3}",
        "h100_sxm5_80g has no such field",
    ),
]


@pytest.mark.parametrize(("name", "options", "text", "message"), MISTAKES)
def test_a_mistake_is_called_the_same_on_command_lines_and_in_study_files(name, options, text, message):
    on_command_line = told(lambda: design_point(name, DesignOptions(**options)))
    in_file = told(lambda: studied(f"algorithm: {name}\n{text}\n"))
    assert on_command_line == in_file
    assert len(in_file) == 1
    assert message in in_file[0]


def test_what_happens_anyway_is_no_contradiction():
    (point,) = studied("algorithm: flash.q_outer\nchip: h100\nengine: compiled\nskip: false\n")
    assert (point.engine, point.skip) == ("compiled", False)
    assert point.key == design_point("flash.q_outer", DesignOptions(chip="h100")).key
    (probe,) = studied("algorithm: tier.probe\ntiming_only: true\n")
    assert probe.key == design_point("tier.probe", DesignOptions()).key


@pytest.mark.parametrize("text", ["chip: {cores: 4}", "axes: {chip.cores: [4, 8]}"])
def test_fields_of_a_chip_name_no_chip(text):
    assert told(lambda: studied(f"algorithm: flash.q_outer\n{text}\n")) == ["flash.q_outer runs on a chip: name one"]


@pytest.mark.parametrize(
    ("name", "text", "axis"),
    [
        ("flash.q_outer", "chip: h100\naxes: {engine: [compiled, simpy]}", "engine"),
        ("sdpa.naive", "axes: {memory: [peak, cycle]}", "memory"),
    ],
)
def test_an_axis_that_changes_nothing_is_none(name, text, axis):
    with pytest.raises(InputError, match=rf"axes\.{axis}: unknown axis"):
        studied(f"algorithm: {name}\n{text}\n")


def test_algorithms_of_a_study_bring_their_own_workloads_when_none_is_named():
    points = studied(
        "chip: h100\ntiming_only: true\naxes:\n  algorithm: [sdpa.naive, flash.q_outer]\n  seq_len: [64, 128]\n"
    )
    assert [(point.algorithm, point.attending.dtype) for point in points] == [
        ("sdpa.naive", "float64"),
        ("sdpa.naive", "float64"),
        ("flash.q_outer", "float16"),
        ("flash.q_outer", "float16"),
    ]
    alone = design_point("flash.q_outer", DesignOptions(chip="h100", seq_len=64, timing_only=True))
    assert points[2].key == alone.key


def test_a_fault_of_two_workloads_is_told_once():
    text = "chip: h100\nworkload: {heads: 4, kv_heads: 3}\naxes: {algorithm: [sdpa.naive, flash.q_outer]}\n"
    assert told(lambda: studied(text)) == ["must divide heads = 4 (got 3)"]


# --- parts -----------------------------------------------------------------------------------------------------------


def test_names_mean_knobs_of_use_then_parameters_then_the_workload():
    graph, probe = (Vocabulary((find_algorithm(name),)) for name in ("sdpa.naive", "tier.probe"))
    assert graph.meaning("clock") == ("use", "clock")
    assert graph.meaning("granularity") == graph.meaning("parameters.granularity") == ("parameter", "granularity")
    assert graph.meaning("seq_len") == graph.meaning("workload.seq_len") == ("knob", "seq_len")
    assert graph.meaning("chip.hbm.bytes_per_second") == ("field", "hbm.bytes_per_second")
    assert graph.meaning("mapping") is None
    assert probe.meaning("mapping") == ("parameter", "mapping")
    assert probe.meaning("seq_len") is None


def test_parts_are_made_once_for_points_that_share_them():
    builder, algorithm = PointBuilder(), find_algorithm("sdpa.naive")
    first, other = (
        builder.point(Inputs(algorithm, knobs={"knob": {"seq_len": 32}, "use": {"clock": clock}}))
        for clock in (1e9, 2e9)
    )
    assert first.workload is other.workload
    assert first.parameters is other.parameters
    assert first.key != other.key


def test_points_say_what_they_lack():
    probe, graph = (design_point(name, DesignOptions()) for name in ("tier.probe", "sdpa.naive"))
    assert graph.attending is graph.workload
    with pytest.raises(TypeError, match=r"nothing attends in a point of tier\.probe"):
        _ = probe.attending
    with pytest.raises(TypeError, match=r"a point of sdpa\.naive without a chip"):
        _ = graph.on_chip


def test_defaults_of_entries_are_those_that_were_always_used():
    defaults = {find_algorithm(name).takes: find_algorithm(name).default_workload for name in NAMES}
    assert set(defaults.values()) == {ONE_HEAD, ONE_HEAD_ON_CHIP, None}
    assert all((default is None) == ("workload" not in takes) for takes, default in defaults.items())


# --- inputs that an entry declares itself ----------------------------------------------------------------------------


@dataclass(frozen=True)
class DeployedParameters:
    model: str = field(default="small", metadata={"help": "name of a model or a file", "content": True})
    copies: int = field(default=1, metadata={"help": "number of copies"})


@dataclass(frozen=True)
class Deployed(Entry[DeployedParameters]):
    """An entry of a family of its own."""

    what: ClassVar[str] = "deploys a model"
    takes: ClassVar[frozenset[registry.Given]] = frozenset()
    keyed: ClassVar[frozenset[registry.Given]] = frozenset()


@dataclass(frozen=True)
class Picky(Entry[DeployedParameters]):
    """An entry that has no workload of its own."""

    what: ClassVar[str] = "attends to something in particular"
    takes: ClassVar[frozenset[registry.Given]] = frozenset({"workload"})
    keyed: ClassVar[frozenset[registry.Given]] = takes


@pytest.fixture
def deployed(monkeypatch, tmp_path):
    """A registered algorithm with a parameter that names files, and a folder with three of them."""
    ALGORITHMS.discover()
    monkeypatch.setattr(ALGORITHMS, "_entries", dict(ALGORITHMS._entries))
    register_algorithm("test.deploy", DeployedParameters, Deployed, Deployed)
    register_algorithm("test.picky", DeployedParameters, Picky, Picky)
    for name, text in (("a.json", "{}"), ("same.json", "{}"), ("other.yaml", "layers: 2\n")):
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def deploy(model):
    return design_point("test.deploy", DesignOptions(set_=[f"model={model}"]))


def test_files_count_by_content_and_presets_by_name(deployed):
    keys = {name: deploy(name).key for name in ("a.json", "same.json", "other.yaml", "small", "large")}
    assert keys["a.json"] == keys["same.json"] == deploy(str(deployed / "a.json")).key
    assert len(set(keys.values())) == 4
    assert deploy("small").contents == ()
    (deployed / "a.json").write_text("{} ")
    assert deploy("a.json").key != keys["a.json"]


def test_files_of_a_study_are_beside_it(deployed, monkeypatch):
    key = deploy("a.json").key
    monkeypatch.chdir("/")
    first, other = studied("algorithm: test.deploy\naxes: {model: [a.json, other.yaml]}\n", deployed)
    assert first.key == key != other.key
    assert dict(first.parameters)["model"] == str(deployed / "a.json")


def test_a_point_with_files_survives_its_description_and_knows_when_they_change(deployed):
    point = deploy("a.json")
    again = DesignPoint.from_description(json.loads(json.dumps(point.describe())))
    assert again == point
    again.refuse_changed_files()
    (deployed / "a.json").write_text("[]")
    with pytest.raises(InputError, match=r"a\.json: model: has changed since the study began"):
        again.refuse_changed_files()
    outcome = attempt(again)
    assert (outcome.status, outcome.key) == ("failed", point.key)
    assert "has changed since the study began" in outcome.error
    (deployed / "a.json").unlink()
    assert again.key == point.key
    with pytest.raises(InputError, match=r"a\.json: model: cannot be read"):
        again.refuse_changed_files()


def test_a_file_that_is_missing_is_one_line(deployed):
    with pytest.raises(InputError) as caught:
        deploy("none.json")
    assert str(caught.value) == "--set model: no such file: none.json"
    with pytest.raises(InputError) as caught:
        studied("algorithm: test.deploy\nparameters: {model: none.json}\n", deployed)
    assert str(caught.value) == f"s.yaml:2: parameters.model: no such file: {deployed}/none.json"


def test_descriptions_of_points_without_files_are_as_before():
    assert "contents" not in design_point("sdpa.naive", DesignOptions()).describe()


def test_an_entry_without_a_workload_of_its_own_wants_one_named(deployed):
    with pytest.raises(InputError) as caught:
        design_point("test.picky", DesignOptions(seq_len=4))
    assert str(caught.value) == "--workload: test.picky attends to something in particular: name one"
    with pytest.raises(InputError, match=r"s\.yaml:2: workload: test\.picky .*: name one"):
        studied("algorithm: test.picky\nworkload: {seq_len: 4}\n")
    assert design_point("test.picky", DesignOptions(workload="llama3-8b")).attending.name == "llama3-8b"


@pytest.mark.parametrize(
    "changes",
    [{}, {"hbm.bytes_per_second": "1.6 TB/s"}, {"hbm": "hbm3 x 6"}, {"core.sram_bytes": "128 KiB"}],
    ids=["as it is", "slower memory", "other stacks", "larger cores"],
)
@pytest.mark.parametrize("name", ["h100", "mi300x", "tpu_v5p"])
def test_a_chip_that_is_read_back_has_the_silicon_of_the_one_that_was_written(name, changes):
    parameters = complete_parameters(find_algorithm("decode.split_kv"), {})
    chip = load_accelerator(name).with_(**changes)
    point = DesignPoint("decode.split_kv", ONE_HEAD_ON_CHIP, parameters, timing_only=True, chip=ChipSetting(chip))
    again = DesignPoint.from_description(json.loads(json.dumps(point.describe()))).on_chip.accelerator
    assert not again.citations, "a store keeps numbers, not who stated them"
    assert area_of(again) == area_of(chip)
    assert area_of(again.with_(clock_hz="1 GHz")) == area_of(chip.with_(clock_hz="1 GHz"))
