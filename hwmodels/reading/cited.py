"""Numbers that say where they come from."""

from __future__ import annotations

from typing import Generic, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator

T = TypeVar("T")

UNCITED = "given without a source"
"""The source of a plain value, where one is allowed: in a user's own file, or under the source of its section."""


class Cited(BaseModel, Generic[T]):
    """A value with its source, written in YAML as ``{value: "3.35 TB/s", source: "..."}``.

    Parameters
    ----------
    value
        The value itself; `T` may be any type a document can hold, e.g. ``Cited[BytesPerSecond]``.
    source
        Paper, data sheet, repository and commit. May be left out only for an assumption that has a note.
    note
        What a reader should know: how the number was read off, derived or rounded.
    assumption
        True marks a choice of the model instead of a published number.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    value: T
    source: str = ""
    note: str | None = None
    assumption: bool = False

    @model_validator(mode="after")
    def _says_where_it_comes_from(self) -> Self:
        if self.source.strip():
            return self
        if not self.assumption:
            raise ValueError("needs a source, or 'assumption: true' with a note")
        if not (self.note or "").strip():
            raise ValueError("an assumption needs a note (or a source) that gives the reason")
        return self


def cite_plain_value(value: object) -> object:
    """A plain value as a cited one; tests see that everything shipped has a source."""
    return value if isinstance(value, dict | Cited) else {"value": value, "source": UNCITED}


CITE_PLAIN = BeforeValidator(cite_plain_value)
"""For ``Annotated[Cited[...], CITE_PLAIN]``: a plain value will do, too."""


def no_truth_value(value: object) -> object:
    """Refuse true and false where a number is expected: pydantic takes them for 1 and 0, in a file they are slips."""
    if isinstance(value, bool):
        raise ValueError(f"must be a number (got {str(value).lower()})")
    return value


NO_TRUTH_VALUE = BeforeValidator(no_truth_value)
"""For ``Annotated[int, NO_TRUTH_VALUE]``."""
