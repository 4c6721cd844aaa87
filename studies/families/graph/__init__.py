"""Designs that are graphs of FIFOs."""
