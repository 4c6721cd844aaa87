"""The CPU run of the CUDA sources finds what it is there to find: mistakes planted in kernels are caught."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest

from reference.cuda import cupy_ref
from reference.cuda.host_device import HostDevice, KernelFaultError
from reference.cuda.kernel_sources import Kernel
from reference.truth import metrics, oracle

pytestmark = pytest.mark.usefixtures("host")


@dataclass(frozen=True)
class Mutant(Kernel):
    """A kernel with one occurrence of a text in its entry function replaced."""

    find: str = ""
    put: str = ""
    occurrence: int = 0

    def text_without(self, header: str) -> str:
        text = super().text_without(header)
        place = text.rindex("KERNEL ")
        for _ in range(self.occurrence + 1):
            place = text.index(self.find, place + 1)
        return text[:place] + self.put + text[place + len(self.find) :]


def planted(kernel: Kernel, find: str, put: str, occurrence: int = 0) -> Mutant:
    return Mutant(**vars(kernel), find=find, put=put, occurrence=occurrence)


def tensors(device, dtype="float16"):
    rng = np.random.default_rng(0)
    shapes = ((1, 2, 140, 32), (1, 1, 250, 32), (1, 1, 250, 32))
    return [device.array(rng.standard_normal(shape).astype(dtype)) for shape in shapes]


def prefill(device, dtype):
    return cupy_ref.plan_prefill(device, *tensors(device, dtype), mask="causal")


def decode(device, dtype):
    q, k, v = tensors(device, dtype)
    return cupy_ref.plan_decode(device, device.array(q[:, :, :1]), k, v, splits=1)


def mla(device, dtype):
    q, k, _ = tensors(device, dtype)
    queries, latent = device.array(q[:, :, :1]), device.array(k[:, 0])
    return cupy_ref.plan_mla_decode(device, queries, latent, v_dim=32, splits=1)


def column_sums(device, dtype):
    q, k, v = tensors(device, dtype)
    _, lse = oracle.attention(q, k, v)
    return cupy_ref.plan_column_sums(device, q, k, device.array(lse.astype(np.float32)))


def softmax(device, dtype):
    return cupy_ref.plan_softmax(device, device.array(tensors(device, dtype)[1].reshape(-1, 500)))


# Plan, format and number of block barriers of each kernel that has any.
PLANS = {
    "prefill": (prefill, "float16", 4),
    "tiled": (prefill, "float32", 2),
    "decode": (decode, "float16", 4),
    "mla": (mla, "float16", 2),
    "column-sums": (column_sums, "float16", 2),
    "softmax": (softmax, "float16", 1),
}
BARRIERS = [pytest.param(name, i, id=f"{name}-{i}") for name, (_, _, count) in PLANS.items() for i in range(count)]
SCHEDULES = [(order, early) for order in (0, 1, 2) for early in (False, True)]


def outputs(name, schedule=(0, False), change=lambda kernel: kernel):
    """Results of a plan with its first kernel changed, or the fault it ran into."""
    plan, dtype, _ = PLANS[name]
    call = plan(HostDevice(*schedule), dtype)
    first = dataclasses.replace(call.launches[0], kernel=change(call.launches[0].kernel))
    call = dataclasses.replace(call, launches=(first, *call.launches[1:]))
    try:
        return [np.asarray(array, dtype=np.float64) for array in call.run()]
    except KernelFaultError as fault:
        return str(fault)


def differs(got, want):
    """Whether a run ended in a fault or in other values, bit for bit."""
    return isinstance(got, str) or not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(got, want, strict=True))


def is_seen(name, change):
    """Whether some legal schedule tells the changed kernel from the plain one."""
    plain = outputs(name)
    return any(differs(outputs(name, schedule, change), plain) for schedule in SCHEDULES)


@pytest.mark.parametrize("name", PLANS)
def test_results_do_not_depend_on_the_order_in_which_warps_run(name):
    plain = outputs(name)
    assert all(np.all(np.isfinite(array)) for array in plain)
    for schedule in (*SCHEDULES, (3, True)):
        assert not differs(outputs(name, schedule), plain)


@pytest.mark.parametrize(("name", "occurrence"), BARRIERS)
def test_every_barrier_is_needed_and_its_loss_is_seen(name, occurrence):
    assert is_seen(name, lambda kernel: planted(kernel, "block_barrier();", "", occurrence))


@pytest.mark.parametrize("name", PLANS)
def test_the_number_of_barriers_above_is_that_of_the_source(name):
    plan, dtype, count = PLANS[name]
    text = plan(HostDevice(), dtype).kernels[0].text
    assert text[text.rindex("KERNEL ") :].count("block_barrier();") == count


@pytest.mark.parametrize(
    ("name", "find", "put"),
    [
        ("prefill", "wait_copies<1>();", "wait_copies<2>();"),
        ("tiled", "wait_copies<1>();", "wait_copies<2>();"),
        ("decode", "wait_copies<STAGES - 2>();", "wait_copies<STAGES - 1>();"),
        ("mla", "wait_copies<1>();", "wait_copies<2>();"),
        ("column-sums", "wait_copies<1>();", "wait_copies<2>();"),
        ("prefill", "commit_copies();", ""),
        ("prefill", "if (!visible(", "if (visible("),
        ("prefill", "place * V_DIM", "(place + 1) * V_DIM"),
        ("decode", "index < count ?", "true ?"),
        ("decode", "(tile - first) % STAGES", "0"),
    ],
)
def test_planted_mistakes_are_seen(name, find, put):
    assert is_seen(name, lambda kernel: planted(kernel, find, put))


@pytest.mark.parametrize("name", [name for name in PLANS if name != "softmax"])
def test_shared_memory_is_no_smaller_than_the_kernel_uses(name):
    """64 bytes less and the guard behind it is overwritten: the launcher computes the size exactly."""

    def smaller(kernel):
        return dataclasses.replace(kernel, shared_bytes=kernel.shared_bytes - 64)

    found = outputs(name, change=smaller)
    assert isinstance(found, str) and "shared memory" in found


def test_threads_at_different_barriers_are_reported():
    some = "if (thread_index() < 7) block_barrier();"
    found = outputs("prefill", change=lambda kernel: planted(kernel, "block_barrier();", some))
    assert isinstance(found, str) and "barriers" in found


def test_sources_that_do_not_compile_are_reported():
    found = outputs("prefill", change=lambda kernel: planted(kernel, "block_barrier();", "no_such_name;"))
    assert isinstance(found, str) and "no_such_name" in found


def test_the_plain_kernel_is_right(host):
    """Guard against a comparison that calls everything different: the unchanged kernel equals the oracle."""
    q, k, v = tensors(host)
    out, _ = cupy_ref.plan_prefill(host, q, k, v, mask="causal").run()
    want, _ = oracle.attention(q, k, v, mask="causal")
    assert metrics.relative_l2(out, want) < metrics.TOLERANCES["float16"].relative_l2
