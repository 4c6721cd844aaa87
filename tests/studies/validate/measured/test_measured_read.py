"""Reading tables of measured kernels: both layouts, and one line with file, row and column for what is wrong."""

from __future__ import annotations

import gzip
import shutil

import pytest

from hwmodels.reading.errors import InputError
from studies.validate.measured.tables import published
from studies.validate.measured.tables.layout import layout_called
from studies.validate.measured.tables.read import read_tables
from tests.studies.validate.measured.conftest import PREFILL


def test_reads_every_column_in_its_kind(write_table):
    path = write_table("attention_prefill.csv", [PREFILL, PREFILL | {"q_len": 17, "time_us": "3.5"}])
    (table,) = read_tables(path).tables
    assert table.name == "attention_prefill"
    assert table.numbers["q_len"].tolist() == [2048, 17]
    assert table.time_us.tolist() == [100.0, 3.5]
    assert table.words["kernel"].tolist() == ["vllm_flash_attn_fa3"] * 2


def test_packed_files_are_the_same(write_table):
    path = write_table("attention_prefill.csv", [PREFILL])
    packed = path.with_name("attention_prefill.csv.gz")
    with path.open("rb") as plain, gzip.open(packed, "wb") as target:
        shutil.copyfileobj(plain, target)
    path.unlink()
    assert len(read_tables(packed.parent).tables[0]) == 1


def test_a_folder_names_what_is_not_scored(write_table, tmp_path):
    write_table("attention_prefill.csv", [PREFILL])
    other = write_table("vllm_timeseries.csv", [{"a": 1}])
    found = read_tables(tmp_path)
    assert [table.name for table in found.tables] == ["attention_prefill"]
    assert found.others == (str(other),)


def test_a_folder_passes_by_tables_of_the_same_name_of_another_collection(write_table, tmp_path):
    write_table("attention_prefill.csv", [PREFILL])
    other = write_table("gemm.csv", [{"m": 16, "k": 2048, "n": 6144, "latency_us": 10.63, "gpu": "h20"}])
    found = read_tables(tmp_path)
    assert found.others == (str(other),)
    with pytest.raises(InputError, match=r"gemm.csv:1: stack: table gemm needs this column"):
        read_tables(other)  # named by itself it has to be what its name says


def test_rows_without_a_split_are_of_an_unknown_one(write_table):
    row = {name: value for name, value in PREFILL.items() if name != "split"}
    (table,) = read_tables(write_table("attention_prefill.csv", [row])).tables
    assert table.split.tolist() == ["unknown"]


@pytest.mark.parametrize(
    ("change", "line", "column", "message"),
    [
        ({"time_us": -3}, 3, "time_us", "must be greater than 0 (got -3)"),
        ({"time_us": "nan"}, 3, "time_us", "must be greater than 0"),
        ({"time_us": "fast"}, 3, "time_us", "must be a number (got 'fast')"),
        ({"batch": 0}, 3, "batch", "whole number of at least 1 (got 0)"),
        ({"q_len": 2.5}, 3, "q_len", "whole number of at least 1 (got 2.5)"),
        ({"window": -1}, 3, "window", "whole number of at least 0 (got -1)"),
        ({"gpu": "h100_sxn"}, 3, "gpu", "there is no chip 'h100_sxn'; did you mean 'h100_sxm'?"),
    ],
)
def test_a_bad_cell_is_one_line_with_file_row_and_column(write_table, change, line, column, message):
    path = write_table("attention_prefill.csv", [PREFILL, PREFILL | change])
    with pytest.raises(InputError) as caught:
        read_tables(path)
    (problem,) = caught.value.problems
    assert (problem.file, problem.line, problem.field) == (str(path), line, column)
    assert message in str(problem)


def test_a_missing_column_is_named(write_table):
    row = {name: value for name, value in PREFILL.items() if name != "head_dim"}
    with pytest.raises(InputError, match=r"attention_prefill.csv:1: head_dim: table attention_prefill needs"):
        read_tables(write_table("attention_prefill.csv", [row]))


def test_a_time_in_another_unit_is_told(write_table):
    row = {("time_ms" if name == "time_us" else name): value for name, value in PREFILL.items()}
    with pytest.raises(InputError, match=r"times are in microseconds here, 'time_ms' has milliseconds"):
        read_tables(write_table("attention_prefill.csv", [row]))


def test_a_ragged_line_is_told(write_table):
    path = write_table("attention_prefill.csv", [PREFILL])
    with path.open("a") as file:
        file.write("h100_sxm,vllm\n")
    with pytest.raises(InputError, match=r"csv:3: stack_version: has 2 cells, the heading has 14"):
        read_tables(path)


def test_an_unknown_table_has_its_nearest_name():
    with pytest.raises(InputError, match=r"did you mean 'attention_prefill'"):
        layout_called("attention_prefil")


def test_parquet_without_a_reader_says_what_to_install(tmp_path, monkeypatch):
    folder = tmp_path / "data" / "h100_sxm" / "attention" / "vllm" / "0.24.0"
    folder.mkdir(parents=True)
    (folder / "context_attention_perf.parquet").write_bytes(b"")
    monkeypatch.setattr(published, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"read by pyarrow, which is not installed; pip install pyarrow"):
        read_tables(tmp_path)


PUBLISHED = {
    "framework": ["VLLM"],
    "version": ["0.24.0"],
    "device": ["NVIDIA H100 80GB HBM3"],
    "op_name": ["generation_attention"],
    "kernel_source": ["vllm_flash_attn_fa3"],
    "batch_size": [4],
    "isl": [1],
    "num_heads": [32],
    "num_key_value_heads": [8],
    "head_dim": [128],
    "beam_width": [1],
    "attn_dtype": ["bfloat16"],
    "kv_cache_dtype": ["fp8"],
    "step": [1023],
    "latency": [0.0125],
}
"""Columns as the collection publishes them."""


@pytest.mark.parametrize("family", ["attention", ""])
def test_the_published_layout_gives_the_same_table(tmp_path, monkeypatch, family):
    folder = tmp_path / "systems" / "data" / "h100_sxm" / family / "vllm" / "0.24.0"
    folder.mkdir(parents=True)
    (folder / "generation_attention_perf.parquet").write_bytes(b"")
    monkeypatch.setattr(published, "_parquet_cells", lambda path: PUBLISHED)
    (table,) = read_tables(tmp_path).tables
    assert table.name == "attention_decode"
    assert table.numbers["kv_len"].tolist() == [1024]  # one new token behind 1,023
    assert table.numbers["window"].tolist() == [0]
    assert table.time_us.tolist() == [12.5]  # from milliseconds
    words = {name: column[0] for name, column in table.words.items()}
    assert words == {
        "gpu": "h100_sxm",
        "stack": "vllm",
        "stack_version": "0.24.0",
        "kernel": "vllm_flash_attn_fa3",
        "attn_dtype": "bf16",
        "kv_dtype": "fp8",
    }


def test_parquet_elsewhere_says_where_it_must_lie(tmp_path):
    (tmp_path / "gemm_perf.parquet").write_bytes(b"")
    with pytest.raises(InputError, match=r"must lie in data/GPU/STACK/VERSION"):
        read_tables(tmp_path)


def test_parquet_files_are_read(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    folder = tmp_path / "data" / "h100_sxm" / "vllm" / "0.24.0"
    folder.mkdir(parents=True)
    parquet.write_table(pyarrow.table(PUBLISHED), folder / "generation_attention_perf.parquet")
    (table,) = read_tables(tmp_path).tables
    assert table.time_us.tolist() == [12.5]
