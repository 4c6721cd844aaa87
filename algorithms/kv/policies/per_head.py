"""Different policies in different heads of a layer."""

from __future__ import annotations

from algorithms.kv import CacheShape, HeadPart, KVPolicy, LayerContext, PolicyState, Sizes, kv_policy, problems_to_error
from hwmodels.reading.errors import InputError, Problem


@kv_policy("per_head")
class PerHead(KVPolicy):
    """A head split: KV head `h` follows ``policies[assign[h]]``.

    Heads of one policy share a cache; lengths differ between policies, and the longest row sets the pace.

    Parameters
    ----------
    policies
        The policies.
    assign
        Index into `policies` for every KV head, the same in all layers; or one such list per layer.
    """

    example = "per_head([h2o,streaming_llm(sink=2,recent=10)],[0,1])"
    action = "evict"
    requires_budget = False
    unites = False
    policies: tuple[KVPolicy, ...] = ()
    assign: tuple[int, ...] | tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        flat = [index for row in self._rows() for index in row]
        problems = []
        if not all(isinstance(policy, KVPolicy) for policy in self.policies) or not self.policies:
            problems.append(Problem("needs a list of policies", field="policy.per_head.policies"))
        if not flat or not all(0 <= index < len(self.policies) for index in flat):
            problems.append(Problem("needs an index into policies for every KV head", field="policy.per_head.assign"))
        problems_to_error(problems)

    def _rows(self) -> tuple[tuple[int, ...], ...]:
        nested = tuple(row for row in self.assign if isinstance(row, tuple))
        return nested or (tuple(index for index in self.assign if isinstance(index, int)),)

    def split(self, shape: CacheShape, layer: int) -> tuple[HeadPart, ...]:
        rows = self._rows()
        row = rows[layer % len(rows)]
        if len(row) != shape.kv_heads or (len(rows) > 1 and len(rows) != shape.layers):
            raise InputError(
                Problem(
                    f"{len(rows)} x {len(row)} assignments for {shape.layers} layers of {shape.kv_heads} KV heads",
                    field="policy.per_head.assign",
                )
            )
        used = sorted(set(row))
        return tuple(
            HeadPart(tuple(h for h, index in enumerate(row) if index == chosen), self.policies[chosen])
            for chosen in used
        )

    def layers_alike(self) -> bool:
        return len(self._rows()) == 1 and all(policy.layers_alike() for policy in self.policies)

    @classmethod
    def sized(cls, sizes: Sizes) -> str:
        assign = ",".join(str(head % 2) for head in range(sizes.kv_heads))
        return f"{cls.name}([snapkv(window={sizes.window}),streaming_llm],[{assign}])"

    def exact_tokens(self) -> int | None:
        known = [tokens for tokens in (policy.exact_tokens() for policy in self.policies) if tokens is not None]
        return min(known, default=None)

    def start(self, layer: LayerContext) -> PolicyState:
        raise InputError(Problem("a head split has no state of its own", field="policy"))
