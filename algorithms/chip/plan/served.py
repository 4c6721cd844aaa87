"""Kernels as serving stacks call them: profiles keyed by stack and version, one YAML file of ``served_profiles`` each.

A kernel's name is not a kernel: two releases of a stack may differ by a third under one name. A file therefore says
which stack, which versions and which chips it stands for, what the stack launches around the kernel, and on which rows
of which table its numbers were fitted. ``structure`` and ``tiles`` come from source code; ``fitted`` and
``write_fitted`` together hold at most four numbers, each of which stands for the mechanism that `MECHANISMS` names,
written by ``attnflow calibrate`` from rows marked ``calibrate``. A kernel without such rows takes the numbers of
another one by name and says why (``numbers_of``, ``numbers_because``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from algorithms.chip.plan.called import CalledFolder, CalledText
from algorithms.chip.plan.kernels import Kernel, KernelText, StructureText, profile_of
from algorithms.chip.plan.profile import FITTABLE, KernelProfile
from hwmodels.reading.errors import Problem
from hwmodels.reading.shipped import Shipped

WRITE_NUMBERS = ("write_element_ops",)
"""Of `ServedProfile`: those of the launch before the kernel, which is another kernel."""
WRITE_THREAD_OPS = 20.0
"""Of a thread that writes a cache, on addresses: a page is looked up (two divisions of integers, of about eight
instructions each) and four multiply-adds follow; a model choice."""
MECHANISMS = {
    "launch_gap_s": "front end of the chip, first and last instructions of the launches of a call, replayed in a graph",
    "item_gap_s": "a thread block is retired and the next one launched, or a persistent one fetches its next item",
    "clock_fraction": "clock sustained under the power limit",
    "matrix_fraction": "issue of products by the warps that also load their operands from local memory (mma.sync)",
    "bandwidth_fraction": "refresh, bank conflicts and turnaround of the main memory under scattered pages",
    "exposed_softmax": "waits between row groups that hand the matrix array to each other",
    "rearrange_fraction": "bank conflicts of operands that are transposed on their way through local memory",
    "bubble_cycles": "latency of dependent instructions in a tile step that nothing else of its item hides",
    "write_element_ops": "instructions and scattered stores of the launch that writes the cache, per element",
}
"""What each number that may be fitted stands for. Those of the matrix arrays' issue, of the softmax's waits and of
conflicts in local memory could be worked out from instruction schedules, which are not modelled."""
Before = Literal["nothing", "cache_write", "rotate_and_write"]
Products = Literal["stored", "converted", "fresh", "lanes"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class CallText(_Strict):
    """Section ``call``: what a stack launches before the kernel, and what the kernel makes of formats.

    ``products`` multiplies in the format of the cache as ``stored``, or in that of the queries after keys and values
    are ``converted``, or attends the ``fresh`` keys in the queries' format while the cache is only written, or
    multiplies converted keys and values on the vector ``lanes``.
    """

    before: Before = "nothing"
    products: Products = "stored"
    launching: Literal["graph", "eager"] = "graph"
    shared_values: bool = Field(default=False, description="values are a part of the keys and loaded with them (MLA)")
    windows: Literal["skipped", "masked"] = Field(
        default="skipped", description="whether prompts leave out tiles beyond a window, or multiply and mask them"
    )
    most_splits: int = Field(default=0, description="parts of the keys at most; 0 for no bound but the cores to fill")
    splits_by: Literal["cores", "history"] = Field(
        default="cores", description="whether splits fill the cores, or follow all cached tokens, seen or not (XQA)"
    )
    window_tiles: int = Field(default=0, description="tiles beyond those a window fills that one token loads for it")
    write_threads: int = Field(default=512, description="most threads that write the keys or values of a token")


@dataclass(frozen=True)
class ServedProfile(KernelProfile):
    """`KernelProfile`, and what a cache of 8 bits costs within a core.

    Parameters
    ----------
    rearrange_fraction
        Share of the local memory's rate that loading warps reach where they write operands again, transposed.
    bubble_cycles
        Cycles of every tile step in which nothing of its own item is issued, because results are waited for; other
        items on the core may use them.
    write_element_ops, write_thread_ops
        Work of the launch before: operations for each element of new keys and values, and for each thread besides,
        mostly on addresses. Every token has threads of its own.
    """

    rearrange_fraction: float = 1.0
    bubble_cycles: float = 0.0
    write_element_ops: float = 1.0
    write_thread_ops: float = WRITE_THREAD_OPS

    @property
    def fittable(self) -> tuple[str, ...]:
        """Numbers that may be fitted."""
        return (*FITTABLE, "rearrange_fraction", "bubble_cycles", *WRITE_NUMBERS)


class ServedStructureText(StructureText):
    """Section ``structure``."""

    rearrange_fraction: float | None = None
    bubble_cycles: float | None = None
    write_element_ops: float | None = None
    write_thread_ops: float | None = None


class ServedText(KernelText, CalledText):
    """A file of ``served_profiles``."""

    structure: ServedStructureText = ServedStructureText()

    call: CallText = CallText()
    formats: tuple[str, ...] = Field((), description="of the cache, or of the queries without one; empty for all")
    group_sizes: tuple[int, int] = Field((1, 1 << 20), description="fewest and most query heads of a KV head")
    write_fitted: dict[str, float] = Field({}, description="numbers of the launch before that were fitted")

    @property
    def fitted_numbers(self) -> dict[str, float]:
        """Those fitted to rows of its own, of the launch before included."""
        return {**self.fitted, **self.write_fitted}

    def problems(self) -> Iterator[Problem]:
        """What does not fit together."""
        hint = f"those are {', '.join(WRITE_NUMBERS)}"
        for name in self.write_fitted:
            if name not in WRITE_NUMBERS:
                yield Problem("is no number of it", self.name, field=f"write_fitted.{name}", hint=hint)
        yield from super().problems()


@dataclass(frozen=True)
class ServedKernel(Kernel):
    """A kernel as a stack calls it."""

    text: ServedText
    profile: ServedProfile

    def takes(self, number_format: str, group_size: int) -> bool:
        """Whether it is the kernel for a format and so many query heads of a KV head; a name may stand for several."""
        least, most = self.text.group_sizes
        return number_format in (self.text.formats or (number_format,)) and least <= group_size <= most


def _served(text: ServedText) -> ServedKernel:
    profile = profile_of(text, ServedProfile).fitted_to(**text.write_fitted)
    return ServedKernel(text, profile.fitted_to(**inherited) if (inherited := _inherited(text)) else profile)


def _inherited(text: ServedText) -> dict[str, float]:
    """Fitted numbers of the kernel whose numbers this one takes, but for those that its own structure gives."""
    if not text.numbers_of:
        return {}
    other = SERVED_KERNELS.load(text.numbers_of).text
    given = {name for name, value in text.structure.model_dump().items() if value is not None}
    return {name: value for name, value in other.fitted_numbers.items() if name not in given}


SERVED_KERNELS = CalledFolder(Shipped("algorithms.chip.plan", "served_profiles", "served kernel"), ServedText, _served)
"""Kernels as serving stacks call them."""
