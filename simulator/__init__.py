"""attnflow.simulator: dataflow graphs, their exact timing semantics and two engines that agree on it.

>>> from simulator import Graph, operators, simulate
>>> graph = Graph("double")
>>> numbers = graph.add(operators.source("numbers", [[1.0, 2.0, 3.0]]))
>>> double = graph.add(operators.map_("double", lambda x: 2 * x, 3))
>>> out = graph.add(operators.sink("out", 3))
>>> _ = graph.connect(numbers, double), graph.connect(double, out)
>>> result = simulate(graph)
>>> result.cycles, result.outputs["out"].tolist()
(5, [2.0, 4.0, 6.0])
"""

from simulator import operators
from simulator.errors import AccountingError, CapacityError, GraphError, SimulatorError, ValueCheckError
from simulator.firing import Block, FiringTable, Segment, recorded, uniform
from simulator.graph import Channel, FrozenGraph, Graph, Unit
from simulator.result import Deadlock, Result
from simulator.servers.contract import Server
from simulator.servers.dram.server import DramServer
from simulator.servers.memory_server import MemoryServer
from simulator.simulate import ENGINES, simulate
from simulator.tokens import TokenBlock, UnitStep

__all__ = [
    "ENGINES",
    "AccountingError",
    "Block",
    "CapacityError",
    "Channel",
    "Deadlock",
    "DramServer",
    "FiringTable",
    "FrozenGraph",
    "Graph",
    "GraphError",
    "MemoryServer",
    "Result",
    "Segment",
    "Server",
    "SimulatorError",
    "TokenBlock",
    "Unit",
    "UnitStep",
    "ValueCheckError",
    "operators",
    "recorded",
    "simulate",
    "uniform",
]


def __dir__() -> list[str]:
    return sorted(__all__)
