"""Scenarios over time: requests served by replicas of a model."""
