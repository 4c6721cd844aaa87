"""Logged runs of serving engines, replayed request by request."""
