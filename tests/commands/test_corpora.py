"""The catalogue: how its texts are read, listed and shown; a download is complete and verified, or leaves
nothing behind."""

import hashlib
import json
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from charrnn.errors import DataError
from charrnn.system.progress import Progress, using
from charrnn.text import sources
from charrnn.text.sources import CatalogueEntry, fetch, load_catalogue

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
        body = {
            "/page": b"<!doctype html>\n<title>Sign in</title>\n",
            "/wrong": CONTENT[:-1] + b"!",
            "/long": CONTENT * 2,
            "/cut": CONTENT[:-9],
        }.get(self.path, CONTENT)
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


def entry_with(**fields):
    words = dict.fromkeys(("kind", "language", "about", "address", "look_for", "command"), "none")
    words |= {"name": "families", "file": "families.txt", "licence": "MIT"}
    return CatalogueEntry(**words | fields)


def entry_at(server, path):
    content = {"sha256": hashlib.sha256(CONTENT).hexdigest(), "num_bytes": len(CONTENT)}
    return entry_with(address=f"http://127.0.0.1:{server.server_port}{path}", **content)


def test_a_text_is_downloaded_once_and_kept(library, tmp_path, monkeypatch):
    progress = []
    folder = tmp_path / "new" / "corpora"
    monkeypatch.setattr(sources, "CORPORA", folder)
    entry = entry_at(library, "/good")
    with using(Progress(lambda received: progress.append((received.done, received.total)))):
        path = fetch(entry)
    assert path == folder / "families.txt"
    assert path.read_bytes() == CONTENT
    assert [file.name for file in folder.iterdir()] == ["families.txt"]
    assert progress[-1] == (len(CONTENT), len(CONTENT))
    assert len(progress) > 1
    assert progress == sorted(progress)
    assert fetch(entry) == path
    assert library.served == ["/good"]


def test_a_bad_download_says_what_to_do(library, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "CORPORA", tmp_path)
    for path, reason in (
        ("/wrong", "SHA-256"),
        ("/cut", "received 149,991 of 150,000 bytes"),
        ("/torn", "received 1,000 of"),
        ("/long", "of 150,000 bytes"),
        ("/missing", "404"),
        ("/page", "received"),
        ("/hang", "timed out"),
    ):
        entry = entry_at(library, path)
        monkeypatch.setattr(sources, "TIMEOUT_SECONDS", 0.1 if path == "/hang" else 60)
        with pytest.raises(DataError, match=reason) as caught:
            fetch(entry)
        assert list(tmp_path.iterdir()) == []
        message = str(caught.value)
        assert entry.address in message
        assert str(tmp_path / "families.txt") in message
        assert "CHARRNN_CORPORA" in message
        assert len(message.splitlines()) <= 3


def test_a_redirect_is_refused(library, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "CORPORA", tmp_path)
    resolve = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *rest, **more: resolve("127.0.0.1", *rest, **more)
    )
    with pytest.raises(DataError, match=r"redirected to http://localhost\.localdomain"):
        fetch(entry_at(library, "/elsewhere"))
    assert list(tmp_path.iterdir()) == []


LICENCES = {"public domain", "MIT", "ISC", "CC0", "CC BY-SA 4.0"}


@pytest.mark.parametrize("entry", load_catalogue(), ids=lambda entry: entry.name)
def test_an_entry_has_the_form_of_one(entry):
    assert re.fullmatch(r"[a-z0-9-]+", entry.name)
    assert re.fullmatch(r"[\w-]+\.\w+", entry.file)
    assert re.fullmatch(r"[0-9a-f]{64}", entry.sha256)
    assert re.match(
        r"https://raw\.githubusercontent.com/.*/[0-9a-f]{40}/|https://cs\.", entry.address
    )
    assert entry.licence in LICENCES


def test_the_package_s_catalogue():
    entries = load_catalogue()
    names = [entry.name for entry in entries]
    assert len(names) == len(set(names)) >= 30
    assert {entry.language for entry in entries} >= {"Chinese", "Japanese", "Russian", "LaTeX", "C"}


NAMES = "".join(f"{first}{second}a\n" for first in "abcdefgh" for second in "klmnop")
TABLE = "name,place\r\n" + NAMES.replace("\n", ",Köln\r\n")


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder of texts for a catalogue of three, in which a test may put others."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    entries = []
    for file, content, settings in (
        ("girls.txt", NAMES.encode(), {"documents": "lines"}),
        ("towns.csv", TABLE.encode(), {"column": "name"}),
        ("umlauts.dat", TABLE.encode("latin-1"), {"encoding": "latin-1"}),
    ):
        (folder / file).write_bytes(content)
        name, kind = file.split(".")
        measured = {"sha256": hashlib.sha256(content).hexdigest(), "num_bytes": len(content)}
        entries.append(entry_with(name=name, kind=kind, file=file, settings=settings, **measured))
    for module in ("charrnn.commands.corpora", "charrnn.text.sources"):
        monkeypatch.setattr(f"{module}.load_catalogue", lambda: tuple(entries))
    monkeypatch.setenv("CHARRNN_CORPORA", str(folder))
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def settings_of(command):
    """Return a function that trains nothing and returns the settings of a command line that are not
    as for any text, each with its source."""

    def configure(*arguments):
        ran = command("train", *arguments, "--show-config", "--json")
        assert ran.code == 0, ran.err
        found = json.loads(ran.out)
        del found["corpus"]
        chosen = {name: tuple(one.values()) for name, one in found.items()}
        return {name: one for name, one in chosen.items() if one[1] != "default"}

    return configure


@pytest.mark.parametrize(
    "typed, expected",
    [
        ("girls", {"documents": ("lines", "catalogue")}),
        ("towns", {"column": ("name", "catalogue")}),
        ("umlauts", {"encoding": ("latin-1", "catalogue")}),
        ("girls girls", {"documents": ("lines", "catalogue")}),
        # What is typed takes precedence, and replaces what would contradict it.
        ("girls --documents none", {"documents": ("none", "flag")}),
        ("towns --documents lines", {"documents": ("lines", "flag")}),
        ("girls --column place", {"column": ("place", "flag")}),
        ("umlauts --alphabet byte", {"alphabet": ("byte", "flag")}),
        # A path, and texts that are read in different ways.
        ("girls.txt", {}),
        ("shelf/girls.txt", {}),
        ("girls towns", {}),
    ],
)
@pytest.mark.usefixtures("shelf")
def test_what_a_text_of_the_catalogue_is_read_with(settings_of, typed, expected):
    assert settings_of(*typed.split()) == expected


@pytest.mark.usefixtures("shelf")
def test_the_catalogue_is_listed(command):
    listed = command("corpora list").out.split("\n")[3:6]
    assert [line.split() for line in listed] == [
        ["girls", "192", "yes", "txt", "none", "MIT"],
        ["towns", f"{len(TABLE) + 48}", "yes", "csv", "none", "MIT"],
        ["umlauts", f"{len(TABLE)}", "yes", "dat", "none", "MIT"],
    ]
    assert json.loads(command("corpora --kind csv --json").out)[0]["name"] == "towns"


def test_a_text_that_was_fetched_is_found(command, shelf):
    file = shelf / "girls.txt"
    fetch_girls = "corpora fetch girls"
    assert command(fetch_girls).out == f"{file}\n"
    assert json.loads(command(fetch_girls, "--json").out) == {"name": "girls", "path": str(file)}
    file.write_text("!")
    assert f"{file} exists but is not the catalogue's girls" in command(fetch_girls).err
