"""Measurements on real hardware: cases, protocol, and the record of the machine."""
