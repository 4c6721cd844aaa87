"""How a model is spread over chips: which part of what each of them holds and computes."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from algorithms.models.blocks import Attention, Experts, FeedForward, LatentAttention, StateAttention
from algorithms.models.model import Model, Tower
from algorithms.workload.levers import knob
from hwmodels.reading.errors import InputError, Problem


@dataclass(frozen=True)
class Mapping:
    """Numbers of parts.

    Parameters
    ----------
    tp
        Chips that share every layer: heads, widths of feed-forward layers and rows of tables (Megatron-LM,
        arXiv:1909.08053).
    pp
        Stages of layers.
    dp
        Groups of `tp` chips that attend to sequences of their own, while they share experts (attention data
        parallelism).
    ep
        Parts of the experts; 0: as many chips as share experts, `tp * dp`, hold whole experts each.
    cp
        Parts of every sequence, whose keys go round (ring attention, arXiv:2310.01889).
    whole_edges
        Whether each of `tp` chips has all of the tables and of the head, so that only layers are shared (as gpt-fast's
        ``tp.py`` does at 141c69e): no exchange before or behind the layers, and the head's product as on one chip.
    """

    tp: int = field(default=1, metadata=knob("chips that share every layer"))
    pp: int = field(default=1, metadata=knob("stages of layers"))
    dp: int = field(default=1, metadata=knob("groups of chips with sequences of their own that share experts"))
    ep: int = field(default=1, metadata=knob("parts that whole experts are dealt to; 0: all chips of a stage"))
    cp: int = field(default=1, metadata=knob("parts of every sequence, keys of which go round"))
    whole_edges: bool = field(default=False, metadata=knob("tables and head whole on each chip that shares layers"))

    def __post_init__(self) -> None:
        problems = [
            Problem(f"must be at least {least} (got {value})", field=each.name)
            for each in fields(self)
            if not isinstance(value := getattr(self, each.name), bool)
            and value < (least := 0 if each.name == "ep" else 1)
        ]
        if problems:
            raise InputError(problems)
        sharing = self.tp * self.dp
        if self.ep and sharing % self.ep:
            raise InputError(Problem(f"must divide tp * dp = {sharing} (got {self.ep})", field="ep"))

    @property
    def experts_parts(self) -> int:
        """Parts that whole experts are dealt to."""
        return self.ep or self.tp * self.dp

    @property
    def expert_tp(self) -> int:
        """Chips that share each expert."""
        return self.tp * self.dp // self.experts_parts

    @property
    def edge_tp(self) -> int:
        """Chips that share the tables before the layers and the head behind them."""
        return 1 if self.whole_edges else self.tp

    @property
    def stage_chips(self) -> int:
        """Chips that work on a layer at the same time."""
        return self.tp * self.dp * self.cp

    @property
    def chips(self) -> int:
        """All of them."""
        return self.stage_chips * self.pp

    def check(self, model: Model) -> None:
        """That every part is whole.

        Raises
        ------
        InputError
            One line for each size that a number of parts does not divide.
        """
        problems: list[Problem] = []
        for tower in model.towers:
            problems += self._problems(tower)
        if problems:
            raise InputError(list(dict.fromkeys(problems)))

    def _problems(self, tower: Tower) -> list[Problem]:
        found = []
        if tower.layers and self.pp > tower.depth:
            found.append(
                Problem(f"must not exceed the {tower.depth} layers of {tower.name} (got {self.pp})", field="pp")
            )
        for layer in tower.runs:
            for block in layer.blocks:
                match block:
                    case Attention() | LatentAttention():
                        if block.heads % self.tp:
                            found.append(_uneven("tp", self.tp, f"the {block.heads} heads of {tower.name}"))
                        groups = block.groups if isinstance(block, Attention) else self.tp
                        if groups % self.tp and self.tp % groups:
                            found.append(_uneven("tp", self.tp, f"the {groups} KV heads of {tower.name}"))
                    case StateAttention():
                        for heads, what in ((block.value_heads, "value"), (block.key_heads, "key")):
                            if heads % self.tp:
                                found.append(_uneven("tp", self.tp, f"the {heads} {what} heads of {tower.name}"))
                    case FeedForward():
                        if block.inner % self.tp:
                            found.append(_uneven("tp", self.tp, f"the width {block.inner} of {tower.name}"))
                    case Experts():
                        if block.experts % self.experts_parts:
                            what = f"the {block.experts} experts of {tower.name}"
                            found.append(_uneven("ep", self.experts_parts, what))
                        if block.inner % self.expert_tp:
                            what = f"the width {block.inner} of an expert of {tower.name}"
                            found.append(_uneven("tp", self.expert_tp, what))
                    case _:
                        pass
        return found

    def layers_of_stage(self, depth: int) -> list[int]:
        """Layers of every stage, as even as they go; the first stages have the more."""
        least, more = divmod(depth, self.pp)
        return [least + (number < more) for number in range(self.pp)]


def _uneven(name: str, parts: int, what: str) -> Problem:
    return Problem(f"must divide {what} (got {parts})", field=name)


SINGLE = Mapping()
"""One chip."""
