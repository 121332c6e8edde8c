"""A server process that imports torch and the rest once and forks a child for each command: imports
take seconds.

Forking is safe here: torch has computed nothing yet, so there is one thread and no lock that a
child could inherit in a locked state. As a script it reads one JSON object per line: the answer to
{"spawn": [arguments], ...} is the child's process id, to {"wait": id} its exit code (-N: ended by
signal N).
"""

import atexit
import contextlib
import gc
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from environment import HELPERS, clean_environment, python_path
from synthetic import make_corpus


@dataclass(frozen=True, slots=True)
class Child:
    """A command that was started; its output goes to files."""

    fork_server: "ForkServer"
    pid: int
    out_path: Path

    def wait(self) -> int:
        """Wait for the end of the command and return its exit code, -N if signal N ended it."""
        return int(self.fork_server.ask({"wait": self.pid}))

    @property
    def out(self) -> str:
        return self.out_path.read_text()

    @property
    def err(self) -> str:
        return self.out_path.with_suffix(".err").read_text()


class ForkServer:
    """Starts commands in `folder`, each in a process of its own."""

    def __init__(self, folder: Path) -> None:
        """Start the server, and write a `text.txt` to train on into `folder`."""
        self.folder = folder
        (folder / "text.txt").write_bytes(make_corpus(num_chars=3_000, seed=6).text.encode())
        self._num_spawned = 0
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=folder,
            env=clean_environment(PYTHONPATH=python_path(HELPERS)),
            text=True,
        )

    def spawn(self, *arguments: object, prepare: str = "", **details: Any) -> Child:
        """Start `charrnn ARGUMENTS`. `prepare` names a `module:function` that is called in the
        child with `details`."""
        self._num_spawned += 1
        out = self.folder / f"child-{self._num_spawned}.out"
        request = {
            "spawn": list(map(str, arguments)),
            "out": str(out),
            "prepare": prepare,
            "details": details,
        }
        return Child(self, int(self.ask(request)), out)

    def run(self, *arguments: object, **details: Any) -> tuple[int, Child]:
        """Start `charrnn ARGUMENTS`, wait for its end and return its exit code."""
        child = self.spawn(*arguments, **details)
        return child.wait(), child

    def ask(self, request: object) -> str:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the fork server ended"
        return answer

    def __enter__(self) -> "ForkServer":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=600)


def serve(requests: IO[str]) -> bool:
    """Answer requests until the input ends and return False; in a forked child return True at
    once."""
    while line := requests.readline():
        request = json.loads(line)
        if "wait" in request:
            _, status = os.waitpid(request["wait"], 0)
            answer = os.waitstatus_to_exitcode(status)
        else:
            answer = os.fork()
            if not answer:
                become(request)
                return True
        print(answer, flush=True)
    return False


def become(request: dict[str, Any]) -> None:
    """Make this child the requested command, with its own streams and session."""
    import importlib

    os.setsid()
    out = Path(request["out"])
    for number, path in ((0, Path(os.devnull)), (1, out), (2, out.with_suffix(".err"))):
        opened = os.open(
            path, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        )
        os.dup2(opened, number)
        os.close(opened)
    sys.argv = ["charrnn", *request["spawn"]]
    if request["prepare"]:
        module, _, name = request["prepare"].partition(":")
        function = getattr(importlib.import_module(module), name)
        function(**request["details"])
    # Python's stream objects cache properties of the server's streams: whether they can seek or are
    # a terminal.
    sys.stdin, sys.stdout, sys.stderr = (
        None,
        open(1, "w"),  # noqa: SIM115
        open(2, "w", buffering=1),  # noqa: SIM115
    )
    with contextlib.suppress(OSError):  # a fault has closed it
        sys.stdin = open(0)  # noqa: SIM115


if __name__ == "__main__":
    import child_faults  # noqa: F401
    import torch
    import tqdm  # noqa: F401

    import charrnn.compiled.sampling
    import charrnn.training.loop
    import charrnn.training.session
    from charrnn.__main__ import main
    from charrnn.commands.app import run

    assert torch.get_num_threads() == 1
    charrnn.training.session.SAMPLE_LENGTH = (
        24  # A tenth of the usual length: the tests' runs are short.
    )
    os.fsync = lambda descriptor: None  # What survives kill -9 was written, synced or not.
    with contextlib.redirect_stdout(io.StringIO()):
        assert run(["train", "--show-config"]) == 0  # imports what reads a command line
    # Otherwise garbage collection in each child would copy most of torch's memory.
    gc.collect()
    gc.freeze()
    if serve(sys.stdin):
        try:
            main()
        except SystemExit as leaving:
            # Exit without unloading torch, which would take longer than the command.
            atexit._run_exitfuncs()
            sys.stdout.flush()
            os._exit(int(leaving.code or 0))
