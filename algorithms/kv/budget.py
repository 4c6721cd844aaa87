"""How many keys may stay: an absolute number or a share of what has been seen."""

from __future__ import annotations

from dataclasses import dataclass

from hwmodels.reading.errors import InputError, Problem


@dataclass(frozen=True)
class KVBudget:
    """Keys kept per KV head and layer.

    Exactly one of the two is given.

    Parameters
    ----------
    tokens
        Number of keys.
    fraction_kept
        Share of the tokens seen so far, in (0, 1]; at least one key is kept. kvpress counts the removed
        share instead: `fraction_kept = 1 - compression_ratio` gives the same integer.

    Raises
    ------
    InputError
        If none or both are given, or the number is out of range.
    """

    tokens: int | None = None
    fraction_kept: float | None = None

    def __post_init__(self) -> None:
        if (self.tokens is None) == (self.fraction_kept is None):
            raise InputError(Problem("give either tokens or fraction_kept", field="budget"))
        if self.tokens is not None and self.tokens < 1:
            raise InputError(Problem(f"must be at least 1 (got {self.tokens})", field="budget.tokens"))
        if self.fraction_kept is not None and not 0 < self.fraction_kept <= 1:
            raise InputError(Problem(f"must be in (0, 1] (got {self.fraction_kept})", field="budget.fraction_kept"))

    def keys(self, tokens_seen: int) -> float:
        """Keys that may stay when `tokens_seen` tokens have come, not rounded where the budget is a share of them."""
        if self.fraction_kept is not None:
            return tokens_seen * self.fraction_kept
        return self.tokens or 0

    def capacity(self, tokens_seen: int) -> int:
        """Keys that may stay when `tokens_seen` tokens have come: `max(1, int(tokens_seen * fraction))`."""
        return max(1, int(self.keys(tokens_seen)))

    def check(self, policy: str, smallest: int, context_tokens: int | None = None) -> None:
        """Check that a policy which always keeps `smallest` keys fits, and that there is something to evict.

        Raises
        ------
        InputError
            A budget below the keys the policy never drops, or above the context.
        """
        if self.tokens is None:
            return
        if self.tokens < smallest:
            raise InputError(
                Problem(
                    f"{self.tokens} tokens are fewer than the {smallest} that {policy} always keeps",
                    field="budget",
                )
            )
        if context_tokens is not None and self.tokens > context_tokens:
            raise InputError(
                Problem(f"{self.tokens} tokens are more than the context of {context_tokens}", field="budget")
            )


@dataclass(frozen=True)
class Sizes:
    """Sizes that a policy in a comparison has to fit.

    Parameters
    ----------
    budget
        Keys kept per KV head.
    kv_heads, layers
        Number of KV heads of a layer, and of layers.
    """

    budget: int
    kv_heads: int
    layers: int

    def part(self, divisor: int, most: int) -> int:
        """``budget / divisor``, at least 1 and at most ``most``, which is the size in a paper."""
        return max(1, min(most, self.budget // divisor))

    @property
    def frame(self) -> int:
        """Tokens of a frame: 196, as of a vision transformer, or what fits."""
        return self.part(8, 196)

    @property
    def block(self) -> int:
        """Tokens of a block: 128 or what fits, at least 2."""
        return max(2, self.part(8, 128))

    @property
    def window(self) -> int:
        """Tokens of a window of observation: 32 or what fits."""
        return self.part(4, 32)
