"""Reads logged runs: requests with their time stamps (CSV), and what each run ran on (JSON)."""

from __future__ import annotations

import csv
import gzip
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hwmodels.reading.complaints import problems_of
from hwmodels.reading.documents import Document, read_text
from hwmodels.reading.errors import InputError, Problem

COLUMNS = ("run", "input_tokens", "output_tokens", "queued_s", "first_token_s", "last_token_s")
MOST_PROBLEMS = 20
Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Logged:
    """A request that was served.

    Parameters
    ----------
    input_tokens, output_tokens
        Of its prompt, and made for it.
    queued_s, first_token_s, last_token_s
        When the engine got it, and when its first and its last token were there.
    """

    input_tokens: int
    output_tokens: int
    queued_s: float
    first_token_s: float
    last_token_s: float

    @property
    def ttft_s(self) -> float:
        """Time to the first token."""
        return self.first_token_s - self.queued_s

    @property
    def tpot_s(self) -> float | None:
        """Time per further token; None for a single one."""
        if self.output_tokens < 2:
            return None
        return (self.last_token_s - self.first_token_s) / (self.output_tokens - 1)

    @property
    def latency_s(self) -> float:
        """Time to the last token."""
        return self.last_token_s - self.queued_s


class _Open(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class EngineText(_Open):
    """``engine_kwargs``; what is null or missing is as vLLM has it."""

    tensor_parallel_size: Count = 1
    data_parallel_size: Count = 1
    enable_expert_parallel: bool = False
    disable_custom_all_reduce: bool = False
    enforce_eager: bool = False
    max_num_seqs: Count | None = None
    max_num_batched_tokens: Count | None = None
    dtype: str = "bfloat16"
    kv_cache_dtype: str = "auto"
    quantization: str | None = None


class CacheText(_Open):
    """``kv_cache``: what the engine found room for."""

    num_gpu_blocks: Count | None = None
    block_size: Count = 16
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] = 0.9


class RunText(_Open):
    """What a run ran on."""

    model: str
    vllm_version: str = ""
    engine_kwargs: EngineText = EngineText()
    kv_cache: CacheText = CacheText()


@dataclass(frozen=True)
class Run:
    """A logged run.

    Parameters
    ----------
    name
        Of the GPU, a slash, and of the model.
    text
        What it ran on.
    requests
        In the order in which the engine got them.
    """

    name: str
    text: RunText
    requests: tuple[Logged, ...]


def read_runs(requests: Path, meta: Path) -> tuple[Run, ...]:
    """All runs of two files, in the order of their first rows.

    Raises
    ------
    InputError
        Files that cannot be read, columns that are missing, times that cannot be, requests of a run that the other file
        does not describe; one line each.
    """
    document = _document(meta)
    described = _described(document)
    rows = _rows(requests)
    unknown = [name for name in rows if name not in described]
    if unknown:
        raise InputError([Problem(f"does not describe the run {name!r} of {requests}", str(meta)) for name in unknown])
    return tuple(Run(name, described[name], tuple(sorted(each, key=_queued))) for name, each in rows.items())


def _queued(each: Logged) -> float:
    return each.queued_s


def _document(path: Path) -> Document:
    try:
        text = path.read_text(encoding="utf-8-sig")
        json.loads(text)
    except OSError as error:
        raise InputError(Problem(error.strerror or "cannot be read", str(path))) from None
    except json.JSONDecodeError as error:
        raise InputError(Problem(f"is not JSON: {error.msg}", str(path), error.lineno)) from None
    except (UnicodeDecodeError, RecursionError):
        raise InputError(Problem("is no JSON text", str(path))) from None
    return read_text(text, str(path))


def _described(document: Document) -> dict[str, RunText]:
    if not isinstance(document.data, dict):
        raise InputError(Problem("must have one entry per run", document.name))
    found, problems = {}, []
    for name, value in document.data.items():
        try:
            found[str(name)] = RunText.model_validate(_without_nulls(value))
        except ValidationError as error:
            problems += problems_of(error, RunText, document, below=(name,))
    if problems:
        raise InputError(problems)
    return found


def _without_nulls(value: object) -> object:
    """Values that a log leaves open are those of the engine."""
    if isinstance(value, dict):
        return {name: _without_nulls(each) for name, each in value.items() if each is not None}
    return value


def _rows(path: Path) -> dict[str, list[Logged]]:
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8-sig")
    except OSError as error:
        raise InputError(Problem(error.strerror or "cannot be read", str(path))) from None
    except (UnicodeDecodeError, EOFError):
        raise InputError(Problem("is no CSV text", str(path))) from None
    reader = csv.DictReader(text.splitlines())
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise InputError(Problem(f"lacks the columns {', '.join(missing)}", str(path), 1))
    found: dict[str, list[Logged]] = {}
    problems: list[Problem] = []
    for row in reader:
        try:
            found.setdefault(row["run"], []).append(_logged(row))
        except InputError as error:
            problems += [Problem(each.message, str(path), reader.line_num, each.field) for each in error.problems]
            if len(problems) >= MOST_PROBLEMS:
                break
    if problems:
        raise InputError(problems)
    if not found:
        raise InputError(Problem("has no requests", str(path)))
    return found


def _logged(row: Mapping[str, str | None]) -> Logged:
    tokens = [_number(row, name, whole=True) for name in ("input_tokens", "output_tokens")]
    times = [_number(row, name) for name in ("queued_s", "first_token_s", "last_token_s")]
    if times != sorted(times):
        raise InputError(Problem("must not be before first_token_s, nor that before queued_s", field="last_token_s"))
    return Logged(int(tokens[0]), int(tokens[1]), *times)


def _number(row: Mapping[str, str | None], name: str, *, whole: bool = False) -> float:
    text = row.get(name)
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    least = 1 if whole else 0
    if not least <= value < math.inf or (whole and value != int(value)):
        what = "a whole number of at least 1" if whole else "a number of seconds, not negative"
        raise InputError(Problem(f"must be {what} (got {text!r})", field=name))
    return value
