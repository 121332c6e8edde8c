"""A model hub on the loopback: what huggingface_hub asks of one, answered from folders."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


@dataclass
class Repository:
    """Files by their path, for each revision: a name, or the 40 digits of a commit."""

    revisions: dict[str, dict[str, bytes]]
    is_private: bool = False
    sizes: dict[str, int] = field(default_factory=dict)
    """Sizes that the hub claims, by the name of the file."""
    refused: dict[str, str] = field(default_factory=dict)
    """Files that the hub does not send, with its message."""
    headers: dict[str, str] = field(default_factory=dict)
    """Headers of the hub's answers that are wrong."""
    endless: set[str] = field(default_factory=set)
    """Files after which the hub sends on and on."""

    def commit_of(self, revision: str) -> str | None:
        """Return the commit that a revision means now; None if there is none."""
        for name, files in self.revisions.items():
            content = b"".join(path.encode() + data for path, data in sorted(files.items()))
            commit = hashlib.sha1(content).hexdigest()
            if revision in (name, commit):
                return commit
        return None

    def files_of(self, revision: str) -> dict[str, bytes]:
        """Return the files of a revision that exists."""
        commit = self.commit_of(revision)
        return next(
            files for name, files in self.revisions.items() if self.commit_of(name) == commit
        )


@dataclass
class Hub:
    """A hub that runs."""

    address: str
    repositories: dict[str, Repository] = field(default_factory=dict)
    is_broken: bool = False
    """Whether it answers every request with an error."""
    status: int = 0
    """The status with which it answers every request; 0 for the right one."""
    requests: list[str] = field(default_factory=list)
    """The method and the path of every request."""
    agents: set[str] = field(default_factory=set)
    """What the clients say about themselves."""

    def add(self, name: str, files: dict[str, bytes], **options: object) -> Repository:
        """Publish files as the branch `main` of a repository."""
        self.repositories[name] = Repository({"main": files}, **options)
        return self.repositories[name]

    def fetched(self) -> set[str]:
        """Return the names of the files that were fetched, and forget the requests."""
        names = {
            line.rpartition("/")[2]
            for line in self.requests
            if line.startswith("GET /") and "/resolve/" in line
        }
        self.requests.clear()
        return names


@contextmanager
def running_hub() -> Iterator[Hub]:
    """Run a hub in a thread."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.requests.append(f"{self.command} {path}")
            hub.agents.add(self.headers.get("User-Agent", ""))
            if hub.is_broken:
                self.refuse(500, "")
                return
            if hub.status:
                self.refuse(hub.status, "", {"X-Error-Message": "in its own words"})
                return
            if path.startswith("/api/models/"):
                owner, name, kind, *rest = path.removeprefix("/api/models/").split("/")
                self.answer(f"{owner}/{name}", kind, rest)
            elif path.count("/") >= 5:
                owner, name, kind, *rest = path.removeprefix("/").split("/")
                self.answer(f"{owner}/{name}", kind, rest)
            else:
                self.refuse(404, "")

        def answer(self, name: str, kind: str, rest: list[str]) -> None:
            repository = hub.repositories.get(name)
            if repository is None or repository.is_private:
                self.refuse(401, "RepoNotFound")
                return
            file = rest.pop() if kind == "resolve" else ""
            commit = repository.commit_of("/".join(rest))
            if commit is None:
                self.refuse(404, "RevisionNotFound")
                return
            files = repository.files_of(commit)
            if kind == "revision":
                siblings = [{"rfilename": path} for path in files]
                self.send_json({"id": name, "modelId": name, "sha": commit, "siblings": siblings})
            elif kind == "tree":
                entries = [
                    {
                        "type": "file",
                        "path": path,
                        "size": repository.sizes.get(path, len(data)),
                        "oid": hashlib.sha1(data).hexdigest(),
                    }
                    for path, data in files.items()
                ]
                self.send_json(entries)
            elif file in repository.refused and self.command == "GET":
                self.refuse(403, "", {"X-Error-Message": repository.refused[file]})
            elif file in files:
                data = files[file]
                size = repository.sizes.get(file, len(data))
                headers = {
                    "ETag": f'"{hashlib.sha1(data).hexdigest()}"',
                    "X-Repo-Commit": commit,
                    "X-Linked-Size": str(size),
                    **repository.headers,
                }
                if file in repository.endless and self.command == "GET":
                    self.send_on(data, headers)
                    return
                self.send(200, data, headers)
            else:
                headers = {"X-Repo-Commit": commit, **repository.headers}
                self.refuse(404, "EntryNotFound", headers)

        def send_json(self, value: object) -> None:
            self.send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

        def refuse(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
            self.send(status, b"{}", {"X-Error-Code": code, **(headers or {})})

        def send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        def send_on(self, data: bytes, headers: dict[str, str]) -> None:
            self.send_response(200)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.close_connection = True
            with suppress(OSError):
                for _ in range(100):
                    self.wfile.write(data + bytes(1 << 20))

        def log_message(self, *arguments: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub = Hub(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
