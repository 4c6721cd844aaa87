"""attnflow.reference: independent truth: oracles, error metrics and GPU kernels."""
