"""Tiers from YAML files: shipped presets by name, or a user's own by path.

Every number of a preset says where it comes from, alone or through the ``source`` of its section, or is marked as an
assumption. A tier file is of one of the kinds of `hwmodels.tiers.kinds`; DRAM names a standard and may change any of
its sections.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hwmodels.reading.documents import Document, Value, in_order
from hwmodels.reading.errors import InputError, did_you_mean
from hwmodels.reading.shipped import Shipped
from hwmodels.standards.sections import Text
from hwmodels.tiers.base import Tier
from hwmodels.tiers.kinds import TierKind, tier_kinds


def _presets() -> Shipped:
    """Shipped tier files: those of this package, and those that kinds of other packages bring."""
    folders = (kind.presets for kind in tier_kinds().values())
    return Shipped("hwmodels.tiers", "presets", "tier", tuple(folder for folder in folders if folder is not None))


def tier_names(kind: str | None = None) -> tuple[str, ...]:
    """Names of the shipped presets, sorted; of one kind if it is given."""
    return tuple(name for name in _presets().names() if kind is None or load_tier(name).kind == kind)


def load_tier(name_or_path: str | Path, count: int | None = None, changes: Mapping[str, Value] | None = None) -> Tier:
    """A shipped preset by name, or a tier file by path; text with a separator or a YAML suffix is a path.

    Parameters
    ----------
    name_or_path
        Preset or file.
    count
        Devices, instead of those of the file.
    changes
        Other values of the file by dotted path, e.g. ``{"controller.read_depth": 64}``; text is read as YAML, so
        that ``"[group, column, bank, rank, row]"`` is a list. They are checked as if the file had them.

    Raises
    ------
    InputError
        An unknown name (with the nearest one), or every problem of the file with its line.
    """
    document = _presets().open(name_or_path, "see 'attnflow list tiers'")
    given = dict(changes or {}) | ({} if count is None else {"count": count})
    document = document.with_values(given)
    kind = _kind(document)
    parsed, problems = document.validate_partly(kind.text)
    tier: Tier | None = None
    try:
        # the sound entries are looked at although others are faulty, so that all problems are told at once
        tier = kind.build(parsed, document) if parsed is not None else None
    except InputError as error:
        problems += error.problems
    if tier is None or problems:
        raise InputError(in_order(problems))
    return tier


def _kind(document: Document) -> TierKind[Text]:
    """Kind of tier that the document says it is."""
    known = tier_kinds()
    kind = document.data.get("kind") if isinstance(document.data, dict) else None
    if kind is None:
        raise InputError(document.problem(("kind",), "required key is missing", "known: " + ", ".join(known)))
    if not isinstance(kind, str) or kind not in known:
        raise InputError(document.problem(("kind",), f"no tier is of kind {kind!r}", did_you_mean(str(kind), known)))
    return known[kind]
