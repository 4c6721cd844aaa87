"""Bytes that a block moves when every operation is a kernel of its own, and when the whole block is one pipeline."""

from __future__ import annotations

from algorithms.chip.latent.program import Append, Attention, Program, names_of

SCORE_PASSES = 4
"""Scores are written by the first product, read and written by the softmax, read by the second product."""


def fused_bytes(program: Program, element_bytes: int) -> int:
    """Bytes of weights, caches and hidden states, each once; all else streams from unit to unit on the chip."""
    elements = sum(program.elements(name) for name in program.given("input", "weight", "output"))
    elements += sum(program.elements(append.new) for append in program.appends)
    if program.reads_cache:
        elements += sum(program.elements(name) for name in program.given("cache"))
    return elements * element_bytes


def unfused_bytes(program: Program, element_bytes: int) -> int:
    """Bytes if every operation reads its operands from the main memory and writes its result there, scores included."""
    elements = 0
    for operation in program.operations:
        if isinstance(operation, Append):
            continue  # written by the operation before it
        elements += sum(program.elements(name) for name in dict.fromkeys(names_of(operation)))
        if isinstance(operation, Attention):
            elements += SCORE_PASSES * program.extent("bhsl")
    return elements * element_bytes
