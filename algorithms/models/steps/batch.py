"""What a step works on: for every sequence new tokens, tokens it attends to, and what they are.

    prefill 2048 x1, decode 1 of 8192 x32
    image 4 x1, prefill 1024 x1
    video 32760 with 512 x1
    extend 512 of 4096 x2

``decode 1 of 8192`` makes one token that attends to 8,192, itself among them. ``image 4`` runs the encoder of images on
four of them for each sequence; ``with`` is the number of tokens that cross-attention attends to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from algorithms.models.model import Model, Tower
from algorithms.rounding import ceil_div
from hwmodels.reading.errors import InputError, Problem, did_you_mean

Kind = Literal["prefill", "decode", "extend", "image", "audio", "video", "frame"]
TEXT: tuple[Kind, ...] = ("prefill", "decode", "extend")
MOST_TOKENS = 10**9
MODALITIES: dict[str, tuple[str, ...]] = {
    "image": ("image",),
    "frame": ("image", "video"),
    "video": ("video", "image"),
    "audio": ("audio",),
}
"""Modalities of towers that serve a kind of part, best first."""
_PART = re.compile(r"\s*([a-z]+)\s+(\d+)(?:\s+of\s+(\d+))?(?:\s+with\s+(\d+))?(?:\s*x\s*(\d+))?\s*", re.ASCII)


@dataclass(frozen=True)
class Part:
    """Sequences that are alike.

    Parameters
    ----------
    kind
        Phase of the part: a prompt, one new token, or an encoder's input.
    new
        New tokens of each; images or clips where an encoder runs.
    total
        Tokens that the last of them attends to, itself among them; tokens of one image or clip where an encoder runs
        (0: as many as the encoder makes of them).
    sequences
        How many such sequences.
    context
        Tokens that cross-attention attends to.
    """

    kind: Kind
    new: int
    total: int
    sequences: int = 1
    context: int = 0

    @property
    def tokens(self) -> int:
        """New ones of all sequences."""
        return self.new * self.sequences

    def __str__(self) -> str:
        of = f" of {self.total}" if self.total not in (0, self.new) else ""
        context = f" with {self.context}" if self.context else ""
        return f"{self.kind} {self.new}{of}{context} x{self.sequences}"


@dataclass(frozen=True)
class Batch:
    """Parts that go through a model in one step."""

    parts: tuple[Part, ...]

    @property
    def text(self) -> tuple[Part, ...]:
        """Parts of the decoder."""
        return tuple(part for part in self.parts if part.kind in TEXT)

    def encoded(self, tower: Tower) -> tuple[Part, ...]:
        """Parts that run an encoder, as tokens of it: one sequence for each image or clip."""
        found = []
        for part in self.parts:
            if part.kind in TEXT or tower.modality not in MODALITIES[part.kind]:
                continue
            own = ceil_div(part.total, tower.every) or tower.tokens or 0
            if part.kind == "video" and not tower.tokens and not part.total:
                # a clip is one sequence of as many tokens as are given
                found.append(Part(part.kind, part.new, part.new, part.sequences, part.context))
                continue
            if not own:
                raise InputError(
                    Problem(f"needs the tokens of one {part.kind}, as in '{part.kind} 1 of 1024'", field="batch")
                )
            found.append(Part(part.kind, own, own, part.sequences * part.new, part.context))
        return tuple(found)

    @property
    def made(self) -> int:
        """Tokens that the step makes: one for every sequence of text."""
        return sum(part.sequences for part in self.text)

    def __str__(self) -> str:
        return ", ".join(map(str, self.parts))


def parse_batch(text: str) -> Batch:
    """A batch from its text, see the module.

    Raises
    ------
    InputError
        One line for every part that cannot be.
    """
    problems: list[Problem] = []
    parts: list[Part] = []
    for piece in text.split(","):
        match = _PART.fullmatch(piece)
        if match is None:
            message = f"{piece.strip()!r} is no part such as 'prefill 2048 x1' or 'decode 1 of 8192 x32'"
            problems.append(Problem(message, field="batch"))
            continue
        kind, *numbers = match.groups()
        if kind not in get_args(Kind):
            hint = did_you_mean(kind, get_args(Kind))
            problems.append(Problem(f"unknown kind of part {kind!r}", field="batch", hint=hint))
            continue
        new, total, context, sequences = (None if number is None else int(number) for number in numbers)
        part = _part(kind, new or 0, total, context or 0, 1 if sequences is None else sequences)
        problems += _problems(part)
        parts.append(part)
    if problems:
        raise InputError(problems)
    return Batch(tuple(parts))


def _part(kind: str, new: int, total: int | None, context: int, sequences: int) -> Part:
    known: Kind = next(each for each in get_args(Kind) if each == kind)
    if total is None:
        total = new if kind in TEXT else 0
    return Part(known, new, total, sequences, context)


def _problems(part: Part) -> list[Problem]:
    found = []
    for name, value in (("tokens", part.new), ("sequences", part.sequences)):
        if not 1 <= value <= MOST_TOKENS:
            found.append(Problem(f"{part}: {name} must lie between 1 and {MOST_TOKENS:,} (got {value})", field="batch"))
    if part.total > MOST_TOKENS or part.context > MOST_TOKENS:
        found.append(Problem(f"{part}: at most {MOST_TOKENS:,} tokens", field="batch"))
    if part.kind in TEXT and part.total < part.new:
        message = f"{part}: attends to {part.total} tokens, fewer than the {part.new} new ones"
        found.append(Problem(message, field="batch"))
    return found


def check_batch(batch: Batch, model: Model) -> None:
    """That a model can do every part.

    Raises
    ------
    InputError
        A part that no tower of the model serves.
    """
    problems = []
    if batch.text and not any(tower.modality == "text" for tower in model.towers):
        problems.append(Problem(f"{model.name} has no tower of text for '{batch.text[0]}'", field="batch"))
    for part in batch.parts:
        if part.kind in TEXT:
            continue
        if not any(tower.modality in MODALITIES[part.kind] for tower in model.towers):
            problems.append(Problem(f"{model.name} has no encoder for '{part}'", field="batch"))
    decoder = model.decoder
    positions = [
        edge.rows for edge in (decoder.inputs if decoder else ()) if edge.kind == "table" and edge.name == "positions"
    ]
    for part in batch.text:
        if positions and part.total > positions[0]:
            message = f"{model.name} knows {positions[0]:,} positions, '{part}' needs {part.total:,}"
            problems.append(Problem(message, field="batch"))
    if problems:
        raise InputError(problems)
