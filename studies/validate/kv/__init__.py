"""Validation of kind `kv`: cases, runs and comparison."""
