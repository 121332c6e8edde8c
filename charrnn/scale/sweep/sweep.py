"""Train the runs of a sweep, each in its own process; a stream of events, in which nothing is printed."""

from __future__ import annotations

import contextlib
import json
import math
import os
import queue
import signal
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, cast

from charrnn.config import FIELD_NAMES, Config
from charrnn.errors import CheckpointError, UsageError, named
from charrnn.extensions import PackageFunction
from charrnn.files import convert_os_errors
from charrnn.process import ENDING_SIGNALS, num_cores
from charrnn.runs.reader import CHECKPOINTS, SWEEP, RunReader
from charrnn.runs.writer import lock_folder
from charrnn.scale.child_process import ChildProcess, killer
from charrnn.scale.sweep.plan import (
    FAILED,
    FINISHED,
    STOPPED,
    SweepPlan,
    SweepRun,
    plan_sweep,
    read_plan,
    record_plan,
    setting_arguments,
)
from charrnn.scale.sweep.table import SweepReport, report_sweep

WATCH_SECONDS = 0.1
"""Time between two looks at the signals."""
MAX_JOBS = 256
"""Runs at a time at most."""
MAX_MESSAGE_BYTES = 4096
"""Bytes of the end of a process's messages that are kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepStartEvent:
    """The sweep's folder is locked and its runs are known."""

    folder: str
    num_runs: int
    num_finished: int
    """Runs that an earlier start of the sweep has finished."""
    jobs: int
    threads: int
    """Processor threads of each run, at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunProgressEvent:
    """A run has taken a step, or has been started (at the step that it continues from)."""

    name: str
    step: int
    num_steps: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RunEndEvent:
    """A run has ended; `is_new` is false if an earlier start of the sweep has finished it."""

    run: SweepRun
    is_new: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepEndEvent:
    """All runs have ended, or a stop was requested (`is_complete` is false); everything is saved."""

    report: SweepReport
    is_complete: bool


AnySweepEvent = SweepStartEvent | RunProgressEvent | RunEndEvent | SweepEndEvent
"""Any event of a sweep."""


def sweep(
    config: Config,
    axes: Mapping[str, object],
    *,
    seeds: int = 3,
    jobs: int = 1,
    out: str | Path | None = None,
    should_stop: Callable[[], int] = lambda: 0,
) -> Generator[AnySweepEvent, None, None]:
    """Train every setting with every seed in the folder `out`; yield what happens, and at the end the table.

    `axes` has the swept fields of the configuration and their values, as lists or as text (`parse_axis`); all other
    settings are those of `config`. Each run is an ordinary run in a folder of its own, trained in a process of its own,
    `jobs` at a time, which share the processor's cores.

    What another start of the sweep has finished is not trained again, and what it began is continued. `should_stop` is
    called all the time; if it returns the number of a signal, the runs are saved and the sweep ends.

    Errors are raised when the first event is requested: UsageError for settings that cannot be swept, or if the folder
    has a sweep with other settings; RunInUseError if another process runs the sweep, or runs that a killed one started.
    """
    plan = plan_sweep(config, axes, num_seeds=seeds)
    if not 1 <= jobs <= MAX_JOBS:
        raise UsageError(f"{named('jobs')} is {jobs}; it must be between 1 and {MAX_JOBS}.")
    folder = Path(out) if out is not None else default_folder(config)
    check_folder(folder)
    with contextlib.ExitStack() as stack:
        with convert_os_errors("create", folder):
            folder.mkdir(parents=True, exist_ok=True)
        lock = stack.enter_context(lock_folder(folder))
        threads = record_plan(folder, plan, max(1, num_cores() // jobs))
        sweeping = _Sweeping(folder, plan, jobs, threads, lock.fileno(), should_stop)
        stack.callback(sweeping.close)
        yield from sweeping.events()


def default_folder(config: Config, checkpoints: Path = CHECKPOINTS) -> Path:
    """Return the folder of a sweep without a name: `sweep-` and the name of the text, in `checkpoints`."""
    from charrnn.text.corpus import corpus_name

    stems = [Path(source).name.removesuffix(".gz").rsplit(".", 1)[0] for source in config.corpus]
    return checkpoints / f"sweep-{corpus_name(stems or ['python'])}"


def check_folder(folder: Path) -> None:
    """Raise UsageError if a folder exists that is neither empty nor that of a sweep."""
    is_foreign = folder.exists() and not folder.is_dir()
    if folder.is_dir() and not (folder / SWEEP).exists():
        with convert_os_errors("read", folder):
            is_foreign = any(entry.name != "lock" for entry in folder.iterdir())
    if is_foreign:
        raise UsageError(f"{folder} exists already and is no sweep\ngive {named('out')} another name")


def read_sweep(folder: str | Path) -> SweepReport:
    """Return the table of the sweep in a folder as far as it has come, also while another process runs it.

    Raises CheckpointError if there is no sweep, or if its file is damaged.
    """
    plan = read_plan(Path(folder))
    return report_sweep(plan, Path(folder), [run_state(Path(folder), plan, run) for run in plan.runs()])


class RunProcess(ChildProcess):
    """Trains a run in its own process, so that no failure of it, and no signal that kills it, ends the others.

    If this process dies, the other one saves and stops.
    """

    def __init__(
        self,
        folder: Path,
        config: Config,
        on_event: Callable[[dict[str, Any] | None], object],
        locked: int | None = None,
        *,
        threads: int = 1,
    ) -> None:
        """Start the run in `folder`, or resume what is saved there.

        It chooses its threads as `charrnn train` does where there are only so many `threads`.
        `on_event` is called in another thread with each event as a JSON object, and at the end with None.
        """
        if folder.is_dir() and RunReader(folder).checkpoints():
            arguments = ["--resume", "--", str(folder)]
        else:
            arguments = ["--out", str(folder), *setting_arguments(config), "--", *config.corpus]
        # A file, not a pipe: a message after this process has died must not fail.
        self._messages: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # closed in `close`
        super().__init__(
            ["train", "--json", *arguments],
            run_environment(os.environ) | {"OMP_NUM_THREADS": str(threads)},
            output=subprocess.PIPE,
            messages=self._messages,
            locked=locked,
        )
        self._on_event = on_event
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in cast("IO[bytes]", self.popen.stdout):
            with contextlib.suppress(ValueError):  # The process was killed amid a line.
                self._on_event(json.loads(line))
        self._on_event(None)

    def wait(self) -> tuple[int, str]:
        """Wait for the end of the process; return its exit code (below 0: minus a signal) and its last messages."""
        code = self.popen.wait()
        self._reader.join()
        self._messages.seek(max(0, self._messages.seek(0, os.SEEK_END) - MAX_MESSAGE_BYTES))
        return code, self._messages.read().decode("utf-8", "replace")

    def close(self) -> None:
        """Kill the process if it runs, and free its resources. The checkpoints are intact."""
        self.kill()
        self._reader.join()
        cast("IO[bytes]", self.popen.stdout).close()
        self._messages.close()


def run_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a run's process: without settings, which its command line contains."""
    settings = {f"CHARRNN_{name.upper()}" for name in FIELD_NAMES}
    return {name: value for name, value in environment.items() if name not in settings}


def error_text(code: int, messages: str) -> str:
    """Return why a process failed: its error message, or the signal that killed it."""
    if code < 0:
        return f"killed by {killer(code)}{' (is there enough memory?)' if code == -signal.SIGKILL else ''}"
    _, separator, error = messages.rpartition("error: ")
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    return " ".join(lines[:3]) if separator and lines else f"exit code {code}"


@dataclass
class _Sweeping:
    """A sweep while it runs."""

    folder: Path
    plan: SweepPlan
    jobs: int
    threads: int
    lock: int
    """Descriptor of the sweep's lock, which its runs inherit: it stays locked until the last of them has ended."""
    should_stop: Callable[[], int]
    stop_signal: int = 0
    active: dict[str, RunProcess] = field(default_factory=dict)
    """The processes that train, by the names of their runs."""
    warnings: dict[str, str] = field(default_factory=dict)
    """The last warning of a run's training, by its name."""
    received: queue.Queue[tuple[str, dict[str, Any] | None]] = field(default_factory=queue.Queue)

    def events(self) -> Iterator[AnySweepEvent]:
        """Train all runs, and yield what happens."""
        self.runs = {run.name: run_state(self.folder, self.plan, run) for run in self.plan.runs()}
        ended = [run for run in self.runs.values() if run.status in (FINISHED, FAILED)]
        waiting = deque(run for run in self.runs.values() if run.status not in (FINISHED, FAILED))
        yield SweepStartEvent(
            folder=str(self.folder),
            num_runs=len(self.runs),
            num_finished=sum(run.status == FINISHED for run in ended),
            jobs=self.jobs,
            threads=self.threads,
        )
        for run in ended:
            yield RunEndEvent(run=run, is_new=False)
        self._pass_on_stop()
        while self.active or (waiting and not self.stop_signal):
            while waiting and not self.stop_signal and len(self.active) < self.jobs:
                self._start(waiting.popleft())
                self._pass_on_stop()
            yield from self._next_event()
            self._pass_on_stop()
        report = report_sweep(self.plan, self.folder, [*self.runs.values()])
        yield SweepEndEvent(report=report, is_complete=not self.stop_signal)

    def close(self) -> None:
        """Kill the processes that still run."""
        for process in self.active.values():
            process.close()

    def _pass_on_stop(self) -> None:
        """Send the signal that asks for a stop to the processes, once."""
        if not self.stop_signal and (number := self.should_stop()):
            self.stop_signal = number
            for process in self.active.values():
                process.send(number if number in ENDING_SIGNALS else signal.SIGTERM)

    def _start(self, run: SweepRun) -> None:
        config = self.plan.config_of(run.values, run.seed)

        def receive(event: dict[str, Any] | None) -> None:
            self.received.put((run.name, event))

        path = self.folder / run.name
        self.active[run.name] = RunProcess(path, config, receive, self.lock, threads=self.threads)

    def _next_event(self) -> Iterator[AnySweepEvent]:
        """Wait a moment for an event of any run; yield what it means for the sweep."""
        try:
            name, event = self.received.get(timeout=WATCH_SECONDS)
        except queue.Empty:
            return
        if event is None:
            process = self.active.pop(name)
            code, messages = process.wait()
            process.close()
            self.runs[name] = run = self._ended(name, code, messages)
            if run.status != STOPPED:
                yield RunEndEvent(run=run, is_new=True)
        elif event["event"] == "start":
            self.runs[name] = replace(self.runs[name], num_steps=event["num_steps"])
            yield RunProgressEvent(name=name, step=event["first_step"], num_steps=event["num_steps"])
        elif event["event"] == "step":
            yield RunProgressEvent(name=name, step=event["step"], num_steps=self.runs[name].num_steps or 0)
        elif event["event"] == "warning":
            self.warnings[name] = event["message"]

    def _ended(self, name: str, code: int, messages: str) -> SweepRun:
        """Return a run whose process has ended: finished, stopped, or failed."""
        run = run_state(self.folder, self.plan, self.runs[name])
        if run.status == FINISHED:
            return replace(run, message=run.message or self.warnings.get(name))
        if self.stop_signal:
            return replace(run, status=STOPPED)
        return replace(run, status=FAILED, message=error_text(code, messages))


def run_state(folder: Path, plan: SweepPlan, run: SweepRun) -> SweepRun:
    """Return a run as far as it is on disk: finished, failed because no loss was finite, stopped, or waiting."""
    reader = RunReader(folder / run.name)
    try:
        if not reader.path.is_dir() or not reader.checkpoints():
            return run
        loaded = reader.load_checkpoint("latest", with_training=False)
        config = reader.read_config()
    except CheckpointError:
        return replace(run, status=STOPPED)  # Resuming repairs it, or says what is wrong.
    best, num_steps = loaded.state.get("best_nats"), config.steps or 0
    run = replace(
        run,
        step=loaded.step,
        num_steps=num_steps,
        num_parameters=sum(tensor.size for tensor in loaded.model.values()),
        text_digest=cast("str | None", loaded.state.get("corpus_digest")),
    )
    if loaded.step < num_steps or loaded.state.get("is_validation_due") is True:
        return replace(run, status=STOPPED)
    if not isinstance(best, float) or not math.isfinite(best):
        return replace(run, status=FAILED, message="no validation gave a finite loss")
    asked, message = plan.config_of(run.values, run.seed).learning_rate, None
    if isinstance(asked, float) and config.learning_rate != asked:
        message = f"diverged once and continued with a learning rate of {config.learning_rate:g}"
    best_step = cast("int | None", loaded.state.get("best_step"))
    return replace(run, status=FINISHED, nats_per_char=best, best_step=best_step, message=message)


EXTENSIONS = tuple(
    PackageFunction(name=function.__name__, function=function) for function in (sweep, read_sweep, SweepReport)
)
"""`charrnn.sweep`, `charrnn.read_sweep` and the class of their result."""
