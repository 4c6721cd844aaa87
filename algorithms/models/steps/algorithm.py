"""The register of steps of whole models: one model, one batch, one mapping, timed together.

They are found like the algorithms of `algorithms.registry` and share their names; a model, its batch and its system are
parameters, a chip is given beside them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import ClassVar, Protocol, TypeVar

from algorithms.chip.timing.fidelity import MemoryFidelity
from algorithms.chip.timing.mapping import Mode
from algorithms.models.mapping import Mapping
from algorithms.models.options import StepOptions
from algorithms.models.steps.batch import parse_batch
from algorithms.models.steps.step import Step, model_step
from algorithms.models.text import load_model
from algorithms.registry import ALGORITHMS, Entry, Given, P, Parameters, register_algorithm
from algorithms.workload.levers import knob
from hwmodels.chips.accelerator import Accelerator
from hwmodels.systems.system import System, single
from hwmodels.systems.text import load_system

P_contra = TypeVar("P_contra", bound=Parameters, contravariant=True)


class Timed(Protocol[P_contra]):
    """Times a step on a chip, or on a system of such chips."""

    def __call__(self, parameters: P_contra, chip: Accelerator, mode: Mode, memory: MemoryFidelity) -> Step: ...


@dataclass(frozen=True, kw_only=True)
class ModelAlgorithm(Entry[P]):
    """A step of a whole model.

    Parameters
    ----------
    timed
        Times it.
    """

    what: ClassVar[str] = "steps a whole model"
    takes: ClassVar[frozenset[Given]] = frozenset({"chip", "mapping", "memory", "timing_only"})
    keyed: ClassVar[frozenset[Given]] = frozenset({"chip", "mapping", "memory"})
    chip_parameter: ClassVar[str] = "system"

    timed: Timed[P]

    def chip_of(self, named: str) -> Accelerator | None:
        """The chip of a system."""
        return load_system(named).chip if named else None


@dataclass(frozen=True)
class StepParameters(StepOptions):
    """`StepOptions`, and what runs on how many chips."""

    model: str = field(
        default="llama3-8b",
        metadata={**knob("a model's name, YAML file, or Hugging Face config.json"), "content": True},
    )
    batch: str = field(
        default="decode 1 of 1024",
        metadata=knob("parts of the batch, e.g. 'prefill 2048 x1, decode 1 of 8192 x32'"),
    )
    system: str = field(
        default="", metadata={**knob("a system's name or YAML file; empty: a chip by itself"), "content": True}
    )
    tp: int = field(default=1, metadata=knob("chips that share every layer"))
    pp: int = field(default=1, metadata=knob("stages of layers"))
    dp: int = field(default=1, metadata=knob("groups of chips with sequences of their own that share experts"))
    ep: int = field(default=1, metadata=knob("parts that whole experts are dealt to; 0: all chips of a stage"))
    cp: int = field(default=1, metadata=knob("parts of every sequence, keys of which go round"))

    @property
    def parts(self) -> Mapping:
        """How the model is spread; raises InputError for parts that cannot be."""
        return Mapping(self.tp, self.pp, self.dp, self.ep, self.cp)

    @property
    def options(self) -> StepOptions:
        """How it is carried out."""
        return StepOptions(**{each.name: getattr(self, each.name) for each in fields(StepOptions)})


def model_algorithm(name: str, parameters: type[P]) -> Callable[[Timed[P]], Timed[P]]:
    """Register the decorated function; the first line of its docstring is its summary.

    Raises
    ------
    InputError
        As `algorithms.registry.register_algorithm`.
    """

    def register(timed: Timed[P]) -> Timed[P]:
        register_algorithm(name, parameters, timed, partial(ModelAlgorithm[P], timed=timed, has_values=False))
        return timed

    return register


def get_model_algorithm(name: str) -> ModelAlgorithm[Parameters]:
    """The step called ``name``; raises InputError if there is none, with the nearest name."""
    return ALGORITHMS.get_kind(name, ModelAlgorithm, "step of a model")


def system_of(name: str, chip: Accelerator) -> System:
    """The system of a name with ``chip`` in the place of its own chips of that name; one chip by itself without a name.

    Raises
    ------
    InputError
        An unknown system, or one of unlike chips.
    """
    if not name:
        return single(chip)
    system = load_system(name)
    _ = system.chip  # refuses systems of unlike chips
    return replace(system, pools=tuple(replace(pool, chip=chip) for pool in system.pools))


@model_algorithm("model.step", StepParameters)
def step(parameters: StepParameters, chip: Accelerator, mode: Mode, memory: MemoryFidelity) -> Step:
    """A step of a whole model on one chip or several: every launch, every exchange, all memory."""
    return model_step(
        load_model(parameters.model),
        parse_batch(parameters.batch),
        system_of(parameters.system, chip),
        parameters.parts,
        parameters.options,
        mode,
        memory,
    )
