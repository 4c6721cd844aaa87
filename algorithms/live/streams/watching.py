"""What a model keeps while it watches, step by step under a KV policy, and how long each step takes.

The policy is fed as the stream comes: instructions as text, every frame as a frame of vision, questions as text, and
answers token by token. Keys are those of a surrogate stream (`algorithms.kv.run.timing`): what is kept, read and moved
is real, the worth of it is not judged here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from algorithms.chip.plan.profile import unfitted_for
from algorithms.chip.policy.plan import StepShape, attended_keys, policy_plan
from algorithms.chip.policy.run import PolicyParameters
from algorithms.chip.timing.energy import energy_of
from algorithms.chip.timing.mapping import time_plan
from algorithms.kv.budget import KVBudget
from algorithms.kv.cost import CacheShape, StackCost
from algorithms.kv.run.timing import Phase, TimingRun
from algorithms.live.streams.scenario import StreamScenario
from algorithms.live.times.model_steps import Term
from algorithms.models.blocks import Attention
from algorithms.models.steps.rates import rates_of, with_gap
from algorithms.models.steps.step import model_step
from algorithms.workload.shape import DTYPE_BYTES, Workload
from hwmodels.reading.errors import InputError, Problem


@dataclass(frozen=True)
class Watched:
    """A step of the model while it watches.

    Parameters
    ----------
    seconds
        Time of the step.
    kept_tokens
        Keys that attention read per KV head, mean over heads and layers.
    near_bytes, far_bytes
        Keys, values and the policy's own state in the chip's memory after it, and in farther tiers.
    joules
        Energy of it beyond what a chip draws that does nothing.
    """

    seconds: float
    kept_tokens: float
    near_bytes: float
    far_bytes: float
    joules: float = 0.0


class Watcher:
    """A model under a KV policy.

    Parameters
    ----------
    scenario
        The stream, the model and its chip.

    Raises
    ------
    InputError
        A policy that does not fit, or a model whose layers do not attend alike.
    """

    def __init__(self, scenario: StreamScenario) -> None:
        self.scenario = scenario
        text, self.steps = scenario.text, scenario.steps
        self.chip = self.steps.system.chip
        self.parameters = PolicyParameters(policy=text.policy)
        self.tiers = self.parameters.tiers_on(self.chip)
        self.shape = _cache_shape(scenario)
        asked = text.questions
        answers = 0 if asked is None else scenario.questions * (asked.prompt + asked.answer)
        self.run = TimingRun(
            self.parameters.chosen(),
            self.shape,
            text.instructions,
            KVBudget(tokens=text.budget) if text.budget else None,
            scenario.frames * text.frames.tokens + answers,
            self.parameters.timing(len(self.tiers)),
        )
        self.encoder_s, self.encoder_j = self._encoder()
        ledger = self.steps.ledger(text.frames.tokens)
        self.fixed_bytes = ledger.total_bytes - ledger.of("kv")
        self.usable_bytes = ledger.usable_bytes

    def frame(self) -> Watched:
        """A frame is encoded and taken in; no token is made."""
        tokens = self.scenario.text.frames.tokens
        taken = self.steps.term_of_tokens(tokens)
        return self._step(tokens, "frame", Term(self.encoder_s + taken.seconds, self.encoder_j + taken.joules))

    def question(self) -> Watched:
        """A question is taken in over what the policy retrieves for it, and the first token of its answer made."""
        asked = self.scenario.text.questions
        tokens = asked.prompt if asked else 1
        return self._step(tokens, "decode", self._rest(tokens), question=True)

    def token(self) -> Watched:
        """A further token of an answer."""
        return self._step(1, "decode", self._rest(1))

    def _rest(self, tokens: int) -> Term:
        """Everything but attention of a step that makes a token."""
        taken, made = self.steps.term_of_tokens(tokens), self.steps.term_of_made(1)
        return Term(taken.seconds + made.seconds, taken.joules + made.joules)

    def _step(self, tokens: int, phase: Phase, rest: Term, *, question: bool = False) -> Watched:
        (cost,) = self.run.steps(1, tokens, phase, question=question)
        cost = StackCost(tuple(layer.in_tiers(self._names) for layer in cost.layers))
        host_s = self.steps.host_s(1)
        held = [cost.held(tier) for tier in cost.tiers]
        near = sum(
            each.physical_bytes + each.state_bytes
            for tier, each in zip(cost.tiers, held, strict=True)
            if tier == self.chip.memory.name
        )
        everywhere = sum(each.physical_bytes + each.state_bytes for each in held)
        attended = [keys for layer in cost.layers for keys in attended_keys(layer, self.shape.group)]
        attention = self._attention(cost, tokens, max(attended))
        seconds, joules = max(rest.seconds + attention.seconds, host_s), rest.joules + attention.joules
        return Watched(seconds, sum(attended) / len(attended), float(near), float(everywhere - near), joules)

    @property
    def _names(self) -> dict[str, str]:
        return {f"tier {number}": name for number, name in enumerate(self.tiers)}

    def _attention(self, cost: StackCost, tokens: int, keys: int) -> Term:
        """Attention of all layers with what the policy decides and moves."""
        workload = Workload(
            name="stream",
            phase="decode",
            heads=self.shape.query_heads,
            kv_heads=self.shape.kv_heads,
            q_len=tokens,
            kv_len=max(keys, tokens),
            head_dim=self.shape.head_dim,
            mask="full",
            dtype="bfloat16",
            batch=1,
        )
        tiles = StepShape.of(workload, self.shape, keys, self.parameters, self.chip)
        plan = policy_plan("live.stream", cost, tiles, self.chip, self.parameters.host_seconds)
        rates = rates_of(self.chip)
        profile = replace(unfitted_for(tiles.tiles), bandwidth_fraction=rates.bandwidth)
        gapped = with_gap(profile, rates.gap_s(self.steps.options.launch))
        run = time_plan(plan, self.chip, gapped, self.steps.mode, self.steps.memory)
        spent = sum(energy_of(plan, self.chip, run.tier_bytes, run.seconds).values())
        return Term(run.seconds, spent - run.seconds * self.steps.waiting_w)

    def _encoder(self) -> tuple[float, float]:
        """Seconds and joules of the encoder for a frame."""
        if self.scenario.encode is None:
            return 0.0, 0.0
        steps = self.steps
        step = model_step(steps.model, self.scenario.encode, steps.system, steps.mapping, steps.options)
        return step.seconds, step.energy_j / steps.mapping.chips - step.seconds * steps.waiting_w


def _cache_shape(scenario: StreamScenario) -> CacheShape:
    """Heads, widths and layers of one chip's part of the decoder."""
    decoder, tp = scenario.steps.model.decoder, scenario.steps.mapping.tp
    blocks = [
        (block, layer.times)
        for layer in (decoder.runs if decoder else ())
        for block in layer.blocks
        if block.kind in ("attention", "latent_attention")
    ]
    first = next((block for block, _ in blocks if isinstance(block, Attention)), None)
    alike = first is not None and all(
        isinstance(block, Attention)
        and not (block.window or block.block or block.context)
        and (block.heads, block.groups, block.head_dim) == (first.heads, first.groups, first.head_dim)
        for block, _ in blocks
    )
    if first is None or not alike:
        name = scenario.steps.model.name
        message = f"{name} has layers that attend in different ways; a policy bounds layers that see everything"
        raise InputError(Problem(message, field="model"))
    return CacheShape(
        max(first.heads // tp, 1),
        max(first.groups // tp, 1),
        first.head_dim,
        first.head_dim,
        sum(times for _, times in blocks),
        DTYPE_BYTES[scenario.steps.options.kv_format],
    )
