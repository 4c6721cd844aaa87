"""When cores do it: mapping, throughput of units, traffic, bounds and energy."""
