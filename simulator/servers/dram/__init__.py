"""DRAM bank by bank: addresses, timing rules, refresh and queues, which know no controller's policy."""
