"""Layout of a DRAM channel's integers: parameters, channel state, input and output records.

The service kernels work on plain ``int64`` vectors so that an engine can keep, copy and compare them. A tier has one
parameter vector ``p`` (written once by `simulator.servers.dram.parameters`), one state row ``s`` per channel, one
input ring and one output table. Offsets are module constants, which the compiler folds into the addresses. What only
one controller keeps lies at the end of the state row and is laid out in the controller's own folder.

Values of one kind lie side by side for all banks, ``s[B_ROW + bank]``, rather than in a record per bank, ``bank.row``:
a scheduler looks at one or two values of every bank. Measured on the loop in which the pool chooses the oldest request
that is ready (64 banks, one core, best of 15): 92 ns like this, 121 ns with Numba records of the same values, whose
code took 0.6 s to compile instead of 0.9 s.

Index conventions: bank ``b = ((rank * sids + sid) * bank_groups + group) * banks_per_group + bank``, group
``g = b // banks_per_group`` and rank ``r = b // banks_per_rank``. *rank* stands for a DDR rank or an HBM
pseudo-channel: what shares a tFAW window and is refreshed together.
"""

from __future__ import annotations

from typing import Final

MAX_BANKS: Final = 128
MAX_GROUPS: Final = 64
MAX_RANKS: Final = 8
MAX_FIELDS: Final = 16
SEGMENTS: Final = 2048
"""Request segments a channel can hold at once; more than all its queues together."""
WINDOW: Final = 4096
"""Largest number of transactions in flight that a front end may be limited to."""
FILTER: Final = 1024
KEY_BITS: Final = 20
"""Bits of a transaction's number that belong to its place in the row."""
MAX_COLUMNS: Final = (1 << KEY_BITS) - FILTER
FAR: Final = 1 << 60
"""A time that never comes."""

UNTIL_ACCEPTED: Final = -1
"""Run until the input ring is empty."""
UNTIL_RETURNED: Final = -2
"""Run until all data of the accepted reads is under way."""

LINE: Final = 8
"""A cache line between arrays whose sizes are powers of two keeps equal indices out of the same cache set."""
BANK_WORDS: Final = MAX_BANKS + LINE
_GROUP_WORDS: Final = MAX_GROUPS + LINE

# ---- parameters: geometry and queues ----------------------------------------------------------------------------
P_CHANNELS: Final = 0
P_RANKS: Final = 1
P_GROUPS: Final = 2
P_BANKS: Final = 3
P_BANKS_PER_GROUP: Final = 4
P_BANKS_PER_RANK: Final = 5
P_BUSES: Final = 6
"""Data buses of a channel: 1, or one per pseudo-channel."""
P_TRANSACTION_BYTES: Final = 7
P_BURST: Final = 8
P_READ_DEPTH: Final = 9
P_WRITE_DEPTH: Final = 10
P_BANK_DEPTH: Final = 11
P_HIT_CAP: Final = 12
"""Row hits after which an older conflict may close a row that still has pending hits."""
P_DRAIN_HIGH: Final = 13
P_DRAIN_LOW: Final = 14
P_DUAL_BUS: Final = 15
P_HALF_CLOCK: Final = 16
P_SPLIT_ACTIVATE: Final = 17
P_PROTECT_HITS: Final = 18
P_CLOSE_PAGE: Final = 19
P_WIDTH: Final = 20
"""Transactions a channel may accept per clock."""
P_OUTSTANDING: Final = 21
"""Transactions in flight per source (0: no limit)."""
P_EVEN_READS: Final = 22
"""Distance between two reads where it is the same for all pairs of banks and keeps the data bus busy; else 0."""
P_SHARED_SOURCE: Final = 23
"""1: one in-order source for all channels (head-of-line blocking); 0: every channel is fed from its own list."""

# ---- parameters: timing in clocks -----------------------------------------------------------------------------------
P_READ_LATENCY: Final = 32
"""Read command to data returned."""
P_WRITE_LATENCY: Final = 33
P_ACT_TO_READ: Final = 34
P_ACT_TO_WRITE: Final = 35
P_ACT_TO_PRE: Final = 36
P_ACT_TO_ACT: Final = 37
P_READ_TO_PRE: Final = 38
P_WRITE_TO_PRE: Final = 39
P_PRE_TO_ACT: Final = 40
P_READ_AP_TO_ACT: Final = 41
P_WRITE_AP_TO_ACT: Final = 42
P_PRE_TO_PRE: Final = 43
P_FAW: Final = 44
P_PRE_ALL_TO_ACT: Final = 45
P_PRE_TO_REFRESH: Final = 46
P_ACT_TO_REFRESH: Final = 47
P_READ_AP_TO_REFRESH: Final = 48
P_WRITE_AP_TO_REFRESH: Final = 49
P_REFRESH_TO_ACT: Final = 50
P_REFRESH_TO_REFRESH: Final = 51
P_REFRESH_TO_PRE_ALL: Final = 52
P_ACT_TO_PRE_ALL: Final = 53
P_READ_TO_PRE_ALL: Final = 54
P_WRITE_TO_PRE_ALL: Final = 55
P_REFRESH_INTERVAL: Final = 56
P_REFRESH_MODE: Final = 57
P_BANK_REFRESH_TO_ACT: Final = 58
P_BANK_REFRESH_TO_OTHER_ACT: Final = 59
P_ACT_TO_BANK_REFRESH: Final = 60
P_ACT_TO_OTHER_BANK_REFRESH: Final = 61
P_PRE_TO_BANK_REFRESH: Final = 62
P_BANK_REFRESH_TO_BANK_REFRESH: Final = 63
P_ACT_CLOCKS: Final = 64
"""Clocks an activation holds its command bus."""
P_CAS_CLOCKS: Final = 65
P_ONE_COMMAND_BUS: Final = 66
"""1: row and column commands share the command bus that P_ACT_CLOCKS and P_CAS_CLOCKS occupy."""
P_ACT2_DEADLINE: Final = 67
P_CLOCK_EXPIRY_READ: Final = 68
"""Read command to the end of the data strobe's life (0: no strobe to keep alive)."""
P_CLOCK_EXPIRY_WRITE: Final = 69

# ---- parameters: address mapping, one row of four integers per field, least significant first ------------------------
P_FIELDS: Final = 80
P_FIELD: Final = 81
F_KIND: Final = 0
F_SIZE: Final = 1
F_SCALE: Final = 2
"""Weight of this part inside its field (1, or 4 for the upper column bits)."""
F_XOR_SHIFT: Final = 3
"""Column bit from which this field is XORed, or -1."""
F_LOG: Final = 4
"""Binary logarithm of the size, or -1 if it is not a power of two."""
FIELD_WORDS: Final = 5
K_CHANNEL: Final = 0
K_RANK: Final = 1
K_SID: Final = 2
K_GROUP: Final = 3
K_BANK: Final = 4
K_ROW: Final = 5
K_COLUMN: Final = 6
P_ORGANISATION: Final = P_FIELD + FIELD_WORDS * MAX_FIELDS
"""Sizes of the seven fields in the order of K_*."""

# ---- parameters: spacing between commands of two bank groups, [from group, to group] ---------------------------------
_MATRIX: Final = MAX_GROUPS * MAX_GROUPS + LINE
P_AFTER_READ: Final = P_ORGANISATION + 8
"""From a read in one group: to a read and to a write in every group, in turn."""
P_AFTER_WRITE: Final = P_AFTER_READ + 2 * _MATRIX
P_ACT_ACT: Final = P_AFTER_WRITE + 2 * _MATRIX
PARAMETERS: Final = P_ACT_ACT + _MATRIX

REFRESH_NONE: Final = 0
REFRESH_STAGGERED: Final = 1
"""All banks of one rank at a time, ranks in turn."""
REFRESH_TOGETHER: Final = 2
"""All banks of every rank in the same interval."""
REFRESH_PER_BANK: Final = 3

# ---- state of a channel: header --------------------------------------------------------------------------------------
H_NOW: Final = 0
"""Next clock that has to be looked at."""
H_TICKED: Final = 1
"""Last clock whose command slot has been used."""
H_ACCEPT_CLOCK: Final = 2
H_ACCEPTED: Final = 3
H_REFRESH_NEXT: Final = 4
H_REFRESH_FIRST: Final = 5
H_REFRESH_COUNT: Final = 6
H_REFRESH_CURSOR: Final = 7
H_READS: Final = 8
H_WRITES: Final = 9
H_SEQUENCE: Final = 10
H_IN_HEAD: Final = 11
H_IN_TAIL: Final = 12
H_IN_TAKEN: Final = 13
"""Transactions already accepted of the input record at the head."""
H_IN_SEGMENT: Final = 14
H_FREE_TOP: Final = 15
H_ROW_BUS_FREE: Final = 16
H_COLUMN_BUS_FREE: Final = 17
H_FULL_AT: Final = 18
"""Last clock at which a transaction was refused for want of room."""
H_IN_FLIGHT: Final = 19
H_LOWER: Final = 20
"""No command can issue before this clock."""
H_TAKEN: Final = 21
H_SLICE_END: Final = 22
"""Visits and column commands together after which a run without a last clock lets its caller look in between."""
H_OWN: Final = 24
"""Sixteen words that belong to the controller of the channel."""

# ---- state of a channel: counters ------------------------------------------------------------------------------------
N_ACTIVATES: Final = 40
N_PRECHARGES: Final = 41
N_REFRESHES: Final = 42
N_READ_COMMANDS: Final = 43
N_WRITE_COMMANDS: Final = 44
N_READ_HITS: Final = 45
N_WRITE_HITS: Final = 46
N_MISSES: Final = 47
N_CONFLICTS: Final = 48
N_DUAL: Final = 49
N_READS: Final = 50
N_WRITES: Final = 51
N_FORWARDED: Final = 52
N_MERGED: Final = 53
N_SUM_ACCEPT: Final = 54
N_SUM_RETURN: Final = 55
N_LAST_RETURN: Final = 56
N_LAST_WRITE: Final = 57
N_VISITS: Final = 58
N_BANK_REFRESHES: Final = 60
LOSS: Final = 64
"""Bus clocks lost, one counter per cause L_*."""
L_SOURCE: Final = 0
L_QUEUE: Final = 1
L_SPACING: Final = 2
L_TURNAROUND: Final = 3
L_FAW: Final = 4
L_ROW: Final = 5
L_REFRESH: Final = 6
LOSSES: Final = 7

# ---- state of a channel: arrays --------------------------------------------------------------------------------------
B_ROW: Final = 80
"""Open row per bank, or -1."""
B_ACT: Final = B_ROW + BANK_WORDS
B_READ: Final = B_ACT + BANK_WORDS
B_WRITE: Final = B_READ + BANK_WORDS
B_PRE: Final = B_WRITE + BANK_WORDS
B_HITS: Final = B_PRE + BANK_WORDS
"""Accesses since the row was opened."""
B_READY: Final = B_HITS + BANK_WORDS
"""Lower bound on the clock of the bank's next command."""
B_OPENED: Final = B_READY + BANK_WORDS
B_OPENED_WHY: Final = B_OPENED + BANK_WORDS
B_REFRESH: Final = B_OPENED_WHY + BANK_WORDS
"""Earliest per-bank refresh."""
B_WAIT_READ: Final = B_REFRESH + BANK_WORDS
"""First read segment that waits for the bank, or -1 (and so on for writes, and the last ones)."""
B_WAIT_WRITE: Final = B_WAIT_READ + BANK_WORDS
B_WAIT_READ_END: Final = B_WAIT_WRITE + BANK_WORDS
B_WAIT_WRITE_END: Final = B_WAIT_READ_END + BANK_WORDS
B_GROUP: Final = B_WAIT_WRITE_END + BANK_WORDS
B_RANK: Final = B_GROUP + BANK_WORDS
G_ACT: Final = B_RANK + BANK_WORDS
G_COLUMN: Final = G_ACT + _GROUP_WORDS
"""Earliest read and earliest write of every group, in turn."""
R_PRE: Final = G_COLUMN + 2 * _GROUP_WORDS
R_PRE_ALL: Final = R_PRE + MAX_RANKS
R_REFRESH: Final = R_PRE_ALL + MAX_RANKS
R_REFRESHED: Final = R_REFRESH + MAX_RANKS
"""Clock at which the last refresh of the rank lets it go."""
R_FAW: Final = R_REFRESHED + MAX_RANKS
"""Clocks of the last four activations, a ring per rank."""
R_FAW_AT: Final = R_FAW + 4 * MAX_RANKS
R_BANK_REFRESH: Final = R_FAW_AT + MAX_RANKS
BUS_FREE: Final = R_BANK_REFRESH + MAX_RANKS
BUS_LAST_WRITE: Final = BUS_FREE + MAX_RANKS
BUS_LAST_RANK: Final = BUS_LAST_WRITE + MAX_RANKS
SEGMENT: Final = BUS_LAST_RANK + MAX_RANKS
S_BANK: Final = 0
S_ROW: Final = 1
S_WRITE: Final = 2
S_KEY: Final = 3
"""Number of the first transaction inside the channel, for address comparisons."""
S_STEP: Final = 4
S_REQUEST: Final = 5
S_TOTAL: Final = 6
S_ACCEPTED: Final = 7
S_ISSUED: Final = 8
S_WAITING: Final = 9
S_FIRST_ACCEPT: Final = 10
S_LAST_ACCEPT: Final = 11
S_LAST_RETURN: Final = 12
S_NEXT: Final = 13
S_AGE: Final = 14
S_FOLLOWERS: Final = 15
S_TOUCHED: Final = 16
"""1 once a command was issued for the segment's next transaction (row-hit statistics)."""
S_WINDOW: Final = 17
S_PROMOTED: Final = 18
"""1 while the segment's next transaction has left the queues for the row it has opened, but is not served yet."""
SEGMENT_WORDS: Final = 19
FREE_LIST: Final = SEGMENT + SEGMENT_WORDS * SEGMENTS
PENDING: Final = FREE_LIST + SEGMENTS
"""Counting filter of the transactions in the queues, by address."""
RETURNS: Final = PENDING + FILTER
"""Return clocks of the last WINDOW transactions, for the limit on transactions in flight."""
SCRATCH: Final = RETURNS + WINDOW
"""Workspace for one input record and seven coordinates."""
OWN: Final = SCRATCH + 16
"""First of the words of the channel's controller; how many they are is its own matter."""
MOST_WORDS: Final = 1 << OWN.bit_length()
OFFSET: Final = MOST_WORDS - 1
"""Mask that leaves every offset in a state row as it is; see `simulator.servers.dram.timing` on indices."""

# ---- input record: a run of transactions in one row -----------------------------------------------------------------
I_BANK: Final = 0
I_ROW: Final = 1
I_KEY: Final = 2
I_STEP: Final = 3
I_COUNT: Final = 4
I_WRITE: Final = 5
I_ARRIVAL: Final = 6
I_REQUEST: Final = 7
INPUT_WORDS: Final = 8

# ---- output record: one request -------------------------------------------------------------------------------------
O_ACCEPT: Final = 0
"""Clock at which its first transaction was accepted."""
O_DONE: Final = 1
"""Clock at which its last data was returned (posted, for a write)."""
O_LEFT: Final = 2
"""Transactions that are not done yet."""
O_LAST_ACCEPT: Final = 3
OUTPUT_WORDS: Final = 4

# ---- cursor: where a list of requests stands when its run is interrupted ---------------------------------------------
AT_REQUEST: Final = 0
AT_INDEX: Final = 1
"""Transaction of that request that comes next."""
AT_CLOCK: Final = 2
"""Clock of the one source of all channels, and how many of its transactions were accepted then."""
AT_ACCEPTED: Final = 3
AT_OFFERED: Final = 4
"""1 while that transaction waits in the ring of its channel."""
CURSOR_WORDS: Final = 5
RUNNING: Final = -2
"""What a run of a list returns that is not over yet."""
