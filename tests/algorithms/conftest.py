"""What tests of registers share."""

from __future__ import annotations

import pytest

from algorithms.registry import ALGORITHMS


@pytest.fixture
def fresh_algorithms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what a test registers or discovers."""
    ALGORITHMS.discover()
    monkeypatch.setattr(ALGORITHMS, "_entries", dict(ALGORITHMS._entries))
    monkeypatch.setattr(ALGORITHMS, "_complete", False)
