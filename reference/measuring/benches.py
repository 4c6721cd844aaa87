"""The benches of the GPU at hand, each made when the first case needs it."""

from __future__ import annotations

from functools import cached_property

from reference.cuda import launch
from reference.measuring.bench import Bench, UnavailableError
from reference.measuring.cases import Case
from reference.measuring.cuda_bench import cuda_bench
from reference.measuring.machine import Hardware, hardware_id
from reference.measuring.torch_bench import torch_bench
from reference.with_torch import torch_ref


class StandardBenches:
    """Finds the bench that makes a case: CuPy for this package's kernels, PyTorch for its own."""

    def __call__(self, case: Case) -> Bench:
        """The bench of a case.

        Raises
        ------
        UnavailableError
            The framework is not installed or sees no GPU.
        """
        try:
            return self._torch if case.maker.startswith("torch") else self._cuda
        except RuntimeError as error:
            raise UnavailableError(str(error)) from error

    @cached_property
    def _cuda(self) -> Bench:
        return cuda_bench()

    @cached_property
    def _torch(self) -> Bench:
        return torch_bench()


def current_hardware() -> Hardware:
    """The GPU at hand, through whichever framework is installed.

    Raises
    ------
    RuntimeError
        Neither CuPy nor PyTorch can use a GPU here; the message says what to install.
    """
    no_gpu = launch.why_no_gpu()
    if no_gpu is None:
        device = launch.CupyDevice()
        sizes = (device.l2_bytes, device.memory_bytes, device.multiprocessors)
        return Hardware(device.name, hardware_id(device.name), *sizes)
    if torch_ref.why_no_torch() is None:
        import torch

        if torch.cuda.is_available():
            properties = torch.cuda.get_device_properties(0)
            sizes = (properties.L2_cache_size, properties.total_memory, properties.multi_processor_count)
            return Hardware(properties.name, hardware_id(properties.name), *sizes)
    raise RuntimeError(no_gpu)
