"""Checks of an installation: required packages, optional ones, cache folders, GPU, browser."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

from studies.words import span

REQUIRED = (
    "numpy",
    "numba",
    "simpy",
    "pandas",
    "plotly",
    "pydantic",
    "typer",
    "rich",
    "yaml",
    "jinja2",
)
OPTIONAL = ("torch", "cupy", "distributed", "jupytext", "nbclient", "playwright")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_GPU_QUERY_TIMEOUT_S = 20


@dataclass(frozen=True)
class Finding:
    """One check: what, whether it is there, whether the project can do without, and the version or reason."""

    name: str
    ok: bool
    required: bool
    detail: str


def check_installation() -> list[Finding]:
    """All checks, in a fixed order."""
    return [*_basics(), *_packages(), _engine_cache(), _browser(), *_kernel_compilers(), _gpu()]


def check_kernels(*, quiet: bool) -> list[Finding]:
    """Compiles all kernels, each told on stderr before it takes long; a family that does not run here is missing."""
    from studies.running.warm_up import compile_everything

    found = []
    for warmed in compile_everything(quiet=quiet):
        took = "there already" if warmed.cached else f"compiled in {span(warmed.seconds)}"
        detail = f"{' and '.join(warmed.kernels)}: {took}" if warmed.kernels else "needs none"
        found.append(Finding(f"kernels of {warmed.design}", not warmed.failed, True, warmed.failed or detail))
    return found


def _basics() -> Iterator[Finding]:
    yield Finding("python", sys.version_info >= (3, 11), True, platform.python_version())
    yield Finding("sqlite", sqlite3.sqlite_version_info >= (3, 35), True, sqlite3.sqlite_version)


def _packages() -> Iterator[Finding]:
    for names, required in ((REQUIRED, True), (OPTIONAL, False)):
        for name in names:
            # looking for the module is enough: importing torch would take seconds
            there = importlib.util.find_spec(name) is not None
            yield Finding(name, there, required, _version_of(name) if there else "not installed")


def _version_of(module: str) -> str:
    """Version of the distribution that provides a module."""
    top = module.split(".")[0]
    candidates = [module, *importlib.metadata.packages_distributions().get(top, [])]
    for name in candidates:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "unknown version"


def _engine_cache() -> Finding:
    """Whether compiled engines can be kept; without, every process compiles them again."""
    try:
        from simulator.servers.kernel import cache_folder
    except ImportError as error:
        return Finding("compiled engine cache", False, False, f"there is no engine: {error}")
    try:
        folder = cache_folder("engines")
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return Finding("compiled engine cache", False, False, f"{error.filename}: {error.strerror}")
    return Finding("compiled engine cache", True, False, str(folder))


def _browser() -> Finding:
    """Only tests need one; reports open in any."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    return Finding("browser", found is not None, False, found or f"none of {', '.join(BROWSERS)}")


def _kernel_compilers() -> Iterator[Finding]:
    """What the tests of the CUDA kernels use where there is no GPU."""
    from reference.cuda import host_device, nvrtc

    there = nvrtc.available()
    yield Finding("nvrtc", there, False, ".".join(map(str, nvrtc.version())) if there else "not installed")
    compiler = host_device.COMPILER
    yield Finding("C++ compiler", compiler is not None, False, compiler or "no g++")


def _gpu() -> Finding:
    program = shutil.which("nvidia-smi")
    if program is None:
        return Finding("gpu", False, False, "no nvidia-smi")
    query = [program, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        output = subprocess.run(query, capture_output=True, text=True, timeout=_GPU_QUERY_TIMEOUT_S, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return Finding("gpu", False, False, f"nvidia-smi failed: {error}")
    return Finding("gpu", bool(output.strip()), False, "; ".join(output.strip().splitlines()) or "none")
