"""Titles of searches: what they were allowed is known before, how many evaluations there are only afterwards."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from studies.report.words import count
from studies.store import Row

_SEARCH = re.compile(r".*/(?P<sampler>[^/]+)-(?P<seed>\d+)")


def with_evaluations(title: str, rows: Sequence[Row]) -> str:
    """`title` with the number of evaluated designs of each search in `rows` in place of how many it was allowed.

    Searches are known by the names of their studies (``decode/nsga2-0``), their part of the title by the words that
    `studies.search.run_search` puts there.
    """
    evaluated = Counter({row.study: 0 for row in rows})
    evaluated.update(row.study for row in rows if row.outcome.status != "pending")
    told, rest = "", title
    for study, many in evaluated.items():
        search = _SEARCH.fullmatch(study)
        words = f" by {search['sampler']}, seed {search['seed']}" if search else ""
        found = re.search(rf"\b\d+ evaluations{re.escape(words)}\b", rest) if words else None
        if found:
            told += f"{rest[: found.start()]}{count(many, 'evaluation')}{words}"
            rest = rest[found.end() :]
    return told + rest
