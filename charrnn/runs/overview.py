"""Summarize runs: one run, all runs, or the named runs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path, PurePath
from typing import Any, TypeVar

from charrnn.config.settings import Config, resolved
from charrnn.errors import CharRNNError, CheckpointError, UsageError, did_you_mean, named
from charrnn.model.shapes import num_parameters
from charrnn.runs.config_files import VOCAB, read_alphabet
from charrnn.runs.logs import MetricsLog
from charrnn.runs.reader import (
    RunReader,
    find_model_file,
    find_run,
    last_change,
    list_all_runs,
)
from charrnn.system.display import Displayable, RecordList
from charrnn.system.files import JSON, bytes_of_folder
from charrnn.system.progress import task
from charrnn.text.text_files import without_gz


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSummary(Displayable):
    """One line of `charrnn runs`."""

    name: str
    """The name of the run."""
    cell: str
    """The cell type, such as `lstm`."""
    num_layers: int
    """L."""
    hidden_size: int
    """H: units per layer."""
    corpus: str
    """The files, folders or names of which the text was made."""
    text: str
    """The corpus in short: the name of its first file without folder and suffix, and the number of
    further files."""
    digest: str | None
    """SHA-256 of the text; None if no checkpoint records it."""
    alphabet: str
    """`char`, `exact` or `byte`."""
    split: tuple[float, ...]
    """The shares of the training, the validation and, if there is one, the test text."""
    seed: int
    """Seeds every random choice of the training."""
    num_parameters: int | None
    """Number of trained weights; None if the alphabet, on whose size it depends, is damaged."""
    step: int
    """The last step in its log."""
    num_steps: int
    """The step at which its training ends."""
    num_chars: int
    """Characters that were read up to this step, all batch rows together."""
    best_nats: float | None
    """The lowest validation loss."""
    minutes: float
    """Minutes of training up to this step."""
    init_from: str | None = None
    """The run or model with whose weights its training began."""
    saved: str | None = None
    """When it saved last, with the offset of the local time, such as 2026-11-28T22:15:34+00:00;
    None if it has saved nothing."""
    num_bytes: int = 0
    """The size of its folder."""
    is_best: bool = False
    """Whether several of the listed runs can be compared with it, and none of them has a lower
    loss."""
    warnings: tuple[str, ...] = ()
    """The damaged lines of its log, or a damaged alphabet; the figures are computed without
    them."""


class RunSummaries(RecordList[RunSummary]):
    """The summaries of several runs."""

    skipped: tuple[str, ...] = ()
    """The reason for every damaged run that is left out, one sentence each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelDescription(Displayable):
    """The facts about a loaded model that `print` and notebooks show."""

    name: str
    """The name of the run."""
    cell: str
    """The cell type, such as `lstm`."""
    depth: str
    """How the layers are connected, such as `stacked`."""
    num_layers: int
    """L."""
    hidden_size: int
    """H: units per layer."""
    num_parameters: int
    """Number of trained weights."""
    alphabet: str
    """`char` or `byte`."""
    vocab_size: int
    """Entries of the vocabulary, the unknown symbol among them."""
    text: str
    """The corpus in short, as in `RunSummary`."""
    step: int
    """The step of the checkpoint."""
    val_nats: float | None
    """The validation loss at this step; None if it was not validated."""

    @property
    def architecture(self) -> str:
        """The cell type, layers and units, such as `lstm 2×512` or `gru 4×128 residual`."""
        depth = "" if self.depth == "stacked" else f" {self.depth}"
        return f"{self.cell} {self.num_layers}×{self.hidden_size}{depth}"

    @property
    def symbols(self) -> str:
        """The size of the vocabulary with its unit, such as `96 characters` or `256 bytes`."""
        return f"{self.vocab_size:,} {'bytes' if self.alphabet == 'byte' else 'characters'}"

    def rows(self) -> list[tuple[str, str]]:
        """Return the names and values of a table, without unknown values."""
        rows = [
            ("cells", self.architecture),
            ("weights", f"{self.num_parameters:,}"),
            ("alphabet", self.symbols),
            ("text", self.text),
            ("step", f"{self.step:,}"),
        ]
        if self.val_nats is not None:
            rows.append(("validation loss", f"{self.val_nats:.4f} nats per character"))
        return [(name, value) for name, value in rows if value]


WILDCARDS = frozenset("*?[")
"""Characters that make a file name a pattern."""


def summarize(folder: RunReader) -> RunSummary:
    """Summarize a run's model, progress and best loss. Raises CheckpointError if it is damaged."""
    config = folder.read_config()
    problems: list[str] = []

    # Read from the log how far training came, and its losses.
    step = 0
    seconds = 0.0
    losses: list[float] = []
    for loss in MetricsLog(folder.path / "metrics.jsonl").losses(problems):
        step = max(step, loss.step or 0)
        seconds = loss.seconds
        if loss.is_validation and loss.nats is not None:
            losses.append(loss.nats)

    state = state_of(folder)

    saved = None
    if nanoseconds := last_change(folder.path):
        saved = datetime.fromtimestamp(nanoseconds // 10**9).astimezone().isoformat()

    # The number of weights depends on the size of the alphabet.
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
        num_chars=step * config.chars_per_step,
        best_nats=min(losses, default=None),
        minutes=seconds / 60,
        init_from=config.init_from,
        saved=saved,
        num_bytes=bytes_of_folder(folder.path),
        **logged_fields(config, state=state, problems=problems),
    )


def state_of(folder: RunReader) -> Mapping[str, JSON]:
    """Return the state of a run's newest checkpoint; empty if it cannot be read, which the commands
    that load it report."""
    try:
        return folder.newest_state()[0]
    except CheckpointError:
        return {}


def logged_fields(
    config: Config, state: Mapping[str, JSON], *, problems: Sequence[str]
) -> dict[str, Any]:
    """Return the fields that a summary and a learning curve share. The `problems` of the run's log
    and alphabet become its warnings."""
    digest = state.get("corpus_digest")
    return {
        "text": text_name(config.corpus),
        "digest": digest if isinstance(digest, str) else None,
        "alphabet": config.alphabet,
        "split": config.split,
        "warnings": tuple(problems),
    }


def text_name(corpus: Sequence[str]) -> str:
    """Return a short name of a corpus: its first source without folder and suffix, and the number
    of further sources, as in "a +2"."""
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
    "run": "name",
    "name": "name",
    "text": "text",
    "model": "cell num_layers hidden_size",
    "cell": "cell",
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

Read = TypeVar("Read")
"""The type of the result that `read_each` reads from each run."""


def find_runs(runs: Sequence[str | Path]) -> list[RunReader]:
    """Open the named runs, each once and in the given order; without names all runs, oldest first.

    Raises CheckpointError for a run that does not exist and for a model file.
    """
    if not runs:
        return list_all_runs()

    folders: list[RunReader] = []
    for run in runs:
        if find_model_file(str(run)) is not None:
            raise CheckpointError(
                f"{run} has no learning curve: an exported model is one step of a run\nname the"
                " folder of the run"
            )
        folders.append(find_run(str(run)))

    # A run that is named twice is opened once.
    return list({folder.path.resolve(): folder for folder in folders}.values())


def distinct_names(folders: Sequence[RunReader]) -> dict[Path, str]:
    """Return the name of each run by its path; of runs with equal names, the path itself."""
    counts = Counter(folder.name for folder in folders)
    names = {}
    for folder in folders:
        names[folder.path] = folder.name
        if counts[folder.name] > 1:
            names[folder.path] = str(folder.path)
    return names


def run_summaries(runs: Sequence[str | Path] = (), *, sort: str | None = None) -> RunSummaries:
    """Summarize the named runs or all runs: the model, the progress and the loss of each.

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
    # A named run is never left out: the user asked for it.
    pairs, skipped = _summarize_each(find_runs(runs), sort=sort, is_named=bool(runs))
    summaries = RunSummaries(_with_best(run for _, run in pairs))
    summaries.skipped = tuple(skipped)
    return summaries


def _with_best(runs: Iterable[RunSummary]) -> Iterator[RunSummary]:
    """Mark the best of the runs whose losses can be compared: they learned the same text, with the
    same split and the same unit."""
    runs = list(runs)
    # Without a digest, before the first save, the name of the text stands for it.
    losses = defaultdict(list)
    for run in runs:
        if run.best_nats is not None:
            losses[_comparable(run)].append(run.best_nats)

    for run in runs:
        # A run alone is the best of nothing.
        compared = losses[_comparable(run)]
        is_best = len(compared) > 1 and run.best_nats == min(compared)
        yield replace(run, is_best=is_best)


def _comparable(run: RunSummary) -> tuple[object, ...]:
    """Return what runs have in common if their losses can be compared."""
    return run.digest or run.text, run.alphabet == "byte", run.split


def bases_of(folders: Sequence[Path]) -> dict[str, list[str]]:
    """Return which of these runs others began from, each with the names of the others."""
    found: dict[str, list[str]] = {}
    for run in list_all_runs():
        with suppress(CharRNNError, OSError):
            base = run.read_config().init_from
            if base is None or run.path in folders:
                continue
            path = find_run(base).path
            if any(path.samefile(folder) for folder in folders):
                found.setdefault(str(path), []).append(str(run.path))
    return found


def select_runs(
    runs: Sequence[str | Path] = (),
    *,
    most: int,
    sort: str | None = None,
) -> tuple[list[Path], int, list[str]]:
    """Select the runs whose learning curves are drawn.

    From the named runs or all runs, the `most` newest ones with a validation loss are selected, or
    with `sort` the first ones by one of `SORT_KEYS`. If more than `most` runs are named, all of
    them are selected. Returns the folders of the selected runs, the number of runs from which they
    were selected, and a message for every damaged run that is left out. Raises UsageError for an
    unknown `sort`, CheckpointError for a named run that does not exist.
    """
    folders = find_runs(runs)
    most = max(most, len(runs))
    # If all named runs are drawn in the given order, they need not be summarized.
    if runs and sort is None and len(folders) <= most:
        return [folder.path for folder in folders], len(folders), []

    # Only runs with a validation loss have a learning curve.
    pairs, problems = _summarize_each(folders, sort=sort, is_named=False)
    paths = [path for path, run in pairs if run.best_nats is not None]
    selected = paths[-most:] if sort is None else paths[:most]
    return selected, len(paths), problems


def read_each(
    folders: Sequence[RunReader], read: Callable[[RunReader], Read], *, is_named: bool
) -> tuple[list[Read], list[str]]:
    """Call `read` with each run; return the results, and a message for every damaged run that is
    left out. Raises CharRNNError for a damaged run if `is_named`."""
    results = []
    problems = []
    with task("runs", total=len(folders), unit="runs") as advance:
        for folder in folders:
            # If all runs are read, a damaged run must not hide the others.
            try:
                results.append(read(folder))
            except CharRNNError as error:
                if is_named:
                    raise
                problems.append(f"{folder.name}: {error}")
            advance()
    return results, problems


def _summarize_each(
    folders: Sequence[RunReader], sort: str | None, *, is_named: bool
) -> tuple[list[tuple[Path, RunSummary]], list[str]]:
    """Return the path and the summary of each run, sorted, and a message for every damaged run that
    is left out. Raises UsageError for an unknown `sort`."""
    if sort is not None and sort not in SORT_KEYS:
        hint = did_you_mean(sort, SORT_KEYS)
        raise UsageError(
            f"{named('sort')} is {sort[:60]!r}; it must be one of {', '.join(SORT_KEYS)}.{hint}"
        )
    names = distinct_names(folders)

    def read(folder: RunReader) -> tuple[Path, RunSummary]:
        return folder.path, replace(summarize(folder), name=names[folder.path])

    pairs, problems = read_each(folders, read, is_named=is_named)

    # `folders` are oldest first already.
    if sort is None:
        return pairs, problems

    def sort_key(pair: tuple[Path, RunSummary]) -> list[tuple[bool, object]]:
        values = [getattr(pair[1], field) for field in SORT_KEYS[sort].split()]
        # Runs without a value come last.
        return [(value is None, value) for value in values]

    return sorted(pairs, key=sort_key), problems
