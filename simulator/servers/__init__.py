"""Arbitrated resources shared by several units: compiled service kernels over plain arrays."""
