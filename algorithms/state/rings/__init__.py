"""Layers over time that keep a ring of what they have seen, and compute no frame twice."""
