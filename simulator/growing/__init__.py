"""Rows that each are a little longer than the one before, answered at once where their schedule is proven."""
