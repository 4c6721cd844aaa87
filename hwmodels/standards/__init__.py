"""DRAM standards as cited data, and how a data file becomes one."""
