"""Controller with one command queue per bank (DRAMsim3's)."""
