"""Machine of a record: the GPU and its state, software versions, the code's commit."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import re
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

_QUERY_TIMEOUT_S = 30

HARDWARE_IDS = {
    "NVIDIA H200": "H200_SXM_141G",
    "NVIDIA H100 80GB HBM3": "H100_SXM5_80G",
    "NVIDIA H100 PCIe": "H100_PCIe_80G",
    "NVIDIA H800": "H800_SXM5",
    "NVIDIA A100-SXM4-80GB": "A100_SXM4_80G",
    "NVIDIA A100-SXM4-40GB": "A100_SXM4_40G",
    "NVIDIA A100 80GB PCIe": "A100_PCIe_80G",
    "NVIDIA B200": "B200_SXM",
}
"""Names in the public collections by the driver's name; others are spelled with underscores."""

# Fields of `nvidia-smi --query-gpu`; the last one was renamed by newer drivers, which still take the old name.
_STATE_FIELDS = {
    "sm_clock_mhz": "clocks.sm",
    "memory_clock_mhz": "clocks.mem",
    "power_w": "power.draw",
    "temperature_c": "temperature.gpu",
    "throttle_reasons": "clocks_throttle_reasons.active",
}
_IDENTITY_FIELDS = {
    "name": "name",
    "uuid": "uuid",
    "driver": "driver_version",
    "power_limit_w": "power.limit",
    "memory_mib": "memory.total",
    "vbios": "vbios_version",
}
_PACKAGES = ("numpy", "torch", "triton", "cupy-cuda13x", "cupy-cuda12x", "nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu12")


@dataclass(frozen=True)
class Hardware:
    """The GPU as far as planning needs it.

    Attributes
    ----------
    name, id
        The driver's name, and the one used in records.
    l2_bytes, memory_bytes
        Last-level cache and device memory.
    multiprocessors
        Streaming multiprocessors.
    """

    name: str
    id: str
    l2_bytes: int
    memory_bytes: int
    multiprocessors: int


def hardware_id(name: str) -> str:
    """Name of a GPU in records."""
    return HARDWARE_IDS.get(name, re.sub(r"\W+", "_", name.removeprefix("NVIDIA ")).strip("_"))


def gpu_state() -> dict[str, str | float]:
    """Clocks, power, temperature and throttle reasons now; empty where the driver's tool is missing."""
    return _query(_STATE_FIELDS)


def provenance(hardware: Hardware, folder: Path | None = None) -> dict[str, object]:
    """Everything a reader needs to judge or repeat a record; serial numbers and host names are hashed."""
    identity = _query(_IDENTITY_FIELDS)
    uuid = str(identity.pop("uuid", ""))
    return {
        "gpu": asdict(hardware) | identity | {"uuid_hash": _short_hash(uuid) if uuid else ""},
        "idle": gpu_state(),
        "software": _versions(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "host_hash": _short_hash(platform.node()),
        **_commit(folder or Path(__file__).parent),
    }


def _versions() -> dict[str, str]:
    """Versions of installed packages, and of the CUDA libraries PyTorch was built with."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    if "torch" in found:
        import torch

        found["torch_cuda"] = str(torch.version.cuda)
        found["cudnn"] = str(torch.backends.cudnn.version() if torch.cuda.is_available() else None)
    return found


def _commit(folder: Path) -> dict[str, object]:
    """Commit of the checkout the code runs from, and whether it was changed since; unknown outside a checkout."""
    head = _run(["git", "-C", str(folder), "rev-parse", "HEAD"])
    changed = _run(["git", "-C", str(folder), "status", "--porcelain", "--", str(folder)])
    return {"commit": head, "changed": None if changed is None else bool(changed)}


def _query(fields: dict[str, str]) -> dict[str, str | float]:
    output = _run(
        ["nvidia-smi", f"--query-gpu={','.join(fields.values())}", "--format=csv,noheader,nounits", "-i", "0"]
    )
    if output is None:
        return {}
    values = [value.strip() for value in output.splitlines()[0].split(",")] if output else []
    return {name: _number(value) for name, value in zip(fields, values, strict=False)}


def _number(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text


def _run(command: list[str]) -> str | None:
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_QUERY_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
