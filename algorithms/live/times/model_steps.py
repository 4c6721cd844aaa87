"""Step times of whole models: every term of a step is a model's step of `algorithms.models.steps`, timed on its chips.

A step of a replica is one prompt part or more beside a group that decodes. Its launches follow each other, so its time
is a sum: operations that depend on the number of tokens, those that depend on the number of sequences (the head), and
attention of each part. Each term is lowered and timed alone, as in the whole step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from algorithms.chip.timing.fidelity import MemoryFidelity
from algorithms.chip.timing.mapping import Mode
from algorithms.live.steps import Part as Prompt
from algorithms.models.blocks import Attention
from algorithms.models.mapping import SINGLE, Mapping
from algorithms.models.model import Model
from algorithms.models.options import StepOptions
from algorithms.models.steps.attending import joins
from algorithms.models.steps.batch import Batch, Kind, Part
from algorithms.models.steps.building import Setting
from algorithms.models.steps.ledger import Ledger, cache_bytes, ledger_of
from algorithms.models.steps.lowering import attending, lowered
from algorithms.models.steps.operations import Layer, Operation
from algorithms.models.steps.rates import rowless_block_s
from algorithms.models.steps.step import time_operation
from algorithms.models.steps.varlen import ITEMS_PER_CORE, rowless_blocks, rowless_s, varlen_blocks
from algorithms.rounding import ceil_div
from hwmodels.costs.energy import energy_table
from hwmodels.reading.errors import InputError, Problem
from hwmodels.systems.system import System
from simulator.errors import CapacityError


@dataclass(frozen=True)
class Term:
    """A term of a step on each chip.

    Parameters
    ----------
    seconds
        Time that it adds to the step.
    joules
        Energy that it takes beyond what a chip draws that does nothing for so long.
    memory_bytes
        Bytes that it moves through the main memory; streams do not ask for them.
    """

    seconds: float
    joules: float
    memory_bytes: float = 0.0


@dataclass(frozen=True)
class ModelSteps:
    """Terms of the steps of a model on chips; a `algorithms.live.times.table.StepSource`.

    Parameters
    ----------
    model, system, mapping, options
        The model, its chips, how it is spread and carried out. Groups of chips with sequences of their own (``dp``) are
        replicas that work in step: each term holds as many tokens of every group.
    mode, memory
        Mode and memory as in `algorithms.models.steps.step.model_step`.

    Raises
    ------
    InputError
        Stages of layers or parts of sequences, which a replica has not; more chips than there are; shards that do not
        divide.
    """

    model: Model
    system: System
    mapping: Mapping = SINGLE
    options: StepOptions = field(default_factory=StepOptions)
    mode: Mode = "symmetric"
    memory: MemoryFidelity = "peak"

    def __post_init__(self) -> None:
        self.mapping.check(self.model)
        problems = [
            Problem(f"must be 1 where requests are served: {why} (got {value})", field=name)
            for name, value, why in (
                ("pp", self.mapping.pp, "stages would work on several batches at a time"),
                ("cp", self.mapping.cp, "parts of sequences have no blocks of their own"),
            )
            if value > 1
        ]
        if self.mapping.chips > self.system.count:
            message = f"{self.system.name} has {self.system.count} chips, the mapping needs {self.mapping.chips}"
            problems.append(Problem(message, field="system"))
        decoder = self.model.decoder
        if decoder is None or not decoder.causal:
            problems.append(Problem(f"{self.model.name} makes no tokens one after the other", field="model"))
        if problems:
            raise InputError(problems)
        self.system.joining(self.mapping.chips)

    # terms

    def tokens_s(self, tokens: int) -> float:
        """Everything that depends on the number of new tokens alone."""
        return self.term_of_tokens(tokens).seconds

    def made_s(self, sequences: int) -> float:
        """The head, for so many sequences."""
        return self.term_of_made(sequences).seconds

    def decode_s(self, sequences: int, context_tokens: int) -> float:
        """Attention of so many sequences with one new token each, all as long as their mean."""
        return self.term_of_decode(sequences, context_tokens).seconds

    def verify_s(self, sequences: int, context_tokens: int, new_tokens: int) -> float:
        """Attention of so many sequences with so many new tokens each, all as long as their mean."""
        return self.term_of_verify(sequences, context_tokens, new_tokens).seconds

    def prefill_s(self, new_tokens: int, cached_tokens: int) -> float:
        """Attention of new tokens of one sequence behind cached ones."""
        return self.term_of_prefill(new_tokens, cached_tokens).seconds

    def term_of_tokens(self, tokens: int) -> Term:
        """See `tokens_s`."""
        return self._term(Part("decode", 1, 1, tokens * self.mapping.dp), "tokens")

    def term_of_made(self, sequences: int) -> Term:
        """See `made_s`."""
        return self._term(Part("decode", 1, 1, sequences * self.mapping.dp), "sequences")

    def term_of_decode(self, sequences: int, context_tokens: int) -> Term:
        """See `decode_s`."""
        mean = max(round(context_tokens / sequences), 1)
        return self._term(Part("decode", 1, mean, sequences * self.mapping.dp), "attention")

    def term_of_verify(self, sequences: int, context_tokens: int, new_tokens: int) -> Term:
        """See `verify_s`."""
        mean = max(round(context_tokens / sequences), 1) + new_tokens - 1  # the first of them is in the context
        return self._term(Part("extend", new_tokens, mean, sequences * self.mapping.dp), "attention")

    def term_of_prefill(self, new_tokens: int, cached_tokens: int) -> Term:
        """See `prefill_s`."""
        kind: Kind = "extend" if cached_tokens else "prefill"
        return self._term(Part(kind, new_tokens, new_tokens + cached_tokens, self.mapping.dp), "attention")

    # attention of whole batches

    @cached_property
    def joins(self) -> bool:
        """Whether prompts and sequences that decode attend in one launch of every layer."""
        decoder = self.model.decoder
        blocks = [block for run in (decoder.runs if decoder else ()) for block in run.blocks]
        attending = [block for block in blocks if block.kind in ("attention", "latent_attention")]
        setting = self._setting(Part("extend", 1, 1, self.mapping.dp))
        return bool(attending) and all(
            isinstance(block, Attention) and joins(setting, block, causal=True) for block in attending
        )

    def beside_s(self, sequences: int, context_tokens: int, new_tokens: int) -> float:
        """Attention of so many sequences in the kernel of prompts, which pays for a whole tile of queries for each."""
        mean = max(round(context_tokens / sequences), 1) + new_tokens - 1
        return self._term(Part("extend", new_tokens, mean, sequences * self.mapping.dp), "attention").seconds

    def together_s(self, sequences: int, context_tokens: int, new_tokens: int, prompts: tuple[Prompt, ...]) -> float:
        """Attention of a whole batch in one launch of every layer."""
        dp = self.mapping.dp
        parts = [
            Part("extend" if prompt.cached_tokens else "prefill", new, new + prompt.cached_tokens, dp)
            for prompt in prompts
            if (new := prompt.new_tokens)
        ]
        if sequences:
            mean = max(round(context_tokens / sequences), 1) + new_tokens - 1
            kind: Kind = "decode" if new_tokens == 1 else "extend"
            parts.append(Part(kind, new_tokens, mean, sequences * dp))
        return self._measured(self._setting(*parts), "attention").seconds

    def filled(self, sequences: int, new_tokens: int) -> float:
        """Share of the places on cores that blocks of such sequences fill; 1 where they take turns."""
        blocks = sequences * max(self._query_heads) * varlen_blocks(new_tokens)
        return min(blocks / (self.system.chip.cores * ITEMS_PER_CORE), 1.0)

    def passing_s(self, parts: tuple[tuple[int, int], ...]) -> float:
        """Blocks without rows in all layers, of parts with so many new tokens of each of so many sequences."""
        blocks = rowless_blocks(parts)
        chip = self.system.chip
        return sum(rowless_s(heads * blocks, chip.cores, rowless_block_s(chip)) for heads in self._query_heads)

    @cached_property
    def _query_heads(self) -> tuple[int, ...]:
        """Query heads of one chip in every layer that attends."""
        decoder = self.model.decoder
        return tuple(
            ceil_div(block.heads, self.mapping.tp)
            for run in (decoder.runs if decoder else ())
            for block in run.blocks
            if isinstance(block, Attention)
            for _ in range(run.times)
        )

    @property
    def gaps_s(self) -> float:
        """Time between launches of attention of a batch in all layers."""
        return self._launches[1] * self._setting(Part("decode", 1, 1)).rates.graph_fixed_s

    def host_s(self, parts: int) -> float:
        """The least time of a step with so many parts: what the host takes to launch everything one by one."""
        if self.options.launch != "eager":
            return 0.0
        rest, attention = self._launches
        if self.joins:
            parts = min(parts, 1)
        return (rest + parts * attention) * self._gap_s

    # memory

    def ledger(self, most_tokens: int) -> Ledger:
        """Memory of the fullest chip in a step of so many tokens, without cached keys of anyone else."""
        return ledger_of(self._setting(Part("prefill", most_tokens, most_tokens, self.mapping.dp)))

    def cached_bytes(self, tokens: int) -> int:
        """Keys and values of so many tokens of one sequence in all layers, on the fullest chip."""
        setting = self._setting(Part("extend", 1, tokens, self.mapping.dp))
        return sum(cache_bytes(setting, tower) for tower in self.model.towers)

    def blocks(self, block_tokens: int, most_tokens: int, beside: ModelSteps | None = None) -> int:
        """KV blocks that fit beside weights, activations of the largest step and the workspace.

        Parameters
        ----------
        beside
            Steps of another model whose weights and keys lie in the same memory.

        Raises
        ------
        simulator.errors.CapacityError
            If not even one does.
        """
        ledger = self.ledger(most_tokens)
        free = ledger.usable_bytes - ledger.total_bytes + ledger.of("kv")
        block_bytes = self.cached_bytes(block_tokens)
        if beside is not None:
            free -= beside.ledger(1).of("weights")
            block_bytes += beside.cached_bytes(block_tokens)
        blocks = free // block_bytes
        if blocks < 1:
            parts = " + ".join(f"{each.name} {each.bytes:,} B" for each in ledger.entries if "kv" not in each.name)
            chips = f"{self.mapping.chips} x {self.system.chip.name}"
            raise CapacityError(
                f"{self.model.name} on {chips}: {parts} leave no room for keys and values in "
                f"{ledger.usable_bytes:,} B of each; more chips (tp), narrower weights, or a smaller token budget would"
            )
        return blocks

    def blocks_alone(self, block_tokens: int) -> int:
        """KV blocks that fit where nothing else lies."""
        return self.ledger(1).usable_bytes // self.cached_bytes(block_tokens)

    @property
    def longest_tokens(self) -> int | None:
        """Tokens of a sequence that the model knows positions of; None for any number."""
        decoder = self.model.decoder
        tables = decoder.inputs if decoder else ()
        return next((each.rows for each in tables if each.kind == "table" and each.name == "positions"), None)

    # parts of a step

    def _setting(self, *parts: Part) -> Setting:
        return Setting(self.model, Batch(parts), self.mapping, self.options, self.system.chip)

    def _term(self, part: Part, name: str) -> Term:
        found = self._terms.get((part, name))
        if found is None:
            found = self._terms[part, name] = self._measured(self._setting(part), name)
        return found

    @cached_property
    def _terms(self) -> dict[tuple[Part, str], Term]:
        """Terms that were asked for; whoever asks for seconds and whoever asks for joules simulate them once."""
        return {}

    def _measured(self, setting: Setting, term: str) -> Term:
        seconds = joules = moved = 0.0
        for layer in attending(setting) if term == "attention" else lowered(setting):
            for operation in layer.operations:
                if _term(layer, operation) == term:
                    timed = time_operation(operation, setting, self.system, self.mode, self.memory)
                    seconds += layer.times * (timed.seconds + timed.gap_s)
                    joules += layer.times * (timed.energy_j - timed.seconds * self.waiting_w)
                    moved += layer.times * timed.memory_bytes
        return Term(seconds, joules, moved)

    @cached_property
    def waiting_w(self) -> float:
        """Power of a chip that does nothing."""
        return energy_table(self.system.chip).waiting_w

    @cached_property
    def _launches(self) -> tuple[int, int]:
        """Launches of a step beside attention, and of the attention of one part."""
        # a prompt of one token, whose attention is one launch wherever batches attend together
        setting = self._setting(Part("extend" if self.joins else "decode", 1, 1, self.mapping.dp))
        counts = {"attention": 0, "tokens": 0, "sequences": 0}
        for layer in lowered(setting):
            for operation in layer.operations:
                counts[_term(layer, operation)] += layer.times * len(operation.launches)
        return counts["tokens"] + counts["sequences"], counts["attention"]

    @property
    def _gap_s(self) -> float:
        return self._setting(Part("decode", 1, 1, 1)).rates.eager_gap_s


@dataclass(frozen=True)
class ModelFigures:
    """Other figures of the terms of `ModelSteps`, on each chip; read as its times are.

    Parameters
    ----------
    steps
        Where terms are from; what it has simulated is not simulated again.
    figure
        Joules beyond waiting, or bytes through the main memory.
    """

    steps: ModelSteps
    figure: Literal["joules", "memory_bytes"]

    def tokens_s(self, tokens: int) -> float:
        """See `ModelSteps`; the figure, as all others."""
        return self._of(self.steps.term_of_tokens(tokens))

    def made_s(self, sequences: int) -> float:
        """See `ModelSteps`."""
        return self._of(self.steps.term_of_made(sequences))

    def decode_s(self, sequences: int, context_tokens: int) -> float:
        """See `ModelSteps`."""
        return self._of(self.steps.term_of_decode(sequences, context_tokens))

    def verify_s(self, sequences: int, context_tokens: int, new_tokens: int) -> float:
        """See `ModelSteps`."""
        return self._of(self.steps.term_of_verify(sequences, context_tokens, new_tokens))

    def prefill_s(self, new_tokens: int, cached_tokens: int) -> float:
        """See `ModelSteps`."""
        return self._of(self.steps.term_of_prefill(new_tokens, cached_tokens))

    def host_s(self, parts: int) -> float:
        """Nothing: hosts are not counted."""
        del parts
        return 0.0

    def _of(self, term: Term) -> float:
        return term.joules if self.figure == "joules" else term.memory_bytes


def _term(layer: Layer, operation: Operation) -> str:
    """Which of the sums an operation belongs to."""
    if operation.attends:
        return "attention"
    if layer.name.endswith(".outputs") and operation.kind != "norm":
        return "sequences"
    return "tokens"
