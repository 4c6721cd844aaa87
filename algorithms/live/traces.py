"""Readers of request traces: each format is one function, chosen by the columns that a file has.

| format | file | columns |
| --- | --- | --- |
| Mooncake | JSON lines | timestamp (ms), input_length, output_length, hash_ids (blocks of 512 tokens) |
| Bailian | JSON lines | timestamp (s), input_length, output_length, hash_ids (blocks of 16 tokens), chat_id |
| Azure | CSV | TIMESTAMP (a date), ContextTokens, GeneratedTokens |
| BurstGPT | CSV | Timestamp (s), Request tokens, Response tokens |
| plain | CSV or JSON lines | arrival_s, input_tokens, output_tokens |

Files may be compressed with gzip. Times are made relative to the first request.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from algorithms.live.requests import Request, nanoseconds
from hwmodels.reading.errors import InputError, Problem

LARGEST_TOKENS = 10**9
_MOST_PROBLEMS = 20
Row = Mapping[str, object]


@dataclass(frozen=True)
class Arrival:
    """One row of a trace, with its time as the file has it, in seconds."""

    at_s: float
    prompt_tokens: int
    output_tokens: int
    prefix: tuple[int, ...] = ()


@dataclass(frozen=True)
class Trace:
    """Requests in the order of their arrival.

    Parameters
    ----------
    requests
        Times begin at 0.
    prefix_tokens
        Tokens per block of the hashes; 0 where there are none.
    format
        Name of the format that was read.
    """

    requests: tuple[Request, ...]
    prefix_tokens: int
    format: str


@dataclass(frozen=True)
class _Format:
    name: str
    columns: frozenset[str]
    read: Callable[[Row], Arrival]
    prefix_tokens: int = 0


def read_trace(path: Path | str, *, most_requests: int | None = None) -> Trace:
    """The requests of a file.

    Parameters
    ----------
    path
        Format and compression are found from its content.
    most_requests
        Only so many, from the beginning.

    Raises
    ------
    InputError
        A file that cannot be read, columns of no known format, times that are negative or not in order, counts that are
        no whole numbers of at least 1; the first faults, one line each with the line of the file.
    """
    name = str(path)
    rows = list(_numbered_rows(Path(path), most_requests))
    if not rows:
        raise InputError(Problem("has no requests", name))
    layout = _format_of(rows[0][1], name)
    problems: list[Problem] = []
    arrivals: list[Arrival] = []
    for line, row in rows:
        try:
            arrival = layout.read(row)
            if arrivals and arrival.at_s < arrivals[-1].at_s:
                message = f"must not be before the row above, {arrivals[-1].at_s:g} s (got {arrival.at_s:g} s)"
                raise _FaultError("time", message)
            arrivals.append(arrival)
        except _FaultError as fault:
            problems.append(Problem(fault.message, name, line, fault.column))
            if len(problems) == _MOST_PROBLEMS:
                break
    if problems:
        raise InputError(problems)
    start = arrivals[0].at_s
    requests = tuple(
        Request(i, nanoseconds(each.at_s - start), each.prompt_tokens, each.output_tokens, each.prefix)
        for i, each in enumerate(arrivals)
    )
    return Trace(requests, layout.prefix_tokens if any(each.prefix for each in arrivals) else 0, layout.name)


class _FaultError(Exception):
    """A value of a row that cannot be."""

    def __init__(self, column: str, message: str) -> None:
        super().__init__(column, message)
        self.column, self.message = column, message


def _numbered_rows(path: Path, most: int | None) -> Iterator[tuple[int, Row]]:
    """Rows with the lines on which they stand."""
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8-sig")
    except OSError as error:
        raise InputError(Problem(f"cannot be read: {error.strerror or error}", str(path))) from None
    except (EOFError, zlib.error):
        raise InputError(Problem("is a damaged gzip file", str(path))) from None
    except UnicodeDecodeError:
        raise InputError(Problem("is not a text file", str(path))) from None
    reader = _json_rows if text.lstrip()[:1] == "{" else _csv_rows
    for number, row in enumerate(reader(text, str(path))):
        if number == most:
            return
        yield row


def _json_rows(text: str, name: str) -> Iterator[tuple[int, Row]]:
    for line, written in enumerate(text.splitlines(), start=1):
        if not written.strip():
            continue
        try:
            row = json.loads(written)
        except json.JSONDecodeError as error:
            raise InputError(Problem(f"is not JSON: {error.msg}", name, line)) from None
        except RecursionError:
            raise InputError(Problem("is nested too deeply", name, line)) from None
        if not isinstance(row, dict):
            raise InputError(Problem("must be an object", name, line))
        yield line, row


def _csv_rows(text: str, name: str) -> Iterator[tuple[int, Row]]:
    reader = csv.DictReader(io.StringIO(text))
    try:
        for row in reader:
            if None in row or None in row.values():
                raise InputError(Problem("has another number of columns than the header", name, reader.line_num))
            yield reader.line_num, row
    except csv.Error as error:
        raise InputError(Problem(f"is not CSV: {error}", name, reader.line_num)) from None


def _format_of(row: Row, name: str) -> _Format:
    columns = frozenset(row)
    for layout in FORMATS:
        if layout.columns <= columns:
            return layout
    known = "; ".join(f"{layout.name}: {', '.join(sorted(layout.columns))}" for layout in FORMATS)
    raise InputError(
        Problem(f"has the columns {', '.join(map(str, row))}, which are of no known format ({known})", name, 1)
    )


def _number(row: Row, column: str) -> float:
    value = row[column]
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise _FaultError(column, f"must be a number (got {value!r})")
    return number


def _time(row: Row, column: str, unit_s: float = 1.0) -> float:
    number = _number(row, column)
    if number < 0:
        raise _FaultError(column, f"must not be negative (got {number:g})")
    return number * unit_s


def _tokens(row: Row, column: str) -> int:
    number = _number(row, column)
    if number != int(number) or not 1 <= number <= LARGEST_TOKENS:
        raise _FaultError(column, f"must be a whole number from 1 to {LARGEST_TOKENS:,} (got {number:g})")
    return int(number)


def _hashes(row: Row) -> tuple[int, ...]:
    found = row["hash_ids"]
    if not isinstance(found, list) or not all(isinstance(each, int) for each in found):
        raise _FaultError("hash_ids", "must be a list of whole numbers")
    return tuple(found)


def _mooncake(row: Row) -> Arrival:
    tokens = _tokens(row, "input_length"), _tokens(row, "output_length")
    return Arrival(_time(row, "timestamp", 1e-3), *tokens, _hashes(row))


def _bailian(row: Row) -> Arrival:
    tokens = _tokens(row, "input_length"), _tokens(row, "output_length")
    return Arrival(_time(row, "timestamp"), *tokens, _hashes(row))


def _azure(row: Row) -> Arrival:
    written = str(row["TIMESTAMP"])
    try:
        moment = datetime.fromisoformat(written[:26])
    except ValueError:
        raise _FaultError("TIMESTAMP", f"must be a date and a time (got {written!r})") from None
    seconds = (moment.replace(tzinfo=None) - datetime(1970, 1, 1)).total_seconds()
    return Arrival(seconds, _tokens(row, "ContextTokens"), _tokens(row, "GeneratedTokens"))


def _burstgpt(row: Row) -> Arrival:
    return Arrival(_time(row, "Timestamp"), _tokens(row, "Request tokens"), _tokens(row, "Response tokens"))


def _plain(row: Row) -> Arrival:
    return Arrival(_time(row, "arrival_s"), _tokens(row, "input_tokens"), _tokens(row, "output_tokens"))


FORMATS = (
    _Format(
        "Bailian",
        frozenset({"chat_id", "timestamp", "input_length", "output_length", "hash_ids"}),
        _bailian,
        prefix_tokens=16,
    ),
    _Format(
        "Mooncake", frozenset({"timestamp", "input_length", "output_length", "hash_ids"}), _mooncake, prefix_tokens=512
    ),
    _Format("Azure", frozenset({"TIMESTAMP", "ContextTokens", "GeneratedTokens"}), _azure),
    _Format("BurstGPT", frozenset({"Timestamp", "Request tokens", "Response tokens"}), _burstgpt),
    _Format("plain", frozenset({"arrival_s", "input_tokens", "output_tokens"}), _plain),
)
"""Formats in the order in which they are tried."""
