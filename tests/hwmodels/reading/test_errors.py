import pickle

import pytest

from hwmodels.reading.errors import InputError, Problem, did_you_mean, nearest, of_its_family


@pytest.mark.parametrize(
    ("problem", "line"),
    [
        (Problem("is empty"), "is empty"),
        (Problem("is empty", "a.yaml"), "a.yaml: is empty"),
        (Problem("bad", "a.yaml", 7, "tiers[1].capacity"), "a.yaml:7: tiers[1].capacity: bad"),
        (Problem("bad", "a.yaml", 7, None, "did you mean 'x'?"), "a.yaml:7: bad; did you mean 'x'?"),
        (Problem("bad", None, 7), "line 7: bad"),
        (Problem("two\nlines\tof text"), "two lines of text"),
    ],
)
def test_a_problem_is_one_line(problem, line):
    assert str(problem) == line


def test_an_input_error_shows_every_problem_and_survives_pickling():
    error = InputError([Problem("one", "a.yaml", 1), Problem("two", "a.yaml", 2)])
    assert str(error) == "a.yaml:1: one\na.yaml:2: two"
    copy = pickle.loads(pickle.dumps(error))
    assert copy.problems == error.problems
    assert str(copy) == str(error)


def test_an_input_error_takes_a_text_or_one_problem():
    assert InputError("no").problems == (Problem("no"),)
    assert InputError(Problem("no", "f")).problems == (Problem("no", "f"),)
    with pytest.raises(ValueError, match="at least one"):
        InputError([])


@pytest.mark.parametrize(
    ("name", "choices", "match"),
    [
        ("capcity", ["latency", "capacity"], "capacity"),
        ("SDPA.Naive", ["sdpa.naive", "sdpa.scaled"], "sdpa.naive"),
        ("zebra", ["latency", "capacity"], None),
        ("anything", [], None),
    ],
)
def test_nearest(name, choices, match):
    assert nearest(name, choices) == match


def test_a_hint_is_the_nearest_name_or_a_short_list():
    assert did_you_mean("capcity", ["capacity", "latency"]) == "did you mean 'capacity'?"
    assert did_you_mean("zebra", ["b", "a"]) == "known: a, b"
    assert did_you_mean("zebra", [f"name{i}" for i in range(40)]) is None
    assert did_you_mean("zebra", []) is None


def test_a_name_that_is_near_to_none_gets_those_that_begin_like_it():
    names = ["fa2_hopper", "fabric", "FA3", "io_flash"]
    assert of_its_family("fa9", names) == "known of fa: FA3, fa2_hopper"
    assert of_its_family("zz", names) is None
    assert of_its_family("9", names) is None
