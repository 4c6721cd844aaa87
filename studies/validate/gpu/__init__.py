"""Validation of kind `gpu`: cases, runs and comparison."""
