"""StreamBP: exact gradients of a stack of layers and a language head, in chunks of the sequence.

(Luo et al. 2025, arXiv:2506.03077.) Only the inputs of layers are kept. Logits are made for a few rows at a time, and
each layer goes backward chunk by chunk from its input, with the keys and values of all rows and their gradients. With
one chunk this is gradient checkpointing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from algorithms.training.layer import LayerBackward, LayerShape, Weights, chunks_of
from algorithms.training.linear import Array, linear_backward, norm, norm_backward


@dataclass(frozen=True)
class Gradients:
    """What a backward pass leaves.

    Parameters
    ----------
    loss
        Sum of the negative logarithms of the probabilities of all targets.
    inputs
        Gradient `(tokens, width)` of what entered the first layer.
    layers
        Gradients of the weights of each layer.
    norm, head
        Gradients of the last norm's scale and of the language head.
    """

    loss: float
    inputs: Array
    layers: tuple[Weights, ...]
    norm: Array
    head: Array


@dataclass(frozen=True)
class Stack:
    """Layers, a norm and a language head.

    Parameters
    ----------
    shape
        Sizes of every layer.
    layers
        Weights of each.
    scale, head
        Scale `(width,)` of the last norm, and the head `(width, vocabulary)`.
    """

    shape: LayerShape
    layers: Sequence[Weights]
    scale: Array
    head: Array

    def inputs_of_layers(self, x: Array) -> list[Array]:
        """Input of every layer, and the output of the last: all that is kept of the forward pass."""
        found = [x]
        for weights in self.layers:
            found.append(LayerBackward(self.shape, weights, found[-1]).forward(range(len(x))))
        return found

    def gradients(self, x: Array, targets: Sequence[int], chunk: int, logit_rows: int = 100) -> Gradients:
        """Loss and gradients of a sequence.

        Parameters
        ----------
        x
            Embedded tokens `(tokens, width)`.
        targets
            Class that each row should predict.
        chunk
            Rows that go backward through a layer together.
        logit_rows
            Rows whose logits exist at a time, as many as there are at most.

        Raises
        ------
        InputError
            For a chunk below one row or longer than the sequence.
        """
        rows = list(chunks_of(len(x), chunk))
        kept = self.inputs_of_layers(x)
        loss, back, scale, head = self._head(kept.pop(), np.asarray(targets), min(logit_rows, len(x)))
        layers: list[Weights] = []
        for weights in reversed(self.layers):
            layer = LayerBackward(self.shape, weights, kept.pop())
            for own in reversed(rows):
                layer.chunk(own, back[own.start : own.stop])
            back, gradients = layer.finish()
            layers.append(gradients)
        return Gradients(loss, back, tuple(reversed(layers)), scale, head)

    def _head(self, x: Array, targets: Array, logit_rows: int) -> tuple[float, Array, Array, Array]:
        """Loss, and gradients of the last layer's output, of the norm and of the head."""
        loss, back = 0.0, np.empty_like(x)
        scale, head = np.zeros_like(self.scale), np.zeros_like(self.head)
        for rows in chunks_of(len(x), logit_rows):
            own = slice(rows.start, rows.stop)
            normed = norm(x[own], self.scale)
            logits = normed @ self.head
            logits -= logits.max(axis=-1, keepdims=True)
            shares = np.exp(logits)
            total = shares.sum(axis=-1, keepdims=True)
            wanted = np.arange(len(rows)), targets[own].astype(np.int64)
            loss += float((np.log(total[:, 0]) - logits[wanted]).sum())
            shares /= total
            shares[wanted] -= 1.0
            of_normed, of_head = linear_backward(normed, self.head, shares)
            back[own], of_scale = norm_backward(x[own], self.scale, of_normed)
            scale += of_scale
            head += of_head
        return loss, back, scale, head
