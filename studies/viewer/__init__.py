"""Stores in a browser: a page per store, lists, comparisons, and how far a sweep is."""
