"""Systems with their figures: every claim beside ours, with a verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hwmodels.reading.errors import InputError
from studies.points.point import Json
from studies.reproductions.formulas import Formula
from studies.reproductions.running import DEFAULT_STORE, Done, Ran, evaluate_runs, runs_of
from studies.reproductions.system import Claim, System, load_system
from studies.reproductions.verdicts import WIDEST_BAND, Kind, Range, Verdict, error_pct, judge, verdict_of

SECOND_HAND = "the published value is from somebody's notes and was not seen in the paper"
WIDE_PCT = 100 * (WIDEST_BAND - 1)


@dataclass(frozen=True)
class JudgedClaim:
    """A claim with our figure.

    Parameters
    ----------
    claim
        As published.
    ours
        Our range, both ends equal for a single figure; None where there is none.
    verdict
        What may be said of both.
    why
        What is missing, which term dominates, or how to read it.
    """

    claim: Claim
    ours: Range | None
    verdict: Verdict
    why: str

    @property
    def error_pct(self) -> float | None:
        """Ours against the published value; None without ours."""
        return None if self.ours is None else error_pct(self.ours, self.claim.published)

    @property
    def tolerance_pct(self) -> float | None:
        """Room in percent; that of the widest that is judged for bounds and bands, None for what is only quoted."""
        text = self.claim.text
        if text.compare is None:
            return None
        return 0.0 if text.compare == "exact" else text.tolerance_pct or WIDE_PCT

    def describe(self) -> dict[str, Json]:
        """As plain JSON values."""
        text = self.claim.text
        return {
            "metric": text.metric,
            "published": _plain(self.claim.published),
            "ours": None if self.ours is None else _plain(self.ours),
            "unit": text.unit,
            "compare": text.compare,
            "tolerance": self.tolerance_pct,
            "error_pct": self.error_pct,
            "verdict": self.verdict,
            "kind": text.kind,
            "growth": text.growth,
            "source": text.source,
            "mark": text.mark,
            "why": self.why,
        }


@dataclass(frozen=True)
class JudgedSystem:
    """A system with its claims judged.

    Parameters
    ----------
    system
        As published.
    claims
        In the order of its file.
    wall_s
        Time its runs took on the computer that made them.
    """

    system: System
    claims: tuple[JudgedClaim, ...]
    wall_s: float

    @property
    def kind(self) -> Kind:
        """How the figures that decide the verdict were made."""
        return self._judged[0]

    @property
    def verdict(self) -> Verdict:
        """What most of its judged claims say; see `studies.reproductions.verdicts.verdict_of`."""
        return self._judged[1]

    @property
    def growth_alone(self) -> bool:
        """Whether every claim that the verdict rests on says no more than how something grows."""
        kind, verdict = self._judged
        good = ("reproduced", "in band")
        held = [each.claim.text for each in self.claims if each.verdict in good]
        return verdict in good and all(text.growth for text in held if text.kind == kind)

    @property
    def _judged(self) -> tuple[Kind, Verdict]:
        return verdict_of([(each.claim.text.kind, each.verdict) for each in self.claims])

    def describe(self) -> dict[str, Json]:
        """As plain JSON values."""
        system = self.system
        return {
            "name": system.name,
            "title": system.title,
            "family": system.family,
            "paper": system.paper,
            "mechanism": system.mechanism,
            "verdict": self.verdict,
            "kind": self.kind,
            "growth_alone": self.growth_alone,
            "missed": sum(each.verdict == "missed" for each in self.claims),
            "wall_s": self.wall_s,
            "claims": [each.describe() for each in self.claims],
        }


def judge_systems(
    systems: Iterable[System], store: Path | str = DEFAULT_STORE, *, jobs: int | None = None, quiet: bool = True
) -> list[JudgedSystem]:
    """Run what systems run and judge their claims; parameters as of `studies.reproductions.running.evaluate_runs`."""
    known = list(systems)
    done = evaluate_runs(runs_of(known), store, jobs=jobs, quiet=quiet)
    return [judged(system, done) for system in known]


def reproduce(name: str | Path, store: Path | str = DEFAULT_STORE, *, jobs: int | None = 0) -> JudgedSystem:
    """A published system beside ours: what ``attnflow reproduce NAME`` prints.

    Parameters
    ----------
    name
        A system, or the YAML file of one.
    store, jobs
        As of `judge_systems`; no worker processes unless some are asked for.

    Raises
    ------
    InputError
        An unknown name, a bad file, or a store that cannot be used.
    """
    return judge_systems([load_system(name)], store, jobs=jobs)[0]


def judged(system: System, done: Done) -> JudgedSystem:
    """A system whose runs are done."""
    ran = {name: done.of(run) for name, run in system.runs.items()}
    claims = tuple(judged_claim(claim, system, ran) for claim in system.claims)
    return JudgedSystem(system, claims, sum(each.wall_s for each in ran.values()))


def judged_claim(claim: Claim, system: System, ran: Mapping[str, Ran]) -> JudgedClaim:
    """A claim with the figures of the runs that it needs."""
    text = claim.text
    notes = [text.why] if text.why else []
    if text.mark == "notes" and text.kind != "quoted":
        notes.append(SECOND_HAND)
    if text.compare is None:
        return JudgedClaim(claim, None, "quoted", "; ".join(notes))
    try:
        values = [formula.value(figures_of(formula, system, ran)) for formula in claim.formulas]
    except InputError as error:
        needed = {name.partition(".")[0] for formula in claim.formulas for name in formula.names}
        reasons = [f"{name}: {ran[name].error}" for name in ran if name in needed and ran[name].error]
        return JudgedClaim(claim, None, "missed", "; ".join([*(reasons or [str(error)]), *notes]))
    ours = (min(values), max(values))
    verdict = judge(text.compare, ours, claim.published, text.tolerance_pct or 0.0)
    return JudgedClaim(claim, ours, verdict, "; ".join(notes))


def figures_of(formula: Formula, system: System, ran: Mapping[str, Ran]) -> dict[str, float]:
    """Numbers by all names that a formula may use."""
    found = {name: float(each.value) for name, each in system.setting.items()}
    for name in dict.fromkeys(each.partition(".")[0] for each in formula.names if "." in each):
        found |= {f"{name}.{metric}": value for metric, value in ran[name].figures.items()}
    return found


def _plain(value: Range) -> Json:
    return value[0] if value[0] == value[1] else list(value)
