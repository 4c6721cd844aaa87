"""Fitting served kernels: only rows marked for it, and numbers that explain them."""

from __future__ import annotations

import pytest

from algorithms.chip.plan.served import SERVED_KERNELS
from hwmodels.reading.errors import InputError
from studies.validate.measured.calibrate import fit_all, fit_served, with_fit, write_fit
from studies.validate.measured.rows.attention import AttentionRows
from studies.validate.measured.rows.prediction import GroupKey
from studies.validate.measured.tables.read import read_tables
from tests.studies.validate.measured.conftest import PREFILL

KERNEL = "vllm_fa3_prefill_hopper"
SHAPES = [(batch, length, heads) for batch in (1, 8) for length in (128, 1024, 8192) for heads in (8, 32)]


def rows(split="calibrate", time_us=100.0):
    return [
        PREFILL | {"batch": batch, "q_len": length, "heads": heads, "split": split, "time_us": time_us}
        for batch, length, heads in SHAPES
    ]


@pytest.fixture
def explained(write_table):
    """Rows whose times are those of another number than the file's."""
    (table,) = read_tables(write_table("attention_prefill.csv", rows())).tables
    keys, _ = table.groups()
    predictor = AttentionRows(GroupKey(table.name, *keys[0]), table).by(KERNEL, {"launch_gap_s": 2e-5})
    times = [predictor.predict(number).microseconds for number in range(len(table))]
    return [row | {"time_us": time} for row, time in zip(rows(), times, strict=True)]


def test_numbers_that_made_the_rows_are_found(write_table, explained):
    tables = read_tables(write_table("attention_prefill.csv", explained)).tables
    fit = fit_served(SERVED_KERNELS.load(KERNEL), tables)
    assert fit is not None
    assert fit.rows == len(SHAPES)
    assert fit.before_pct > 15
    assert fit.after_pct < 3
    assert fit.numbers["launch_gap_s"] == pytest.approx(2e-5, rel=0.1)


def test_rows_that_are_scored_are_never_looked_at(write_table, explained):
    plain = fit_served(SERVED_KERNELS.load(KERNEL), read_tables(write_table("attention_prefill.csv", explained)).tables)
    others = rows("validate", time_us=1.0) + rows("unknown", time_us=1e6)
    both = read_tables(write_table("attention_prefill.csv", [*explained, *others])).tables
    mixed = fit_served(SERVED_KERNELS.load(KERNEL), both)
    assert plain is not None
    assert mixed is not None
    assert mixed.numbers == plain.numbers


def test_rows_of_other_kernels_do_not_count(write_table):
    other = [row | {"kernel": "unheard_of"} for row in rows()]
    tables = read_tables(write_table("attention_prefill.csv", other)).tables
    assert fit_served(SERVED_KERNELS.load(KERNEL), tables) is None


def test_a_kernel_that_is_named_and_has_no_row_is_bad_input(write_table):
    path = write_table("attention_prefill.csv", rows("validate"))
    with pytest.raises(InputError, match=r"no row is marked 'calibrate' for vllm_fa3_prefill_hopper"):
        list(fit_all(path, [KERNEL]))


def test_the_file_written_holds_numbers_and_origin_and_can_be_read(write_table, explained, tmp_path):
    tables = read_tables(write_table("attention_prefill.csv", explained)).tables
    fit = fit_served(SERVED_KERNELS.load(KERNEL), tables)
    assert fit is not None
    text = write_fit(fit, tmp_path / "out", "made up @ 1").read_text()
    kernel = SERVED_KERNELS.load(tmp_path / "out" / "served_profiles" / f"{KERNEL}.yaml")
    assert {name: getattr(kernel.profile, name) for name in fit.numbers} == pytest.approx(fit.numbers)
    assert kernel.text.origin is not None
    assert kernel.text.origin.tables == "made up @ 1"
    assert kernel.text.origin.rows == len(SHAPES)
    assert with_fit(text, fit, "made up @ 1") == text  # once more changes nothing
    assert text.startswith("#")  # comments stay


def test_the_command_prints_what_it_found(write_table, explained, json_of):
    path = write_table("attention_prefill.csv", explained)
    document = json_of("calibrate", "--tables", str(path), "--kernel", KERNEL, "--quiet")
    (fit,) = document["fits"]
    assert fit["kernel"] == KERNEL
    assert fit["mean_abs_error_after_pct"] < fit["mean_abs_error_before_pct"]
