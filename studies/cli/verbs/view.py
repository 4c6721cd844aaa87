"""``attnflow view``: stores in a browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from studies.cli.output import JsonFlag, QuietFlag, note
from studies.cli.printing import put
from studies.cli.verb import verb


@verb("view", order=45)
def view(
    stores: Annotated[list[Path], typer.Argument(metavar="STORE...", help="SQLite files, or folders of them.")],
    port: Annotated[int, typer.Option(help="Port on this computer; 0 for any that is free.", min=0, max=65535)] = 0,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Show stores in a browser of this computer: a list, their pages, several on one page, and how far a sweep is.

    Example: attnflow view out/lanes.sqlite
    """
    from studies.viewer.server import paths_of, serve
    from studies.viewer.shelf import Shelf

    shelf = Shelf(paths_of(stores))

    def ready(address: str) -> None:
        put(f"{json.dumps({'address': address, 'stores': len(shelf)}) if as_json else address}\n")
        note("open it in a browser; Ctrl-C ends it", quiet=quiet)

    serve(shelf, port, ready)
