"""Memory tiers and links as cited data: SRAM, DRAM, flash, links; energy and area of each."""
