"""Float64 oracles from the definitions, error metrics and number formats."""
