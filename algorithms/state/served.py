"""Calls of gated delta layers as serving stacks make them: profiles keyed by stack and version, one YAML file each.

A profile says which launches a call consists of (`FORMS`), how a library cuts them, and at most four numbers fitted by
``attnflow calibrate`` on rows marked ``calibrate``, each for the mechanism that `STATE_MECHANISMS` names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import Field

from algorithms.chip.plan.called import CalledFolder, CalledText
from algorithms.chip.plan.profile import FITTABLE, KernelProfile, NextItem
from algorithms.chip.plan.served import MECHANISMS
from algorithms.chip.timing.calls import CallEstimate, Part, estimate_call
from algorithms.chip.timing.launch_work import LaunchWork
from algorithms.state.launches import FORMS, DeltaCall
from algorithms.workload.shape import DTYPE_BYTES
from hwmodels.chips.accelerator import Accelerator
from hwmodels.reading.errors import Problem, did_you_mean
from hwmodels.reading.shipped import Shipped

STATE_MECHANISMS = MECHANISMS | {
    "element_ops": "instructions of a block, addresses and masks included, per element of a convolution or a state",
}
"""What each number that may be fitted stands for."""


class StateText(CalledText):
    """A file of ``served_states``."""

    form: str = Field(description="launches of a call, one of those of algorithms.state.launches")
    convolved: Literal["all", "keys"] = Field("all", description="channels that a convolution goes over")
    state_format: str = Field("float32", description="number format in which the state is kept")
    columns: int = Field(128, description="value columns of a state that a block carries")
    row_tokens: int = Field(1024, description="tokens of a channel that a block of a convolution takes at a time")
    in_place: bool = Field(False, description="whether what is stored lies where it was loaded, and is cached once")
    items_per_core: int = Field(1, description="blocks that share a core")
    tiles_in_flight: int = 2
    next_item: NextItem = "stored"

    def problems(self) -> Iterator[Problem]:
        """What does not fit together."""
        if self.form not in FORMS:
            hint = did_you_mean(self.form, tuple(FORMS))
            yield Problem(f"there are no launches {self.form!r}", self.name, field="form", hint=hint)
        if self.state_format not in DTYPE_BYTES:
            yield Problem(f"unknown number format {self.state_format!r}", self.name, field="state_format")
        yield from super().problems()


@dataclass(frozen=True)
class StateProfile(KernelProfile):
    """`KernelProfile`, and what elements cost.

    Parameters
    ----------
    element_ops
        Vector operations for each element of a convolution, or of a state and a token.
    bubble_cycles
        Cycles of every tile step in which nothing of its own item is issued, because results are waited for.
    """

    element_ops: float = 4.0
    bubble_cycles: float = 0.0

    @property
    def fittable(self) -> tuple[str, ...]:
        """Numbers that may be fitted."""
        return (*FITTABLE, "element_ops", "bubble_cycles")


@dataclass(frozen=True)
class ServedState:
    """A call of a gated delta layer as a stack makes it.

    Parameters
    ----------
    text
        Profile of its file.
    profile
        Its numbers.
    """

    text: StateText
    profile: StateProfile

    @property
    def name(self) -> str:
        """Of its file."""
        return self.text.name

    def with_profile(self, profile: StateProfile) -> ServedState:
        """The same with other numbers."""
        return replace(self, profile=profile)

    def call(
        self, batch: int, tokens: int, key_heads: int, value_heads: int, key_dim: int, value_dim: int
    ) -> DeltaCall:
        """A call of so many sequences and new tokens of each, with this library's formats and blocks."""
        keys = key_heads * key_dim
        return DeltaCall(
            batch,
            tokens,
            key_heads,
            value_heads,
            key_dim,
            value_dim,
            channels=keys if self.text.convolved == "keys" else 2 * keys + value_heads * value_dim,
            element_bytes=DTYPE_BYTES["bfloat16"],
            state_bytes=DTYPE_BYTES[self.text.state_format],
            columns=min(self.text.columns, value_dim),
            row_tokens=self.text.row_tokens,
            element_ops=self.profile.element_ops,
        )

    def estimate(self, call: DeltaCall, chip: Accelerator) -> CallEstimate:
        """Time of a call that is repeated, so that what the caches hold comes from there."""
        works = [LaunchWork.of(launch) for launch in FORMS[self.text.form](call, chip)]
        touched = max(work.load_bytes + (0 if self.text.in_place else work.store_bytes) for work in works)
        warm = touched <= sum(tier.capacity_bytes for tier in chip.caches)
        return estimate_call([Part(work) for work in works], chip, self.profile, warm=warm)


def _state(text: StateText) -> ServedState:
    numbers = SERVED_STATES.load(text.numbers_of).text.fitted_numbers if text.numbers_of else text.fitted_numbers
    profile = StateProfile(
        name=text.name,
        fitted=tuple(text.fitted),
        items_per_core=text.items_per_core,
        tiles_in_flight=text.tiles_in_flight,
        next_item=text.next_item,
    )
    return ServedState(text, profile.fitted_to(**numbers))


SERVED_STATES = CalledFolder(Shipped("algorithms.state", "served_states", "served state"), StateText, _state)
"""Calls of gated delta layers as serving stacks make them."""
