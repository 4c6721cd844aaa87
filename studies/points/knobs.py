"""Knobs: everything about a design point that a name and a value can set, in a study or on a command line.

They are the parameters of an algorithm (fields of its parameter class), the fields of the workload, and how a graph is
run or a chip is used. A knob reads a value as written by a person and says in one line what is wrong with it.
"""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

from pydantic import Field, ValidationError

from algorithms.chip.timing.fidelity import MemoryFidelity
from algorithms.registry import AnyAlgorithm
from algorithms.workload.shape import DTYPE_BYTES, LARGEST_COUNT, Mask, Phase, Workload
from hwmodels.reading.complaints import complaint_about
from hwmodels.reading.documents import read_text
from hwmodels.reading.errors import InputError, Problem, did_you_mean
from hwmodels.reading.made import made
from hwmodels.reading.quantity import UNIT_NAMES, parse_quantity
from studies.points.point import Engine, Mapped, Scalar, adapter_of

AUTO = "auto"
"""What people write, and read, where 0 leaves a value to the algorithm."""
_DECIDED = re.compile(r"\b0: (?!none|addresses|see |every |all )")


@dataclass(frozen=True)
class Knob:
    """One thing that can be set.

    Parameters
    ----------
    name
        As a person writes it.
    kind
        Python type of the value, for `pydantic.TypeAdapter`.
    default
        Value when nobody sets it; None may also mean that there is none.
    unit
        Unit of the value; text such as ``"1 GHz"`` is read when it is one of `hwmodels.reading.quantity`.
    help
        One line for people.
    content
        Whether a value that is a path stands for the content of the file: two files with the same content are then
        one design. Parameters ask for it with ``metadata={"content": True}``.
    """

    name: str
    kind: object
    default: Scalar = None
    unit: str | None = None
    help: str = ""
    content: bool = False

    @property
    def automatic(self) -> bool:
        """Whether 0 leaves the value to the algorithm, as its help says; people may write ``auto`` for it."""
        return self.default == 0 and not isinstance(self.default, bool) and bool(_DECIDED.search(self.help))

    def read(self, value: object) -> Scalar:
        """`value` with the type of the knob; ``auto`` where that is 0.

        Raises
        ------
        InputError
            One problem, its field the name of the knob.
        """
        if value == AUTO and self.automatic:
            value = 0
        try:
            if self.unit is not None and self.unit in UNIT_NAMES and isinstance(value, str):
                value = parse_quantity(value, self.unit)
            if isinstance(value, bool) and self.kind is not bool:
                raise ValueError(f"must be {self._expected} (got {str(value).lower()})")
            result: Scalar = adapter_of(self.kind).validate_python(value)
        except ValidationError as error:
            message, hint = complaint_about(error, value)
            raise InputError(Problem(message, field=self.name, hint=hint)) from None
        except ValueError as error:
            raise InputError(Problem(str(error), field=self.name)) from None
        return result

    @property
    def type_text(self) -> str:
        """The type as a person would write it: ``int``, ``row | scalar``."""
        kind = typing.get_args(self.kind)[0] if typing.get_origin(self.kind) is Annotated else self.kind
        if isinstance(kind, type):
            return kind.__name__
        choices = [getattr(choice, "__name__", str(choice)) for choice in typing.get_args(kind)]
        return " | ".join(choices).replace("NoneType", "null")

    @property
    def _expected(self) -> str:
        """The type in a sentence."""
        return {"int": "a whole number", "float": "a number", "str": "a text"}.get(self.type_text, self.type_text)


@lru_cache
def parameter_knobs(algorithm: AnyAlgorithm) -> dict[str, Knob]:
    """The parameters of `algorithm`, by name, in the order of their declaration."""
    kinds = typing.get_type_hints(algorithm.parameters)
    return {
        field.name: Knob(
            name=field.name,
            kind=kinds[field.name],
            default=None if field.default is dataclasses.MISSING else field.default,
            unit=field.metadata.get("unit"),
            help=field.metadata.get("help", ""),
            content=field.metadata.get("content", False),
        )
        for field in dataclasses.fields(algorithm.parameters)
    }


SEQUENCE_LENGTH = "seq_len"
"""Sets `kv_len`, and `q_len` with it unless the workload decodes."""


def _workload_knobs() -> dict[str, Knob]:
    count = Annotated[int, Field(ge=1, le=LARGEST_COUNT)]
    knobs = [
        Knob("phase", Phase),
        Knob("batch", count, help="number of sequences"),
        Knob("heads", count, help="number of query heads"),
        Knob("kv_heads", count, help="number of KV heads that the query heads share"),
        Knob("q_len", count, unit="token", help="new tokens per sequence"),
        Knob("kv_len", count, unit="token", help="tokens attended per sequence"),
        Knob(SEQUENCE_LENGTH, count, unit="token", help="kv_len, and q_len with it unless the workload decodes"),
        Knob("head_dim", count, unit="element", help="width of a query and of a key head"),
        Knob("v_head_dim", count, unit="element", help="width of a value head"),
        Knob("mask", Mask),
        Knob("dtype", typing.Literal[tuple(DTYPE_BYTES)], help="storage format of q, k, v and the output"),
        Knob("seed", Annotated[int, Field(ge=0)], help="seed of the drawn tensors"),
    ]
    return {knob.name: knob for knob in knobs}


WORKLOAD_KNOBS = _workload_knobs()


RUN_KNOBS = {
    "engine": Knob("engine", Engine, "compiled", help="what simulates: compiled, or simpy (slow, written to be read)"),
    "clock": Knob("clock", Annotated[float, Field(gt=0)], 1e9, "Hz", "clock that turns cycles into seconds"),
}
"""How a graph is run, whatever it is."""

CHIP_KNOBS = {
    "mapping": Knob(
        "mapping",
        Mapped,
        "symmetric",
        help="which cores are simulated: a few that stand for all (symmetric), or all (exact)",
    ),
    "memory": Knob(
        "memory",
        MemoryFidelity,
        "peak",
        help="what the main memory sustains: its peak, closed forms (analytic), or its banks (cycle)",
    ),
}
"""How work is put on a chip."""

USE_KNOBS = RUN_KNOBS | CHIP_KNOBS
"""How a design is run, whatever it is; each applies to algorithms that take an input of its name."""


def change_workload(workload: Workload, changes: Mapping[str, Scalar]) -> Workload:
    """`workload` with knobs set; explicit lengths win over `seq_len`, and heads drag equal KV heads along.

    Raises
    ------
    InputError
        Values that are out of range or do not fit together.
    """
    resolved = dict(changes)
    length = resolved.pop(SEQUENCE_LENGTH, None)
    if length is not None:
        resolved.setdefault("kv_len", length)
        if workload.phase != "decode":
            resolved.setdefault("q_len", length)
    if "heads" in resolved and "kv_heads" not in resolved and workload.kv_heads == workload.heads:
        resolved["kv_heads"] = resolved["heads"]
    return workload.with_(**resolved)


def read_knob(knobs: Mapping[str, Knob], name: str, value: object, owner: str) -> Scalar:
    """`value` as the knob `name` of `owner` (for the message) takes it.

    Raises
    ------
    InputError
        An unknown name, with the nearest one, or a bad value; one problem whose field is `name`.
    """
    if name not in knobs:
        raise InputError(Problem(f"unknown {owner}", field=name, hint=did_you_mean(name, knobs)))
    return knobs[name].read(value)


def complete_parameters(algorithm: AnyAlgorithm, values: Mapping[str, Scalar]) -> tuple[tuple[str, Scalar], ...]:
    """All parameters of `algorithm`, `values` (as `read_knob` gave them) over the defaults, sorted by name.

    Raises
    ------
    InputError
        What the parameter class refuses, with the parameter it names as the field.
    """
    try:
        parameters = made(algorithm.parameters, values)
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        named = [name for name in parameter_knobs(algorithm) if re.search(rf"\b{name}\b", str(error))]
        raise InputError(Problem(str(error), field=named[0] if named else None)) from None
    return tuple(sorted((name, getattr(parameters, name)) for name in parameter_knobs(algorithm)))


def scalar_of(text: str) -> Scalar:
    """`text` as YAML 1.2 reads it (``4`` a number, ``null`` nothing, ``row`` a text).

    >>> scalar_of("4"), scalar_of("1e3"), scalar_of("row"), scalar_of("null")
    (4, 1000.0, 'row', None)
    """
    try:
        value = read_text(text, "value").data
    except InputError:
        return text
    return text if isinstance(value, list | dict) else value
