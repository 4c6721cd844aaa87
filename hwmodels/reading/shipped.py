"""Folders of shipped YAML files, whose entries are known by name, and files of a user's own beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from hwmodels.reading.documents import Document, read_document, read_text
from hwmodels.reading.errors import InputError, Problem, did_you_mean

SUFFIX = ".yaml"


@dataclass(frozen=True)
class Shipped:
    """A folder of a package with one YAML file per name.

    Parameters
    ----------
    package, folder
        Where it lies.
    what
        Thing that a file describes, for messages.
    more
        Folders of other packages whose files are known by name as well.
    """

    package: str
    folder: str
    what: str
    more: tuple[Path, ...] = ()

    def names(self) -> tuple[str, ...]:
        """Names of the files, sorted; looked for once, since sweeps ask for them with every point."""
        return _names(self)

    def path(self, name: str) -> Traversable:
        """The file of ``name``."""
        files = [folder / f"{name}{SUFFIX}" for folder in self.folders()]
        return next((file for file in files if file.is_file()), files[0])

    def text(self, name: str) -> str:
        """Text of the file of ``name``."""
        return self.path(name).read_text(encoding="utf-8")

    def document(self, name: str) -> Document:
        """The parsed file of ``name``, one of `names`."""
        return read_text(self.text(name), f"{name}{SUFFIX}")

    def open(self, name_or_path: str | Path, hint: str | None = None) -> Document:
        """The parsed file of a name, or of a path; see `is_path`.

        Raises
        ------
        InputError
            An unknown name, with the nearest one or else ``hint``; or a file that cannot be read or parsed.
        """
        if is_path(name_or_path):
            return read_document(Path(name_or_path))
        return self.document(self.known(str(name_or_path), hint))

    def known(self, name: str, hint: str | None = None) -> str:
        """``name`` if there is a file of that name; raises as `open`."""
        names = self.names()
        if name not in names:
            raise InputError(Problem(f"unknown {self.what} {name!r}", hint=did_you_mean(name, names) or hint))
        return name

    def folders(self) -> tuple[Traversable, ...]:
        """Where the files lie."""
        return (resources.files(self.package) / self.folder, *self.more)


@cache
def _names(shipped: Shipped) -> tuple[str, ...]:
    found = (entry.name for folder in shipped.folders() for entry in folder.iterdir())
    return tuple(sorted({name.removesuffix(SUFFIX) for name in found if name.endswith(SUFFIX)}))


def is_path(name_or_path: str | Path) -> bool:
    """Whether this is a path: text with a separator or the suffix ``.yaml`` or ``.yml``; anything else is a name."""
    text = str(name_or_path)
    return isinstance(name_or_path, Path) or "/" in text or text.endswith((".yaml", ".yml"))


def is_file(path: Path) -> bool:
    """Whether there is a file at `path`.

    Raises
    ------
    InputError
        The system does not say: a name that is too long, a folder that may not be entered.
    """
    return _asked(path, path.is_file)


def is_folder(path: Path) -> bool:
    """Whether there is a folder at `path`; raises as `is_file`."""
    return _asked(path, path.is_dir)


def is_there(path: Path) -> bool:
    """Whether there is anything at `path`; raises as `is_file`."""
    return _asked(path, path.exists)


def _asked(path: Path, question: Callable[[], bool]) -> bool:
    try:
        return question()
    except OSError as error:  # pathlib keeps only "not there" to itself
        raise InputError(Problem(f"{path} cannot be read: {error.strerror}")) from None
