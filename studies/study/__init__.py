"""A question: a study file turned into points."""
