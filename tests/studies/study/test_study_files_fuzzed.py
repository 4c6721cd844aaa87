"""Whatever a study file says, it is either a study or a list of problems with one line each."""

import json
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hwmodels.reading.documents import read_text
from hwmodels.reading.errors import InputError
from studies.study.question import Question
from studies.study.resolve import resolve

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 5),
    st.integers(),
    st.floats(),
    st.text(max_size=6),
    st.sampled_from(
        ["sdpa.naive", "sdpa.scaled", "llama3-8b", "minilm_l6_layer3", "row", "full", "simpy", "1 GHz", "a/b.yaml"]
    ),
)
NAMES = (
    "algorithm workload engine clock seed seeds heads kv_heads workload.kv_len seq_len mask dtype preset granularity"
    " long_depth depths parameters.fifo_depth from to step factor values when cycles"
)
KNOBS = st.one_of(st.sampled_from(NAMES.split()), st.text(max_size=4))
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KNOBS, inner, max_size=4), max_leaves=8
)
KEYS = ["name", "title", "algorithm", "workload", "parameters", "axes", "seeds", "engine", "clock", "tensors"]
KEYS += ["objectives", "constraints"]
DOCUMENTS = st.dictionaries(st.sampled_from([*KEYS, "timing_only", "skip", "axis"]), VALUES, max_size=6)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(DOCUMENTS.map(lambda document: {"algorithm": "sdpa.naive"} | document))
@example({"algorithm": "sdpa.naive", "axes": {"heads": {"from": 1, "to": 1e308, "factor": 1.0000001}}})
@example({"algorithm": "sdpa.naive", "axes": {"heads": {"from": -1e308, "to": 1e308, "step": 1}}})
@example({"algorithm": "sdpa.naive", "workload": {"heads": 10**400}})
@example({"algorithm": "sdpa.naive", "parameters": {"long_depth": 10**400}})
@example({"algorithm": "sdpa.naive", "seeds": [10**400]})
@example({"algorithm": "sdpa.naive", "constraints": ["cycles <= 1e999"], "objectives": {"cycles": None}})
@example({"algorithm": "sdpa.naive", "axes": {"mask": {"values": ["full"], "when": {"mask": "full"}}}})
@example({"algorithm": "sdpa.naive", "tensors": "\0"})
@example({"algorithm": "sdpa.naive", "workload": "\0/"})
@example({"algorithm": "sdpa.naive", "axes": {"clock": ["1 GHz", "1 GHz"]}})
def test_any_document(document):
    # numbers such as Infinity are not JSON, but what json writes for them is text in YAML: also a document
    text = json.dumps(document)
    try:
        study = resolve(read_text(text, "s.yaml"), Path())
        assert study.points
    except InputError as error:
        lines = str(error).splitlines()
        assert len(lines) == len(error.problems)
        assert all(len(line) < 1000 for line in lines)
    else:
        assert isinstance(study, Question)
        json.dumps(study.describe(), allow_nan=False)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_text(text):
    try:
        resolve(read_text(text, "s.yaml"), Path())
    except InputError as error:
        assert error.problems
