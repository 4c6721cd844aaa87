"""Words that only the controller with one pool of requests keeps."""

from __future__ import annotations

from typing import Final

from simulator.servers.dram.layout import BANK_WORDS, H_OWN, MAX_BANKS, MAX_RANKS, OWN

HOPS: Final = 1
"""Clocks from acceptance to the command bus."""

H_EDGE_CLOCK: Final = H_OWN
"""Falling edge that is paired with the last row command of a rising edge, whose rank and bank follow."""
H_EDGE_RANK: Final = H_OWN + 1
H_EDGE_BANK: Final = H_OWN + 2
H_ACT2_BANK: Final = H_OWN + 3
"""Bank whose activation still lacks its second half, or -1."""
H_ACT2_DEADLINE: Final = H_OWN + 4
H_STROBE_EXPIRY: Final = H_OWN + 5
"""Clock from which on the data strobe has to be started anew."""
H_FORCED_BANK: Final = H_OWN + 6
"""Bank of the access that the strobe was started for, or -1; its kind and direction follow."""
H_FORCED_KIND: Final = H_OWN + 7
H_FORCED_WRITE: Final = H_OWN + 8
H_WRITE_MODE: Final = H_OWN + 9
"""1 while the pool serves writes."""

B_HIT_READ: Final = OWN
"""First waiting read to the open row, or -1, and so on."""
B_HIT_WRITE: Final = B_HIT_READ + BANK_WORDS
B_HIT_READ_END: Final = B_HIT_WRITE + BANK_WORDS
B_HIT_WRITE_END: Final = B_HIT_READ_END + BANK_WORDS
B_ACTIVE: Final = B_HIT_WRITE_END + BANK_WORDS
"""Segment that owns the row just opened, or -1."""
B_ACTIVE_ARRIVAL: Final = B_ACTIVE + BANK_WORDS
B_ACTIVE_ORDER: Final = B_ACTIVE_ARRIVAL + BANK_WORDS
R_ACTIVE: Final = B_ACTIVE_ORDER + BANK_WORDS
"""Banks of a rank whose row has an owner."""
MASK_BANKS: Final = 62
"""Banks per word of a mask, so that no mask is ever negative."""
M_WORDS: Final = (MAX_BANKS + MASK_BANKS - 1) // MASK_BANKS
M_POOL_READ: Final = R_ACTIVE + MAX_RANKS
"""Banks with waiting reads."""
M_POOL_WRITE: Final = M_POOL_READ + M_WORDS
M_ACTIVE: Final = M_POOL_WRITE + M_WORDS
"""Banks whose row was opened by a request that has not been served yet."""
OWN_WORDS: Final = M_ACTIVE + M_WORDS - OWN
