"""Training as a stream of events: nothing here prints, and everything worth keeping is on disk before it is told."""

import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch

from charrnn.clock import seconds_since_start
from charrnn.config import BUDGETS, Config, parse_value, resolved
from charrnn.errors import CheckpointError, DataError, NonFiniteError, UsageError
from charrnn.evaluation.loss import bits, stateful_nats
from charrnn.generation.distribution import Shaping
from charrnn.generation.sampling import read_prime, sample_ids, start_ids, unwritable_ids
from charrnn.generation.writing import TextStream, write_chunks
from charrnn.model.device import computed_on_threads, on_threads, pick_device
from charrnn.model.shapes import check_memory, check_shapes
from charrnn.model.stepper import Stepper
from charrnn.records.training import (
    DoneEvent,
    EvaluationEvent,
    SampleEvent,
    SavedEvent,
    StartEvent,
    StepEvent,
    TrainEvent,
    WarningEvent,
)
from charrnn.runs.description import Description
from charrnn.runs.finding import open_run
from charrnn.runs.metrics import MetricsLog
from charrnn.runs.samples import SampleLog
from charrnn.runs.starting import clear_unsaved, new_run
from charrnn.runs.step import LoadedStep, best_in, step_number
from charrnn.runs.writer import RunWriter
from charrnn.text.lanes import Lanes
from charrnn.text.recorded import recorded_corpus, state_of_corpus
from charrnn.text.vocab import Vocab, count_distinct
from charrnn.training.measuring import choose_precision
from charrnn.training.plan import Download, Text, check_alphabet, plan_steps, read_text, take_notes, with_model_of
from charrnn.training.recipe import DEFAULT_MINUTES, choose_sizes
from charrnn.training.trainer import Trainer

SAMPLE_LENGTH = 240
SAMPLE_TEMPERATURE = 0.8
CHARS_BETWEEN_QUESTIONS = 8192
"""Characters of validation text, about what one step reads, after which `should_stop` is asked again."""
LEAST_TOLD, SHARE_TOLD = 30, 0.6
"""Seconds of a budget from which on, and the share of it below which, it is told that less time was taken."""
CHANGEABLE = (*BUDGETS, "device", "precision", "threads", "evaluate_every", "save_every", "keep")
"""What a resumed run may change: how long, where, and what is kept; nothing that the saved weights must fit."""


class _StopAsked(Exception):
    """Training is to end amid a validation."""


def _never() -> bool:
    return False


def train(
    config: Config,
    *,
    out: Path | None = None,
    checkpoints: Path = Path("checkpoints"),
    should_stop: Callable[[], bool] = _never,
    should_save: Callable[[], bool] = _never,
    stdin: BinaryIO | None = None,
    on_download: Download | None = None,
) -> Generator[TrainEvent, None, None]:
    """Train a new model, or that of `config.init_from` on; yield what happens, as it happens.

    The run goes to the folder `out`, or to the next free `checkpoints/NAME-001`. `should_stop` is asked after every
    step, and now and then amid a long validation: once it says yes, that step is saved and training ends.
    `should_save` is asked after every step, too: when it says yes, that step is saved and training goes on. Errors are
    raised when the first event is asked for: DataError for a corpus that cannot be used, UsageError for settings that
    cannot; NonFiniteError when training diverges (the last saved step stays good). The run stays locked until the
    iterator is exhausted or closed. A run that ends before its first save leaves no folder.
    """
    began = time.perf_counter()
    if out is not None:
        clear_unsaved(out)
    device = pick_device(config.device)
    if all(getattr(config, budget) is None for budget in BUDGETS):
        config = replace(config, minutes=DEFAULT_MINUTES)
    vocab, start = None, None
    if config.init_from is not None:
        older = open_run(config.init_from, checkpoints)
        start = older.load_best()
        config = with_model_of(older.path.name, start.description.config(), config)
        vocab = start.description.vocab()
        if check_shapes(config, start.model) != len(vocab):
            raise CheckpointError(f"The alphabet of {config.init_from} is not that of its weights.")
    text = read_text(config, stdin, on_download, vocab)
    if config.init_from is not None:
        check_alphabet(config.init_from, text)
    sized = choose_sizes(config, text.num_train)
    check_memory(sized, len(text.vocab))
    lanes = Lanes(text.ids[: text.num_train], resolved(sized.num_lanes))
    # Recorded, so that the run goes on, and can be repeated, in the precision it began with.
    sized = replace(sized, precision=choose_precision(sized, lanes, len(text.vocab), device))
    planned = plan_steps(sized, text, lanes, device, began)

    def create() -> RunWriter:
        return RunWriter.create(checkpoints, text.corpus.name) if out is None else RunWriter.create_at(out)

    with new_run(create) as run:
        run.write_description(Description.of(run.path, planned, text.vocab))
        notes = take_notes(config, planned, text)
        with on_threads(resolved(planned.threads)):
            trainer = Trainer(planned, lanes, len(text.vocab), device)
        if start is not None:
            trainer.start_with(start.model)
            notes = (*start.warnings, *notes)
        steps = _run(run, trainer, text, notes, should_stop, should_save)
        with closing(computed_on_threads(resolved(planned.threads), steps)) as events:
            for event in events:
                if isinstance(event, DoneEvent) and event.is_complete and config.minutes is not None:
                    yield from _told_of_haste(run, 60 * config.minutes, time.perf_counter() - began)
                yield event


def _told_of_haste(run: RunWriter, asked: float, took: float) -> Iterator[WarningEvent]:
    """A warning if a budget of so many seconds was measured when the machine was much slower than it was then."""
    if asked >= LEAST_TOLD and took < SHARE_TOLD * asked:
        yield WarningEvent(
            message=f"this took {took:.0f} of the {asked:.0f} seconds asked for: the machine was slower while it was "
            f"measured. Go on: charrnn train --resume {run.path.name} --minutes {(asked - took) / 60:.1f}"
        )


def resume(
    run: str | Path | None = None,
    changes: Mapping[str, object] | None = None,
    *,
    checkpoints: Path = Path("checkpoints"),
    should_stop: Callable[[], bool] = _never,
    should_save: Callable[[], bool] = _never,
    stdin: BinaryIO | None = None,
) -> Generator[TrainEvent, None, None]:
    """Go on with `run` (as `load` takes it) from its latest saved step: on a CPU, bit for bit as if it never stopped.

    `changes` may name the fields of CHANGEABLE. A budget in minutes or epochs is counted from here. As with `train`,
    errors are raised when the first event is asked for: CheckpointError if the run is missing or damaged, DataError if
    its text changed, UsageError for any other change, RunInUseError if another process trains it.
    """
    began = time.perf_counter()
    changes = dict(changes or {})
    fixed = [name for name in changes if name not in CHANGEABLE]
    if fixed:
        raise UsageError(
            f"--resume cannot change {', '.join(fixed)}: the saved weights depend on it. "
            f"It can change {', '.join(CHANGEABLE)}; for all else start a new run."
        )
    folder = RunWriter(open_run(None if run is None else str(run), checkpoints).path)
    with folder.lock():
        loaded = folder.reader.load_step("latest", with_training=True)
        # The run's own configuration, if it is whole: it may have been changed since that step was saved.
        try:
            config = folder.reader.read_config()
        except CheckpointError:
            config = loaded.description.config()
        parsed: dict[str, Any] = {name: parse_value(name, value) for name, value in changes.items()}
        if all(parsed.get(name) is None for name in BUDGETS):
            parsed = {name: value for name, value in parsed.items() if name not in BUDGETS}
        else:
            parsed = {**dict.fromkeys(BUDGETS), **parsed}
        if parsed.get("minutes") is not None and "threads" not in parsed:
            parsed["threads"] = "auto"  # measured anew, with the steps
        elif config.threads == "auto":  # of a run from before threads were recorded: it took all there are
            parsed.setdefault("threads", torch.get_num_threads())
        config = replace(config, **parsed)
        device = pick_device(config.device)
        vocab = loaded.description.vocab()
        check_shapes(config, loaded.model)
        recorded = recorded_corpus(folder.path.name, config, loaded.state)
        if recorded is None:  # a stranger's run could name any file of this disk
            raise CheckpointError(f"{folder.path.name} does not tell the digest of its text.")
        try:
            text = read_text(config, stdin, None, vocab, recorded)
        except DataError as error:
            if "-" not in config.corpus:
                raise
            raise DataError(
                f"{error}\nPipe the same text in again: cat TEXT | charrnn train --resume {folder.path.name}"
            ) from None
        if resolved(config.num_lanes) * resolved(config.bptt_length) > text.num_train:
            # `choose_sizes` never does that, and such a step could need any memory.
            raise CheckpointError(
                f"{folder.path / 'config.yaml'} is damaged: {config.num_lanes} lanes of {config.bptt_length} "
                f"characters per step are more than the {text.num_train:,} of its text"
            )
        lanes = Lanes(text.ids[: text.num_train], resolved(config.num_lanes))
        if parsed.get("precision") == "auto":  # but not that of an older run, which goes on as `autocast` takes it
            config = replace(config, precision=choose_precision(config, lanes, len(text.vocab), device))
        planned = plan_steps(config, text, lanes, device, began)
        if config.steps is None:
            planned = replace(planned, steps=loaded.step + (planned.steps or 0))
        elif config.steps < loaded.step:
            raise UsageError(
                f"--steps is {config.steps}, but {folder.path.name} has taken {loaded.step} steps already."
            )
        trainer = Trainer(planned, lanes, len(vocab), device)
        trainer.restore(loaded.model, loaded.training, loaded.state)
        folder.continue_from(loaded)
        folder.write_description(Description.of(folder.path, planned, vocab))
        damaged = MetricsLog(folder.path / "metrics.jsonl").rewind(trainer.step)
        loaded = replace(loaded, warnings=(*loaded.warnings, *damaged))
        steps = _run(folder, trainer, text, text.corpus.notes, should_stop, should_save, loaded)
        with closing(computed_on_threads(resolved(planned.threads), steps)) as events:
            yield from events


def _run(
    run: RunWriter,
    trainer: Trainer,
    text: Text,
    notes: tuple[str, ...],
    should_stop: Callable[[], bool],
    should_save: Callable[[], bool],
    loaded: LoadedStep | None = None,
) -> Generator[TrainEvent, None, None]:
    config = trainer.config
    description = Description.of(run.path, config, text.vocab)
    num_steps = config.steps or 0
    evaluate_every, save_every = resolved(config.evaluate_every), resolved(config.save_every)
    metrics = MetricsLog(run.path / "metrics.jsonl")
    samples = SampleLog(run.path / "samples.txt")
    chars_per_step = trainer.lanes.num_lanes * resolved(config.bptt_length)
    milestones = {math.ceil(num_steps * share) for share in (0, 1 / 64, 1 / 16, 1 / 4, 1)}
    state = loaded.state if loaded is not None else {}
    # If the best step was damaged and is gone, the next to be validated is the best there is.
    best = best_in(state)
    best_nats, best_step = None, 0
    if best is not None and best in run.reader.steps():
        best_nats, best_step = cast(float, state["best_nats"]), step_number(best)
    val_nats: float | None = None
    saved_step = loaded.step if loaded is not None else None
    has_gone_back = False
    # Said of a step that was saved because training was to end amid its validation.
    is_validation_due = state.get("is_validation_due") is True

    def save() -> SavedEvent:
        nonlocal saved_step
        run.check_in_place()
        tensors, counters = trainer.snapshot()
        state = {**counters, "best_nats": best_nats, "best_step": best_step, **state_of_corpus(text.corpus)}
        if is_validation_due:
            state["is_validation_due"] = True
        path = run.commit(trainer.step, trainer.model_tensors(), tensors, state, description, keep=config.keep)
        saved_step = trainer.step
        return SavedEvent(step=trainer.step, path=str(path))

    def validate() -> float:
        num_unasked = 0

        def ask(num_chars: int) -> None:
            nonlocal num_unasked
            num_unasked += num_chars
            if num_unasked >= CHARS_BETWEEN_QUESTIONS:
                num_unasked = 0
                if should_stop():
                    raise _StopAsked

        ids, first = text.ids[: text.num_before_test], text.num_train
        return stateful_nats(trainer.averaged, ids, first, precision=config.precision, on_progress=ask)

    def write() -> SampleEvent:
        written = _write_sample(trainer, text.vocab, config.seed)
        samples.append(trainer.step, written)
        return SampleEvent(step=trainer.step, text=written)

    yield StartEvent(
        run=str(run.path),
        num_parameters=trainer.network.num_parameters,
        num_steps=num_steps,
        first_step=trainer.step,
        config=asdict(config),
        corpus=", ".join(text.corpus.sources),
        num_chars=len(text.ids),
        num_train_chars=text.num_train,
        num_distinct_chars=count_distinct(text.corpus.content),
        vocab_size=len(text.vocab),
        notes=notes,
    )
    for message in loaded.warnings if loaded is not None else ():
        yield WarningEvent(message=message)
    if loaded is None:
        # Before hours are spent: a full disk or a read-only folder shows now.
        yield save()
    else:
        # It may have been killed after it moved `latest`: then the rest of that save is still to be done.
        run.prune(config.keep, loaded.name, best_in(loaded.state))
    # What a run that was killed may have written later than it saved will be written again.
    samples.rewind(trainer.step)
    if trainer.step in milestones and trainer.step not in samples.steps():
        yield write()
    is_complete = True
    while trainer.step < num_steps or is_validation_due:
        if should_stop():
            is_complete = False
            break
        if not is_validation_due:
            begin = time.perf_counter()
            try:
                result = trainer.take_step()
            except NonFiniteError as error:
                if has_gone_back:
                    raise
                has_gone_back = True
                good = run.reader.load_step("latest", with_training=True)
                for message in good.warnings:
                    yield WarningEvent(message=message)
                trainer.restore(good.model, good.training, good.state)
                rate = float(config.learning_rate) / 2
                config = replace(config, learning_rate=rate)
                trainer.config = config
                description = Description.of(run.path, config, text.vocab)
                run.write_description(description)
                metrics.rewind(trainer.step)
                samples.rewind(trainer.step)
                yield WarningEvent(
                    message=f"{error} Went back to step {trainer.step}, with a peak learning rate of {rate:.2g}."
                )
                continue
            event = StepEvent(
                step=trainer.step,
                seconds=seconds_since_start(),
                train_nats=result.train_nats,
                grad_norm=result.grad_norm,
                learning_rate=result.learning_rate,
                chars_per_second=chars_per_step / (time.perf_counter() - begin),
            )
            metrics.append(event.to_json())
            yield event
        is_last = trainer.step == num_steps
        is_best = False
        was_due = is_validation_due
        if is_last or is_validation_due or trainer.step % evaluate_every == 0:
            try:
                val_nats = validate()
            except _StopAsked:
                is_validation_due, is_complete = True, False
                break
            is_validation_due = False
            is_best = math.isfinite(val_nats) and (best_nats is None or val_nats < best_nats)
            if is_best:
                best_nats, best_step = val_nats, trainer.step
            evaluation = EvaluationEvent(
                step=trainer.step,
                seconds=seconds_since_start(),
                val_nats=val_nats,
                val_bpc=bits(val_nats),
                is_best=is_best,
            )
            if not was_due or trainer.step not in metrics.steps("evaluation"):
                metrics.append(evaluation.to_json())
            yield evaluation
            if not math.isfinite(val_nats):
                yield WarningEvent(
                    message=f"the loss of the validation text is {val_nats} at step {trainer.step}: a state grew "
                    f"without bound. Try --set learning_rate={float(config.learning_rate) / 2:.2g}."
                )
        if trainer.step in milestones and not was_due:
            yield write()
        if should_save() or is_last or is_best or was_due or trainer.step % save_every == 0:
            yield save()
    if saved_step != trainer.step:
        yield save()
    yield DoneEvent(
        step=trainer.step,
        seconds=seconds_since_start(),
        val_nats=val_nats,
        best_step=best_step,
        run=str(run.path),
        is_complete=is_complete,
    )


def _write_sample(trainer: Trainer, vocab: Vocab, seed: int) -> str:
    # In eight bits, so that `charrnn sample` writes the same.
    stepper = Stepper(trainer.config, trainer.model_tensors(), "int8")
    shaping = Shaping(temperature=SAMPLE_TEMPERATURE, banned=unwritable_ids(vocab))
    reading = read_prime(stepper, start_ids(vocab))
    blocks = sample_ids(stepper, reading, [shaping], [(seed, 0)], length=SAMPLE_LENGTH)
    return "".join(write_chunks(blocks, TextStream(vocab, (), keeps_stop=False)))
