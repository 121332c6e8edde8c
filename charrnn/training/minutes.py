"""A budget in minutes that a training keeps to, by planning again what is left of it.

The first plan follows from measured steps (`plan.plan_steps`). Later plans follow from the steps
that were taken, and `Config.plan` records them all.
"""

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import torch

from charrnn.config.plan_record import PlanEntry
from charrnn.config.settings import MAX_STEPS, Config, resolved, threads_at
from charrnn.errors import CheckpointError
from charrnn.runs.logs import MetricsLog, finite
from charrnn.training import measuring, recipe
from charrnn.training.events import WarningEvent
from charrnn.training.measuring import MIN_MEASURE_SECONDS, Computing
from charrnn.training.run_text import RunText

PLANNED_AGAIN_AT = (1 / 10, 1 / 3, 2 / 3)
"""Shares of a budget in minutes after which the rest of it is planned again, because other programs
begin and end while a run trains. A run that is slowed down after the last of them says that it was
late: its learning rate would have to fall at once."""
LEAST_STEPS = 5
"""Steps by whose time the rest of a budget is planned, at least."""
LEAST_CHANGE = 0.03
"""Change of the number of steps, as a share of it, from which on a new plan is made."""
LATE_SHARE = 0.1
"""A training says so if it ends later than its budget by more than this share of it."""
LATE_SECONDS = 5.0
"""A training that ends fewer seconds late says nothing."""
REMEASURE_SHARE = 0.01
"""Share of a budget that is spent on measuring with how many threads to go on; of a budget for
which that is less than MIN_MEASURE_SECONDS, the number stays."""


@dataclass(kw_only=True)
class TimeBudget:
    """A budget in minutes that a training keeps to, by planning again what is left of it."""

    minutes: float
    """The whole budget, from the start of the run."""
    seconds_before: float = 0.0
    """Seconds of training before the run was given this budget."""
    may_end_early: bool = False
    """Whether the steps are at most as many as are useful."""
    chooses_threads: bool = False
    """Whether the number of threads was left to the measurement."""
    num_plannings: int = 0
    """How many of the shares PLANNED_AGAIN_AT have passed."""
    planned_step: int = 0
    """The steps that were taken when it was planned last."""

    @property
    def num_left(self) -> int:
        """How often the rest of the budget is still to be planned again."""
        return len(PLANNED_AGAIN_AT) - self.num_plannings

    def is_due(self, seconds: float, step: int) -> bool:
        """Return whether to plan again, `seconds` after the start of the run, after `step` steps.

        The first steps of a training are slow, so there must be a few to plan by.
        """
        has_pace = step - self.planned_step >= LEAST_STEPS
        return has_pace and self._num_passed(seconds) > self.num_plannings

    def note_planning(self, seconds: float, step: int) -> None:
        """Remember that the rest was planned `seconds` after the start of the run, after `step`
        steps."""
        self.num_plannings = self._num_passed(seconds)
        self.planned_step = step

    def _num_passed(self, seconds: float) -> int:
        whole = 60 * self.minutes - self.seconds_before
        return sum(seconds - self.seconds_before >= share * whole for share in PLANNED_AGAIN_AT)

    def state(self, config: Config) -> dict[str, Any]:
        """Return what a checkpoint records, so that a resumed run keeps to the budget."""
        return {**asdict(self), "steps": config.steps}


def budget_of(config: Config) -> TimeBudget | None:
    """Return the budget in minutes of a new run; None for a number of steps or epochs."""
    if config.minutes is None:
        return None
    return TimeBudget(
        minutes=config.minutes, may_end_early=True, chooses_threads=config.threads == "auto"
    )


def late_warnings(budget: TimeBudget, seconds: float) -> Iterator[WarningEvent]:
    """Yield a warning about a training that ends `seconds` after its budget, if that is late."""
    if seconds > max(LATE_SECONDS, LATE_SHARE * 60 * budget.minutes):
        minutes = budget.minutes + seconds / 60
        yield WarningEvent(
            message=f"training took {minutes:.1f} minutes instead of {budget.minutes:g}:"
            " its last steps took longer than the steps before them, by which they were planned"
        )


class Pace(NamedTuple):
    """How fast a training was lately."""

    seconds_per_step: float
    """Mean seconds of a step."""
    seconds_per_validation: float | None
    """Seconds of the last validation; None if there was none."""


def pace_after(step: int, log: MetricsLog, config: Config) -> Pace | None:
    """Return how fast the steps after `step` were, by the log of a run; None if it has none of them
    or cannot be read.

    The log knows it, so that a run that was killed plans as one that was not.
    """
    # A training does not end because a file is missing that it can do without.
    try:
        records = log.read()
    except CheckpointError:
        return None
    step_seconds = []
    seconds = 0.0
    seconds_per_validation = None
    for record in records:
        logged, rate = record.get("step"), finite(record.get("chars_per_second"))
        if record.get("event") == "evaluation":
            seconds_per_validation = (finite(record.get("seconds")) or 0.0) - seconds
        seconds = finite(record.get("seconds")) or 0.0
        if isinstance(logged, int) and logged > step and rate is not None and rate > 0:
            step_seconds.append(config.chars_per_step / rate)

    if not step_seconds:
        return None

    # The later half of the steps, because another program may have begun or ended in the earlier
    # half; without the longest, in which charrnn may have been stopped.
    lately = sorted(step_seconds[len(step_seconds) // 2 :])
    return Pace(statistics.mean(lately[:-1] or lately), seconds_per_validation)


def plan_rest(
    config: Config,
    text: RunText,
    computing: Computing,
    *,
    budget: TimeBudget,
    log: MetricsLog,
    num_taken: int,
    end: float,
) -> Config:
    """Return the configuration with another number of steps, and perhaps of threads, if the
    training would not end at about `end`, as `time.perf_counter` counts, by how long the last steps
    took.

    The change is recorded as the last entry of `Config.plan`. Everything else stays as it was
    planned first.
    """
    pace = pace_after(budget.planned_step, log=log, config=config)
    if pace is None:
        return config
    seconds_left = end - time.perf_counter()
    num_steps = _steps_until(seconds_left, config=config, text=text, pace=pace, num_taken=num_taken)
    threads = threads_at(num_taken, config)

    # Another program that begins or ends changes how many threads are best. While they are fewer
    # than all, its end changes nothing that could be seen in the steps.
    may_be_others = _ends_elsewhere(config, num_steps) or threads < torch.get_num_threads()
    trial_seconds = REMEASURE_SHARE * 60 * budget.minutes
    if (
        may_be_others
        and budget.chooses_threads
        and computing.can_choose_threads
        and trial_seconds >= MIN_MEASURE_SECONDS
    ):
        auto = replace(config, plan=None, threads="auto")
        trial = measuring.time_trial_steps(
            auto,
            batches=text.batch_rows(config),
            vocab_size=len(text.vocab),
            computing=computing,
            seconds=trial_seconds,
        )
        if trial.threads != threads:
            threads = trial.threads
            pace = pace._replace(seconds_per_step=trial.seconds)
        seconds_left = end - time.perf_counter()
        num_steps = _steps_until(
            seconds_left, config=config, text=text, pace=pace, num_taken=num_taken
        )

    # As for the first plan: no more steps than are useful.
    if budget.may_end_early:
        useful = recipe.most_useful_steps(config, num_train_chars=text.num_train)
        num_steps = max(num_taken, min(num_steps, useful))
    if _ends_elsewhere(config, num_steps) or threads != threads_at(num_taken, config):
        return with_plan(config, PlanEntry(num_taken, num_steps=num_steps, threads=threads))
    return config


def _ends_elsewhere(config: Config, num_steps: int) -> bool:
    """Return whether a number of steps differs enough from that of the configuration."""
    planned = config.steps or 0
    return abs(num_steps - planned) > LEAST_CHANGE * planned


def _steps_until(
    seconds_left: float, *, config: Config, text: RunText, pace: Pace, num_taken: int
) -> int:
    """Return the steps of a run that has taken `num_taken` steps and has `seconds_left`, at least
    those that are taken."""
    seconds_per_validation = pace.seconds_per_validation
    if seconds_per_validation is None:
        cost_in_steps = recipe.cost_of_validation(config, num_val_chars=text.num_validation)
        seconds_per_validation = cost_in_steps * pace.seconds_per_step

    # Each `evaluate_every` steps have a validation, and so has the last step.
    seconds_per_step = pace.seconds_per_step + seconds_per_validation / resolved(
        config.evaluate_every
    )
    num_left = max(0, int((seconds_left - seconds_per_validation) / seconds_per_step))
    return min(num_taken + num_left, MAX_STEPS)


def with_plan(config: Config, entry: PlanEntry) -> Config:
    """Return the configuration with a plan that follows its plans until now. A plan of the same
    step is replaced."""
    entries = [earlier for earlier in config.plan_entries if earlier.step < entry.step]
    return _with_entries(config, [*entries, entry])


def plan_until(config: Config, step: int) -> Config:
    """Return the configuration with the plans that were made until `step`, and the steps and the
    threads of the last of them."""
    if config.plan is None:
        return config
    return _with_entries(config, [entry for entry in config.plan_entries if entry.step <= step])


def _with_entries(config: Config, entries: Sequence[PlanEntry]) -> Config:
    plan = None
    if len(entries) > 1:
        plan = tuple(entry.written() for entry in entries)
    last = entries[-1]
    return replace(config, plan=plan, steps=last.num_steps, threads=last.threads)
