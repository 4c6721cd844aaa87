"""Attention whose state does not grow: one contract, and the rules by which tokens enter and leave a state."""
