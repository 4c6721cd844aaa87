"""What bandwidth costs in fronts of time and area: the largest is no longer chosen always."""

from pathlib import Path

import pytest

import studies
from hwmodels.chips.accelerator import load_accelerator
from hwmodels.costs.energy import energy_table
from studies import Study
from studies.search.pareto import non_dominated

STUDY = Path(studies.__file__).parent / "configs" / "bandwidth-cores.yaml"
RATE, CORES = "chip.hbm.bytes_per_second", "chip.cores"
PREFILL = (
    ("algorithm: decode.split_kv", "algorithm: flash.q_outer"),
    ("phase: decode, batch: 16, q_len: 1, kv_len", "seq_len"),
)


def front_of(table, *, free):
    """Front of time and area; with memory interfaces that cost nothing if `free`."""
    area = table["area_mm2"] - (table["area.memory_interface_mm2"] if free else 0)
    return table[non_dominated(table.assign(area=area)[["seconds", "area"]].to_numpy())]


def swept(text, folder):
    (folder / "s.yaml").write_text(text, encoding="utf-8")
    table = Study.from_yaml(folder / "s.yaml").sweep(folder / "s.sqlite", jobs=0).frame()
    assert (table["state"] == "done").all() and len(table) == 42
    return table


@pytest.fixture(scope="module")
def decoding(tmp_path_factory):
    return swept(STUDY.read_text(encoding="utf-8"), tmp_path_factory.mktemp("decode"))


def test_bandwidth_that_costs_nothing_would_always_be_the_largest(decoding):
    assert set(front_of(decoding, free=True)[RATE]) == {6.4e12}


def test_decoding_pays_for_as_many_stacks_as_its_cores_can_use(decoding):
    front = front_of(decoding, free=False)
    assert set(front[RATE]) == set(decoding[RATE]), "every bandwidth is best at some area"
    assert front["seconds"].idxmin() in front.index[front[RATE] == 6.4e12]
    few = decoding[decoding[CORES] == 66].set_index(RATE)
    assert few.loc[6.4e12, "seconds"] > 0.95 * few.loc[4.8e12, "seconds"], "66 cores do not read faster"
    # at the least area only the number of stacks is left to choose
    assert front["area_mm2"].min() == few.loc[0.8e12, "area_mm2"]
    assert len(front) < len(decoding) / 3


def test_prefill_gains_nothing_from_most_of_the_bandwidth(tmp_path):
    text = STUDY.read_text(encoding="utf-8")
    for old, new in PREFILL:
        assert old in text
        text = text.replace(old, new)
    table = swept(text, tmp_path)
    front = front_of(table, free=False)
    assert (front[RATE] <= 3.35e12).mean() > 0.7
    least = table[table[RATE] == 1.6e12].set_index(CORES)
    most = table[table[RATE] == 6.4e12].set_index(CORES)
    assert (least["seconds"] < 1.06 * most["seconds"]).all()
    assert (least["area_mm2"] < 0.94 * most["area_mm2"]).all()
    assert (least["energy_j"] < most["energy_j"]).all(), "stacks that wait draw power, too"


def test_area_and_idle_power_are_metrics_of_a_point(decoding):
    point = decoding[(decoding[CORES] == 132) & (decoding[RATE] == 3.35e12)].iloc[0]
    h100 = load_accelerator("h100")
    assert point["area_mm2"] == h100.area_mm2
    assert point["area.memory_interface_mm2"] == pytest.approx(72.25, rel=1e-3)
    assert point["power.idle_w"] == energy_table(h100).waiting_w
    per_stack = decoding.groupby(RATE)["area.memory_interface_mm2"].unique().map(lambda found: found[0] / 14.4496)
    assert per_stack.round(3).to_list() == [1, 2, 3, 5, 6, 8]
