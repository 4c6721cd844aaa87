"""Runs of KV policies over a stream: attention, accounts, timing."""
