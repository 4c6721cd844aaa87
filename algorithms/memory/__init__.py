"""Traffic on memory tiers: address patterns, probes, paging, and graphs bound to tiers."""
