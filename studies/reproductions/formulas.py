"""Arithmetic over figures, as claims write it: ``full.seconds / duo.seconds``, ``1 - kept.kv.near_bytes / everything``.

A name stands for a number of the setting or, with dots, for a figure of a run. Numbers, the four operations, powers,
brackets, comparisons (1 where they hold, else 0), ``min``, ``max``, ``ceil`` and ``floor`` are all there is.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from hwmodels.reading.errors import InputError, Problem, did_you_mean

_OPERATIONS: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Pow: lambda a, b: a**b,
}
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
}
_FUNCTIONS: Mapping[str, Callable[..., float]] = {"min": min, "max": max, "ceil": math.ceil, "floor": math.floor}
LONGEST = 600


@dataclass(frozen=True)
class Formula:
    """A formula that was read.

    Parameters
    ----------
    text
        As written.
    tree
        Its syntax.
    """

    text: str
    tree: ast.expr

    @property
    def names(self) -> tuple[str, ...]:
        """Names it refers to, each once, in the order of the text."""
        return tuple(dict.fromkeys(_names(self.tree)))

    def value(self, figures: Mapping[str, float]) -> float:
        """Its value.

        Raises
        ------
        InputError
            A name without a figure, or a division by zero.
        """
        try:
            return _value(self.tree, figures)
        except KeyError as missing:
            name = str(missing.args[0])
            raise InputError(Problem(f"there is no figure {name!r}", hint=did_you_mean(name, figures))) from None
        except ArithmeticError as error:
            raise InputError(Problem(f"{self.text}: {error}")) from None


def read_formula(text: str) -> Formula:
    """The formula of a text.

    Raises
    ------
    InputError
        For what is no formula.
    """
    if len(text) > LONGEST:
        raise InputError(Problem(f"a formula has at most {LONGEST} characters (got {len(text)})"))
    try:
        tree = ast.parse(" ".join(text.split()), mode="eval").body
    except (SyntaxError, ValueError, RecursionError):
        raise InputError(Problem(f"is no formula (got {text[:60]!r})")) from None
    for _ in _names(tree):
        pass
    return Formula(text, tree)


def _names(node: ast.expr) -> Iterator[str]:
    match node:
        case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
            return
        case ast.Name() | ast.Attribute():
            yield _dotted(node)
        case ast.BinOp(left=left, op=operation, right=right) if type(operation) in _OPERATIONS:
            yield from _names(left)
            yield from _names(right)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            yield from _names(operand)
        case ast.Compare(left=left, ops=[comparison], comparators=[right]) if type(comparison) in _COMPARISONS:
            yield from _names(left)
            yield from _names(right)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS and arguments:
            for each in arguments:
                yield from _names(each)
        case _:
            raise InputError(Problem(f"a formula cannot hold {ast.unparse(node)[:60]!r}"))


def _dotted(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=inner, attr=attribute):
            return f"{_dotted(inner)}.{attribute}"
        case _:
            raise InputError(Problem(f"a formula cannot hold {ast.unparse(node)[:60]!r}"))


def _value(node: ast.expr, figures: Mapping[str, float]) -> float:
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.BinOp(left=left, op=operation, right=right):
            return _OPERATIONS[type(operation)](_value(left, figures), _value(right, figures))
        case ast.UnaryOp(operand=operand):
            return -_value(operand, figures)
        case ast.Compare(left=left, ops=[comparison], comparators=[right]):
            return float(_COMPARISONS[type(comparison)](_value(left, figures), _value(right, figures)))
        case ast.Call(func=ast.Name(id=name), args=arguments):
            return float(_FUNCTIONS[name](*(_value(each, figures) for each in arguments)))
        case _:
            return figures[_dotted(node)]
