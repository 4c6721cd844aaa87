"""Validation of kind `dram`: cases, runs and comparison."""
