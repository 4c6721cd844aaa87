"""Even coverage of a space: a scrambled Halton sequence as a sampler of optuna.

optuna's own quasi-Monte-Carlo sampler needs SciPy, which nothing else here does.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial


class HaltonSampler(BaseSampler):
    """Trial number i takes element i of a Halton sequence, one prime base per parameter.

    Digits are permuted at random, a permutation per base and digit, which breaks the correlation that large bases
    have in plain Halton sequences (Owen, arXiv:1706.02808).

    Parameters
    ----------
    seed
        Of the permutations.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._bases: dict[str, int] = {}
        self._permutations: dict[tuple[int, int], list[int]] = {}

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Nothing: every parameter is drawn on its own."""
        del study, trial
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Nothing, see `infer_relative_search_space`."""
        del study, trial, search_space
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> int | str | float | bool | None:
        """The value of a parameter for a trial."""
        del study
        base = self._bases.setdefault(param_name, _prime(len(self._bases)))
        place = self._fraction(base, trial.number)
        if isinstance(param_distribution, IntDistribution):
            return param_distribution.low + int(place * (param_distribution.high - param_distribution.low + 1))
        if isinstance(param_distribution, CategoricalDistribution):
            return param_distribution.choices[int(place * len(param_distribution.choices))]
        raise TypeError(f"{param_name} is neither a number of a value nor a choice")

    def _fraction(self, base: int, number: int) -> float:
        """Element of the sequence, at least 0 and below 1: the digits of `number` behind the point, permuted."""
        place, weight = 0.0, 1.0 / base
        # a digit more than a float can hold changes nothing
        for position in range(math.ceil(52 / math.log2(base))):
            place += self._permutation(base, position)[number % base] * weight
            number //= base
            weight /= base
        return min(place, math.nextafter(1.0, 0.0))

    def _permutation(self, base: int, position: int) -> list[int]:
        if (base, position) not in self._permutations:
            digits = list(range(base))
            random.Random(f"{self._seed} {base} {position}").shuffle(digits)
            self._permutations[base, position] = digits
        return self._permutations[base, position]


def _prime(position: int) -> int:
    """Prime number at a position, from 0: 2, 3, 5, ..."""
    found, candidate = -1, 1
    while found < position:
        candidate += 1
        found += all(candidate % divisor for divisor in range(2, math.isqrt(candidate) + 1))
    return candidate
