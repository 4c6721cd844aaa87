"""Tier files that are wrong: one clear line with file, line and field for each fault."""

from __future__ import annotations

import pytest

from hwmodels.reading.errors import InputError
from hwmodels.standards.text import load_standard
from hwmodels.tiers.text import load_tier

GOOD = """\
kind: dram
name: mine
summary: a tier of my own
standard: ddr4_3200
count: 2
organisation:
  channels: 1
  rows: 65536
timing:
  ras: 52
  rp: 22
  rc: 74
mapping:
  order: ["column:8", channel, group, bank, column, rank, row]
  xor: [group]
energy:
  activate: "2 nJ"
"""


def problems(tmp_path, text, load=load_tier):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        load(file)
    return [str(problem).removeprefix(f"{file}:") for problem in caught.value.problems]


def changed(*changes):
    text = GOOD
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


def test_the_good_file_is_good(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(GOOD)
    tier = load_tier(file)
    assert tier.count == 2
    assert tier.capacity_bytes == 2 * load_tier("ddr4_3200").capacity_bytes
    assert [(f.coordinate, f.size) for f in tier.fields] == [
        ("column", 8), ("channel", 2), ("group", 4), ("bank", 4), ("column", 16), ("rank", 2), ("row", 65536),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("ddr4_3200", "dd4_3200", "4: standard: unknown DRAM standard 'dd4_3200'; did you mean 'ddr4_3200'?"),
        (
            "rc: 74",
            "rc: 73",
            "12: timing.rc: the row cycle must be at least ras + rp = 52 + 22 = 74 clocks (got 73)",
        ),
        ("channels: 1", "channels: 0", "7: organisation.channels: must be at least 1 (got 0)"),
        ("count: 2", "count: 0", "5: count: must be at least 1 (got 0)"),
        ("bank, column", "column", "14: mapping.order: covers 1 of the 4 values of bank: 2 address bits are lost"),
        (
            "rank, row]",
            "rank, group, row]",
            "14: mapping.order: group appears 2 times without a size: 2 address bits are repeated",
        ),
        (
            "column:8",
            "column:256",
            "14: mapping.order: covers 32768 values of column, which has 128: 8 bits are repeated",
        ),
        (
            "bank, column, rank",
            "bank, rank",
            "14: mapping.order: covers 8 of the 128 values of column: 4 address bits are lost",
        ),
        (
            "group, bank",
            "grop, bank",
            "14: mapping.order: no coordinate of an address is called 'grop'; did you mean 'group'?",
        ),
        ("xor: [group]", "xor: [column]", "15: mapping.xor: column cannot be XORed with itself"),
        ("energy:", "enrgy:", "16: enrgy: unknown key; did you mean 'energy'?"),
        ('"2 nJ"', '"2e999 nJ"', "17: energy.activate: must be finite (got 2e999 nJ)"),
        (
            'activate: "2 nJ"',
            "currents: {idd0: Infinity}",
            "17: energy.currents.idd0: must be a finite number (got 'Infinity')",
        ),
        ('"2 nJ"', '"2 nW"', "17: energy.activate: must be a quantity in J such as '12 pJ' (got '2 nW')"),
        ("kind: dram", "kind: drm", "1: kind: no tier is of kind 'drm'; did you mean 'dram'?"),
        ("  ras: 52", "  ras: 52.5", "10: timing.ras: must be a whole number (got 52.5)"),
    ],
)
def test_a_fault_is_one_line_with_its_place(tmp_path, old, new, expected):
    found = problems(tmp_path, changed((old, new)))
    assert any(line.startswith(expected) for line in found), found
    assert all("\n" not in line for line in found)


def test_several_faults_are_told_together(tmp_path):
    text = changed(("channels: 1", "channels: 0"), ("rp: 22", "rp: none"), ("count: 2", "count: -1"))
    assert [line.split(":")[0] for line in problems(tmp_path, text)] == ["5", "7", "11"]


def test_faults_of_values_and_of_their_meaning_are_told_together(tmp_path):
    text = changed(("channels: 1", "channels: 0"), ("rc: 74", "rc: 60"), ("bank, column", "column"))
    assert [line.split(":")[0] for line in problems(tmp_path, text)] == ["7", "12", "14"]


def test_channels_that_are_no_power_of_two_cannot_be_xored(tmp_path):
    found = problems(tmp_path, changed(("count: 2", "count: 3"), ("xor: [group]", "xor: [channel]")))
    assert found == ["15: mapping.xor: channel cannot be XORed with column bits (it has 3 values, not a power of two)"]


def test_a_standard_must_be_complete(tmp_path):
    text = "name: mine\nsummary: nothing\nclock: 1 ns\ntiming:\n  cl: 4\nmapping:\n  order: [row]\n"
    found = problems(tmp_path, text, load_standard)
    assert any("timing: required keys are missing: cwl, rcd_read" in line for line in found)
    assert any("organisation: required keys are missing: channels" in line for line in found)


def test_a_standard_that_derives_from_nothing_known(tmp_path):
    (line,) = problems(tmp_path, "name: mine\nsummary: x\nderived_from: hbm9\n", load_standard)
    assert line.startswith("3: derived_from: unknown DRAM standard 'hbm9'")


def test_a_users_standard_serves_a_tier(tmp_path):
    standard = tmp_path / "fast.yaml"
    standard.write_text("name: fast\nsummary: faster\nderived_from: ddr4_3200\nclock: 0.5 ns\n")
    file = tmp_path / "mine.yaml"
    for named in (standard, "fast.yaml"):
        file.write_text(changed(("standard: ddr4_3200", f"standard: {named}"), ("rc: 74", "rc: 94")))
        assert load_tier(file).standard.clock_s == 0.5e-9


def test_a_page_holds_whole_sectors():
    with pytest.raises(InputError, match="page: a page is no whole number of sectors of 4096 bytes"):
        load_tier("nvme_gen4", changes={"page": "10 kB"})


def test_an_sram_that_cannot_be_built(tmp_path):
    text = (
        "kind: sram\nname: mine\nsummary: x\ncapacity: 10 KiB\nbanks: 3\nports: 1\nwidth: 16 B\n"
        "latency_cycles: 1\nclock: 1 GHz\nbuffers: 2\nnode_nm: 90\ncell: HP\n"
    )
    found = problems(tmp_path, text)
    assert found == [
        "4: capacity: 10240 bytes are no whole number of 16-byte words in every bank",
        "10: buffers: 3 banks cannot be shared by 2 buffers",
        "11: node_nm: no SRAM data for HP at 90 nm (known: 5, 7, 22 nm)",
    ]
