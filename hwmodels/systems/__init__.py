"""Chips together: what joins them, the hosts beside them, and how they exchange data."""
