"""Memory of fine-tuning with samples of rows: what is kept, and what it is worth."""

from __future__ import annotations

from dataclasses import replace

import pytest

from algorithms.training.encoder_ledger import T5, EncoderDecoder, t5
from algorithms.training.sampling import stored_share
from hwmodels.reading.errors import InputError

SMALL = EncoderDecoder(width=8, inner=32, heads=2, head_dim=4, layers=3, vocabulary=10)


def test_t5_has_the_weights_of_its_paper():
    """Raffel et al. 2020, section 3.7: 220 million, 770 million and 2.8 billion, norms and all."""
    counts = [T5[size].parameters / 1e6 for size in ("base", "large", "3b")]
    assert counts == pytest.approx([220, 770, 2800], rel=0.05)


def test_a_layer_keeps_what_the_list_of_its_operations_says():
    tokens = 5
    norms, scores = 2 * 2 * 8, 2 * tokens
    inputs = 8 + 8 + 8 + 32
    kept = norms + 3 * 8 + 2 * scores + 32 + inputs
    assert SMALL.layer_bytes("all", tokens) == 4 * kept + 2 * 8 + 32 + scores
    few = replace(SMALL, adapts_all=False)
    assert SMALL.layer_bytes("adapters", tokens) == SMALL.layer_bytes("all", tokens)
    assert few.layer_bytes("all", tokens) - few.layer_bytes("adapters", tokens) == 4 * (8 + 8 + 32)


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_samples_shrink_operands_by_their_share_and_nothing_else(share):
    """As the estimator stores rows, whose numbers and weights are small beside wide ones."""
    whole, part = (SMALL.layer_bytes("sampled", 16, each) for each in (1.0, share))
    operands = 4 * (3 * 8 + 3 * 8 + 2 * 16 + 8 + 8 + 32)
    assert whole - part == pytest.approx((1 - share) * operands)
    assert stored_share(1000, round(1000 * share), 768) == pytest.approx(share, rel=0.01)


def test_fewer_rows_hold_larger_batches_and_never_more_memory():
    model = T5["large"]
    batches = [model.largest_batch(80e9, "sampled", 128, share) for share in (1.0, 0.3, 0.1)]
    assert batches == sorted(batches)
    assert model.largest_batch(80e9, "all", 128) < model.largest_batch(80e9, "adapters", 128) < batches[0]
    batch = batches[1]
    assert model.peak_bytes("sampled", batch, 128, 0.3) <= 80e9 < model.peak_bytes("sampled", batch + 1, 128, 0.3)


def test_what_does_not_fit_is_one_line():
    with pytest.raises(InputError, match="do not fit"):
        T5["3b"].largest_batch(24e9, "all", 128)
    with pytest.raises(InputError, match="did you mean 'base'"):
        t5("bose")
