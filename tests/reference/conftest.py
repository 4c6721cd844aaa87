"""Where kernels run in these tests: on the CPU through g++ always, on a GPU where there is one."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

from reference.cuda import host_device, launch

REQUIRE_GPU = "ATTNFLOW_REQUIRE_GPU"


def _skip_without_gpu(reason: str) -> NoReturn:
    """Skip; fail where a GPU was promised, so that a broken driver cannot pass for a missing one."""
    if os.environ.get(REQUIRE_GPU, "") not in ("", "0"):
        pytest.fail(f"{REQUIRE_GPU} is set, but {reason}")
    pytest.skip(f"{reason}; {REQUIRE_GPU}=1 turns this skip into a failure")


@pytest.fixture
def skip_without_gpu():
    """The one way in which a test may do without a GPU."""
    return _skip_without_gpu


@pytest.fixture
def host():
    """The CUDA sources on the CPU."""
    if host_device.COMPILER is None:
        pytest.skip("no C++ compiler: install g++ (or set CXX) to run the CUDA sources on the CPU")
    return host_device.HostDevice()


@pytest.fixture
def gpu():
    """The current GPU through CuPy."""
    reason = launch.why_no_gpu()
    if reason:
        _skip_without_gpu(reason)
    return launch.CupyDevice()


@pytest.fixture(params=["host", pytest.param("gpu", marks=pytest.mark.gpu)])
def device(request):
    """Each test that asks for a device runs on both."""
    return request.getfixturevalue(request.param)
