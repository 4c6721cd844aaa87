"""Keep a signed half of the cache that preserves attention sums."""

from __future__ import annotations

import numpy as np

from algorithms.kv import (
    Array,
    KVCache,
    KVPolicy,
    LayerContext,
    Mask,
    PolicyState,
    Sizes,
    Step,
    Work,
    at_least,
    kv_policy,
    problems_to_error,
)
from algorithms.kv.parts.balance import balanced_halving


@kv_policy("balancekv")
class BalanceKV(KVPolicy):
    """BalanceKV (Han et al. 2025, arXiv:2502.07861; ksheth96/BalanceKV 4ccee30).

    Sinks and a window stay; the middle is halved by a self-balancing walk (see `algorithms.kv.parts.balance`) until the
    budget holds. Each survivor of `i` halvings counts `2**i` times in the denominator and by its signed
    weight in the numerator. The walk is a chain of `block` dependent steps.

    Parameters
    ----------
    tokens
        Keys kept; the budget when None.
    sink, window
        First and newest keys, left alone.
    block, gamma, temperature, beta
        Block length, rejection factor and kernel of the walk.
    value_kernel
        Whether values enter the kernel.
    iterations
        Halvings at the end of a prefill; as many as needed when None.
    """

    example = "balancekv(sink=2,window=2,block=4)"
    needs = frozenset({"keys", "values"})
    exactness = "bounded"
    tokens: int | None = None
    sink: int = 32
    window: int = 32
    block: int = 128
    gamma: float = 4.0
    temperature: float = 1.0
    beta: float = 0.0
    value_kernel: bool = True
    iterations: int | None = None

    def __post_init__(self) -> None:
        problems_to_error(at_least(self, tokens=1, sink=0, window=0, block=2, gamma=0, iterations=0))

    def fixed_tokens(self) -> int | None:
        return self.tokens

    def least_tokens(self) -> int:
        return self.sink + self.window + 1

    @classmethod
    def sized(cls, sizes: Sizes) -> str:
        return f"{cls.name}(sink={sizes.window},window={sizes.window})"

    def start(self, layer: LayerContext) -> PolicyState:
        return _BalanceState(self, layer)


class _BalanceState(PolicyState):
    policy: BalanceKV

    def __init__(self, policy: BalanceKV, layer: LayerContext) -> None:
        super().__init__(policy, layer)
        self._generators = [layer.generator(head) for head in layer.heads]

    def _uniforms(self, shape: tuple[int, ...]) -> Array:
        return np.stack([generator.random(shape[1:]) for generator in self._generators])

    def keep(self, step: Step, cache: KVCache) -> Mask | None:
        p, capacity = self.policy, self.capacity(cache)
        middle = cache.count - p.sink - p.window
        fixed = p.iterations if step.phase == "prefill" else None
        halvings = self._halvings(middle, capacity - p.sink - p.window) if fixed is None else fixed
        if cache.count <= capacity or halvings == 0 or middle < 2:
            return None
        inner = slice(p.sink, p.sink + middle)
        # weights that every attention of this stream uses live in the cache itself
        bias = cache.column("bias")
        weight = cache.column("value_weight", 1.0)
        doublings = self.column(cache, "doublings")
        prior = weight[:, inner] * 2.0 ** doublings[:, inner]
        keys, values = (np.asarray(rows[:, inner], np.float64) for rows in (cache.keys, cache.values))
        order, weights = balanced_halving(keys, values if p.value_kernel else None, prior, halvings, self._uniforms, p)
        doublings[:, inner] += halvings
        bias[:, inner] = np.log(2.0) * doublings[:, inner]
        rows = np.arange(cache.heads)[:, None]
        weight[rows, p.sink + order] = weights / 2.0 ** doublings[rows, p.sink + order]
        self._charge(middle, halvings)
        mask = np.ones((cache.heads, cache.count), bool)
        mask[:, inner] = False
        mask[rows, p.sink + order] = True
        return mask

    @staticmethod
    def _halvings(middle: int, room: int) -> int:
        halvings = 0
        while middle > max(room, 0) and middle > 0:
            middle //= 2
            halvings += 1
        return halvings

    def _charge(self, middle: int, halvings: int) -> None:
        p, shape = self.policy, self.layer.shape
        for _ in range(halvings):
            pairs = shape.kv_heads * middle * p.block
            self.spend(
                Work(
                    "balancing walk",
                    macs=pairs * (shape.head_dim + (shape.value_dim if p.value_kernel else 0)) + pairs,
                    exps=pairs,
                    read_bytes=shape.kv_heads * middle * shape.token_bytes,
                    serial_depth=p.block,
                )
            )
            middle //= 2

    def state_bytes(self, cache: KVCache) -> float:
        return float(cache.lengths.sum()) * 4
