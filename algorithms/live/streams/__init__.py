"""Streams of frames: a camera that does not wait, a model that watches it under a KV policy, questions in between."""
