"""DRAMsim3's queue policy: a transaction moves to its bank's queue first, and full write buffers are emptied."""

from __future__ import annotations

from hwmodels.standards.policies.policy import QueuePolicy, register_queue_policy

register_queue_policy(QueuePolicy("dramsim3", command_ticks=2, has_bank_queues=True))
