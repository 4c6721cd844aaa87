"""Designs on a chip."""
