"""Validation of kind `mla`: cases, runs and comparison."""
