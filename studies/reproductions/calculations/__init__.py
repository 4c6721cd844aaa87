"""Calculations that published systems share: one module per mechanism."""
