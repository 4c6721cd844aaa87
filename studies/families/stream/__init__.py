"""Streams of frames that a model watches under a KV policy."""
