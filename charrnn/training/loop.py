"""Train a new run, or resume one: streams of events, in which nothing is printed."""

import contextlib
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch

from charrnn.config.settings import BUDGETS, Config, parse_value, resolved
from charrnn.errors import CheckpointError, DataError, UsageError, named
from charrnn.model.device import computed_on_threads, on_threads, pick_device
from charrnn.model.shapes import check_shapes, extend_rows
from charrnn.runs.checkpoint import Checkpoint
from charrnn.runs.description import Description
from charrnn.runs.logs import MetricsLog
from charrnn.runs.reader import CHECKPOINTS, RunReader, choose_run
from charrnn.runs.writer import RunWriter, clear_unsaved, lock_folder, new_run
from charrnn.text.batches import BatchRows
from charrnn.text.recorded_corpus import recorded_corpus
from charrnn.training import plan
from charrnn.training.events import DoneEvent, TrainEvent, WarningEvent
from charrnn.training.plan import choose_precision
from charrnn.training.process_group import Computing, ProcessGroup, connected
from charrnn.training.recipe import DEFAULT_MINUTES, choose_steps, ends_early
from charrnn.training.session import TrainingSession
from charrnn.training.trainer import Trainer

MIN_REPORTED_BUDGET = 30
"""Seconds of the shortest budget whose underuse is reported: a small one is often underused."""
MIN_BUDGET_SHARE = 0.6
"""Share of a budget in minutes below which a warning says that training took less."""
CHANGEABLE = (*BUDGETS, "device", "precision", "threads", "evaluate_every", "save_every", "keep")
"""Fields that a resumed run may change: how long and where it trains, and what is kept; none that
the weights fit."""


def _never() -> bool:
    return False


def train(
    config: Config,
    *,
    out: Path | None = None,
    checkpoints: Path = CHECKPOINTS,
    should_stop: Callable[[], bool] = _never,
    should_save: Callable[[], bool] = _never,
    stdin: BinaryIO | None = None,
    group: ProcessGroup | None = None,
) -> Generator[TrainEvent, None, None]:
    """Train a new model, or continue with that of `config.init_from`; yield what happens, as it
    happens.

    The run is saved in the folder `out`, or in the next free `checkpoints/NAME-001`. After every
    step, and from time to time during a long validation, `should_stop` is called: if it returns
    true, the step is saved and training ends. `should_save` is called after every step; if it
    returns true, the step is saved and training goes on. The run stays locked until the iterator is
    exhausted or closed. A run that ends before its first save leaves no folder. `group` is by
    default the processes that torchrun has started, or this one on its own.

    Errors are raised when the first event is requested: DataError for an unusable corpus,
    UsageError for unusable settings. NonFiniteError is raised when training diverges; the last
    checkpoint stays good.
    """
    start = time.perf_counter()
    with contextlib.ExitStack() as stack:
        group = stack.enter_context(connected(group))
        config, initial, device = _model_to_train(group, config, out, checkpoints)
        text = group.in_turn(lambda: plan.read_new_text(config, initial, stdin))
        group.check_same_text(text.corpus.digest)
        planned, batches = plan.plan_run(config, text, Computing(device, group, start))

        def create() -> RunWriter:
            return (
                RunWriter.create(checkpoints, text.corpus.name)
                if out is None
                else RunWriter.create_at(out)
            )

        run = RunWriter(Path())
        with group.together():
            if group.is_first:
                run = stack.enter_context(new_run(create))
        run = _run_of_first(group, run)
        if group.is_first:
            run.write_description(Description.of(run.path, planned, text.vocab))
        notes = plan.planning_notes(config, planned, text)
        with on_threads(resolved(planned.threads)):
            trainer = Trainer(planned, batches, len(text.vocab), device, group)
        if initial is not None:
            trainer.start_with(extend_rows(initial.model, trainer.model_tensors()))
            notes = (*initial.warnings, *plan.extension_note(config, initial, text), *notes)
        trainer.share()
        session = TrainingSession(run, trainer, text, start, should_stop, should_save)
        with closing(
            computed_on_threads(resolved(planned.threads), session.events(notes))
        ) as events:
            for event in events:
                is_done = isinstance(event, DoneEvent) and event.is_complete
                if (
                    is_done
                    and config.minutes is not None
                    and not ends_early(config, planned, text.num_train)
                ):
                    yield from _budget_underused_warning(
                        run, 60 * config.minutes, time.perf_counter() - start
                    )
                yield event


def _model_to_train(
    group: ProcessGroup, config: Config, out: Path | None, checkpoints: Path
) -> tuple[Config, Checkpoint | None, torch.device]:
    """Return the configuration of all processes, the step that a new run starts with, if any, and
    the device."""
    initial: Checkpoint | None = None
    with group.together():
        group.check_corpus(config.corpus)
        device = group.device(pick_device(config.device))
        if all(getattr(config, budget) is None for budget in BUDGETS):
            config = replace(config, minutes=DEFAULT_MINUTES)
        if group.is_first:
            if out is not None:
                clear_unsaved(out)
            config, initial = plan.open_initial_model(config, checkpoints)
    config = group.share_config(config)
    if config.init_from is not None:
        initial = group.share_checkpoint(initial)
    return config, initial, device


def _run_of_first(group: ProcessGroup, run: RunWriter) -> RunWriter:
    """Return the run of the first process in all."""
    return RunWriter(Path(cast(str, group.of_first(str(run.path)))))


def _budget_underused_warning(
    run: RunWriter, budget: float, seconds: float
) -> Iterator[WarningEvent]:
    """Warn if training took much less than its budget (in seconds): the machine was slower when it
    was measured."""
    if budget >= MIN_REPORTED_BUDGET and seconds < MIN_BUDGET_SHARE * budget:
        further = named("minutes", f"{(budget - seconds) / 60:.1f}")
        yield WarningEvent(
            message=(
                f"training took {seconds:.0f} of the {budget:.0f} seconds of its budget: the"
                f" machine was slower while its speed was measured. Resume {run.path.name} with"
                f" {further}."
            )
        )


def resume(
    run: str | Path | None = None,
    changes: Mapping[str, object] | None = None,
    *,
    checkpoints: Path = CHECKPOINTS,
    should_stop: Callable[[], bool] = _never,
    should_save: Callable[[], bool] = _never,
    stdin: BinaryIO | None = None,
    group: ProcessGroup | None = None,
) -> Generator[TrainEvent, None, None]:
    """Continue `run` (as `load` takes it) from its latest checkpoint: on a CPU, bit for bit as if
    it never stopped.

    `changes` may set the fields of CHANGEABLE. A budget in minutes or epochs counts from here. As
    with `train`, errors are raised when the first event is requested: CheckpointError if the run is
    missing or damaged, DataError if its text changed, UsageError for any other change,
    RunInUseError if another process trains it. Only the first process of `group`, which is chosen
    as by `train`, uses the run's folder.
    """
    start = time.perf_counter()
    found: Checkpoint | None = None
    folder, before, config = RunWriter(Path()), Config(), Config()
    with contextlib.ExitStack() as stack:
        group = stack.enter_context(connected(group))
        with group.together():
            parsed = _parse_changes(changes or {})
            if group.is_first:
                folder = RunWriter(choose_run(None if run is None else str(run), checkpoints).path)
                stack.enter_context(lock_folder(folder.path))
                folder.restore_replaced()
                folder.saved_checkpoints()
                found = folder.load_checkpoint("latest", with_training=True)
                before, config = _changed_config(folder, found, parsed, group.size)
                check_shapes(config, found.model, folder.path)
        folder = _run_of_first(group, folder)
        loaded = group.share_checkpoint(found)
        before, config = group.share_config(before), group.share_config(config)
        with group.together():
            group.check_corpus(config.corpus)
            device = group.device(pick_device(config.device))
        text = group.in_turn(lambda: _read_same_text(folder.path, config, loaded, stdin))
        computing = Computing(device, group, start)
        planned, batches = _plan_further(
            folder.path.name, before, config, parsed, text, loaded.step, computing
        )
        trainer = Trainer(planned, batches, len(text.vocab), device, group)
        trainer.restore(loaded.model, loaded.training, loaded.state)
        if group.is_first:
            folder.continue_from(loaded)
            folder.write_description(Description.of(folder.path, planned, text.vocab))
            damaged = MetricsLog(folder.path / "metrics.jsonl").rewind(trainer.step)
            loaded = replace(loaded, warnings=(*loaded.warnings, *damaged))
        session = TrainingSession(folder, trainer, text, start, should_stop, should_save, loaded)
        notes = (*text.corpus.notes, *plan.validation_notes(planned, text))
        with closing(
            computed_on_threads(resolved(planned.threads), session.events(notes))
        ) as events:
            yield from events


def _parse_changes(changes: Mapping[str, object]) -> dict[str, Any]:
    """Parse the settings that a resumed run is to change. Raises UsageError for any outside
    CHANGEABLE."""
    fixed = [name for name in changes if name not in CHANGEABLE]
    if fixed:
        raise UsageError(
            f"{named('resume')} cannot change {', '.join(map(named, fixed))}: the saved weights"
            f" depend on it. It can change {', '.join(map(named, CHANGEABLE))}; for all else start"
            " a new run."
        )
    return {name: parse_value(name, value) for name, value in changes.items()}


def _changed_config(
    run: RunReader, loaded: Checkpoint, changes: Mapping[str, Any], num_processes: int = 1
) -> tuple[Config, Config]:
    """Return the run's configuration, and that with `changes`, which `_parse_changes` returned.

    The threads are chosen again if another number of processes continues. A new budget replaces one
    of any kind.

    Raises UsageError for a value out of range.
    """
    # The run's own configuration, if it is whole: it may have been changed since that step was
    # saved.
    try:
        config = run.read_config()
    except CheckpointError:
        config = loaded.description.config()
    changed = {name: value for name, value in changes.items() if name not in BUDGETS}
    if any(changes.get(name) is not None for name in BUDGETS):
        changed |= {name: changes.get(name) for name in BUDGETS}
    is_other_number = loaded.state.get("num_processes", 1) != num_processes
    if (changed.get("minutes") is not None or is_other_number) and "threads" not in changed:
        changed["threads"] = "auto"  # Chosen again, with the steps.
    elif (
        config.threads == "auto"
    ):  # A run from before threads were recorded: it used all there are.
        changed.setdefault("threads", torch.get_num_threads())
    return config, replace(config, **changed)


def _read_same_text(
    run: Path, config: Config, loaded: Checkpoint, stdin: BinaryIO | None
) -> plan.Text:
    """Read the text that the run was trained on. Raises DataError if it changed, CheckpointError
    for a damaged run."""
    recorded = recorded_corpus(run.name, config, loaded.state)
    if recorded is None:  # Without a digest, a run from elsewhere could name any file of this disk.
        raise CheckpointError(f"{run.name} does not record the digest of its text.")
    try:
        text = plan.read_text(config, stdin, loaded.description.vocab(), recorded)
    except DataError as error:
        if "-" not in config.corpus:
            raise
        raise DataError(f"{error.marked}\nPipe the same text into standard input again.") from None
    if resolved(config.batch_size) * resolved(config.bptt_length) > text.num_train:
        # `choose_sizes` never does that, and such a step could need any memory.
        raise CheckpointError(
            f"{run / 'config.yaml'} is damaged: {config.batch_size} batch rows of"
            f" {config.bptt_length} characters per step are more than the {text.num_train:,} of its"
            " text"
        )
    return text


def _plan_further(
    run: str,
    old: Config,
    config: Config,
    changes: Mapping[str, Any],
    text: plan.Text,
    taken: int,
    computing: Computing,
) -> tuple[Config, BatchRows]:
    """Plan the steps of `run` beyond those `taken`; return the configuration and the batch rows.

    `config` is that of `old` with `changes`. A budget in minutes or epochs counts from here. How
    often the run validates and saves follows from a new budget if it followed from the old one.
    Raises UsageError for fewer steps than were taken.
    """
    sizes = (text.num_train, text.num_before_test - text.num_train)
    if any(changes.get(budget) is not None for budget in BUDGETS):
        auto = choose_steps(replace(old, evaluate_every="auto", save_every="auto"), *sizes)
        followed = [
            one
            for one in ("evaluate_every", "save_every")
            if getattr(config, one) == getattr(auto, one)
        ]
        config = replace(
            config, **dict[str, Any]((one, "auto") for one in followed if one not in changes)
        )
    batches = BatchRows(text.ids[: text.num_train], resolved(config.batch_size))
    # An older run that recorded `auto` continues as `autocast` resolves it; only an explicit `auto`
    # is chosen again.
    with computing.group.together():
        computing.group.rows(batches.batch_size)
        if "precision" in changes:
            config = replace(config, precision=choose_precision(config, computing.device))
    planned = plan.plan_steps(computing.group.share_config(config), text, batches, computing)
    if config.steps is None:
        # As for all steps, not only the further ones: that is what the next new budget compares
        # with.
        every: dict[str, Any] = {
            one: getattr(config, one) for one in ("evaluate_every", "save_every")
        }
        planned = choose_steps(
            replace(planned, steps=taken + (planned.steps or 0), **every), *sizes
        )
    elif config.steps < taken:
        raise UsageError(
            f"{named('steps')} is {config.steps}, but {run} has taken {taken} steps already."
        )
    return planned, batches
