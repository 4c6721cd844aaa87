"""`validate kv`: run the project's KV policies on a file of golden cases and compare every field."""

from __future__ import annotations

from pathlib import Path

from hwmodels.reading.errors import InputError
from studies.validate.kv.cases import Case, Given, UnsupportedCaseError, load_cases
from studies.validate.kv.compare import Findings, compare, overlap_asked, tied
from studies.validate.kv.families import family_of
from studies.validate.kv.run import Computation
from studies.validate.records import Status, ValidationReport, ValidationRow


def validate_kv(path: Path) -> ValidationReport:
    """Every case of `path` (format `kv-golden/1`), run by the policies of this project.

    A kept set has to be exact. Where the case was cut between keys whose scores are tied in single
    precision, any choice among those keys is right, and the row says so; its outputs are then compared on
    the expected set. Outputs have the tolerance of the file.

    Raises
    ------
    InputError
        The file cannot be used.
    """
    return ValidationReport("kv", tuple(_row(case) for case in load_cases(path)))


def _row(case: Case) -> ValidationRow:
    group = case.policy
    try:
        family = family_of(case)
        computation = family(case)
    except (UnsupportedCaseError, InputError) as reason:
        return ValidationRow(case.id, group, "unsupported", why=str(reason))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        why = f"the case does not fit its family: {type(error).__name__}: {error}"
        return ValidationRow(case.id, group, "unsupported", why=why)
    findings = Findings()
    _allow_ties(case, computation, findings)
    compare(case, case.expected, computation.fields, findings)
    compare(case, case.derived, computation.fields, findings)
    if not findings.compared:
        return ValidationRow(case.id, group, "unsupported", why="; ".join(findings.remarks))
    remarks = [*findings.failures, *findings.remarks, *computation.remarks]
    status: Status = "fail" if findings.failures else "pass"
    agreed = ", ".join(findings.compared)
    return ValidationRow(
        case.id,
        group,
        status,
        findings.first_expected or agreed,
        findings.first_got or agreed,
        findings.error_pct,
        "; ".join(remarks),
    )


def _allow_ties(case: Case, computation: Computation, findings: Findings) -> None:
    """Take the expected set where it differs from the computed one among tied scores only."""
    expected = case.expected.get("kept")
    if not isinstance(expected, list) or computation.cut is None or overlap_asked(case.protocol):
        return
    rows = [Given({"row": row}).wholes("row") for row in (expected if isinstance(expected[0], list) else [expected])]
    got = [list(map(int, row)) for row in computation.kept]
    if rows == got or not tied(rows, computation.cut):
        return
    computation.use(rows)
    findings.remarks.append("the cut falls between tied scores; outputs are those of the expected set")
