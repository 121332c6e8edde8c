"""The runs of a search: Optuna's TPE chooses the settings, and its journal in the sweep's folder remembers them.

The journal is JSON Lines. Nothing is unpickled: Optuna pickles snapshots, which only its Redis backend has.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections import deque
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, cast

from charrnn.config import number_type, parse_value
from charrnn.errors import CharRNNError, CheckpointError, install_command
from charrnn.files import convert_os_errors
from charrnn.scale.sweep.plan import FINISHED, Axis, Range, SweepPlan, SweepRun, format_value

if TYPE_CHECKING:
    import optuna

JOURNAL = "optuna.jsonl"
"""The file in a sweep's folder with Optuna's journal."""
STUDY = "charrnn"
"""Name of the study in it."""
SEED_FACTOR = 1_000_003
"""Parts the seeds of two searches, so that their trials differ."""


class SearchSource:
    """The runs of a search: those that the journal knows, then those of new trials.

    Trial `n` depends only on the seed, on `n` and on the trials that have ended: a search that was killed continues as
    if it had not been.
    """

    def __init__(self, plan: SweepPlan, folder: Path) -> None:
        """Open the study in a folder that this process has locked. Raises CharRNNError without Optuna."""
        self._plan = plan
        _remove_incomplete_line(folder / JOURNAL)
        self._study = _open_study(folder)
        self._distributions = {name: _distribution(name, axis) for name, axis in plan.axes.items()}
        self._queue: deque[SweepRun] = deque(_runs_of_study(plan, self._study))
        self._num_asked = len(self._study.get_trials(deepcopy=False))
        self._losses: dict[int, dict[int, float | None]] = {}
        """By trial, the losses of its runs by seed; None for a run that failed for good."""

    def next_run(self) -> SweepRun | None:
        """Return the next run; None if as many settings have been tried as were asked for."""
        if not self._queue:
            assert self._plan.num_trials is not None
            if self._num_asked >= self._plan.num_trials:
                return None
            self._ask()
        return self._queue.popleft()

    def _ask(self) -> None:
        """Let Optuna choose the settings of the next trial."""
        import optuna

        # A sampler per trial: one that lives on would repeat its first draws after a restart.
        seed = (self._plan.config.seed * SEED_FACTOR + self._num_asked) % 2**32
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            # constant_liar: runs at the same time do not try the same settings.
            self._study.sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        trial = self._study.ask(self._distributions)
        self._num_asked += 1
        self._queue.extend(_runs_of_trial(self._plan, trial.number, trial.params))

    def record(self, run: SweepRun) -> None:
        """Note a run that has ended for good; give Optuna the mean loss of a trial once all its seeds have."""
        import optuna

        number = int(run.name.removeprefix("trial-").partition("_")[0])
        losses = self._losses.setdefault(number, {})
        losses[run.seed] = run.nats_per_char if run.status == FINISHED else None
        is_open = not self._study.get_trials(deepcopy=False)[number].state.is_finished()
        if not is_open or len(losses) < self._plan.num_seeds:
            return
        finite = [loss for loss in losses.values() if loss is not None]
        if len(finite) == len(losses):
            self._study.tell(number, fmean(finite))
        else:
            self._study.tell(number, state=optuna.trial.TrialState.FAIL)


def recorded_runs(plan: SweepPlan, folder: Path) -> list[SweepRun]:
    """Return the runs of the trials that the journal in a folder knows. Raises CharRNNError without Optuna."""
    return _runs_of_study(plan, _open_study(folder)) if (folder / JOURNAL).exists() else []


def _runs_of_study(plan: SweepPlan, study: optuna.Study) -> list[SweepRun]:
    trials = study.get_trials(deepcopy=False)[: plan.num_trials]
    return [run for trial in trials for run in _runs_of_trial(plan, trial.number, trial.params)]


def _runs_of_trial(plan: SweepPlan, number: int, chosen: dict[str, Any]) -> list[SweepRun]:
    values = {name: parse_value(name, chosen[name]) for name in plan.axes}
    return [SweepRun(name=f"trial-{number:03d}_seed-{seed}", values=values, seed=seed) for seed in plan.seeds()]


def check_installed() -> None:
    """Raise CharRNNError if Optuna is not installed."""
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise CharRNNError(
            f"A search needs the package optuna, which is not installed.\nInstall it: {install_command('sweep')}"
        ) from None


class _NoLock:
    """A lock that does nothing: the sweep's folder is locked, and Optuna's own lock would outlive a killed process."""

    def acquire(self) -> bool:
        """Return that it is locked."""
        return True

    def release(self) -> None:
        """Do nothing."""


def _open_study(folder: Path) -> optuna.Study:
    """Open or create the study. Raises CharRNNError without Optuna, CheckpointError for a damaged journal."""
    check_installed()
    import optuna
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(logging.WARNING)
    path = folder / JOURNAL
    try:
        storage = optuna.storages.JournalStorage(JournalFileBackend(str(path), lock_obj=cast(Any, _NoLock())))
        return optuna.create_study(storage=storage, study_name=STUDY, direction="minimize", load_if_exists=True)
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise CheckpointError(
            f"{path} is damaged: {' '.join(str(error).split())[:100]}\nmove the sweep's folder away to start it again"
        ) from None


def _distribution(name: str, axis: Axis) -> optuna.distributions.BaseDistribution:
    """Return what Optuna draws a field from; lists as text, because it knows no tuples."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(axis, Range):
        if number_type(name) is int:
            return IntDistribution(int(axis.low), int(axis.high), log=axis.is_log)
        return FloatDistribution(float(axis.low), float(axis.high), log=axis.is_log)
    return CategoricalDistribution([format_value(value) for value in axis])


def _remove_incomplete_line(path: Path) -> None:
    """Remove what a killed process has written of its last line: the next one would be appended to it."""
    with convert_os_errors("repair", path):
        if not path.exists():
            return
        with path.open("r+b") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(0)
            file.truncate(file.read(end).rfind(b"\n") + 1)
