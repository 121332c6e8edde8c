"""Summaries and learning curves of runs: of one, of all in a folder, or of those that are named."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path, PurePath
from typing import Any, TypeVar, cast

from charrnn.config.settings import Config, resolved
from charrnn.errors import CharRNNError, CheckpointError, UsageError, did_you_mean, named
from charrnn.model.shapes import num_parameters
from charrnn.runs.checkpoint import best_checkpoint, checkpoint_step
from charrnn.runs.description import VOCAB, read_alphabet
from charrnn.runs.logs import LoggedLoss, MetricsLog
from charrnn.runs.model_file import is_model_file
from charrnn.runs.reader import (
    CHECKPOINTS,
    RunReader,
    find_run,
    list_runs_and_sweeps,
    runs_of_sweep,
    where,
)
from charrnn.system.display import Displayable, RecordList
from charrnn.system.files import JSON
from charrnn.system.progress import task

AGAINST = ("steps", "characters", "seconds")
"""What learning curves can be drawn against."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSummary(Displayable):
    """One line of `charrnn runs`."""

    name: str
    cell: str
    num_layers: int
    hidden_size: int
    corpus: str
    text: str
    """The corpus in short: the name of its first file without folder and suffix, and how many
    others there are."""
    digest: str | None
    """SHA-256 of the text; None if no checkpoint says it."""
    alphabet: str
    split: tuple[float, ...]
    seed: int
    num_parameters: int | None
    """Number of trained weights; None if the alphabet is damaged, whose size they depend on."""
    step: int
    num_steps: int
    num_chars: int
    """Characters that were read up to this step, all batch rows together."""
    best_nats: float | None
    minutes: float
    warnings: tuple[str, ...] = ()
    """Damaged lines of its log, or a damaged alphabet; the figures are computed without them."""


class RunSummaries(RecordList[RunSummary]):
    """The summaries of several runs."""

    skipped: tuple[str, ...] = ()
    """Why damaged runs of the folder are left out, one sentence each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelDescription(Displayable):
    """What a person wants to know of a loaded model."""

    name: str
    cell: str
    depth: str
    num_layers: int
    hidden_size: int
    num_parameters: int
    alphabet: str
    vocab_size: int
    """Entries of the vocabulary, the unknown symbol among them."""
    text: str
    step: int
    val_nats: float | None
    """The validation loss at this step; None if it was not validated."""

    @property
    def architecture(self) -> str:
        """The cell type, layers and units, such as `lstm 2×512` or `gru 4×128 residual`."""
        depth = "" if self.depth == "stacked" else f" {self.depth}"
        return f"{self.cell} {self.num_layers}×{self.hidden_size}{depth}"

    @property
    def symbols(self) -> str:
        """The size of the vocabulary, with what it consists of."""
        return f"{self.vocab_size:,} {'bytes' if self.alphabet == 'byte' else 'characters'}"

    def rows(self) -> list[tuple[str, str]]:
        """Return the names and values of a table, without what is unknown."""
        found = [
            ("cells", self.architecture),
            ("weights", f"{self.num_parameters:,}"),
            ("alphabet", self.symbols),
            ("text", self.text),
            ("step", f"{self.step:,}"),
        ]
        if self.val_nats is not None:
            found.append(("validation loss", f"{self.val_nats:.4f} nats per character"))
        return [(name, value) for name, value in found if value]


@dataclass(frozen=True, kw_only=True, slots=True)
class LossCurve:
    """Losses in nats per character, and after how many steps, characters and seconds each was
    measured."""

    steps: tuple[int, ...]
    characters: tuple[int, ...] = field(repr=False)
    """Characters of the training text that were read, all batch rows together."""
    seconds: tuple[float, ...] = field(repr=False)
    """Seconds since the start of training, without the time between a stop and a resumption."""
    nats: tuple[float, ...]

    def against(self, axis: str) -> tuple[float, ...]:
        """Return the steps, the characters or the seconds: one of AGAINST."""
        assert axis in AGAINST, axis
        return cast("tuple[float, ...]", getattr(self, axis))


@dataclass(frozen=True, kw_only=True, slots=True)
class LearningCurve(Displayable):
    """The losses that a run logged, with an ascending step each."""

    run: str
    text: str
    """The corpus in short, as in `RunSummary`."""
    digest: str | None
    """SHA-256 of the text; None if no checkpoint says it."""
    alphabet: str
    split: tuple[float, ...]
    validation: LossCurve
    """The stateful loss on the validation text, at every validation."""
    training: LossCurve
    """The mean loss of every optimizer step; empty unless asked for."""
    warnings: tuple[str, ...] = ()
    """Damaged lines of its log, which are left out."""


def comparison_notes(runs: Sequence[RunSummary | LearningCurve]) -> tuple[str, ...]:
    """Return why the losses of some runs must not be compared with each other, one sentence for
    each reason."""
    notes = []
    # Where a run has no digest, the runs are compared by the names of their texts.
    texts: set[str | None] = {run.digest for run in runs}
    if None in texts:
        texts = {run.text for run in runs}
    if len(texts) > 1:
        notes.append("These runs learned different texts: their losses must not be compared.")
    if len({run.alphabet for run in runs}) > 1:
        notes.append("Losses per character and losses per byte must not be compared.")
    if len({run.split for run in runs}) > 1:
        notes.append(
            "These runs split their text differently: their validation losses must not be compared."
        )
    return tuple(notes)


@dataclass(frozen=True, kw_only=True, slots=True)
class LearningCurves(Displayable):
    """The learning curves of several runs, and against what they are drawn: steps, characters or
    seconds."""

    curves: tuple[LearningCurve, ...]
    against: str = "steps"
    skipped: tuple[str, ...] = ()
    """Why runs are left out, one sentence each."""

    def __iter__(self) -> Iterator[LearningCurve]:
        return iter(self.curves)

    def __len__(self) -> int:
        return len(self.curves)

    @property
    def notes(self) -> tuple[str, ...]:
        """Why some of these losses must not be compared with each other, one sentence for each
        reason."""
        return comparison_notes(self.curves)

    def to_json(self) -> list[dict[str, Any]]:
        """Return one object per run."""
        return [asdict(curve) for curve in self.curves]


WILDCARDS = frozenset("*?[")
"""Characters that make a name a pattern of names."""


def summarize(folder: RunReader) -> RunSummary:
    """Summarize a run's model, progress and best loss. Raises CheckpointError if it is damaged."""
    config = folder.read_config()
    problems: list[str] = []

    # What the log says: how far training came, and how well it did.
    step = 0
    seconds = 0.0
    losses: dict[int, float] = {}
    for loss in MetricsLog(folder.path / "metrics.jsonl").losses(problems):
        step = max(step, loss.step or 0)
        seconds = loss.seconds
        if loss.is_validation and loss.nats is not None:
            losses[loss.step or 0] = loss.nats

    num_weights = None
    try:
        num_weights = num_parameters(config, len(read_alphabet(folder.path / VOCAB)))
    except CheckpointError as error:
        problems.append(str(error).splitlines()[0])

    return RunSummary(
        name=folder.name,
        cell=config.cell,
        num_layers=resolved(config.num_layers),
        hidden_size=resolved(config.hidden_size),
        corpus=", ".join(config.corpus) or "the standard library",
        seed=config.seed,
        num_parameters=num_weights,
        step=step,
        num_steps=config.steps or 0,
        num_chars=step * resolved(config.batch_size) * resolved(config.bptt_length),
        best_nats=min(losses.values(), default=None),
        minutes=seconds / 60,
        **_about(folder, config, losses, problems),
    )


def _about(
    folder: RunReader, config: Config, losses: Mapping[int, float], problems: Sequence[str]
) -> dict[str, Any]:
    """Return the fields that a summary and a learning curve share; `losses` are the logged
    validation losses by step.

    The `problems` of the run's log and alphabet are among its warnings.
    """
    # A damaged checkpoint is reported by the commands that load it.
    state: Mapping[str, JSON] = {}
    with contextlib.suppress(CheckpointError):
        state = folder.newest_state()[0]
    digest = state.get("corpus_digest")
    return {
        "text": text_name(config.corpus),
        "digest": digest if isinstance(digest, str) else None,
        "alphabet": config.alphabet,
        "split": config.split,
        "warnings": (*problems, *loss_problems(folder, state, losses)),
    }


def loss_problems(
    folder: RunReader, state: Mapping[str, JSON], losses: Mapping[int, float]
) -> tuple[str, ...]:
    """Return whether logged validation losses, by step, contradict what the newest `state` says of
    the best one."""
    best = best_checkpoint(state)
    newest = state.get("step")
    if best is None or not isinstance(newest, int):
        return ()
    nats = cast(float, state["best_nats"])

    # A process that was killed may have logged a validation that it did not save.
    num_known = newest if state.get("is_validation_due") is True else newest + 1
    least = min((loss for step, loss in losses.items() if step < num_known), default=nats)
    # A smaller loss than the best one contradicts it, and so does another one at its step.
    logged = least
    if least > nats:
        logged = losses.get(checkpoint_step(best), nats)
    if logged == nats:
        return ()
    problem = (
        f"the best validation loss is {logged} in {folder.path / 'metrics.jsonl'} and {nats} in"
        " the newest checkpoint: one was changed, or a checkpoint is lost; measure it: charrnn"
        f" evaluate {folder.name}"
    )
    return (problem,)


def text_name(corpus: tuple[str, ...]) -> str:
    """Return a corpus in short: its first source without folder and suffix, and the number of
    others, as in "a +2"."""
    if not corpus:
        return "standard library"
    if corpus[0] == "-":
        name = "stdin"
    else:
        # Of a pattern such as texts/**/*.txt, the last folder that it names.
        parts = [part for part in PurePath(corpus[0]).parts if not WILDCARDS & set(part)]
        name = PurePath(parts[-1].removesuffix(".gz")).stem if parts else ""
    name = name or corpus[0]
    if len(corpus) > 1:
        name += f" +{len(corpus) - 1}"
    return name


def read_learning_curve(folder: RunReader, *, training: bool = False) -> LearningCurve:
    """Read the losses that a run logged: of its validations and, if asked for, of every step.

    Raises CheckpointError if the configuration or the log cannot be read.
    """
    config = folder.read_config()
    problems: list[str] = []
    validations: list[LoggedLoss] = []
    steps: list[LoggedLoss] = []
    for loss in MetricsLog(folder.path / "metrics.jsonl").losses(problems):
        if loss.is_validation:
            _append(validations, loss)
        elif training:
            _append(steps, loss)
    chars_per_step = resolved(config.batch_size) * resolved(config.bptt_length)
    losses = {cast(int, one.step): cast(float, one.nats) for one in validations}
    return LearningCurve(
        run=folder.name,
        validation=_loss_curve(validations, chars_per_step),
        training=_loss_curve(steps, chars_per_step),
        **_about(folder, config, losses, problems),
    )


def _append(logged: list[LoggedLoss], loss: LoggedLoss) -> None:
    """Add a loss to those before, with ascending steps; one without a number is left out."""
    if loss.nats is None or loss.step is None:
        return
    # A run that was resumed from an earlier step logs the steps after it again; the later record
    # counts.
    while logged and cast(int, logged[-1].step) >= loss.step:
        logged.pop()
    logged.append(loss)


def _loss_curve(logged: Sequence[LoggedLoss], chars_per_step: int) -> LossCurve:
    steps = tuple(cast(int, one.step) for one in logged)
    return LossCurve(
        steps=steps,
        characters=tuple(step * chars_per_step for step in steps),
        seconds=tuple(one.seconds for one in logged),
        nats=tuple(cast(float, one.nats) for one in logged),
    )


SORT_KEYS: dict[str, Callable[[RunSummary], tuple[object, ...]]] = {
    "run": lambda run: (run.name,),
    "name": lambda run: (run.name,),
    "text": lambda run: (run.text,),
    "model": lambda run: (run.cell, run.num_layers, run.hidden_size),
    "cell": lambda run: (run.cell,),
    "layers": lambda run: (run.num_layers,),
    "units": lambda run: (run.hidden_size,),
    "parameters": lambda run: (run.num_parameters,),
    "seed": lambda run: (run.seed,),
    "steps": lambda run: (run.step,),
    "characters": lambda run: (run.num_chars,),
    "loss": lambda run: (run.best_nats,),
    "minutes": lambda run: (run.minutes,),
}
"""What runs can be sorted by, ascending."""

Read = TypeVar("Read")
"""What is read of each run."""


def find_runs(
    runs: Sequence[str | Path] = (), *, checkpoints: Path = CHECKPOINTS
) -> list[RunReader]:
    """Open the named runs, each once, or all in a folder and its sweeps if none is named, oldest
    first.

    The name of a sweep stands for its runs. Raises CheckpointError for a run that does not exist
    and for a model file.
    """
    if not runs:
        return list_runs_and_sweeps(checkpoints)
    found: list[RunReader] = []
    for run in runs:
        if is_model_file(run):
            raise CheckpointError(
                f"{run} has no learning curve: an exported .zip is one step of a run\nname the"
                " folder of the run"
            )
        in_sweep = runs_of_sweep(str(run), checkpoints)
        if in_sweep is None:
            found.append(find_run(str(run), checkpoints))
        else:
            found += in_sweep
    # A run that is named twice, or by its name and by its sweep, is one.
    return list({folder.path.resolve(): folder for folder in found}.values())


def run_summaries(
    runs: Sequence[str | Path] = (), *, sort: str | None = None, checkpoints: Path = CHECKPOINTS
) -> RunSummaries:
    """Summarize the named runs, or all in a folder: oldest first, or sorted by one of `SORT_KEYS`,
    the smallest first.

    A run without the value it is sorted by comes last. A damaged run of a folder is left out and is
    one of those `skipped`. Raises UsageError for an unknown `sort`, CheckpointError for a run that
    is named and does not exist or is damaged.
    """
    read, skipped = _summarize_each(
        find_runs(runs, checkpoints=checkpoints), sort, is_named=bool(runs)
    )
    found = RunSummaries(run for _, run in read)
    found.skipped = tuple(skipped)
    return found


def select_runs(
    runs: Sequence[str | Path] = (),
    *,
    most: int,
    sort: str | None = None,
    training: bool = False,
    checkpoints: Path = CHECKPOINTS,
) -> tuple[list[Path], int, list[str]]:
    """Return the folders of the runs whose learning curves are drawn, how many they were selected
    from, and problems.

    Of the named runs, or of all in a folder, these are the `most` newest ones with a validation
    loss (or with `training`, with a step); with `sort` the first ones by one of `SORT_KEYS`. As
    many as are named are selected in any case. A problem says why a damaged run is left out. Raises
    UsageError for an unknown `sort`, CheckpointError for a run that is named and does not exist.
    """
    folders = find_runs(runs, checkpoints=checkpoints)
    most = max(most, len(runs))
    # Not summarized: no run has to be chosen.
    if runs and sort is None and len(folders) <= most:
        return [folder.path for folder in folders], len(folders), []

    found, problems = _summarize_each(folders, sort, is_named=False)
    paths = [path for path, run in found if run.best_nats is not None or (training and run.step)]
    selected = paths[-most:] if sort is None else paths[:most]
    return selected, len(paths), problems


def learning_curves(
    runs: Sequence[str | Path] = (),
    *,
    against: str = "steps",
    training: bool = False,
    checkpoints: Path = CHECKPOINTS,
) -> LearningCurves:
    """Read the learning curves of the named runs, or of all in a folder, oldest first.

    `against` is what they are drawn against: steps, characters or seconds. `training` adds the loss
    of every step. A run without a loss is left out, as is a damaged run of a folder: both are among
    those `skipped`. Raises UsageError for another `against`, CheckpointError for a run that is
    named and does not exist or is damaged, and if no run has logged a loss.
    """
    if against not in AGAINST:
        near = did_you_mean(against, AGAINST)
        raise UsageError(
            f"{named('against')} is {against[:60]!r}; it must be steps, characters or"
            f" seconds.{near}"
        )
    folders = find_runs(runs, checkpoints=checkpoints)
    if not folders:
        raise CheckpointError(f"no runs {where(checkpoints)} yet\ntrain one first: charrnn train")

    # A run that has logged no loss is skipped, too.
    found, skipped = _read_each(
        folders, partial(read_learning_curve, training=training), is_named=bool(runs)
    )
    curves = tuple(curve for curve in found if curve.validation.steps or curve.training.steps)
    kind = "loss" if training else "validation loss"
    skipped += [f"{curve.run}: no {kind} is logged yet" for curve in found if curve not in curves]
    if not curves:
        what = "the run has" if len(folders) == 1 else f"the {len(folders):,} runs have"
        remedy = "train until the first validation"
        if not training:
            remedy += f", or give {named('training')} to draw the losses of the optimizer steps"
        raise CheckpointError(f"there is nothing to draw: {what} logged no {kind} yet\n{remedy}")
    return LearningCurves(curves=curves, against=against, skipped=tuple(skipped))


def _read_each(
    folders: Sequence[RunReader], read: Callable[[RunReader], Read], *, is_named: bool
) -> tuple[list[Read], list[str]]:
    """Return what is read of each run, and why damaged runs are left out. Raises CharRNNError for
    one that is named."""
    found = []
    problems = []
    with task("runs", len(folders), unit="runs") as advance:
        for folder in folders:
            try:
                found.append(read(folder))
            except CharRNNError as error:
                if is_named:
                    raise
                problems.append(f"{folder.name}: {error.marked}")
            advance()
    return found, problems


def _summarize_each(
    folders: Sequence[RunReader], sort: str | None, *, is_named: bool
) -> tuple[list[tuple[Path, RunSummary]], list[str]]:
    """Return the path and the summary of each run, sorted, and why damaged runs are left out.
    Raises UsageError."""
    if sort is not None and sort not in SORT_KEYS:
        near = did_you_mean(sort, SORT_KEYS)
        raise UsageError(
            f"{named('sort')} is {sort[:60]!r}; it must be one of {', '.join(SORT_KEYS)}.{near}"
        )
    found, problems = _read_each(
        folders, lambda folder: (folder.path, summarize(folder)), is_named=is_named
    )
    if sort is None:
        return found, problems
    key = SORT_KEYS[sort]
    # Runs without a value come last.
    found.sort(key=lambda pair: [(value is None, value) for value in key(pair[1])])
    return found, problems
