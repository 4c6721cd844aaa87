"""Predicts rows of measured tables, one module for each kind of operation."""
