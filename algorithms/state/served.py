"""Calls of gated delta layers as serving stacks make them: profiles keyed by stack and version, one YAML file each.

A profile says which launches a call consists of (`FORMS`), how a library cuts them, and at most four numbers fitted by
``attnflow calibrate`` on rows marked ``calibrate``, each for the mechanism that `STATE_MECHANISMS` names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from algorithms.chip.plan.profile import FITTABLE, MOST_FITTED, KernelProfile, NextItem
from algorithms.chip.plan.served import MECHANISMS, OriginText
from algorithms.chip.timing.calls import CallEstimate, Part, estimate_call
from algorithms.chip.timing.launch_work import LaunchWork
from algorithms.state.launches import FORMS, DeltaCall
from algorithms.workload.shape import DTYPE_BYTES
from hwmodels.chips.accelerator import Accelerator
from hwmodels.reading.documents import read_document
from hwmodels.reading.errors import InputError, Problem, did_you_mean
from hwmodels.reading.shipped import Shipped, is_path

STATE_MECHANISMS = MECHANISMS | {
    "element_ops": "instructions of a block, addresses and masks included, per element of a convolution or a state",
}
"""What each number that may be fitted stands for."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StateText(_Strict):
    """A file of ``served_states``."""

    name: str
    summary: str
    source: str
    kinds: tuple[str, ...] = Field(description="tables whose rows it stands for")
    kernels: tuple[str, ...]
    chips: tuple[str, ...] = Field((), description="chips it stands for; empty for all")
    stacks: dict[str, tuple[str, ...]] = Field(description="stacks that call it, each with the versions it stands for")
    form: str = Field(description="launches of a call, one of those of algorithms.state.launches")
    convolved: Literal["all", "keys"] = Field("all", description="channels that a convolution goes over")
    state_format: str = Field("float32", description="number format in which the state is kept")
    columns: int = Field(128, description="value columns of a state that a block carries")
    row_tokens: int = Field(1024, description="tokens of a channel that a block of a convolution takes at a time")
    in_place: bool = Field(False, description="whether what is stored lies where it was loaded, and is cached once")
    items_per_core: int = Field(1, description="blocks that share a core")
    tiles_in_flight: int = 2
    next_item: NextItem = "stored"
    fitted: dict[str, float] = {}
    numbers_of: str = Field("", description="profile whose fitted numbers it takes, having no rows of its own")
    numbers_because: str = Field("", description="mechanism that both share")
    not_modelled: str = ""
    origin: OriginText | None = None


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

    @property
    def fitted_numbers(self) -> dict[str, float]:
        """Those fitted to rows of its own."""
        return dict(self.text.fitted)

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

    def called_by(self, kind: str, stack: str, kernel: str, chip: Accelerator) -> bool:
        """Whether it stands for what ``stack`` calls ``kernel`` in calls of ``kind`` on ``chip``, in some version."""
        text = self.text
        return (
            kind in text.kinds
            and stack in text.stacks
            and kernel in text.kernels
            and (not text.chips or chip.name in text.chips)
        )


_SHIPPED = Shipped("algorithms.state", "served_states", "served state")


def state_names() -> tuple[str, ...]:
    """Names of all that are shipped, sorted."""
    return _SHIPPED.names()


def state_path(name: str) -> Path:
    """Where the file of ``name`` lies, for the command that fits it."""
    return Path(str(_SHIPPED.path(name)))


def load_state(name_or_path: str | Path) -> ServedState:
    """A shipped one by name, or one from a file by path.

    Raises
    ------
    InputError
        An unknown name (with the nearest one), or every problem of the file with its line.
    """
    if is_path(name_or_path):
        return _state(read_document(Path(name_or_path)).validate(StateText))
    return _shipped(_SHIPPED.known(str(name_or_path)))


def find_state(kind: str, stack: str, version: str, kernel: str, chip: Accelerator) -> ServedState | None:
    """The profile behind a name as a version of a stack calls it, else as other versions do; None if no file does."""
    found = [known for name in state_names() if (known := _shipped(name)).called_by(kind, stack, kernel, chip)]
    exact = [known for known in found if version in known.text.stacks[stack]]
    return next(iter(exact or found), None)


@cache
def _shipped(name: str) -> ServedState:
    return _state(_SHIPPED.document(name).validate(StateText))


def _state(text: StateText) -> ServedState:
    problems = list(_problems(text))
    if problems:
        raise InputError(problems)
    numbers = load_state(text.numbers_of).fitted_numbers if text.numbers_of else dict(text.fitted)
    profile = StateProfile(
        name=text.name,
        fitted=tuple(text.fitted),
        items_per_core=text.items_per_core,
        tiles_in_flight=text.tiles_in_flight,
        next_item=text.next_item,
    )
    return ServedState(text, profile.fitted_to(**numbers))


def _problems(text: StateText) -> Iterator[Problem]:
    if text.form not in FORMS:
        hint = did_you_mean(text.form, tuple(FORMS))
        yield Problem(f"there are no launches {text.form!r}", text.name, field="form", hint=hint)
    if text.state_format not in DTYPE_BYTES:
        yield Problem(f"unknown number format {text.state_format!r}", text.name, field="state_format")
    if len(text.fitted) > MOST_FITTED:
        message = f"at most {MOST_FITTED} numbers may be fitted (got {len(text.fitted)})"
        yield Problem(message, text.name, field="fitted")
    if text.numbers_of and text.fitted:
        yield Problem("has numbers of its own besides", text.name, field="numbers_of")
    if bool(text.numbers_of) != bool(text.numbers_because):
        yield Problem("needs both a profile and a reason", text.name, field="numbers_of")
