"""Where a result comes from: commit, uncommitted changes, versions, host."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from studies.points.point import Json

PACKAGES = ("attnflow", "numpy", "numba", "simpy", "pandas", "plotly", "pydantic", "typer", "optuna")
_ROOT = Path(__file__).resolve().parents[2]
_GIT_TIMEOUT_S = 20


def provenance(configuration: Json) -> dict[str, Json]:
    """Everything a reader needs to get the same numbers again.

    Parameters
    ----------
    configuration
        The resolved configuration (study or design point) as plain JSON values.

    Returns
    -------
    dict
        ``commit`` and ``dirty_sha256`` (None outside a git checkout or when it is clean), ``configuration``,
        ``versions``, ``python``, ``host``, ``platform``, ``cpus`` and ``time_utc`` (ISO 8601).
    """
    return {
        "commit": _git("rev-parse", "HEAD"),
        "dirty_sha256": _dirty_hash(),
        "configuration": configuration,
        "versions": versions(),
        "python": platform.python_version(),
        "host": platform.node(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "time_utc": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def code_state(provenance: Mapping[str, Json]) -> str:
    """Short name of the code that computed something: the commit, ``+`` and a hash when it had changes."""
    commit, dirty = provenance.get("commit"), provenance.get("dirty_sha256")
    version = provenance.get("versions")
    if not commit:
        return f"version {version['attnflow']}" if isinstance(version, Mapping) else "unknown"
    return f"{str(commit)[:12]}+{str(dirty)[:8]}" if dirty else str(commit)[:12]


def versions() -> dict[str, Json]:
    """Versions of the packages that results depend on; None for one that is not installed."""
    return {name: _version(name) for name in PACKAGES}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _dirty_hash() -> str | None:
    """Hash of all changes since the commit, files that git does not know yet included."""
    status = _git("status", "--porcelain", "--untracked-files=all")
    if not status:
        return None
    digest = hashlib.sha256(status.encode())
    digest.update((_git("diff", "HEAD", "--binary") or "").encode())
    for line in status.splitlines():
        path = _ROOT / line[3:].strip('"')
        if line.startswith("??") and path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _git(*arguments: str) -> str | None:
    """Output of a git command in the project's own checkout; None when there is none."""
    if not (_ROOT / ".git").exists():
        return None
    try:
        result = subprocess.run(
            ["git", "-C", str(_ROOT), *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_GIT_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.rstrip("\n")
