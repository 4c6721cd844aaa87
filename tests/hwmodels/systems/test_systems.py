"""Systems read from files, and what their links say of collectives."""

import math

import pytest

from hwmodels.chips.accelerator import load_accelerator
from hwmodels.reading.errors import InputError
from hwmodels.systems.collectives import ALGORITHMS, algorithms_on, exchange_on, library_rounds, schedule
from hwmodels.systems.system import Level, Pool, System, single
from hwmodels.systems.text import load_system, system_names


@pytest.mark.parametrize("name", system_names())
def test_a_preset_joins_all_of_its_chips_and_cites_its_numbers(name):
    system = load_system(name)
    assert system.name == name
    assert system.joining(system.count)
    cited = system.sources()
    for level in system.levels:
        for field in ("rate", "efficiency", "latency"):
            assert cited[f"{level.name}.{field}"].strip()
            assert "without a source" not in cited[f"{level.name}.{field}"]


def test_prices_are_those_of_the_paper():
    assert load_system("lamina_1_2").usd_per_hour == pytest.approx(11.06 + 2 * 4.63)
    assert load_system("lamina_2_4").usd_per_hour == pytest.approx(2 * 11.06 + 4 * 4.63)


SWITCH = Level("wire", "switch", 8, 100e9, 1.0, 2e-6)


@pytest.mark.parametrize("chips", [2, 4, 8])
@pytest.mark.parametrize("collective", ALGORITHMS)
def test_bytes_on_the_wire_are_those_of_the_textbook(collective, chips):
    size = 1e6
    # Thakur, Rabenseifner, Gropp 2005, table 1; one-shot sends everything to everyone
    least = {"all_reduce": 2 * (chips - 1) / chips, "send": 1.0}.get(collective, (chips - 1) / chips)
    algorithms = list(algorithms_on(collective, chips, SWITCH))
    assert algorithms
    for name in algorithms:
        sent = schedule(collective, name, chips, size).bytes_out
        expected = (chips - 1) * size if name == "one_shot" else least * size
        if (collective, name) == ("all_to_all", "ring"):
            expected = (chips - 1) * size / 2
        assert sent == pytest.approx(expected)


def test_small_vectors_go_at_once_and_large_ones_in_parts():
    system = System("s", "", (Pool("all", load_accelerator("h100"), 8),), (SWITCH,))
    assert exchange_on(system, "all_reduce", 8, 1024).algorithm == "one_shot"
    large = exchange_on(system, "all_reduce", 8, 1e9)
    assert large.algorithm == "two_shot"
    assert large.seconds == pytest.approx(2 * 2e-6 + 2 * 7 / 8 * 1e9 / 100e9)


def test_a_ring_has_no_ways_but_around():
    ring = Level("ring", "ring", 4, 90e9, 1.0, 1e-6)
    assert algorithms_on("all_reduce", 4, ring) == ("ring",)
    made = schedule("all_reduce", "ring", 4, 4e6)
    assert made.seconds(ring) == pytest.approx(6 * (1e-6 + 1e6 / 90e9))


def test_messages_cost_time_where_few_can_be_started():
    slow = Level("wire", "switch", 8, 100e9, 1.0, 2e-6, messages_per_second=1e6)
    assert schedule("all_to_all", "direct", 8, 800).seconds(slow) == pytest.approx(2e-6 + 7e-6)


def test_a_shared_way_carries_everyones_bytes():
    shared = Level("bridge", "shared", 4, 50e9, 1.0, 1e-6)
    made = schedule("all_gather", "direct", 4, 4e6)
    assert made.seconds(shared) == pytest.approx(1e-6 + 4 * 3e6 / 50e9)


def test_switches_that_add_up_halve_what_is_sent():
    adds = Level("wire", "switch", 8, 100e9, 1.0, 2e-6, reduces=True)
    assert "in_network" in algorithms_on("all_reduce", 8, adds)
    ratio = schedule("all_reduce", "two_shot", 8, 1e9).seconds(adds) / schedule(
        "all_reduce", "in_network", 8, 1e9
    ).seconds(adds)
    assert ratio == pytest.approx(1.75, rel=0.01)


def test_between_nodes_parts_are_added_up_inside_first():
    system = load_system("superpod_h100")
    exchange = exchange_on(system, "all_reduce", 32, 64e6)
    assert exchange.algorithm.startswith("hierarchical: nvlink")
    sent = {}
    for level, size in exchange.bytes_out:
        sent[level] = sent.get(level, 0.0) + size
    assert sent["nvlink"] == pytest.approx(2 * 7 / 8 * 64e6)
    assert sent["infiniband"] == pytest.approx(2 * 3 / 4 * 8e6)


def test_a_single_chip_exchanges_nothing():
    assert exchange_on(single(load_accelerator("h100")), "all_reduce", 1, 1e9).seconds == 0.0


def test_more_chips_than_links_join_is_one_line():
    with pytest.raises(InputError, match="dgx_h100 has no link that joins 16 chips"):
        load_system("dgx_h100").joining(16)


def test_fewer_chips_keep_the_links_between_them():
    four = load_system("superpod_h100").of(4)
    assert [level.name for level in four.levels] == ["nvlink"]
    assert four.count == four.levels[0].size == 4
    assert load_system("dgx_h100").of(1).levels == ()


BAD = """name: mine
summary: mine
source: own
pools:
  - {{chip: h100, count: 8}}
levels:
  - {{name: wire, topology: switch, size: {size}, rate: 1 GB/s, efficiency: {efficiency}, latency: 1 us}}
"""


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": 4, "efficiency": 0.9}, "no link joins all 8 chips"),
        ({"size": 8, "efficiency": 1.5}, r"mine.yaml:7: levels\[0\].efficiency: must be at most 1"),
        ({"size": 1, "efficiency": 0.5}, r"mine.yaml:7: levels\[0\].size: must be a multiple"),
    ],
)
def test_a_bad_file_is_one_line_with_its_place(tmp_path, values, message):
    path = tmp_path / "mine.yaml"
    path.write_text(BAD.format(**values))
    with pytest.raises(InputError, match=message):
        load_system(path)


def test_an_unknown_system_is_answered_with_the_nearest():
    with pytest.raises(InputError, match="did you mean 'dgx_h100'"):
        load_system("dgx_h10")


def test_unlike_pools_have_no_common_chip():
    with pytest.raises(InputError, match="chips of 2 kinds"):
        _ = load_system("lamina_1_2").chip
    assert load_system("lamina_1_2").pool("attention").count == 2
    assert math.isfinite(load_system("lamina_1_2").levels[0].latency_s)


def test_a_library_takes_hops_for_small_vectors_and_one_latency_for_large_ones():
    level = load_system("dgx_h100").levels[-1]
    times = {
        (chips, size): exchange_on(load_system("dgx_h100").of(chips), "all_reduce", chips, size, library=True).seconds
        for chips in (2, 8)
        for size in (512.0, float(1 << 30))
    }
    assert times[8, 512.0] - times[2, 512.0] == pytest.approx(12 * level.library_hop_s, rel=0.01)
    wire_s = 2 * 7 / 8 * (1 << 30) / level.payload_bytes_per_second
    assert times[8, float(1 << 30)] == pytest.approx(level.library_bulk_latency_s + wire_s)
    assert library_rounds("all_to_all", 8) == 1 and library_rounds("all_gather", 8) == 7
