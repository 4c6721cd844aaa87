"""attnflow.hwmodels: chips, memory tiers and quantities as cited data.

>>> import hwmodels
>>> hwmodels.load_accelerator("h100").cores, hwmodels.parse_quantity("3.35 TB/s", "B/s")
(132, 3350000000000.0)

The names below are loaded when they are used, since most users of one of them need no other.
"""

from __future__ import annotations

import difflib
import importlib

TYPE_CHECKING = False  # type checkers know the name; importing typing takes longer than the rest of this module
if TYPE_CHECKING:
    # for editors and type checkers; `_HOMES` says the same to Python
    from hwmodels.chips.accelerator import accelerator_names as accelerator_names
    from hwmodels.chips.accelerator import load_accelerator as load_accelerator
    from hwmodels.chips.chip import Accelerator as Accelerator
    from hwmodels.chips.interfaces import memory_interfaces as memory_interfaces
    from hwmodels.costs.area import area_of as area_of
    from hwmodels.costs.energy import energy_table as energy_table
    from hwmodels.reading.errors import InputError as InputError
    from hwmodels.reading.errors import Problem as Problem
    from hwmodels.reading.quantity import format_quantity as format_quantity
    from hwmodels.reading.quantity import parse_quantity as parse_quantity
    from hwmodels.standards.text import load_standard as load_standard
    from hwmodels.standards.text import standard_names as standard_names
    from hwmodels.tiers.base import Tier as Tier
    from hwmodels.tiers.text import load_tier as load_tier
    from hwmodels.tiers.text import tier_names as tier_names

_HOMES = {
    "Accelerator": "chips.chip",
    "InputError": "reading.errors",
    "Problem": "reading.errors",
    "Tier": "tiers.base",
    "accelerator_names": "chips.accelerator",
    "area_of": "costs.area",
    "energy_table": "costs.energy",
    "format_quantity": "reading.quantity",
    "load_accelerator": "chips.accelerator",
    "load_standard": "standards.text",
    "load_tier": "tiers.text",
    "memory_interfaces": "chips.interfaces",
    "parse_quantity": "reading.quantity",
    "standard_names": "standards.text",
    "tier_names": "tiers.text",
}


def __dir__() -> list[str]:
    return sorted(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        near = difflib.get_close_matches(name, _HOMES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
