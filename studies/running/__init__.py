"""Many points evaluated, none lost: processes, clusters, progress, compiled code."""
