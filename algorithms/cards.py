"""Small HTML tables for notebooks, as those of chips."""

from hwmodels.reading.cards import html_table

__all__ = ["html_table"]
