"""Shared fixtures: a synthetic corpus, tiny models that are trained on it once, and functions that
run the command.

Each worker takes a copy of a model that was trained once. Tests that change a run change a copy of
it (`lab`).
"""

from __future__ import annotations

import gc
import hashlib
import importlib
import io
import json
import os
import random
import shutil
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, get_args

import environment
import pytest
from command_lines import Ran
from environment import REPOSITORY, TESTS, clean_environment

__all__ = ["REPOSITORY", "Ran", "clean_environment"]  # of the modules beside it

SMALL_RUN: dict[str, Any] = {
    "hidden_size": 12,
    "embedding_size": 8,
    "batch_size": 4,
    "bptt_length": 16,
}
SMALL_RUN |= {"device": "cpu", "precision": "fp32"}
"""Settings of a run that trains in milliseconds, with the same result on every machine."""
SMALL_FLAGS = tuple(
    part for name, value in SMALL_RUN.items() for part in ("--set", f"{name}={value}")
)
"""The same on a command line."""

FEW_SAMPLES = {
    "analyses.evidence.card.NUM_OTHERS": 9,
    "analyses.evidence.plan.NUM_PAIRS": 64,
    "analyses.evidence.plan.NUM_PAIRS_CHOOSING": 16,
    "analyses.evidence.plan.NUM_CLAMPED_SEGMENTS": 4,
    "analyses.gradients.NUM_LOSSES": 16,
}
"""Samples of the fixture `few_samples`."""

# What these test, processes that are forked and killed, pseudo-terminals and limits of memory, is
# not there on Windows, nor are the modules that they import.
collect_ignore = []
if sys.platform == "win32":
    collect_ignore = [
        f"tests/faults/test_{name}.py"
        for name in (
            *("commit_order", "fuzz", "hostile", "interrupts", "io_errors", "kill", "memory"),
            *("off_terminal", "terminal_safety", "torchrun", "waiting"),
        )
    ]

TRAINING = {"train_run", "fork_server"}
"""Fixtures that every fixture of a trained run depends on, directly or indirectly."""

MAX_WORKERS = 4
"""Processes of `pytest` at most: each needs up to 1.5 GB, mostly for torch and traces of models."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("charrnn")
    group.addoption(
        "--perturb",
        type=int,
        metavar="N",
        help=(
            "imitate another processor: multiply all initial weights by 1 + 1e-6 times noise of"
            " seed N"
        ),
    )
    group.addoption(
        "--without",
        action="append",
        default=[],
        metavar="PACKAGE",
        help="imitate a machine on which this package cannot be imported (repeatable)",
    )
    group.addoption(
        "--shuffle", type=int, metavar="N", help="run the tests in the random order of seed N"
    )
    group.addoption(
        "--record", action="store_true", help="record what test_golden_outputs.py compares"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Settle the environment before NumPy, torch or numba is imported, and before xdist starts its
    workers."""
    home = tempfile.TemporaryDirectory(prefix="charrnn-tests-home-")
    config.add_cleanup(home.cleanup)
    sys.path.append(str(environment.IMITATION))
    import imitation

    # Whatever PYTHONDONTWRITEBYTECODE says: pytest rewrites 300 files, which takes five seconds,
    # and the other workers and the next run read what one has written.
    sys.dont_write_bytecode = False
    # The process that only starts the workers runs no test.
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        settle_hypothesis()
    variables = imitation.variables(config.getoption("--perturb"), config.getoption("--without"))
    environment.settle(Path(home.name), variables)
    imitation.install_from_environment(variables)


def settle_hypothesis() -> None:
    """Let hypothesis try the same examples on every machine, however slow it is, and write no file
    of those that failed elsewhere."""
    import hypothesis

    hypothesis.settings.register_profile(
        "charrnn", max_examples=50, derandomize=True, deadline=None, database=None
    )
    hypothesis.settings.load_profile("charrnn")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return a worker for each core, at most `MAX_WORKERS`; 0 for one or two files, to save their
    start."""
    if len(config.args) <= 2 and all(
        Path(argument.partition("::")[0]).is_file() for argument in config.args
    ):
        return 0
    num_cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return min(num_cores, MAX_WORKERS)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """After a failure, print the environment and the options that repeat it."""
    if not {"failed", "error"} & terminalreporter.stats.keys():
        return
    chosen = {name: config.getoption(name) for name in ("perturb", "without", "shuffle")}
    options = [f"--{name} {value}" for name, value in chosen.items() if value not in (None, [])]
    terminalreporter.write_line("environment: " + " ".join([*environment.described(), *options]))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests of freshly trained models, before `-m` selects; shuffle with --shuffle."""
    for item in items:
        if TRAINING & {*getattr(item, "fixturenames", ())}:
            item.add_marker(pytest.mark.trained)
    if (seed := config.getoption("--shuffle")) is not None:
        random.Random(seed).shuffle(items)


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Let every other worker import the last test files first: pytest rewrites and keeps each file
    once, not twice."""
    if (
        os.environ.get("PYTEST_XDIST_WORKER", "gw0")[-1] in "13"
        and Path(session.config.args[0]).is_dir()
    ):
        for path in sorted(TESTS.rglob("test_*.py"), reverse=True):
            sys.path.append(str(path.parent))
            with suppress(Exception, pytest.skip.Exception):  # reported when it is collected
                importlib.import_module(path.stem)


def pytest_collection_finish() -> None:
    """Let the garbage collector forget the modules and tests: to look through them takes a
    twentieth of the time."""
    gc.set_threshold(50_000, 20, 20)
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def shortcuts():
    """Let every training write a tenth of the usual sample at each evaluation: the tests' runs are
    short.

    Read the entry points of installed packages, which takes 7 ms, once for each state of the
    folders of `sys.path`.
    """
    read = cache(
        lambda folders, chosen, entry_points=metadata.entry_points: entry_points(**dict(chosen))
    )

    def entry_points(**chosen):
        folders = [
            (path, os.stat(path).st_mtime_ns) for path in sys.path if path and os.path.exists(path)
        ]
        return read(tuple(folders), tuple(chosen.items()))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("charrnn.training.session.SAMPLE_LENGTH", 24)
        patch.setattr(metadata, "entry_points", entry_points)
        yield


def copy_run(run: Path, target: Path) -> Path:
    """Copy a run that tests share; return the copy."""
    return shutil.copytree(run, target)


@pytest.fixture(autouse=True)
def standard_environment(monkeypatch):
    """Start every test with the same environment and signal handlers, whatever the last one
    changed, and without the findings that it cached.

    Replaces `os.fsync` by a check that the file is open: no test file has to survive a power cut,
    and disks differ in how long a sync takes. That everything is synced which is promised to be is
    tested by `tests/faults/test_commit_order.py`.
    """
    monkeypatch.setattr(os, "fsync", os.fstat)
    environment.restore()
    yield
    environment.restore()
    shutil.rmtree(os.environ["CHARRNN_CACHE"], ignore_errors=True)


@pytest.fixture
def few_samples(monkeypatch):
    """Let long measurements take few samples, for tests to which the number makes no difference."""
    for place, number in FEW_SAMPLES.items():
        monkeypatch.setattr(f"charrnn.{place}", number)


def as_json(ran: Ran) -> Any:
    """Return the value on the only line that a command printed."""
    assert (ran.code, ran.notes, ran.out.count("\n")) == (0, "", 1)
    return json.loads(ran.out)


@dataclass(frozen=True, slots=True)
class TrainedRun:
    """A trained run and the events of its training."""

    path: Path
    events: tuple[Any, ...]

    @property
    def name(self) -> str:
        return self.path.name


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Run `charrnn LINE ARGUMENTS` in this process, in an empty folder, and return its code and its
    two streams. The words of the line have blanks between them."""
    from charrnn.commands.app import run

    monkeypatch.chdir(tmp_path)

    def call(line, *arguments, stdin=b""):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        capsys.readouterr()
        code = run([*line.split(), *map(str, arguments)])
        printed = capsys.readouterr()
        return Ran(code, printed.out, printed.err)

    return call


@pytest.fixture
def process(tmp_path):
    """Run `python ARGUMENTS` in a new process, in the same empty folder; `-m charrnn ...` is the
    command."""

    def call(*arguments, stdin=b"", **environment):
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            input=stdin,
            capture_output=True,
            cwd=tmp_path,
            env=clean_environment(**environment),
            timeout=600,
            check=False,
        )

    return call


@pytest.fixture(scope="session")
def corpus():
    """Return the training text of the models below."""
    from synthetic import make_corpus

    return make_corpus(num_chars=40_000)


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """Return a folder that all workers of this run of the tests share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait until no other worker has a file locked; lock it."""
    from charrnn.system.files import try_lock, unlock

    with path.open("a+b") as file:
        while not try_lock(file):
            time.sleep(0.05)
        try:
            yield
        finally:
            unlock(file)


@pytest.fixture(scope="session")
def corpus_file(corpus, shared):
    """Write the corpus to `synthetic.txt`; an absolute path, so that its runs find it from any
    folder."""
    path = shared / "synthetic.txt"
    with locked(shared / "synthetic.lock"):
        if not path.exists():
            path.write_bytes(corpus.text.encode())
    return path


@pytest.fixture(scope="session")
def train_run(corpus_file, shared, tmp_path_factory):
    """Return a function that trains a run on the corpus, or copies it from a worker; settings as
    for `Config`."""
    import charrnn
    from charrnn.training.events import TrainEvent

    classes = {cls.event: cls for cls in get_args(TrainEvent)}

    def make(name, **settings):
        config = charrnn.Config(**{"corpus": (str(corpus_file),), **SMALL_RUN, **settings})
        key = hashlib.sha256(repr((name, config)).encode()).hexdigest()[:16]
        trained, log = shared / key / name, shared / f"{key}.json"
        with locked(shared / f"{key}.lock"):
            if not log.exists():
                made = [event.to_json() for event in charrnn.train(config, out=trained)]
                log.write_text(json.dumps(made), encoding="utf-8")
        events = [
            classes[one.pop("event")](**one) for one in json.loads(log.read_text(encoding="utf-8"))
        ]
        return TrainedRun(copy_run(trained, tmp_path_factory.mktemp("runs") / name), tuple(events))

    return make


@pytest.fixture(scope="session")
def lstm(train_run):
    """Train an LSTM until it has learned the corpus: the words, the quotations, the brackets."""
    sizes = {
        "steps": 300,
        "hidden_size": 32,
        "embedding_size": 16,
        "batch_size": 16,
        "bptt_length": 64,
    }
    rates = {"learning_rate": 0.03, "weight_decay": 0.1, "muon_scale": 4.0, "weight_average": 0.9}
    return train_run("lstm-001", **sizes, **rates)


@pytest.fixture(scope="module")
def model(lstm):
    """Load the LSTM; each module has a model of its own."""
    import charrnn

    return charrnn.load(lstm.path)


@pytest.fixture(scope="session")
def gru(train_run):
    """Train a GRU of two layers for a few steps."""
    return train_run("gru-001", cell_type="gru", num_layers=2, steps=12)


@pytest.fixture(scope="session")
def rnn(train_run):
    """Train a plain RNN for a few steps."""
    return train_run("rnn-001", cell_type="rnn", steps=12)


@pytest.fixture(scope="session")
def byte_run(train_run, shared):
    """Train an LSTM on the bytes of a text with characters of one, two, three and four bytes."""
    path = shared / "bytes.txt"
    with locked(shared / "bytes.lock"):
        if not path.exists():
            path.write_bytes("zäb «molü» 語 🙂\n".encode() * 400)
    return train_run(
        "byte-001", corpus=(str(path),), alphabet="byte", steps=150, learning_rate=0.03
    )


@pytest.fixture(scope="session")
def alphabet_run(tmp_path_factory):
    """Build a run that generates the alphabet and a newline, over and over. Forty characters of it
    are no loop."""
    from built_runs import build_chain

    return build_chain(
        tmp_path_factory.mktemp("runs") / "alphabet-001", "\n" + string.ascii_lowercase
    )


@pytest.fixture(scope="session")
def loop_run(tmp_path_factory):
    """Build a run whose most likely text is a loop of five characters."""
    from built_runs import build_chain

    return build_chain(tmp_path_factory.mktemp("runs") / "loop-001", "\nabcd")


@pytest.fixture
def lab(lstm, command, tmp_path):
    """Copy the LSTM's run to `checkpoints/` in the working folder, to read or to damage; return the
    copy."""
    copied = tmp_path / "checkpoints" / lstm.name
    copy_run(lstm.path, copied)
    return copied


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The working folder, which is empty, and whose name is a pattern."""
    folder = tmp_path / "here [1]*"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder
