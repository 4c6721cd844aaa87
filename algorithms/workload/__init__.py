"""Workloads: shapes of models, tensors and what a person may change."""
