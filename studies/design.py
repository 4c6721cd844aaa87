"""One design in Python, described in the words of the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

from hwmodels.reading.errors import InputError
from studies.cli.options import DesignOptions, design_point
from studies.families.evaluate import evaluate
from studies.families.family import Evaluation
from studies.points.point import DesignPoint, Scalar

_options: Callable[..., DesignOptions] = DesignOptions  # a bad value is complained about where it is read
_OPTIONS = {option.name for option in fields(DesignOptions)} - {"set_"}


def design(algorithm: str, /, **given: Scalar) -> DesignPoint:
    """The design that `run` simulates, as a value: it has a key, and several of them are a study (`Study.of`).

    Parameters
    ----------
    algorithm
        Its name.
    given
        Options of ``attnflow run`` without their dashes (``chip="h100"``, ``seq_len=8192``, ``timing_only=True``), and
        what ``--set`` takes: any parameter, any knob of the workload, and fields of the chip as
        ``**{"chip.hbm.bytes_per_second": "4.8 TB/s"}``.

    Raises
    ------
    InputError
        With everything that is wrong.
    """
    options: dict[str, object] = {name: value for name, value in given.items() if name in _OPTIONS}
    settings = [f"{name}={_written(value)}" for name, value in given.items() if name not in _OPTIONS]
    try:
        return design_point(algorithm, _options(**options, set_=settings))
    except InputError as error:
        raise InputError([replace(problem, field=_argument(problem.field)) for problem in error.problems]) from None


def run(algorithm: str, /, **given: Scalar) -> Evaluation:
    """Simulate one design, as ``attnflow run`` does; arguments as of `design`.

    Raises
    ------
    InputError, simulator.errors.SimulatorError
        With everything that is wrong with the arguments, or that the design cannot be simulated. A deadlock is a
        result, not an error.
    """
    return evaluate(design(algorithm, **given))


def _written(value: Scalar) -> str:
    """A value as a person writes it in a study file or behind ``--set``."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _argument(field: str | None) -> str | None:
    """The argument that an option of the command line stands for.

    >>> _argument("--seq-len"), _argument("--set long_depth"), _argument("ALGORITHM")
    ('seq_len', 'long_depth', 'algorithm')
    """
    if field is None:
        return None
    if field.startswith("--set "):
        return field.removeprefix("--set ")
    return field.removeprefix("--").replace("-", "_").lower()
