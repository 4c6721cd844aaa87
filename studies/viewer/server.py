"""Serves stores to browsers of this computer, and to nobody else."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from markupsafe import Markup
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, HTTPError, RequestHandler

from hwmodels.reading.errors import InputError, Problem
from hwmodels.reading.shipped import is_folder
from studies.report.blocks import ASSETS, environment
from studies.viewer.shelf import Shelf

HERE = "127.0.0.1"
_NAMES = ("127.0.0.1", "localhost")


def serve(shelf: Shelf, port: int, ready: Callable[[str], None]) -> None:
    """Serve until an interrupt.

    Parameters
    ----------
    port
        0 for any that is free.
    ready
        Called with the address once browsers can come.

    Raises
    ------
    InputError
        If the port is taken.
    """
    asyncio.run(_serve(shelf, port, ready))


async def _serve(shelf: Shelf, port: int, ready: Callable[[str], None]) -> None:
    try:
        sockets = bind_sockets(port, HERE)
    except OSError as error:
        raise InputError(Problem(f"cannot be used: {error.strerror}", field="--port")) from None
    HTTPServer(application(shelf)).add_sockets(sockets)
    ready(f"http://{HERE}:{sockets[0].getsockname()[1]}/")
    await asyncio.Event().wait()


def list_page(shelf: Shelf) -> tuple[str, str]:
    """The page that lists all stores, and its security policy: its own script, and questions to this server alone."""
    code = Markup(f"\n{(ASSETS / 'stores.js').read_text(encoding='utf-8')}\n")
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
    style = Markup((ASSETS / "style.css").read_text(encoding="utf-8"))
    page = environment().get_template("stores.html").render(stores=shelf.standings(), style=style, code=code)
    return page, policy


def application(shelf: Shelf) -> Application:
    """The application: a list, how far all stores are as JSON, and pages about one store or several."""

    class Handler(RequestHandler):
        def prepare(self) -> None:
            # a page of another site may know a name that leads here; it must not read what is served
            if self.request.host_name not in _NAMES:
                raise HTTPError(403)

        def set_default_headers(self) -> None:
            self.set_header("X-Content-Type-Options", "nosniff")
            self.set_header("Cache-Control", "no-store")
            self.set_header("Referrer-Policy", "no-referrer")
            self.clear_header("Server")

        def page_of(self, *numbers: int) -> None:
            try:
                self.finish(shelf.page(*numbers))
            except IndexError:
                raise HTTPError(404) from None
            except InputError as error:
                self.set_status(500)
                self.set_header("Content-Type", "text/plain; charset=utf-8")
                self.finish(str(error))

    class Listed(Handler):
        def get(self) -> None:
            page, policy = list_page(shelf)
            self.set_header("Content-Security-Policy", policy)
            self.finish(page)

    class State(Handler):
        def get(self) -> None:
            self.set_header("Content-Type", "application/json")
            self.finish(json.dumps([each.describe() for each in shelf.standings()]))

    class Page(Handler):
        def get(self, number: str) -> None:
            self.page_of(int(number))

    class Together(Handler):
        def get(self) -> None:
            chosen = self.get_query_arguments("store")
            if len(chosen) < 2 or not all(number.isdecimal() for number in chosen):
                raise HTTPError(400, reason="choose two stores or more")
            self.page_of(*dict.fromkeys(map(int, chosen)))

    return Application(
        [(r"/", Listed), (r"/state", State), (r"/store/(\d{1,4})", Page), (r"/together", Together)],
        log_function=lambda handler: None,
    )


def paths_of(names: list[Path]) -> list[Path]:
    """Stores by name; a folder stands for all stores in it."""
    found = [path for name in names for path in (sorted(name.glob("*.sqlite")) if is_folder(name) else [name])]
    if not found:
        raise InputError(Problem("there is no store", ", ".join(map(str, names))))
    return found
