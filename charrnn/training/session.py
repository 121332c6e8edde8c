"""A run while it trains: take steps, validate, write samples, save, and go back once if the loss is
not finite.

A step that is not finite changes no weight: `Trainer.take_step` raises NonFiniteError instead. The
first time, `recover` loads the latest checkpoint and halves the peak learning rate; the second
time, training ends with that error, and the latest checkpoint stays good.
"""

import contextlib
import math
import shlex
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, cast

from charrnn.config.settings import Config, resolved, threads_at
from charrnn.errors import CheckpointError, NonFiniteError, named
from charrnn.generation.generator import TextGenerator
from charrnn.generation.sample_options import SAMPLE_TEMPERATURE, SampleOptions
from charrnn.model.device import on_threads
from charrnn.model.losses import MeanScores, bits, stateful_scores
from charrnn.model.reading import Segments
from charrnn.runs.checkpoint import (
    CONFIG,
    Checkpoint,
    RunDescription,
    best_checkpoint,
    checkpoint_name,
    checkpoint_step,
)
from charrnn.runs.writer import RunWriter
from charrnn.system.files import JSON
from charrnn.text.recorded_corpus import state_of_corpus
from charrnn.training.events import (
    DoneEvent,
    EvaluationEvent,
    ReplannedEvent,
    SampleEvent,
    SavedEvent,
    StartEvent,
    StepEvent,
    TrainEvent,
    ValidatingEvent,
    WarningEvent,
)
from charrnn.training.measuring import Computing
from charrnn.training.minutes import TimeBudget, late_warnings, plan_rest
from charrnn.training.run_text import RunText
from charrnn.training.trainer import Trainer

SAMPLE_LENGTH = 240
"""Characters of a sample that is written while training."""
SAMPLE_SHARES = (0, 1 / 64, 1 / 16, 1 / 4)
"""When samples are written, as shares of the run's steps; the last one is written at its end."""


@dataclass(eq=False)
class TrainingSession:
    """Trains one run from its present step to its last.

    `loop.train` and `loop.resume` make one, and pass its events on. `events` is the loop; its verbs
    (`take_step`, `recover`, `plan_again`, `validate`, `write_sample`, `save`) return or yield the
    events that report what they did. An event is yielded only after everything that it reports is
    on disk, so the run can be killed at any instant. The caller holds the run's lock.
    """

    # What it trains.
    run: RunWriter
    trainer: Trainer
    text: RunText
    computing: Computing
    """What the training computes with, and when it began."""
    should_stop: Callable[[], bool]
    should_save: Callable[[], bool]
    checkpoint: Checkpoint | None = None
    """What a resumed run continues from, and the trainer has restored; None for a new run."""
    budget: TimeBudget | None = None
    """The minutes that the training keeps to; None for a number of steps or epochs."""
    base: JSON = None
    """What tells the model from whose weights a new run starts (`base_state`); None without one."""

    # Where it is.
    best_nats: float | None = field(default=None, init=False)
    """Lowest finite validation loss so far."""
    best_step: int = field(default=0, init=False)
    """The step that was validated with `best_nats`; 0 if no step was validated."""
    val_nats: float | None = field(default=None, init=False)
    """The last validation loss of this session."""
    saved_step: int | None = field(default=None, init=False)
    """The last step that was saved."""
    is_validation_due: bool = field(default=False, init=False)
    """Whether the present step still has to be validated, because a stop interrupted its
    validation."""
    has_gone_back: bool = field(default=False, init=False)
    """Whether a loss that was not finite has sent this session back to a checkpoint, which happens
    at most once."""
    is_stopped: bool = field(default=False, init=False)
    """Whether `should_stop` ended the session before its last step."""
    texts_seal: JSON = field(default=None, init=False)
    """The seal of the file with the texts of documents; None without documents."""
    earlier_seconds: float = field(default=0.0, init=False)
    """Seconds that earlier sessions have trained the run, by its log."""

    @property
    def num_steps(self) -> int:
        """Steps of the whole training, as planned last."""
        return self.trainer.config.steps or 0

    def events(self, notes: Iterable[str] = ()) -> Generator[TrainEvent, None, None]:
        """Train until the last step, or until `should_stop`, and yield the events. `notes` go to
        the start event."""
        yield from self._begin(notes)

        trainer = self.trainer
        evaluate_every = resolved(trainer.config.evaluate_every)
        save_every = resolved(trainer.config.save_every)
        while trainer.step < self.num_steps and not self._check_stop():
            # Take an optimizer step.
            try:
                taken = self.take_step()
            except NonFiniteError as error:
                # Back to the latest checkpoint, once; the second time this raises.
                yield from self.recover(error)
                continue
            yield taken

            # Plan the rest of a budget in minutes again, a few times.
            is_planned = False
            if self.budget is not None and self._is_planning_due(self.budget):
                yield from self.plan_again(self.budget)
                is_planned = True

            # Validate, once in a while and at the end. A stop interrupts a long validation.
            is_last = trainer.step == self.num_steps
            is_best = False
            if is_last or trainer.step % evaluate_every == 0:
                yield from self.validate()
                if self.is_validation_due:
                    break
                is_best = self.best_step == trainer.step

            # Write a sample, more often at the beginning.
            if self._is_sample_due():
                yield self.write_sample()

            # Save, once in a while, when somebody asks, and when a step is worth keeping. The first
            # steps of a new plan cannot be taken again without it.
            is_asked = self._is_asked(self.should_save)
            is_due = trainer.step % save_every == 0
            if is_asked or is_due or is_planned or is_last or is_best:
                yield self.save()

        # The present step, if a stop left it unsaved.
        if self.saved_step != trainer.step:
            yield self.save()

        if self.budget is not None and not self.is_stopped:
            yield from late_warnings(
                self.budget, seconds=time.perf_counter() - self._end_of(self.budget)
            )
        yield self._done()

    def _begin(self, notes: Iterable[str]) -> Generator[TrainEvent, None, None]:
        """Do what comes before the first step of this session, and yield the events."""
        # The folder of the run. A resumed run has a checkpoint to come back to; a new one saves its
        # initial weights before hours are spent: a full disk or a read-only folder shows now.
        warnings = self._prepare_folder()
        yield StartEvent(
            run=str(self.run.path),
            num_steps=self.num_steps,
            first_step=self.trainer.step,
            notes=tuple(notes),
            **self.text.facts(self.trainer.config),
        )
        for message in warnings:
            yield WarningEvent(message=message)
        if self.checkpoint is None:
            yield self.save()

        # At step 0 the sample shows what an untrained model writes. A run that was stopped or
        # killed may lack the sample of its last step.
        if self._is_sample_due() and self.trainer.step not in self.run.samples.steps():
            yield self.write_sample()

        # A validation that a stop interrupted: its step was taken and logged before.
        if self.is_validation_due and not self._check_stop():
            yield from self.validate()
            if not self.is_validation_due:
                yield self.save()

    def _prepare_folder(self) -> tuple[str, ...]:
        """Write the description of a new run; let the session and the folder of a resumed run agree
        with its checkpoint. Return the warnings about damaged files."""
        checkpoint = self.checkpoint
        texts = self.text.pandoc_texts
        if checkpoint is None:
            self.run.write_description(self.description)
            self.texts_seal = self.run.write_document_texts(texts)
            return ()

        self.base = checkpoint.state.get("base")
        damaged = self._go_back_to(checkpoint)
        recorded = checkpoint.state.get("document_texts")
        self.texts_seal = self.run.write_document_texts(texts, recorded)
        # Seconds count on where the log ends, so that curves against time have no jump back.
        self.earlier_seconds = self.run.metrics.seconds_at(self.trainer.step)
        return (*checkpoint.warnings, *damaged)

    def _go_back_to(self, checkpoint: Checkpoint) -> list[str]:
        """Let the folder and the session agree with a checkpoint that the trainer has restored:
        nothing later counts. Write the configuration; return messages about damaged lines of the
        log.

        Only now, when the checkpoint was read, and a run that cannot be continued has stayed as it
        was.
        """
        self.run.continue_from(checkpoint)
        self.run.write_description(self.description)
        damaged = self.run.rewind(checkpoint, keep=self.trainer.config.keep)

        # The session may have saved and validated later steps, which are taken again.
        self.saved_step = checkpoint.step
        self.is_validation_due = checkpoint.state.get("is_validation_due") is True
        self.val_nats = None
        self.best_nats = None
        self.best_step = 0
        # If the best checkpoint was damaged and removed, the next step that is validated becomes
        # the best.
        best = best_checkpoint(checkpoint.state)
        if best is not None and self._has_checkpoint(best):
            self.best_nats = cast(float, checkpoint.state["best_nats"])
            self.best_step = checkpoint_step(best)
        return damaged

    def _has_checkpoint(self, name: str) -> bool:
        """Return whether the run still has a checkpoint: one that was damaged may have been
        renamed."""
        return name in self.run.checkpoints()

    def _check_stop(self) -> bool:
        """Ask `should_stop`, and return whether the session ends before the next step."""
        if self._is_asked(self.should_stop):
            self.is_stopped = True
        return self.is_stopped

    def _is_asked(self, ask: Callable[[], bool]) -> bool:
        """Return the answer of `should_stop` or `should_save`."""
        return ask()

    def take_step(self) -> StepEvent:
        """Take one optimizer step and log it. Raises NonFiniteError, with nothing changed."""
        # Whoever takes the events computes on as many threads as before.
        begin = time.perf_counter()
        with on_threads(self._num_threads):
            result = self.trainer.take_step()
        end = time.perf_counter()
        event = StepEvent(
            step=self.trainer.step,
            seconds=end - self.computing.start,
            train_nats=result.train_nats,
            grad_norm=result.grad_norm,
            learning_rate=result.learning_rate,
            chars_per_second=self.trainer.config.chars_per_step / (end - begin),
        )
        self._log(event)
        return event

    @property
    def _num_threads(self) -> int:
        """The number of threads at the present step."""
        return threads_at(self.trainer.step, self.trainer.config)

    def _log(self, event: StepEvent | EvaluationEvent) -> None:
        """Add an event to the log, with the seconds of the whole run."""
        self.run.log(event.to_json() | {"seconds": self.earlier_seconds + event.seconds})

    def recover(self, error: NonFiniteError) -> Generator[WarningEvent, None, None]:
        """Go back to the last checkpoint with half the peak learning rate; the second time, raise
        NonFiniteError with the words of `error` and advice."""
        # Only once: a run that diverges at half the rate, too, needs another configuration.
        if self.has_gone_back:
            raise NonFiniteError(f"{error}\n{self._remedy()}")
        self.has_gone_back = True

        # The latest checkpoint, not the best one: all that was learned before the loss exploded.
        trainer = self.trainer
        saved = self._load_latest()
        for message in saved.warnings:
            yield WarningEvent(message=message)

        rate = float(trainer.config.learning_rate) / 2
        trainer.config = replace(trainer.config, learning_rate=rate)
        trainer.restore(saved.model, training=saved.training, counters=saved.state)

        # A resumed run keeps the new learning rate, and the logs forget the steps that are taken
        # again.
        self._go_back_to(saved)
        yield WarningEvent(
            message=f"{error} Went back to step {trainer.step}, with a peak learning rate of"
            f" {rate:.2g}."
        )

    def _load_latest(self) -> Checkpoint:
        """Load the latest checkpoint, with all that training needs to continue."""
        return self.run.load_checkpoint("latest", with_training=True)

    def _remedy(self) -> str:
        """Return a sentence on how to go on after a run that diverges."""
        # A new run, with all settings of this run, its text included: a resumed run keeps its rate,
        # because the saved weights and moments depend on it.
        rate = float(self.trainer.config.learning_rate) / 2
        settings = named("recipe", shlex.quote(str(self.run.path / CONFIG)))
        lower = named("learning_rate", f"{rate:.2g}")
        return f"Start a new run with a lower learning rate: charrnn train {settings} {lower}"

    def _is_planning_due(self, budget: TimeBudget) -> bool:
        """Return whether to plan what is left of a budget, after the step that was taken."""
        if budget.num_left == 0:
            return False
        return budget.is_due(self._seconds_of_run(), step=self.trainer.step)

    def plan_again(self, budget: TimeBudget) -> Generator[ReplannedEvent, None, None]:
        """Plan what is left of a budget by how long the last steps took, and yield an event if the
        training gets another number of steps, or of threads.

        The caller saves the step: a run that is killed before plans again, and one that is killed
        after it follows the plan that was saved.
        """
        before = self.trainer.config
        planned = self._new_plan(budget)
        seconds = time.perf_counter() - self.computing.start
        budget.note_planning(self._seconds_of_run(), step=self.trainer.step)
        if planned == before:
            return

        # The configuration is written before the checkpoint: one that is newer than the latest
        # checkpoint loses its last plan (`plan_until`), one that is older would lose it unnoticed.
        self.trainer.config = planned
        self.run.check_still_owned()
        self.run.write_description(self.description)
        yield ReplannedEvent(
            step=self.trainer.step,
            seconds=seconds,
            num_steps=self.num_steps,
            threads=self._num_threads,
        )

    def _new_plan(self, budget: TimeBudget) -> Config:
        """Return the configuration with a new plan, or as it is if no other plan is needed."""
        return plan_rest(
            self.trainer.config,
            text=self.text,
            computing=self.computing,
            budget=budget,
            log=self.run.metrics,
            num_taken=self.trainer.step,
            end=self._end_of(budget),
        )

    def _seconds_of_run(self) -> float:
        """Return the seconds since the run began, without those in which it was stopped."""
        return self.earlier_seconds + time.perf_counter() - self.computing.start

    def _end_of(self, budget: TimeBudget) -> float:
        """Return when a budget ends, as `time.perf_counter` counts."""
        return self.computing.start - self.earlier_seconds + 60 * budget.minutes

    def validate(self) -> Generator[ValidatingEvent | EvaluationEvent | WarningEvent, None, None]:
        """Measure the stateful loss of the averaged weights on the validation text; yield that it
        begins, the loss, and a warning if it is not finite.

        If `should_stop` interrupts it, no loss is yielded. An interrupted validation stays due, and
        the checkpoint records that.
        """
        step = self.trainer.step
        config = self.trainer.config
        assert config.validation_chars != "auto", "the share of the validation text was not chosen"
        num_validation = self.text.num_validation
        segments = Segments.of(num_validation, first=0, max_chars=config.validation_chars)
        yield ValidatingEvent(step=step, num_chars=segments.num_chars)

        means = self._measure_losses(config.validation_chars, num_threads=self._num_threads)
        was_due = self.is_validation_due
        self.is_validation_due = means is None
        if means is None:
            self.is_stopped = True
            return

        # A loss that is not finite is never the best.
        self.val_nats, first_guess = means
        is_best = math.isfinite(self.val_nats) and (
            self.best_nats is None or self.val_nats < self.best_nats
        )
        if is_best:
            self.best_nats = self.val_nats
            self.best_step = step
        event = EvaluationEvent(
            step=step,
            seconds=time.perf_counter() - self.computing.start,
            val_nats=self.val_nats,
            val_bpc=bits(self.val_nats),
            first_guess=first_guess,
            num_chars=segments.num_chars,
            is_best=is_best,
        )

        # A run that was killed may have logged a validation that was due, before it saved that it
        # was done.
        if not was_due or step not in self.run.metrics.steps("evaluation"):
            self._log(event)
        yield event
        if not math.isfinite(self.val_nats):
            yield WarningEvent(
                message=f"the loss of the validation text is {self.val_nats} at step {step}:"
                f" a state grew without bound. {self._remedy()}"
            )

    def _measure_losses(self, max_chars: int | None, num_threads: int) -> MeanScores | None:
        """Measure the loss of the validation text, of which at most `max_chars` characters are
        read; None if `should_stop` interrupted it."""
        config = self.trainer.config
        with on_threads(num_threads):
            scores = stateful_scores(
                self.trainer.averaged,
                ids=self.text.ids[: self.text.num_before_test],
                first=self.text.num_train,
                precision=config.precision,
                max_chars=max_chars,
                escape_nats=self.text.vocab.escape_nats,
                learned_after=self.text.learned_after(config),
                should_stop=self.should_stop,
            )
        if scores is None:
            return None
        return scores.means

    def _is_sample_due(self) -> bool:
        """Return whether to write a sample after the step that was taken."""
        # By the first plan, so that no sample is left out or written twice, and at the end.
        first_plan = self.trainer.config.plan_entries[0]
        steps = [math.ceil(first_plan.num_steps * share) for share in SAMPLE_SHARES]
        steps.append(self.num_steps)
        return self.trainer.step in steps

    def write_sample(self) -> SampleEvent:
        """Generate a sample with the averaged weights and append it to `samples.txt`."""
        # As `charrnn sample` does, so that the same seed gives the same text there.
        # All samples of a run have one seed: they differ only by what the model has learned.
        config = self.trainer.config
        model = TextGenerator(
            config,
            vocab=self.text.vocab,
            tensors=self.trainer.model_tensors(),
            name=self.run.path.name,
        )
        options = SampleOptions(
            length=SAMPLE_LENGTH, temperature=SAMPLE_TEMPERATURE, seed=config.seed
        )
        # A network with weights that are not finite writes nothing: the next step reports it; after
        # the last step, the validation has.
        written = ""
        with contextlib.suppress(CheckpointError):
            written = "".join(model.begin(options).chunks())
        self.run.samples.append(self.trainer.step, written)
        return SampleEvent(step=self.trainer.step, text=written)

    def save(self) -> SavedEvent:
        """Commit the present step to disk, and remove checkpoints that are no longer kept. Raises
        CharRNNError."""
        step = self.trainer.step
        training, counters = self.trainer.snapshot()
        self.run.check_still_owned()
        # It makes this step the latest, by writes in a safe order.
        self.run.commit(
            step=step,
            model=self.trainer.model_tensors(),
            training=training,
            state={**counters, **self._state_to_save()},
            description=self.description,
            keep=self.trainer.config.keep,
        )
        self.saved_step = step
        return SavedEvent(step=step, path=str(self.run.path / checkpoint_name(step)))

    def _state_to_save(self) -> dict[str, Any]:
        """Return what a checkpoint records of the session, beside what the trainer counts."""
        state: dict[str, Any] = {
            "best_nats": self.best_nats,
            "best_step": self.best_step,
            **state_of_corpus(self.text.corpus),
        }
        if self.is_validation_due:
            state["is_validation_due"] = True
        if self.base is not None:
            state["base"] = self.base
        if self.texts_seal is not None:
            state["document_texts"] = self.texts_seal
        if self.budget is not None:
            state["budget"] = self.budget.state(self.trainer.config)
        return state

    @property
    def description(self) -> RunDescription:
        """The files of the configuration and of the alphabet."""
        config = self.trainer.config
        return RunDescription.of(self.run.path, config=config, vocab=self.text.vocab)

    def _done(self) -> DoneEvent:
        """Return the event of the end."""
        # The saved settings train the same weights only if the run kept to one schedule, from the
        # first step to the last.
        recipe = None
        if self.checkpoint is None and not self.has_gone_back and not self.is_stopped:
            recipe = str(self.run.path / CONFIG)
        return DoneEvent(
            step=self.trainer.step,
            seconds=time.perf_counter() - self.computing.start,
            val_nats=self.val_nats,
            best_nats=self.best_nats,
            best_step=self.best_step,
            run=str(self.run.path),
            is_complete=not self.is_stopped,
            recipe=recipe,
        )
