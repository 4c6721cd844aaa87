"""What tests of the command line share."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from studies.cli import main
from studies.points.point import Json


@pytest.fixture
def json_of(capsys: pytest.CaptureFixture[str]) -> Callable[..., Json]:
    """Function that runs a command, which has to end with ``code``, and returns the one JSON document on its stdout."""

    def run(*arguments: str, code: int = 0) -> Json:
        assert main([*arguments, "--json"]) == code
        document: Json = json.loads(capsys.readouterr().out)
        return document

    return run
