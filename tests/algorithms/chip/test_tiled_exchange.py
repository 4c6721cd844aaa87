"""Work inside a core that products wait for: partial results that warps exchange, tiles written in another order."""

from __future__ import annotations

from dataclasses import replace

import pytest

from algorithms.chip.plan.kernels import load_kernel
from algorithms.chip.plan.plan import Launch, Matmul, TilePlan, TileStep, WorkItem
from algorithms.chip.plan.profile import KernelProfile
from algorithms.chip.timing.energy import energy_of
from algorithms.chip.timing.mapping import time_plan
from algorithms.workload.shape import Workload
from hwmodels.chips.accelerator import load_accelerator
from hwmodels.reading.errors import InputError

A100 = load_accelerator("a100_sxm4_40g")
STEP = TileStep(2048, (Matmul(16, 256, 64),), 16 * 256, 6 * 16 * 256, (Matmul(16, 64, 256),))
SERIAL_CYCLES = 4 * 16 * 256 * 64 / 2048 + 16 * 256 / 16 + 6 * 16 * 256 / 64
"""Products, exponentials and elementwise operations of the step on an A100's core."""
FA1 = load_kernel("fa1_ampere")
HEADS = Workload("heads", "prefill", 8, 8, 512, 512, 64, mask="full", batch=16)
"""Table 18 of FlashAttention (arXiv:2205.14135), 512 tokens."""


def plan_of(step: TileStep, steps: int, items: int = 1) -> TilePlan:
    launch = Launch("attention", ((WorkItem(((step, steps),)), items),), unique_load_bytes=2048)
    return TilePlan("test", (launch,), 1, 1, 1, 1, 1)


def step_cycles(step: TileStep, profile: KernelProfile | None = None, items: int = 1) -> float:
    """Of one more step, in the steady state."""
    long, short = (time_plan(plan_of(step, steps, items), A100, profile) for steps in (400, 200))
    return (long.cycles - short.cycles) / 200


class TestExchange:
    def test_bytes_and_barriers_lengthen_a_step(self):
        exchanging = replace(STEP, exchange_bytes=46592, exchanges=2)
        waiting = 46592 / 128 + 2 * (22 + 20)
        assert step_cycles(STEP) == pytest.approx(SERIAL_CYCLES, rel=0.01)
        got = step_cycles(exchanging, KernelProfile(barrier_cycles=22))
        assert got == pytest.approx(SERIAL_CYCLES + waiting, rel=0.01)

    def test_barriers_alone_are_waits_that_occupy_nothing(self):
        got = step_cycles(replace(STEP, exchanges=3), KernelProfile(barrier_cycles=100))
        assert got == pytest.approx(SERIAL_CYCLES + 3 * 120, rel=0.01)

    def test_items_that_share_a_core_share_its_local_memory(self):
        exchanging = replace(STEP, exchange_bytes=1 << 18)
        alone = time_plan(plan_of(exchanging, 200), A100)
        shared = time_plan(plan_of(exchanging, 200, 2 * A100.cores), A100, KernelProfile(items_per_core=2))
        assert SERIAL_CYCLES < (1 << 18) / 128
        assert shared.cycles == pytest.approx(200 * 2 * (1 << 18) / 128, rel=0.02)
        assert shared.launches[0].busy["local"] > 0.97
        assert 0.5 < alone.launches[0].busy["local"] < 0.7

    def test_only_some_items_exchange(self):
        launch = Launch(
            "mixed",
            ((WorkItem(((STEP, 50),)), 1), (WorkItem(((replace(STEP, exchange_bytes=65536), 50),)), 1)),
            unique_load_bytes=2048,
        )
        both = time_plan(TilePlan("test", (launch,), 1, 1, 1, 1, 1), A100).cycles
        assert both == pytest.approx(50 * (SERIAL_CYCLES + 512), rel=0.02)

    def test_it_costs_energy(self):
        plans = [plan_of(step, 10) for step in (STEP, replace(STEP, exchange_bytes=1 << 20))]
        sram = [energy_of(plan, A100, {}, 1.0)["sram"] for plan in plans]
        assert sram[1] > 2 * sram[0]

    def test_a_barrier_takes_no_negative_time(self):
        with pytest.raises(InputError, match="barrier_cycles"):
            KernelProfile(barrier_cycles=-1)


class TestRearranging:
    def test_it_hides_while_the_core_has_more_to_do(self):
        cycles = step_cycles(replace(STEP, rearranged_bytes=16384))
        assert cycles == pytest.approx(SERIAL_CYCLES, rel=0.01)

    def test_it_binds_where_the_core_has_less_to_do(self):
        cycles = step_cycles(replace(STEP, rearranged_bytes=1 << 18))
        assert cycles == pytest.approx((1 << 18) / 128, rel=0.01)


class TestFlashAttention1:
    """What the four warps of its thread blocks pass to each other, counted from the kernel's source."""

    def steps(self, workload: Workload) -> list[tuple[TileStep, int]]:
        plan = FA1.algorithm.plan(workload, FA1.parameters(workload), A100)
        return list(plan.launches[0].items[0][0].steps)

    def test_bytes_of_a_step_and_of_the_first_of_a_pass(self):
        warps, rows, width = 4, 16, 64
        queries = rows * width * 2 * (1 + warps)  # committed once, a fragment of each warp
        maxima, sums = (warps * rows * 4 * (1 + reads * warps) for reads in (2, 1))
        outputs = 2 * warps * rows * width * 4
        keys = 2 * (2 * 256 * width * 2)  # K and V, written and read into registers
        (first, once), (other, times) = self.steps(HEADS)[:2]
        assert (once, times) == (1, 512 // 16 - 1)
        assert other.exchange_bytes == queries + maxima + sums + outputs == 46592
        assert first.exchange_bytes == other.exchange_bytes + keys
        assert (first.exchanges, other.exchanges) == (6, 2)

    def test_every_step_compares_positions_and_adds_the_parts_up(self):
        parameters = FA1.parameters(HEADS)
        plans = {
            changes: FA1.algorithm.plan(HEADS, replace(parameters, **dict(changes)), A100).total("vector_ops")
            for changes in ((), (("masked", "edge"),), (("warps", 1),))
        }
        rows = HEADS.batch * HEADS.heads * HEADS.q_len
        assert plans[()] - plans[(("masked", "edge"),)] == 2 * rows * HEADS.kv_len
        assert plans[()] - plans[(("warps", 1),)] == 3 * rows * HEADS.head_dim * (HEADS.kv_len // 256)

    def test_one_warp_has_nothing_to_exchange(self):
        plan = FA1.algorithm.plan(HEADS, replace(FA1.parameters(HEADS), warps=1), A100)
        assert plan.total("exchange_bytes") == 0

    def test_short_sequences_have_tiles_of_128_keys(self):
        assert FA1.parameters(HEADS.with_(q_len=128, kv_len=128)).tile_columns == 128
        assert FA1.parameters(HEADS.with_(q_len=129, kv_len=129)).tile_columns == 256

    def test_no_warps_are_refused(self):
        with pytest.raises(InputError, match="warps"):
            replace(FA1.parameters(HEADS), warps=0)

    @pytest.mark.parametrize(("tokens", "published_us"), [(512, 180), (1024, 680)])
    def test_published_times_that_nothing_is_fitted_to(self, tokens, published_us):
        work = HEADS.with_(q_len=tokens, kv_len=tokens)
        run = time_plan(FA1.algorithm.plan(work, FA1.parameters(work), A100), A100, FA1.profile)
        assert run.seconds * 1e6 == pytest.approx(published_us, rel=0.08)

    def test_the_two_modes_agree(self):
        plan = FA1.algorithm.plan(HEADS, FA1.parameters(HEADS), A100)
        few = A100.with_(cores=16)
        for chip, items_per_core in ((A100, 1), (few, 1), (few, 2)):
            profile = replace(FA1.profile, items_per_core=items_per_core)
            seconds = [time_plan(plan, chip, profile, mode).seconds for mode in ("symmetric", "exact")]
            assert seconds[0] == pytest.approx(seconds[1], rel=0.02)
