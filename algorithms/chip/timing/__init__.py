"""Timing of what cores do: mapping, throughput of units, traffic, bounds and energy."""
