"""Profiles of what serving stacks call: files that say who calls what, and which numbers were fitted on which rows.

Kernels, products and launches of constant states have a folder each, and texts of their own on top of `CalledText`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from algorithms.chip.plan.profile import MOST_FITTED
from hwmodels.chips.accelerator import Accelerator
from hwmodels.reading.documents import Document
from hwmodels.reading.errors import InputError, Problem
from hwmodels.reading.shipped import Shipped


class OriginText(BaseModel):
    """Section ``origin``: what the numbers under ``fitted`` were fitted on, and how well."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    tables: str = Field(description="collection and commit of the rows")
    groups: tuple[str, ...] = Field(description="GPU, stack, version and kernel of the rows")
    rows: int
    mean_error_pct: float = Field(description="mean of |error| on these rows, fitted")
    mean_error_before_pct: float = Field(description="the same with the numbers that the fit began with")


class CalledText(BaseModel):
    """What every profile of a call says."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str
    summary: str
    source: str
    kinds: tuple[str, ...] = Field(description="tables whose rows it stands for")
    kernels: tuple[str, ...]
    chips: tuple[str, ...] = Field(description="chips it stands for; empty for all")
    stacks: dict[str, tuple[str, ...]] = Field(description="stacks that call it, each with the versions it stands for")
    fitted: dict[str, float] = {}
    numbers_of: str = Field("", description="profile whose fitted numbers it takes, having no rows of its own")
    numbers_because: str = Field("", description="mechanism that both share")
    not_modelled: str = Field("", description="what is known to take time and is left out")
    origin: OriginText | None = None

    @property
    def fitted_numbers(self) -> dict[str, float]:
        """Those fitted to rows of its own."""
        return dict(self.fitted)

    def called_by(self, kind: str, stack: str, kernel: str, chip: Accelerator) -> bool:
        """Whether it stands for what ``stack`` calls ``kernel`` in calls of ``kind`` on ``chip``, in some version."""
        return (
            kind in self.kinds
            and stack in self.stacks
            and kernel in self.kernels
            and (not self.chips or chip.name in self.chips)
        )

    def problems(self) -> Iterator[Problem]:
        """What does not fit together."""
        count = len(self.fitted_numbers)
        if count > MOST_FITTED:
            yield Problem(f"at most {MOST_FITTED} numbers may be fitted (got {count})", self.name, field="fitted")
        if self.numbers_of and count:
            yield Problem("has numbers of its own besides", self.name, field="numbers_of")
        if bool(self.numbers_of) != bool(self.numbers_because):
            yield Problem("needs both a profile and a reason", self.name, field="numbers_of")


Text = TypeVar("Text", bound=CalledText)
Call = TypeVar("Call")


class CalledFolder(Generic[Text, Call]):
    """A folder of profiles, and what is made of each.

    Parameters
    ----------
    shipped
        Folder that they lie in.
    kind
        Type of their texts.
    make
        Makes of a text without problems what it describes.
    """

    def __init__(self, shipped: Shipped, kind: type[Text], make: Callable[[Text], Call]) -> None:
        self._shipped, self._kind, self._make = shipped, kind, make
        self._text = cache(self._read_text)
        self._call = cache(self._read)

    def names(self) -> tuple[str, ...]:
        """Names of all that are shipped, sorted."""
        return self._shipped.names()

    def path(self, name: str) -> Path:
        """Where the file of ``name`` lies, for the command that fits it."""
        return Path(str(self._shipped.path(name)))

    def load(self, name_or_path: str | Path) -> Call:
        """A shipped one by name, or one from a file by path.

        Raises
        ------
        InputError
            An unknown name (with the nearest one), or every problem of the file with its line.
        """
        if str(name_or_path) in self.names():
            return self._call(str(name_or_path))
        return self._make(self._checked(self._shipped.open(name_or_path)))

    def find(
        self,
        kind: str,
        stack: str,
        version: str,
        kernel: str,
        chip: Accelerator,
        takes: Callable[[Text], bool] = lambda text: True,
    ) -> tuple[Call, ...]:
        """All behind a name as a version of a stack calls it, else as other versions do; none if no file does.

        Parameters
        ----------
        takes
            Whether a profile is for the call at hand, since a name may stand for several.
        """
        texts = map(self._text, self.names())
        found = [text for text in texts if text.called_by(kind, stack, kernel, chip) and takes(text)]
        exact = [text for text in found if version in text.stacks[stack]]
        return tuple(self._call(text.name) for text in exact or found)

    def first(
        self,
        kind: str,
        stack: str,
        version: str,
        kernel: str,
        chip: Accelerator,
        takes: Callable[[Text], bool] = lambda text: True,
    ) -> Call | None:
        """The first that `find` finds, None if it finds nothing."""
        return next(iter(self.find(kind, stack, version, kernel, chip, takes)), None)

    def _read(self, name: str) -> Call:
        return self._make(self._text(name))

    def _read_text(self, name: str) -> Text:
        return self._checked(self._shipped.document(name))

    def _checked(self, document: Document) -> Text:
        text = document.validate(self._kind)
        problems = list(text.problems())
        if problems:
            raise InputError(problems)
        return text
