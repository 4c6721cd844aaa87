"""The controller with one command queue per bank (DRAMsim3's), by its name."""

from __future__ import annotations

from simulator.servers.dram.bank_queues.layout import MOST_BANKS, OWN_WORDS
from simulator.servers.dram.bank_queues.policy import advance, reset
from simulator.servers.dram.bank_queues.rules import rules
from simulator.servers.dram.controllers import CONTROLLERS, QueuePolicy

CONTROLLERS.add(QueuePolicy("dramsim3", advance, reset, rules, OWN_WORDS, MOST_BANKS))
