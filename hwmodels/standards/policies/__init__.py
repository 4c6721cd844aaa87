"""Queue policies of DRAM controllers as closed forms need them: a module each."""
