"""Speculative steps: tokens are drafted, verified in one step of the model, and kept as far as they are accepted.

Of so many drafted tokens, each accepted with the same chance while all before it are, a verification makes
``(1 - acceptance ** (drafted + 1)) / (1 - acceptance)`` tokens in the mean (Leviathan, Kalman and Matias 2023,
arXiv:2211.17192, equation 1). Requests are served with that mean: a step makes one token of each sequence and takes
its share of a verification and of the drafts before it, so times of single tokens are evened out, and latencies are
those of the mean. Parts of prompts in a step cost what they cost beside a verification.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from algorithms.live.steps import Part, StepTimes
from algorithms.live.tiers import IntArray
from hwmodels.reading.errors import InputError, Problem


@dataclass(frozen=True)
class Speculation:
    """How tokens are drafted.

    Parameters
    ----------
    drafted
        Tokens before each verification.
    acceptance
        Chance of a drafted token to be accepted, if all before it are.
    draft
        Model that drafts them one after the other on the same chips, as the mapping spreads it; empty: they cost
        nothing, as those that are looked up in the text so far.

    Raises
    ------
    InputError
        No drafted token, or a chance that is none.
    """

    drafted: int
    acceptance: float
    draft: str = ""

    def __post_init__(self) -> None:
        problems = []
        if self.drafted < 1:
            problems.append(Problem(f"must be at least 1 (got {self.drafted})", field="drafted"))
        if not 0 <= self.acceptance <= 1:
            problems.append(Problem(f"must be from 0 to 1 (got {self.acceptance:g})", field="acceptance"))
        if problems:
            raise InputError(problems)

    @property
    def made(self) -> float:
        """Tokens that a verification makes in the mean: those that are accepted, and the one that follows them."""
        return sum(self.acceptance**place for place in range(self.drafted + 1))


class SpeculativeTimes:
    """Times of steps that make one token of each sequence, as their share of drafts and verifications; a `StepTimes`.

    Parameters
    ----------
    speculation
        How tokens are drafted.
    verify
        Steps of the model with ``drafted + 1`` new tokens of each sequence that decodes.
    draft
        Steps of the model that drafts; None where drafts cost nothing.
    """

    def __init__(self, speculation: Speculation, verify: StepTimes, draft: StepTimes | None = None) -> None:
        self.speculation, self.verify, self.draft = speculation, verify, draft

    def decode(self, sequences: int, context_tokens: IntArray) -> IntArray:
        """See `StepTimes`."""
        share = self._round(sequences, context_tokens) / self.speculation.made
        return np.asarray(np.rint(share), dtype=np.int64)

    def mixed(self, sequences: int, context_tokens: int, prefill: tuple[Part, ...]) -> int:
        """See `StepTimes`."""
        whole = self.verify.mixed(sequences, context_tokens, prefill)
        if not sequences:
            return whole
        context = np.array([context_tokens], dtype=np.int64)
        alone = int(self.verify.decode(sequences, context)[0])
        return max(whole - alone, 0) + int(self.decode(sequences, context)[0])

    def _round(self, sequences: int, context_tokens: IntArray) -> IntArray:
        """Drafts and the verification that follows them."""
        total = self.verify.decode(sequences, context_tokens)
        if self.draft is not None:
            total = total + self.speculation.drafted * self.draft.decode(sequences, context_tokens)
        return total
