"""Streams that KV policies are judged on: calibrated synthetic ones, and tensors from a file.

Independent Gaussian data cannot rank policies: with `n` keys and `k` kept, any choice that ignores scores has
a relative output error near `sqrt(n / k - 1)`. The streams here plant the structure that policies use, in
known strength. They are synthetic: no row on them says anything about the accuracy of a trained model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from algorithms.workload.tensors import load_tensors
from hwmodels.reading.errors import InputError, Problem, did_you_mean
from reference.captures import capture_names, capture_path

Array = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Sample:
    """One draw of a stream.

    Parameters
    ----------
    q, k, v
        `(query_heads, n, head_dim)`, `(kv_heads, n, head_dim)`, `(kv_heads, n, value_dim)`; the last query is
        the question.
    """

    q: Array
    k: Array
    v: Array

    @property
    def tokens(self) -> int:
        """Length."""
        return int(self.k.shape[1])


@dataclass(frozen=True)
class QualityStream:
    """A named source of samples.

    Parameters
    ----------
    name
        What tables call it.
    meaning
        One line.
    synthetic
        Whether it was made up; policies that rest on properties of trained models cannot be judged then.
    draw
        Sample by seed.
    most_samples
        Different samples there are; None for any number.
    """

    name: str
    meaning: str
    synthetic: bool
    draw: Callable[[int], Sample]
    most_samples: int | None = None


@dataclass(frozen=True)
class StreamSize:
    """Shape of the synthetic streams.

    Parameters
    ----------
    tokens, kv_heads, group, head_dim
        Length, KV heads, query heads per KV head, head dimension.
    """

    tokens: int = 1024
    kv_heads: int = 2
    group: int = 1
    head_dim: int = 64

    def normal(self, rng: np.random.Generator) -> tuple[Array, Array, Array]:
        """Independent standard normal q, k, v."""
        q = rng.standard_normal((self.kv_heads * self.group, self.tokens, self.head_dim))
        k, v = rng.standard_normal((2, self.kv_heads, self.tokens, self.head_dim))
        return q, k, v


def drifting(rng: np.random.Generator, shape: tuple[int, int, int], memory: float) -> Array:
    """A stationary AR(1) process along axis 1 of `(heads, n, dim)` with unit variance."""
    noise = rng.standard_normal(shape)
    walk = np.empty(shape)
    walk[:, 0] = noise[:, 0]
    innovation = np.sqrt(1 - memory**2)
    for at in range(1, shape[1]):
        walk[:, at] = memory * walk[:, at - 1] + innovation * noise[:, at]
    return walk


HEAVY_KEYS = 40
HEAVY_RUN = 8


def heavy_hitter(seed: int, size: StreamSize = StreamSize()) -> Sample:
    """Sinks, heavy keys and locality in known strength.

    Along a unit direction `u` per KV head: queries get 5 u, the first four keys 10 u (with values scaled by
    0.05, as sinks have), and 40 keys 7 u. An AR(0.98) process times 0.8 in both queries and keys makes
    neighbours alike. Heavy keys come in runs of eight at random places, as salient passages do; that is what
    policies that pool scores or fetch pages presume.
    """
    rng = np.random.default_rng([1, seed])
    q, k, v = size.normal(rng)
    direction = rng.standard_normal((size.kv_heads, 1, size.head_dim))
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    k[:, :4] += 10 * direction
    v[:, :4] *= 0.05
    places = (size.tokens - 4) // HEAVY_RUN
    for head in range(size.kv_heads):
        runs = rng.permutation(places)[: HEAVY_KEYS // HEAVY_RUN]
        heavy = (4 + HEAVY_RUN * runs[:, None] + np.arange(HEAVY_RUN)).ravel()
        k[head, heavy] += 7 * direction[head]
    local = 0.8 * drifting(rng, k.shape, 0.98)
    k += local
    q += 5 * np.repeat(direction, size.group, 0) + np.repeat(local, size.group, 0)
    return Sample(q, k, v)


def drift(seed: int, size: StreamSize = StreamSize()) -> Sample:
    """Keys drift as AR(0.95) and queries follow: ``0.8 k + 0.6 noise``, so what matters moves on."""
    rng = np.random.default_rng([2, seed])
    noise, _, v = size.normal(rng)
    k = drifting(rng, (size.kv_heads, size.tokens, size.head_dim), 0.95)
    return Sample(0.8 * np.repeat(k, size.group, 0) + 0.6 * noise, k, v)


def gaussian(seed: int, size: StreamSize = StreamSize()) -> Sample:
    """Independent Gaussian numbers: a calibration row, never a quality."""
    return Sample(*size.normal(np.random.default_rng([3, seed])))


CODES = 64


@dataclass(frozen=True, eq=False)
class Passkey:
    """A haystack with one needle.

    Parameters
    ----------
    sample
        The stream; the needle's key has length 8, the question points along it with length 8.
    needle
        Position of the needle.
    code
        Which of the 64 codes its value is.
    codes
        `(64, head_dim)`, orthonormal times `sqrt(head_dim)` as far as the dimension allows.
    """

    sample: Sample
    needle: int
    code: int
    codes: Array

    def answer(self, output: Array) -> NDArray[np.int64]:
        """The code each query head names: `(query_heads,)` from `(query_heads, head_dim)`."""
        named: NDArray[np.int64] = (output @ self.codes.T).argmax(-1)
        return named


def passkey(
    seed: int,
    depth: float,
    asked_in_prompt: int = 0,
    size: StreamSize = StreamSize(),
) -> Passkey:
    """Associative recall: one key of norm 8 holds a code, and the last query asks for it.

    Parameters
    ----------
    depth
        Place of the needle, 0 at the start and 1 at the end.
    asked_in_prompt
        Queries before the last that ask already (the question is part of the prompt: query-aware).
    """
    rng = np.random.default_rng([4, seed])
    q, k, v = size.normal(rng)
    codes = np.linalg.qr(rng.standard_normal((max(CODES, size.head_dim),) * 2))[0][:CODES, : size.head_dim]
    codes *= np.sqrt(size.head_dim) / np.linalg.norm(codes, axis=1, keepdims=True)
    direction = rng.standard_normal((size.kv_heads, size.head_dim))
    direction *= 8 / np.linalg.norm(direction, axis=1, keepdims=True)
    last = size.tokens - 1 - asked_in_prompt
    needle = min(int(depth * last), last - 1)
    code = int(rng.integers(CODES))
    k[:, needle] = direction
    v[:, needle] = codes[code]
    q[:, last:] = np.repeat(direction, size.group, 0)[:, None]
    return Passkey(Sample(q, k, v), needle, code, codes)


def synthetic_streams(size: StreamSize = StreamSize()) -> dict[str, QualityStream]:
    """The synthetic streams by name."""
    makers = {"heavy_hitter": heavy_hitter, "drift": drift, "gaussian": gaussian}

    def stream(name: str) -> QualityStream:
        maker = makers[name]
        meaning = str(maker.__doc__).splitlines()[0].rstrip(".")
        return QualityStream(name, meaning, True, lambda seed: maker(seed, size))

    return {name: stream(name) for name in makers}


def tensor_stream(path: Path, name: str | None = None, questions: int = 16) -> QualityStream:
    """Real or recorded tensors: each sample ends at another token, whose query is the question.

    The tensors are read causally, whatever mask they were recorded under; of a batch the first sequence is
    used.

    Raises
    ------
    InputError
        The file cannot be used, or is too short for `questions` questions in its second half.
    """
    q, k, v = (tensor[0] for tensor in load_tensors(path))
    tokens = min(k.shape[1], q.shape[1])
    if q.shape[1] != k.shape[1]:
        raise InputError(Problem(f"a stream needs a query per key (got {q.shape[1]} and {k.shape[1]})", str(path)))
    if tokens < 2 * questions:
        raise InputError(Problem(f"{tokens} tokens are too few for {questions} questions", str(path)))

    def draw(seed: int) -> Sample:
        end = tokens - seed % questions * (tokens // (2 * questions))
        return Sample(q[:, :end], k[:, :end], v[:, :end])

    return QualityStream(name or path.stem, f"tensors of {path.name}", False, draw, questions)


def stream_named(name: str, size: StreamSize = StreamSize()) -> QualityStream:
    """A synthetic stream, a shipped capture or an ``.npz`` file.

    Raises
    ------
    InputError
        None of these.
    """
    known = synthetic_streams(size)
    if name in known:
        return known[name]
    if name in capture_names():
        return tensor_stream(capture_path(name), name)
    if name.endswith(".npz"):
        return tensor_stream(Path(name))
    raise InputError(Problem(f"unknown stream '{name}'", hint=did_you_mean(name, [*known, *capture_names()])))
