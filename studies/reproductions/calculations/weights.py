"""Weights of models by the part that they are of."""

from __future__ import annotations

from algorithms.models.blocks import Attention, FeedForward
from algorithms.models.text import load_model
from algorithms.models.weights import parameters
from hwmodels.reading.errors import InputError, Problem
from studies.reproductions.calculation import Figures, calculation


@calculation("weight_shares")
def weight_shares(model: str = "opt-6.7b") -> Figures:
    """Shares of a language model's weights: attention, feed-forward layers, and all else, as its tables."""
    known = load_model(model)
    decoder = known.decoder
    if decoder is None:
        raise InputError(Problem(f"{model} has no decoder", field="model"))
    counts = {
        kind: sum(
            layer.times * parameters(block.weights(decoder.width))
            for layer in decoder.runs
            for block in layer.blocks
            if isinstance(block, kind)
        )
        for kind in (Attention, FeedForward)
    }
    attention, behind = counts[Attention], counts[FeedForward]
    return {
        "attention": attention / known.parameters,
        "feed_forward": behind / known.parameters,
        "other": (known.parameters - attention - behind) / known.parameters,
    }
