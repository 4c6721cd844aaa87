"""Where the CUDA kernels run: the few things a launcher needs of a device, and CuPy's version of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from reference.kernel_sources import Kernel

if TYPE_CHECKING:
    import cupy

Scalar = np.int32 | np.int64 | np.uint32 | np.float32 | np.uintp
NULL = np.uintp(0)
"""A null pointer as a kernel argument."""


class DeviceArray(Protocol):
    """A C-contiguous array in a device's memory; bfloat16 is stored as its bits in uint16."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[np.generic]: ...


Argument = DeviceArray | Scalar


class Device(Protocol):
    """What a launcher needs: memory, launches, and the number of multiprocessors to spread work over."""

    @property
    def multiprocessors(self) -> int: ...

    def array(self, values: NDArray[np.generic]) -> DeviceArray:
        """Copy to the device."""
        ...

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> DeviceArray:
        """Memory of unknown content, aligned to 16 bytes or more."""
        ...

    def to_host(self, array: DeviceArray) -> NDArray[np.generic]:
        """Copy to the host; waits for the launches before it."""
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
    """Why CuPy kernels cannot run here, with the remedy; None when they can."""
    try:
        import cupy
    except ImportError:
        return "CuPy is not installed: pip install 'attnflow[gpu]' on a machine with an NVIDIA GPU"
    if not cupy.cuda.is_available():
        return "CuPy is installed but sees no CUDA GPU: run on a machine with an NVIDIA GPU and its driver"
    return None
