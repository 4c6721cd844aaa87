"""Addresses to coordinates and back, and the expansion of run-length requests into segments.

An address, in transactions, is a mixed-radix number whose digits belong to the fields of the mapping, least
significant first. A coordinate may be spread over several digits, and may be XORed with column bits.
"""

from __future__ import annotations

import numpy as np

from simulator.firing import IntArray
from simulator.servers.dram.layout import (
    F_KIND,
    F_LOG,
    F_SCALE,
    F_SIZE,
    F_XOR_SHIFT,
    FIELD_WORDS,
    FILTER,
    I_ARRIVAL,
    I_BANK,
    I_COUNT,
    I_KEY,
    I_REQUEST,
    I_ROW,
    I_STEP,
    I_WRITE,
    INPUT_WORDS,
    K_BANK,
    K_CHANNEL,
    K_COLUMN,
    K_GROUP,
    K_RANK,
    K_ROW,
    K_SID,
    KEY_BITS,
    P_BANKS,
    P_FIELD,
    P_FIELDS,
    P_ORGANISATION,
    P_TRANSACTION_BYTES,
)
from simulator.servers.kernel import Words, inlined, kernel


@kernel
def decode(p: Words, transaction: int, coordinates: Words) -> None:
    """Write the seven coordinates of a transaction number into ``coordinates``, shape ``(7,)``."""
    for kind in range(K_COLUMN + 1):
        coordinates[kind] = 0
    rest = transaction
    for field in range(p[P_FIELDS]):
        at = P_FIELD + FIELD_WORDS * field
        log = p[at + F_LOG]
        if log >= 0:
            value = rest & ((1 << log) - 1)
            rest >>= log
        else:
            value = rest % p[at + F_SIZE]
            rest //= p[at + F_SIZE]
        coordinates[p[at + F_KIND]] += value * p[at + F_SCALE]
    _scramble(p, coordinates)


@kernel
def encode(p: Words, coordinates: Words) -> int:
    """Transaction number with the given coordinates; undoes `decode`. ``coordinates`` is left as it was."""
    _scramble(p, coordinates)
    transaction, scale = 0, 1
    for field in range(p[P_FIELDS]):
        at = P_FIELD + FIELD_WORDS * field
        value = coordinates[p[at + F_KIND]] // p[at + F_SCALE] % p[at + F_SIZE]
        transaction += value * scale
        scale *= p[at + F_SIZE]
    _scramble(p, coordinates)
    return transaction


@kernel
def _scramble(p: Words, coordinates: Words) -> None:
    """XOR the marked coordinates with column bits; doing it twice changes nothing."""
    for field in range(p[P_FIELDS]):
        at = P_FIELD + FIELD_WORDS * field
        shift = p[at + F_XOR_SHIFT]
        if shift >= 0:
            kind = p[at + F_KIND]
            coordinates[kind] ^= (coordinates[K_COLUMN] >> shift) & (p[P_ORGANISATION + kind] - 1)


@kernel
def bank_of(p: Words, coordinates: Words) -> int:
    """Number of the bank inside its channel."""
    sid = coordinates[K_RANK] * p[P_ORGANISATION + K_SID] + coordinates[K_SID]
    group = sid * p[P_ORGANISATION + K_GROUP] + coordinates[K_GROUP]
    return group * p[P_ORGANISATION + K_BANK] + coordinates[K_BANK]


def channels_of(parameters: IntArray, transactions: IntArray) -> IntArray:
    """Channel of every transaction number, shape ``(n,)``."""
    channels = np.empty(transactions.shape[0], dtype=np.int64)
    _fill_channels(
        parameters, np.ascontiguousarray(transactions, dtype=np.int64), channels, np.empty(7, dtype=np.int64)
    )
    return channels


@kernel
def _fill_channels(p: Words, transactions: Words, channels: Words, coordinates: Words) -> None:
    for index in range(transactions.shape[0]):
        decode(p, transactions[index], coordinates)
        channels[index] = coordinates[K_CHANNEL]


@kernel
def row_run(p: Words) -> int:
    """Transactions that are sure to lie in one row, in consecutive columns, from a multiple of this number on."""
    if p[P_FIELD + F_KIND] != K_COLUMN:
        return 1
    for field in range(p[P_FIELDS]):
        if p[P_FIELD + FIELD_WORDS * field + F_XOR_SHIFT] >= 0:
            return 1
    return p[P_FIELD + F_SIZE]


@kernel
def transactions_of(p: Words, address: int, size: int, stride: int) -> tuple[int, int]:
    """Number of transactions of a request and the number of the first one.

    Without a stride the request covers the bytes ``[address, address + size)``. With one, each of its
    ``ceil(size / transaction_bytes)`` transactions lies ``stride`` bytes behind the one before.
    """
    unit = p[P_TRANSACTION_BYTES]
    first = address // unit
    if stride == 0:
        return (address + size - 1) // unit - first + 1, first
    return (size + unit - 1) // unit, first


@kernel
def next_segment(
    p: Words, address: int, stride: int, first: int, index: int, count: int, run: int, record: Words
) -> tuple[int, int]:
    """Longest run of transactions from number ``index`` of a request on that lies in one row.

    Parameters
    ----------
    first, count : int
        First transaction number of the request and how many it has.
    run : int
        `row_run` of the mapping.
    record : int array, shape ``(at least INPUT_WORDS + 7,)``
        Receives bank, row, key, step and count of an input record; its tail is scratch.

    Returns
    -------
    tuple of int
        Channel, and the index behind the run.
    """
    unit = p[P_TRANSACTION_BYTES]
    coordinates = record[INPUT_WORDS:]
    number = first + index if stride == 0 else (address + index * stride) // unit
    decode(p, number, coordinates)
    channel, row = coordinates[K_CHANNEL], coordinates[K_ROW]
    bank, column = bank_of(p, coordinates), coordinates[K_COLUMN]
    length, step = 1, 1
    if stride == 0 or stride == unit:
        length = min(count - index, run - number % run)
    else:
        while index + length < count:
            decode(p, (address + (index + length) * stride) // unit, coordinates)
            same = coordinates[K_CHANNEL] == channel and coordinates[K_ROW] == row
            if not same or bank_of(p, coordinates) != bank:
                break
            distance = coordinates[K_COLUMN] - column
            if length == 1:
                step = distance
            elif distance != step * length:
                break
            length += 1
    record[I_BANK] = bank
    record[I_ROW] = row
    record[I_KEY] = _key(p, bank, row, column)
    record[I_STEP] = step
    record[I_COUNT] = length
    return channel, index + length


@inlined
def _key(p: Words, bank: int, row: int, column: int) -> int:
    """Number of a transaction inside its channel; its low bits are its cell in the filter of pending transactions.

    Neighbouring columns have neighbouring numbers. Rows that are likely to be in the queues together (the same row of
    the next bank, the same bank of a stream that starts far away) use different cells.
    """
    far = ((row >> 6) * 0x9E3779B9) >> 16
    first_cell = (row * p[P_BANKS] + bank + far) * p[P_ORGANISATION + K_COLUMN] & (FILTER - 1)
    return ((bank * p[P_ORGANISATION + K_ROW] + row) << KEY_BITS) + first_cell + column


@kernel
def write_record(inp: Words, at: int, record: Words, is_write: int, arrival: int, request: int) -> None:
    """Copy a segment into slot ``at`` of an input ring."""
    base = at * INPUT_WORDS
    for word in range(I_COUNT + 1):
        inp[base + word] = record[word]
    inp[base + I_WRITE] = is_write
    inp[base + I_ARRIVAL] = arrival
    inp[base + I_REQUEST] = request
