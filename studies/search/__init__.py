"""Which designs to evaluate, and which of them are best."""
