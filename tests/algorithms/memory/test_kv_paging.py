"""Pages, sharing and copy-on-write against plain token lists; paged against contiguous serving."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from algorithms.memory.paging import OutOfPagesError, PagedMemory, Request, run_contiguous, run_paged
from hwmodels.reading.errors import InputError

operations = st.lists(
    st.tuples(st.sampled_from(["start", "fork", "append", "finish"]), st.integers(0, 10**6)), max_size=60
)


@settings(deadline=None, max_examples=100)
@given(operations=operations, share=st.booleans())
def test_every_sequence_reads_its_own_tokens(operations, share):
    """What each slot holds is written along; a sequence must always find its tokens through its table."""
    memory = PagedMemory(12, 4, share)
    slots = np.full(48, -1)
    tokens: dict[int, list[int]] = {}
    for kind, number in operations:
        alive = list(tokens)
        chosen = alive[number % len(alive)] if alive else None
        try:
            if kind == "start":
                prompt = [0] * (number % 7) + [number % 3] * (number % 5) + [1]
                sequence = memory.start(prompt)
                tokens[sequence] = list(prompt)
                slots[memory.slots(sequence)] = prompt
            elif chosen is None:
                continue
            elif kind == "fork":
                tokens[memory.fork(chosen)] = list(tokens[chosen])
            elif kind == "append":
                before = memory.slots(chosen)
                memory.append(chosen)
                after = memory.slots(chosen)
                slots[after[:-1]] = slots[before]
                slots[after[-1]] = number % 11
                tokens[chosen].append(number % 11)
            else:
                memory.finish(chosen)
                del tokens[chosen]
        except OutOfPagesError:
            pass
        for sequence, expected in tokens.items():
            assert slots[memory.slots(sequence)].tolist() == expected
        used = {page for sequence in tokens for page in memory.table(sequence)}
        assert memory.used_pages == len(used)
        assert memory.logical_tokens == sum(map(len, tokens.values()))
        assert memory.stored_tokens <= min(memory.logical_tokens, memory.physical_tokens)


def test_equal_prompts_share_their_full_pages():
    memory = PagedMemory(10, 4)
    first = memory.start(list(range(10)))
    second = memory.start([*range(8), 99, 98])
    assert memory.table(first)[:2] == memory.table(second)[:2]
    assert memory.table(first)[2] != memory.table(second)[2]
    assert (memory.used_pages, memory.logical_tokens, memory.stored_tokens) == (4, 20, 12)
    memory.finish(first)
    assert memory.used_pages == 3
    assert memory.start(list(range(8))) is not None
    assert memory.used_pages == 3


def test_a_page_is_shared_only_with_everything_before_it():
    memory = PagedMemory(10, 2)
    one = memory.start([1, 1, 5, 5])
    other = memory.start([2, 2, 5, 5])
    assert not set(memory.table(one)) & set(memory.table(other))


def test_writing_into_a_shared_page_copies_it_once():
    memory = PagedMemory(10, 4)
    first = memory.start([1, 2, 3, 4, 5])
    second = memory.fork(first)
    memory.append(second)
    assert memory.copied_tokens == 1
    assert memory.table(first)[0] == memory.table(second)[0]
    assert memory.table(first)[1] != memory.table(second)[1]
    memory.append(first)  # now alone on its page
    assert memory.copied_tokens == 1


def trace(requests, output=20, prompt=40, samples=1):
    rng = np.random.default_rng(0)
    return [
        Request(int(rng.integers(0, 5)), tuple(rng.integers(0, 1000, prompt).tolist()), output, samples)
        for _ in range(requests)
    ]


def test_paging_wastes_less_than_a_page_per_sequence_and_batches_more():
    requests = trace(12)
    paged = run_paged(requests, pages=20, page_tokens=16)
    contiguous = run_contiguous(requests, slots=320, longest=128)
    assert contiguous.mean_running <= 2
    assert paged.mean_running > 2 * contiguous.mean_running * 0.9
    assert paged.steps < contiguous.steps
    assert paged.waste < contiguous.waste
    for running, stored, physical in zip(paged.running, paged.stored_tokens, paged.physical_tokens, strict=True):
        assert physical - stored <= 16 * max(running, 4)
    assert all(end > 0 for end in paged.finished)


def test_a_shared_system_prompt_is_stored_once():
    system = tuple(range(64))
    requests = [Request(0, (*system, 1000 + number), 8) for number in range(6)]
    shared = run_paged(requests, pages=100)
    apart = run_paged(requests, pages=100, share_prefixes=False)
    assert max(shared.logical_tokens) == max(apart.logical_tokens)
    assert max(apart.physical_tokens) - max(shared.physical_tokens) == 5 * 64


def test_samples_share_their_prompt_until_they_write():
    one = run_paged(trace(1, output=4, prompt=30, samples=4), pages=40)
    assert max(one.running) == 4
    assert one.copied_tokens == 3 * 14
    assert max(one.stored_tokens) < max(one.logical_tokens)


def test_everything_finishes_even_when_requests_push_each_other_out():
    tight = run_paged(trace(8, output=60, prompt=20), pages=8, page_tokens=16)
    assert tight.stalled > 0
    assert all(end > 0 for end in tight.finished)


def test_what_cannot_fit_is_told():
    with pytest.raises(InputError, match=r"trace\[0\]: does not fit in 32 slots alone"):
        run_paged(trace(1), pages=2)
    with pytest.raises(InputError, match="exceeds"):
        run_contiguous(trace(1), slots=500, longest=50)
    with pytest.raises(InputError, match="needs a prompt"):
        run_paged([Request(0, (), 1)], pages=4)
    with pytest.raises(InputError) as error:
        PagedMemory(0, 0)
    assert len(error.value.problems) == 2
