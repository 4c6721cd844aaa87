"""Metrics of served requests: whether the queue grows."""

from __future__ import annotations

import numpy as np
import pytest

from algorithms.live.blocks import BlockPool
from algorithms.live.metrics import queue_growth
from algorithms.live.requests import Request
from algorithms.live.schedulers.vllm import ContinuousBatching
from algorithms.live.serve import serve


class Millisecond:
    """Every step takes as long."""

    def decode(self, sequences, context_tokens):
        return np.full(len(context_tokens), 1_000_000)

    def mixed(self, sequences, context_tokens, prefill):
        return 1_000_000


@pytest.mark.parametrize(("gap_ns", "growth"), [(2_000_000, 0.0), (500_000, 1_000.0), (250_000, 3_000.0)])
def test_a_queue_grows_by_what_comes_beyond_what_is_served(gap_ns, growth):
    requests = [Request(i, gap_ns * i, 5, 1) for i in range(400)]
    run = serve(requests, lambda: ContinuousBatching(BlockPool(100), 1, 64), Millisecond())
    assert queue_growth(run) == pytest.approx(growth, abs=5)


def test_nothing_is_said_of_the_queue_of_a_few():
    run = serve([Request(i, i, 5, 1) for i in range(20)], lambda: ContinuousBatching(BlockPool(100)), Millisecond())
    assert queue_growth(run) is None
