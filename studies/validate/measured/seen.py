"""Choices that were made after scored rows had been looked at, as the table of errors and its page have to say."""

from __future__ import annotations

from functools import cache
from importlib import resources

from pydantic import BaseModel, ConfigDict, RootModel

from hwmodels.reading.documents import read_text

_FILE = "seen.yaml"


class SeenText(BaseModel):
    """A line of the file.

    Parameters
    ----------
    profiles, gpus
        That it is about, GPUs as in the tables; collectives go by the names of systems.
    what
        Was chosen.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    profiles: tuple[str, ...]
    gpus: tuple[str, ...]
    what: str


class _Seen(RootModel[tuple[SeenText, ...]]):
    """The file."""


@cache
def seen_choices() -> tuple[SeenText, ...]:
    """All of them."""
    text = resources.files("studies.validate.measured").joinpath(_FILE).read_text(encoding="utf-8")
    return read_text(text, _FILE).validate(_Seen).root


def is_blind(gpu: str, profiles: tuple[str, ...]) -> bool:
    """Whether nothing of a group's profiles was chosen after its rows had been looked at."""
    return not any(gpu in line.gpus and set(profiles) & set(line.profiles) for line in seen_choices())
