"""The CUDA kernels, their launchers, and ways to compile and run them without a GPU."""
