"""Where points are kept, and what produced them."""
