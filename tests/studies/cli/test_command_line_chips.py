"""``attnflow list chips`` and ``attnflow show chip``."""

from pathlib import Path

import pytest

from hwmodels.chips.accelerator import accelerator_names, load_accelerator
from hwmodels.costs.energy import energy_table
from studies.cli import main

OWN_CHIP = Path(__file__).parents[2] / "hwmodels" / "chips" / "own_chip.yaml"


def test_every_chip_is_listed_with_its_peak_and_memory(json_of):
    rows = json_of("list", "chips")["chips"]
    assert [row["name"] for row in rows] == list(accelerator_names())
    h100 = next(row for row in rows if row["name"] == "h100_sxm5_80g")
    assert "989.4 TFLOP/s float16, hbm 3.352 TB/s" in h100["summary"]


def test_show_gives_every_number_with_unit_and_source(json_of):
    document = json_of("show", "chip", "h100")
    chip = load_accelerator("h100")
    fields = {row["field"]: row for row in document["fields"]}
    assert {path: row["value"] for path, row in fields.items()} == chip.values()
    assert fields["hbm.bytes_per_second"]["unit"] == "B/s"
    assert "FlashInfer" in fields["hbm.bytes_per_second"]["source"]
    assert fields["core.sram_banks"]["source"] == "default"
    assert fields["price_usd"] == {"field": "price_usd", "value": None, "unit": None, "source": "not published"}
    assert document["derived"]["ridge.float16"] == {"value": chip.ridge_flops_per_byte("float16"), "unit": "FLOP/B"}
    assert document["derived"]["flops_per_exp.float16"]["value"] == 256
    energies = {row["field"]: row["value"] for row in document["energy"]}
    assert energies == energy_table(chip).values()
    assert document["area_mm2"]["die"] == 814
    power = document["full_power_w"]
    assert power["total"] == pytest.approx(sum(power["components"].values()))


def test_show_reads_well(capsys):
    assert main(["show", "chip", "h100"]) == 0
    shown = capsys.readouterr().out
    for line in ("1.83 GHz", "3.352 TB/s", "228 KiB", "80 GB", "295.2 FLOP/B", "256 FLOP/exp", "989.4 TFLOP/s"):
        assert line in shown
    assert "die, published" in shown
    assert main(["show", "chip", "zcu102"]) == 0
    shown = capsys.readouterr().out
    assert "resources.dsp" in shown and "2,520" in shown


def test_a_chip_can_be_changed_on_the_way(json_of):
    document = json_of("show", "chip", "h100", "--set", "hbm.bytes_per_second=4 TB/s", "--set", "core.sram_bytes=1 MiB")
    fields = {row["field"]: row for row in document["fields"]}
    assert fields["hbm.bytes_per_second"]["value"] == 4e12
    assert fields["hbm.bytes_per_second"]["source"] == "overridden"
    assert document["area_mm2"]["die"] > 814 and not document["area_mm2"]["die_is_published"]


def test_a_chip_file_can_be_shown(json_of):
    assert json_of("show", "chip", str(OWN_CHIP))["name"] == "own_chip"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["h10"], "unknown chip 'h10'; did you mean 'h100'?"),
        (["h100", "--set", "cores"], "--set: must be FIELD=VALUE (got 'cores')"),
        (["h100", "--set", "corse=3"], "corse: h100_sxm5_80g has no such field; did you mean 'cores'?"),
        (["h100", "--set", "cores=0"], "cores: must be greater than 0 (got 0)"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(capsys, arguments, line):
    assert main(["show", "chip", *arguments]) == 2
    assert capsys.readouterr().err.strip() == line


def test_other_things_have_no_fields_to_change(capsys):
    assert main(["show", "workload", "llama3-8b", "--set", "heads=3"]) == 2
    assert "have fields to change (this is a workload)" in capsys.readouterr().err


def test_the_schema_of_chip_files_is_printed(json_of):
    assert json_of("config", "schema", "chip")["properties"].keys() >= {"clock_hz", "core", "tiers"}


def test_a_chip_is_a_card_in_notebooks():
    card = load_accelerator("h100")._repr_html_()
    assert "<caption>Accelerator h100_sxm5_80g</caption>" in card
    assert "3.352 TB/s" in card and "FlashInfer" in card
    assert "Nvidia&#x27;s H100" in card
    assert "not published" in load_accelerator("tpu_v5p")._repr_html_()
    assert "mac_j.float16" in energy_table(load_accelerator("h100"))._repr_html_()
