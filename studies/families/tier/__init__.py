"""Memory tiers under streams of requests."""
