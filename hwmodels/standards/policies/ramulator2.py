"""Ramulator 2.1's queue policy: one pool per direction, and writes are served down to the lower mark."""

from __future__ import annotations

from hwmodels.standards.policies.policy import QueuePolicy, register_queue_policy

register_queue_policy(QueuePolicy("ramulator2", command_ticks=1, drains_to_low=True))
