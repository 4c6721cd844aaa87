"""Layers of models beside attention, as launches on a chip, and what they compute."""
