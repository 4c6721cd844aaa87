"""Requests: what arrives when, how many tokens it brings and asks for, and what became of it.

Times are whole nanoseconds, so that sums of step times are exact however they are grouped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hwmodels.reading.errors import InputError, Problem

NANOSECONDS = 1_000_000_000


def nanoseconds(seconds: float) -> int:
    """Seconds as whole nanoseconds, rounded to the nearest."""
    return round(seconds * NANOSECONDS)


@dataclass(frozen=True)
class Request:
    """A request as it arrives.

    Parameters
    ----------
    number
        Its place in the order of arrival.
    arrival_ns
        When it arrives.
    prompt_tokens, output_tokens
        Tokens that it brings, and tokens that are generated for it.
    prefix
        Hashes of the blocks of its prompt, each of a block and everything before it; empty where nothing is known of
        its content. A last block that is not full has a hash, too.

    Raises
    ------
    InputError
        For counts below 1 or a negative arrival.
    """

    number: int
    arrival_ns: int
    prompt_tokens: int
    output_tokens: int
    prefix: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        problems = [
            Problem(f"must be at least {low} (got {value})", field=name)
            for name, value, low in (
                ("arrival_ns", self.arrival_ns, 0),
                ("prompt_tokens", self.prompt_tokens, 1),
                ("output_tokens", self.output_tokens, 1),
            )
            if value < low
        ]
        if problems:
            raise InputError(problems)


@dataclass
class Served:
    """What became of a request.

    Parameters
    ----------
    request
        Request as it arrived.
    scheduled_ns
        When a step that worked on it first began; None while it waits.
    first_token_ns, last_token_ns
        When its first and its last output token were there; None while they are not.
    cached_tokens
        Prompt tokens whose keys and values were found when it was first scheduled.
    preemptions
        Times that its memory was taken away and its tokens had to be computed again.
    refused
        Why it can never be served; empty for all others.
    """

    request: Request
    scheduled_ns: int | None = None
    first_token_ns: int | None = None
    last_token_ns: int | None = None
    cached_tokens: int = 0
    preemptions: int = 0
    refused: str = ""

    @property
    def finished(self) -> bool:
        """Whether all of its tokens are there."""
        return self.last_token_ns is not None

    def since_arrival_s(self, moment_ns: int | None) -> float:
        """Seconds from its arrival to a moment; NaN if that has not come."""
        return math.nan if moment_ns is None else (moment_ns - self.request.arrival_ns) / NANOSECONDS
