"""Whether a step fits: decided without its operations where they cannot matter, and then as with them."""

import pytest

from algorithms.models.mapping import Mapping
from algorithms.models.options import StepOptions
from algorithms.models.steps import fitting, ledger
from algorithms.models.steps.batch import parse_batch
from algorithms.models.steps.building import Setting
from algorithms.models.steps.fitting import forget_ledgers
from algorithms.models.steps.ledger import ledger_of
from algorithms.models.text import load_model
from hwmodels.chips.accelerator import load_accelerator


def setting(model, batch, **options):
    return Setting(load_model(model), parse_batch(batch), Mapping(), StepOptions(**options), load_accelerator("a100"))


@pytest.mark.parametrize("weights", ["bfloat16", "int4"])
@pytest.mark.parametrize("sequences", [1, 64, 150, 300, 600, 4000])
@pytest.mark.parametrize("model", ["llama3-8b", "mixtral-8x7b", "llama3-70b"])
def test_a_step_fits_if_its_ledger_does(model, sequences, weights):
    asked = setting(model, f"decode 1 of 2000 x{sequences}", weights=weights)
    forget_ledgers()
    assert fitting._fits(asked) == ledger_of(asked).fits


def test_activations_alone_can_be_too_much():
    asked = setting("llama3-8b", "prefill 4000 x8")
    before, behind = ledger.without_activations(asked)
    standing = sum(entry.bytes for entry in (*before, *behind))
    activations = ledger_of(asked).of("activations")
    memory = asked.chip.memory.capacity_bytes
    tight = setting("llama3-8b", "prefill 4000 x8", usable=(standing + activations / 2) / memory)
    roomy = setting("llama3-8b", "prefill 4000 x8", usable=(standing + 2 * activations) / memory)
    forget_ledgers()
    assert not fitting._fits(tight)
    assert fitting._fits(roomy)


def test_operations_are_looked_at_only_where_there_is_room_beside_the_rest(monkeypatch):
    lowered = []
    original = ledger.lowered
    monkeypatch.setattr(ledger, "lowered", lambda asked: lowered.append(asked) or original(asked))
    forget_ledgers()
    assert not fitting._fits(setting("llama3-70b", "decode 1 of 2000"))
    assert lowered == []
    small = setting("llama3-8b", "decode 1 of 2000")
    assert fitting._fits(small)
    assert fitting._fits(small)
    assert len(lowered) == 1
