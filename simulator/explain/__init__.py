"""Explanations of a run: stalls, critical path, deadlocks, FIFO depths."""
