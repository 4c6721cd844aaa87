"""``attnflow doctor``: what is installed and what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from studies.cli.output import EXIT_CHECK_FAILED, EXIT_OK, JsonFlag, QuietFlag, emit, table
from studies.cli.verb import verb

if TYPE_CHECKING:
    from studies.points.point import Json


@verb("doctor", order=150)
def doctor(
    warm: Annotated[
        bool, typer.Option("--warm", help="Compile all kernels now, so that no later run waits for them.")
    ] = False,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> int:
    """Check versions, caches, GPU and browser; the exit code is 1 when something required is missing.

    Example: attnflow doctor --warm
    """
    from studies.cli.health import check_installation, check_kernels

    findings = check_installation()
    if warm:
        findings += check_kernels(quiet=quiet)
    sound = all(finding.ok or not finding.required for finding in findings)
    document: Json = {
        "ok": sound,
        "checks": [{"name": f.name, "ok": f.ok, "required": f.required, "detail": f.detail} for f in findings],
    }
    rows = [(f.name, "ok" if f.ok else "MISSING" if f.required else "absent", f.detail) for f in findings]
    emit(document, lambda: table(("check", "state", "detail"), rows), as_json=as_json)
    return EXIT_OK if sound else EXIT_CHECK_FAILED
