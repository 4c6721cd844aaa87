"""Kinds of tiers: the text of a file, and the tier that comes of it; each kind registers itself when it is imported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from hwmodels.reading.discovery import import_all
from hwmodels.reading.documents import Document
from hwmodels.reading.errors import InputError, Problem
from hwmodels.standards.sections import Text
from hwmodels.tiers.base import Tier

ENTRY_POINT_GROUP = "attnflow.tiers"
TierText = TypeVar("TierText", bound=Text)


@dataclass(frozen=True)
class TierKind(Generic[TierText]):
    """One kind of tier.

    Parameters
    ----------
    name
        Value of ``kind`` in a tier file; also the name of the mechanism that simulates the tier.
    text
        Model of a tier file of this kind.
    build
        Tier of a checked text and its document; raises `InputError` for what the model cannot see.
    presets
        Folder with shipped tier files of this kind, beside those of the package itself.
    """

    name: str
    text: type[TierText]
    build: Callable[[TierText, Document], Tier]
    presets: Path | None = None


_KINDS: dict[str, TierKind[Text]] = {}


def register_tier_kind(kind: TierKind[TierText]) -> None:
    """Make a kind of tier known.

    Raises
    ------
    InputError
        If another module has a kind of that name.
    """
    other = _KINDS.get(kind.name)
    if other is not None and other.build.__module__ != kind.build.__module__:
        both = f"{other.build.__module__} and {kind.build.__module__}"
        raise InputError(Problem(f"tiers of kind {kind.name!r} are registered by both {both}"))
    # the register pairs each text with its own builder
    _KINDS[kind.name] = kind  # type: ignore[assignment]


def tier_kinds() -> dict[str, TierKind[Text]]:
    """Every kind by name; the modules of this package and the entry points of others are imported first.

    Raises
    ------
    InputError
        A plug-in that does not load, by name.
    """
    import_all(__package__ or "", ENTRY_POINT_GROUP)
    return dict(sorted(_KINDS.items()))
