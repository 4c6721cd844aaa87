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
