"""How closely a chip's main memory is modelled."""

from __future__ import annotations

from typing import Literal, get_args

MemoryFidelity = Literal["peak", "analytic", "cycle"]
MEMORY_FIDELITIES: tuple[MemoryFidelity, ...] = get_args(MemoryFidelity)
