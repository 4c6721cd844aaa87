"""Float64 definitions that graphs are held against, by the name that each algorithm gives (`Algorithm.oracle`)::

    @oracle("linear", StateStreamParameters)
    def linear(workload, parameters, tensors): ...

An oracle answers for all queries, in the order in which the sink of a graph sees them. Modules that an entry point of
the group ``attnflow.oracles`` names bring further ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, TypeVar

import numpy as np

from algorithms.register import Register
from algorithms.registry import Parameters, Tensors, get_algorithm
from algorithms.state.streams import DeltaStreamParameters, LegendreStreamParameters, StateStreamParameters
from algorithms.workload.shape import FloatArray, Workload
from hwmodels.reading.made import made
from reference.truth.states import delta_rule, legendre_window, linear_attention
from studies.families.deviation import oracle_on, tensors_of
from studies.families.family import of_kind
from studies.families.value_pass import value_parameters
from studies.points.point import DesignPoint, Scalar, TensorFile

ENTRY_POINT_GROUP = "attnflow.oracles"

P_contra = TypeVar("P_contra", contravariant=True)


class Definition(Protocol[P_contra]):
    """What a graph should compute, in float64 and by other code."""

    def __call__(self, workload: Workload, parameters: P_contra, tensors: Tensors) -> FloatArray: ...


@dataclass(frozen=True)
class Oracle:
    """A definition as it is registered.

    Parameters
    ----------
    answers
        Expected output of a workload, parameters and tensors.
    parametrised
        Whether parameters of the algorithm decide it.
    source
        Module that registered it.
    """

    answers: Definition[object]
    parametrised: bool
    source: str


ORACLES: Register[Oracle] = Register("float64 oracle", "studies.families.graph", ENTRY_POINT_GROUP, field="oracle")
"""Oracles by name."""


Q = TypeVar("Q", bound=Parameters)


def oracle(name: str, kind: type[Q]) -> Callable[[Definition[Q]], Definition[Q]]:
    """Register a definition for parameters of a kind; raises InputError, naming both modules, if the name is taken."""

    def register(definition: Definition[Q]) -> Definition[Q]:
        def answers(workload: Workload, parameters: object, tensors: Tensors) -> FloatArray:
            return definition(workload, of_kind(kind, parameters), tensors)

        ORACLES.add(name, Oracle(answers, True, getattr(definition, "__module__", "?")))
        return definition

    return register


def expected_of(point: DesignPoint) -> FloatArray:
    """What the sink of the graph of `point` should see; neighbours in a grid share it.

    Raises
    ------
    InputError
        No oracle of the name that the algorithm gives.
    """
    algorithm = get_algorithm(point.algorithm)
    decided = value_parameters(point) if ORACLES.get(algorithm.oracle).parametrised else ()
    return _expected(algorithm.oracle, algorithm.parameters, decided, point.attending, point.tensors)


@lru_cache(maxsize=2)
def _expected(
    name: str,
    kind: type[Parameters],
    decided: tuple[tuple[str, Scalar], ...],
    workload: Workload,
    file: TensorFile | None,
) -> FloatArray:
    return ORACLES.get(name).answers(workload, made(kind, dict(decided)), tensors_of(workload, file))


def _attention(workload: Workload, parameters: object, tensors: Tensors) -> FloatArray:
    """Exact attention, whatever the parameters."""
    del parameters
    return oracle_on(workload, tensors)


ORACLES.add("attention", Oracle(_attention, False, __name__))


def _by_token(workload: Workload, tensors: Tensors, head: Callable[..., FloatArray]) -> FloatArray:
    """`head(q, k, v)` of every query head, `(batch * kv_heads, tokens, group, v_head_dim)`: heads travel in tokens."""
    q, k, v = tensors
    out = np.empty((workload.batch, workload.kv_heads, workload.q_len, workload.group_size, workload.v_head_dim))
    for batch, kv_head, member in np.ndindex(workload.batch, workload.kv_heads, workload.group_size):
        query = kv_head * workload.group_size + member
        out[batch, kv_head, :, member] = head(q[batch, query], k[batch, kv_head], v[batch, kv_head])
    return out.reshape(-1, *out.shape[2:])


@oracle("linear", StateStreamParameters)
def _linear(workload: Workload, parameters: StateStreamParameters, tensors: Tensors) -> FloatArray:
    """All pairs of queries and keys up to them."""
    del parameters
    return _by_token(workload, tensors, linear_attention)


@oracle("delta", DeltaStreamParameters)
def _delta(workload: Workload, parameters: DeltaStreamParameters, tensors: Tensors) -> FloatArray:
    """Dense transitions, token by token, with keys of length one."""

    def head(q: FloatArray, k: FloatArray, v: FloatArray) -> FloatArray:
        strength = np.full(len(q), parameters.strength)
        return delta_rule(q, k / np.linalg.norm(k, axis=1, keepdims=True), v, strength, np.ones(len(q)))

    return _by_token(workload, tensors, head)


@oracle("legendre", LegendreStreamParameters)
def _legendre(workload: Workload, parameters: LegendreStreamParameters, tensors: Tensors) -> FloatArray:
    """Every value column as a signal, whose coefficients the queries weigh."""

    def head(q: FloatArray, k: FloatArray, v: FloatArray) -> FloatArray:
        del k
        columns = [legendre_window(column, q.shape[1], parameters.window) for column in v.T]
        return np.stack([(q * column).sum(axis=1) for column in columns], axis=1)

    return _by_token(workload, tensors, head)
