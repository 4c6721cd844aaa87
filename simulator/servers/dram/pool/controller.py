"""The controller with one pool of requests per direction (Ramulator 2.1's), by its name."""

from __future__ import annotations

from simulator.servers.dram.controllers import CONTROLLERS, QueuePolicy
from simulator.servers.dram.pool.layout import OWN_WORDS
from simulator.servers.dram.pool.policy import advance, reset
from simulator.servers.dram.pool.rules import rules

CONTROLLERS.add(QueuePolicy("ramulator2", advance, reset, rules, OWN_WORDS, least_drain_low=1))
