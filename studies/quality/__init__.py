"""What KV policies cost in accuracy."""
