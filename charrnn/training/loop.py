"""Train a new run, or resume a run: generators of events, which print nothing."""

import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from charrnn.config.settings import BUDGETS, Config, parse_value, resolved
from charrnn.distributed.group import ProcessGroup
from charrnn.distributed.processes import connected
from charrnn.errors import CheckpointError, DataError, UsageError, named
from charrnn.model.device import computed_on_threads, on_threads
from charrnn.model.ensemble import check_ensemble
from charrnn.model.shapes import check_shapes, extend_rows
from charrnn.runs.checkpoint import Checkpoint, base_state
from charrnn.runs.config_files import RunDescription
from charrnn.runs.logs import MetricsLog
from charrnn.runs.reader import CHECKPOINTS, RunReader, choose_run
from charrnn.runs.writer import RunWriter, clear_unsaved, lock_folder, new_run
from charrnn.text.recorded_corpus import recorded_corpus
from charrnn.training import plan, recipe, run_text
from charrnn.training.computing import Computing
from charrnn.training.events import DoneEvent, TrainEvent, WarningEvent
from charrnn.training.notes import new_run_notes, resumed_notes
from charrnn.training.plan import Resumed
from charrnn.training.recipe import DEFAULT_MINUTES
from charrnn.training.run_text import RunText
from charrnn.training.session import TrainingSession
from charrnn.training.shared_session import SharedSession
from charrnn.training.trainer import Trainer

MIN_REPORTED_BUDGET = 30
"""Seconds of the shortest budget whose use is checked: a small budget is often left unused in part.
"""
MIN_BUDGET_SHARE = 0.6
"""Share of a budget in minutes below which a warning says that training took less."""
MAX_BUDGET_SHARE = 1.15
"""Share of a budget in minutes above which a warning says that training took more."""
CHANGEABLE = (
    *BUDGETS,
    "device",
    "precision",
    "threads",
    "evaluate_every",
    "save_every",
    "keep",
)
"""Fields that a resumed run may change: how long and where it trains, and how many checkpoints it
keeps. The weights fit all other fields."""


def _never() -> bool:
    return False


def train(
    config: Config,
    *,
    asked: Collection[str] = (),
    out: str | Path | None = None,
    should_stop: Callable[[], bool] = _never,
    should_save: Callable[[], bool] = _never,
    group: ProcessGroup | None = None,
) -> Generator[TrainEvent, None, None]:
    """Train a new model, and yield an event as soon as something happens.

    By default a step is saved at every validation, and at the end. The folder of the run stays
    locked until the iterator is exhausted or closed; a run that ends before its first save leaves
    none. Beside `config.init_from`, training starts with the weights of that model, and the text is
    read as that model read its own, except for the fields that are not the default. Errors are
    raised when the first event is requested.

    Args:
        config: The settings. Those that are `auto` are chosen from the text and the budget; without
            a budget, training takes 3 minutes.
        asked: The names of fields that keep their values beside `config.init_from`, although these
            are the defaults: `["documents"]` keeps `documents="none"`.
        out: The folder of the run. By default the next free `checkpoints/NAME-001`, with the name
            of the text.
        should_stop: Called after every step, and from time to time during a long validation: if it
            returns true, the step is saved and training ends.
        should_save: Called after every step: if it returns true, the step is saved and training
            goes on.
        group: The processes that train the model together. By default those that torchrun has
            started, or this process alone.

    Yields:
        The events of the training (`TrainEvent`): plan, start, step, evaluation, sample, saved,
        warning, done. `event` is the name of each.

    Raises:
        UsageError: Settings cannot be used or exclude each other, the folder `out` exists, or
            `config` is no Config.
        DataError: The text is missing, cannot be read or is too short.
        CheckpointError: There is no run of the name `config.init_from`, or it is damaged.
        RunInUseError: Another process trains in the folder `out`.
        NonFiniteError: Training diverges. The last checkpoint stays good.
        CharRNNError: The run cannot be written.

    Example:
        >>> config = charrnn.Config(corpus="shakespeare.txt", hidden_size=32, steps=20)
        >>> for event in charrnn.train(config):
        ...     if event.event == "evaluation":
        ...         print(event.step, event.val_nats)
    """
    if not isinstance(config, Config):
        raise UsageError(
            f"A training takes a Config, not {config!r}: for a text, give"
            " charrnn.Config(corpus='FILE')."
        )
    start = time.perf_counter()
    folder = None if out is None else Path(out)
    with ExitStack() as stack:
        group = stack.enter_context(connected(group))

        # The model to start with, if any. An error in any process is raised in every process: a
        # process that raised alone would leave the rest waiting for it.
        with group.together():
            computing = Computing.of(config, group=group, start=start)
            # Minutes by default: how many steps are enough depends on the machine and the text.
            if all(getattr(config, budget) is None for budget in BUDGETS):
                config = replace(config, minutes=DEFAULT_MINUTES)
            if group.is_first and folder is not None:
                clear_unsaved(folder)
            config, initial = plan.open_initial_model(config, asked)

        # The text, and every setting that is left open: the configuration now reproduces the run.
        text = group.in_turn(lambda: run_text.read_new_text(config, initial=initial))
        group.check_same_text(text.corpus.digest)
        sized = plan.choose_model(config, text=text, computing=computing)
        if sized.minutes is not None:
            yield plan.plan_event(sized, text)
        planned = plan.plan_steps(sized, text=text, computing=computing, may_end_early=True)

        # The run's folder, which only the first process writes. Not earlier: a command that fails
        # leaves none.
        def create() -> RunWriter:
            if folder is None:
                return RunWriter.create(CHECKPOINTS, text.corpus.name)
            return RunWriter.create_at(folder)

        path = group.first(lambda: str(stack.enter_context(new_run(create)).path))
        run = RunWriter(Path(str(path)))
        if group.is_first:
            run.write_description(RunDescription.of(run.path, config=planned, vocab=text.vocab))
            run.write_document_texts(text.corpus.document_texts)

        # The numbers that training changes.
        with on_threads(resolved(planned.threads)):
            trainer = _new_trainer(planned, text, computing=computing)
        if initial is not None:
            # A larger alphabet has new rows of the embedding and of the output.
            rows = text.vocab.rows_in(initial.description.vocab())
            trainer.start_with(extend_rows(initial.model, trainer.model_tensors(), rows))

        # Training itself.
        session = _session_class(group)(
            run,
            trainer=trainer,
            text=text,
            start=start,
            should_stop=should_stop,
            should_save=should_save,
        )
        if initial is not None:
            session.state.base = base_state(initial)
        # Steps that were cut because more would not help leave time over, as they should.
        least_share = MIN_BUDGET_SHARE
        if recipe.ends_early(config, planned=planned, num_train_chars=text.num_train):
            least_share = 0.0
        yield from _events(
            session,
            notes=new_run_notes(config, planned=planned, text=text, initial=initial),
            minutes=config.minutes,
            least_share=least_share,
        )


def _new_trainer(config: Config, text: RunText, computing: Computing) -> Trainer:
    """Return a trainer with the new weights of a planned configuration.

    Raises UsageError for characters outside the alphabet after which the next character should be
    learned, because nothing would be learned.
    """
    learned_after = None
    if config.learned_after is not None:
        unknown = text.vocab.unknown_characters(config.learned_after)
        if unknown:
            raise UsageError(
                f"The alphabet of the text lacks {''.join(unknown)!r} of {named('learned_after')}:"
                " nothing would be learned after it. Name characters of the text."
            )
        learned_after = text.vocab.encode(config.learned_after)
    return Trainer(
        config,
        batches=text.batch_rows(config),
        vocab_size=len(text.vocab),
        device=computing.device,
        group=computing.group,
        learned_after=learned_after,
    )


def _session_class(group: ProcessGroup) -> type[TrainingSession]:
    if group.size == 1:
        return TrainingSession
    return SharedSession


def _events(
    session: TrainingSession,
    notes: Sequence[str],
    *,
    minutes: float | None,
    before: float = 0.0,
    least_share: float = MIN_BUDGET_SHARE,
) -> Iterator[TrainEvent]:
    """Yield all events of a session, and before the last one a warning if it took much less or much
    more than its budget of `minutes`.

    `before` are the seconds that the run had taken before this process.
    """
    threads = resolved(session.trainer.config.threads)
    with closing(computed_on_threads(threads, session.events(notes))) as events:
        for event in events:
            if isinstance(event, DoneEvent) and event.is_complete and minutes is not None:
                warning = _budget_warning(
                    before + event.seconds, budget=60 * minutes, least_share=least_share
                )
                if warning is not None:
                    yield warning
            yield event


def _budget_warning(seconds: float, *, budget: float, least_share: float) -> WarningEvent | None:
    """Return a warning if training took less than a share of its budget in seconds, or much more
    than all of it, because the machine was slower or faster while its speed was measured."""
    took = f"training took {seconds:.0f} of the {budget:.0f} seconds of its budget"
    if budget < MIN_REPORTED_BUDGET:
        return None
    if seconds < least_share * budget:
        return WarningEvent(
            message=f"{took}: the machine was slower while its speed was measured. Resume it with"
            f" {named('minutes', f'{budget / 60:g}')} to use the rest."
        )
    if seconds > MAX_BUDGET_SHARE * budget:
        return WarningEvent(
            message=f"{took}, {seconds - budget:.0f} more: the machine was busier meanwhile, or"
            " stopped."
        )
    return None


def resume(
    run: str | Path | None = None,
    changes: Mapping[str, object] | None = None,
    *,
    should_stop: Callable[[], bool] = _never,
    should_save: Callable[[], bool] = _never,
    group: ProcessGroup | None = None,
) -> Generator[TrainEvent, None, None]:
    """Continue the training of a run, from its latest checkpoint.

    On a CPU it continues bit for bit as if it had never stopped. Errors are raised when the first
    event is requested.

    Args:
        run: The name of a run in `checkpoints` or in the current folder, or its path. By default
            the run that saved last.
        changes: New values of settings by name: a budget (`minutes`, `epochs` or `steps`, which
            count from the start of the run), and `device`, `precision`, `threads`,
            `evaluate_every`, `save_every` and `keep`. The weights fit all other fields.
        should_stop: Called after every step, and from time to time during a long validation: if it
            returns true, the step is saved and training ends.
        should_save: Called after every step: if it returns true, the step is saved and training
            goes on.
        group: The processes that train the model together. By default those that torchrun has
            started, or this process alone.

    Yields:
        The events of the training (`TrainEvent`), as `train` does.

    Raises:
        CheckpointError: The run is missing or damaged.
        DataError: The text of the run is missing or has changed.
        UsageError: The budget is used up, or a change is none of these, or out of range.
        RunInUseError: Another process trains the run.
        NonFiniteError: Training diverges. The last checkpoint stays good.
        CharRNNError: The run cannot be written.

    Example:
        >>> *_, done = charrnn.resume("third", {"steps": 8})
        >>> done.event, done.step
        ('done', 8)
    """
    start = time.perf_counter()
    with ExitStack() as stack:
        group = stack.enter_context(connected(group))

        # The run. The first process locks and mends it before any other process reads it, because a
        # reader could meet a checkpoint that is being renamed.
        def open_run() -> str:
            folder = RunWriter(choose_run(None if run is None else str(run)).path)
            stack.enter_context(lock_folder(folder.path))
            folder.restore_replaced()
            folder.saved_checkpoints()
            return str(folder.path)

        parsed = _parse_changes(changes or {})
        folder = RunWriter(Path(str(group.first(open_run))))
        resumed = group.in_turn(lambda: _load(folder, changes=parsed, num_processes=group.size))

        # The text, which must not have changed since the run began, and the steps that are left.
        with group.together():
            computing = Computing.of(resumed.config, group=group, start=start)
        text = group.in_turn(lambda: _read_same_text(resumed))
        config = plan.continued_config(resumed, text=text, computing=computing)
        if config.minutes is not None:
            yield plan.plan_event(config, text)
        num_taken = resumed.checkpoint.step
        planned = plan.plan_steps(config, text=text, computing=computing, num_taken=num_taken)

        # The numbers that training changes.
        checkpoint = resumed.checkpoint
        trainer = _new_trainer(planned, text, computing=computing)
        trainer.restore(checkpoint.model, training=checkpoint.training, counters=checkpoint.state)

        # The folder changes only now, so that a run that cannot be continued stays as it was.
        # Checkpoints and log lines after this step are removed.
        if group.is_first:
            folder.continue_from(checkpoint)
            folder.write_description(
                RunDescription.of(folder.path, config=planned, vocab=text.vocab)
            )
            damaged = MetricsLog(folder.path / "metrics.jsonl").rewind(trainer.step)
            checkpoint = replace(checkpoint, warnings=(*checkpoint.warnings, *damaged))

        # Training itself.
        session = _session_class(group)(
            folder,
            trainer=trainer,
            text=text,
            start=start,
            should_stop=should_stop,
            should_save=should_save,
            checkpoint=checkpoint,
        )
        yield from _events(
            session,
            notes=resumed_notes(resumed.before, planned=planned, text=text, step=num_taken),
            minutes=resumed.config.minutes,
            before=resumed.seconds,
        )


def _parse_changes(changes: Mapping[str, object]) -> dict[str, Any]:
    """Parse the settings that a resumed run is to change. Raises UsageError for any outside
    CHANGEABLE."""
    fixed = [name for name in changes if name not in CHANGEABLE]
    if fixed:
        raise UsageError(
            f"{named('resume')} cannot change {', '.join(map(named, fixed))}: the saved weights"
            f" depend on it. It can change {', '.join(map(named, CHANGEABLE))}; for all else, as"
            f" for another text, start a new run, with {named('init_from')} from these weights."
        )
    return {name: parse_value(name, value) for name, value in changes.items()}


def _load(run: RunWriter, changes: Mapping[str, Any], num_processes: int) -> Resumed:
    """Load the latest checkpoint of a run, and replace settings of the run by `changes`.

    Raises CheckpointError if it is damaged, UsageError for a value out of range.
    """
    checkpoint = run.load_checkpoint("latest", with_training=True)
    before = _recorded_config(run, checkpoint=checkpoint)
    config = _changed_config(
        before, checkpoint=checkpoint, changes=changes, num_processes=num_processes
    )
    check_shapes(config, tensors=checkpoint.model, path=run.path)
    return Resumed(
        run=run,
        checkpoint=checkpoint,
        before=before,
        changes=changes,
        config=config,
        seconds=MetricsLog(run.path / "metrics.jsonl").seconds_at(checkpoint.step),
    )


def _recorded_config(run: RunReader, checkpoint: Checkpoint) -> Config:
    """Return the configuration in the run's folder, which may be newer than the checkpoint; if it
    is damaged, the configuration of the checkpoint."""
    try:
        return run.read_config()
    except CheckpointError:
        return checkpoint.description.config()


def _changed_config(
    config: Config, checkpoint: Checkpoint, changes: Mapping[str, Any], num_processes: int
) -> Config:
    """Return a configuration with `changes`. A new budget replaces a budget of any kind.

    Raises UsageError for a value out of range.
    """
    changed = {name: value for name, value in changes.items() if name not in BUDGETS}
    if any(changes.get(name) is not None for name in BUDGETS):
        changed |= {name: changes.get(name) for name in BUDGETS}

    # The threads are chosen again with the steps, and if the number of processes that share the
    # cores has changed.
    has_other_processes = checkpoint.state.get("num_processes", 1) != num_processes
    if changed.get("minutes") is not None or has_other_processes:
        changed.setdefault("threads", "auto")
    return replace(config, **changed)


def _read_same_text(resumed: Resumed) -> RunText:
    """Read the text that the run was trained on. Raises DataError if it changed, CheckpointError
    for a damaged run."""
    run = resumed.run.path
    config = resumed.config
    checkpoint = resumed.checkpoint

    # Without a digest, a run from elsewhere could name any file of this disk, and learn it.
    recorded = recorded_corpus(run.name, config=config, state=checkpoint.state, folder=run)
    if recorded is None:
        raise CheckpointError(f"{run.name} does not record the digest of its text.")

    try:
        text = run_text.read_text(config, vocab=checkpoint.description.vocab(), recorded=recorded)
    except DataError as error:
        if "-" not in config.corpus:
            raise
        raise DataError(f"{error}\nPipe the same text into standard input again.") from None

    # Nobody has typed these settings.
    try:
        check_ensemble(config)
    except UsageError as error:
        raise CheckpointError(f"{run / 'config.yaml'} is damaged: {error}") from error

    # A new run never reads more characters per step than its text has. A damaged config.yaml may
    # ask for that, and for any amount of memory.
    if config.chars_per_step > text.num_train:
        raise CheckpointError(
            f"{run / 'config.yaml'} is damaged: {config.batch_size} batch rows of"
            f" {config.bptt_length} characters per step are more than the {text.num_train:,} of its"
            " text"
        )
    return text
