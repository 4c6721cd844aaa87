"""Compile CUDA C to machine code on a machine without a GPU or a driver, through the NVRTC wheels of PyPI.

NVRTC is NVIDIA's run-time compiler; ``pip install nvidia-cuda-nvrtc-cu12`` (or ``nvidia-cuda-nvrtc`` for
CUDA 13) brings it as a shared library that needs neither device nor driver. CuPy's own interface to it asks
for a device first, so it is called here through ctypes. The assembler's verbose report tells registers and
spills of each kernel.
"""

from __future__ import annotations

import ctypes
import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from reference.cuda.kernel_sources import Kernel

INSTALL_HINT = "install NVRTC with: pip install 'attnflow[nvrtc]'"


class CompileError(RuntimeError):
    """A kernel did not compile; the message is the compiler's log."""


@dataclass(frozen=True)
class CompiledKernel:
    """Report of the assembler on one kernel.

    Attributes
    ----------
    machine_code
        ELF image (cubin) for the architecture asked for.
    registers
        Per thread.
    spill_bytes
        Stored to and loaded from local memory per thread because registers ran out.
    stack_bytes
        Local memory per thread for other reasons: arrays indexed at run time.
    static_shared_bytes
        Shared memory declared in the source; launches add dynamic memory.
    log
        The whole report.
    """

    machine_code: bytes
    registers: int
    spill_bytes: int
    stack_bytes: int
    static_shared_bytes: int
    log: str


def available() -> bool:
    """Whether an NVRTC library can be loaded here."""
    try:
        _library()
    except OSError:
        return False
    return True


def version() -> tuple[int, int]:
    """CUDA version of the library found.

    Raises
    ------
    OSError
        NVRTC is not installed.
    """
    major, minor = ctypes.c_int(), ctypes.c_int()
    _check(_library().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)))
    return major.value, minor.value


def compile_kernel(kernel: Kernel, architecture: str) -> CompiledKernel:
    """Machine code and resource report of `kernel` for an architecture such as ``sm_90``.

    Raises
    ------
    CompileError
        The source does not compile.
    OSError
        NVRTC is not installed.
    """
    nvrtc = _library()
    program = ctypes.c_void_p()
    text = kernel.text.encode()
    _check(nvrtc.nvrtcCreateProgram(ctypes.byref(program), text, kernel.file.encode(), 0, None, None))
    try:
        options = [*kernel.options, f"--gpu-architecture={architecture}", "--ptxas-options=-v"]
        arguments = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
        status = nvrtc.nvrtcCompileProgram(program, len(options), arguments)
        log = _fetch(program, "nvrtcGetProgramLogSize", "nvrtcGetProgramLog").decode(errors="replace").strip("\0\n")
        if status:
            raise CompileError(f"{kernel} for {architecture}: {log}")
        code = _fetch(program, "nvrtcGetCUBINSize", "nvrtcGetCUBIN")
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return _report(kernel, code, log)


def _report(kernel: Kernel, code: bytes, log: str) -> CompiledKernel:
    """Read the assembler's lines on the kernel's entry function."""
    entry = re.search(rf"Compiling entry function '{kernel.entry}'.*?(?=Compiling entry function|\Z)", log, re.DOTALL)
    section = entry[0] if entry else log

    def number(pattern: str) -> int:
        found = re.search(pattern, section)
        return int(found[1]) if found else 0

    registers = number(r"Used (\d+) registers")
    if not registers:
        raise CompileError(f"{kernel}: the assembler reported no register count:\n{log}")
    return CompiledKernel(
        machine_code=code,
        registers=registers,
        spill_bytes=number(r"(\d+) bytes spill stores") + number(r"(\d+) bytes spill loads"),
        stack_bytes=number(r"(\d+) bytes stack frame"),
        static_shared_bytes=number(r"(\d+) bytes smem"),
        log=log,
    )


def _fetch(program: ctypes.c_void_p, size_name: str, fetch_name: str) -> bytes:
    nvrtc = _library()
    size = ctypes.c_size_t()
    _check(getattr(nvrtc, size_name)(program, ctypes.byref(size)))
    buffer = ctypes.create_string_buffer(size.value)
    _check(getattr(nvrtc, fetch_name)(program, buffer))
    return buffer.raw


def _check(status: int) -> None:
    if status:
        describe = _library().nvrtcGetErrorString
        describe.restype = ctypes.c_char_p
        raise CompileError(f"NVRTC: {describe(status).decode()}")


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL:
    candidates = [*_wheel_libraries(), "libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"]
    for candidate in candidates:
        try:
            return ctypes.CDLL(str(candidate))
        except OSError:
            continue
    raise OSError(f"no NVRTC library found; {INSTALL_HINT}")


def _wheel_libraries() -> Iterator[Path]:
    """NVRTC as the wheels of CUDA 12 (nvidia/cuda_nvrtc/lib) and of CUDA 13 (nvidia/cu13/lib) lay it out."""
    spec = importlib.util.find_spec("nvidia")
    for root in spec.submodule_search_locations or () if spec else ():
        for pattern in ("cu*/lib/libnvrtc.so.*", "cuda_nvrtc/lib/libnvrtc.so.*"):
            yield from sorted(Path(root).glob(pattern), reverse=True)
