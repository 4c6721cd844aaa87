"""Steps of a replica: what a batch holds, how long it takes, and the group of sequences that decode together."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from algorithms.live.requests import Request, Served
from algorithms.live.tiers import IntArray, Name


@dataclass(frozen=True)
class Part:
    """New tokens of one sequence in a step: so many, behind so many that are cached."""

    new_tokens: int
    cached_tokens: int


class StepTimes(Protocol):
    """How long steps take, in whole nanoseconds. The same step takes the same time, however it is asked for."""

    def decode(self, sequences: int, context_tokens: IntArray) -> IntArray:
        """Steps in which so many sequences make one token each; `context_tokens` `(steps,)` are read in all of them."""

    def mixed(self, sequences: int, context_tokens: int, prefill: tuple[Part, ...]) -> int:
        """A step in which prompts, or parts of them, are computed beside the sequences that decode."""


@dataclass(eq=False)
class Sequence:
    """A request on a replica: how far it is, and the blocks that it owns.

    Parameters
    ----------
    served
        Record of what becomes of the request.
    generated
        Output tokens so far.
    computed
        Tokens whose keys and values are there, while it is no member of a `DecodeGroup`.
    received
        Tokens whose keys and values come with it from where its prompt was computed, when it enters.
    blocks
        KV blocks in the order of its tokens.
    kept
        Marks of the full blocks that it lost, where tiers below may hold them: it computes them again only where they
        are not there any more.
    """

    served: Served
    generated: int = 0
    computed: int = 0
    received: int = 0
    blocks: list[int] = field(default_factory=list)
    kept: tuple[Name, ...] = ()
    joined: int = 0
    last_token_ns: int = 0

    @property
    def request(self) -> Request:
        """What arrived."""
        return self.served.request

    @property
    def known_tokens(self) -> int:
        """Tokens that have to be computed before the next one can be made: the prompt and the output so far."""
        return self.request.prompt_tokens + self.generated


class DecodeGroup:
    """Sequences that make one token each in every step.

    They are counted, not visited: contexts are sums over a counter of steps, the next to end lies on a heap, and those
    that need a block lie in the bucket of the step at which their last one is full.

    Parameters
    ----------
    block_tokens
        Tokens per KV block; 0 where members have all of their blocks from the beginning and never need another.
    """

    def __init__(self, block_tokens: int) -> None:
        self.block_tokens = block_tokens
        self.steps = 0
        self.members: dict[Sequence, None] = {}
        self._contexts_at_zero = 0
        self._ends: list[tuple[int, int, Sequence]] = []
        self._order = 0
        self._buckets: list[dict[Sequence, None]] = [{} for _ in range(max(block_tokens, 1))]

    def __len__(self) -> int:
        return len(self.members)

    @property
    def context_tokens(self) -> int:
        """Tokens that the next step reads: those of all members, the new one of each among them."""
        return self._contexts_at_zero + len(self.members) * (self.steps + 1)

    def computed(self, member: Sequence) -> int:
        """Tokens of a member whose keys and values are there."""
        return member.computed + self.steps - member.joined

    def join(self, member: Sequence) -> None:
        """A sequence whose next token the next step makes."""
        member.joined = self.steps
        self._contexts_at_zero += member.computed - self.steps
        self.members[member] = None
        self._order += 1
        left = member.request.output_tokens - member.generated
        heapq.heappush(self._ends, (self.steps + left, self._order, member))
        if self.block_tokens:
            self._buckets[(self.steps - member.computed) % self.block_tokens][member] = None

    def leave(self, member: Sequence) -> None:
        """Take a member out, with its counts up to date."""
        del self.members[member]
        self._contexts_at_zero -= member.computed - member.joined
        if self.block_tokens:
            del self._buckets[(member.joined - member.computed) % self.block_tokens][member]
        passed = self.steps - member.joined
        member.computed += passed
        member.generated += passed
        member.joined = -1

    def until_an_end(self) -> int:
        """Steps until the first member has all of its tokens; the group must have members."""
        while self._stale(self._ends[0]):
            heapq.heappop(self._ends)
        return self._ends[0][0] - self.steps

    def ended(self) -> Iterator[Sequence]:
        """Members that have all of their tokens, in the order in which they joined; they leave."""
        while self._ends and (self._stale(self._ends[0]) or self._ends[0][0] <= self.steps):
            end, _, member = heapq.heappop(self._ends)
            if not self._stale((end, 0, member)):
                self.leave(member)
                yield member

    def in_need(self, ahead: int = 0) -> dict[Sequence, None]:
        """Members that need a block for the token of the next step, or of one that is so many steps ahead."""
        return self._buckets[(self.steps + ahead) % max(self.block_tokens, 1)]

    def _stale(self, entry: tuple[int, int, Sequence]) -> bool:
        """Whether an entry is of a membership that has ended: its member is gone, or has joined anew."""
        end, _, member = entry
        return member not in self.members or end != member.joined + member.request.output_tokens - member.generated


@dataclass(frozen=True)
class Prefill:
    """A sequence whose prompt is computed in a step, and the part of it."""

    sequence: Sequence
    part: Part
