"""The web site of the pages, opened in a browser: tools/make_site.py."""

import html
import json
import re
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from browser import dump, needs_browser
from conftest import locked
from elements import text_of
from environment import REPOSITORY

MAKE = REPOSITORY / "tools"
NO_OTHER_HOST = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
"""A flag of the browser."""
pytestmark = pytest.mark.docs


class QuietHandler(SimpleHTTPRequestHandler):
    """Serve files without a line for each."""

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def site(shared):
    """Build the site once for all workers; return its folder."""
    pytest.importorskip("furo", reason="the extra docs is not installed")
    folder = shared / "site"
    with locked(shared / "site.lock"):
        if not folder.exists():
            subprocess.run([sys.executable, MAKE / "make_site.py", "--folder", folder], check=True)
    return folder


@pytest.fixture
def open_page(site, tmp_path):
    """Return a function that opens a page of the site in a browser and returns its elements, and
    the addresses that pages asked for."""

    def open_at(address):
        log = tmp_path / "log.json"
        elements = dump(root + address, tmp_path, f"--log-net-log={log}", NO_OTHER_HOST)
        events = json.loads(log.read_text(encoding="utf-8"))["events"]
        # What the browser asks for itself has no origin.
        asked = [
            event["params"]["url"]
            for event in events
            if event.get("params", {}).get("initiator", "").startswith("http")
        ]
        return elements, asked

    handler = partial(QuietHandler, directory=site)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        root = f"http://127.0.0.1:{server.server_port}/"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield open_at
        server.shutdown()


def test_a_broken_link_ends_the_build(site, tmp_path):
    (tmp_path / "README.md").write_text("# Home\n\n[A page](missing.md)\n", encoding="utf-8")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-c", MAKE / "site", tmp_path]
    ran = subprocess.run([*command, tmp_path / "out"], capture_output=True, encoding="utf-8")
    assert ran.returncode == 1
    assert "missing" in ran.stderr


def test_no_page_shows_something_of_another_host(site):
    pages = [*site.rglob("*.html"), *site.rglob("*.css")]
    others = re.compile(
        r"""(?:<(?:script|img|iframe|source)[^>]*\ssrc(?:set)?=["']?|<link[^>]*\shref="|url\(["']?|@import\s*["'])(?:https?:)?//"""
    )
    assert len(pages) > 50
    assert [page for page in pages if others.search(page.read_text(encoding="utf-8"))] == []


def test_the_order_of_the_pages_is_that_of_their_index(site):
    index = (REPOSITORY / "docs" / "README.md").read_text(encoding="utf-8")
    listed = [*dict.fromkeys(re.findall(r"\]\(([\w-]+/[\w-]+)\.md[#)]", index))]
    home = (site / "README.html").read_text(encoding="utf-8")
    [tree] = re.findall(r'(?s)<div class="sidebar-tree">(.*?)</div>', home)
    found = re.findall(r'href="docs/([\w-]+/[\w-]+)\.html"', tree)
    assert found == listed


@needs_browser
def test_the_interface_describes_options_settings_and_fields_once(site):
    page = (site / "python-interface.html").read_text(encoding="utf-8")
    text = html.unescape(re.sub(r"<[^>]+>", "", page))
    assert text.count("Number of recurrent layers.") == 1
    assert (
        text.count("The log-probability of each character in nats, at temperature 1, by the") == 1
    )
    assert text.count("Keep the smallest set") == 1


@needs_browser
def test_the_search_finds_temperature(open_page):
    elements, asked = open_page("search.html?q=temperature")
    assert 'href="docs/use/generation.html' in elements.partition('id="search-results"')[2]
    assert len(asked) > 5
    assert [address for address in asked if not address.startswith("http://127.0.0.1:")] == []


@needs_browser
@pytest.mark.parametrize("name", ["prose", "code"])
def test_a_live_model_writes(site, open_page, name):
    page = (site / "live-models.html").read_text(encoding="utf-8")
    [source] = re.findall(rf'<iframe [^>]*src="(live/{name}.html#[^"]*)"', page)
    elements, asked = open_page(html.unescape(source))
    assert len(text_of(elements, "written")) >= 600
    assert asked == []
