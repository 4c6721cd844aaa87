"""What may be said of a published value beside ours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studies.reproductions.verdicts import WIDEST_BAND, error_pct, judge, verdict_of


@pytest.mark.parametrize(
    ("compare", "ours", "published", "tolerance", "verdict"),
    [
        ("exact", (11, 11), (11, 11), 0, "reproduced"),
        ("exact", (10, 10), (11, 11), 0, "missed"),
        ("tolerance", (9.1, 9.1), (10, 10), 10, "reproduced"),
        ("tolerance", (8.9, 8.9), (10, 10), 10, "missed"),
        # a quotient has as much room below as above: 10 / 1.25 = 8
        ("ratio", (8.01, 8.01), (10, 10), 25, "reproduced"),
        ("ratio", (7.9, 7.9), (10, 10), 25, "missed"),
        ("ratio", (12.4, 12.4), (10, 10), 25, "reproduced"),
        # ranges, ours or published
        ("band", (9, 12), (10, 10), 0, "in band"),
        ("band", (5, 12), (10, 10), 0, "not judged"),
        ("band", (11, 12), (10, 10), 0, "missed"),
        ("band", (11, 12), (10, 10), 15, "in band"),
        ("tolerance", (2.5, 2.5), (2, 4), 10, "not judged"),
        ("tolerance", (2.5, 2.5), (2, 2.9), 10, "in band"),
        ("tolerance", (1.0, 1.0), (2, 4), 10, "missed"),
        # bounds
        ("at most", (62, 62), (80, 80), 0, "in band"),
        ("at most", (17, 17), (80, 80), 0, "not judged"),
        ("at most", (81, 81), (80, 80), 0, "missed"),
        ("at least", (12, 12), (10, 10), 0, "in band"),
        ("at least", (43, 43), (10, 10), 0, "not judged"),
        ("at least", (9, 9), (10, 10), 0, "missed"),
    ],
)
def test_a_figure_gets_its_verdict(compare, ours, published, tolerance, verdict):
    assert judge(compare, ours, published, tolerance) == verdict


@given(st.floats(0.1, 100), st.floats(1.01, 10), st.floats(0.1, 50))
def test_a_band_that_is_too_wide_is_never_more_than_not_judged(low, width, tolerance):
    verdict = judge("band", (low, low * width), (low * width, low * width), tolerance)
    assert verdict == ("not judged" if width > WIDEST_BAND else "in band")


@given(st.floats(0.1, 100), st.floats(0.1, 100), st.floats(1, 50))
def test_a_ratio_is_judged_alike_either_way_up(ours, published, tolerance):
    room = 1 + tolerance / 100
    far = max(ours / published, published / ours)
    if abs(far - room) > 1e-6:
        found = judge("ratio", (ours, ours), (published, published), tolerance)
        assert found == judge("ratio", (1 / ours, 1 / ours), (1 / published, 1 / published), tolerance)
        assert found == ("reproduced" if far < room else "missed")


def test_errors_are_those_of_the_nearest_ends():
    assert error_pct((8, 8), (10, 10)) == pytest.approx(-20)
    assert error_pct((14, 20), (2, 12.5)) == pytest.approx(12)
    assert error_pct((1, 3), (2, 4)) == 0


def test_a_system_holds_when_more_of_its_judged_claims_hold_than_miss():
    reproduced, band, missed, wide = "reproduced", "in band", "missed", "not judged"
    assert verdict_of([("simulated", reproduced), ("simulated", missed)]) == ("simulated", missed)
    assert verdict_of([("simulated", reproduced), ("simulated", band), ("simulated", missed)])[1] == reproduced
    assert verdict_of([("simulated", band), ("simulated", wide), ("quoted", "quoted")]) == ("simulated", band)
    # what was only computed from the claim's own inputs never makes up for a mechanism that misses
    assert verdict_of([("simulated", missed), ("arithmetic", reproduced), ("arithmetic", reproduced)])[1] == missed
    assert verdict_of([("arithmetic", reproduced), ("quoted", "quoted")]) == ("arithmetic", reproduced)
    assert verdict_of([("simulated", wide), ("quoted", "quoted")]) == ("simulated", wide)
    assert verdict_of([("quoted", "quoted")]) == ("quoted", "quoted")
