"""Two engines for one description: a readable SimPy one and a compiled one."""
