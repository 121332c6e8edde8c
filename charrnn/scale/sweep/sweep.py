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
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, ClassVar, cast

from charrnn.config import FIELD_NAMES, Config
from charrnn.errors import CheckpointError, RunInUseError, UsageError, named
from charrnn.extensions import PackageFunction
from charrnn.files import (
    MAX_TEXT_BYTES,
    check_regular,
    convert_os_errors,
    json_to_bytes,
    parse_json,
    read_capped,
    try_lock,
    write_atomically,
)
from charrnn.process import ENDING_SIGNALS
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
from charrnn.scale.sweep.search import SearchSource, check_installed, recorded_runs
from charrnn.scale.sweep.table import SweepReport, report_sweep
from charrnn.scale.trackers import check_trackers

FAILURES = "failures.json"
"""The file in a sweep's folder with the runs that ended by an error and are not tried again."""
LASTING = (2, 3, 4, 5)
"""Exit codes of errors that the same run raises again: settings, text, checkpoint, divergence."""
WATCH_SECONDS = 0.1
"""Time between two looks at the signals."""
IN_USE_SECONDS = 60.0
"""How long a sweep waits for the processes of one that was killed, which save their runs."""
JOBS_LOCK = "jobs.lock"
"""The file in a sweep's folder that stays locked until all processes of its runs have ended."""
MAX_JOBS = 256
"""Runs at a time at most."""
MAX_MESSAGE_BYTES = 4096
"""Bytes of the end of a process's messages that are kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepStartEvent:
    """The sweep's folder is locked and its runs are known; those of a search are only counted."""

    event: ClassVar[str] = "sweep-start"
    folder: str
    num_runs: int
    num_finished: int
    """Runs that an earlier start of the sweep has finished."""
    jobs: int
    threads: int
    """Processor threads of each run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunProgressEvent:
    """A run has taken a step, or has been started (at the step that it continues from)."""

    event: ClassVar[str] = "run-progress"
    name: str
    step: int
    num_steps: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RunEndEvent:
    """A run has ended; `is_new` is false if an earlier start of the sweep has finished it."""

    event: ClassVar[str] = "run-end"
    run: SweepRun
    is_new: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepEndEvent:
    """All runs have ended, or a stop was requested (`is_complete` is false); everything is saved."""

    event: ClassVar[str] = "sweep-end"
    report: SweepReport
    is_complete: bool


AnySweepEvent = SweepStartEvent | RunProgressEvent | RunEndEvent | SweepEndEvent
"""Any event of a sweep."""


def sweep(
    config: Config,
    axes: Mapping[str, object],
    *,
    seeds: int | None = None,
    search: int | None = None,
    jobs: int = 1,
    out: str | Path | None = None,
    log: Sequence[str] = (),
    should_stop: Callable[[], int] = lambda: 0,
) -> Generator[AnySweepEvent, None, None]:
    """Train every setting with every seed in the folder `out`; yield what happens, and at the end the table.

    `axes` has the swept fields of the configuration and their values, as lists or as text (`parse_axis`); all other
    settings are those of `config`. With `search`, that many settings are drawn from the values and ranges by Optuna's
    TPE. Each run is an ordinary run in a folder of its own, trained in a process of its own, `jobs` at a time, which
    share the processor's cores. `seeds` is by default 3, in a search 1.

    What another start of the sweep has finished is not trained again, and what it began is continued. `should_stop` is
    called all the time; if it returns the number of a signal, the runs are saved and the sweep ends. `log` names
    trackers that follow every run (`scale.trackers`).

    Errors are raised when the first event is requested: UsageError for settings that cannot be swept, or if the folder
    has a sweep with other settings; RunInUseError if another process runs the sweep.
    """
    plan = plan_sweep(config, axes, num_seeds=seeds if seeds is not None else 1 if search else 3, num_trials=search)
    if not 1 <= jobs <= MAX_JOBS:
        raise UsageError(f"{named('jobs')} is {jobs}; it must be between 1 and {MAX_JOBS}.")
    check_trackers(log)
    if search is not None:
        check_installed()
    folder = Path(out) if out is not None else default_folder(config)
    check_folder(folder)
    with contextlib.ExitStack() as stack:
        with convert_os_errors("create", folder):
            folder.mkdir(parents=True, exist_ok=True)
        stack.enter_context(lock_folder(folder))
        locked = stack.enter_context(_locked_for_jobs(folder))
        threads = record_plan(folder, plan, max(1, _num_cores() // jobs))
        source = None if search is None else SearchSource(plan, folder)
        sweeping = _Sweeping(folder, plan, source, jobs, threads, log, locked, should_stop)
        stack.callback(sweeping.close)
        yield from sweeping.events()


@contextlib.contextmanager
def _locked_for_jobs(folder: Path) -> Iterator[int]:
    """Lock the file that the processes of the runs inherit; yield its descriptor.

    The runs of a sweep that was killed save and stop at their next event. Until then a run could be started twice, and
    the later start would find the folder of the earlier one. Raises RunInUseError if they need longer than
    IN_USE_SECONDS.
    """
    deadline = time.monotonic() + IN_USE_SECONDS
    with convert_os_errors("lock", folder):
        check_regular(folder / JOBS_LOCK)
        file = (folder / JOBS_LOCK).open("ab")
    with file:
        while not try_lock(file):
            if time.monotonic() > deadline:
                raise RunInUseError(
                    f"runs of {folder} still train, though their sweep was killed\nwait for them, or stop them"
                )
            time.sleep(WATCH_SECONDS)
        yield file.fileno()


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
            is_foreign = not {entry.name for entry in folder.iterdir()} <= {"lock", JOBS_LOCK}
    if is_foreign:
        raise UsageError(f"{folder} exists already and is no sweep\ngive {named('out')} another name")


def read_sweep(folder: str | Path) -> SweepReport:
    """Return the table of the sweep in a folder as far as it has come, also while another process runs it.

    Raises CheckpointError if there is no sweep, or if its files are damaged.
    """
    folder = Path(folder)
    plan = read_plan(folder)
    failures = _read_failures(folder)
    planned = plan.grid() if plan.num_trials is None else recorded_runs(plan, folder)
    return report_sweep(plan, folder, [run_state(folder, plan, run, failures) for run in planned])


class RunProcess(ChildProcess):
    """Trains a run in its own process, so that no failure of it, and no signal that kills it, ends the others.

    If this process dies, the other one saves and stops at its next event, because nobody reads them any more.
    """

    def __init__(
        self,
        folder: Path,
        config: Config,
        on_event: Callable[[dict[str, Any] | None], object],
        trackers: Sequence[str] = (),
        locked: int | None = None,
    ) -> None:
        """Start the run in `folder`, or resume what is saved there; `trackers` follow it (`scale.trackers`).

        `on_event` is called in another thread with each event as a JSON object, and at the end with None.
        """
        followed = [part for tracker in trackers for part in ("--log", tracker)]
        if folder.is_dir() and RunReader(folder).checkpoints():
            arguments = ["--resume", "--", str(folder)]
        else:
            arguments = ["--out", str(folder), *setting_arguments(config), "--", *config.corpus]
        # A file, not a pipe: a message after this process has died must not fail.
        self._messages: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # closed in `close`
        super().__init__(
            ["train", "--json", *followed, *arguments],
            run_environment(os.environ),
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
    search: SearchSource | None
    """Chooses the runs of a search; None for a grid."""
    jobs: int
    threads: int
    trackers: Sequence[str]
    locked: int
    should_stop: Callable[[], int]
    stop_signal: int = 0
    ended: dict[str, SweepRun] = field(default_factory=dict)
    """Every run that has ended, by name."""
    active: dict[str, tuple[SweepRun, RunProcess]] = field(default_factory=dict)
    warnings: dict[str, str] = field(default_factory=dict)
    """The last warning of a run's training, by its name."""
    num_steps: dict[str, int] = field(default_factory=dict)
    received: queue.Queue[tuple[str, dict[str, Any] | None]] = field(default_factory=queue.Queue)

    def __post_init__(self) -> None:
        self.failures = _read_failures(self.folder)
        self.grid = iter(()) if self.search else self.plan.grid()

    def events(self) -> Iterator[AnySweepEvent]:
        """Train all runs, and yield what happens."""
        before = [] if self.search else [self._state(run) for run in self.plan.grid()]
        yield SweepStartEvent(
            folder=str(self.folder),
            num_runs=self.plan.num_runs,
            num_finished=sum(run.status == FINISHED for run in before),
            jobs=self.jobs,
            threads=self.threads,
        )
        is_exhausted = False
        while True:
            self._pass_on_stop()
            while not self.stop_signal and len(self.active) < self.jobs:
                run = self.search.next_run() if self.search else next(self.grid, None)
                if run is None:
                    is_exhausted = not self.active
                    break
                yield from self._start(run)
            if not self.active and (self.stop_signal or is_exhausted):
                break
            yield from self._next_event()
        # Those of a grid with the runs that were not started.
        planned = self.ended.values() if self.search else self.plan.grid()
        runs = [self.ended.get(run.name) or self._state(run) for run in planned]
        report = report_sweep(self.plan, self.folder, runs)
        yield SweepEndEvent(report=report, is_complete=not self.stop_signal)

    def close(self) -> None:
        """Kill the processes that still run."""
        for _, process in self.active.values():
            process.close()
        self.active.clear()

    def _state(self, run: SweepRun) -> SweepRun:
        return run_state(self.folder, self.plan, run, self.failures)

    def _pass_on_stop(self) -> None:
        """Send the signal that asks for a stop to the processes, once."""
        if not self.stop_signal and (number := self.should_stop()):
            self.stop_signal = number
            for _, process in self.active.values():
                process.send(number if number in ENDING_SIGNALS else signal.SIGTERM)

    def _start(self, run: SweepRun) -> Iterator[RunEndEvent]:
        """Start a run; yield its end if an earlier start of the sweep has ended it."""
        state = self._state(run)
        if state.status in (FINISHED, FAILED):
            if state.status == FAILED:
                self.failures.setdefault(run.name, state.message or "")
            yield self._end(state, is_new=False)
        else:
            config = self.plan.config_of(run, self.threads)

            def receive(event: dict[str, Any] | None) -> None:
                self.received.put((run.name, event))

            process = RunProcess(self.folder / run.name, config, receive, self.trackers, self.locked)
            self.active[run.name] = run, process
        self._pass_on_stop()

    def _next_event(self) -> Iterator[AnySweepEvent]:
        """Wait a moment for an event of any run; yield what it means for the sweep."""
        try:
            name, event = self.received.get(timeout=WATCH_SECONDS)
        except queue.Empty:
            return
        if event is None:
            run, process = self.active.pop(name)
            code, messages = process.wait()
            process.close()
            yield from self._after_exit(run, code, messages)
        elif event["event"] == "start":
            self.num_steps[name] = event["num_steps"]
            yield RunProgressEvent(name=name, step=event["first_step"], num_steps=event["num_steps"])
        elif event["event"] == "step":
            yield RunProgressEvent(name=name, step=event["step"], num_steps=self.num_steps[name])
        elif event["event"] == "warning":
            self.warnings[name] = event["message"]

    def _after_exit(self, run: SweepRun, code: int, messages: str) -> Iterator[RunEndEvent]:
        """Decide what the end of a run's process means."""
        state = self._state(run)
        if state.status == FINISHED:
            yield self._end(replace(state, message=state.message or self.warnings.get(run.name)))
        elif self.stop_signal:
            self.ended[run.name] = replace(state, status=STOPPED)
        else:
            failed = replace(state, status=FAILED, message=error_text(code, messages))
            if code in LASTING:
                self.failures[run.name] = failed.message or ""
                write_atomically(self.folder / FAILURES, json_to_bytes(self.failures))
            yield self._end(failed)

    def _end(self, run: SweepRun, *, is_new: bool = True) -> RunEndEvent:
        self.ended[run.name] = run
        if self.search and (run.status == FINISHED or run.name in self.failures):
            self.search.record(run)
        return RunEndEvent(run=run, is_new=is_new)


def run_state(folder: Path, plan: SweepPlan, run: SweepRun, failures: Mapping[str, str]) -> SweepRun:
    """Return a run as far as it is on disk: finished, failed for good, stopped, or waiting."""
    if run.name in failures:
        return replace(run, status=FAILED, message=failures[run.name])
    reader = RunReader(folder / run.name)
    try:
        asked = plan.config_of(run, 1)
    except UsageError as error:  # Values of a search may exclude each other.
        return replace(run, status=FAILED, message=str(error))
    try:
        if not reader.path.is_dir() or not reader.checkpoints():
            return run
        loaded = reader.load_checkpoint("latest", with_training=False)
        config = reader.read_config()
    except CheckpointError:
        return replace(run, status=STOPPED)  # Resuming repairs it, or says what is wrong.
    best, num_steps = loaded.state.get("best_nats"), config.steps or 0
    is_done = loaded.step >= num_steps and loaded.state.get("is_validation_due") is not True
    message = None
    if isinstance(asked.learning_rate, float) and config.learning_rate != asked.learning_rate:
        message = f"diverged once and continued with a learning rate of {config.learning_rate:g}"
    is_measured = isinstance(best, float) and math.isfinite(best)
    if is_done and not is_measured:
        return replace(run, status=FAILED, message="no validation gave a finite loss")
    return replace(
        run,
        status=FINISHED if is_done else STOPPED,
        nats_per_char=best if is_done and isinstance(best, float) else None,
        best_step=cast("int | None", loaded.state.get("best_step")) if is_done else None,
        step=loaded.step,
        num_steps=num_steps,
        num_parameters=sum(tensor.size for tensor in loaded.model.values()),
        text_digest=cast("str | None", loaded.state.get("corpus_digest")),
        message=message,
    )


def _read_failures(folder: Path) -> dict[str, str]:
    """Return why runs failed for good, by name. Raises CheckpointError if the file is damaged."""
    path = folder / FAILURES
    if not path.exists():
        return {}
    failures = parse_json(path, read_capped(path, max_bytes=MAX_TEXT_BYTES))
    if not isinstance(failures, dict) or not all(isinstance(message, str) for message in failures.values()):
        raise CheckpointError(f"{path} is damaged: not an object of messages\nremove it to try those runs again")
    return failures


def _num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


EXTENSIONS = tuple(
    PackageFunction(name=function.__name__, function=function) for function in (sweep, read_sweep, SweepReport)
)
"""`charrnn.sweep`, `charrnn.read_sweep` and the class of their result."""
