"""Attention cut into tiles and spread over the cores of a chip."""
