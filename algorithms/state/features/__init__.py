"""Memories of features before or beside a model: small blocks in chains, and published systems as lists of them."""
