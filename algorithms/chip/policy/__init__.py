"""Decoding under a KV policy on a chip."""
