"""attnflow.reference: independent truth: oracles, error metrics and GPU kernels.

| module | what it is |
| --- | --- |
| `oracle`, `oracle_variants` | attention, latent attention, compressive memory: float64 NumPy, from the definitions |
| `metrics`, `dtypes` | errors, tolerances per number format, rounding to a format |
| `captures` | tensors recorded from a published model |
| `torch_ref`, `torch_latent` | PyTorch: named fused backends, and plain operations to compare with |
| `cupy_ref`, `arguments`, `launch`, `kernel_sources`, `kernels/` | this package's CUDA kernels and their launchers |
| `host_device`, `nvrtc` | the same CUDA sources run on a CPU, and compiled without a GPU |
| `cases`, `bench`, `cuda_bench`, `torch_bench`, `benches` | what is measured, how a case is set up and checked |
| `timing`, `measure`, `machine`, `records` | the timing protocol, records of runs, what a record says of its machine |

Nothing here imports `simulator` or `algorithms`: what is checked shares no code with what checks it.
"""

from __future__ import annotations

import difflib
import importlib

TYPE_CHECKING = False  # type checkers know the name; importing typing takes longer than the rest of this module
if TYPE_CHECKING:
    # for editors and type checkers; `_HOMES` says the same to Python
    from reference.captures import capture_names as capture_names
    from reference.captures import capture_path as capture_path
    from reference.records import record_paths as record_paths
    from reference.truth.dtypes import round_to as round_to
    from reference.truth.metrics import Tolerance as Tolerance
    from reference.truth.metrics import cosine as cosine
    from reference.truth.metrics import max_abs as max_abs
    from reference.truth.metrics import mean_abs as mean_abs
    from reference.truth.metrics import relative_l2 as relative_l2
    from reference.truth.oracle import attention as attention
    from reference.truth.oracle import merge as merge
    from reference.truth.oracle import probabilities as probabilities
    from reference.truth.oracle_variants import compressive_attention as compressive_attention
    from reference.truth.oracle_variants import latent_attention as latent_attention

_HOMES = {
    "Tolerance": "truth.metrics",
    "attention": "truth.oracle",
    "capture_names": "captures",
    "capture_path": "captures",
    "compressive_attention": "truth.oracle_variants",
    "cosine": "truth.metrics",
    "latent_attention": "truth.oracle_variants",
    "max_abs": "truth.metrics",
    "mean_abs": "truth.metrics",
    "merge": "truth.oracle",
    "probabilities": "truth.oracle",
    "record_paths": "records",
    "relative_l2": "truth.metrics",
    "round_to": "truth.dtypes",
}
"""Names that are loaded when they are used, by the module they come from."""


def __dir__() -> list[str]:
    return sorted(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        near = difflib.get_close_matches(name, _HOMES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
