"""Engine on SimPy, written to be read: it is the meaning of a graph."""
