"""Why a run took as long as it did: stalls, critical path, deadlocks, FIFO depths."""
