"""Metrics that rest on what nobody has published about a chip: its die, and the node it is made in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hwmodels.chips.accelerator import Accelerator, accelerator_names, load_accelerator
from hwmodels.costs.area import area_of


def estimates_of(chip: Accelerator, energies: Iterable[str], areas: Iterable[str] = ()) -> Mapping[str, str]:
    """Metrics of `chip` that rest on an estimate, each with what that is.

    Parameters
    ----------
    energies
        Metrics of energy and power. Leakage is by the square millimetres of the die, and all energies are those of a
        node.
    areas
        Metrics of the die itself.
    """
    die, node = not area_of(chip).published, _assumes_its_node(chip)
    if die:
        return dict.fromkeys([*areas, *energies], "estimated die and node" if node else "estimated die")
    return dict.fromkeys(energies, "assumed node") if node else {}


def _assumes_its_node(chip: Accelerator) -> bool:
    """Of a preset its file says so; chips of users state what they state, and a node that is set is given."""
    if chip.name not in accelerator_names() or "node_nm" in dict(chip.changes):
        return False
    # of the file: a chip that was read back from a store does not know who stated its numbers
    return load_accelerator(chip.name).sources().get("node_nm", "").startswith("assumption:")
