import pytest

from hwmodels.reading.cited import Cited
from hwmodels.reading.documents import read_text
from hwmodels.reading.errors import InputError
from hwmodels.reading.quantity import BytesPerSecond


def test_a_cited_value_is_read_with_its_unit():
    text = "{value: 3.35 TB/s, source: NVIDIA H100 data sheet, note: SXM5}"
    cited = read_text(text, "chip.yaml").validate(Cited[BytesPerSecond])
    assert cited.value == 3.35e12
    assert cited.source == "NVIDIA H100 data sheet"
    assert cited.note == "SXM5"
    assert not cited.assumption


def test_an_assumption_needs_a_reason_only():
    cited = read_text("{value: 4, assumption: true, note: one bank per port}", "chip.yaml").validate(Cited[int])
    assert cited.assumption
    assert cited.source == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{value: 4}", "chip.yaml:1: needs a source"),
        ("{value: 4, source: '  '}", "needs a source"),
        ("{value: 4, assumption: true}", "an assumption needs a note"),
        ("{value: four, source: paper}", "chip.yaml:1: value: must be a whole number"),
        ("{value: 4, sorce: paper}", "did you mean 'source'?"),
        ("4", "must be a mapping"),
    ],
)
def test_a_value_without_its_source_is_refused(text, message):
    with pytest.raises(InputError) as caught:
        read_text(text, "chip.yaml").validate(Cited[int])
    assert message in str(caught.value)


def test_a_cited_value_is_frozen():
    cited = Cited[int](value=1, source="paper")
    with pytest.raises(ValueError, match="frozen"):
        cited.value = 2
