"""Compilation of kernels.

A kernel neither allocates nor keeps arrays: it works on vectors that its caller owns. Reference counting is therefore
switched off for it. Measured on a stream of HBM2 reads: with counting a transaction costs 1.3 us, without 0.26 us, and
0.13 us once the small functions of the hot path are inlined, since handing over an array takes seven words.

- ``kernel`` compiles a function that is called as such: rare events, and the entry points.
- ``inlined`` compiles a small function of the hot path into its callers.
- ``called_through`` makes calls by address, for callers that are compiled without knowing whom they call: what serves
  the requests to a memory is open to additions. Such a call costs some 8 ns more than one that is compiled in.

Numba's on-disk cache notices a change only in the file of the function that it caches, not in the functions that were
compiled into it. Kernels are therefore cached in a folder named after all sources that can be compiled into them.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, ParamSpec, Protocol, TypeVar, cast, overload

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from simulator.firing import IntArray

KEPT_CACHES = 4
SOURCES = {
    "engines.compiled.tiers": ("engines/compiled/*.py", "servers/*.py", "servers/dram/*.py"),
    "engines": ("engines/**/*.py", *(f"servers/{name}.py" for name in ("contract", "kernel", "memory_server"))),
    "servers": ("servers/**/*.py",),
}
"""Sources that can be compiled into the kernels of modules whose names begin so, as patterns below ``simulator``.

Mechanisms and DRAM controllers are not compiled into engines, which call them by address.
"""
_OUTSIDE = "servers"
"""Package whose sources can be compiled into the kernels of other packages."""


def _sources_digest(package: str) -> str:
    """Digest of the sources behind the kernels of ``simulator.PACKAGE``."""
    folder = Path(__file__).parent.parent
    sources = [path for pattern in SOURCES[package] for path in sorted(folder.glob(pattern))]
    sha = hashlib.sha256(numba.__version__.encode())
    for path in sources:
        sha.update(path.read_bytes())
    return f"{package}-{sha.hexdigest()[:16]}"


def _private_folder() -> Path:
    """A temporary folder that nobody else can write to, as what is read from it is code."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"attnflow-{user}"
    with suppress(FileExistsError):
        folder.mkdir(0o700)
    return folder if _is_private(folder) else Path(tempfile.mkdtemp(prefix="attnflow-"))


def _is_private(folder: Path) -> bool:
    """Whether ``folder`` is one of this user's that nobody else can write to."""
    if not hasattr(os, "getuid"):
        return folder.is_dir()
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022


def _is_own(folder: Path) -> bool:
    """Whether everything in a private folder is this user's: it may have been open to others before."""
    if not hasattr(os, "getuid"):
        return True
    return all(path.lstat().st_uid == os.getuid() for path in folder.rglob("*"))


@functools.cache
def _cache_root() -> Path:
    """Folder of compiled kernels: below ``NUMBA_CACHE_DIR``, else the user's cache folder, else a temporary one.

    What is read there is executed, so it must be this user's, and nobody else's to write to.
    """
    try:
        place = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        root = Path(place) / "attnflow"
        root.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            root.mkdir(0o700)
        usable = _is_private(root) and os.access(root, os.W_OK)
    except (OSError, RuntimeError):
        usable = False
    return root if usable else _private_folder()


@functools.cache
def cache_folder(package: str) -> Path:
    """Folder that caches the kernels of ``simulator.PACKAGE``; older versions are removed, the newest few excepted."""
    folder = _cache_root() / _sources_digest(package)
    if folder.exists() and not (_is_private(folder) and _is_own(folder)):
        folder = Path(tempfile.mkdtemp(prefix="attnflow-")) / folder.name
    if not folder.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        siblings = [path for path in folder.parent.glob(f"{package}-*") if path != folder]
        for old in sorted(siblings, key=lambda path: path.stat().st_mtime)[: 1 - KEPT_CACHES]:
            shutil.rmtree(old, ignore_errors=True)
    return folder


class Words(Protocol):
    """A vector of integers, as kernels see one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length, as a tuple."""

    @overload
    def __getitem__(self, index: int, /) -> int: ...

    @overload
    def __getitem__(self, index: slice, /) -> Words: ...

    def __setitem__(self, index: int | slice, value: int, /) -> None:
        """Set a word, or all of a slice."""


P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Kernel(Protocol[P, R_co]):
    """Function compiled by Numba, as far as this project looks at it."""

    __module__: str
    __name__: str

    def __hash__(self) -> int:
        """Kernels are told apart by identity."""

    @property
    def signatures(self) -> Sequence[object]:
        """Argument types for which it is compiled, or loaded from the cache, in this process."""

    def __call__(self, *arguments: P.args, **named: P.kwargs) -> R_co:
        """Run it."""


def _compile(function: Callable[P, R], *, forceinline: bool) -> Kernel[P, R]:
    """Compile without reference counting."""
    # numba makes its settings at import, and documents options of njit that its type stubs do not know
    config: Any = numba.config
    njit: Any = numba.njit
    before = config.CACHE_DIR
    package = next((name for name in SOURCES if function.__module__.startswith(f"simulator.{name}")), _OUTSIDE)
    config.CACHE_DIR = str(cache_folder(package))
    try:
        compiled: Kernel[P, R] = njit(cache=True, _nrt=False, forceinline=forceinline)(function)
    finally:
        config.CACHE_DIR = before
    return compiled


def kernel(function: Callable[P, R]) -> Kernel[P, R]:
    """Compile a function that is called as such."""
    return _compile(function, forceinline=False)


def inlined(function: Callable[P, R]) -> Kernel[P, R]:
    """Compile a small function into its callers."""
    return _compile(function, forceinline=True)


WORDS: Final = types.Array(types.int64, 1, "C")
"""Type of the vectors that kernels called by address work on."""


@functools.cache
def address_of(function: Kernel[..., Any], signature: Any) -> int:
    """Address of ``function``, compiled (or loaded from the cache) for the types of a Numba ``signature``."""
    # a dispatcher's overloads and their C entry points are what numba's own first-class functions are made of
    dispatcher: Any = function
    dispatcher.compile(signature)
    compiled = dispatcher.overloads[signature.args]
    if compiled.signature.return_type != signature.return_type:
        raise TypeError(
            f"{function.__module__}.{function.__name__} must return {signature.return_type} "
            f"(it returns {compiled.signature.return_type})"
        )
    address: int = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_cfunc_wrapper_name)
    return address


def by_address(definition: Callable[..., Any]) -> Kernel[..., Any]:
    """Numba intrinsic whose definition is that of `called_through`, for use in kernels."""
    return cast(Kernel[..., Any], intrinsic(definition))


def called_through(signature: Any) -> tuple[Any, Callable[..., Any]]:
    """Typing and code of a call by address, for the definition of an intrinsic ``call(address, *arguments)``.

    Parameters
    ----------
    signature
        Numba signature of everything that may be at the address; see `address_of`.
    """

    def generate(context: Any, builder: Any, used: Any, values: Any) -> Any:
        arguments = [context.get_value_type(each) for each in used.args[1:]]
        function = ir.FunctionType(context.get_value_type(used.return_type), arguments)
        return builder.call(builder.inttoptr(values[0], function.as_pointer()), values[1:])

    return signature.return_type(types.int64, *signature.args), generate


_DE_BRUIJN = 0x03F79D71B4CB0A89


def _bit_positions() -> IntArray:
    positions = np.zeros(64, dtype=np.int64)
    for bit in range(64):
        positions[((_DE_BRUIJN << bit) & 0xFFFFFFFFFFFFFFFF) >> 58] = bit
    return positions


_POSITIONS: Words = _bit_positions()


@inlined
def lowest_bit(mask: int) -> int:
    """Index of the lowest set bit of a mask that is not 0.

    The isolated bit times a de Bruijn sequence has a different top six bits for every position.
    """
    return _POSITIONS[(((mask & -mask) * _DE_BRUIJN) >> 58) & 63]


@inlined
def as_variable(value: int) -> int:
    """The value, as an argument that numba does not compile a version of the callee for.

    Numba specialises a function on every constant it is called with; for the large ones that only costs compile time.
    """
    return np.int64(value)  # type: ignore[return-value]  # all integers of kernels are of this type
