"""Attention kernels as plans of tiles: prefill, decode, training, prefixes, low rank, unfused."""
