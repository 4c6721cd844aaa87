"""Devices that run the CUDA kernels: the few things a launcher needs of one, and CuPy's version of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from reference.cuda.kernel_sources import Kernel

if TYPE_CHECKING:
    import cupy

Scalar = np.int32 | np.int64 | np.uint32 | np.float32 | np.uintp
_PIECE = 1 << 26
NULL = np.uintp(0)
"""A null pointer as a kernel argument."""


class Flags(Protocol):
    """Memory layout of an array."""

    @property
    def c_contiguous(self) -> bool: ...


class DeviceArray(Protocol):
    """A C-contiguous array in a device's memory; bfloat16 is stored as its bits in uint16."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[np.generic]: ...

    @property
    def flags(self) -> Flags: ...

    def __getitem__(self, place: int | slice | tuple[int, ...]) -> DeviceArray: ...


Argument = DeviceArray | Scalar


class Device(Protocol):
    """Device as a launcher sees it: memory, launches, and the number of multiprocessors to spread work over."""

    @property
    def multiprocessors(self) -> int: ...

    def draw(self, shape: tuple[int, ...], dtype: str, seed: int) -> DeviceArray:
        """Standard normal values rounded to a format, made on the device."""
        ...

    def array(self, values: NDArray[np.generic]) -> DeviceArray:
        """Copy to the device."""
        ...

    def permutation(self, count: int, seed: int) -> DeviceArray:
        """The numbers below `count` in random order, int32."""
        ...

    def free_memory(self) -> None:
        """Give cached memory that no array uses back to the device."""
        ...

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> DeviceArray:
        """Memory of unknown content, aligned to 16 bytes or more."""
        ...

    def to_host(self, array: DeviceArray) -> NDArray[np.generic]:
        """Copy to the host; waits for the launches before it."""
        ...

    def synchronize(self) -> None:
        """Wait for everything launched; raises what went wrong on the device."""
        ...

    def launch(self, kernel: Kernel, grid: tuple[int, int, int], arguments: Sequence[Argument]) -> None:
        """Start a kernel on the current stream."""
        ...


class CupyDevice:
    """The current CUDA device through CuPy.

    Raises
    ------
    RuntimeError
        CuPy is not installed, or it sees no GPU; the message says what to do.
    """

    def __init__(self) -> None:
        reason = why_no_gpu()
        if reason:
            raise RuntimeError(reason)
        import cupy

        self._cupy = cupy
        properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.runtime.getDevice())
        self.name: str = properties["name"].decode()
        self.multiprocessors: int = int(properties["multiProcessorCount"])
        self.l2_bytes: int = int(properties["l2CacheSize"])
        self.memory_bytes: int = int(properties["totalGlobalMem"])
        self._functions: dict[Kernel, cupy.RawKernel] = {}

    def array(self, values: NDArray[np.generic]) -> DeviceArray:
        """Copy to the device."""
        copied: DeviceArray = self._cupy.ascontiguousarray(self._cupy.asarray(values))
        return copied

    def draw(self, shape: tuple[int, ...], dtype: str, seed: int) -> DeviceArray:
        """Standard normal values, drawn in pieces so that float32 copies of large tensors never exist whole."""
        cupy = self._cupy
        generator = cupy.random.default_rng(seed)
        values = cupy.empty(shape, dtype="uint16" if dtype == "bfloat16" else dtype)
        flat = values.reshape(-1)
        for start in range(0, flat.size, _PIECE):
            piece = generator.standard_normal(min(_PIECE, flat.size - start), dtype=cupy.float32)
            if dtype == "bfloat16":
                bits = piece.view(cupy.uint32)
                # Round to nearest even: half of the last kept bit, less one where that bit is even.
                piece = ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(cupy.uint16)
            flat[start : start + piece.size] = piece
        drawn: DeviceArray = values
        return drawn

    def permutation(self, count: int, seed: int) -> DeviceArray:
        """The numbers below `count` in random order."""
        keys = self._cupy.random.default_rng(seed).random(count, dtype=self._cupy.float32)
        order: DeviceArray = self._cupy.argsort(keys).astype(self._cupy.int32)
        return order

    def free_memory(self) -> None:
        """Empty CuPy's memory pool."""
        self._cupy.get_default_memory_pool().free_all_blocks()

    def synchronize(self) -> None:
        """Wait for the device."""
        self._cupy.cuda.runtime.deviceSynchronize()

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> DeviceArray:
        """Uninitialised device memory."""
        allocated: DeviceArray = self._cupy.empty(shape, dtype)
        return allocated

    def to_host(self, array: DeviceArray) -> NDArray[np.generic]:
        """Copy to the host."""
        values: NDArray[np.generic] = self._cupy.asnumpy(array)
        return values

    def launch(self, kernel: Kernel, grid: tuple[int, int, int], arguments: Sequence[Argument]) -> None:
        """Compile on first use and start on the current stream."""
        function = self._functions.get(kernel)
        if function is None:
            module = self._cupy.RawModule(code=kernel.text, options=kernel.options, backend="nvrtc")
            function = module.get_function(kernel.entry)
            if kernel.shared_bytes > 48 * 1024:
                function.max_dynamic_shared_size_bytes = kernel.shared_bytes
            self._functions[kernel] = function
        if 0 not in grid:
            function(grid, (kernel.block_threads,), tuple(arguments), shared_mem=kernel.shared_bytes)


@lru_cache(maxsize=1)
def why_no_gpu() -> str | None:
    """Reason why CuPy kernels cannot run here, with the remedy; None when they can."""
    try:
        import cupy
    except ImportError:
        return "CuPy is not installed: pip install 'attnflow[gpu]', or [gpu-cuda12], on a machine with an NVIDIA GPU"
    if not cupy.cuda.is_available():
        return "CuPy is installed but sees no CUDA GPU: run on a machine with an NVIDIA GPU and its driver"
    return None
