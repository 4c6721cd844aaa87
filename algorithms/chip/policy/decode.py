"""Decoding and frame streams with any KV policy on any chip: bytes, time and energy of a step, and its error.

The plan is made of what the policy's own run recorded: the keys it let the queries see and the runs they lie in, score
work and metadata, what had to wait for whom, and transfers between memory tiers.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, TypeVar

import numpy as np

from algorithms.chip.algorithm import TiledAlgorithm, chip_algorithm
from algorithms.chip.plan.plan import TilePlan
from algorithms.chip.policy.figures import POLICY_FIGURES, policy_figures
from algorithms.chip.policy.plan import StepShape, attended_keys, policy_plan
from algorithms.chip.policy.run import PolicyParameters, RunKey, cache_shape, policy_values, step_cost_in, step_record
from algorithms.figures import Figure, Ran
from algorithms.kv.cost import BARRIERS, StackCost
from algorithms.registry import Tensors
from algorithms.workload.levers import knob
from algorithms.workload.shape import FloatArray, Workload

if TYPE_CHECKING:
    from hwmodels.chips.accelerator import Accelerator

Policied = TypeVar("Policied", bound=PolicyParameters)


def cost_details(cost: StackCost, batch: int) -> dict[str, float | str]:
    """Figures of a step under a policy, over all layers and sequences.

    ``attended`` and ``resident`` keys per KV head, ``kept_bytes.TIER`` (alive), ``held_bytes.TIER`` (whole pages),
    ``state_bytes.TIER`` (scores and metadata), ``score_macs``, ``score_bytes``, ``serial_depth``, ``barrier``,
    ``run_tokens`` (neighbouring keys per gather), ``hit_rate`` and ``fetched_bytes`` where keys lie in several tiers.
    """
    layers = cost.layers
    found: dict[str, float | str] = {
        "attended": float(np.mean([layer.attended for layer in layers])),
        "resident": float(np.mean([layer.resident for layer in layers])),
    }
    for tier in cost.tiers:
        held = cost.held(tier)
        found[f"kept_bytes.{tier}"] = held.logical_bytes * batch
        found[f"held_bytes.{tier}"] = held.physical_bytes * batch
        found[f"state_bytes.{tier}"] = held.state_bytes * batch
    exports = [layer.export for layer in layers if layer.export is not None]
    found["score_macs"] = float(sum(layer.policy_macs for layer in layers) * batch)
    found["score_bytes"] = float(sum(layer.metadata_bytes for layer in layers) * batch)
    found["exported_bytes"] = float(sum(export.column_bytes * export.rows for export in exports) * batch)
    found["serial_depth"] = float(max(layer.serial_depth for layer in layers))
    found["barrier"] = max((layer.barrier for layer in layers), key=BARRIERS.index)
    runs = sum(read.runs.count for layer in layers for read in layer.reads)
    if runs:
        found["run_tokens"] = sum(read.runs.tokens for layer in layers for read in layer.reads) / runs
    if cost.hit_rate is not None:
        found["hit_rate"] = cost.hit_rate
        waiting = [moved for layer in layers for moved in layer.transfers if moved.needed_by_layer >= 0]
        found["fetched_bytes"] = sum(moved.bytes for moved in waiting) * batch
    return found


class PolicyAlgorithm(TiledAlgorithm[Policied]):
    """A step of all layers under a KV policy."""

    frames: ClassVar[bool] = False

    def stepped(self, workload: Workload, parameters: Policied) -> Workload:
        """The workload with the new tokens of one step."""
        del parameters
        return workload

    def cost(self, workload: Workload, parameters: Policied, chip: Accelerator) -> StackCost:
        """Cost of the policy in all layers of the step that ends at `workload.kv_len` tokens.

        Raises
        ------
        InputError
            A budget that does not fit, or a memory tier that the chip lacks.
        """
        tiers = parameters.tiers_on(chip)
        return step_cost_in(self._key(workload, parameters, len(tiers)), tiers)

    def _key(self, workload: Workload, parameters: Policied, tiers: int) -> RunKey:
        return RunKey.of(self.stepped(workload, parameters), parameters, tiers, self.frames)

    def resolved(self, workload: Workload, parameters: Policied, chip: Accelerator) -> Policied:
        """Tiles in flight, as the keys that are attended need them; sizes of tiles are the plan's."""
        if parameters.stages and parameters.next_item != "auto":
            return parameters
        tiles = self._step(workload, parameters, chip).tiles
        return replace(parameters, stages=tiles.stages, next_item=tiles.next_item)

    def plan(self, workload: Workload, parameters: Policied, chip: Accelerator) -> TilePlan:
        """Layer after layer: decisions, attention over what is kept, what a fused kernel cannot give."""
        cost, step = self.cost(workload, parameters, chip), self._step(workload, parameters, chip)
        return policy_plan(self.name, cost, step, chip, parameters.host_seconds)

    def _step(self, workload: Workload, parameters: Policied, chip: Accelerator) -> StepShape:
        """Shape of a step, with tiles for the layer that attends the most keys."""
        cost, shape = self.cost(workload, parameters, chip), cache_shape(workload, parameters.layers)
        keys = max(max(attended_keys(layer, shape.group)) for layer in cost.layers)
        return StepShape.of(self.stepped(workload, parameters), shape, keys, parameters, chip)

    def values(self, workload: Workload, parameters: Policied, tensors: Tensors) -> FloatArray:
        """Attention over the keys that the policy lets the queries see."""
        return policy_values(workload, parameters, tensors, self.frames)

    def layers_made(self, workload: Workload, parameters: Policied) -> int:
        """Layers of the whole model, unless the parameters say otherwise."""
        return cache_shape(workload, parameters.layers).layers

    @property
    def figure_kinds(self) -> tuple[Figure, ...]:
        """What a policy keeps, attends and computes."""
        return POLICY_FIGURES

    def figures(self, workload: Workload, parameters: Policied, chip: Accelerator, ran: Ran) -> tuple[Figure, ...]:
        """The same with their values, over all layers."""
        del ran
        return policy_figures(self.cost(workload, parameters, chip), workload.batch, chip.memory.name)

    def details(self, workload: Workload, parameters: Policied, chip: Accelerator) -> dict[str, float | str]:
        """Keys and bytes kept, score work, gathers and fetches (see `cost_details`), and what the keys seen are worth.

        ``attention_recall`` and ``attention_error`` are of the same run, on its surrogate stream; see `StepWorth`.
        """
        details = cost_details(self.cost(workload, parameters, chip), workload.batch)
        if parameters.chosen().exact_when_unlimited:
            worth = step_record(self._key(workload, parameters, len(parameters.tiers_on(chip))))[1]
            details |= {"attention_recall": worth.mass_recall, "attention_error": worth.relative_error}
        return details


@chip_algorithm("decode.policy", PolicyParameters)
class DecodePolicy(PolicyAlgorithm[PolicyParameters]):
    """A decode step of all layers under a KV policy: what it keeps, moves, computes and gets wrong."""


@dataclass(frozen=True)
class FrameParameters(PolicyParameters):
    """`PolicyParameters`, and the length of a frame."""

    frame_tokens: int = field(default=0, metadata=knob("tokens of a frame; 0: the workload's q_len", "token"))


@chip_algorithm("stream.frames", FrameParameters)
class StreamFrames(PolicyAlgorithm[FrameParameters]):
    """A frame of an endless video under a KV policy: its tokens come at once and see each other."""

    frames = True

    def stepped(self, workload: Workload, parameters: FrameParameters) -> Workload:
        """A frame of new tokens."""
        tokens = parameters.frame_tokens or workload.q_len
        return workload.with_(q_len=tokens, kv_len=max(tokens, workload.kv_len), mask="full")

    def tokens_made(self, workload: Workload, parameters: FrameParameters) -> float:
        """Tokens of a frame of every sequence."""
        return workload.batch * self.stepped(workload, parameters).q_len
