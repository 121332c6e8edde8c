"""Decide everything before the first step: the model, its precision, the steps, the threads; and of
a run that is resumed what may change, its text, and what is left of its budget.

`choose_model` chooses what no speed decides, and `plan_steps` turns minutes into steps: some trial
steps are measured, and the rest of the budget, less the share of validation, is divided by the
seconds per step. The choices of a command with a number of steps or epochs do not depend on how
busy the machine is.
"""

import math
import statistics
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from charrnn.config.plan_record import PlanEntry
from charrnn.config.settings import (
    BUDGETS,
    CHANGEABLE,
    DOCUMENTS,
    DROPPED,
    FIELD_NAMES,
    INHERITED,
    MAX_STEPS,
    MODEL_FIELDS,
    Config,
    parse_value,
    resolved,
    threads_at,
)
from charrnn.distributed.group import SINGLE, ProcessGroup
from charrnn.errors import CheckpointError, UsageError, counted, named
from charrnn.model.device import chosen_precision, has_fast_bf16, on_threads
from charrnn.model.shapes import (
    check_multiple,
    check_network_fits,
    check_shapes,
    check_vocab_size,
    fit_parameters,
)
from charrnn.runs.checkpoint import Checkpoint
from charrnn.runs.included import card_of
from charrnn.runs.logs import MetricsLog, finite
from charrnn.runs.reader import open_run_to_read
from charrnn.runs.writer import RunWriter
from charrnn.system.progress import task
from charrnn.text.batches import BatchRows
from charrnn.text.recorded_corpus import recorded_corpus
from charrnn.text.sources import entry_of
from charrnn.training import recipe
from charrnn.training.recipe import CPU_RATE, OPERATIONS_PER_WEIGHT, num_recurrent_weights
from charrnn.training.run_text import RunText
from charrnn.training.trainer import Trainer


class Computing(NamedTuple):
    """What a training computes with.

    Functions of the plan take it as one thing, because a trial step needs all of it.
    """

    device: torch.device
    group: ProcessGroup = SINGLE
    """The processes that train the model together."""
    start: float = 0.0
    """When a budget in minutes began, as `time.perf_counter` counts."""


def choose_model(config: Config, text: RunText, computing: Computing) -> Config:
    """Choose the sizes and the precision of a new run, and all else that no measured speed decides.

    It comes first, and the plan event shows it. `plan_steps` measures, and chooses what depends on
    the speed.

    Several processes get the choices of the first process. Raises UsageError for a model that
    cannot be trained on this machine.
    """
    device, group, _ = computing
    with group.together():
        # The size, by the text and an assumed speed: by a measured speed, the same command would
        # train another model on a busy day.
        sized = recipe.choose_sizes(
            with_fitting_size(config, text),
            num_train_chars=text.num_train,
            operations_per_second=assumed_rate(config, device, num_processes=group.size),
        )

        # Who asks for a size gets one network of it, not several networks that share it.
        asked = (config.hidden_size, config.embedding_size, config.parameters)
        is_asked = any(size not in ("auto", "one-hot", None) for size in asked)
        if is_asked or config.init_from is not None:
            sized = recipe.fill_auto(sized, num_members=1)

        # These checks come before anything of that size is allocated.
        check_multiple(sized)
        check_network_fits(sized, len(text.vocab))
        group.rows(resolved(sized.batch_size))

        # The precision is recorded, so that the run continues, and can be repeated, in the
        # precision that it started with.
        sized = with_precision(sized, device)
    return group.share_config(sized)


def with_fitting_size(config: Config, text: RunText) -> Config:
    """Replace the number of weights, if it is given, by the number of units.

    Raises UsageError if no number of units fits.
    """
    if config.parameters is None:
        return config

    # The number is that of one network, whatever the budget.
    single = recipe.fill_auto(config, **recipe.DEFAULT_CELL, num_members=1)
    hidden_size = fit_parameters(
        single,
        vocab_size=len(text.vocab),
        embedding_size=lambda size: recipe.choose_embedding_size(config, hidden_size=size),
    )
    return replace(single, hidden_size=hidden_size, parameters=None)


def with_precision(config: Config, device: torch.device) -> Config:
    """Return the configuration with the precision in which the device computes. Raises the errors
    of `chosen_precision`."""
    num_units = recipe.units_of_network(config)
    precision = chosen_precision(device, config.precision, num_units=num_units)
    return replace(config, precision=precision)


class InitialModel(NamedTuple):
    """The model from which a training starts."""

    config: Config
    """The configuration with the settings of that model."""
    checkpoint: Checkpoint | None
    """Its best checkpoint; None for new weights."""


def open_initial_model(config: Config, asked: Collection[str] = ()) -> InitialModel:
    """Load the best checkpoint of `config.init_from`, if given, before anything is planned: the
    model decides the sizes and the alphabet. `asked` are the fields of `with_model_of`.

    Raises CheckpointError if that run is missing or damaged, UsageError if `config` asks for
    another model.
    """
    if config.init_from is None:
        return InitialModel(config, checkpoint=None)

    # The weights and the alphabet must belong together: both are continued.
    run = open_run_to_read(config.init_from).run
    initial = run.load_best()
    theirs = initial.description.config()
    # The included models are older than the setting, and their texts were clean.
    if card_of(initial.digest):
        theirs = replace(theirs, clean=True)
    config = with_model_of(run.name, theirs=theirs, config=config, asked=asked)
    vocab_size = check_shapes(config, tensors=initial.model, path=run.path)
    check_vocab_size(vocab_size, vocab=initial.description.vocab(), name=run.name)
    return InitialModel(config, checkpoint=initial)


def with_model_of(run: str, theirs: Config, config: Config, asked: Collection[str] = ()) -> Config:
    """Return the configuration with the model of `run`, which has the configuration `theirs`, and
    with its way of reading a text and its dropout where `config` asks for none.

    A default value counts as not asked for, unless it is that of one of the fields `asked`. Raises
    UsageError if `config` asks for another model, or for initial weights.
    """
    # All settings that shape the weights come from that run.
    default = Config()
    changed = [name for name in FIELD_NAMES if getattr(config, name) != getattr(default, name)]
    model: dict[str, Any] = {name: getattr(theirs, name) for name in MODEL_FIELDS}
    kept: dict[str, Any] = dict.fromkeys(("parameters", "initial_weights", "forget_bias")) | model
    for name in changed:
        wanted = getattr(config, name)
        if name in kept and wanted != kept[name]:
            raise UsageError(
                f"{named(name)} is {wanted}, but {named('init_from')} keeps the model of {run} and"
                " its weights. Leave one of them out."
            )

    # So do the settings of the text, unless they are asked for, and the dropout: weights that have
    # learned without it know less once it begins. The two fields of documents go together, and the
    # catalogue knows the encoding of its texts.
    asked_for = {*changed, *asked}
    if asked_for.intersection(DOCUMENTS):
        asked_for.update(DOCUMENTS)
    if any(map(entry_of, config.corpus)):
        asked_for.add("encoding")
    inherited = {name: getattr(theirs, name) for name in INHERITED if name not in asked_for}
    same = replace(config, **model, **inherited)

    # Nothing would end a document.
    is_new = same.end_id is not None and theirs.end_id is None and same.alphabet != "byte"
    if is_new and not config.extend_alphabet:
        raise UsageError(
            f"{named('documents')} is {config.documents}, but the alphabet of {run} has no END"
            f" symbol: use {named('extend_alphabet', 'true')}, or leave {named('documents')} out."
        )
    return same


MEASURE_SECONDS = 2.5
"""Time for which steps are measured, at most twice as long, to plan the steps of a budget of 1.4 to
8.3 minutes."""
MEASURE_SHARE = 0.03
"""Largest share of such a budget that is spent on measuring."""
LONG_MEASURE_SHARE = 0.005
"""Share of a long budget: large networks are slower in the first 5 to 10 seconds
(benchmarks/LOG.md)."""
MAX_MEASURE_SECONDS = 30.0
"""Longest time for which steps are measured, however long the budget."""
MIN_MEASURE_SECONDS = 0.25
"""Shortest time for which steps are measured, however small the budget."""


def plan_steps(
    config: Config,
    text: RunText,
    computing: Computing,
    *,
    num_taken: int = 0,
    may_end_early: bool = False,
) -> Config:
    """Turn the budget into steps; choose the settings that depend on them, and the number of
    threads.

    New and resumed runs call it, after `choose_model` or `continued_config`. Minutes count from
    `Computing.start` and are turned into steps by measuring. With `may_end_early`, the steps are at
    most as many as are useful. These steps follow the `num_taken` steps that a resumed run has
    taken before. Sums on another number of threads differ in their last digits, so the
    configuration that is returned, not the command, reproduces a run. Several processes measure
    together, and get the choices of the first process.
    """
    choose_steps = partial(
        recipe.choose_steps, num_train_chars=text.num_train, num_val_chars=text.num_validation
    )

    # Steps or epochs: nothing has to be measured.
    if config.minutes is None:
        planned = choose_steps(config)
        threads = choose_threads(planned)
        if planned.plan is not None and planned.threads == "auto":
            # The run that is resumed has other processes from here on.
            last = planned.plan_entries[-1]
            planned = with_plan(planned, PlanEntry(num_taken, last.num_steps, threads=threads))
        return computing.group.share_config(replace(planned, threads=threads))

    # Minutes: how long is a step?
    budget = 60 * config.minutes
    longest = max(MEASURE_SECONDS, min(MAX_MEASURE_SECONDS, LONG_MEASURE_SHARE * budget))
    seconds_per_step, threads = time_trial_steps(
        config,
        batches=text.batch_rows(config),
        vocab_size=len(text.vocab),
        computing=computing,
        seconds=min(longest, max(MIN_MEASURE_SECONDS, MEASURE_SHARE * budget)),
    )

    # Steps as measured in the time that is left, after reading the text and measuring.
    seconds_left = max(0.0, budget - (time.perf_counter() - computing.start))
    steps_as_measured = seconds_left * (1 - recipe.EVALUATION_SHARE) / seconds_per_step

    # M networks take M times as long per step as one. `config.num_networks` networks were measured:
    # 1 if their number is still to be chosen.
    with_members = recipe.choose_members(
        replace(config, threads=threads),
        num_steps=int(steps_as_measured),
        num_train_chars=text.num_train,
    )
    num_steps = int(steps_as_measured * config.num_networks / with_members.num_networks)
    if may_end_early:
        num_steps = min(
            num_steps, recipe.most_useful_steps(with_members, num_train_chars=text.num_train)
        )
    planned = choose_steps(with_members, steps_in_minutes=num_taken + max(1, num_steps))
    return computing.group.share_config(planned)


UNITS_PER_THREAD = 32
"""Units for which a second thread is no faster, because threads wait for each other
(benchmarks/LOG.md)."""
GPU_RATE = 5e12
"""Assumed operations per second of training on a device other than the CPU: not measured."""
FP32_SHARE = 0.3
"""Assumed rate of fp32 as a share of the rate of bf16 on the CPU."""


def assumed_rate(config: Config, device: torch.device, num_processes: int = 1) -> float:
    """Return the operations per second that are assumed of all processes together, to choose the
    model's size.

    They are not measured, so that the same command chooses the same size however busy the machine
    is.
    """
    # Roots, because threads and processes wait for each other.
    if device.type != "cpu":
        return GPU_RATE * math.sqrt(num_processes)
    rate = CPU_RATE * math.sqrt(_most_threads(config) * num_processes)
    if config.precision == "fp32" or not has_fast_bf16(device):
        rate *= FP32_SHARE
    return rate


def _most_threads(config: Config) -> int:
    return torch.get_num_threads() if config.threads == "auto" else config.threads


def choose_threads(config: Config) -> int:
    """Return the configuration's threads; for `auto` one thread per UNITS_PER_THREAD units of a
    layer, at most all threads."""
    if config.threads != "auto":
        return config.threads
    return max(1, min(torch.get_num_threads(), recipe.units_of_network(config) // UNITS_PER_THREAD))


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

        The first steps of a process are slow, so there must be a few to plan by.
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


def resumed_budget(resumed: "Resumed", continued: Config) -> TimeBudget | None:
    """Return the budget in minutes to which a resumed run keeps: the one that it is given now, else
    the one that its checkpoint recorded, unless it got another budget since.

    `continued` has the minutes that are left. Raises CheckpointError for a damaged record.
    """
    config = resumed.config
    if config.minutes is not None and continued.minutes is not None:
        return TimeBudget(
            minutes=config.minutes,
            seconds_before=60 * (config.minutes - continued.minutes),
            planned_step=resumed.checkpoint.step,
            chooses_threads=config.threads == "auto",
        )

    state = resumed.checkpoint.state.get("budget")
    if not isinstance(state, dict) or state.get("steps") != config.steps:
        return None
    recorded: dict[str, Any] = {}
    for name, default in asdict(TimeBudget(minutes=0.0)).items():
        recorded[name] = state.get(name)
        if type(recorded[name]) is not type(default):
            raise CheckpointError("training.json has no usable budget.")
    budget = TimeBudget(**recorded)
    if "threads" in resumed.changes:
        budget.chooses_threads = False
    return budget


def is_late(budget: TimeBudget, seconds: float) -> bool:
    """Return whether `seconds` after the end of a budget are worth a warning."""
    return seconds > max(LATE_SECONDS, LATE_SHARE * 60 * budget.minutes)


class Pace(NamedTuple):
    """How fast a training was lately."""

    seconds_per_step: float
    """Mean seconds of a step."""
    seconds_per_validation: float | None
    """Seconds of the last validation; None if there was none."""


def pace_after(step: int, log: MetricsLog, config: Config) -> Pace | None:
    """Return how fast the steps after `step` were, by the log of a run; None if it has none of them
    or cannot be read.

    The log knows it, and not the process, so that a run that was killed plans as one that was not.
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
    # half; without the longest, in which the process may have been stopped.
    lately = sorted(step_seconds[len(step_seconds) // 2 :])
    return Pace(statistics.mean(lately[:-1] or lately), seconds_per_validation)


def plan_again(
    config: Config,
    text: RunText,
    computing: Computing,
    *,
    budget: TimeBudget,
    pace: Pace,
    num_taken: int,
    end: float,
) -> Config:
    """Return the configuration with another number of steps, and perhaps of threads, if the
    training would not end at about `end`, as `time.perf_counter` counts.

    The change is recorded as the last entry of `Config.plan`. Everything else stays as it was
    planned first. One process plans for all.
    """
    seconds_left = end - time.perf_counter()
    num_steps = _steps_until(seconds_left, config=config, text=text, pace=pace, num_taken=num_taken)
    threads = threads_at(num_taken, config)

    # Another program that begins or ends changes how many threads are best. While they are fewer
    # than all, its end changes nothing that could be seen in the steps.
    may_be_others = _ends_elsewhere(config, num_steps) or threads < torch.get_num_threads()
    trial_seconds = REMEASURE_SHARE * 60 * budget.minutes
    if (
        may_be_others
        and _chooses_threads(budget, computing)
        and trial_seconds >= MIN_MEASURE_SECONDS
    ):
        auto = replace(config, plan=None, threads="auto")
        trial = time_trial_steps(
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


def _chooses_threads(budget: TimeBudget, computing: Computing) -> bool:
    """Return whether the number of threads may be chosen by measuring, as in `time_trial_steps`."""
    return budget.chooses_threads and computing.device.type == "cpu" and computing.group.size == 1


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


MIN_SPEEDUP = 1.1
"""How many times faster fewer threads must be to be chosen, because short measurements are noisy.
"""
TRIAL_RATE = 1e-9
"""Learning rate of trial steps: too small for the weights to diverge."""
NUM_WARM_UPS = 2
"""First steps, which are slower than all later steps, because libraries choose their kernels."""


class TrialSteps(NamedTuple):
    """What was measured before a training."""

    seconds: float
    """Seconds of a step."""
    threads: int
    """The number of threads on which to take the steps."""


def time_trial_steps(
    config: Config, batches: BatchRows, vocab_size: int, computing: Computing, seconds: float
) -> TrialSteps:
    """Measure for about `seconds` how long a step takes in seconds, and on how many threads to take
    it.

    If the threads are `auto`, three numbers are tried: all threads, all but one, and a single
    thread. While another process keeps a core busy, all threads wait at every operation for the
    thread on that core. Several processes measure together, so that the exchange of gradients
    counts, and each uses all of its threads.

    The seconds are the lower quartile of the measured steps on the chosen threads, not the median.
    With the median, a process that is busy during the measurement would cost the whole run its
    steps.
    """
    # A network of its own: the weights of the run must not depend on how many steps were measured.
    # Drawing them is no faster on several threads, and much slower while other programs use the
    # cores.
    with on_threads(1):
        trainer = Trainer(
            _trial_config(config, num_train_chars=len(batches.ids), computing=computing),
            batches=batches,
            vocab_size=vocab_size,
            device=computing.device,
            group=computing.group,
        )
    most = _most_threads(config)
    times: dict[int, list[float]] = {most: []}
    for count in _fewer_threads(config, computing, batch_size=batches.batch_size, seconds=seconds):
        times[count] = []

    with task("measuring", unit="steps") as advance:
        # The first step chooses its kernels. On several threads it may take very long while other
        # programs use the cores.
        with on_threads(min(times)):
            for _ in range(NUM_WARM_UPS):
                trainer.take_step()
                advance()

        # Each number of threads in turn, so that a busy moment meets all of them.
        begin = time.perf_counter()
        longest = 0.0
        is_over = False
        while not is_over:
            round_begin = time.perf_counter()
            for num_threads, taken in times.items():
                with on_threads(num_threads):
                    step_begin = time.perf_counter()
                    trainer.take_step()
                    taken.append(time.perf_counter() - step_begin)
                advance()
            longest = max(longest, time.perf_counter() - round_begin)

            # Measure for `seconds`, or for up to twice that time until there are three rounds. The
            # longest round does not count, because the process may have been stopped in it.
            least = seconds if len(times[most]) >= 3 else 2 * seconds
            is_over = computing.group.any(time.perf_counter() - begin - longest >= least)

    # The fastest number of threads; all of them unless another is clearly faster.
    medians = {count: np.quantile(taken, 0.5, method="lower") for count, taken in times.items()}
    fastest = min(medians, key=medians.__getitem__)
    if medians[fastest] * MIN_SPEEDUP >= medians[most]:
        fastest = most
    seconds_per_step = float(np.quantile(times[fastest], 0.25, method="lower"))
    return TrialSteps(seconds_per_step, threads=fastest)


def _trial_config(config: Config, num_train_chars: int, computing: Computing) -> Config:
    """Return a configuration without `auto` whose steps take as long as the steps of `config`."""
    # A step takes the same time with any dropout, weight decay and learning rate, and 8 % longer if
    # weights are dropped (1x512). They are not dropped in an irnn, nor in a model that, at the
    # assumed rate, does not read the text often.
    rate = assumed_rate(config, computing.device, num_processes=computing.group.size)
    num_read = recipe.chars_of_minutes(config, operations_per_second=rate)
    dropped = dict.fromkeys(DROPPED, 0.1)
    dropout = recipe.automatic_dropout(config, num_read=num_read, num_train_chars=num_train_chars)
    if dropout == 0 or config.cell_type == "irnn":
        dropped["weight_drop"] = 0.0

    # The settings that `choose_steps` fills in only when the steps are known; any number does.
    return replace(
        recipe.fill_auto(config, **dropped),
        minutes=None,
        steps=10**6,
        learning_rate=TRIAL_RATE,
        weight_decay=0.1,
        **recipe.EARLY_FALL,
    )


def _fewer_threads(
    config: Config, computing: Computing, *, batch_size: int, seconds: float
) -> list[int]:
    """Return the numbers of threads to try beside all of them."""
    if config.threads != "auto" or computing.device.type != "cpu" or computing.group.size > 1:
        return []

    # Fewer threads are not tried for a model that is too large for them.
    operations = OPERATIONS_PER_WEIGHT * num_recurrent_weights(config)
    operations *= batch_size * resolved(config.bptt_length)
    seconds_of_one = operations / assumed_rate(replace(config, threads=1), computing.device)
    most = torch.get_num_threads()
    fewer = []
    for count in (most - 1, 1):
        if 1 <= count < most and seconds_of_one / count <= min(seconds, MEASURE_SECONDS):
            fewer.append(count)
    return fewer


@dataclass(frozen=True, kw_only=True)
class Resumed:
    """A run that is continued."""

    run: RunWriter
    checkpoint: Checkpoint
    """Its latest checkpoint."""
    before: Config
    """Its configuration until now."""
    changes: Mapping[str, object]
    """The settings that are given now."""
    config: Config
    """`before` with `changes` applied."""


def parse_changes(changes: Mapping[str, object]) -> dict[str, Any]:
    """Parse the settings that a resumed run is to change. Raises UsageError for any outside of
    CHANGEABLE.

    All other settings are those of the weights: changing them takes a new run, with `init_from`.
    """
    fixed = [name for name in changes if name not in CHANGEABLE]
    if fixed:
        raise UsageError(
            f"{named('resume')} cannot change {', '.join(map(named, fixed))}: the saved weights"
            f" depend on it. It can change {', '.join(map(named, CHANGEABLE))}; for all else, as"
            f" for another text, start a new run, with {named('init_from')} from these weights."
        )
    parsed = {}
    for name, value in changes.items():
        if value is not None or name not in BUDGETS:
            parsed[name] = parse_value(name, value)
    return parsed


def load_resumed(run: RunWriter, changes: Mapping[str, Any], num_processes: int) -> Resumed:
    """Load the latest checkpoint of a run, and replace settings of the run by `changes`. A new
    budget replaces a budget of any kind.

    `continued_config` then turns what is left of the budget into settings.

    Raises CheckpointError if it is damaged, UsageError for a value out of range.
    """
    # The configuration in the run's folder may be newer than that of the checkpoint.
    checkpoint = run.load_checkpoint("latest", with_training=True)
    try:
        before = run.read_config()
    except CheckpointError:
        before = checkpoint.description.config()

    # A plan that was made after the checkpoint is made again: its steps were not saved.
    before = plan_until(before, checkpoint.step)

    # The threads are chosen again with the steps, and if the number of processes that share the
    # cores has changed. A new budget has a plan of its own.
    changed = dict(changes)
    if changes.keys() & set(BUDGETS):
        changed = dict.fromkeys((*BUDGETS, "plan")) | changed
    has_other_processes = checkpoint.state.get("num_processes", 1) != num_processes
    if "minutes" in changes or has_other_processes:
        changed.setdefault("threads", "auto")
    config = before
    threads = changed.get("threads", "auto")
    if before.plan is not None and "plan" not in changed and threads != "auto":
        entry = PlanEntry(
            checkpoint.step, num_steps=before.plan_entries[-1].num_steps, threads=threads
        )
        config = with_plan(before, entry)
    config = replace(config, **changed)
    check_shapes(config, tensors=checkpoint.model, path=run.path)
    return Resumed(
        run=run,
        checkpoint=checkpoint,
        before=before,
        changes=changes,
        config=config,
    )


def read_same_text(resumed: Resumed) -> RunText:
    """Read the text that the run was trained on. Raises DataError if it changed, CheckpointError
    for a damaged run.

    A new run reads its text by `run_text.read_new_text`, which accepts what it finds.
    """
    run = resumed.run.path
    config = resumed.config
    checkpoint = resumed.checkpoint

    # Without a digest, a run from elsewhere could name any file of this disk, and learn it.
    recorded = recorded_corpus(run.name, config=config, state=checkpoint.state, folder=run)
    if recorded is None:
        raise CheckpointError(
            f"{run.name} does not say by a digest which text it has learned, so it cannot go on"
            f" with it\nstart from its weights, with the text: {named('init_from', run.name)}"
        )
    vocab = checkpoint.description.vocab()
    text = RunText.of(recorded.read(vocab=vocab, instead="start a new run"), config)

    # A new run never reads more characters per step than its text has. A damaged config.yaml may
    # ask for that, and for any amount of memory.
    if config.chars_per_step > text.num_train:
        raise CheckpointError(
            f"{run / 'config.yaml'} is damaged: {config.batch_size} batch rows of"
            f" {config.bptt_length} characters per step are more than the {text.num_train:,} of its"
            f" text\nrestore it from a copy, or start from the weights:"
            f" {named('init_from', run.name)}"
        )
    return text


def continued_config(resumed: Resumed, text: RunText, computing: Computing) -> Config:
    """Return the configuration of a resumed run, with the minutes that are left of its budget.

    A budget counts from the start of the run. How often the run validates and saves follows from a
    new budget if it followed from the old budget. Raises UsageError for a budget that is used up.
    """
    config = resumed.config
    changes = resumed.changes
    group = computing.group
    with group.together():
        group.rows(resolved(config.batch_size))
        if "precision" in changes:
            config = with_precision(config, computing.device)

        # With a new budget, what followed from the old one is chosen again: where the value is what
        # `auto` would have chosen, nobody asked for it.
        [budget] = [name for name in BUDGETS if getattr(config, name) is not None]
        if budget in changes:
            chosen = recipe.choose_steps(
                replace(resumed.before, evaluate_every="auto", save_every="auto"),
                num_train_chars=text.num_train,
                num_val_chars=text.num_validation,
            )
            followers: dict[str, Any] = {}
            for name in ("evaluate_every", "save_every"):
                if name not in changes and getattr(config, name) == getattr(chosen, name):
                    followers[name] = "auto"
            config = replace(config, **followers)

        # A budget of minutes has no number of steps, so its time is compared.
        num_taken = resumed.checkpoint.step
        minutes = MetricsLog(resumed.run.path / "metrics.jsonl").seconds_at(num_taken) / 60
        num_steps = recipe.steps_of_budget(config, num_train_chars=text.num_train)
        is_used_up = (config.minutes or 0) <= minutes
        if num_steps is not None:
            is_used_up = num_steps < num_taken
        if is_used_up:
            raise UsageError(
                f"{named(budget)} is {getattr(config, budget)}, but {resumed.run.path.name} has"
                f" taken {counted(num_taken, 'step')} in {minutes:.2f} minutes already\n"
                "a budget counts from the start of the run: give more, or leave it out"
            )
        if config.minutes is not None:
            config = replace(config, minutes=config.minutes - minutes)
    return group.share_config(config)
