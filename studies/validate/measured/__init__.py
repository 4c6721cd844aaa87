"""Validation of kind `measured`: tables of kernels of serving stacks, read, predicted and scored by group."""
