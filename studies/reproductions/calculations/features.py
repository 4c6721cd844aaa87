"""Memories of features before a language model, while frames pass: what is kept, and what a model is given of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from algorithms.state.features.block import Array, FeatureMemory
from algorithms.state.features.queues import Fifo
from algorithms.state.features.slots import RecurrentTokens
from algorithms.state.features.systems import Branch, system
from hwmodels.reading.errors import InputError, Problem
from studies.reproductions.calculation import Figures, calculation

DRIFT = 0.1
"""Standard deviation of what changes from a frame to the next, of numbers that start with one of 1."""


@dataclass
class _Course:
    """Tokens that a chain keeps after each frame, and how many of them a model is given in the end."""

    kept: list[int]
    given: int = 0


@calculation("feature_memory")
def feature_memory(
    memory: str = "dense_captioning", frames: int = 64, width: int = 0, keeps: str = "memory", branch: str = ""
) -> Figures:
    """A published memory of features under a drifting stream: most tokens in its first half and in all, and bytes.

    ``width`` simulates fewer numbers per token than a system has (0: all of them), which changes no count; ``keeps``
    is ``memory``, or ``everything`` for a queue of all frames in its place; ``branch`` takes one chain alone.
    """
    if keeps not in ("memory", "everything"):
        raise InputError(Problem(f"must be memory or everything (got {keeps})", field="keeps"))
    if frames < 2:
        raise InputError(Problem(f"must be at least 2 (got {frames})", field="frames"))
    known = system(memory)
    chosen = [each for each in known.branches if branch in ("", each.name)]
    if not chosen:
        names = ", ".join(each.name for each in known.branches)
        raise InputError(Problem(f"{memory} has the chains {names} (got {branch})", field="branch"))
    courses = [_watched(each, frames, width or each.width, keeps == "everything") for each in chosen]
    kept = np.array([course.kept for course in courses], dtype=np.float64)
    sizes = np.array([each.width * known.dtype_bytes for each in chosen])
    tokens = kept.sum(axis=0)
    return {
        "tokens": float(tokens[-1]),
        "half_most_tokens": float(tokens[: frames // 2].max()),
        "most_tokens": float(tokens.max()),
        "given_tokens": sum(course.given for course in courses),
        "bytes": float(sizes @ kept[:, -1]),
        "most_bytes": float((sizes @ kept).max()),
    }


def _watched(branch: Branch, frames: int, width: int, everything: bool) -> _Course:
    """The course of one chain."""
    memory = FeatureMemory((Fifo(frames),) if everything else branch.blocks(), branch.tokens, width)
    course = _Course([])
    for frame in drifting(frames, branch.tokens, width):
        memory.push(frame[None])
        course.kept.append(memory.elements // width)
    course.given = len(memory.read()) if branch.read_tokens is None else min(len(memory.read()), branch.read_tokens)
    return course


def drifting(frames: int, tokens: int, width: int, seed: int = 0) -> Array:
    """Frames `(frames, tokens, width)` of which each resembles the one before."""
    draws = np.random.default_rng(seed)
    steps = draws.normal(0.0, DRIFT, (frames, tokens, width))
    steps[0] = draws.normal(0.0, 1.0, (tokens, width))
    return np.cumsum(steps, axis=0)


@calculation("slot_memory")
def slot_memory(
    slots: int = 128, width: int = 64, segment_tokens: int = 64, segments: int = 32, keeps: str = "memory"
) -> Figures:
    """Slots that read themselves and each segment by attention: most tokens kept in the first half, and in all.

    ``keeps`` is ``memory``, or ``everything`` for attention of each segment to all segments before it.
    """
    if keeps not in ("memory", "everything"):
        raise InputError(Problem(f"must be memory or everything (got {keeps})", field="keeps"))
    projections = np.random.default_rng(0).standard_normal((4, width, width)) / np.sqrt(width)
    block = Fifo(segments) if keeps == "everything" else RecurrentTokens(projections, slots)
    memory, kept = FeatureMemory((block,), segment_tokens, width), []
    for segment in drifting(segments, segment_tokens, width):
        memory.push(segment[None])
        kept.append(memory.elements // width)
    return {"half_most_tokens": max(kept[: segments // 2]), "most_tokens": max(kept)}
