"""How a step is carried out: formats, fusions, launches, and the KV policy."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from algorithms.chip.layers.formats import WeightFormat, activation_format, weight_format
from algorithms.models.model import Model
from algorithms.models.steps.rates import Launching
from algorithms.workload.levers import knob
from hwmodels.reading.errors import InputError, Problem, did_you_mean

Exchanging = Literal["custom", "library"]
Fusion = Literal["none", "modules", "engine"]
"""``none``: every operation a launch of its own, as eager code; ``modules``: as modules of Hugging Face's transformers
are written, whose norms and rotations are several (`algorithms.models.steps.modules`); ``engine``: as serving engines
fuse them: one product for queries, keys and values, one for gate and up, the residual added in the norm, keys written
as they are turned, and where FlashAttention-2 serves vLLM's batches, one attention for prompts and single tokens."""


PUBLISHED = "published"
"""Word for the format in which a model's weights were published."""


@dataclass(frozen=True)
class StepOptions:
    """What one can change about a step beside its batch and mapping.

    Raises
    ------
    InputError
        For what cannot be, all at once.
    """

    weights: str = field(
        default=PUBLISHED,
        metadata=knob("format of matrices: bfloat16, float8, int8, int4, nvfp4...; published: that of the checkpoint"),
    )
    expert_weights: str = field(default="", metadata=knob("format of experts' matrices; empty: as the others'"))
    head_weights: str = field(
        default="",
        metadata=knob("format of the head's matrix; empty: as the others', or 16 bits where that is the published one"),
    )
    activations: str = field(
        default="auto",
        metadata=knob("format of what products take; auto: float8 where weights are and the chip has it"),
    )
    kv: str = field(default="bfloat16", metadata=knob("format of cached keys and values"))
    fusion: Fusion = field(default="engine", metadata=knob("launches that are made one: engine, none, or modules"))
    launch: Launching = field(default="graph", metadata=knob("how launches are made: graph, or eager"))
    exchange: Exchanging = field(
        default="custom", metadata=knob("collectives of the engine's own (custom), or of a general library (library)")
    )
    policy: str = field(default="full", metadata=knob("KV policy of the tokens that attend to a cache"))
    budget: int = field(default=0, metadata=knob("keys kept per KV head under a policy; 0: the policy's own", "token"))
    workspace: float = field(default=0.0, metadata=knob("memory that a runtime keeps for itself on every chip", "B"))
    usable: float = field(default=1.0, metadata=knob("share of a chip's memory that may be used"))

    def __post_init__(self) -> None:
        problems: list[Problem] = []
        for name, check in (
            ("weights", weight_format),
            ("expert_weights", weight_format),
            ("head_weights", weight_format),
            ("kv", activation_format),
        ):
            try:
                if getattr(self, name) not in ("", PUBLISHED):
                    check(getattr(self, name))
            except InputError as error:
                problems += [Problem(each.message, field=name, hint=each.hint) for each in error.problems]
        for name, known in (
            ("fusion", get_args(Fusion)),
            ("launch", get_args(Launching)),
            ("exchange", get_args(Exchanging)),
        ):
            if getattr(self, name) not in known:
                hint = did_you_mean(getattr(self, name), known)
                problems.append(Problem(f"must be one of {', '.join(known)}", field=name, hint=hint))
        if not 0 < self.usable <= 1:
            problems.append(Problem(f"must be above 0 and at most 1 (got {self.usable:g})", field="usable"))
        if self.workspace < 0 or self.budget < 0:
            problems.append(Problem("workspace and budget must not be negative", field="workspace"))
        if problems:
            raise InputError(problems)

    def of(self, model: Model) -> StepOptions:
        """These options with the formats of a model's checkpoint where none are asked for."""
        if self.weights != PUBLISHED:
            return self
        return replace(
            self,
            weights=model.weight_format,
            expert_weights=self.expert_weights or model.expert_format,
            head_weights=self.head_weights or "bfloat16",
        )

    @property
    def weight(self) -> WeightFormat:
        """Of matrices."""
        return weight_format(self.weights)

    @property
    def expert_weight(self) -> WeightFormat:
        """Of experts' matrices."""
        return weight_format(self.expert_weights or self.weights)

    @property
    def head_weight(self) -> WeightFormat:
        """Of the head's matrix."""
        return weight_format(self.head_weights or self.weights)

    @property
    def kv_format(self) -> str:
        """Of cached keys and values, by its long name."""
        return activation_format(self.kv)
