"""KV policies: the contract between a cache, what selects from it, and what that costs."""
