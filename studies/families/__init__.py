"""Families of designs: how each kind of point is run, measured and explained."""
