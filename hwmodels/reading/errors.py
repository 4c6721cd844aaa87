"""Reports of bad input: one clear line per problem, all problems at once.

Whatever reads text written by a person (YAML files, command lines, tensors) collects `Problem` values and
raises one `InputError` that holds them all. The command line prints its lines and ends with exit code 2.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with an input.

    Parameters
    ----------
    message
        What is wrong, e.g. ``must be greater than 0 (got -1)``.
    file
        Name of the file (or of the option) the text came from.
    line
        Line in that file, from 1.
    field
        Dotted place inside the document, e.g. ``tiers[1].capacity``.
    hint
        What to do instead, e.g. ``did you mean 'capacity'?``.
    """

    message: str
    file: str | None = None
    line: int | None = None
    field: str | None = None
    hint: str | None = None

    def __str__(self) -> str:
        """One line: ``file.yaml:7: tiers[1].capacity: must be greater than 0 (got -1)``."""
        place = self.file or ""
        if self.line is not None:
            place = f"{place or 'line '}{':' if place else ''}{self.line}"
        text = ": ".join(part for part in (place, self.field, self.message) if part)
        if self.hint:
            text = f"{text}; {self.hint}"
        return " ".join(text.split())


class InputError(ValueError):
    """Input written by a person cannot be used.

    Parameters
    ----------
    problems
        Everything that is wrong; a text or a single `Problem` stands for a list of one.

    Attributes
    ----------
    problems : tuple of Problem
        At least one.
    """

    problems: tuple[Problem, ...]

    def __init__(self, problems: Iterable[Problem] | Problem | str) -> None:
        if isinstance(problems, str):
            problems = Problem(problems)
        if isinstance(problems, Problem):
            problems = (problems,)
        self.problems = tuple(problems)
        if not self.problems:
            raise ValueError("an InputError needs at least one problem")
        # args rebuild the exception when it travels between processes
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """The choice that `name` was probably meant to be, or None when nothing is close.

    >>> nearest("capcity", ["capacity", "latency"])
    'capacity'
    """
    return next(iter(_nearest_ones(name, choices)), None)


_EQUALS = 3
"""Choices that are equally near which a hint names at most."""


def _nearest_ones(name: str, choices: Iterable[str]) -> list[str]:
    """The nearest choice and those that are just as near, if anything is close."""
    folded = name.casefold()
    by_folded = {choice.casefold(): choice for choice in choices}
    matches = difflib.get_close_matches(folded, by_folded, n=_EQUALS, cutoff=0.6)
    # the name second, as get_close_matches has it: the ratio depends on the order
    ratios = [difflib.SequenceMatcher(None, match, folded).ratio() for match in matches]
    return [by_folded[match] for match, ratio in zip(matches, ratios, strict=True) if ratio == ratios[0]]


_FAMILY = re.compile(r"[a-z]+", re.IGNORECASE)


def of_its_family(name: str, choices: Iterable[str]) -> str | None:
    """Hint with all choices whose first letters, up to a digit or a sign, are those of `name`; None without any.

    >>> of_its_family("fa9", ["fa2_hopper", "fa3_hopper", "fabric"])
    'known of fa: fa2_hopper, fa3_hopper'
    """
    start = _FAMILY.match(name)
    if start is None:
        return None
    family = start[0].casefold()
    matches = [
        choice
        for choice in sorted(choices)
        if (found := _FAMILY.match(choice)) is not None and found[0].casefold() == family
    ]
    return f"known of {family}: {', '.join(matches)}" if matches else None


LISTED_CHOICES = 12
"""Choices that a message about an unknown name lists at most, unless it is to list them all."""


def did_you_mean(name: str, choices: Iterable[str], most: int = LISTED_CHOICES) -> str | None:
    """Hint for an unknown `name`: the nearest choice, or the whole list when it has at most `most`.

    >>> did_you_mean("streaming_lm", ["streaming_llm", "streaming_vlm", "window"])
    "did you mean 'streaming_llm' or 'streaming_vlm'?"
    """
    choices = list(choices)
    matches = sorted(_nearest_ones(name, choices))
    if matches:
        return "did you mean " + " or ".join(f"'{match}'" for match in matches) + "?"
    if choices and len(choices) <= most:
        return "known: " + ", ".join(sorted(choices))
    return None
