"""One simulation, fully said: parameters, chips, keys, and the command that repeats it."""
