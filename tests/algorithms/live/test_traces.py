"""Readers of request traces: every format from a few lines, public traces where they are, faults with their lines."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from algorithms.live.blocks import BlockPool
from algorithms.live.traces import read_trace
from hwmodels.reading.errors import InputError

PUBLIC = Path(__file__).parents[4] / "shared" / "data" / "traces"

FORMATS = {
    "Mooncake": '{"timestamp": 500, "input_length": 700, "output_length": 5, "hash_ids": [3, 4]}\n'
    '{"timestamp": 2500, "input_length": 600, "output_length": 7, "hash_ids": [3, 9]}\n',
    "Bailian": '{"chat_id": 1, "parent_chat_id": -1, "timestamp": 0.5, "input_length": 700, "output_length": 5, '
    '"type": "text", "turn": 1, "hash_ids": [3, 4]}\n'
    '{"chat_id": 2, "parent_chat_id": 1, "timestamp": 2.5, "input_length": 600, "output_length": 7, '
    '"type": "text", "turn": 2, "hash_ids": [3, 9]}\n',
    "Azure": "TIMESTAMP,ContextTokens,GeneratedTokens\n"
    "2023-11-16 18:15:46.5000000,700,5\n2023-11-16 18:15:48.5000000,600,7\n",
    "BurstGPT": "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
    "5,ChatGPT,700,5,705,Conversation log\n7,GPT-4,600,7,607,API log\n",
    "plain": "arrival_s,input_tokens,output_tokens\n0.25,700,5\n2.25,600,7\n",
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("packed", [False, True])
def test_every_format_is_told_by_its_columns(tmp_path, name, packed):
    path = tmp_path / "trace"
    text = FORMATS[name].encode()
    path.write_bytes(gzip.compress(text) if packed else text)
    trace = read_trace(path)
    assert trace.format == name
    found = [(each.arrival_ns, each.prompt_tokens, each.output_tokens) for each in trace.requests]
    assert found == [(0, 700, 5), (2_000_000_000, 600, 7)]
    assert trace.prefix_tokens == {"Mooncake": 512, "Bailian": 16}.get(name, 0)
    assert trace.requests[1].prefix == ((3, 9) if trace.prefix_tokens else ())


def test_only_as_many_requests_as_asked_for(tmp_path):
    path = tmp_path / "trace"
    path.write_text(FORMATS["plain"])
    assert len(read_trace(path, most_requests=1).requests) == 1


PLAIN = "arrival_s,input_tokens,output_tokens\n"


@pytest.mark.parametrize(
    ("text", "line", "field", "message"),
    [
        ("", None, None, "has no requests"),
        (PLAIN, None, None, "has no requests"),
        ("when,how_many\n1,2\n", 1, None, "of no known format"),
        (PLAIN + "0,5,5\n-1,5,5\n", 3, "arrival_s", "must not be negative"),
        (PLAIN + "3,5,5\n1,5,5\n", 3, "time", "must not be before the row above"),
        (PLAIN + "0,5,0\n", 2, "output_tokens", "whole number from 1"),
        (PLAIN + "0,2.5,1\n", 2, "input_tokens", "whole number from 1"),
        (PLAIN + "0,nan,1\n", 2, "input_tokens", "must be a number"),
        (PLAIN + "0,1\n", 2, None, "another number of columns"),
        ('{"timestamp": 0, "input_length": 1, "output_length": 1, "hash_ids": "x"}', 1, "hash_ids", "list of whole"),
        ('{"timestamp": 0,\n', 1, None, "is not JSON"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\nnoon,1,1\n", 2, "TIMESTAMP", "a date and a time"),
    ],
)
def test_faults_name_file_line_and_column(tmp_path, text, line, field, message):
    path = tmp_path / "trace.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_trace(path)
    problem = caught.value.problems[0]
    assert (problem.file, problem.line, problem.field) == (str(path), line, field)


def test_a_damaged_file_is_one_line(tmp_path):
    path = tmp_path / "trace.gz"
    path.write_bytes(gzip.compress(FORMATS["plain"].encode())[:-9])
    with pytest.raises(InputError, match="damaged gzip"):
        read_trace(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_trace(tmp_path / "none")


@pytest.mark.parametrize(
    ("name", "looked_for", "found"), [("conversation", 288_500, 105_710), ("synthetic", 121_877, 77_953)]
)
def test_a_cache_without_limit_finds_what_the_public_traces_hold(name, looked_for, found):
    """36.6 % and 64.0 % of the blocks (kvcache-ai/Mooncake, FAST25-release)."""
    path = PUBLIC / f"mooncake_{name}_trace.jsonl.gz"
    if not path.exists():
        pytest.skip(f"Mooncake's {name} trace is not at {path}")
    pool = BlockPool(None, 512)
    for request in read_trace(path).requests:
        matched = pool.match(request.prefix, 512 * len(request.prefix))
        pool.count.looked_for += len(request.prefix)
        pool.count.found += len(matched)
        pool.share(matched)
        taken = matched + pool.take(len(request.prefix) - len(matched))
        for block, each in zip(taken, request.prefix, strict=True):
            pool.remember(block, each)
        pool.release(taken)
    assert (pool.count.looked_for, pool.count.found) == (looked_for, found)
