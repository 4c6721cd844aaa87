"""Passkeys under KV policies: how often a planted needle is found, by its depth in the prompt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from algorithms.kv.policy import KVPolicy
from algorithms.kv.text import parse_policy
from hwmodels.reading.errors import InputError
from studies.quality.quality import REFERENCES, ask, cannot_judge, last_output
from studies.quality.streams import Passkey, QualityStream, StreamSize, passkey


@dataclass(frozen=True)
class PasskeyRow:
    """Answers of one policy.

    Parameters
    ----------
    policy
        Which.
    budget
        Keys per head.
    query_aware
        Whether the question was part of the prompt that the policy compressed.
    depths
        Places of the needle, 0 to 1.
    accuracy
        Share of right answers at each depth.
    standard_error
        Of the mean over all depths and seeds.
    note
        Why there are no numbers.
    """

    policy: str
    budget: int
    query_aware: bool
    depths: tuple[float, ...]
    accuracy: tuple[float, ...] = ()
    standard_error: float | None = None
    note: str = ""

    @property
    def mean(self) -> float | None:
        """Over all depths."""
        return float(np.mean(self.accuracy)) if self.accuracy else None


QUESTION_TOKENS = 8
DEPTHS = (0.1, 0.3, 0.5, 0.7, 0.9)
USUAL_SIZE = StreamSize()


def passkey_table(
    policies: Iterable[KVPolicy | str],
    budget: int,
    depths: Sequence[float] = DEPTHS,
    samples: int = 30,
    size: StreamSize = USUAL_SIZE,
) -> list[PasskeyRow]:
    """Passkey accuracy by depth, with the question known and not known when the prompt is compressed.

    Query-aware prompts end with `QUESTION_TOKENS` queries that ask already; in query-agnostic ones only the
    query after the prompt does. Both are asked once more at the end.
    """
    rows = []
    names = dict.fromkeys([*REFERENCES, *map(str, policies)])
    for aware in (True, False):
        needles = {
            depth: [passkey(seed, depth, QUESTION_TOKENS if aware else 0, size) for seed in range(samples)]
            for depth in depths
        }
        rows += [_passkey_row(parse_policy(name), budget, aware, needles) for name in names]
    return rows


def _passkey_row(policy: KVPolicy, budget: int, aware: bool, needles: dict[float, list[Passkey]]) -> PasskeyRow:
    depths = tuple(needles)
    stream = QualityStream("passkey", "", True, lambda seed: needles[depths[0]][seed].sample)
    why = cannot_judge(policy, stream)
    if why:
        return PasskeyRow(str(policy), budget, aware, depths, note=why)
    right: list[list[float]] = []
    try:
        for keys in needles.values():
            right.append(
                [
                    float((key.answer(last_output(ask(policy, key.sample, budget, seed=at))) == key.code).mean())
                    for at, key in enumerate(keys)
                ]
            )
    except InputError as reason:
        return PasskeyRow(str(policy), budget, aware, depths, note=str(reason))
    flat = np.concatenate(right)
    error = float(flat.std(ddof=1) / np.sqrt(flat.size)) if flat.size > 1 else None
    return PasskeyRow(str(policy), budget, aware, depths, tuple(float(np.mean(one)) for one in right), error)
