"""Interfaces to memory outside of a chip: published areas, whole units, what a change of bandwidth costs."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwmodels.chips.accelerator import accelerator_names, load_accelerator
from hwmodels.chips.interface_tables import interface_tables
from hwmodels.chips.interfaces import interfaces_mm2, memory_interfaces, standing_j_per_bit
from hwmodels.costs.area import area_of, family_mm2
from hwmodels.costs.energy import energy_table, full_power_w
from hwmodels.costs.energy_tables import COMPUTED_TECHNOLOGIES, energy_tables, leakage_w_per_mm2
from hwmodels.reading.bibliography import references
from hwmodels.reading.errors import InputError
from hwmodels.tiers.text import load_tier, tier_names

H100 = load_accelerator("h100")
TECHNOLOGIES = interface_tables().technologies
LINKS_AND_STORAGE = {"flash", "pcie3", "pcie4", "pcie5", "nvlink", "c2c", "serdes", "on_chip", "ideal"}


def units_of(chip):
    return {interface.tier: interface.count for interface in memory_interfaces(chip)}


def with_rate(chip, rate, **changes):
    return chip.with_(**{"hbm.bytes_per_second": rate, **changes})


# --- the table -------------------------------------------------------------------------------------------------


def test_every_memory_outside_of_a_chip_has_an_interface():
    moved = set(energy_tables().technologies) - set(COMPUTED_TECHNOLOGIES) - LINKS_AND_STORAGE
    assert set(TECHNOLOGIES) == moved


@pytest.mark.parametrize("name", TECHNOLOGIES)
def test_every_number_says_where_it_comes_from(name):
    text = TECHNOLOGIES[name]
    given_numbers = [text.width, text.pin_rate, text.phy, text.controller_transistors, text.phy_idle, text.in_energy]
    for number in [*given_numbers, *([text.idle] if text.idle else [])]:
        short = re.fullmatch(r"[A-Z0-9_]+", number.source)
        assert short is None or number.source in references(), number.source
        assert number.source or number.note


@pytest.mark.parametrize("name", [name for name, text in TECHNOLOGIES.items() if text.device])
def test_a_unit_is_as_wide_as_the_device_whose_power_it_draws(name):
    text, device = TECHNOLOGIES[name], load_tier(TECHNOLOGIES[name].device)
    transfers_per_pin = 8 * device.peak_bytes_per_second / (8 * text.width.value)
    # devices of a later bin are clocked below the technology's own rate, never above it
    assert 0.65 * text.pin_rate.value * 8 < transfers_per_pin <= 1.001 * text.pin_rate.value * 8
    assert set(text.counted_by) <= set(tier_names("dram"))
    energy, organisation = device.energy, device.organisation
    assert device.idle_w > organisation.channels * energy.background_w
    share = device.idle_w / (8 * device.peak_bytes_per_second)
    moving = energy.activate_j / (8 * organisation.row_bytes) + energy.read_j_per_bit
    moving += energy.tsv_j_per_bit + energy.io_j_per_bit + energy.phy_j_per_bit
    assert device.streamed_j_per_bit == pytest.approx(moving + share, rel=1e-9, abs=0)


def test_areas_beside_published_ones():
    hbm2e, density = TECHNOLOGIES["hbm2e"], energy_tables()
    controller_mm2 = density.transistors_mm2(hbm2e.controller_transistors.value, 7)
    # LLMCompass, table II, 7 nm: 10.45 mm2 of PHY, 5.707 mm2 of controller at its own density of N7
    assert hbm2e.phy.value == 10.45
    assert controller_mm2 == pytest.approx(5.707, rel=0.07)
    # the six interfaces of a GA100 and the eight of an Aldebaran (6 nm) by that model
    for units, node_nm, theirs in ((6, 7, 96.94), (8, 6, 122.3)):
        ours = units * (hbm2e.phy.value + density.transistors_mm2(hbm2e.controller_transistors.value, node_nm))
        assert ours == pytest.approx(theirs, rel=0.03)
    # not behind the table: ARK (MICRO 2022, table IV) takes 29.6 mm2 at 7 nm for two interfaces of HBM2E
    assert hbm2e.phy.value + controller_mm2 == pytest.approx(29.6 / 2, rel=0.15)
    assert TECHNOLOGIES["gddr6"].phy.value == pytest.approx(1.625 * 10.45 * 64 / 256, rel=1e-3)


def test_phys_keep_their_area_and_controllers_shrink():
    at = {node: memory_interfaces(H100.with_(node_nm=node))[0] for node in (7, 5, 3)}
    assert at[7].phy_mm2 == at[5].phy_mm2 == at[3].phy_mm2
    assert at[7].controller_mm2 > at[5].controller_mm2 > at[3].controller_mm2


# --- how many --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "units"),
    [
        ("a100_80g", {"hbm": 5}),
        ("a100_40g", {"hbm": 5}),
        ("h100", {"hbm": 5}),
        ("h100_pcie", {"hbm": 5}),
        ("h200", {"hbm": 6}),
        ("h20", {"hbm": 6}),
        ("b200", {"hbm": 8}),
        ("mi300x", {"hbm": 8}),
        ("tpu_v5e", {"hbm": 3}),
        ("tpu_v5p", {"hbm": 6}),
        ("sn40l", {"hbm": 4, "ddr": 2}),
        ("orin", {"lpddr": 16}),
        # its 43 channels are of LPDDR5-6400, the part has 32 of LPDDR5X-8533
        ("m4_max", {"lpddr": 32}),
        ("n150", {"gddr": 6}),
        ("groq", {}),
        ("wse3", {}),
        ("abstract_streaming_dataflow", {}),
    ],
)
def test_shipped_chips_have_the_interfaces_of_the_parts(name, units):
    assert units_of(load_accelerator(name)) == units


@pytest.mark.parametrize(
    ("rate", "stacks"),
    [
        ("0.8 TB/s", 1),
        ("0.82 TB/s", 1),
        ("1.6 TB/s", 2),
        ("2.6 TB/s", 4),
        ("4 TB/s", 5),
        ("4.8 TB/s", 6),
        ("6.4 TB/s", 8),
    ],
)
def test_another_bandwidth_takes_whole_stacks(rate, stacks):
    chip = with_rate(H100, rate)
    (interface,) = memory_interfaces(chip)
    assert interface.count == stacks and interface.unit == "stack"
    assert interface.bytes_per_second_each == chip.memory.bytes_per_second / stacks
    assert chip.memory.count == H100.memory.count, "what times are simulated with stays"


def test_width_and_rate_of_a_pin_can_be_traded():
    assert units_of(with_rate(H100, "6.4 TB/s", **{"hbm.technology": "hbm3e"})) == {"hbm": 6}
    assert units_of(with_rate(H100, "6.4 TB/s", **{"hbm.technology": "hbm4"})) == {"hbm": 4}
    assert units_of(with_rate(H100, "1.6 TB/s", **{"hbm.count": 5})) == {"hbm": 5}
    assert units_of(with_rate(H100, "1.6 TB/s", **{"hbm.count": 1})) == {"hbm": 2}, "pins have a fastest rate"
    wide = memory_interfaces(with_rate(H100, "1.6 TB/s", **{"hbm.count": 8}))[0]
    assert wide.area_mm2 == pytest.approx(memory_interfaces(with_rate(H100, "6.4 TB/s"))[0].area_mm2)


def test_a_bandwidth_set_to_what_it_is_changes_nothing():
    h200 = load_accelerator("h200")
    same = with_rate(h200, "4.8 TB/s")
    assert units_of(same) == units_of(h200) == {"hbm": 6}
    assert same.sources() == h200.sources() and area_of(same).published
    assert units_of(with_rate(h200, "4.7 TB/s")) == {"hbm": 4}


RATES = st.floats(1e9, 2e13)


@settings(max_examples=80, deadline=None)
@given(RATES, RATES, st.sampled_from(sorted(TECHNOLOGIES)))
def test_more_bandwidth_is_never_cheaper(first, second, technology):
    slow, fast = (
        H100.with_(**{"hbm.bytes_per_second": r, "hbm.technology": technology}) for r in sorted((first, second))
    )
    assert interfaces_mm2(slow) <= interfaces_mm2(fast)
    assert area_of(slow).die_mm2 <= area_of(fast).die_mm2
    assert energy_table(slow).waiting_w <= energy_table(fast).waiting_w
    assert full_power_w(slow)["hbm"] <= full_power_w(fast)["hbm"]


def test_a_file_on_a_base_takes_the_stacks_of_its_own_memory(tmp_path):
    def chip_of(text):
        (tmp_path / "own.yaml").write_text(f"base: h100\n{text}", encoding="utf-8")
        return load_accelerator(tmp_path / "own.yaml")

    slower = chip_of("tiers: {hbm: {bytes_per_second: 1.6 TB/s}}\n")
    assert units_of(slower) == {"hbm": 2} and slower.area_mm2 is None
    little_faster = chip_of("tiers: {hbm: {bytes_per_second: 4 TB/s}}\n")
    assert units_of(little_faster) == {"hbm": 5} and little_faster.area_mm2 == 814
    stated = chip_of("tiers: {hbm: {bytes_per_second: 1.6 TB/s, count: 4}}\n")
    assert units_of(stated) == {"hbm": 4} and stated.area_mm2 is None
    assert units_of(chip_of("tiers: {hbm: {latency_s: 300 ns}}\n")) == {"hbm": 5}


# --- what they cost --------------------------------------------------------------------------------------------


def test_the_die_grows_by_the_interfaces_alone():
    base, fast = area_of(H100), area_of(with_rate(H100, "6.4 TB/s"))
    each_mm2 = memory_interfaces(H100)[0].area_mm2 / 5
    assert 14 < each_mm2 < 15
    assert not fast.published and fast.die_mm2 == pytest.approx(814 + 3 * each_mm2)
    assert {n: a for n, a in fast.components.items() if not n.startswith("memory")} == {
        n: a for n, a in base.components.items() if not n.startswith("memory")
    }
    waiting = energy_table(with_rate(H100, "6.4 TB/s")).waiting_w - energy_table(H100).waiting_w
    assert waiting == pytest.approx(3 * (TECHNOLOGIES["hbm3"].idle_w + each_mm2 * leakage_w_per_mm2(5)))


def test_the_stated_die_of_ones_own_chip_holds_until_its_memory_changes(tmp_path):
    (tmp_path / "own.yaml").write_text("base: h100\narea_mm2: 700\n", encoding="utf-8")
    own = load_accelerator(tmp_path / "own.yaml")
    assert area_of(own).die_mm2 == area_of(own.with_(clock_hz="2 GHz")).die_mm2 == 700
    slower = area_of(with_rate(own, "1.6 TB/s"))
    assert not slower.published and slower.die_mm2 == family_mm2(with_rate(own, "1.6 TB/s"))
    assert area_of(with_rate(own, "1.6 TB/s", area_mm2=690)).die_mm2 == 690, "an area set by hand stays"


@pytest.mark.parametrize("name", accelerator_names())
def test_published_dies_and_design_powers_hold_interfaces_and_idle_memory(name):
    chip = load_accelerator(name)
    area, table = area_of(chip), energy_table(chip)
    if area.published:
        assert area.modelled_mm2 < area.die_mm2
        # the family's dies are told beside it
        assert 0.5 < family_mm2(chip) / area.die_mm2 < 1.5
    if chip.power_w is not None:
        assert table.waiting_w < 0.5 * chip.power_w
    assert set(table.idle_w) == (set() if chip.kind == "fpga" else set(units_of(chip)))
    for interface in memory_interfaces(chip):
        if chip.kind != "fpga":
            assert table.idle_w[interface.tier] == interface.phy_idle_w + interface.device_idle_w
            assert interface.device_idle_w > interface.phy_idle_w > 0


@pytest.mark.parametrize("technology", TECHNOLOGIES)
def test_idle_power_is_in_the_energy_of_a_bit_or_in_the_time_but_not_in_both(technology):
    text, quoted = TECHNOLOGIES[technology], energy_tables().technologies[technology].value
    rate = 4 * text.bytes_per_second
    chip = H100.with_(**{"hbm.bytes_per_second": rate, "hbm.technology": technology})
    table = energy_table(chip)
    at_full_rate = table.moved_j_per_bit["hbm"] + table.idle_w["hbm"] / (8 * rate)
    assert units_of(chip) == {"hbm": 4}
    if text.in_energy.value:
        assert at_full_rate == pytest.approx(quoted)
        assert 0 < standing_j_per_bit(technology) < 0.5 * quoted
    else:
        assert table.moved_j_per_bit["hbm"] == quoted and standing_j_per_bit(technology) == 0
        assert at_full_rate < 1.1 * quoted


def test_what_a_board_states_has_its_memory_in_it():
    board = load_accelerator("u280")
    assert not energy_table(board).idle_w
    assert energy_table(board).moved_j_per_bit["ddr"] == energy_tables().technologies["ddr4"].value


def test_a_memory_is_set_as_a_whole_by_standard_and_stacks():
    h100 = load_accelerator("h100")
    chip = h100.with_(hbm="hbm3e x 4")
    each = interface_tables().technologies["hbm3e"].bytes_per_second
    assert (chip.memory.technology, chip.memory.count) == ("hbm3e", 4)
    assert chip.memory.bytes_per_second == pytest.approx(4 * each)
    assert chip.memory.capacity_bytes == 4 * load_tier("hbm3e").capacity_bytes
    (interface,) = [each for each in memory_interfaces(chip) if each.tier == "hbm"]
    assert interface.count == 4
    assert h100.with_(**dict(chip.changes)) == chip, "the changes say all of it"
    again = chip.with_(**{"hbm.bytes_per_second": 1e12}).with_(hbm="hbm2e x 2")
    assert again.changes == (("hbm", "hbm2e x 2"),)
    assert again.memory.bytes_per_second == pytest.approx(2 * interface_tables().technologies["hbm2e"].bytes_per_second)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hbm.count": 2}, "2 stacks of hbm3 deliver 1.64 TB/s, not the 3.35 TB/s of h100_sxm5_80g"),
        (
            {"hbm.technology": "hbm2e"},
            "5 stacks of hbm2e deliver 2.3 TB/s, not the 3.35 TB/s of h100_sxm5_80g; hbm: hbm2e x 5 sets bandwidth",
        ),
        ({"hbm": "hbm3"}, "must be TECHNOLOGY x COUNT such as 'hbm3e x 5'"),
        ({"hbm": "hbm9 x 2"}, "unknown technology 'hbm9'"),
    ],
)
def test_a_memory_that_cannot_be_is_refused(changes, words):
    with pytest.raises(InputError, match=re.escape(words)):
        load_accelerator("h100").with_(**changes)


def test_a_bandwidth_beyond_the_stacks_may_be_asked_for_by_name():
    chip = load_accelerator("h100").with_(**{"hbm.count": 2, "hbm.bytes_per_second": 3e12})
    assert (chip.memory.count, chip.memory.bytes_per_second) == (2, 3e12)
