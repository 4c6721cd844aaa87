"""Reads tables of measured kernels: what columns they have, both layouts, and what is wrong with a file."""
