"""Readers of cited documents and quantities, and the wording of faults in them."""
