"""Retrieval heads keep everything, streaming heads keep sinks and a window."""

from __future__ import annotations

from algorithms.kv import (
    CacheShape,
    HeadPart,
    KVPolicy,
    LayerContext,
    PolicyState,
    Sizes,
    at_least,
    kv_policy,
    problems_to_error,
)
from algorithms.kv.policies.full import Full
from algorithms.kv.policies.streaming_llm import StreamingLLM
from hwmodels.reading.errors import InputError, Problem


@kv_policy("duo_attention", aliases=("duo",))
class DuoAttention(KVPolicy):
    """DuoAttention (Xiao et al. 2024, arXiv:2410.10819; mit-han-lab/duo-attention fe93c31).

    Which heads retrieve comes from gates trained on synthetic passkeys and cannot be derived without them.
    Give the trained `pattern`; without it the first `round(retrieval * heads)` KV heads of every layer
    retrieve, which is right for bytes and says nothing about quality.

    Parameters
    ----------
    retrieval
        Share of KV heads that keep everything (25 % for Llama-2-7B, 50 % for Llama-3-8B in the repository).
    sink, recent
        Sizes of the streaming heads.
    pattern
        1 for a retrieval head, 0 for a streaming head: one row per layer.
    """

    example = "duo_attention(sink=2,recent=10)"
    budgeted = False
    requires_budget = False
    unites = False
    retrieval: float = 0.5
    sink: int = 64
    recent: int = 256
    pattern: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        problems = at_least(self, retrieval=0, sink=0, recent=1)
        if self.retrieval > 1:
            problems.append(
                Problem(f"must be at most 1 (got {self.retrieval})", field="policy.duo_attention.retrieval")
            )
        problems_to_error(problems)

    def retrieval_heads(self, shape: CacheShape, layer: int) -> tuple[int, ...]:
        """KV heads of `layer` that keep everything."""
        if not self.pattern:
            return tuple(range(round(self.retrieval * shape.kv_heads)))
        if len(self.pattern) != shape.layers or len(self.pattern[layer]) != shape.kv_heads:
            raise InputError(
                Problem(f"needs {shape.layers} rows of {shape.kv_heads}", field="policy.duo_attention.pattern")
            )
        return tuple(head for head, retrieves in enumerate(self.pattern[layer]) if retrieves)

    def split(self, shape: CacheShape, layer: int) -> tuple[HeadPart, ...]:
        retrieving = self.retrieval_heads(shape, layer)
        streaming = tuple(head for head in range(shape.kv_heads) if head not in retrieving)
        window = StreamingLLM(sink=self.sink, recent=self.recent, rotate=False)
        parts = (HeadPart(retrieving, Full()), HeadPart(streaming, window))
        return tuple(part for part in parts if part.heads)

    @classmethod
    def sized(cls, sizes: Sizes) -> str:
        return f"{cls.name}(sink={min(64, sizes.budget // 8)},recent={sizes.part(4, 256)})"

    def exact_tokens(self) -> int:
        return self.sink + self.recent

    def start(self, layer: LayerContext) -> PolicyState:
        raise InputError(Problem("a head split has no state of its own", field="policy"))
