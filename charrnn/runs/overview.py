"""Summarize runs: one run, all runs, or the named runs, and the losses that they logged."""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path, PurePath
from typing import Any

from charrnn.config.options import check, one_of
from charrnn.config.settings import resolved
from charrnn.errors import CharRNNError, CheckpointError
from charrnn.model.shapes import num_parameters
from charrnn.runs.checkpoint import VOCAB, read_alphabet
from charrnn.runs.logs import MetricsLog, finite
from charrnn.runs.reader import RunReader, find, find_run, last_change, list_all_runs
from charrnn.system.display import Displayable, RecordList
from charrnn.system.files import bytes_of_folder
from charrnn.system.progress import task
from charrnn.text.text_files import without_gz


@dataclass(frozen=True, kw_only=True)
class LossCurve:
    """Losses in nats per character, each with the number of steps, characters and seconds after
    which it was measured.

    Plot it against `steps` for one run, against `characters` for runs with different batches, and
    against `seconds` where time decides.
    """

    steps: tuple[int, ...]
    """The steps after which the losses were measured."""
    characters: tuple[int, ...] = field(repr=False)
    """Characters of the training text that were read, all batch rows together."""
    seconds: tuple[float, ...] = field(repr=False)
    """Seconds since the start of training, without the time between a stop and a resume."""
    nats: tuple[float, ...]
    """The losses in nats per character."""


@dataclass(frozen=True, kw_only=True)
class ModelDescription(Displayable):
    """What a model is: of a loaded one `print` and notebooks show it, and its card; a row of
    `charrnn runs` has more.

    `Model.description` returns it. A run that need not be loaded has a `RunSummary`, which has
    these fields, too.
    """

    name: str
    """The name of the run."""
    cell_type: str
    """The cell type, such as `lstm`."""
    depth: str
    """How the layers are connected, such as `stacked`."""
    num_layers: int
    """L."""
    hidden_size: int
    """H: units per layer."""
    num_parameters: int | None
    """Number of trained weights; None if the alphabet, on whose size it depends, is damaged."""
    alphabet: str
    """`char` or `byte`; of a run also `exact`."""
    vocab_size: int | None
    """Entries of the vocabulary, the unknown symbol among them; None if it is damaged."""
    text: str
    """The corpus in short: the name of its first file without folder and suffix, and the number of
    further files."""
    step: int
    """The step of the checkpoint; of a run the last step in its log."""
    val_nats: float | None
    """The validation loss at this step; None if it was not validated."""
    init_from: str | None = None
    """The run or model with whose weights its training began."""

    @property
    def architecture(self) -> str:
        """The cell type, layers and units, such as `lstm 2×512` or `gru 4×128 residual`."""
        depth = "" if self.depth == "stacked" else f" {self.depth}"
        return f"{self.cell_type} {self.num_layers}×{self.hidden_size}{depth}"

    @property
    def symbols(self) -> str:
        """The size of the vocabulary with its unit, such as `96 characters` or `256 bytes`."""
        return f"{self.vocab_size or 0:,} {'bytes' if self.alphabet == 'byte' else 'characters'}"

    def rows(self) -> list[tuple[str, str]]:
        """Return what a table of the run shows, without unknown values.

        Returns:
            Pairs of a name, such as `weights`, and its value as text.

        Example:
            >>> [name for name, _ in charrnn.run_summaries(["first"])[0].rows()][:2]
            ['cells', 'weights']
        """
        rows = [
            ("cells", self.architecture),
            ("weights", f"{self.num_parameters or 0:,}"),
            ("alphabet", self.symbols),
            ("begun from", PurePath(self.init_from or "").name),
            ("text", self.text),
            ("step", f"{self.step:,}"),
        ]
        if self.val_nats is not None:
            rows.append(("validation loss", f"{self.val_nats:.4f} nats per character"))
        return [(name, value) for name, value in rows if value]


@dataclass(frozen=True, kw_only=True)
class RunSummary(ModelDescription):
    """One line of `charrnn runs`, and one of its learning curves.

    `run_summaries` returns one for each run, for a program that looks for the best of many, or for
    those of a text. `evaluate_runs` compares the few that are left, with intervals.
    """

    corpus: str
    """The files, folders or names of which the text was made."""
    digest: str | None
    """SHA-256 of the text; None if no checkpoint records it."""
    split: tuple[float, ...]
    """The shares of the training, the validation and, if there is one, the test text."""
    seed: int
    """Seeds every random choice of the training."""
    num_steps: int
    """The step at which its training ends."""
    num_chars: int
    """Characters that were read up to this step, all batch rows together."""
    best_nats: float | None
    """The lowest validation loss."""
    minutes: float
    """Minutes of training up to this step."""
    learned_after: str | None = None
    """The characters after which the next one was learned, and of which the losses are; None: of
    all."""
    saved: str | None = None
    """When it saved last, with the offset of the local time, such as 2026-11-28T22:15:34+00:00;
    None if it has saved nothing."""
    num_bytes: int = 0
    """The size of its folder."""
    is_best: bool = False
    """Whether several of the listed runs can be compared with it, and none of them has a lower
    loss."""
    validation: LossCurve = field(repr=False)
    """The stateful loss on the validation text, at every validation."""
    warnings: tuple[str, ...] = ()
    """The damaged lines of its log, or a damaged alphabet; the figures are computed without
    them."""

    def to_json(self) -> dict[str, Any]:
        """Return all fields but the learning curve.

        A table or a data frame of runs is made of it; `LearningCurves.to_json` has the losses over
        the training.

        Returns:
            A dictionary, which `json.dumps` takes.

        Example:
            >>> charrnn.run_summaries(["first"])[0].to_json()["name"]
            'first'
        """
        fields = asdict(self)
        del fields["validation"]
        return fields


class RunSummaries(RecordList[RunSummary]):
    """The summaries of several runs.

    It is a list; `skipped` says which runs are missing from it, and why.
    """

    skipped: tuple[str, ...] = ()
    """The reason for every damaged run that is left out, one sentence each."""


class LearningCurves(list[RunSummary], Displayable):
    """Several runs, each with its learning curve.

    `learning_curves` returns it. It is a list, to plot or to print each run's `validation`; a
    notebook draws all of them in one chart. Runs without a loss, which `run_summaries` lists, are
    left out.
    """

    skipped: tuple[str, ...] = ()
    """The reason for every run that is left out, one sentence each."""

    @property
    def notes(self) -> tuple[str, ...]:
        """The reasons why these losses must not be compared with each other, one sentence each.

        Put them below a chart of one's own; the charts of charrnn have them.
        """
        return comparison_notes(self)

    def to_json(self) -> list[dict[str, Any]]:
        """Return the curves for JSON.

        It is enough to draw the curves elsewhere: each has the steps, the characters, the seconds
        and the losses.

        Returns:
            One dictionary per run, which `json.dumps` takes.

        Example:
            >>> [curve["run"] for curve in charrnn.learning_curves(["first"]).to_json()]
            ['first']
        """
        shared = ("text", "digest", "alphabet", "split", "warnings")
        return [
            {
                "run": curve.name,
                **{name: getattr(curve, name) for name in shared},
                "validation": asdict(curve.validation),
            }
            for curve in self
        ]


NOTES = (
    "These runs learned different texts: their losses must not be compared.",
    "Losses per character and losses per byte must not be compared.",
    "These runs split their text differently: their validation losses must not be compared.",
    "Some of these runs learned only what follows some characters (learned_after), and their losses"
    " are of that: they must not be compared with losses of all characters.",
)
"""Why the losses of runs must not be compared, for each value of `_comparable`."""


def comparison_notes(runs: Sequence[RunSummary]) -> tuple[str, ...]:
    """Return the reasons why the losses of these runs must not be compared with each other, one
    sentence each.

    Whoever shows losses of several runs below each other shows these sentences, too.
    """
    notes = []
    for index, note in enumerate(NOTES):
        if len({_comparable(run)[index] for run in runs}) > 1:
            notes.append(note)
    return tuple(notes)


MAX_VALIDATIONS = 1_000_000
"""Validations of a run that are kept, at most: a log of somebody else could fill the memory."""
WILDCARDS = frozenset("*?[")
"""Characters that make a file name a pattern."""


def summarize(folder: RunReader) -> RunSummary:
    """Summarize a run's model, progress and losses. Raises CheckpointError if it is damaged."""
    config = folder.read_config()
    problems: list[str] = []

    # Read from the log how far training came, and its losses.
    step = 0
    seconds = 0.0
    validations: dict[int, tuple[float, float]] = {}
    for record in MetricsLog(folder.path / "metrics.jsonl").records(problems):
        logged = int(finite(record.get("step")) or 0)
        step = max(step, logged)
        seconds = max(seconds, finite(record.get("seconds")) or 0.0)
        loss = finite(record.get("val_nats"))
        if loss is not None and len(validations) < MAX_VALIDATIONS:
            validations[logged] = seconds, loss
    nats = tuple(loss for _, loss in validations.values())

    # The commands that load a checkpoint report one that cannot be read.
    digest = None
    with suppress(CheckpointError):
        state = folder.newest_state().state
        digest = state.get("corpus_digest")
        # The log may be damaged or gone.
        step = max(step, int(finite(state.get("step")) or 0))

    saved = None
    if nanoseconds := last_change(folder.path):
        # A file system can have dates of the year 10,000, which Python has not.
        with suppress(ValueError, OverflowError, OSError):
            saved = datetime.fromtimestamp(nanoseconds // 10**9).astimezone().isoformat()

    # The number of weights depends on the size of the alphabet.
    vocab_size = num_weights = None
    try:
        vocab_size = len(read_alphabet(folder.path / VOCAB))
        num_weights = num_parameters(config, vocab_size)
    except CheckpointError as error:
        problems.append(str(error).splitlines()[0])

    return RunSummary(
        name=folder.name,
        cell_type=config.cell_type,
        depth=config.depth,
        num_layers=resolved(config.num_layers),
        hidden_size=resolved(config.hidden_size),
        num_parameters=num_weights,
        alphabet=config.alphabet,
        vocab_size=vocab_size,
        text=text_name(config.corpus),
        corpus=", ".join(config.corpus) or "the standard library",
        digest=digest if isinstance(digest, str) else None,
        split=config.split,
        seed=config.seed,
        step=step,
        num_steps=config.steps or 0,
        num_chars=step * config.chars_per_step,
        val_nats=validations[step][1] if step in validations else None,
        best_nats=min(nats, default=None),
        minutes=seconds / 60,
        init_from=config.init_from,
        learned_after=config.learned_after,
        saved=saved,
        num_bytes=bytes_of_folder(folder.path),
        validation=LossCurve(
            steps=tuple(validations),
            characters=tuple(step * config.chars_per_step for step in validations),
            seconds=tuple(taken for taken, _ in validations.values()),
            nats=nats,
        ),
        warnings=tuple(problems),
    )


def text_name(corpus: Sequence[str]) -> str:
    """Return a short name of a corpus: its first source without folder and suffix, and the number
    of further sources, as in "a +2".

    A row of a table has no room for the names of all files.
    """
    if not corpus:
        return "standard library"
    if corpus[0] == "-":
        name = "stdin"
    else:
        # A pattern such as texts/**/*.txt is named by the last folder without a wildcard.
        plain = [name for name in PurePath(corpus[0]).parts if not WILDCARDS & set(name)]
        name = PurePath(without_gz(plain[-1])).stem if plain else ""
    name = name or corpus[0]
    if len(corpus) > 1:
        name += f" +{len(corpus) - 1}"
    return name


SORT_KEYS = {
    "name": "name",
    "text": "text",
    "model": "cell_type num_layers hidden_size",
    "type": "cell_type",
    "layers": "num_layers",
    "units": "hidden_size",
    "parameters": "num_parameters",
    "seed": "seed",
    "steps": "step",
    "characters": "num_chars",
    "loss": "best_nats",
    "minutes": "minutes",
    "date": "saved",
    "size": "num_bytes",
}
"""The fields of `RunSummary` by which runs are sorted, ascending, for each word of `sort`."""


def find_runs(runs: Sequence[str | Path]) -> list[RunReader]:
    """Open the named runs, each once and in the given order; without names all runs, oldest first.

    Raises CheckpointError for a run that does not exist and for a model file.
    """
    if not runs:
        return list_all_runs()
    folders = [find_run(str(run)) for run in runs]
    # A run that is named twice is opened once.
    return list({folder.path.resolve(): folder for folder in folders}.values())


def runs_begun_from(folders: Sequence[Path]) -> list[str]:
    """Name the other runs whose training began with the weights of one of these, such as "two began
    from one".

    It is asked before runs are deleted: the runs that it names look for words and for copies in the
    texts of these.
    """
    names = {folder.resolve(): str(folder) for folder in folders}
    begun = []
    for run in list_all_runs():
        with suppress(CheckpointError):
            base = find(run.read_config().init_from or "")
            if base and base.path.resolve() in names and run.path.resolve() not in names:
                begun.append(f"{run.name} began from {names[base.path.resolve()]}")
    return begun


def run_summaries(runs: Sequence[str | Path] = (), *, sort: str | None = None) -> RunSummaries:
    """Summarize the named runs or all runs: the model, the progress and the loss of each.

    It finds the best of many trainings without loading a model.

    Args:
        runs: The names or paths of the runs. By default all runs in `checkpoints` and in the
            current folder; damaged ones are then left out, and `skipped` says why.
        sort: What the runs are sorted by, ascending: such as `loss`, `name`, `text`, `model`,
            `steps`, `minutes`, `date` or `size`. A run without that value comes last. By default
            they are sorted by age, oldest first.

    Returns:
        A list of `RunSummary`. Its `skipped` has a sentence for every run that is left out.

    Raises:
        UsageError: There is no such value to sort by.
        CheckpointError: A named run is missing or damaged.

    Example:
        >>> [run.name for run in charrnn.run_summaries(["second", "first"], sort="name")]
        ['first', 'second']
    """
    if sort is not None:
        check("sort", sort, allowed=one_of(*SORT_KEYS))
    folders = find_runs(runs)
    names = Counter(folder.name for folder in folders)
    found: list[RunSummary] = []
    skipped = []
    with task("runs", total=len(folders), unit="runs") as advance:
        for folder in folders:
            try:
                summary = summarize(folder)
            except CharRNNError as error:
                # A named run is never left out: the user asked for it.
                if runs:
                    raise
                skipped.append(f"{folder.name}: {error}")
            else:
                # Runs with equal names are told apart by their paths.
                if names[folder.name] > 1:
                    summary = replace(summary, name=str(folder.path))
                found.append(summary)
            advance()

    # They are oldest first already.
    if sort is not None:
        fields = SORT_KEYS[sort].split()

        def sort_key(run: RunSummary) -> list[tuple[bool, object]]:
            values = [getattr(run, name) for name in fields]
            # Runs without a value come last.
            return [(value is None, value) for value in values]

        found.sort(key=sort_key)
    summaries = RunSummaries(_with_best(found))
    summaries.skipped = tuple(skipped)
    return summaries


def _with_best(runs: Sequence[RunSummary]) -> list[RunSummary]:
    """Mark the best of the runs whose losses can be compared: they learned the same text, with the
    same split and the same unit, of the same characters."""
    marked = []
    for run in runs:
        compared = []
        for other in runs:
            if other.best_nats is not None and _comparable(other) == _comparable(run):
                compared.append(other.best_nats)
        # A run alone is the best of nothing.
        is_best = len(compared) > 1 and run.best_nats == min(compared)
        marked.append(replace(run, is_best=is_best))
    return marked


def _comparable(run: RunSummary) -> tuple[object, ...]:
    """Return what runs have in common if their losses can be compared: the text, by its name if no
    checkpoint records its digest, the unit and the split."""
    return run.digest or run.text, run.alphabet == "byte", run.split, run.learned_after


def learning_curves(runs: Sequence[str | Path] = (), *, sort: str | None = None) -> LearningCurves:
    """Read the learning curves of the named runs or of all runs: their losses over the training.

    They show whether a training was long enough, and whether it has learned its text by heart. A
    run that has logged no validation loss is left out.

    Args:
        runs: The names or paths of the runs. By default all runs in `checkpoints` and in the
            current folder, oldest first; damaged ones are then left out.
        sort: What the runs are sorted by, as in `run_summaries`.

    Returns:
        A `LearningCurves`, a list of `RunSummary`, whose `validation` has the losses in nats per
        character. Its `skipped` has a sentence for every run that is left out.

    Raises:
        UsageError: `sort` is another word.
        CheckpointError: A named run is missing or damaged, or no run has logged a loss.

    Example:
        >>> for run in charrnn.learning_curves(["first", "second"]):
        ...     print(run.name, run.validation.steps[-1])
        first 4
        second 4
    """
    summaries = run_summaries(runs, sort=sort)
    curves = LearningCurves(run for run in summaries if run.validation.steps)
    # A table of runs may be empty, but a chart may not.
    if not curves:
        raise CheckpointError(
            "there is nothing to draw: no run has logged a validation loss yet\n"
            "train one until its first validation: charrnn train"
        )
    curves.skipped = summaries.skipped
    for run in summaries:
        if runs and run not in curves:
            curves.skipped += (f"{run.name}: no validation loss is logged yet",)
    return curves
