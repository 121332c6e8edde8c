"""Learning curves of runs: the losses that they logged, against steps, characters or seconds."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from charrnn.errors import CheckpointError, UsageError, did_you_mean, named
from charrnn.runs.logs import LoggedLoss, MetricsLog
from charrnn.runs.overview import (
    RunSummary,
    distinct_names,
    find_runs,
    logged_fields,
    read_each,
    state_of,
)
from charrnn.runs.reader import WHERE, RunReader
from charrnn.system.display import Displayable

AGAINST = ("steps", "characters", "seconds")
"""The quantities against which learning curves can be drawn."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LossCurve:
    """Losses in nats per character, each with the number of steps, characters and seconds after
    which it was measured."""

    steps: tuple[int, ...]
    """The steps after which the losses were measured."""
    characters: tuple[int, ...] = field(repr=False)
    """Characters of the training text that were read, all batch rows together."""
    seconds: tuple[float, ...] = field(repr=False)
    """Seconds since the start of training, without the time between a stop and a resume."""
    nats: tuple[float, ...]
    """The losses in nats per character."""

    def against(self, axis: str) -> tuple[float, ...]:
        """Return the steps, the characters or the seconds, as `axis` says, which is in AGAINST."""
        assert axis in AGAINST, axis
        return cast("tuple[float, ...]", getattr(self, axis))


@dataclass(frozen=True, kw_only=True, slots=True)
class LearningCurve(Displayable):
    """The losses that a run logged, ordered by step."""

    run: str
    """The name of the run."""
    text: str
    """The corpus in short, as in `RunSummary`."""
    digest: str | None
    """SHA-256 of the text; None if no checkpoint records it."""
    alphabet: str
    """`char`, `exact` or `byte`."""
    split: tuple[float, ...]
    """The shares of the training, the validation and, if there is one, the test text."""
    validation: LossCurve
    """The stateful loss on the validation text, at every validation."""
    training: LossCurve
    """The mean loss of every optimizer step; empty if it was not requested."""
    warnings: tuple[str, ...] = ()
    """The damaged lines of the log, which are left out."""


def comparison_notes(runs: Sequence[RunSummary | LearningCurve]) -> tuple[str, ...]:
    """Return the reasons why the losses of these runs must not be compared with each other, one
    sentence each."""
    notes = []

    # The runs learned different texts. If a run has no digest, the names of the texts are compared.
    texts: set[str | None] = {run.digest for run in runs}
    if None in texts:
        texts = {run.text for run in runs}
    if len(texts) > 1:
        notes.append("These runs learned different texts: their losses must not be compared.")

    # The losses have different units, or were measured on different parts of the text.
    if len({run.alphabet == "byte" for run in runs}) > 1:
        notes.append("Losses per character and losses per byte must not be compared.")
    if len({run.split for run in runs}) > 1:
        notes.append(
            "These runs split their text differently: their validation losses must not be compared."
        )
    return tuple(notes)


@dataclass(frozen=True, kw_only=True, slots=True)
class LearningCurves(Displayable):
    """The learning curves of several runs, and the quantity against which they are drawn."""

    curves: tuple[LearningCurve, ...]
    """The curve of each run."""
    against: str = "steps"
    """`steps`, `characters` or `seconds`."""
    skipped: tuple[str, ...] = ()
    """The reason for every run that is left out, one sentence each."""

    def __iter__(self) -> Iterator[LearningCurve]:
        return iter(self.curves)

    def __len__(self) -> int:
        return len(self.curves)

    @property
    def notes(self) -> tuple[str, ...]:
        """The reasons why these losses must not be compared with each other, one sentence each."""
        return comparison_notes(self.curves)

    def to_json(self) -> list[dict[str, Any]]:
        """Return the curves for JSON.

        Returns:
            One dictionary per run, which `json.dumps` takes.

        Example:
            >>> [curve["run"] for curve in charrnn.learning_curves(["first"]).to_json()]
            ['first']
        """
        return [asdict(curve) for curve in self.curves]


def read_learning_curve(folder: RunReader, *, training: bool = False) -> LearningCurve:
    """Read the validation losses that a run logged, and with `training` the loss of every step.

    Raises CheckpointError if the configuration or the log cannot be read.
    """
    config = folder.read_config()
    problems: list[str] = []
    validations: list[LoggedLoss] = []
    steps: list[LoggedLoss] = []
    # A run has many steps: their losses are kept only if they are requested.
    for loss in MetricsLog(folder.path / "metrics.jsonl").losses(problems):
        if loss.is_validation:
            _append(validations, loss)
        elif training:
            _append(steps, loss)

    chars_per_step = config.chars_per_step
    return LearningCurve(
        run=folder.name,
        validation=_loss_curve(validations, chars_per_step),
        training=_loss_curve(steps, chars_per_step),
        **logged_fields(config, state=state_of(folder), problems=problems),
    )


def _append(logged: list[LoggedLoss], loss: LoggedLoss) -> None:
    """Append a loss to the `logged` losses, so that the steps ascend; skip a loss without a
    number."""
    if loss.nats is None or loss.step is None:
        return
    # A run that is resumed from an earlier step logs the steps after it again: the later record
    # replaces the earlier one.
    while logged and cast(int, logged[-1].step) >= loss.step:
        logged.pop()
    logged.append(loss)


def _loss_curve(logged: Sequence[LoggedLoss], chars_per_step: int) -> LossCurve:
    # `_append` has skipped the records without a step or a loss.
    steps = tuple(cast(int, loss.step) for loss in logged)
    return LossCurve(
        steps=steps,
        characters=tuple(step * chars_per_step for step in steps),
        seconds=tuple(loss.seconds for loss in logged),
        nats=tuple(cast(float, loss.nats) for loss in logged),
    )


def learning_curves(
    runs: Sequence[str | Path] = (),
    *,
    against: str = "steps",
    training: bool = False,
) -> LearningCurves:
    """Read the learning curves of the named runs or of all runs: their losses over the training.

    A run that has logged no loss is left out.

    Args:
        runs: The names or paths of the runs. By default all runs in `checkpoints` and in the
            current folder, oldest first; damaged ones are then left out.
        against: What the losses are drawn against: `steps`, `characters` or `seconds`.
        training: Whether the loss of every step of the optimizer is read, beside the validation
            losses.

    Returns:
        A `LearningCurves`, over which one can iterate: a curve for each run, with losses in nats
        per character. Its `skipped` has a sentence for every run that is left out.

    Raises:
        UsageError: `against` is another word.
        CheckpointError: A named run is missing or damaged, or no run has logged a loss.

    Example:
        >>> for curve in charrnn.learning_curves(["first", "second"], against="seconds"):
        ...     print(curve.run, curve.validation.steps[-1])
        first 4
        second 4
    """
    if against not in AGAINST:
        hint = did_you_mean(against, AGAINST)
        raise UsageError(
            f"{named('against')} is {against[:60]!r}; it must be steps, characters or"
            f" seconds.{hint}"
        )

    # A table of runs may be empty, but a chart may not.
    folders = find_runs(runs)
    if not folders:
        raise CheckpointError(f"no runs {WHERE} yet\ntrain one first: charrnn train")

    # Runs that have logged no loss are skipped, too.
    names = distinct_names(folders)

    def read(folder: RunReader) -> LearningCurve:
        return replace(read_learning_curve(folder, training=training), run=names[folder.path])

    all_curves, skipped = read_each(folders, read, is_named=bool(runs))
    curves = tuple(curve for curve in all_curves if curve.validation.steps or curve.training.steps)
    kind = "loss" if training else "validation loss"
    skipped += [
        f"{curve.run}: no {kind} is logged yet" for curve in all_curves if curve not in curves
    ]

    # An empty chart would not say why it is empty.
    if not curves:
        subject = "the run has" if len(folders) == 1 else f"the {len(folders):,} runs have"
        remedy = "train until the first validation"
        if not training:
            remedy += f", or give {named('training')} to draw the losses of the optimizer steps"
        raise CheckpointError(f"there is nothing to draw: {subject} logged no {kind} yet\n{remedy}")
    return LearningCurves(curves=curves, against=against, skipped=tuple(skipped))
