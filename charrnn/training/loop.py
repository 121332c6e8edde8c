"""Train a new run, or resume a run: generators of events, which print nothing."""

import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from charrnn.config.settings import BUDGETS, Config, resolved
from charrnn.distributed.group import ProcessGroup, connected
from charrnn.errors import UsageError
from charrnn.model.device import on_threads, pick_device
from charrnn.model.shapes import extend_rows
from charrnn.runs.checkpoint import base_state
from charrnn.runs.writer import RunWriter, clear_unsaved, new_run, reopened_run
from charrnn.training.events import PlanEvent, TrainEvent
from charrnn.training.initial_model import open_initial_model
from charrnn.training.measuring import Computing
from charrnn.training.notes import new_run_notes, resumed_notes
from charrnn.training.plan import Plan, choose_model, plan_steps
from charrnn.training.recipe import DEFAULT_MINUTES
from charrnn.training.resuming import (
    continued_plan,
    load_resumed,
    parse_changes,
    read_same_text,
)
from charrnn.training.run_text import RunText, read_new_text
from charrnn.training.session import TrainingSession
from charrnn.training.several_processes import SeveralProcesses
from charrnn.training.trainer import Trainer


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

    The model is that of `charrnn train` with the same settings; whoever writes a loop over
    trainings, or shows their progress in another way, calls this. `charrnn.load` then loads the
    run. By default a step is saved at every validation, and at the end. The folder of the run stays
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
        group: The processes that train together. By default those of torchrun, or this one.

    Yields:
        The events of the training (`TrainEvent`): plan, start, step, replanned, validating,
        evaluation, sample, saved, warning, done. `event` is the name of each.

    Raises:
        UsageError: Settings cannot be used or exclude each other, the folder `out` exists, or
            `config` is no Config.
        DataError: The text is missing, cannot be read or is too short.
        CheckpointError: There is no run of the name `config.init_from`, or it is damaged.
        RunInUseError: Another training uses the folder `out`.
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
        strategy = stack.enter_context(_strategy_of(group))

        # The model to start with, if any; the text; and every setting that no measured speed
        # decides: the configuration then reproduces the model.
        with strategy.preparation():
            computing = strategy.computing(config, start=start)
            # Minutes by default: how many steps are enough depends on the machine and the text.
            if all(getattr(config, budget) is None for budget in BUDGETS):
                config = replace(config, minutes=DEFAULT_MINUTES)
            if folder is not None:
                strategy.clear(folder)
            config, initial = open_initial_model(config, asked=asked)
            text = read_new_text(config, initial=initial)
            plan = choose_model(config, text=text, computing=computing)
        plan = strategy.agree(plan, text)
        if plan.config.minutes is not None:
            yield PlanEvent(**text.facts(plan.config))

        # Every setting that is left open. Minutes become steps: some are taken, and timed, by a
        # trainer that is thrown away.
        plan = plan_steps(plan, text=text, computing=computing)
        plan = strategy.agree(plan, text)

        # The numbers that training changes: new weights, or those of the model to start with. A
        # larger alphabet than that of this model has new rows of the embedding and of the output.
        trainer = _new_trainer(plan.config, text=text, computing=computing)
        base = None
        if initial is not None:
            base = base_state(initial)
            rows = text.vocab.rows_in(initial.description.vocab())
            trainer.start_with(extend_rows(initial.model, drawn=trainer.model_tensors(), rows=rows))

        # The run's folder. Not earlier: a command that fails leaves none.
        run = stack.enter_context(strategy.new_run(folder, name=text.corpus.name))

        # Training itself.
        session = strategy.session_class(
            run,
            trainer=trainer,
            text=text,
            computing=computing,
            should_stop=should_stop,
            should_save=should_save,
            budget=plan.budget,
            base=base,
        )
        notes = new_run_notes(config, plan=plan, text=text, initial=initial)
        yield from session.events(notes)


def resume(
    run: str | Path | None = None,
    changes: Mapping[str, object] | None = None,
    *,
    should_stop: Callable[[], bool] = _never,
    should_save: Callable[[], bool] = _never,
    group: ProcessGroup | None = None,
) -> Generator[TrainEvent, None, None]:
    """Continue the training of a run, from its latest checkpoint.

    A training that was stopped or killed goes on, and a finished one may get a larger budget. On a
    CPU it continues bit for bit as if it had never stopped. Errors are raised when the first
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
        group: The processes that train together. By default those of torchrun, or this one.

    Yields:
        The events of the training (`TrainEvent`), as `train` does.

    Raises:
        CheckpointError: The run is missing or damaged.
        DataError: The text of the run is missing or has changed.
        UsageError: The budget is used up, or a change is none of these, or out of range.
        RunInUseError: Another training continues the run.
        NonFiniteError: Training diverges. The last checkpoint stays good.
        CharRNNError: The run cannot be written.

    Example:
        >>> *_, done = charrnn.resume("third", {"steps": 8})
        >>> done.event, done.step
        ('done', 8)
    """
    start = time.perf_counter()
    parsed = parse_changes(changes or {})
    with ExitStack() as stack:
        strategy = stack.enter_context(_strategy_of(group))
        name = None if run is None else str(run)
        reopened = stack.enter_context(strategy.reopened_run(name))

        # The latest checkpoint; the text, which must not have changed since the run began; and what
        # is left of the budget.
        with strategy.preparation():
            resumed = load_resumed(reopened, changes=parsed, num_processes=strategy.num_processes)
            checkpoint = resumed.checkpoint
            computing = strategy.computing(resumed.config, start=start)
            text = read_same_text(resumed)
            plan = continued_plan(resumed, text=text, computing=computing)
        plan = strategy.agree(plan, text)
        if plan.config.minutes is not None:
            yield PlanEvent(**text.facts(plan.config))

        # Minutes become steps: some are taken, and timed, by a trainer that is thrown away.
        plan = plan_steps(plan, text=text, computing=computing, num_taken=checkpoint.step)
        plan = strategy.agree(plan, text)

        # The numbers that training changes.
        trainer = _new_trainer(plan.config, text=text, computing=computing)
        trainer.restore(checkpoint.model, training=checkpoint.training, counters=checkpoint.state)

        # Training itself.
        session = strategy.session_class(
            reopened,
            trainer=trainer,
            text=text,
            computing=computing,
            should_stop=should_stop,
            should_save=should_save,
            checkpoint=checkpoint,
            budget=plan.budget,
        )
        notes = resumed_notes(plan.config, text=text)
        yield from session.events(notes)


def _new_trainer(config: Config, text: RunText, computing: Computing) -> Trainer:
    """Return a trainer with the new weights of a planned configuration.

    Raises the errors of `RunText.learned_after`.
    """
    with on_threads(resolved(config.threads)):
        return Trainer(
            config,
            batches=text.batch_rows(config),
            vocab_size=len(text.vocab),
            device=computing.device,
            learned_after=text.learned_after(config),
            own_rows=computing.own_rows,
        )


class OneProcess:
    """How a training runs in one process, in which nothing has to be agreed on.

    `several_processes.SeveralProcesses` has the same methods.
    """

    session_class: ClassVar[type[TrainingSession]] = TrainingSession
    """The class of the session."""
    num_processes: int = 1
    """How many processes train the model together."""

    def preparation(self) -> AbstractContextManager[None]:
        """Return what surrounds the block that reads the text and chooses the model: nothing."""
        return nullcontext()

    def computing(self, config: Config, start: float) -> Computing:
        """Choose the device; `start` is when the budget began. Raises UsageError for a device that
        is missing."""
        return Computing(pick_device(config.device), start=start)

    def clear(self, folder: Path) -> None:
        """Make room for a new run. Raises the errors of `clear_unsaved`."""
        clear_unsaved(folder)

    def agree(self, plan: Plan, text: RunText) -> Plan:
        """Return the plan that counts for the text."""
        return plan

    def new_run(self, folder: Path | None, name: str) -> AbstractContextManager[RunWriter]:
        """Create and lock the folder of a new run, as `runs.writer.new_run` does."""
        return new_run(folder, name=name)

    def reopened_run(self, run: str | None) -> AbstractContextManager[RunWriter]:
        """Lock and mend the folder of an old run, as `runs.writer.reopened_run` does."""
        return reopened_run(run)


@contextmanager
def _strategy_of(group: ProcessGroup | None) -> Iterator[OneProcess | SeveralProcesses]:
    """Choose how a training runs: in the processes of a group, or, by default, in those that
    torchrun has started with this one. They are connected, and disconnected at the end.

    Raises the errors of `distributed.group.connected`.
    """
    with connected(group) as members:
        if members.size == 1:
            yield OneProcess()
        else:
            yield SeveralProcesses(members)
