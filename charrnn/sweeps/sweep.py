"""Train the runs of a sweep, each in a process of its own: a stream of events, in which nothing is
printed."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path

from charrnn.config.settings import FIELD_NAMES, Config
from charrnn.errors import UsageError, check_range, named
from charrnn.runs.reader import CHECKPOINTS, SWEEP, RunReader
from charrnn.runs.writer import lock_folder
from charrnn.sweeps.plan import (
    FAILED,
    FINISHED,
    STOPPED,
    SweepPlan,
    SweepRun,
    plan_sweep,
    setting_arguments,
)
from charrnn.sweeps.record import read_plan, record_plan, run_state
from charrnn.sweeps.report import SweepReport, report_sweep
from charrnn.system import files
from charrnn.system.process import child_environment, num_cores, signal_name
from charrnn.text.text_files import without_gz

WATCH_SECONDS = 0.1
"""Time between two looks at the signals."""
MAX_JOBS = 256
"""Runs at a time at most."""


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
class RunEndEvent:
    """A run has ended; `is_new` is false if an earlier start of the sweep has finished it."""

    run: SweepRun
    is_new: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepEndEvent:
    """All runs have ended, or a stop was requested (`is_complete` is false); everything is
    saved."""

    report: SweepReport
    is_complete: bool


AnySweepEvent = SweepStartEvent | RunEndEvent | SweepEndEvent
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
    """Train every setting with every seed in the folder `out`; yield what happens, and at the end
    the table.

    `axes` has the swept fields of the configuration and their values, as lists or as text
    (`parse_axis`); all other settings are those of `config`. Each run is an ordinary run in a
    folder of its own, trained in a process of its own, `jobs` at a time, which share the
    processor's cores.

    What another start of the sweep has finished is not trained again, and what it began is
    continued. `should_stop` is called all the time; if it returns the number of a signal, the runs
    are saved and the sweep ends.

    Errors are raised when the first event is requested: UsageError for settings that cannot be
    swept, or if the folder has a sweep with other settings; RunInUseError if another process runs
    the sweep, or runs that a killed one started.

    >>> config = charrnn.Config(corpus=("shakespeare.txt",), steps=100)
    >>> for event in charrnn.sweep(config, {"cell": ["lstm", "gru"]}, seeds=2, out="cells"):
    ...     print(event)
    """
    # Everything that can be wrong, before hours are spent.
    plan = plan_sweep(config, axes, num_seeds=seeds)
    check_range("jobs", jobs, MAX_JOBS)
    folder = Path(out) if out is not None else default_folder(config)
    check_folder(folder)

    # Two starts at once would train the same runs.
    with contextlib.ExitStack() as stack:
        with files.convert_os_errors("create", folder):
            folder.mkdir(parents=True, exist_ok=True)
        lock = stack.enter_context(lock_folder(folder))
        threads = record_plan(folder, plan, max(1, num_cores() // jobs))
        runner = _Runner(folder, plan, threads, lock.fileno())
        yield from _events(runner, jobs, should_stop)


def default_folder(config: Config) -> Path:
    """Return the folder of a sweep without a name: `sweep-` and the name of the text, in
    `checkpoints`."""
    from charrnn.text.corpus import corpus_name

    stems = []
    for source in config.corpus:
        stems.append(without_gz(Path(source).name).rsplit(".", 1)[0])
    return CHECKPOINTS / f"sweep-{corpus_name(stems or ['python'])}"


def check_folder(folder: Path) -> None:
    """Raise UsageError if a folder exists that is neither empty nor that of a sweep."""
    # A lock alone is what a sweep leaves that was refused before it wrote anything.
    is_foreign = folder.exists() and not folder.is_dir()
    if folder.is_dir() and not (folder / SWEEP).exists():
        with files.convert_os_errors("read", folder):
            is_foreign = any(entry.name != "lock" for entry in folder.iterdir())
    if is_foreign:
        raise UsageError(
            f"{folder} exists already and is no sweep\ngive {named('out')} another name"
        )


def read_sweep(folder: str | Path) -> SweepReport:
    """Return the table of the sweep in a folder as far as it has come, also while another process
    runs it.

    Raises CheckpointError if there is no sweep, or if its file is damaged.

    >>> charrnn.read_sweep("cells").rows[0].values  # the best setting
    """
    # What is on disk: the processes that train write nothing else.
    folder = Path(folder)
    plan = read_plan(folder)
    runs = [run_state(folder, plan, run) for run in plan.runs()]
    return report_sweep(plan, folder, runs)


def _events(
    runner: "_Runner", jobs: int, should_stop: Callable[[], int]
) -> Generator[AnySweepEvent, None, None]:
    """Train the runs that are not finished, and yield what happens."""
    # What an earlier start has done.
    folder = runner.folder
    plan = runner.plan
    runs = {}
    ended = []
    waiting = []
    for planned in plan.runs():
        run = run_state(folder, plan, planned)
        runs[run.name] = run
        if run.status in (FINISHED, FAILED):
            ended.append(run)
        else:
            waiting.append(run)
    yield SweepStartEvent(
        folder=str(folder),
        num_runs=len(runs),
        num_finished=sum(run.status == FINISHED for run in ended),
        jobs=jobs,
        threads=runner.threads,
    )
    for run in ended:
        yield RunEndEvent(run=run, is_new=False)

    # What is left: a thread of the executor waits for the process of each run. They are looked at
    # again and again, because a signal interrupts no wait of a thread.
    with ThreadPoolExecutor(jobs) as executor, contextlib.closing(runner):
        pending: set[Future[SweepRun]] = {executor.submit(runner.train, run) for run in waiting}
        while pending:
            if not runner.is_stopped and should_stop():
                runner.stop()
            done, pending = wait(pending, WATCH_SECONDS, return_when=FIRST_COMPLETED)
            for future in done:
                run = future.result()
                runs[run.name] = run
                if run.status in (FINISHED, FAILED):
                    yield RunEndEvent(run=run, is_new=True)

    report = report_sweep(plan, folder, [*runs.values()])
    yield SweepEndEvent(report=report, is_complete=not runner.is_stopped)


@dataclass
class _Runner:
    """Trains runs of a sweep, each in a process of its own, so that no failure of one ends the
    others."""

    folder: Path
    plan: SweepPlan
    threads: int
    lock: int
    """Descriptor of the sweep's lock, which the processes inherit: it stays locked until the last
    of them has ended."""
    is_stopped: bool = False
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def train(self, run: SweepRun) -> SweepRun:
        """Train a run, or continue it, and wait for its end; return what became of it."""
        if self.is_stopped:
            return run

        process = subprocess.Popen(
            [sys.executable, "-m", "charrnn", "train", *self._arguments(run)],
            env=run_environment(os.environ) | {"OMP_NUM_THREADS": str(self.threads)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            # It gets no signal of the terminal, which `stop` passes on.
            start_new_session=True,
            pass_fds=() if sys.platform == "win32" else (self.lock,),
        )
        self.processes.append(process)
        # A stop since it was started did not find it in the list.
        if self.is_stopped:
            process.terminate()

        _, messages = process.communicate()
        return self._ended(run, process.returncode, messages)

    def _arguments(self, run: SweepRun) -> list[str]:
        """Return what trains a run, or continues it."""
        # As a user would type them, so every run of a sweep can be repeated and continued by hand.
        folder = self.folder / run.name
        if folder.is_dir() and RunReader(folder).checkpoints():
            return ["--resume", "--", str(folder)]
        config = self.plan.config_of(run.values, run.seed)
        return ["--out", str(folder), *setting_arguments(config), "--", *config.corpus]

    def _ended(self, run: SweepRun, code: int, messages: str) -> SweepRun:
        """Return a run whose process has ended: finished, stopped, or failed."""
        # What is on disk decides, not the exit code: a run may fail after its last save.
        run = run_state(self.folder, self.plan, run)
        if run.status == FINISHED:
            return run
        if self.is_stopped:
            return replace(run, status=STOPPED)
        return replace(run, status=FAILED, message=error_text(code, messages))

    def stop(self) -> None:
        """Let the processes save and end, and start no other."""
        # First, so that a process which starts at this moment sees it.
        self.is_stopped = True
        for process in self.processes:
            process.terminate()

    def close(self) -> None:
        """Kill what still trains. The checkpoints are intact."""
        self.is_stopped = True
        for process in self.processes:
            process.kill()


def run_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a run's process: without settings, which its command line
    contains."""
    # A setting in the environment would override a default that the sweep has recorded.
    kept = dict(environment) | child_environment()
    for name in FIELD_NAMES:
        kept.pop(f"CHARRNN_{name.upper()}", None)
    return kept


def error_text(code: int, messages: str) -> str:
    """Return why a process failed: its error message, or the signal that killed it."""
    # A process that is killed says nothing; by SIGKILL it was mostly the system, out of memory.
    if code < 0:
        hint = " (is there enough memory?)" if code == -signal.SIGKILL else ""
        return f"killed by {signal_name(-code)}{hint}"
    # An error has three lines at most, the last of which says what to do.
    _, separator, error = messages.rpartition("error: ")
    if not separator or not error.strip():
        return f"exit code {code}"
    lines = error.strip().splitlines()[:3]
    return " ".join(map(str.strip, lines))
