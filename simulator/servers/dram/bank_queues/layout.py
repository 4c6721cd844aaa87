"""Words that only the controller with bank queues keeps."""

from __future__ import annotations

from typing import Final

from simulator.servers.dram.layout import BANK_WORDS, H_OWN, LINE, MAX_BANKS, OWN

MOST_BANKS: Final = 62
"""Banks of a channel, whose masks are one integer that is never negative."""
QUEUE_SLOTS: Final = 16
"""Largest depth of a per-bank command queue."""
HOPS: Final = 2
"""Clocks from acceptance to the command bus: one per queue."""

H_ROUND: Final = H_OWN
"""Bank that was served last; the next one is asked first."""
H_DRAINING: Final = H_OWN + 1
"""Buffered writes that are still to be moved before reads have their turn again."""
H_COMMANDS: Final = H_OWN + 2
"""Transactions in all command queues."""
H_MOVABLE_READS: Final = H_OWN + 3
"""Mask of the banks that a waiting read could move to now."""
H_MOVABLE_WRITES: Final = H_OWN + 4
H_QUEUED: Final = H_OWN + 5
"""Mask of the banks whose command queue is not empty."""

B_QUEUED: Final = OWN
"""Entries in the bank's command queue."""
B_COMMANDS: Final = B_QUEUED + BANK_WORDS
"""Transactions in the bank's command queue."""
B_READ_HIT: Final = B_COMMANDS + BANK_WORDS
"""Slot of the first queued read to the open row, or -1."""
B_WRITE_HIT: Final = B_READ_HIT + BANK_WORDS
Q_KEY: Final = B_WRITE_HIT + BANK_WORDS
"""Per-bank command queue: ``row * 2 + is_write`` of each entry."""
Q_SEGMENT: Final = Q_KEY + MAX_BANKS * QUEUE_SLOTS + LINE
Q_COUNT: Final = Q_SEGMENT + MAX_BANKS * QUEUE_SLOTS + LINE
OWN_WORDS: Final = Q_COUNT + MAX_BANKS * QUEUE_SLOTS - OWN
