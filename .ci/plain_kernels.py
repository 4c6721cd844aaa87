"""Kernels as plain Python: the same lines, without compiling, so that a changed line costs nothing to try.

Importing this module before ``simulator`` replaces Numba's decorators. A kernel that is called from outside gets views
of its arrays that are quick to index from Python: vectors as memory views, records as objects whose numbers are written
back when the call ends. Kernels call each other, and by address, directly. Two spellings that memory views do not know
(setting a whole slice to a number, rows of a vector) are rewritten.

Numbers are those of Python and do not wrap at 64 bits, except the fingerprints, which are meant to; a number that does
not fit is an error when it is stored.
"""

from __future__ import annotations

import ast
import functools
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numba
import numba.extending
import numpy as np

KERNELS: dict[Callable[..., Any], Callable[..., Any]] = {}
"""Functions that were to be compiled, by what stands in their place."""
_PLAIN: dict[Callable[..., Any], types.FunctionType] = {}
_GLOBALS: dict[str, dict[str, Any]] = {}
_AT: list[Callable[..., Any]] = []
_TESTS = Path(__file__).resolve().parents[1] / "tests"
"""Kernels of tests call those of the simulator."""
FIRST_ADDRESS = 1 << 20
"""No kernel has a smaller address: 0 stands for a function that is compiled in."""


class Record:
    """Fields of one record of an array, as numbers of Python."""


class RecordList(list[Record]):
    """An array of records; setting one copies its fields."""

    @property
    def shape(self) -> tuple[int]:
        """As that of an array."""
        return (len(self),)

    def __setitem__(self, index: Any, record: Any) -> None:
        self[index].__dict__.update(record.__dict__)


class Rows:
    """A matrix: its rows are memory views."""

    def __init__(self, array: Any) -> None:
        self.rows = [memoryview(row) for row in array]
        self.shape = array.shape

    def __getitem__(self, index: Any) -> Any:
        return self.rows[index[0]][index[1]] if isinstance(index, tuple) else self.rows[index]

    def __setitem__(self, index: Any, value: int) -> None:
        self.rows[index[0]][index[1]] = value


def fill(vector: Any, value: int) -> None:
    """Set all of a vector."""
    for i in range(len(vector)):
        vector[i] = value


def rows(vector: Any, shape: tuple[int, int]) -> Rows:
    """A vector as a matrix."""
    return Rows(np.asarray(vector).reshape(shape))


class _Spellings(ast.NodeTransformer):
    """What memory views cannot do, as calls of functions that can."""

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        """``vector[:] = 0``."""
        self.generic_visit(node)
        target = node.targets[0]
        if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Slice):
            part = ast.Subscript(target.value, target.slice, ast.Load())
            call = ast.Call(ast.Name("fill", ast.Load()), [part, node.value], [])
            return ast.fix_missing_locations(ast.copy_location(ast.Expr(call), node))
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """``vector[a:b].reshape((c, d))``."""
        self.generic_visit(node)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "reshape":
            call = ast.Call(ast.Name("rows", ast.Load()), [node.func.value, *node.args], [])
            return ast.fix_missing_locations(ast.copy_location(call, node))
        return node


def code_by_name(path: str, source: str, *, plain: bool) -> dict[str, types.CodeType]:
    """Code of all functions of a module by their qualified names; ``plain``: as kernels are run here."""
    tree = ast.parse(source)
    if plain:
        tree = ast.fix_missing_locations(_Spellings().visit(tree))
    found: dict[str, types.CodeType] = {}
    waiting = [compile(tree, path, "exec", dont_inherit=True)]
    while waiting:
        code = waiting.pop()
        found[code.co_qualname] = code
        waiting += [each for each in code.co_consts if isinstance(each, types.CodeType)]
    return found


@functools.cache
def _plain_code(path: str) -> dict[str, types.CodeType]:
    return code_by_name(path, Path(path).read_text(encoding="utf-8"), plain=True)


def _global(value: Any) -> Any:
    """What kernels see in place of a global of their module."""
    if isinstance(value, np.ndarray):
        return memoryview(value)
    try:
        return _PLAIN.get(value, value)
    except TypeError:  # cannot be hashed, so it is no kernel
        return value


def link() -> None:
    """Let all kernels that are known by now call each other directly."""
    for outer, function in KERNELS.items():
        if outer not in _PLAIN:
            code = _plain_code(function.__code__.co_filename)[function.__qualname__]
            inner = types.FunctionType(code, _GLOBALS.setdefault(function.__module__, {}), function.__name__)
            inner.__defaults__ = function.__defaults__
            _PLAIN[outer] = inner
    for name, seen in _GLOBALS.items():
        seen.clear()
        seen.update({key: _global(value) for key, value in vars(sys.modules[name]).items()})
        seen.update(fill=fill, rows=rows)


def _inward(value: Any, memo: dict[int, tuple[Any, Any]]) -> Any:
    """An argument as kernels see it; records are noted in ``memo``, so that they can be written back."""
    if isinstance(value, np.ndarray):
        if value.dtype.names is None:
            return memoryview(value) if value.ndim == 1 else Rows(value)
        if id(value) not in memo:
            memo[id(value)] = (value, RecordList(map(functools.partial(_record, value.dtype.names), value.tolist())))
        return memo[id(value)][1]
    if isinstance(value, np.void):
        if id(value) not in memo:
            memo[id(value)] = (value, _record(value.dtype.names or (), value.tolist()))
        return memo[id(value)][1]
    if isinstance(value, tuple):
        inner = [_inward(each, memo) for each in value]
        return type(value)(*inner) if hasattr(value, "_fields") else tuple(inner)
    return value if isinstance(value, np.uint64) or not isinstance(value, np.generic) else value.item()


def _record(names: Sequence[str], values: Sequence[int]) -> Record:
    record = Record()
    record.__dict__.update(zip(names, values, strict=True))
    return record


def _outward(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_outward, value))
    return value.item() if isinstance(value, np.generic) else value


def _write_back(memo: dict[int, tuple[Any, Any]]) -> None:
    for array, records in memo.values():
        if isinstance(array, np.void):
            for name, value in records.__dict__.items():
                array[name] = value
        elif len(records):
            array[:] = [tuple(record.__dict__.values()) for record in records]


class _AnyCompiled(dict[Any, Any]):
    """Stands for what a function was compiled to, whatever the types of its arguments."""

    def __init__(self, number: int, signature: Any) -> None:
        def pointer(_: str) -> int:
            return FIRST_ADDRESS + number

        library = types.SimpleNamespace(get_pointer_to_function=pointer)
        described = types.SimpleNamespace(llvm_cfunc_wrapper_name="")
        self.one = types.SimpleNamespace(signature=signature, library=library, fndesc=described)

    def __missing__(self, _: Any) -> Any:
        return self.one


def plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel to call from outside."""

    def compile_for(signature: Any) -> None:
        outer.overloads = _AnyCompiled(len(_AT), signature)
        _AT.append(outer)

    @functools.wraps(function)
    def outer(*arguments: Any) -> Any:
        if len(_PLAIN) < len(KERNELS):
            link()
        memo: dict[int, tuple[Any, Any]] = {}
        result = _PLAIN[outer](*[_inward(each, memo) for each in arguments])
        _write_back(memo)
        return _outward(result)

    outer.py_func, outer.signatures, outer.compile = outer, ["all"], compile_for  # type: ignore[attr-defined]
    KERNELS[outer] = function
    return outer


def inner_function(outer: Callable[..., Any]) -> types.FunctionType | None:
    """What runs when a kernel is called."""
    return _PLAIN.get(outer)


def _njit(*functions: Callable[..., Any], **options: Any) -> Any:
    def decorate(function: Callable[..., Any]) -> Any:
        ours = function.__module__.startswith("simulator.") or _TESTS in Path(function.__code__.co_filename).parents
        return plain(function) if ours else _compiling(**options)(function)

    return decorate(*functions) if functions else decorate


def _intrinsic(_: Callable[..., Any]) -> Callable[..., Any]:
    def call(address: int, *arguments: Any) -> Any:
        return _PLAIN[_AT[address - FIRST_ADDRESS]](*arguments)

    return call


_compiling = numba.njit
np.seterr(over="ignore")  # fingerprints wrap
numba.njit, numba.extending.intrinsic = _njit, _intrinsic
