"""Attention as tiled work on the cores of a chip: what the cores do, when they do it, and what it costs."""
