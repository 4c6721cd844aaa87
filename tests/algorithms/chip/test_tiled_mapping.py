"""Plans on chips: times against hand-made cases, and the two modes against each other."""

from __future__ import annotations

import pytest

from algorithms.chip.cores.dispatch import dispatch
from algorithms.chip.plan.plan import Launch, Matmul, TilePlan, TileStep, WorkItem
from algorithms.chip.plan.profile import KernelProfile
from algorithms.chip.timing.mapping import time_plan
from hwmodels.chips.accelerator import load_accelerator

H100 = load_accelerator("h100_sxm5_80g")
STEP = TileStep(32768, (Matmul(128, 128, 128),), 128 * 128, 6 * 128 * 128, (Matmul(128, 128, 128),))


def attention(items: int, steps: int, *, groups: int = 2, step: TileStep = STEP, unique: int | None = None) -> TilePlan:
    """Equal items of equal steps."""
    item = WorkItem(((step, steps),), 32768, 128 * 128, 32768)
    overlap = "ping_pong" if groups > 1 else "serial"
    loads = items * item.total("load_bytes")
    unique = loads if unique is None else unique
    launch = Launch("attention", ((item, items),), unique, overlap=overlap, row_groups=groups)
    flops = launch.total("flops")
    return TilePlan("test", (launch,), flops, launch.total("exps"), 1, 1, 1)


class TestOneCore:
    """In the steady state a step takes what its busiest unit takes, or the sum where nothing overlaps."""

    def step_cycles(self, plan_of, profile: KernelProfile | None = None) -> float:
        long, short = (time_plan(plan_of(steps), H100, profile) for steps in (400, 200))
        return (long.cycles - short.cycles) / 200

    def test_serial_items_add_up_products_and_softmax(self):
        matrix, exp, vector = 2 * 2 * 128**3 / 4096, 128 * 128 / 16, 6 * 128 * 128 / 128
        cycles = self.step_cycles(lambda steps: attention(1, steps, groups=1))
        assert cycles == pytest.approx(matrix + exp + vector, rel=0.01)

    def test_groups_that_take_turns_hide_softmax_behind_products(self):
        cycles = self.step_cycles(lambda steps: attention(1, steps))
        assert cycles == pytest.approx(2 * 2 * 128**3 / 4096, rel=0.1)

    def test_exposed_softmax_holds_the_matrix_array(self):
        matrix, softmax = 2 * 2 * 128**3 / 4096, 128 * 128 / 16 + 6 * 128 * 128 / 128
        cycles = self.step_cycles(lambda steps: attention(1, steps), KernelProfile(exposed_softmax=0.5))
        assert cycles == pytest.approx(matrix + softmax / 2, rel=0.05)

    def test_loads_bind_when_a_step_has_little_to_do(self):
        step = TileStep(1 << 20, (Matmul(64, 16, 16),), 64, 64, (Matmul(64, 16, 16),))
        run = time_plan(attention(132, 100, step=step), H100)
        assert run.seconds == pytest.approx(132 * 100 * (1 << 20) / H100.memory.bytes_per_second, rel=0.05)
        assert run.bounds.binding == "memory"
        assert run.launches[0].stalled["loads"] > 0.8

    def test_launch_gaps_are_added_to_every_launch(self):
        plan = attention(1, 2)
        two = TilePlan("test", plan.launches * 2, 1, 1, 1, 1, 1)
        gap = time_plan(two, H100, KernelProfile(launch_gap_s=1e-5)).seconds - time_plan(two, H100).seconds
        assert gap == pytest.approx(2e-5)


class TestManyCores:
    def test_waves_are_whole(self):
        full, more = (time_plan(attention(items, 20, unique=0), H100) for items in (132, 133))
        assert (full.launches[0].waves, more.launches[0].waves) == (1, 2)
        assert more.seconds == pytest.approx(2 * full.seconds, rel=0.1)

    def test_reuse_comes_from_the_cache(self):
        plan = attention(132, 10, unique=32768)
        run = time_plan(plan, H100)
        assert run.tier_bytes["l2"] == plan.total("load_bytes") + plan.total("store_bytes")
        assert run.tier_bytes["hbm"] == 32768 + plan.total("store_bytes")

    def test_memory_binds_when_nothing_keeps_what_is_read_again(self):
        plan = attention(64, 50, unique=32768)
        cached, bare = (time_plan(plan, chip) for chip in (H100, load_accelerator("tpu_v5e")))
        assert cached.bounds.binding == "matrix"
        assert bare.tier_bytes["hbm"] == plan.total("load_bytes") + plan.total("store_bytes")
        assert bare.bounds.by_name()["memory"] == pytest.approx(bare.tier_bytes["hbm"] / 819e9)

    @pytest.mark.parametrize("name", ["kv260", "tpu_v5e", "tpu_v5p"])
    def test_what_is_busy_all_the_time_binds(self, name):
        chip = load_accelerator(name)
        slow = chip.with_(**{f"{chip.memory.name}.bytes_per_second": chip.memory.bytes_per_second / 50})
        run = time_plan(attention(2 * chip.cores, 50, unique=32768), slow)
        assert run.launches[0].busy["memory"] > 0.9
        assert run.bounds.binding == "memory" and run.bounds.seconds > 0.9 * run.seconds

    def test_time_is_never_below_the_bounds(self):
        for items, steps, groups in ((1, 1, 1), (132, 3, 2), (500, 7, 3)):
            run = time_plan(attention(items, steps, groups=groups), H100)
            assert run.seconds >= run.bounds.seconds * 0.999

    def test_longest_first_balances_unequal_items(self):
        items = tuple((WorkItem(((STEP, steps),)), 1) for steps in range(1, 9))
        static = dispatch(Launch("a", items, 0), 2, 1, lambda item: item.step_count)
        sorted_ = dispatch(Launch("a", items, 0, "longest_first"), 2, 1, lambda item: item.step_count)
        assert max(slot.estimate for slot in static) == 20
        assert max(slot.estimate for slot in sorted_) == 18
        assert sum(slot.item_count for slot in sorted_) == 8


class TestModes:
    @pytest.mark.parametrize("cores", [3, 7, 12, 16])
    @pytest.mark.parametrize("kind", ["compute", "memory", "cache", "uneven", "short"])
    def test_exact_and_symmetric_agree_within_two_percent(self, cores, kind):
        chip = H100.with_(cores=cores, **{"hbm.bytes_per_second": H100.memory.bytes_per_second * cores / 132})
        items = 3 * cores + (cores // 2 if kind == "uneven" else 0)
        step = (
            STEP if kind in ("compute", "uneven", "short") else TileStep(1 << 18, STEP.scores, 4096, 4096, STEP.values)
        )
        plan = attention(items, 4 if kind == "short" else 40, step=step, unique=1 << 20 if kind == "cache" else None)
        profile = KernelProfile(exposed_softmax=0.5)
        exact, symmetric = (time_plan(plan, chip, profile, mode) for mode in ("exact", "symmetric"))
        assert symmetric.seconds == pytest.approx(exact.seconds, rel=0.02)
