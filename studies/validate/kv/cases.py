"""Golden cases of KV policies: the file format, and the streams it describes by seed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, JsonValue, NonNegativeInt, PositiveInt, model_validator

from studies.validate.case_files import load_case_file

Array = NDArray[np.floating]
Json = JsonValue
"""Values as they are in a file; `Given` reads them as what they have to be."""

_CHECK_TOLERANCE = 1e-4
_MOST_ELEMENTS = 1 << 28


class UnsupportedCaseError(Exception):
    """A case that the project has no model for; the text says why."""


@dataclass(frozen=True)
class Given:
    """Named values of a case, read one by one as what they have to be.

    All methods raise KeyError for a name that is missing and has no default, and TypeError or ValueError for a value
    that is something else: the case does not fit its family then.
    """

    values: Mapping[str, Json]

    def __contains__(self, name: str) -> bool:
        """Whether the case says anything of that name."""
        return name in self.values

    def whole(self, name: str, default: int | None = None) -> int:
        """A whole number."""
        return int(self.real(name, default))

    def real(self, name: str, default: float | None = None) -> float:
        """A number."""
        value = default if default is not None and name not in self.values else self.values[name]
        return _number(value)

    def flag(self, name: str, default: bool) -> bool:
        """Whether something is so."""
        return bool(self.values.get(name, default))

    def reals(self, name: str) -> list[float]:
        """A list of numbers, or a list of lists one after the other."""
        return [_number(value) for value in _flat(self.values[name])]

    def wholes(self, name: str, default: Sequence[int] | None = None) -> list[int]:
        """A list of whole numbers."""
        if default is not None and not self.values.get(name):
            return list(default)
        return [int(number) for number in self.reals(name)]

    def is_mask(self, name: str) -> bool:
        """Whether a list says yes or no for every place, instead of naming places."""
        value = self.values[name]
        return isinstance(value, list) and bool(value) and all(isinstance(item, bool) for item in value)

    def inner(self, name: str) -> Given:
        """Values inside a value."""
        value = self.values[name]
        if not isinstance(value, dict):
            raise TypeError(f"{name} must be a mapping")
        return Given(value)


def _number(value: Json) -> float:
    if not isinstance(value, int | float | str):
        raise TypeError(f"must be a number (got {value!r})")
    return value if isinstance(value, int) else float(value)


def _flat(value: Json) -> list[Json]:
    if not isinstance(value, list):
        raise TypeError(f"must be a list (got {value!r})")
    return [each for item in value for each in (_flat(item) if isinstance(item, list) else [item])]


@dataclass(frozen=True)
class Streams:
    """Tensors of a case, float32.

    Parameters
    ----------
    k, v
        `(kv_heads, n, d)`.
    q
        `(query_heads, n, d)`.
    """

    k: Array
    v: Array
    q: Array

    def repeated(self) -> Streams:
        """Keys and values once per query head, as code without grouped queries sees them."""
        group = self.q.shape[0] // self.k.shape[0]
        return Streams(np.repeat(self.k, group, 0), np.repeat(self.v, group, 0), self.q)


@dataclass(frozen=True)
class Case:
    """One golden case.

    Parameters
    ----------
    id, policy, upstream, protocol
        As in the file; the text of `upstream` names the code that was run.
    seed, query_heads, kv_heads, n, d
        Of the streams.
    params, expected, stream, checks
        As in the file.
    derived
        Further expectations that were computed, not run.
    post
        What happens to the streams after they are drawn.
    min_margin
        Smallest relative gap between the last kept and the first dropped score, where stated.
    """

    id: str
    policy: str
    upstream: str
    protocol: str
    seed: int
    query_heads: int
    kv_heads: int
    n: int
    d: int
    params: Given
    expected: Mapping[str, Json]
    stream: Given
    checks: Mapping[str, _Check]
    derived: Mapping[str, Json]
    post: str
    min_margin: float | None

    def streams(self, seed: int | None = None) -> Streams:
        """The tensors the file describes, verified against its checksums when the seed is the case's own.

        Raises
        ------
        UnsupportedCaseError
            The description is not understood, or the checksums disagree.
        """
        drawn = _draw(self, self.seed if seed is None else seed)
        if seed is None or seed == self.seed:
            _verify(self, drawn)
        return drawn


class _Check(BaseModel):
    """Numbers by which a regenerated tensor is recognised."""

    sum_f64: float | None = None
    first3: list[float] | None = None
    last: float | None = None


class _CaseText(BaseModel):
    """A case as it is written; numbers are numbers, and nothing is guessed from texts."""

    model_config = ConfigDict(strict=True)

    id: str
    policy: str
    seed: NonNegativeInt
    hq: PositiveInt
    hkv: PositiveInt
    n: PositiveInt
    d: PositiveInt
    params: dict[str, Json]
    expected: dict[str, Json]
    upstream: str = ""
    protocol: str = ""
    stream: dict[str, Json] = {}
    checks: dict[str, _Check] = {}
    derived_not_run_upstream: dict[str, Json] = {}
    stream_post: str = ""
    min_rel_margin: float | None = None

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.hq % self.hkv:
            raise ValueError("hq must be a multiple of hkv")
        if self.hq * self.n * self.d > _MOST_ELEMENTS:
            raise ValueError("the streams would not fit in memory")
        return self

    def case(self) -> Case:
        """The same under this project's names."""
        return Case(
            self.id,
            self.policy,
            self.upstream,
            self.protocol,
            self.seed,
            self.hq,
            self.hkv,
            self.n,
            self.d,
            Given(self.params),
            self.expected,
            Given(self.stream),
            self.checks,
            self.derived_not_run_upstream,
            self.stream_post,
            self.min_rel_margin,
        )


class _FileText(BaseModel):
    """A file of cases."""

    format: Literal["kv-golden/1"]
    cases: list[_CaseText]


def load_cases(path: Path) -> list[Case]:
    """All cases of a file of the format ``kv-golden/1``; raises as `studies.validate.case_files.load_case_file`."""
    return [entry.case() for entry in load_case_file(path, _FileText).cases]


def _draw(case: Case, seed: int) -> Streams:
    """The recipe `make_stream` of the file format, then the case's own `stream_post`."""
    known = {"heavy", "a", "b", "sinks", "a_sink", "kscale", "qscale"}
    unknown = set(case.stream.values) - known
    if unknown:
        raise UnsupportedCaseError(f"stream parameters {sorted(unknown)} are not known")
    rng = np.random.default_rng(seed)
    keys, values = (rng.standard_normal((case.kv_heads, case.n, case.d), dtype=np.float32) for _ in range(2))
    queries = rng.standard_normal((case.query_heads, case.n, case.d), dtype=np.float32)
    given = {name: case.stream.real(name, 1 if name.endswith("scale") else 0) for name in known - {"heavy"}}
    keys *= np.float32(given["kscale"])
    queries *= np.float32(given["qscale"])
    heavy = case.stream.wholes("heavy", ())
    if heavy or given["sinks"]:
        direction = rng.standard_normal((case.kv_heads, 1, case.d), dtype=np.float32)
        direction = direction / np.sqrt(np.sum(direction * direction, -1, keepdims=True))
        if given["sinks"]:
            keys[:, : int(given["sinks"]), :] += np.float32(given["a_sink"]) * direction
        if heavy:
            keys[:, heavy, :] += np.float32(given["a"]) * direction
        queries += np.float32(given["b"]) * np.repeat(direction, case.query_heads // case.kv_heads, axis=0)
    _post(case, keys)
    return Streams(keys, values, queries)


def _post(case: Case, keys: Array) -> None:
    """Apply `stream_post`: each frame's keys become a mix of the previous frame's and their own."""
    if not case.post:
        return
    factors = re.findall(r"float32\(([-\d.eE]+)\)", case.post)
    frame, frames = case.params.whole("token_per_frame", 0), case.params.whole("frames", 0)
    if "keys of frame f" not in case.post or len(factors) != 2 or not frame or not frames:
        raise UnsupportedCaseError(f"stream_post is not understood: {case.post}")
    start = case.params.whole("system_size", 0)
    before, own = (np.float32(factor) for factor in factors)
    for number in range(1, frames):
        at = start + number * frame
        last = keys[:, at - frame : at]
        keys[:, at : at + frame] = before * last + own * keys[:, at : at + frame]


def _verify(case: Case, drawn: Streams) -> None:
    for name, tensor in (("K", drawn.k), ("V", drawn.v), ("Q", drawn.q)):
        check = case.checks.get(name)
        if check is None:
            continue
        flat = tensor.ravel()
        got: dict[str, tuple[float | list[float] | None, float | list[float]]] = {
            "sum_f64": (check.sum_f64, float(flat.astype(np.float64).sum())),
            "first3": (check.first3, flat[:3].tolist()),
            "last": (check.last, float(flat[-1])),
        }
        for key, (told, found) in got.items():
            if told is not None and not np.allclose(found, told, rtol=0, atol=_CHECK_TOLERANCE):
                raise UnsupportedCaseError(
                    f"the stream of {name} could not be regenerated: {key} is {found}, not {told}"
                )
