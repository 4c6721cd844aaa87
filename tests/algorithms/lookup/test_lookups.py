"""Look-up layers: values against sums written out, published numbers, and prices that follow the tier."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from algorithms.lookup.layer import RowReads, priced
from algorithms.lookup.memoryformer import PYTHIA, MemoryFormerBlock
from algorithms.lookup.signs import SignLookup
from algorithms.lookup.ternary import TernaryLookup
from hwmodels.reading.errors import InputError


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 6), st.floats(0.2, 3.0), st.integers(0, 99))
def test_signs_choose_the_rows_that_are_summed(pieces, bits, outputs, temperature, seed):
    tables = np.random.default_rng(seed).standard_normal((pieces, 1 << bits, outputs))
    x = np.random.default_rng(seed + 1).standard_normal((3, pieces * bits))
    out = SignLookup(tables, temperature).forward(x)
    for token in range(3):
        want = np.zeros(outputs)
        for piece in range(pieces):
            z = x[token, piece * bits : (piece + 1) * bits]
            place = sum(1 << i for i in range(bits) if z[i] >= 0)
            # the paper's weight: a softmax over all sign patterns of the products of the pattern and the piece
            patterns = [[1 if row >> i & 1 else -1 for i in range(bits)] for row in range(1 << bits)]
            scores = [math.exp(sum(s * v for s, v in zip(row, z, strict=True)) / temperature) for row in patterns]
            want += scores[place] / math.fsum(scores) * tables[piece, place]
        np.testing.assert_allclose(out[token], want, rtol=1e-11, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4), st.integers(1, 14), st.integers(1, 5), st.integers(0, 99))
def test_ternary_groups_give_the_product(group, inputs, outputs, seed):
    rng = np.random.default_rng(seed)
    weights, x = (
        rng.integers(-1, 2, (inputs, outputs)) * 1.0,
        rng.integers(-128, 128, (3, inputs)).astype(float),
    )
    layer = TernaryLookup.of(weights, group)
    np.testing.assert_array_equal(layer.forward(x), x @ weights)
    assert layer.reads(5, 1).rows == 5 * math.ceil(inputs / group) * outputs


def test_three_ternary_weights_are_five_bits_of_27_sums():
    layer = TernaryLookup.of(np.zeros((1536, 100)))
    assert (layer.sums, layer.index_bits) == (27, 5)
    assert layer.index_bytes == 512 * 100 * 5 // 8
    assert layer.macs(1) < 1536 * 100


@pytest.mark.parametrize(("model", "dense", "lookup"), [("70m", 10.7, 4.7), ("160m", 20.9, 7.4), ("410m", 34.4, 10.2)])
def test_the_flop_table_of_memoryformer_is_the_published_one(model, dense, lookup):
    """arXiv:2411.12992, table 1: 2,048 tokens, one block, as printed."""
    block = MemoryFormerBlock(PYTHIA[model])
    assert round(block.dense_macs(2048) / 1e9, 1) == dense
    # the formula alone gives 7.348, printed as 7.4; with the weights of rows the layers that it counts give 7.357
    assert abs(block.published_macs(2048) / 1e9 - lookup) < 0.055
    assert round(block.counted_macs(2048) / 1e9, 1) == lookup
    weights = 6 * 2048 * block.width
    assert block.counted_macs(2048) == block.published_macs(2048) + weights
    counts = (block.dense_macs(2048), block.published_macs(2048))
    rest = [round((count - block.attention_macs(2048)) / 1e9, 1) for count in counts]
    assert rest == {"70m": [6.4, 0.4], "160m": [14.5, 0.9], "410m": [25.8, 1.6]}[model]
    # six layers as wide as a token are counted; five are built, the first behind attention a quarter wider
    built = block.macs(2048) - block.attention_macs(2048)
    assert built == 2048 * block.width * (5.25 * block.pieces + 5.25)


def test_tables_of_memoryformer_take_what_the_paper_says():
    def query_bytes(bits, pieces):
        return 2 * SignLookup(np.broadcast_to(np.zeros(()), (pieces, 1 << bits, 512))).table_elements / 1e6

    assert round(query_bytes(8, 64), 1) == 16.8
    assert round(query_bytes(10, 51), 1) == 53.5
    assert round(query_bytes(4, 128), 1) == 2.1
    block = MemoryFormerBlock(512)
    assert round(2 * sum(layer.table_elements for layer in block.layers[3:]) / 1e6, 1) == 88.1
    assert round(block.table_bytes() / 1e6) == 138
    assert round(block.dense_bytes() / 1e6, 1) == 6.3
    assert round(sum(reads.bytes for reads in block.reads(1)) / 1e6, 2) == 0.34


def test_short_rows_at_random_places_cost_more_of_a_tier_than_long_ones():
    many, few = (priced(RowReads((1 << 20) // size, size), "hbm3", fidelity="analytic") for size in (64, 4096))
    assert many.seconds > 1.5 * few.seconds
    assert 0 < many.efficiency < few.efficiency < 1


def test_a_row_is_moved_in_whole_transactions():
    whole, one_more = (priced(RowReads(1000, size), "hbm3", fidelity="analytic") for size in (64, 65))
    assert one_more.seconds > whole.seconds
    assert one_more.efficiency < whole.efficiency
    assert priced(RowReads(2000, 64), "hbm3", fidelity="analytic").seconds == 2 * whole.seconds


def test_prices_in_closed_form_follow_the_simulated_ones():
    for size in (64, 1024):
        simulated, formula = (
            priced(RowReads(1000, size), "ddr4_2400", fidelity=each) for each in ("cycle", "analytic")
        )
        assert simulated.seconds == pytest.approx(formula.seconds, rel=0.25)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: SignLookup(np.zeros((2, 3, 4))), "tables"),
        (lambda: SignLookup(np.zeros((2, 4, 4)), 0.0), "temperature"),
        (lambda: SignLookup.drawn(2, 3, 4).forward(np.zeros((1, 7))), "x"),
        (lambda: TernaryLookup.of(np.full((3, 1), 2.0)), "weights"),
        (lambda: TernaryLookup(np.array([[27]])), "indices"),
        (lambda: MemoryFormerBlock(510), "width"),
        (lambda: priced(RowReads(1, 0), "hbm3"), "row_bytes"),
        (lambda: priced(RowReads(1, 8), "hbm33"), None),
    ],
)
def test_what_does_not_fit_is_told_with_its_field(make, field):
    with pytest.raises(InputError) as caught:
        make()
    assert field is None or field in [problem.field for problem in caught.value.problems]
