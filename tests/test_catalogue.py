"""The catalogue: a download is complete and verified, or leaves nothing behind."""

import hashlib
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from charrnn.errors import DataError
from charrnn.system.progress import CallbackProgress, using
from charrnn.text.sources import CatalogueEntry, fetch, find_entry, load_catalogue

CONTENT = b"All happy families are alike.\n" * 5000  # 150 kB: several blocks


class Library(BaseHTTPRequestHandler):
    """Serves CONTENT well or badly, depending on the path."""

    def do_GET(self):
        assert isinstance(self.server, ThreadingHTTPServer)
        served = self.server.served
        served.append(self.path)
        if self.path == "/missing":
            self.send_error(404)
            return
        if self.path == "/elsewhere":
            self.send_response(302)
            self.send_header(
                "Location", f"http://localhost.localdomain:{self.server.server_port}/good"
            )
            self.end_headers()
            return
        body = {"/wrong": CONTENT[:-1] + b"!", "/long": CONTENT * 2, "/cut": CONTENT[:-9]}.get(
            self.path, CONTENT
        )
        self.send_response(200)
        # "/torn" promises more than it sends before it hangs up; "/hang" never finishes.
        self.send_header(
            "Content-Length", str(len(CONTENT) if self.path in ("/torn", "/hang") else len(body))
        )
        self.end_headers()
        try:
            self.wfile.write(body[:1000] if self.path in ("/torn", "/hang") else body)
        except OSError:
            return  # the client has read enough
        if self.path == "/hang":
            self.server.given_up.wait(60)

    def log_message(self, format, *args):
        """Keep the test output clean."""


@pytest.fixture
def library(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Library)
    server.served, server.given_up = [], threading.Event()
    # The default poll of half a second would make each test wait for its shutdown.
    threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
    ).start()
    yield server
    server.given_up.set()
    server.shutdown()
    server.server_close()


def entry_at(server, path):
    content = {"sha256": hashlib.sha256(CONTENT).hexdigest(), "num_bytes": len(CONTENT)}
    about = {
        "name": "families",
        "file": "families.txt",
        "licence": "public domain",
        "look_for": "happiness",
    }
    return CatalogueEntry(
        address=f"http://127.0.0.1:{server.server_port}{path}", **content, **about
    )


def test_a_text_is_downloaded_once_and_kept(library, tmp_path):
    progress = []
    folder = tmp_path / "new" / "corpora"
    entry = entry_at(library, "/good")
    with using(CallbackProgress(lambda received: progress.append((received.done, received.total)))):
        path = fetch(entry, folder)
    assert path == folder / "families.txt"
    assert path.read_bytes() == CONTENT
    assert [file.name for file in folder.iterdir()] == ["families.txt"]
    assert progress[-1] == (len(CONTENT), len(CONTENT))
    assert len(progress) > 1
    assert progress == sorted(progress)
    assert fetch(entry, folder) == path
    assert library.served == ["/good"]


def test_a_bad_download_says_what_to_do(library, tmp_path):
    for path, reason in (
        ("/wrong", "SHA-256"),
        ("/cut", "received 149,991 of 150,000 bytes"),
        ("/torn", "received 1,000 of|closed the connection"),
        ("/long", "more than the expected 150,000 bytes"),
        ("/missing", "404"),
        ("/hang", "timed out"),
    ):
        entry = entry_at(library, path)
        with pytest.raises(DataError, match=reason) as caught:
            fetch(entry, tmp_path, timeout_seconds=0.1 if path == "/hang" else 60)
        assert list(tmp_path.iterdir()) == []
        message = str(caught.value)
        assert entry.address in message
        assert str(tmp_path / "families.txt") in message
        assert "CHARRNN_CORPORA" in message
        assert len(message.splitlines()) <= 3


def test_a_redirect_is_refused(library, tmp_path, monkeypatch):
    resolve = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *rest, **more: resolve("127.0.0.1", *rest, **more)
    )
    with pytest.raises(DataError, match=r"redirected to http://localhost\.localdomain"):
        fetch(entry_at(library, "/elsewhere"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_package_s_catalogue():
    assert [entry.name for entry in load_catalogue()] == ["shakespeare", "war-and-peace"]
    for entry in load_catalogue():
        assert re.fullmatch(r"[a-z0-9][a-z0-9._-]*", entry.name)
        assert re.fullmatch(r"\w[\w.-]*", entry.file)
        assert re.fullmatch(r"[0-9a-f]{64}", entry.sha256)
        assert entry.address.startswith("https://")
    shakespeare = find_entry("shakespeare")
    assert shakespeare.num_bytes == 1_115_394
    assert find_entry("shakespeare.txt") == shakespeare
    assert find_entry("hamlet") is None
