"""Workloads from YAML, and shipped presets.

A workload file is one of the cited presets of this package or a user's own in the same form.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict

from algorithms.workload.shape import DTYPE_BYTES, LatentAttention, Mask, Phase, Workload
from algorithms.workload.tensors import draw_tensors, load_tensors, workload_of_tensors
from hwmodels.reading.cited import CITE_PLAIN, NO_TRUTH_VALUE, Cited
from hwmodels.reading.errors import InputError
from hwmodels.reading.shipped import Shipped

__all__ = [
    "DTYPE_BYTES",
    "LatentAttention",
    "Workload",
    "draw_tensors",
    "load_tensors",
    "load_workload",
    "workload_names",
    "workload_of_tensors",
]

Given = Annotated[Cited[Annotated[int, NO_TRUTH_VALUE]], CITE_PLAIN]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LatentText(_Strict):
    """The `latent` section of a workload file."""

    kv_lora_rank: Given
    qk_rope_head_dim: Given
    q_lora_rank: Given | None = None


class WorkloadText(_Strict):
    """A workload file; fields are those of `Workload`, numbers plain or as ``{value: 32, source: "..."}``."""

    name: str
    source: str
    heads: Given
    kv_heads: Given
    head_dim: Given
    v_head_dim: Given | None = None
    q_len: Given
    kv_len: Given
    batch: Given = Cited[int](value=1, assumption=True, note="one sequence")
    layers: Given | None = None
    hidden: Given | None = None
    latent: LatentText | None = None
    phase: Phase = "prefill"
    mask: Mask = "causal"
    dtype: str = "float16"
    seed: int = 0

    def workload(self) -> Workload:
        """The plain workload, its citations beside it."""
        cited: dict[str, Cited[int]] = {
            name: value for name in WorkloadText.model_fields if isinstance(value := getattr(self, name), Cited)
        }
        latent = None
        if self.latent is not None:
            ranks = {name: value for name, value in self.latent if value is not None}
            latent = LatentAttention(**{name: value.value for name, value in ranks.items()})
            cited |= {f"latent.{name}": value for name, value in ranks.items()}
        numbers = {name: value.value for name, value in cited.items() if "." not in name}
        return Workload(
            name=self.name,
            phase=self.phase,
            mask=self.mask,
            dtype=self.dtype,
            seed=self.seed,
            latent=latent,
            source=self.source,
            citations=tuple((name, _source_text(value)) for name, value in cited.items()),
            **numbers,
        )


_SHIPPED = Shipped("algorithms.workload", "presets", "workload")


def workload_names() -> tuple[str, ...]:
    """Names of the shipped presets, sorted."""
    return _SHIPPED.names()


def load_workload(name_or_path: str | Path) -> Workload:
    """A shipped preset by name, or a workload file by path.

    Text with a path separator or the suffix ``.yaml`` or ``.yml`` is a path; anything else is a name.

    Raises
    ------
    InputError
        An unknown name (with the nearest one), or every problem of the file with its line.
    """
    document = _SHIPPED.open(name_or_path)
    parsed = document.validate(WorkloadText)
    try:
        return parsed.workload()
    except InputError as error:
        raise InputError(
            [document.problem(tuple((p.field or "").split(".")), p.message, p.hint) for p in error.problems]
        ) from None


def _source_text(value: Cited[int]) -> str:
    parts = [value.source, value.note or ""]
    text = "; ".join(part for part in parts if part)
    return f"assumption: {text}" if value.assumption else text
