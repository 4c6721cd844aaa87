"""Gradients of layers, whole and in chunks, and what training holds in memory."""
