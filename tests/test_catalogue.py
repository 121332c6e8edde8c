"""The catalogue: a download is complete and verified, or leaves nothing behind."""

import hashlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from charrnn.errors import DataError
from charrnn.progress import CallbackProgress, Task, using
from charrnn.text.catalogue import CatalogueEntry, fetch, find_entry, load_catalogue
from charrnn.text.sources import fetch_to_train

CONTENT = b"All happy families are alike.\n" * 5000  # 150 kB: several blocks
HANG_SECONDS = 0.6


class Library(BaseHTTPRequestHandler):
    """Serves CONTENT well or badly, depending on the path."""

    def do_GET(self) -> None:
        assert isinstance(self.server, ThreadingHTTPServer)
        served: list[str] = self.server.served  # type: ignore[attr-defined]
        served.append(self.path)
        if self.path == "/missing":
            self.send_error(404)
            return
        if self.path == "/elsewhere":
            self.send_response(302)
            self.send_header("Location", f"http://localhost.localdomain:{self.server.server_port}/good")
            self.end_headers()
            return
        if self.path == "/silent":
            time.sleep(HANG_SECONDS)
            return
        body = {"/wrong": CONTENT[:-1] + b"!", "/long": CONTENT * 2, "/cut": CONTENT[:-9]}.get(self.path, CONTENT)
        self.send_response(200)
        # "/torn" promises more than it sends before it hangs up; "/hang" never finishes.
        self.send_header("Content-Length", str(len(CONTENT) if self.path in ("/torn", "/hang") else len(body)))
        self.end_headers()
        try:
            self.wfile.write(body[:1000] if self.path in ("/torn", "/hang") else body)
        except OSError:
            return  # the client has read enough
        if self.path == "/hang":
            time.sleep(HANG_SECONDS)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the test output clean."""


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    monkeypatch.setenv("no_proxy", "*")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Library)
    server.served = []  # type: ignore[attr-defined]
    # The default poll of half a second would make each test wait for its shutdown.
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def entry_at(server: ThreadingHTTPServer, path: str) -> CatalogueEntry:
    return CatalogueEntry(
        name="families",
        file="families.txt",
        address=f"http://127.0.0.1:{server.server_port}{path}",
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        num_bytes=len(CONTENT),
        licence="public domain",
        look_for="happiness",
    )


def _fetch(entry: CatalogueEntry, folder: Path, report: Callable[[Task], object]) -> Path:
    with using(CallbackProgress(report)):
        return fetch(entry, folder)


def test_a_text_is_downloaded_once_and_kept(library: ThreadingHTTPServer, tmp_path: Path) -> None:
    progress: list[tuple[int, int]] = []
    folder = tmp_path / "new" / "corpora"
    entry = entry_at(library, "/good")
    path = _fetch(entry, folder, lambda received: progress.append((received.done, received.total)))
    assert path == folder / "families.txt" and path.read_bytes() == CONTENT
    assert [file.name for file in folder.iterdir()] == ["families.txt"]
    assert progress[-1] == (len(CONTENT), len(CONTENT)) and len(progress) > 1
    assert progress == sorted(progress)
    assert fetch(entry, folder) == path
    assert library.served == ["/good"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/wrong", "SHA-256"),
        ("/cut", "received 149,991 of 150,000 bytes"),
        ("/torn", "received 1,000 of|closed the connection"),
        ("/long", "more than the expected 150,000 bytes"),
        ("/missing", "404"),
        ("/silent", "timed out"),
        ("/hang", "timed out"),
    ],
)
def test_a_bad_download_leaves_nothing_and_says_what_to_do(
    library: ThreadingHTTPServer, tmp_path: Path, path: str, reason: str
) -> None:
    entry = entry_at(library, path)
    with pytest.raises(DataError, match=reason) as caught:
        fetch(entry, tmp_path, timeout_seconds=0.2)
    assert list(tmp_path.iterdir()) == []
    message = str(caught.value)
    assert entry.address in message
    assert str(tmp_path / "families.txt") in message and "CHARRNN_CORPORA" in message
    assert len(message.splitlines()) <= 3


def test_a_text_in_a_folder_of_the_environment_is_not_downloaded(
    library: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry, shelf, corpora = entry_at(library, "/good"), tmp_path / "shelf", tmp_path / "corpora"
    shelf.mkdir()
    monkeypatch.setenv("CHARRNN_CORPORA", f"{tmp_path / 'nowhere'}:{shelf}")
    assert fetch_to_train(entry, corpora) == corpora / "families.txt", "it is in none of them"
    (corpora / "families.txt").rename(shelf / "families.txt")
    assert fetch_to_train(entry, corpora) == shelf / "families.txt"
    assert library.served == ["/good"]  # type: ignore[attr-defined]
    (shelf / "families.txt").write_text("another edition")
    with pytest.raises(DataError, match=r"shelf/families\.txt exists but is not the catalogue's families"):
        fetch_to_train(entry, corpora)


def test_a_redirect_to_an_address_that_is_not_allowed_is_refused(
    library: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **more: resolve("127.0.0.1", *rest, **more))
    with pytest.raises(DataError, match=r"redirected to http://localhost\.localdomain"):
        fetch(entry_at(library, "/elsewhere"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_another_file_of_that_name_is_left_alone(library: ThreadingHTTPServer, tmp_path: Path) -> None:
    target = tmp_path / "families.txt"
    target.write_text("my own notes")
    with pytest.raises(DataError, match="its SHA-256 differs"):
        fetch(entry_at(library, "/good"), tmp_path)
    assert target.read_text() == "my own notes"
    assert library.served == []  # type: ignore[attr-defined]


def test_an_interrupted_download_leaves_nothing(library: ThreadingHTTPServer, tmp_path: Path) -> None:
    def interrupt(received: Task) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _fetch(entry_at(library, "/good"), tmp_path, interrupt)
    assert list(tmp_path.iterdir()) == []


def test_the_package_s_catalogue() -> None:
    assert [entry.name for entry in load_catalogue()] == ["shakespeare", "war-and-peace"]
    shakespeare = find_entry("shakespeare")
    assert shakespeare is not None and shakespeare.num_bytes == 1_115_394
    assert find_entry("shakespeare.txt") == shakespeare
    assert find_entry("hamlet") is None


ENTRY = """\
- name: a
  file: a.txt
  address: https://example.org/a.txt
  sha256: abababababababababababababababababababababababababababababababab
  num_bytes: 5
  licence: public domain
  look_for: nothing
"""


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("- [", "is not YAML"),
        ("", "list of entries"),
        ("name: a", "list of entries"),
        ("- a", "list of entries"),
        (ENTRY + "  colour: red\n", "unknown field 'colour'"),
        (ENTRY + "  num_bytes: 6\n", "num_bytes is given twice"),
        (ENTRY.replace("  licence: public domain\n", ""), "'licence' is missing"),
        (ENTRY + ENTRY, "name 'a' occurs twice"),
        (ENTRY + ENTRY.replace("name: a", "name: b"), "file 'a.txt' occurs twice"),
        (ENTRY.replace("num_bytes: 5", "num_bytes: true"), "whole number"),
        (ENTRY.replace("num_bytes: 5", "num_bytes: 0"), "at least 1"),
        (ENTRY.replace("look_for: nothing", "look_for: 3"), "look_for must be text"),
        (ENTRY.replace("abab", "ABAB"), "64 hexadecimal"),
        (ENTRY.replace("file: a.txt", "file: ../a.txt"), "plain file name"),
        (ENTRY.replace("name: a", "name: A b"), "lower-case"),
        (ENTRY.replace("https://", "http://"), "begin with https://"),
        (ENTRY.replace("https://", "file:///"), "begin with https://"),
        (ENTRY.replace("https://example.org", "http://[::1"), "begin with https://"),
    ],
)
def test_a_broken_catalogue_is_refused(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "catalogue.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=fault):
        load_catalogue(path)
