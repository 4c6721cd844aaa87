"""Every CUDA source compiles for every target, within the registers and shared memory it was designed for."""

from __future__ import annotations

import dataclasses

import pytest

from reference.cuda import kernel_sources, nvrtc
from reference.cuda.kernel_sources import ARCHITECTURES, KERNEL_FOLDER, all_kernels

REGISTERS_PER_MULTIPROCESSOR = 65536
REGISTERS_PER_THREAD = 255

# Blocks of each kernel that must fit on a multiprocessor at once, by registers: they hide latency.
RESIDENT_BLOCKS = {
    "row_attention": 3,
    "merge_splits": 8,
    "tiled_attention": 2,
    "decode_attention": 2,
    "mla_attention": 1,
    "column_sum": 8,
    "column_sum_tiled": 4,
    "row_softmax": 5,
}


@pytest.fixture(scope="module")
def compiler():
    if not nvrtc.available():
        pytest.skip(f"NVRTC is not installed, so the CUDA sources cannot be compiled here; {nvrtc.INSTALL_HINT}")
    return nvrtc


def resident_blocks(kernel):
    blocks = dict(kernel.defines).get("BLOCKS")
    return int(blocks) if blocks else RESIDENT_BLOCKS.get(kernel.entry, 4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("kernel", all_kernels(), ids=str)
def test_compiles_without_spills_and_within_its_registers(compiler, kernel, architecture):
    compiled = compiler.compile_kernel(kernel, architecture)
    assert compiled.machine_code.startswith(b"\x7fELF")
    assert compiled.spill_bytes == 0 and compiled.stack_bytes == 0
    assert compiled.registers <= REGISTERS_PER_THREAD
    threads = resident_blocks(kernel) * kernel.block_threads
    assert compiled.registers * threads <= REGISTERS_PER_MULTIPROCESSOR


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("kernel", all_kernels(), ids=str)
def test_shared_memory_fits_on_every_target(kernel, architecture):
    assert kernel.shared_bytes <= kernel_sources.SHARED_BYTES_LIMIT[architecture]


def test_every_source_file_is_covered():
    assert {kernel.file for kernel in all_kernels()} == {path.name for path in KERNEL_FOLDER.glob("*.cu")}


def test_errors_carry_the_compilers_message(compiler):
    kernel = kernel_sources.softmax_kernel("float16")
    broken = dataclasses.replace(kernel, defines=(("ELEMENT", "no_such_type"),))
    with pytest.raises(nvrtc.CompileError, match="no_such_type"):
        compiler.compile_kernel(broken, "sm_90")


def test_spills_are_reported(compiler):
    """The gate can fail: four blocks of the widest prefill kernel leave too few registers."""
    kernel = kernel_sources.prefill_kernel("float16", 128, 128)
    defines = tuple((name, "4" if name == "BLOCKS" else value) for name, value in kernel.defines)
    assert compiler.compile_kernel(dataclasses.replace(kernel, defines=defines), "sm_90").spill_bytes > 0


def test_sources_are_inlined_once_and_identified_by_content():
    kernel = kernel_sources.prefill_kernel("float16", 64, 64)
    assert "#include" not in kernel.text and kernel.text.count("struct KeyLayout {") == 1
    assert kernel.text_without("device.cuh").count('#include "device.cuh"') == 1
    assert kernel.sha256 != kernel_sources.prefill_kernel("bfloat16", 64, 64).sha256
    assert kernel.sha256 == kernel_sources.prefill_kernel("float16", 64, 64).sha256


def test_a_missing_library_is_an_answer_not_a_crash(monkeypatch):
    nvrtc._library.cache_clear()
    monkeypatch.setattr(nvrtc.ctypes, "CDLL", lambda name: (_ for _ in ()).throw(OSError(name)))
    assert not nvrtc.available()
    with pytest.raises(OSError, match=r"pip install 'attnflow\[nvrtc\]'"):
        nvrtc.version()
    monkeypatch.undo()
    nvrtc._library.cache_clear()
