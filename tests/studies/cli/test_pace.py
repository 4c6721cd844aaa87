import pytest

from studies.cli.waiting import TRUSTED_AFTER_S, Pace


def paced(*told, total=1000):
    """A pace that was told ``(seconds, done)``."""
    (first_s, first), *more = told
    pace = Pace(first, total, first_s)
    for now_s, done in more:
        pace.note(done, total, now_s)
    return pace


def test_equal_steps_give_the_time_left_after_the_second():
    assert paced((0, 0), (10, 100)).left_s(10) is None
    assert paced((0, 0), (10, 100), (20, 200)).left_s(20) == 80
    assert paced((0, 0), (10, 100), (20, 200), (30, 300)).left_s(31) == 70
    assert paced((0, 0), (10, 100), (20, 200), (30, 300), total=300).left_s(30) is None


def test_what_compiles_first_promises_no_hours():
    first = paced((0, 1))
    assert first.left_s(60) is None  # 1 of 1,000 after a minute: not 17 hours
    steps = [(60 + second, 1 + 10 * second) for second in range(11)]
    assert paced((0, 1), *steps).left_s(70) == pytest.approx((1000 - 101) * 0.1)


def test_a_pause_amid_the_work_is_left_out_and_promises_nothing_while_it_lasts():
    before = [(second, 10 * second) for second in range(11)]
    assert paced(*before).left_s(12) == 90
    assert paced(*before).left_s(60) is None
    after = [(60 + second, 101 + 10 * second) for second in range(11)]
    assert paced(*before, *after).left_s(70) == pytest.approx((1000 - 201) * 0.1)


def test_a_burst_is_no_rate():
    assert paced((0, 0), *((0.001 * step, step) for step in range(1, 100))).left_s(0.1) is None
    assert paced((0, 0), (TRUSTED_AFTER_S, 1), (1.9 * TRUSTED_AFTER_S, 2)).left_s(8) is None
