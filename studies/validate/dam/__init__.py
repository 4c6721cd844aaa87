"""Validation of kind `dam`: cases, runs and comparison."""
