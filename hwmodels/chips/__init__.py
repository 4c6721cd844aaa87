"""Chips as cited data: cores, memories, links, and what may be changed about them."""
