"""Cores at work: items handed out to them, and their units as graphs of the simulator."""
