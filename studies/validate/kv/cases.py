"""Golden cases of KV policies: the file format, and the streams it describes by seed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwmodels.reading.errors import InputError, Problem

Array = NDArray[np.floating]
Json = int | float | str | bool | None | list["Json"] | dict[str, "Json"]

FORMAT = "kv-golden/1"
_REQUIRED = ("id", "policy", "seed", "hq", "hkv", "n", "d", "params", "expected")
_CHECK_TOLERANCE = 1e-4
_LARGEST_FILE_BYTES = 1 << 28
_MOST_ELEMENTS = 1 << 28


class UnsupportedCaseError(Exception):
    """A case that the project has no model for; the text says why."""


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
    params: Mapping[str, Json]
    expected: Mapping[str, Json]
    stream: Mapping[str, Json]
    checks: Mapping[str, Json]
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


def load_cases(path: Path) -> list[Case]:
    """All cases of a file.

    Raises
    ------
    InputError
        The file cannot be read, is not JSON or not of the format `kv-golden/1`; every incomplete case.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE_BYTES:
            raise InputError(Problem("larger than 256 MiB", str(path)))
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(Problem(error.strerror or "cannot be read", str(path))) from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise InputError(Problem("is not a JSON text", str(path))) from error
    except json.JSONDecodeError as error:
        raise InputError(Problem(f"is not JSON: {error.msg}", str(path), error.lineno)) from error
    if not isinstance(document, dict) or not isinstance(document.get("cases"), list):
        raise InputError(Problem("has no list 'cases'", str(path)))
    if document.get("format") != FORMAT:
        raise InputError(Problem(f"must be {FORMAT} (got {document.get('format')!r})", str(path), field="format"))
    problems: list[Problem] = []
    cases = [_case(entry, f"cases[{at}]", path, problems) for at, entry in enumerate(document["cases"])]
    if problems:
        raise InputError(problems)
    return [case for case in cases if case is not None]


def _case(entry: Json, place: str, path: Path, problems: list[Problem]) -> Case | None:
    if not isinstance(entry, dict):
        problems.append(Problem("must be a mapping", str(path), field=place))
        return None
    missing = [name for name in _REQUIRED if name not in entry]
    problems += [Problem("required key is missing", str(path), field=f"{place}.{name}") for name in missing]
    if missing:
        return None
    before = len(problems)
    sizes = {name: entry[name] for name in ("hq", "hkv", "n", "d")}
    for name, value in [*sizes.items(), ("seed", entry["seed"])]:
        least = 0 if name == "seed" else 1
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            problems.append(
                Problem(
                    f"must be a whole number of at least {least} (got {value!r})", str(path), field=f"{place}.{name}"
                )
            )
    for name in ("params", "expected", "stream", "checks", "derived_not_run_upstream"):
        if not isinstance(entry.get(name, {}), dict):
            problems.append(Problem("must be a mapping", str(path), field=f"{place}.{name}"))
    if len(problems) == before and sizes["hq"] % sizes["hkv"]:
        problems.append(Problem("must be a multiple of hkv", str(path), field=f"{place}.hq"))
    if len(problems) == before and sizes["hq"] * sizes["n"] * sizes["d"] > _MOST_ELEMENTS:
        problems.append(Problem("the streams would not fit in memory", str(path), field=place))
    if len(problems) > before:
        return None
    return Case(
        str(entry["id"]),
        str(entry["policy"]),
        str(entry.get("upstream", "")),
        str(entry.get("protocol", "")),
        entry["seed"],
        entry["hq"],
        entry["hkv"],
        entry["n"],
        entry["d"],
        entry["params"],
        entry["expected"],
        entry.get("stream", {}),
        entry.get("checks", {}),
        entry.get("derived_not_run_upstream", {}),
        str(entry.get("stream_post", "")),
        entry.get("min_rel_margin"),
    )


def _draw(case: Case, seed: int) -> Streams:
    """The recipe `make_stream` of the file format, then the case's own `stream_post`."""
    known = {"heavy", "a", "b", "sinks", "a_sink", "kscale", "qscale"}
    unknown = set(case.stream) - known
    if unknown:
        raise UnsupportedCaseError(f"stream parameters {sorted(unknown)} are not known")
    rng = np.random.default_rng(seed)
    keys, values = (rng.standard_normal((case.kv_heads, case.n, case.d), dtype=np.float32) for _ in range(2))
    queries = rng.standard_normal((case.query_heads, case.n, case.d), dtype=np.float32)
    given = {name: case.stream.get(name, 1 if name.endswith("scale") else 0) for name in known - {"heavy"}}
    keys *= np.float32(given["kscale"])
    queries *= np.float32(given["qscale"])
    heavy = case.stream.get("heavy") or []
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
    frame, frames = case.params.get("token_per_frame"), case.params.get("frames")
    if "keys of frame f" not in case.post or len(factors) != 2 or not frame or not frames:
        raise UnsupportedCaseError(f"stream_post is not understood: {case.post}")
    start = int(case.params.get("system_size", 0))
    before, own = (np.float32(factor) for factor in factors)
    for number in range(1, int(frames)):
        at = start + number * int(frame)
        last = keys[:, at - int(frame) : at]
        keys[:, at : at + int(frame)] = before * last + own * keys[:, at : at + int(frame)]


def _verify(case: Case, drawn: Streams) -> None:
    for name, tensor in (("K", drawn.k), ("V", drawn.v), ("Q", drawn.q)):
        check = case.checks.get(name)
        if not isinstance(check, dict):
            continue
        flat = tensor.ravel()
        got = {
            "sum_f64": float(flat.astype(np.float64).sum()),
            "first3": flat[:3].tolist(),
            "last": float(flat[-1]),
        }
        for key, value in check.items():
            if key in got and not np.allclose(got[key], value, rtol=0, atol=_CHECK_TOLERANCE):
                raise UnsupportedCaseError(
                    f"the stream of {name} could not be regenerated: {key} is {got[key]}, not {value}"
                )
