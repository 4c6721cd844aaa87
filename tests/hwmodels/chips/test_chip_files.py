"""A user's own chip files: plain numbers, bases, what faults are told, and the schema for editors."""

from importlib import resources
from pathlib import Path

import pytest

from hwmodels.chips.accelerator import accelerator_names, accelerator_schema, load_accelerator
from hwmodels.costs.area import area_of
from hwmodels.costs.energy import energy_table
from hwmodels.reading.cited import UNCITED
from hwmodels.reading.documents import read_text
from hwmodels.reading.errors import InputError

OWN_CHIP = Path(__file__).parent / "own_chip.yaml"


def problems_of(tmp_path, text):
    path = tmp_path / "chip.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_accelerator(path)
    return [str(problem).replace(str(path), "chip.yaml") for problem in caught.value.problems]


def test_a_short_file_is_a_chip():
    chip = load_accelerator(OWN_CHIP)
    assert chip.peak_flops_per_second("bfloat16") == 16 * 2048 * 1e9
    assert chip.memory.name == "lpddr"
    assert chip.sources()["cores"] == UNCITED
    assert chip.sources()["lpddr.bytes_per_second"].startswith("JESD209-5")
    assert len(OWN_CHIP.read_text(encoding="utf-8").splitlines()) <= 32


def test_a_file_can_start_from_a_preset(tmp_path):
    path = tmp_path / "more.yaml"
    path.write_text(
        "name: h100_more\nbase: h100\ncores: 200\ntiers:\n  hbm: {bytes_per_second: 8 TB/s}\n"
        "core:\n  matrix_flops_per_cycle: {int4: 16384}\n"
    )
    chip, base = load_accelerator(path), load_accelerator("h100")
    assert (chip.name, chip.cores, chip.memory.bytes_per_second) == ("h100_more", 200, 8e12)
    assert dict(chip.core.matrix_flops_per_cycle) == {**base.core.matrix_flops_per_cycle, "int4": 16384}
    assert chip.memory.capacity_bytes == base.memory.capacity_bytes
    assert chip.sources()["hbm.bytes_per_second"] == UNCITED
    assert chip.sources()["hbm.latency_s"] == base.sources()["hbm.latency_s"]


def test_a_changed_die_does_not_keep_the_area_of_its_base(tmp_path):
    def chip_of(text, name="small.yaml"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return load_accelerator(tmp_path / name)

    base = load_accelerator("h100")
    small, faster = chip_of("base: h100\ncores: 10\n"), chip_of("base: h100\nclock_hz: 2 GHz\n")
    by_path = base.with_(cores=10)
    assert (small.name, small.area_mm2) == ("small", None)
    assert "area_mm2" not in small.sources()
    assert area_of(small).die_mm2 == pytest.approx(area_of(by_path).die_mm2, rel=0.25)
    assert energy_table(small).static_w == pytest.approx(energy_table(by_path).static_w, rel=0.25)
    assert faster.area_mm2 == base.area_mm2
    assert chip_of("base: h100\ncores: 10\narea_mm2: 200\n").area_mm2 == 200
    assert load_accelerator("h20").area_mm2 == base.area_mm2


def test_faults_are_told_with_their_lines_all_at_once(tmp_path):
    text = OWN_CHIP.read_text(encoding="utf-8")
    text = text.replace("cores: 16", "cores: 0").replace("1 GHz", "1 GB").replace("  exp_per_cycle: 16\n", "")
    text = text.replace("technology: lpddr5", "technology: lpdr5").replace("matrix_rows", "matrix_row")
    assert problems_of(tmp_path, text) == [
        "chip.yaml:6: clock_hz: must be a quantity in Hz such as '1.755 GHz' (got '1 GB')",
        "chip.yaml:7: cores: must be at least 1 (got 0)",
        "chip.yaml:8: core.matrix_rows: required key is missing",
        "chip.yaml:8: core.exp_per_cycle: required key is missing",
        "chip.yaml:10: core.matrix_row: unknown key; did you mean 'matrix_rows'?",
        "chip.yaml:26: tiers.lpddr.technology: unknown technology 'lpdr5'; did you mean 'lpddr5'?",
    ]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("clock_hz: 1 GHz", "clock_hz: 0 Hz", "chip.yaml:6: clock_hz: must be greater than 0 (got 0)"),
        ("level: memory", "level: cache", "chip.yaml:18: tiers: at least one tier must have level 'memory'"),
        ("bfloat16: 2048", "bfloat61: 2048", "did you mean 'bfloat16'?"),
        ("  lpddr:", "  cores:", "chip.yaml:25: tiers.cores: is the name of a field"),
        ("51.2 GB/s", "0 B/s", "chip.yaml:29: tiers.lpddr.bytes_per_second: must be greater than 0 (got 0)"),
        ("kind: custom", "kind: gpuu", "chip.yaml:3: kind: must be 'gpu'"),
        ("kind: custom", "kind: custom\nbase: h10", "chip.yaml:4: base: unknown chip 'h10'; did you mean 'h100'?"),
        ("matrix_rows: 1", "matrix_rows: true", "chip.yaml:10: core.matrix_rows: must be a number (got true)"),
        ("exp_per_cycle: 16", "exp_per_cycle: 1e-300", "chip.yaml:14: core.exp_per_cycle: must be at least 1e-06"),
        ("latency_s: 100 ns", "latency_s: 1e30 s", "tiers.lpddr.latency_s: must be at most 1000 (got 1e+30)"),
        ("latency_s: 100 ns", "latency_s: 100 m", "did you mean '100 ms'?"),
        ("cores: 16", "cores: 9999999999999999999", "chip.yaml:7: cores: must be at most 1e+08"),
        ("latency_s: 100 ns", "latency_s: 100", "latency_s: 100 without a unit is 100 s: write '100 ns', or '100 s'"),
        ("name: own_chip", "name: ''", "chip.yaml:2: name: "),
        ('source: "JESD', 'sorce: "JESD', "unknown key; did you mean 'source'?"),
        ("51.2 GB/s, source", "51.2 GB/s, assumption: maybe, source", "chip.yaml:29: tiers.lpddr.bytes_per_second"),
    ],
)
def test_one_fault_is_one_line(tmp_path, old, new, line):
    text = OWN_CHIP.read_text(encoding="utf-8")
    assert old in text
    problems = problems_of(tmp_path, text.replace(old, new, 1))
    assert any(line in problem for problem in problems), problems


def test_a_missing_file_is_told_by_name():
    with pytest.raises(InputError, match=r"^nowhere/chip\.yaml: no such file$"):
        load_accelerator("nowhere/chip.yaml")


@pytest.fixture(scope="module")
def validator():
    jsonschema = pytest.importorskip("jsonschema", reason="the schema is checked with the jsonschema package")
    jsonschema.Draft202012Validator.check_schema(accelerator_schema())
    return jsonschema.Draft202012Validator(accelerator_schema())


@pytest.mark.parametrize("name", ["own_chip", *accelerator_names()])
def test_the_schema_for_editors_takes_what_the_loader_takes(validator, name):
    folder = resources.files("hwmodels.chips") / "presets"
    path = OWN_CHIP if name == "own_chip" else folder / f"{name}.yaml"
    data = read_text(path.read_text(encoding="utf-8"), name).data
    assert [error.message for error in validator.iter_errors(data)] == []


def test_the_schema_refuses_what_the_loader_refuses(validator):
    data = read_text(OWN_CHIP.read_text(encoding="utf-8"), "own_chip").data
    assert not validator.is_valid({**data, "corse": 3})
    assert not validator.is_valid({**data, "core": {**data["core"], "exp_per_cycl": 3}})
    assert not validator.is_valid({key: value for key, value in data.items() if key != "cores"})
    assert not validator.is_valid({**data, "cores": {"source": "a paper"}})
    assert not validator.is_valid({**data, "kind": "gpuu"})
