"""Stores in a browser: listed, opened, compared, followed while a sweep goes on; on this computer alone."""

import asyncio
import json
import threading
import urllib.error
import urllib.request

import pytest

from studies.families.attempt import attempt
from studies.store.provenance import provenance
from studies.store.store import Store
from studies.study.resolve import read_study
from studies.viewer.server import HERE, application
from studies.viewer.shelf import Shelf

pytestmark = pytest.mark.browser

STUDY = "name: {name}\nalgorithm: sdpa.naive\nworkload: {{seq_len: 8, head_dim: 4}}\naxes: {{exp_cycles: [1, 2, 3]}}\n"


def started(folder, name, finished):
    """A store of a study of which some points are done."""
    path = folder / f"{name}.yaml"
    path.write_text(STUDY.format(name=name))
    study = read_study(path)
    with Store(folder / f"{name}.sqlite", write=True) as store:
        store.enter_grid(study.name, study.points, study.describe())
        store.record(store.begin_run(provenance({})), [attempt(point) for point in study.points[:finished]])
    return study, folder / f"{name}.sqlite"


@pytest.fixture
def served():
    """Function that serves stores and returns the address."""
    ended = []

    def serve(*paths):
        from tornado.httpserver import HTTPServer
        from tornado.netutil import bind_sockets

        address, up, loop = [], threading.Event(), asyncio.new_event_loop()

        async def listen():
            sockets = bind_sockets(0, HERE)
            HTTPServer(application(Shelf(paths))).add_sockets(sockets)
            address.append(f"http://{HERE}:{sockets[0].getsockname()[1]}")
            up.set()

        def run():
            asyncio.set_event_loop(loop)
            loop.run_until_complete(listen())
            loop.run_forever()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        assert up.wait(60)
        ended.append((loop, thread))
        return address[0]

    yield serve
    for loop, thread in ended:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)


@pytest.fixture
def page(browser):
    """An empty page that must stay without complaints."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    complaints = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    assert complaints == []
    context.close()


def test_progress_is_live_and_pages_open(served, page, tmp_path):
    study, path = started(tmp_path, "one", 1)
    address = served(path)
    page.goto(address)
    assert page.locator("tr[data-number='0'] .counts").inner_text() == "1 done, 2 pending"
    with Store(path, write=True) as store:
        store.record(store.begin_run(provenance({})), [attempt(study.points[1])])
    page.locator("tr[data-number='0'] .counts", has_text="2 done, 1 pending").wait_for(timeout=60_000)
    assert page.locator("progress").first.evaluate("bar => bar.value / bar.max") == pytest.approx(2 / 3)
    page.click("tr[data-number='0'] a")
    page.wait_for_selector("html[data-ready]")
    assert page.locator("meta[http-equiv=refresh]").count() == 1, "it asks again while points are pending"
    with Store(path, write=True) as store:
        store.record(store.begin_run(provenance({})), [attempt(study.points[2])])
    page.goto(f"{address}/store/0")
    page.wait_for_selector("html[data-ready]")
    assert page.locator("meta[http-equiv=refresh]").count() == 0
    assert page.locator(".count").inner_text() == "3 points"


def test_several_stores_are_compared_on_one_page(served, page, tmp_path):
    paths = [started(tmp_path, name, 3)[1] for name in ("one", "two")]
    page.goto(served(*paths))
    assert page.locator("#compare").is_disabled()
    for box in page.locator("input[name=store]").all():
        box.check()
    page.click("#compare")
    page.wait_for_selector("html[data-ready]")
    assert page.locator(".count").inner_text() == "6 points"
    assert "one: one" in page.locator("table.points").inner_text()


def test_the_name_of_a_file_is_text(served, page, tmp_path):
    _, path = started(tmp_path, "one", 3)
    hostile = path.rename(tmp_path / "<img src=x onerror=document.title=7>.sqlite")
    page.goto(served(hostile))
    assert "<img src=x" in page.locator("body").inner_text()
    assert page.locator("img").count() == 0
    assert page.title() != "7"


def answer(url, host=None):
    asked = urllib.request.Request(url, headers={"Host": host} if host else {})
    try:
        with urllib.request.urlopen(asked, timeout=60) as found:
            return found.status, dict(found.headers), found.read()
    except urllib.error.HTTPError as error:
        return error.code, {}, b""


def test_nothing_but_the_stores_is_served_and_to_this_computer_alone(served, tmp_path):
    _, path = started(tmp_path, "one", 3)
    address = served(path)
    status, headers, body = answer(f"{address}/state")
    assert status == 200
    assert json.loads(body)[0]["counts"] == {"done": 3}
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert answer(f"{address}/store/0", host="evil.example")[0] == 403
    assert [answer(f"{address}{place}")[0] for place in ("/store/1", "/store/../one.yaml", "/one.sqlite", "/etc")] == [
        404,
        404,
        404,
        404,
    ]
    assert answer(f"{address}/together?store=0")[0] == 400
    policy = answer(address)[1]["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-eval" not in policy
