"""Train the runs of a sweep, each in its own process; nothing is printed."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path

from charrnn.config.settings import Config
from charrnn.errors import UsageError, check_range, named
from charrnn.runs.reader import CHECKPOINTS, SWEEP
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
from charrnn.system.process import child_arguments, child_environment, num_cores, signal_name

WATCH_SECONDS = 0.1
"""Seconds between two checks whether a signal has arrived."""
MAX_JOBS = 256
"""Maximum number of simultaneous runs."""


def sweep(
    config: Config,
    axes: Mapping[str, Sequence[object]],
    *,
    seeds: int = 3,
    jobs: int = 1,
    out: str | Path | None = None,
    should_stop: Callable[[], int] = lambda: 0,
) -> Generator[SweepRun | SweepReport, None, None]:
    """Train every setting with every seed in the folder `out`; yield the table at the start, each
    run that ends, and the table at the end.

    `axes` has the swept fields of the configuration and their values; all other settings are those
    of `config`. Each run is an ordinary run in its own folder, trained in its own process. At most
    `jobs` runs are trained at a time, and share the cores of the processor.

    Runs that an earlier start of the sweep has finished are not trained again, and stopped runs are
    continued. `should_stop` is called all the time; if it returns the number of a signal, the runs
    are saved and the sweep ends.

    Errors are raised when the first table is requested: UsageError for settings that cannot be
    swept, or if the folder has a sweep with other settings; RunInUseError if another process runs
    the sweep, or if runs of a killed sweep are still running.

    >>> config = charrnn.Config(corpus=("shakespeare.txt",), steps=100)
    >>> for ended in charrnn.sweep(config, {"cell": ["lstm", "gru"]}, seeds=2, out="cells"):
    ...     print(ended)
    """
    # All arguments are checked before hours of training.
    plan = plan_sweep(config, axes, num_seeds=seeds)
    check_range("jobs", value=jobs, high=MAX_JOBS)
    folder = Path(out) if out is not None else default_folder(config)

    # The lock prevents that two processes train the same runs.
    with files.convert_os_errors("create", path=folder):
        folder.mkdir(parents=True, exist_ok=True)
        # A sweep that was killed before it wrote anything leaves only its lock.
        names = {*os.listdir(folder)} - {"lock"}
    if names and SWEEP not in names:
        raise UsageError(
            f"{folder} exists already and is no sweep\ngive {named('out')} another name"
        )
    with lock_folder(folder) as lock:
        record_plan(folder, plan)
        yield from _train(
            _Runner(folder=folder, plan=plan, lock=lock.fileno()),
            jobs=jobs,
            should_stop=should_stop,
        )


def default_folder(config: Config) -> Path:
    """Return the default folder of a sweep, which is named after its text, in `checkpoints`."""
    from charrnn.text.corpus import corpus_name

    stems = [Path(source).name.partition(".")[0] for source in config.corpus]
    return CHECKPOINTS / f"sweep-{corpus_name(stems or ['python'])}"


def read_sweep(folder: str | Path) -> SweepReport:
    """Return the current table of the sweep in a folder, also while another process runs it.

    Raises CheckpointError if there is no sweep, or if its file is damaged.

    >>> charrnn.read_sweep("cells").rows[0].values  # the best setting
    """
    plan = read_plan(Path(folder))
    runs = [run_state(Path(folder), plan=plan, run=run) for run in plan.runs()]
    return report_sweep(plan, folder=Path(folder), runs=runs)


def _train(
    runner: "_Runner", jobs: int, should_stop: Callable[[], int]
) -> Generator[SweepRun | SweepReport, None, None]:
    """Train the runs that are not finished; yield the table, each run that ends, and the table."""
    # The first table shows the runs of an earlier start.
    report = read_sweep(runner.folder)
    yield report
    runs = {run.name: run for run in report.runs}
    waiting = [run for run in report.runs if run.status not in (FINISHED, FAILED)]

    # Train the other runs: a thread of the executor waits for the process of each run. The threads
    # are polled, because a signal does not interrupt the wait of a thread.
    threads = max(1, num_cores() // jobs)
    with ThreadPoolExecutor(jobs) as executor, contextlib.closing(runner):
        pending = {executor.submit(runner.train, run, threads) for run in waiting}
        while pending:
            if should_stop():
                runner.stop()
            done, pending = wait(pending, WATCH_SECONDS, return_when=FIRST_COMPLETED)
            for future in done:
                run = future.result()
                runs[run.name] = run
                if run.status in (FINISHED, FAILED):
                    yield run
    yield report_sweep(runner.plan, folder=runner.folder, runs=[*runs.values()])


@dataclass(kw_only=True)
class _Runner:
    """Train the runs of a sweep, each in its own process, so that a failure of one run does not end
    the others."""

    folder: Path
    plan: SweepPlan
    lock: int
    """Descriptor of the sweep's lock file, which the processes inherit, so that it stays locked
    until the last of them has ended."""
    is_stopped: bool = False
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def train(self, run: SweepRun, threads: int) -> SweepRun:
        """Train a run, or continue it, wait for its end, and return its new state."""
        if self.is_stopped:
            return run

        config = self.plan.config_of(run)
        run_folder = str(self.folder / run.name)
        arguments = ["--out", run_folder, *setting_arguments(config), "--", *config.corpus]
        if run.status == STOPPED:
            arguments = ["--resume", "--", run_folder]
        process = subprocess.Popen(
            [sys.executable, *child_arguments(), "train", *arguments],
            env=os.environ | child_environment() | {"OMP_NUM_THREADS": str(threads)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            # The process gets no signals of the terminal: `stop` passes them on.
            start_new_session=True,
            pass_fds=() if sys.platform == "win32" else (self.lock,),
        )
        self.processes.append(process)
        # If `stop` was called since the process started, the process was not yet in the list.
        if self.is_stopped:
            process.terminate()
        _, messages = process.communicate()
        return self._ended(run, code=process.returncode, messages=messages)

    def _ended(self, run: SweepRun, code: int, messages: str) -> SweepRun:
        """Return a run whose process has ended: finished, stopped, or failed."""
        # What is on disk decides, not the exit code: a run may fail after its last save.
        run = run_state(self.folder, plan=self.plan, run=run)
        if run.status == FINISHED:
            return run
        if self.is_stopped:
            return replace(run, status=STOPPED)
        return replace(run, status=FAILED, message=error_text(code, messages))

    def stop(self) -> None:
        """Let the processes save and end, and start no other."""
        if not self.is_stopped:
            # First, so that a process which starts at this moment sees it.
            self.is_stopped = True
            for process in self.processes:
                process.terminate()

    def close(self) -> None:
        """Kill what still trains. The checkpoints are intact."""
        self.is_stopped = True
        for process in self.processes:
            process.kill()


def error_text(code: int, messages: str) -> str:
    """Return why a process failed: the error message at its end, or the signal that killed it."""
    # By SIGKILL it was mostly the system, out of memory.
    if code < 0:
        return f"killed by {signal_name(-code)} (is there enough memory?)"
    if code > 128:
        return f"ended by {signal_name(code - 128)}, and saved"
    return " ".join(messages.rpartition("error: ")[2].split()) or f"exit code {code}"
