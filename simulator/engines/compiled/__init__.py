"""Engine that runs flat arrays through Numba: as fast as it goes, equal to the reference in every start and cause."""
