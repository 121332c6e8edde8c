"""What the plugins add to histories: a server with a client, full-screen commands, and training
in several processes."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import Ran
from exploring import process_messages
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from machine import PRIMES, Histories, number, picked
from textual.app import App
from world import (
    TERMINALS,
    Made,
    Mishap,
    Output,
    children,
    whole_checkpoints,
    wrong_messages,
)

from charrnn.explore.full_screen import FullScreenApp

LONG = "train prose.txt --recipe small.yaml --cell gru --steps 300 --save-every 5"
"""A training that takes long enough to be killed."""
SECONDS = 900
"""How long another process, or a server, may take to begin, and to end."""
signals = st.one_of(
    st.just(Mishap()),
    st.builds(
        Mishap,
        st.just("signal"),
        st.integers(1, 60_000),
        st.sampled_from([(signal.SIGINT,), (signal.SIGTERM,), (signal.SIGHUP,)]),
    ),
)
"""A full-screen command is not killed here, where its event loop would go on."""


class Client:
    """Asks a server for a text as soon as its address is printed, and stops it by Ctrl-C."""

    def __init__(self, asked: dict[str, Any]) -> None:
        self.asked = asked
        self.answer: Any = None

    def __call__(self, output: Output, is_over: threading.Event) -> None:
        """Wait for the address of the server, or for its end."""
        while not is_over.wait(0.02):
            address = output.so_far()
            if address.endswith("\n"):
                self.ask(address.strip().removeprefix("http://"))
                os.kill(os.getpid(), signal.SIGINT)
                return

    def ask(self, address: str) -> None:
        """Post the request."""
        connection = http.client.HTTPConnection(address, timeout=SECONDS)
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/v1/completions", json.dumps(self.asked), headers)
        self.answer = json.loads(connection.getresponse().read())
        connection.close()


class Plugins(Histories):
    """Histories with what the plugins add."""

    def __init__(self) -> None:
        super().__init__()
        self.num_launched = 0

    @precondition(lambda self: self.runs)
    @rule(pick=number)
    def serve_to_client(self, pick):
        """Ask a server for the text that `sample` writes, through its socket, and stop it."""
        made = picked(self.runs, pick)
        codes = (130,)
        if not whole_checkpoints(made.path):
            codes = (4,)
        client = Client(
            {"prompt": PRIMES[made.text], "max_tokens": 20, "seed": 7, "temperature": 0.8}
        )
        self.world.call("serve", made.path, "--port", "0", codes=codes, beside=client)
        if codes == (130,):
            self.compare(made, f"{client.answer['choices'][0]['text']}\n")

    def fill_screen(self, keys: tuple[str, ...], *words: object, **details: Any) -> Ran | None:
        """Run a full-screen command, without a screen, and press keys."""

        async def press(pilot: Any) -> None:
            for key in keys:
                await pilot.press(key)
                await pilot.pause()

        def start(app: Any) -> Any:
            return App.run(app, headless=True, size=(80, 24), auto_pilot=press)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(FullScreenApp, "run", start)
            for module in ("textual.app", "textual.pilot"):
                patch.setattr(f"{module}.wait_for_idle", process_messages, raising=False)
            return self.world.call(*words, **details)

    @precondition(lambda self: self.runs)
    @rule(pick=number, surroundings=st.sampled_from(TERMINALS), mishap=signals)
    def explore(self, pick, surroundings, mishap):
        """Look through the cells of a run, and quit."""
        made = picked(self.runs, pick)
        codes = self.codes_of(made)
        if codes == (0,):
            codes = self.codes_with_text(made)
        keys = ("down", "right", "q")
        words = ("explore", made.path)
        self.fill_screen(keys, *words, codes=codes, surroundings=surroundings, mishap=mishap)

    @precondition(lambda self: self.num_launched == 0)
    @rule(lot=st.integers(0, 19), rank=st.integers(0, 1))
    def kill_one_of_two_processes(self, lot, rank):
        """Train in two processes, of which one is killed: the other ends, and nothing is lost."""
        if lot:  # three processes start, each of which takes seconds
            return
        self.num_launched += 1
        self.restore("prose.txt")
        path = self.world.work / "checkpoints" / self.world.name()
        start = tuple(LONG.split())
        words = (*start, "--out", str(path), "--processes", "2")
        seen = self.world.look(f"charrnn {' '.join(words)}  [process {rank} is killed]")
        ran, whole = self.launch(words, path, rank)

        # Killed after its last step, it leaves a whole run.
        problems = wrong_messages(ran, words)
        if ran.code not in (0, 1):
            problems.append(f"ended with {ran.code}, not 1")
        if whole and max(whole) > max(whole_checkpoints(path), default=""):
            problems.append(f"lost {max(whole)}")
        problems += self.world.problems_since(seen, [path], is_killed=True)
        self.world.report(problems, ran)
        self.runs.append(Made(path, "prose.txt", "", start))

    def launch(self, words: tuple[str, ...], path: Path, rank: int) -> tuple[Ran, list[str]]:
        """Start a training, and kill a process of it after its first save; return how it ended, and
        what was saved when that was killed."""
        environment = os.environ | {"TMPDIR": str(self.world.root / "temporary")}
        command = [sys.executable, "-m", "charrnn", *words]
        with subprocess.Popen(
            command,
            cwd=self.world.work,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            end = time.monotonic() + SECONDS
            while not (path / "latest").exists() and process.poll() is None:
                if time.monotonic() > end:
                    process.kill()
                time.sleep(0.01)
            whole = whole_checkpoints(path)
            trainers = sorted(children(process.pid))
            if len(trainers) > rank:
                os.kill(trainers[rank], signal.SIGKILL)
            out, err = process.communicate(timeout=SECONDS)
        return Ran(process.returncode, out, err), whole
