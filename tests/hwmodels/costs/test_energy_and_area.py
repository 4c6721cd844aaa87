"""Energies and areas: published points, how they move with node and size, ceilings."""

from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwmodels.chips.accelerator import accelerator_names, load_accelerator
from hwmodels.chips.compute import FORMAT_BITS, Rates
from hwmodels.chips.interfaces import interfaces_mm2, standing_j_per_bit
from hwmodels.costs.area import area_of, die_factor, family_mm2
from hwmodels.costs.energy import energy_table, full_power_w, mac_energy_j
from hwmodels.costs.energy_tables import energy_tables, sram_mm2_per_byte
from hwmodels.reading.errors import InputError

approx = partial(pytest.approx, rel=1e-6, abs=0)
"""Without an allowance of 1e-12, which is more than many an energy in joules."""

OWN_CHIP = Path(__file__).parents[1] / "chips" / "own_chip.yaml"


@pytest.mark.parametrize(
    ("operand_format", "node_nm", "picojoules"),
    [
        ("float16", 7, 0.72),
        ("bfloat16", 7, 0.59),
        ("int8", 7, 0.10),
        ("float32", 7, 1.69),
        ("float16", 45, 2.0),
        ("float32", 45, 4.6),
        ("int8", 45, 0.3),
        ("float16", 5, 0.72 * 0.725),
    ],
)
def test_multiply_accumulates_at_published_nodes(operand_format, node_nm, picojoules):
    assert mac_energy_j(operand_format, node_nm) == approx(picojoules * 1e-12, rel=1e-9)


@pytest.mark.parametrize(
    ("kibibytes", "node_nm", "picojoules"),
    [(8, 7, 0.117), (32, 7, 0.133), (1024, 7, 0.219), (8, 45, 0.156), (32, 45, 0.3125), (1024, 45, 1.5625)],
)
def test_sram_accesses_at_published_points(kibibytes, node_nm, picojoules):
    fitted = energy_tables().sram_j_per_bit(kibibytes * 1024, node_nm)
    assert fitted == approx(picojoules * 1e-12, rel=0.10)


def test_a_multiply_accumulate_is_below_what_the_whole_h100_spends_on_one():
    chip = load_accelerator("h100")
    table = energy_table(chip)
    for operand_format, whole_chip in (("bfloat16", 1.42e-12), ("float8_e4m3", 0.71e-12)):
        ceiling = chip.power_w / (chip.peak_flops_per_second(operand_format) / 2)
        assert ceiling == approx(whole_chip, rel=0.01)
        assert 0 < 2 * table.matmul_j_per_flop(operand_format) < ceiling


def test_formats_that_the_array_lacks_cost_what_they_run_as():
    table = energy_table(load_accelerator("a100"))
    assert table.matmul_j_per_flop("float8_e4m3") == table.matmul_j_per_flop("float16")
    with pytest.raises(InputError, match=r"a100_sxm4_80g has no products of 'float64'"):
        table.matmul_j_per_flop("float64")


def test_what_the_source_of_a_chip_states_goes_first():
    table = energy_table(load_accelerator("flat_cloud"))
    assert table.sram_j_per_byte == approx(8e-12)
    assert table.tier_j_per_byte("dram") == approx(80e-12)
    assert "zigzag-llm" in dict(table.sources)["dram.j_per_bit"]
    with pytest.raises(InputError, match=r"has no tier or link 'drm'; did you mean 'dram'\?"):
        table.tier_j_per_byte("drm")


def test_a_stated_product_energy_holds_for_what_runs_in_that_format(tmp_path):
    path = tmp_path / "stated.yaml"
    path.write_text("name: mine\nbase: flat_cloud\nenergy: {mac_j: {bfloat16: {value: 2 pJ, source: a paper}}}\n")
    table = energy_table(load_accelerator(path))
    assert table.matmul_j_per_flop("bfloat16") == table.matmul_j_per_flop("float16") == 1e-12
    assert dict(table.sources)["mac_j.float16"] == "a paper"
    assert table.matmul_j_per_flop("int8") == mac_energy_j("int8", 7) / 2


@pytest.mark.parametrize("name", accelerator_names())
def test_every_chip_has_energies_with_sources_and_a_sensible_order(name):
    table = energy_table(load_accelerator(name))
    chip = load_accelerator(name)
    values = table.values()
    sources = dict(table.sources)
    assert set(values) == set(sources)
    assert all(sources.values())
    assert all(value > 0 for path, value in values.items() if "ideal" not in path)
    assert table.register_j_per_bit <= table.sram_j_per_bit
    for near, far in pairwise(chip.tiers):
        assert table.tier_j_per_byte(far.name) > table.tier_j_per_byte(near.name)
    for tier in chip.tiers:
        if tier.technology not in ("core_sram", "ideal"):
            assert table.tier_j_per_byte(tier.name) > table.sram_j_per_byte


@pytest.mark.parametrize("name", ["a100", "h100", "h200", "orin", "n150", "u280"])
def test_full_power_is_within_twice_the_design_power(name):
    chip = load_accelerator(name)
    total = sum(full_power_w(chip, "float16").values())
    assert chip.power_w / 3 < total < 2 * chip.power_w


NODES = st.floats(3, 45)


@settings(max_examples=60, deadline=None)
@given(NODES, NODES, st.sampled_from(sorted(FORMAT_BITS)), st.floats(1024, 2**27))
def test_energies_and_areas_never_grow_as_the_node_shrinks(first, second, operand_format, sram_bytes):
    small, large = sorted((first, second))
    tables = energy_tables()
    assert mac_energy_j(operand_format, small) <= mac_energy_j(operand_format, large) * (1 + 1e-12)
    assert tables.sram_j_per_bit(sram_bytes, small) <= tables.sram_j_per_bit(sram_bytes, large) * (1 + 1e-12)
    assert tables.operator_mm2("float16_multiply", small) <= tables.operator_mm2("float16_multiply", large) * (
        1 + 1e-12
    )
    assert sram_mm2_per_byte(small) <= sram_mm2_per_byte(large) * (1 + 1e-12)


@settings(max_examples=60, deadline=None)
@given(NODES, st.floats(1024, 2**27), st.floats(1024, 2**27))
def test_larger_memories_cost_more_per_access(node_nm, first, second):
    small, large = sorted((first, second))
    assert energy_tables().sram_j_per_bit(small, node_nm) <= energy_tables().sram_j_per_bit(large, node_nm)


def test_wider_formats_cost_more():
    for narrow, wide in (
        ("int4", "int8"),
        ("int8", "int16"),
        ("float4_e2m1", "float8_e4m3"),
        ("float8_e4m3", "bfloat16"),
    ):
        assert mac_energy_j(narrow, 7) < mac_energy_j(wide, 7)
    assert (
        mac_energy_j("bfloat16", 7)
        < mac_energy_j("float16", 7)
        < mac_energy_j("float32", 7)
        < mac_energy_j("float64", 7)
    )


@pytest.mark.parametrize("node_nm", [45, 7, 5])
def test_formats_between_the_published_ones_follow_from_them(node_nm):
    """Energies of multipliers follow a power law of their width: 16 bits lie at the geometric mean of 8 and 32."""
    table = energy_tables()
    narrow, wide = (table.operation_j(f"int{bits}_multiply", node_nm) for bits in (8, 32))
    add, step = table.operation_j("int32_add", node_nm), (wide / narrow) ** 0.5
    assert mac_energy_j("int16", node_nm) == approx(narrow * step + add)
    assert mac_energy_j("int4", node_nm) == approx(narrow / step + add)
    assert mac_energy_j("float64", node_nm) == approx(4 * mac_energy_j("float32", node_nm))
    assert mac_energy_j("float4_e2m1", node_nm) == approx(mac_energy_j("float8_e4m3", node_nm) / 2)


def test_a_vector_operation_is_half_of_a_float32_multiply_add():
    table = energy_table(load_accelerator("h100"))
    assert 2 * table.vector_j_per_flop == approx(mac_energy_j("float32", 5)) == table.mac_j["float32"]


def test_stated_idle_power_goes_first(tmp_path):
    path = tmp_path / "stated.yaml"
    path.write_text("name: mine\nbase: h100\nenergy: {static_w: {value: 3 W, source: a paper}}\n")
    table = energy_table(load_accelerator(path))
    assert table.static_w == 3
    assert dict(table.sources)["static_w"] == "a paper"


def test_sources_say_what_was_computed_and_how():
    h100, u280, l40s = (dict(energy_table(load_accelerator(name)).sources) for name in ("h100", "u280", "l40s"))
    assert h100["mac_j.float16"] == "energy_tables.yaml at 5 nm"
    assert h100["mac_j.int8"] == "energy_tables.yaml at 5 nm, run as float16"
    assert u280["mac_j.int8"] == "energy_tables.yaml at 16 nm, FPGA fabric"
    assert h100["register_j_per_bit"].endswith("banks of 8 KiB")
    assert h100["l2.j_per_bit"].endswith("5 nm, 50 MiB")
    picojoules = standing_j_per_bit("gddr6") * 1e12
    assert 0.001 < picojoules < 10
    assert l40s["memory.j_per_bit"].endswith(f", without the {picojoules:.3g} pJ/bit of its idle power")


def test_array_and_memory_sizes_move_area_energy_and_power():
    chip = load_accelerator(OWN_CHIP)
    area, table = area_of(chip), energy_table(chip)
    larger_memory = chip.with_(**{"core.sram_bytes": "1 MiB"})
    larger_array = chip.with_(**{"core.array": "64x64"})
    assert area_of(larger_memory).components["sram"] == approx(4 * area.components["sram"])
    assert area_of(larger_memory).components["matrix"] == area.components["matrix"]
    assert energy_table(larger_memory).sram_j_per_byte > table.sram_j_per_byte
    assert area_of(larger_array).components["matrix"] == approx(4 * area.components["matrix"])
    assert area_of(larger_array).die_mm2 > area.die_mm2
    assert energy_table(larger_array).static_w > table.static_w
    assert energy_table(larger_array).matmul_j_per_flop("bfloat16") == table.matmul_j_per_flop("bfloat16")
    shrunk = chip.with_(node_nm=5)
    assert area_of(shrunk).modelled_mm2 < area.modelled_mm2
    assert energy_table(shrunk).matmul_j_per_flop("bfloat16") < table.matmul_j_per_flop("bfloat16")


@pytest.mark.parametrize(
    ("component", "field"),
    [
        ("matrix", "cores"),
        ("vector", "cores"),
        ("vector", "core.vector_flops_per_cycle"),
        ("exp", "cores"),
        ("exp", "core.exp_per_cycle"),
        ("sram", "cores"),
        ("registers", "cores"),
        ("registers", "core.register_bytes"),
        ("caches", "l2.capacity_bytes"),
    ],
)
def test_twice_as_much_of_a_part_is_twice_its_area(component, field):
    chip = load_accelerator("h100")
    before = area_of(chip).components[component]
    assert before > 0
    assert area_of(chip.with_(**{field: 2 * chip.values()[field]})).components[component] == approx(2 * before)


def test_areas_are_those_of_the_operators():
    """A multiply-accumulate is two operations; four-bit floats share a multiplier of eight bits."""
    chip, table = load_accelerator(OWN_CHIP), energy_tables()

    def mac_mm2(*names: str) -> float:
        return sum(table.operator_mm2(name, 7) for name in names)

    bfloat16, int8 = mac_mm2("float16_multiply", "float32_add"), mac_mm2("int8_multiply", "int32_add")
    parts = area_of(chip).components
    assert parts["matrix"] == approx(16 * max(2048 / 2 * bfloat16, 4096 / 2 * int8))
    assert parts["vector"] == approx(16 * 64 / 2 * mac_mm2("float32_multiply", "float32_add"))
    four_bit = replace(chip.core, matrix_flops_per_cycle=Rates.of({"float4_e2m1": 8192.0}))
    narrow = area_of(replace(chip, core=four_bit)).components["matrix"]
    assert narrow == approx(16 * 8192 / 2 * mac_mm2("int8_multiply", "float16_add") / 2)


def test_accumulators_take_the_area_of_as_many_registers():
    chip = load_accelerator("h100")
    registers = chip.core.register_bytes
    before = area_of(chip).components["registers"]
    both = area_of(chip.with_(**{"core.accumulator_bytes": registers})).components["registers"]
    assert both == approx(before * 2 * registers / (registers + chip.core.accumulator_bytes))
    assert both > before


def test_a_format_at_the_rate_of_the_vector_lanes_needs_no_array_unless_it_is_the_only_one(tmp_path):
    rest = "core: {matrix_flops_per_cycle: {bfloat16: RATE}, matrix_rows: 1, matrix_columns: 32, matrix_depth: 32, "
    rest += "vector_flops_per_cycle: 64, exp_per_cycle: 16, sram_bytes: 256 KiB, sram_bytes_per_cycle: 256, "
    rest += "register_bytes: 4 KiB}\ntiers: {lpddr: {level: memory, technology: lpddr5, capacity_bytes: 16 GB, "
    rest += "bytes_per_second: 51.2 GB/s, latency_s: 100 ns}}\n"
    areas = {}
    for rate in (64, 2048):
        text = "name: x\nkind: custom\nsummary: x\nnode_nm: 7\nclock_hz: 1 GHz\ncores: 16\n" + rest
        (tmp_path / "x.yaml").write_text(text.replace("RATE", str(rate)))
        areas[rate] = area_of(load_accelerator(tmp_path / "x.yaml")).components["matrix"]
    assert areas[64] == approx(areas[2048] / 32) and areas[64] > 0
    h100 = load_accelerator("h100")
    matrix = area_of(h100).components["matrix"]
    slower = h100.with_(**{"core.matrix_flops_per_cycle.float32": h100.core.vector_flops_per_cycle / 2})
    assert area_of(slower).components["matrix"] == matrix
    own = load_accelerator(OWN_CHIP)
    rates = [{"int8": 128.0}, {"int8": 128.0, "float32": own.core.vector_flops_per_cycle}]
    alone, beside = (replace(own.core, matrix_flops_per_cycle=Rates.of(each)) for each in rates)
    assert area_of(replace(own, core=beside)).components == area_of(replace(own, core=alone)).components


def test_the_source_of_local_memory_says_how_much_is_behind_an_access():
    sources = [source for _, source in energy_table(load_accelerator("h100")).sources]
    assert any(source.endswith("228 KiB per access") for source in sources), sources


def test_published_dies_are_kept_until_the_design_changes():
    chip = load_accelerator("h100")
    assert area_of(chip).die_mm2 == 814 and area_of(chip).published
    assert area_of(chip.with_(**{"hbm.bytes_per_second": "4 TB/s"})).published
    half = area_of(chip.with_(cores=66))
    assert not half.published
    # the cores' part is halved, the L2 stays
    assert 814 / 2 < half.die_mm2 < 814
    assert area_of(chip.with_(cores=132)).die_mm2 == approx(814)
    assert area_of(chip.with_(cores=66, area_mm2=500)).die_mm2 == 500
    assert not area_of(chip.with_(**{"core.array": "64x64"})).published


@pytest.mark.parametrize("name", ["flat_cloud", "b200"])
def test_a_chip_called_as_a_preset_without_a_published_die_is_estimated_by_its_family(tmp_path, name):
    path = tmp_path / "own.yaml"
    path.write_text(f"name: {name}\nbase: {name}\narea_mm2: 2000\n")
    half = load_accelerator(path).with_(cores=1)
    assert not area_of(half).published
    assert area_of(half).die_mm2 == family_mm2(half) > 0
    assert energy_table(half).static_w > 0


def test_a_chip_whose_memory_is_its_cores_has_no_interfaces_to_memory():
    assert not {"memory_phy", "memory_controller"} & set(area_of(load_accelerator("groq_lpu1")).components)
    assert {"memory_phy", "memory_controller"} <= set(area_of(load_accelerator("h100")).components)


def test_components_are_a_part_of_every_published_die():
    for name in accelerator_names():
        area = area_of(load_accelerator(name))
        if area.published:
            assert area.modelled_mm2 < area.die_mm2
    # GPUs carry far more beside their datapaths than chips made for one thing
    assert die_factor(True) > die_factor(False) > 1


def test_dies_of_graphics_cards_do_not_count_for_estimates():
    counted = {"a100_sxm4_80g": 826, "h200_sxm_141g": 814}
    ratios = []
    for name, die_mm2 in counted.items():
        chip = load_accelerator(name)
        rest = area_of(chip).die_mm2 - interfaces_mm2(chip)
        parts = {each: mm2 for each, mm2 in area_of(chip).components.items() if not each.startswith("memory_")}
        assert area_of(chip).die_mm2 == die_mm2
        ratios.append(rest / sum(parts.values()))
    assert die_factor(True) == approx((ratios[0] * ratios[1]) ** 0.5)
    assert any(load_accelerator(name).memory.technology.startswith("gddr") for name in accelerator_names())


def test_the_die_of_an_fpga_does_not_count_for_estimates(monkeypatch):
    """Its fabric is there whether a design uses it or not."""
    with_a_die = replace(load_accelerator("zcu102"), area_mm2=900.0)
    monkeypatch.setattr("hwmodels.costs.area.accelerator_names", lambda: ("groq_lpu1", "zcu102"))
    without = die_factor.__wrapped__(False)
    known = {"groq_lpu1": load_accelerator("groq_lpu1"), "zcu102": with_a_die}
    monkeypatch.setattr("hwmodels.costs.area.load_accelerator", known.__getitem__)
    assert die_factor.__wrapped__(False) == without > 0


def test_an_fpga_has_budgets_instead_of_an_area():
    area = area_of(load_accelerator("zcu102"))
    assert area.die_mm2 is None and not area.components
    assert "not known" in area._repr_html_()


def test_fpga_fabric_costs_more_than_the_same_operation_on_a_chip():
    fpga = load_accelerator("u280")
    assert energy_table(fpga).matmul_j_per_flop("int8") == approx(5 * mac_energy_j("int8", 16))
    assert energy_table(fpga).static_w == approx(0.25 * 225)
    assert energy_table(replace(fpga, power_w=None)).static_w == 0
