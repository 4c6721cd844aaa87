"""Paged allocation of KV memory over many sequences: block tables, copy-on-write, prefix sharing.

The policy here is where tokens lie, not which are kept. Pages hold a fixed number of tokens of all heads of
all layers; a sequence is a list of pages. Sequences that begin alike share pages, and a shared page is
copied only when someone writes into it (PagedAttention, Kwon et al. 2023, arXiv:2309.06180).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwmodels.reading.errors import InputError, Problem

IntArray = NDArray[np.int64]


class OutOfPagesError(Exception):
    """No page is free."""


class PagedMemory:
    """A pool of pages with reference counts.

    Parameters
    ----------
    pages
        Size of the pool.
    page_tokens
        Tokens per page.
    share_prefixes
        Whether full pages of equal prompts are found again by their content.
    """

    def __init__(self, pages: int, page_tokens: int = 16, share_prefixes: bool = True) -> None:
        problems = [
            Problem(f"must be at least 1 (got {value})", field=name)
            for name, value in (("pages", pages), ("page_tokens", page_tokens))
            if value < 1
        ]
        if problems:
            raise InputError(problems)
        self.page_tokens = page_tokens
        self.copied_tokens = 0
        self._share = share_prefixes
        self._free = list(range(pages - 1, -1, -1))
        self._users = np.zeros(pages, np.int64)
        self._tables: dict[int, list[int]] = {}
        self._lengths: dict[int, int] = {}
        self._by_content: dict[tuple[int, ...], int] = {}
        self._content: dict[int, tuple[int, ...]] = {}
        self._next = 0

    # what is there

    @property
    def used_pages(self) -> int:
        """Pages in use."""
        return int((self._users > 0).sum())

    @property
    def physical_tokens(self) -> int:
        """Token slots in the used pages."""
        return self.used_pages * self.page_tokens

    @property
    def logical_tokens(self) -> int:
        """Tokens of all sequences, shared ones counted for each."""
        return sum(self._lengths.values())

    @property
    def stored_tokens(self) -> int:
        """Tokens of all sequences, shared ones counted once."""
        filled: dict[int, int] = {}
        for sequence, table in self._tables.items():
            for number, page in enumerate(table):
                held = min(self.page_tokens, self._lengths[sequence] - number * self.page_tokens)
                filled[page] = max(filled.get(page, 0), held)
        return sum(filled.values())

    def table(self, sequence: int) -> tuple[int, ...]:
        """Pages of a sequence in order."""
        return tuple(self._tables[sequence])

    def length(self, sequence: int) -> int:
        """Tokens of a sequence."""
        return self._lengths[sequence]

    def slots(self, sequence: int) -> IntArray:
        """Physical slot of every token of a sequence."""
        tokens = np.arange(self._lengths[sequence])
        pages = np.array(self._tables[sequence], np.int64)
        return pages[tokens // self.page_tokens] * self.page_tokens + tokens % self.page_tokens

    # what changes

    def start(self, prompt: Sequence[int]) -> int:
        """A new sequence with `prompt` (token ids); returns its number.

        Raises
        ------
        OutOfPagesError
            It does not fit; nothing has changed then.
        """
        whole = len(prompt) // self.page_tokens
        found = self._matching_pages(prompt, whole) if self._share else []
        missing = -(-len(prompt) // self.page_tokens) - len(found)
        if missing > len(self._free):
            raise OutOfPagesError
        for page in found:
            self._users[page] += 1
        table = found + [self._take() for _ in range(missing)]
        if self._share:
            self._remember(prompt, table, len(found), whole)
        sequence = self._next
        self._next += 1
        self._tables[sequence], self._lengths[sequence] = table, len(prompt)
        return sequence

    def fork(self, sequence: int) -> int:
        """A copy that shares every page, as parallel samples and beams do."""
        other = self._next
        self._next += 1
        self._tables[other] = list(self._tables[sequence])
        self._lengths[other] = self._lengths[sequence]
        self._users[self._tables[other]] += 1
        return other

    def append(self, sequence: int) -> None:
        """One more token; a page that others use is copied first.

        Raises
        ------
        OutOfPagesError
            A page is needed and none is free; nothing has changed then.
        """
        table, length = self._tables[sequence], self._lengths[sequence]
        inside = length % self.page_tokens
        if inside == 0:
            table.append(self._take())
        elif self._users[table[-1]] > 1:
            copy = self._take()
            self._users[table[-1]] -= 1
            table[-1] = copy
            self.copied_tokens += inside
        self._lengths[sequence] = length + 1

    def finish(self, sequence: int) -> None:
        """Give the pages of a sequence back."""
        del self._lengths[sequence]
        for page in self._tables.pop(sequence):
            self._users[page] -= 1
            if self._users[page] == 0:
                content = self._content.pop(page, None)
                if content is not None:
                    del self._by_content[content]
                self._free.append(page)

    # pages

    def _take(self) -> int:
        if not self._free:
            raise OutOfPagesError
        page = self._free.pop()
        self._users[page] = 1
        return page

    def _key(self, prompt: Sequence[int], number: int, parent: int) -> tuple[int, ...]:
        """Content of full page `number`, told apart by the page before it and so by everything before it.

        Whoever uses a page uses its parent too, so a parent is never given to others before its children.
        """
        start = number * self.page_tokens
        return (parent, *prompt[start : start + self.page_tokens])

    def _matching_pages(self, prompt: Sequence[int], whole: int) -> list[int]:
        """Pages that already hold the longest run of full pages at the start of `prompt`."""
        found: list[int] = []
        parent = -1
        for number in range(whole):
            page = self._by_content.get(self._key(prompt, number, parent))
            if page is None:
                break
            found.append(page)
            parent = page
        return found

    def _remember(self, prompt: Sequence[int], table: list[int], start: int, whole: int) -> None:
        for number in range(start, whole):
            content = self._key(prompt, number, table[number - 1] if number else -1)
            self._by_content[content] = table[number]
            self._content[table[number]] = content


@dataclass(frozen=True)
class Request:
    """One request of a trace.

    Parameters
    ----------
    arrival
        Step at which it arrives.
    prompt
        Token ids; equal beginnings can be shared.
    output
        Tokens generated.
    samples
        Continuations generated from one prompt.
    """

    arrival: int
    prompt: tuple[int, ...]
    output: int
    samples: int = 1


@dataclass(frozen=True)
class AllocationTrace:
    """How memory was used while a trace ran; one entry per step.

    Parameters
    ----------
    running
        Sequences that got a token.
    logical_tokens
        Tokens of all running sequences.
    stored_tokens
        Tokens of all running sequences, shared ones counted once.
    physical_tokens
        Slots that were set aside.
    finished
        Step after which each request was done, in order of the trace.
    copied_tokens
        Copied on write.
    stalled
        Sequences that wanted a token and found no page, summed over steps.
    """

    running: tuple[int, ...]
    logical_tokens: tuple[int, ...]
    stored_tokens: tuple[int, ...]
    physical_tokens: tuple[int, ...]
    finished: tuple[int, ...]
    copied_tokens: int
    stalled: int

    @property
    def steps(self) -> int:
        """Steps until everything was done."""
        return len(self.running)

    @property
    def mean_running(self) -> float:
        """Mean batch, which decides throughput while weights are read once per step."""
        return float(np.mean(self.running)) if self.running else 0.0

    @property
    def waste(self) -> float:
        """Share of the slots set aside that held no token, over the whole trace."""
        set_aside = sum(self.physical_tokens)
        return 1 - sum(self.stored_tokens) / set_aside if set_aside else 0.0


def run_paged(
    trace: Sequence[Request], pages: int, page_tokens: int = 16, share_prefixes: bool = True
) -> AllocationTrace:
    """Serve `trace` from a pool of `pages`, first come first served, one token per sequence and step.

    A request starts when its prompt fits and no sequence is short of a page. A sequence that finds no page
    waits; when nobody can go on, the youngest request gives its pages back and starts again later
    (recomputation, as vLLM does).

    Raises
    ------
    InputError
        A request that cannot fit in the pool alone.
    """
    _check(trace, pages * page_tokens, page_tokens)
    memory = PagedMemory(pages, page_tokens, share_prefixes)
    return _Server(trace, memory).run()


class _Server:
    def __init__(self, trace: Sequence[Request], memory: PagedMemory) -> None:
        self._trace = trace
        self._memory = memory
        self._waiting = deque(sorted(range(len(trace)), key=lambda at: trace[at].arrival))
        self._active: dict[int, dict[int, int]] = {}
        self._finished = [0] * len(trace)
        self._records: list[tuple[int, int, int, int]] = []
        self._stalled = 0
        self._short = False

    def run(self) -> AllocationTrace:
        step = 0
        while self._waiting or self._active:
            if not self._short:
                self._admit(step)
            advanced = self._advance(step)
            if advanced == 0 and self._active:
                self._preempt()
            step += 1
        return AllocationTrace(
            *_columns(self._records), tuple(self._finished), self._memory.copied_tokens, self._stalled
        )

    def _admit(self, step: int) -> None:
        while self._waiting and self._trace[self._waiting[0]].arrival <= step:
            number = self._waiting[0]
            request = self._trace[number]
            try:
                first = self._memory.start(request.prompt)
            except OutOfPagesError:
                return
            self._waiting.popleft()
            sequences = [first, *(self._memory.fork(first) for _ in range(request.samples - 1))]
            self._active[number] = dict.fromkeys(sequences, request.output)

    def _advance(self, step: int) -> int:
        """One token for every sequence that finds room; nobody new starts while somebody does not."""
        advanced = 0
        self._short = False
        for sequences in self._active.values():
            for sequence, left in sequences.items():
                if left:
                    try:
                        self._memory.append(sequence)
                    except OutOfPagesError:
                        self._stalled += 1
                        self._short = True
                        continue
                    sequences[sequence] = left - 1
                    advanced += 1
        memory = self._memory
        self._records.append((advanced, memory.logical_tokens, memory.stored_tokens, memory.physical_tokens))
        self._retire(step)
        return advanced

    def _retire(self, step: int) -> None:
        for number in [number for number, left in self._active.items() if not any(left.values())]:
            for sequence in self._active.pop(number):
                self._memory.finish(sequence)
            self._finished[number] = step + 1

    def _preempt(self) -> None:
        youngest = max(self._active, key=lambda number: (self._trace[number].arrival, number))
        for sequence in self._active.pop(youngest):
            self._memory.finish(sequence)
        self._waiting.appendleft(youngest)
        self._short = bool(self._active)


def run_contiguous(trace: Sequence[Request], slots: int, longest: int) -> AllocationTrace:
    """Serve `trace` with `longest` slots set aside per sequence from its start, as systems before paging did.

    Parameters
    ----------
    slots
        Token slots in all.
    longest
        Longest sequence the system allows.

    Raises
    ------
    InputError
        A request longer than `longest`, or a pool that holds no sequence.
    """
    _check(trace, slots, 1)
    if any(len(r.prompt) + r.output > longest or r.samples * longest > slots for r in trace):
        raise InputError(Problem(f"a request exceeds the {longest} slots set aside or the pool", field="trace"))
    waiting = deque(sorted(range(len(trace)), key=lambda at: trace[at].arrival))
    active: dict[int, int] = {}
    finished, step = [0] * len(trace), 0
    records: list[tuple[int, int, int, int]] = []
    while waiting or active:
        while waiting and trace[waiting[0]].arrival <= step:
            reserved = sum(trace[number].samples for number in active) * longest
            if reserved + trace[waiting[0]].samples * longest > slots:
                break
            active[waiting.popleft()] = 0
        for number in active:
            active[number] += 1
        sequences = sum(trace[number].samples for number in active)
        held = sum(trace[n].samples * (len(trace[n].prompt) + done) for n, done in active.items())
        records.append((sequences, held, held, sequences * longest))
        for number in [n for n, done in active.items() if done >= trace[n].output]:
            del active[number]
            finished[number] = step + 1
        step += 1
    return AllocationTrace(*_columns(records), tuple(finished), 0, 0)


Column = tuple[int, ...]


def _columns(records: Sequence[tuple[int, int, int, int]]) -> tuple[Column, Column, Column, Column]:
    """Rows of four numbers as four columns."""
    first, second, third, fourth = zip(*records, strict=True) if records else ((), (), (), ())
    return first, second, third, fourth


def _check(trace: Sequence[Request], slots: int, page_tokens: int) -> None:
    problems = []
    for number, request in enumerate(trace):
        if not request.prompt or request.output < 1 or request.samples < 1 or request.arrival < 0:
            problems.append(Problem("needs a prompt, at least one output token and sample", field=f"trace[{number}]"))
        # in the worst case samples share nothing but the full pages of the prompt
        length = -(-(len(request.prompt) + request.output) // page_tokens) * page_tokens
        if length * request.samples > slots:
            problems.append(Problem(f"does not fit in {slots} slots alone", field=f"trace[{number}]"))
    if problems:
        raise InputError(problems)
