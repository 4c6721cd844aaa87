"""attnflow.hwmodels: chips, memory tiers and quantities as cited data."""
