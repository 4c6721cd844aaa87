"""Policies as text: what parses, what it means, and how mistakes are told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorithms.kv.policies.chunk import Chunk
from algorithms.kv.policies.full import Full
from algorithms.kv.policies.h2o import H2O
from algorithms.kv.policies.knorm import KNorm
from algorithms.kv.policies.per_head import PerHead
from algorithms.kv.policies.sink import Sink
from algorithms.kv.policies.snapkv import SnapKV
from algorithms.kv.policies.streaming_llm import StreamingLLM
from algorithms.kv.policies.window import Window
from algorithms.kv.policy import KVPolicy, Union
from algorithms.kv.registry import kv_policy, policy_class, policy_names
from algorithms.kv.text import parse_policy, policy_from
from hwmodels.reading.errors import InputError


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("streaming_llm(sink=4,recent=1020)", StreamingLLM(4, 1020)),
        (" streaming_llm( 4 , recent = 1_020 ) ", StreamingLLM(4, 1020)),
        ("sink(4) + window(1020)", Union.of(Sink(4), Window(1020))),
        ("knorm | chunk(20)", Chunk(KNorm(), 20)),
        ("chunk(knorm, 20)", Chunk(KNorm(), 20)),
        ("sink(4) + knorm | chunk(20)", Chunk(Union.of(Sink(4), KNorm()), 20)),
        ("snapkv(pooling=maxpool, tokens=none)", SnapKV(pooling="maxpool")),
        ("streaming_llm(rotate=false)", StreamingLLM(rotate=False)),
        ("per_head([full, h2o(2, 3)], [0, 1])", PerHead((Full(), H2O(2, 3)), (0, 1))),
        ("sliding_window(7)", Window(7)),
        ("(sink(4) + window(2))", Union.of(Sink(4), Window(2))),
        ("(knorm | chunk(7)) + sink(4)", Union.of(Chunk(KNorm(), 7), Sink(4))),
    ],
)
def test_text_means_the_policy(text, policy):
    parsed = parse_policy(text)
    assert parsed == policy
    assert parse_policy(str(parsed)) == policy


def test_python_operators_mean_the_same():
    assert Sink(4) + Window(1020) == parse_policy("sink(4) + window(1020)")
    assert KNorm() | (lambda base: Chunk(base, 20)) == parse_policy("knorm | chunk(20)")


def test_yaml_forms():
    assert policy_from({"policy": "streaming_llm", "sink": 4, "recent": 1020}) == StreamingLLM(4, 1020)
    assert policy_from({"policy": "sink(4) + window(8)"}) == parse_policy("sink(4) + window(8)")
    assert policy_from({"policy": "chunk", "base": "knorm", "tokens": 20}) == Chunk(KNorm(), 20)
    assert policy_from(
        {"policy": "per_head", "policies": ["full", {"policy": "h2o", "heavy": 2, "recent": 3}], "assign": [0, 1]}
    ) == PerHead((Full(), H2O(2, 3)), (0, 1))
    assert policy_from(Full()) == Full()
    with pytest.raises(InputError, match="needs the key 'policy'"):
        policy_from({"sink": 4})


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("streamin_llm", "unknown KV policy 'streamin_llm'; did you mean 'streaming_llm'?"),
        ("streaming_llm(recnt=3)", "unknown parameter 'recnt' of streaming_llm; did you mean 'recent'?"),
        ("snapkv(pooling=avg)", "policy.snapkv.pooling: must be avgpool or maxpool (got 'avg')"),
        ("h2o(heavy=1.5)", "policy.h2o.heavy: must be a whole number (got 1.5)"),
        ("h2o(1, 2, 3)", "h2o takes at most 2 arguments, not 3"),
        ("h2o(1, heavy=2)", "parameter 'heavy' of h2o is given twice"),
        ("h2o(heavy=1, 2)", "a positional argument follows a named one"),
        ("window(0)", "policy.window.tokens: must be at least 1 (got 0)"),
        ("sink(4", "expected ',' or ')'"),
        ("sink(4) window(3)", "unexpected 'window' at character 9"),
        ("knorm | h2o", "'h2o' after '|' is not a wrapper"),
        ("knorm |", "expected the name of a wrapper after '|'"),
        ("chunk(20)", "expected the name of a policy, got 20"),
        ("chunk", "chunk wraps a policy"),
        ("", "expected a policy or a value"),
        ("full(3)", "full takes at most 0 arguments, not 1"),
        ("sink(4) & full", "unexpected '&'"),
        ("4", "expected the name of a policy"),
        ("sink(streaming_llm(2))", "policy.sink.tokens: must be a plain value"),
        ("per_head([full],[0,2])", "needs an index into policies for every KV head"),
    ],
)
def test_mistakes_are_one_clear_line(text, line):
    with pytest.raises(InputError) as error:
        parse_policy(text)
    assert line in str(error.value)
    assert "\n" not in str(error.value)


def test_all_mistakes_of_one_call_are_told_together():
    with pytest.raises(InputError) as error:
        parse_policy("snapkv(pooling=avg, window=x)")
    assert len(error.value.problems) == 2


@given(st.text(alphabet="sink(4)+|,=[].\"' wdo_1-", max_size=40))
def test_no_text_breaks_the_parser(text):
    try:
        parse_policy(text)
    except InputError as error:
        assert str(error)


def test_nesting_is_bounded():
    with pytest.raises(InputError, match="nested too deeply"):
        parse_policy("(" * 100 + "full" + ")" * 100)
    with pytest.raises(InputError, match="at most"):
        parse_policy("full" * 2000)


def test_every_policy_is_registered_under_its_own_name():
    assert policy_names()
    for name in policy_names():
        cls = policy_class(name)
        assert cls.name == name
        assert cls.__doc__
        assert cls.__module__.startswith("algorithms.kv.policies.")


def test_a_second_policy_of_a_name_is_refused():
    with pytest.raises(InputError, match=r"'tova' is registered by both algorithms\.kv\.policies\.tova and"):
        kv_policy("tova")(type("Impostor", (KVPolicy,), {}))
