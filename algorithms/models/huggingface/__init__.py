"""Models read from the configuration files that Hugging Face's libraries write."""
