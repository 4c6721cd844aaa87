"""Queries, keys and values of a workload: seeded random ones, or real ones from a file."""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from algorithms.workload.shape import FloatArray, Workload
from hwmodels.reading.errors import InputError, Problem

LARGEST_TENSOR_ELEMENTS = 1 << 28
"""Limit for one array of a file, so that a hostile archive cannot fill the memory: 2 GiB as float64."""


_UNREADABLE = (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What reading a damaged, encrypted or strangely compressed archive raises."""


def draw_tensors(workload: Workload) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Independent standard normal q, k and v in float64, fixed by the workload's seed.

    Each tensor has its own random stream, so changing `q_len` leaves k and v as they are. Independent
    normal data carries no attention structure: it exercises arithmetic and says nothing about the accuracy
    of a KV policy.

    Returns
    -------
    q, k, v
        `(batch, heads, q_len, head_dim)`, `(batch, kv_heads, kv_len, head_dim)`,
        `(batch, kv_heads, kv_len, v_head_dim)`.
    """
    streams = np.random.SeedSequence(workload.seed).spawn(3)
    shapes = (workload.q_shape, workload.k_shape, workload.v_shape)
    q, k, v = (
        np.random.default_rng(stream).standard_normal(shape) for stream, shape in zip(streams, shapes, strict=True)
    )
    return q, k, v


def load_tensors(path: Path | str) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Read q, k and v from an ``.npz`` file, as float64.

    The file holds arrays ``q``, ``k`` and ``v`` of `(batch, heads, length, dim)`, `(heads, length, dim)` or, for one
    head, `(length, dim)`; further arrays are ignored. Pickled objects are refused.

    Raises
    ------
    InputError
        Missing or damaged file, missing arrays, wrong ranks, sizes that do not fit together, values that
        are not finite: every problem, one line each.
    """
    name = str(path)
    problems: list[Problem] = []
    arrays = _read_arrays(Path(path), name, problems)
    tensors = {key: _as_tensor(key, array, name, problems) for key, array in arrays.items()}
    if problems:
        raise InputError(problems)
    q, k, v = (tensors[key] for key in ("q", "k", "v"))
    misfits = [Problem(message, name) for message in _misfits(q.shape, k.shape, v.shape)]
    if misfits:
        raise InputError(misfits)
    return q, k, v


def workload_of_tensors(workload: Workload, q: FloatArray, k: FloatArray, v: FloatArray) -> Workload:
    """`workload` with the shapes of the given tensors, `(batch, heads, length, dim)` each."""
    return workload.with_(
        batch=q.shape[0],
        heads=q.shape[1],
        kv_heads=k.shape[1],
        q_len=q.shape[2],
        kv_len=k.shape[2],
        head_dim=q.shape[3],
        v_head_dim=v.shape[3],
        latent=None,
    )


def _read_arrays(path: Path, name: str, problems: list[Problem]) -> dict[str, NDArray[np.generic]]:
    """The arrays q, k and v of an archive; missing and oversized ones become problems."""
    arrays: dict[str, NDArray[np.generic]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            for key in ("q", "k", "v"):
                if key not in members:
                    problems.append(Problem(f"has no array {key!r} (it has {', '.join(members)})", name))
                    continue
                with archive.open(members[key]) as file:
                    why = _why_unread(*_header_of(file))
                if why:
                    problems.append(Problem(why, name, field=key))
                    continue
                with archive.open(members[key]) as file:
                    arrays[key] = np.lib.format.read_array(file, allow_pickle=False)
    except FileNotFoundError:
        raise InputError(Problem("no such file", name)) from None
    except _UNREADABLE as error:
        raise InputError(Problem(f"cannot be read as an .npz archive: {error}", name)) from None
    return arrays


def _header_of(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    """Shape and type of an array by the beginning of its file; raises ValueError if that says neither."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype


def _why_unread(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> str:
    """Why an array of that header is not read at all; empty if it is. Nothing of it is in memory yet."""
    if len(shape) not in (2, 3, 4) and not dtype.hasobject:
        return f"must have 2 to 4 axes (batch, heads, length, dim), the first ones if wanted (got {shape})"
    if dtype.kind not in "fiu" and not dtype.hasobject:  # objects are refused by whoever reads
        return f"must hold real numbers (got {dtype})"
    elements = math.prod(shape)
    if elements > LARGEST_TENSOR_ELEMENTS:
        return f"has {elements:,} elements, at most {LARGEST_TENSOR_ELEMENTS:,} are read"
    return ""


def _as_tensor(key: str, array: NDArray[np.generic], name: str, problems: list[Problem]) -> FloatArray:
    """float64 with four axes, of an array whose header is in order; complaints about its content go to `problems`."""
    tensor = array.astype(np.float64).reshape((1,) * (4 - array.ndim) + array.shape)
    if tensor.size == 0:
        problems.append(Problem(f"is empty (got {array.shape})", name, field=key))
    bad = np.argwhere(~np.isfinite(tensor))
    if bad.size:
        place = tuple(int(i) for i in bad[0])
        problems.append(Problem(f"holds {len(bad)} values that are not finite, the first at {place}", name, field=key))
    return tensor


def _misfits(q: tuple[int, ...], k: tuple[int, ...], v: tuple[int, ...]) -> list[str]:
    """Problems with shapes `(batch, heads, length, dim)` that are not those of grouped-query attention."""
    found = []
    if len({q[0], k[0], v[0]}) != 1:
        found.append(f"q, k and v differ in batch: {q[0]}, {k[0]}, {v[0]}")
    if q[3] != k[3]:
        found.append(f"q and k differ in head dimension: {q[3]} and {k[3]}")
    if k[1:3] != v[1:3]:
        found.append(f"k and v differ in (kv_heads, length): {k[1:3]} and {v[1:3]}")
    if q[1] % k[1]:
        found.append(f"{q[1]} query heads cannot be grouped over {k[1]} KV heads")
    return found
