"""Controller with one pool of requests per channel (Ramulator 2's)."""
