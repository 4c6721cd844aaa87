"""A budget for each layer."""

from __future__ import annotations

from dataclasses import replace

from algorithms.kv import (
    KVBudget,
    LayerContext,
    PolicyState,
    Sizes,
    Wrapper,
    WrapperState,
    kv_policy,
    problems_to_error,
)
from hwmodels.reading.errors import InputError, Problem


@kv_policy("per_layer")
class PerLayer(Wrapper):
    """Give every layer its own budget around one policy.

    Parameters
    ----------
    base
        Policy of all layers, without a size of its own.
    tokens
        Keys per layer, one number each.
    """

    example = "tova | per_layer([12])"
    tokens: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        problems = [] if self.tokens else [Problem("needs one number per layer", field="policy.per_layer.tokens")]
        if any(tokens < 1 for tokens in self.tokens):
            problems.append(Problem("every layer keeps at least 1 token", field="policy.per_layer.tokens"))
        problems_to_error(problems)

    def effective_budget(self, given: KVBudget | None, context_tokens: int | None = None) -> KVBudget | None:
        for tokens in self.tokens:
            self.base.effective_budget(KVBudget(tokens=tokens), context_tokens)
        return KVBudget(tokens=max(self.tokens))

    def layers_alike(self) -> bool:
        return False

    @classmethod
    def sized(cls, sizes: Sizes) -> str:
        last = max(1, sizes.layers - 1)
        tokens = [round(sizes.budget * (1.25 - 0.5 * layer / last)) for layer in range(sizes.layers)]
        return f"tova | {cls.name}([{','.join(map(str, tokens))}])"

    def exact_tokens(self) -> int:
        return min(self.tokens)

    def start(self, layer: LayerContext) -> PolicyState:
        if len(self.tokens) != layer.shape.layers:
            raise InputError(
                Problem(
                    f"{len(self.tokens)} budgets for {layer.shape.layers} layers",
                    field="policy.per_layer.tokens",
                )
            )
        budget = self.base.effective_budget(KVBudget(tokens=self.tokens[layer.layer]))
        own = replace(layer, budget=budget)
        return WrapperState(self, own, self.base.start(own))
