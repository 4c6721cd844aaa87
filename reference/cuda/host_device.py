"""Run the CUDA sources on a CPU: built with g++ against ``kernels/host/device.cuh``, on guarded arrays."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike, NDArray

from reference.cuda.kernel_sources import KERNEL_FOLDER, Kernel
from reference.cuda.launch import Argument
from reference.truth.dtypes import bfloat16_bits, round_to

HEADER = "device.cuh"
HOST_FOLDER = KERNEL_FOLDER / "host"
COMPILER = shutil.which(os.environ.get("CXX", "g++"))
GUARD_BYTES = 1024

_CInteger = ctypes.c_int32 | ctypes.c_int64 | ctypes.c_uint32 | ctypes.c_uint64
_CValue = _CInteger | ctypes.c_float | ctypes.c_void_p
_C_INTEGERS: dict[str, Callable[[int], _CInteger]] = {
    "int32": ctypes.c_int32,
    "int64": ctypes.c_int64,
    "uint32": ctypes.c_uint32,
    "uint64": ctypes.c_uint64,
}


class KernelFaultError(RuntimeError):
    """The host run of a kernel broke a rule of the machine."""


@cache
def build(kernel: Kernel) -> ctypes.CDLL:
    """Shared library of one specialised kernel, cached by content between runs.

    Raises
    ------
    KernelFaultError
        The source does not compile; the message is the compiler's.
    """
    defines = "\n".join(f"#define {name} {value}" for name, value in kernel.defines)
    unit = f'{defines}\n#include "{HEADER}"\n{kernel.text_without(HEADER)}\nEXPORT({kernel.entry})\n'
    identity = unit + (HOST_FOLDER / HEADER).read_text(encoding="utf-8")
    folder = Path(tempfile.gettempdir()) / f"attnflow-host-kernels-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    library = folder / f"{hashlib.sha256(identity.encode()).hexdigest()[:32]}.so"
    if not library.exists():
        partial = library.with_suffix(f".{os.getpid()}")
        options = ["-std=c++17", "-O1", "-fPIC", "-shared", "-w", f"-I{HOST_FOLDER}", "-xc++", "-"]
        command = [str(COMPILER), *options, "-o", str(partial)]
        result = subprocess.run(command, input=unit, check=False, capture_output=True, text=True)
        if result.returncode:
            raise KernelFaultError(f"{kernel} does not build for the host:\n{result.stderr}")
        partial.rename(library)
    loaded = ctypes.CDLL(str(library))
    loaded.launch.restype = ctypes.c_char_p
    return loaded


class HostDevice:
    """A device whose kernels run on the CPU, thread by thread.

    Every array stands between guard bytes that hold NaN in every format: a read beyond an end turns results
    into NaN, a write beyond one is an error after the launch. Fresh memory holds NaN as well.

    Parameters
    ----------
    order
        In which order warps run between barriers: 0 first to last, 1 last to first, other values shuffle.
    early
        Whether asynchronous copies land when they are started, or else when they are waited for.
    multiprocessors
        What launchers are told, which decides their number of splits.
    """

    def __init__(self, order: int = 0, early: bool = False, multiprocessors: int = 4) -> None:
        self.order = order
        self.early = early
        self.multiprocessors = multiprocessors
        self.launched: list[Kernel] = []
        self._buffers: list[NDArray[np.uint8]] = []

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[np.generic]:
        """Guarded memory full of NaN."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        buffer = np.full(size + 2 * GUARD_BYTES + 128, 0xFF, dtype=np.uint8)
        start = GUARD_BYTES + (-(buffer.ctypes.data + GUARD_BYTES)) % 64
        guarded = buffer[start - GUARD_BYTES : start + size + GUARD_BYTES]
        self._buffers.append(guarded)
        return guarded[GUARD_BYTES : GUARD_BYTES + size].view(dtype).reshape(shape)

    def array(self, values: NDArray[np.generic]) -> NDArray[np.generic]:
        """A guarded copy."""
        copy = self.empty(values.shape, values.dtype)
        copy[...] = values
        return copy

    def draw(self, shape: tuple[int, ...], dtype: str, seed: int) -> NDArray[np.generic]:
        """Standard normal values of a format."""
        values = round_to(np.random.default_rng(seed).standard_normal(shape), dtype)
        return self.array(bfloat16_bits(values) if dtype == "bfloat16" else values.astype(dtype))

    def permutation(self, count: int, seed: int) -> NDArray[np.generic]:
        """The numbers below `count` in random order."""
        return self.array(np.random.default_rng(seed).permutation(count).astype(np.int32))

    def free_memory(self) -> None:
        """Forget the guards of arrays made so far; they are not checked any more."""
        self._buffers.clear()

    def synchronize(self) -> None:
        """Launches end before they return."""

    def to_host(self, array: NDArray[np.generic]) -> NDArray[np.generic]:
        """The array itself."""
        return array

    def launch(self, kernel: Kernel, grid: tuple[int, int, int], arguments: Sequence[Argument]) -> None:
        """Run every block of the grid, one after the other, and check the guards."""
        self.launched.append(kernel)
        if 0 in grid:
            return
        values = [self._argument(argument) for argument in arguments]
        pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
        sizes = (ctypes.c_uint * 3)(*grid)
        shared = ctypes.c_size_t(kernel.shared_bytes)
        block = ctypes.c_uint(kernel.block_threads)
        fault = build(kernel).launch(sizes, block, shared, pointers, self.order, self.early)
        if fault:
            raise KernelFaultError(f"{kernel}: {fault.decode()}")
        for guarded in self._buffers:
            if np.any(guarded[:GUARD_BYTES] != 0xFF) or np.any(guarded[-GUARD_BYTES:] != 0xFF):
                raise KernelFaultError(f"{kernel}: global memory written past the end of an array")

    @staticmethod
    def _argument(argument: Argument) -> _CValue:
        """The C value that a kernel parameter is read from."""
        if isinstance(argument, np.ndarray):
            if not argument.flags.c_contiguous:
                raise ValueError("kernel arguments must be C-contiguous")
            return ctypes.c_void_p(argument.ctypes.data)
        if isinstance(argument, np.float32):
            return ctypes.c_float(float(argument))
        if isinstance(argument, np.integer):
            return _C_INTEGERS[argument.dtype.name](int(argument))
        raise TypeError(f"a kernel cannot take {type(argument).__name__}")
