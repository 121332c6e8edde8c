"""A folder in which histories of commands happen, and what must hold after each of them."""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import io
import json
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pytest
from conftest import SMALL_RUN, Ran
from every_option import write_texts

sys.path.append(str(Path(__file__).parents[2] / "tests" / "faults"))
from faulty_disk import FaultyDisk, Killed, faulty_disk
from saved_runs import FILES, metrics_of

from charrnn.commands.app import run
from charrnn.errors import CheckpointError
from charrnn.runs.checkpoint import read_checkpoint
from charrnn.runs.reader import RunReader

HANGS_AFTER = 300
"""Seconds after which a command hangs, and the process ends with all its stacks."""
UNEXPECTED = re.compile(r"unexpected [A-Z]\w+|Traceback|Warning:|\.py:\d")
"""What no message contains."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGES = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.truncate")
READ_ONLY = "read-only disk"
SURROUNDINGS: dict[str, dict[str, str]] = {
    "pipe": {},
    "terminal": {"TERM": "xterm-256color"},
    "narrow": {"TERM": "xterm", "COLUMNS": "20"},
    "odd terminal": {"TERM": "no-such-terminal", "COLUMNS": "0"},
    "no home": {"HOME": "/proc/none", "CHARRNN_CACHE": "", "XDG_CACHE_HOME": ""},
    "no temporary folder": {"TMPDIR": "/proc/none"},
    "C locale": {"LC_ALL": "C", "LANG": "C"},
    "no shelf": {"CHARRNN_CORPORA": ""},
    READ_ONLY: {},
}
"""Variables of each kind of surroundings."""
ENDING = (signal.SIGINT, signal.SIGALRM, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
TERMINALS = ("terminal", "narrow", "odd terminal")


class Violation(AssertionError):
    """Something that must hold after a command does not."""


@dataclass(frozen=True)
class Mishap:
    """What happens during a command: a signal or a kill at a function call, or a fault of the disk
    at an operation on the files of the world."""

    kind: str = "none"
    at: int = 1
    """The number of the call or of the operation, from 1; later than the last one, nothing happens."""
    signals: tuple[int, ...] = ()


@dataclass(eq=False)
class Made:
    """A run that the history made."""

    path: Path
    text: str
    """Name of the text that it learns."""
    reading: str = ""
    """Options that say how the text is read."""
    start: tuple[str, ...] = ()
    """The command that started it; () for one that was imported."""
    twin: Path | None = None
    """The same run without any interruption."""
    is_damaged: bool = False
    is_moved: bool = False
    """Whether the run, or its text, is no longer where it was."""


class Output(io.TextIOWrapper):
    """A standard stream of a command, which is a terminal or not, with a file behind it."""

    def __init__(self, *, is_terminal: bool, encoding: str) -> None:
        descriptor = os.memfd_create("output")
        self.kept = os.dup(descriptor)
        super().__init__(os.fdopen(descriptor, "wb", 0), encoding=encoding, write_through=True)
        self.is_terminal = is_terminal

    def isatty(self) -> bool:
        return self.is_terminal

    def so_far(self) -> str:
        """Return what was written to it until now."""
        return os.pread(self.kept, 1 << 20, 0).decode("utf-8", "replace")

    def text(self) -> str:
        """Close it, and return all that was written to it."""
        self.close()
        with os.fdopen(self.kept, "rb") as file:
            file.seek(0)
            return file.read().decode("utf-8", "replace")


class Input(io.TextIOWrapper):
    """An empty standard input, which is a terminal or not."""

    def __init__(self, *, is_terminal: bool) -> None:
        super().__init__(io.BytesIO())
        self.is_terminal = is_terminal

    def isatty(self) -> bool:
        return self.is_terminal


@dataclass(frozen=True)
class Seen:
    """What was there before a command."""

    stamps: dict[str, tuple[int, int, int]]
    """Of each file its size, time and number."""
    whole: dict[Path, list[str]]
    """The whole checkpoints of each run."""
    threads: set[threading.Thread]
    processes: set[int]


@dataclass
class _Warden:
    """Notes each connection, and each change outside of the world."""

    allowed: tuple[str, ...]
    """Beginnings of the paths that may be changed."""
    read_only: str | None = None
    """The folder in which every change fails, as on a disk that is mounted for reading."""
    found: list[str] = field(default_factory=list)


_wardens: list[_Warden] = []


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if not _wardens:
        return
    warden = _wardens[-1]
    if event.startswith("socket."):
        # A pair of sockets is how an event loop wakes itself.
        if arguments[1:2] != (socket.AF_UNIX,):
            warden.found.append(f"{event} {arguments[1:]}")
    elif event in CHANGES or (event == "open" and (arguments[2] or 0) & WRITING):
        path = arguments[0]
        if isinstance(path, int):  # an open file
            return
        name = os.path.abspath(os.fsdecode(path))
        if not name.startswith(warden.allowed) and "__pycache__" not in name:
            warden.found.append(f"{event} {name}")
        if warden.read_only is not None and name.startswith(warden.read_only):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), name)


sys.addaudithook(_watch)


class World:
    """A folder with texts, in which commands are run."""

    def __init__(self) -> None:
        # Below the usual temporary folder: a command may run without the one that TMPDIR names.
        self.root = Path(tempfile.mkdtemp(prefix="history-")).resolve()
        self.before = Path.cwd()
        self.work = self.root / "work"
        for name in ("work", "elsewhere", "shelf", "twins", "temporary", "home"):
            (self.root / name).mkdir()
        write_texts(self.work)
        small = {**SMALL_RUN, "hidden_size": 6, "threads": 1, "evaluate_every": 2}
        (self.work / "small.yaml").write_text(json.dumps(small))
        self.kept = {path.name: path.read_bytes() for path in self.work.iterdir()}
        self.runs: list[Made] = []
        self.texts: dict[Any, str] = {}
        """What each model wrote to each request."""
        self.num_named = 0
        self.lines: list[str] = []

    def close(self) -> None:
        os.chdir(self.before)
        shutil.rmtree(self.root, ignore_errors=True)

    def fail(self, problem: str) -> NoReturn:
        """Raise Violation with the history that led to it."""
        raise Violation("\n".join([*self.lines, problem]))

    def name(self, suffix: str = "") -> str:
        """Return a new name."""
        self.num_named += 1
        return f"n{self.num_named}{suffix}"

    def call(
        self,
        *words: object,
        codes: tuple[int, ...] = (0,),
        writes: tuple[Path, ...] = (),
        surroundings: str = "pipe",
        mishap: Mishap = Mishap(),
        folder: Path | None = None,
        beside: Callable[[Output, threading.Event], None] | None = None,
        **environment: str,
    ) -> Ran | None:
        """Run a command, and check all that must hold whatever it was; None if it was killed.

        `codes` are the right exit codes, and `writes` the files and folders it may change. `beside`
        runs in a thread meanwhile; it gets the command's standard output, and the event of its end.
        """
        arguments = [str(word) for word in words]
        seen = self.look(f"charrnn {' '.join(arguments)}  [{surroundings}, {mishap}]")
        warden = self._warden(surroundings, mishap)
        os.chdir(folder or self.work)
        variables = {**SURROUNDINGS[surroundings], **environment}
        with self._surrounded(variables, is_terminal=surroundings in TERMINALS) as streams:
            _wardens.append(warden)
            try:
                with beside_it(beside, streams[0]):
                    code = self._run(arguments, mishap)
            finally:
                _wardens.pop()
        ran = Ran(-9 if code is None else code, *(stream.text() for stream in streams))

        # The exit code, and the message.
        problems = [f"is not allowed: {one}" for one in warden.found]
        if code is not None:
            right = right_codes(codes, mishap)
            if surroundings == READ_ONLY and writes:
                right |= {1, 2, 3, 4}
            if code not in right:
                problems.append(f"ended with {code}, not one of {sorted(right)}")
            problems += wrong_messages(ran, arguments, is_wrapped=surroundings in TERMINALS)

        # What was changed: nothing by a command that is refused.
        allowed = []
        if code in (None, 0) or mishap.kind != "none":
            allowed = [path.absolute() for path in writes]
        problems += self.problems_since(seen, allowed, is_killed=code is None, mishap=mishap)
        self.report(problems, ran)
        return None if code is None else ran

    def look(self, line: str) -> Seen:
        """Note what is about to be done, and return what is there before."""
        self.lines.append(line.replace(str(self.root), "ROOT"))
        whole = {made.path: whole_checkpoints(made.path) for made in self.runs}
        return Seen(self._stamps(), whole, {*threading.enumerate()}, children())

    def problems_since(
        self, seen: Seen, allowed: Sequence[Path], *, is_killed: bool, mishap: Mishap
    ) -> list[str]:
        """Return what is wrong with the world since it was looked at; `allowed` may have changed.

        A command that is killed leaves temporary files. So does Python where the disk refuses to
        remove the file by which it tries the temporary folder.
        """
        may_leave = is_killed or mishap.kind == "disk broken"
        # Files: what is not ours is as it was.
        problems = []
        temporary = self.root / "temporary"
        ours = (*allowed, self.root / "home")
        for path in self._stamps().items() ^ seen.stamps.items():
            name = self.root / path[0]
            is_ours = any(name.is_relative_to(one) for one in ours)
            is_temporary = may_leave and name.parent == temporary
            is_half_written = is_killed and ".tmp-" in name.name
            if not (is_ours or is_temporary or is_half_written or name.name == "lock"):
                problems.append(f"changed or left {path[0]}")

        # What was saved stays saved.
        for made, old in seen.whole.items():
            new = whole_checkpoints(made)
            if max(old, default="") > max(new, default=""):
                problems.append(f"lost {made.name}: had {old}, has {new}")

        # Nothing goes on.
        left = [one for one in threading.enumerate() if one not in seen.threads and not one.daemon]
        problems += [f"left the thread {one.name}" for one in left if "Thread" not in one.name]
        problems += [f"left the process {number}" for number in children() - seen.processes]
        shutil.rmtree(temporary)
        temporary.mkdir()
        return problems

    def report(self, problems: Sequence[str], ran: Ran) -> None:
        """Raise Violation if there are problems."""
        if problems:
            shown = "\n".join(dict.fromkeys(problems[:12]))
            self.fail(f"{shown}\n{ran.code} {ran.out[-500:]}\n{ran.err[-900:]}")

    def _warden(self, surroundings: str, mishap: Mishap) -> _Warden:
        warden = _Warden((str(self.root), "/dev/", os.environ["CHARRNN_CACHE"]))
        # Python takes the next temporary folder where a file in the first one cannot be written.
        if surroundings in ("no temporary folder", "no home") or mishap.kind.startswith("disk"):
            warden.allowed += ("/tmp", "/var/tmp", "/proc")
        if surroundings == READ_ONLY:
            warden.read_only = str(self.work)
        return warden

    @contextlib.contextmanager
    def _surrounded(
        self, variables: dict[str, str], *, is_terminal: bool
    ) -> Iterator[tuple[Output, ...]]:
        """Set the environment and the streams of a command."""
        encoding = "ascii" if variables.get("LC_ALL") == "C" else "utf-8"
        streams = tuple(Output(is_terminal=is_terminal, encoding=encoding) for _ in range(2))
        with pytest.MonkeyPatch.context() as here:
            settled = {
                "HOME": self.root / "home",
                "TMPDIR": self.root / "temporary",
                "CHARRNN_CORPORA": self.root / "shelf",
            }
            for name, value in {**settled, **variables}.items():
                here.setenv(name, str(value))
                if not value:
                    here.delenv(name)
            here.setattr(tempfile, "tempdir", None)
            here.setattr(sys, "stdin", Input(is_terminal=is_terminal))
            here.setattr(sys, "stdout", streams[0])
            here.setattr(sys, "stderr", streams[1])
            yield streams

    def _run(self, arguments: list[str], mishap: Mishap) -> int | None:
        """Return the exit code of a command, None if it was killed."""
        disk = FaultyDisk(self.root)
        num_calls = 0

        def count(*_: object) -> None:
            nonlocal num_calls
            num_calls += 1
            if num_calls == mishap.at:
                if mishap.kind == "kill":
                    disk.is_dead = True
                    raise Killed
                for number in mishap.signals:
                    os.kill(os.getpid(), number)

        before = {number: signal.getsignal(number) for number in ENDING}
        for number in ENDING[2:]:
            signal.signal(number, _die)
        faulthandler.dump_traceback_later(HANGS_AFTER, exit=True, file=2)
        try:
            with contextlib.ExitStack() as stack:
                if mishap.kind.startswith("disk"):
                    number = {"disk full": errno.ENOSPC, "disk broken": errno.EIO}.get(mishap.kind)
                    fault = Killed if number is None else _Failure(number)
                    stack.enter_context(faulty_disk(self.root, mishap.at, fault))
                elif mishap.kind in ("kill", "signal"):
                    disk = stack.enter_context(faulty_disk(self.root))
                    stack.callback(sys.setprofile, None)
                    sys.setprofile(count)
                return run(arguments)
        except KeyboardInterrupt:  # before the command started, or after it ended
            return 130
        except Killed:
            return None
        finally:
            faulthandler.cancel_dump_traceback_later()
            signal.setitimer(signal.ITIMER_REAL, 0)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stamps(self) -> dict[str, tuple[int, int, int]]:
        """Return the size, the time and the number of each file of the world but caches."""
        found = {}
        folders = [""]
        while folders:
            within = folders.pop()
            for entry in os.scandir(self.root / within):
                name = f"{within}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    folders.append(f"{name}/")
                else:
                    status = entry.stat(follow_symlinks=False)
                    found[name] = (status.st_size, status.st_mtime_ns, status.st_ino)
        return found


@dataclass(frozen=True)
class _Failure:
    number: int

    def __call__(self) -> OSError:
        return OSError(self.number, os.strerror(self.number))


def _die(number: int, frame: object) -> None:
    """End the command as a signal does that it does not handle."""
    raise Killed


@contextlib.contextmanager
def beside_it(
    work: Callable[[Output, threading.Event], None] | None, output: Output
) -> Iterator[None]:
    """Run something in a thread, if there is something, during a block, whose end it is told."""
    if work is None:
        yield
        return
    is_over = threading.Event()
    thread = threading.Thread(target=work, args=(output, is_over), daemon=True)
    thread.start()
    yield
    is_over.set()
    thread.join()


def children(process: int | str = "self") -> set[int]:
    """Return the numbers of the processes that one has started; none where nobody tells."""
    found: set[int] = set()
    for path in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # a thread has ended since
            found |= {int(number) for number in path.read_text().split()}
    return found


def right_codes(codes: Iterable[int], mishap: Mishap) -> set[int]:
    """Return how a command may end to which something happens, and which else ends with `codes`."""
    right = {*codes} | {128 + number for number in mishap.signals}
    if mishap.kind.startswith("disk"):
        right |= {1, 2, 3, 4}
    return right


def wrong_messages(ran: Ran, arguments: Sequence[str], *, is_wrapped: bool = False) -> list[str]:
    """Return what is wrong with what a command printed. Where a terminal wraps messages, their
    lines are not counted."""
    is_json = "--json" in arguments
    problems = []
    err = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", ran.err).replace("\r", "\n")
    if UNEXPECTED.search(err):
        problems.append("has an unexpected message")
    num_errors = len(re.findall(r"(?m)^error:(?: |$)", err))
    # A signal can come after the error was printed.
    is_late = num_errors == 1 and ran.code > 128
    if num_errors != (1 <= ran.code <= 6) and not is_late:
        problems.append(f"has {num_errors} errors")
    num_lines = len(re.findall(r"(?m)^       \S", err.partition("error: ")[2]))
    if num_lines > 2 and not is_wrapped:
        problems.append("has more than three lines of an error")
    if is_json and ran.code == 0:
        try:
            for line in ran.out.splitlines():
                json.loads(line, parse_constant=_refuse)
        except ValueError as error:
            problems.append(f"is no JSON: {error}")
    return problems


def _refuse(word: str) -> None:
    raise ValueError(word)


def whole_checkpoints(path: Path) -> list[str]:
    """Return the names of the checkpoints of a run that can be read, in order."""
    found = []
    with contextlib.suppress(CheckpointError, OSError):
        for name in RunReader(path).checkpoints():
            with contextlib.suppress(CheckpointError, OSError):
                read_checkpoint(path / name, with_training=True)
                found.append(name)
    return found


def steps_of(path: Path) -> int | None:
    """Return the budget of a run; None if its configuration is damaged."""
    with contextlib.suppress(CheckpointError):
        return RunReader(path).read_config().steps
    return None


def differences(path: Path, twin: Path, *, is_exact: bool) -> list[str]:
    """Return which files of a finished run differ from those of its twin; of one that is not exact,
    only weights and what training goes on with count."""
    latest = (twin / "latest").read_text().strip()
    names = [f"{latest}/{file}" for file in FILES if "tensors" in file]
    if is_exact:
        names = ["latest", "best", "config.yaml", "vocab.json", "samples.txt"]
        names += [f"{latest}/{file}" for file in FILES]
    found = [name for name in names if _content(path / name) != _content(twin / name)]
    if is_exact and metrics_of(path) != metrics_of(twin):
        found.append("metrics.jsonl")
    if is_exact:
        found += [one.name for one in path.iterdir() if one.name.startswith(".")]
    return found


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None
