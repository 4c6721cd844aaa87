"""Look-ups in tables in place of products with weights, and what their rows cost in a memory."""
