"""Whole models: what they are made of, the work of a step, and the memory it takes."""
