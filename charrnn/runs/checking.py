"""Check that runs and model files are whole: `charrnn runs check`.

All that they have is read as the other commands read it, and nothing is written. No torch is
needed: weights are compared with the shapes that the configuration gives.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from charrnn.errors import CharRNNError, CheckpointError, OtherVersionError, counted
from charrnn.model.shapes import check_shapes, check_vocab_size
from charrnn.runs.checkpoint import (
    Checkpoint,
    checkpoint_name,
    checkpoint_step,
    is_checkpoint_name,
    read_checkpoint,
)
from charrnn.runs.logs import MetricsLog, last_step
from charrnn.runs.model_file import ModelFile
from charrnn.runs.reader import (
    RunReader,
    find,
    find_run,
    list_folders_like_runs,
    looks_like_run,
    paths_of,
    split_step,
)
from charrnn.system.files import convert_os_errors
from charrnn.text.kept_texts import kept_texts_problems
from charrnn.text.recorded_corpus import recorded_corpus
from charrnn.text.word_list import WordList


@dataclass(frozen=True, kw_only=True)
class CheckedRun:
    """What was found when a run or a model file was read whole.

    `check_runs` returns one for each. A run with problems may still be of use: `steps` are those
    that can be loaded.
    """

    name: str
    """Its name, as commands take it."""
    num_saved: int
    """How many steps were read."""
    steps: tuple[int, ...]
    """Those of them whose files are whole, ascending."""
    problems: tuple[str, ...] = ()
    """What is damaged, a sentence for each file."""
    not_read: tuple[str, ...] = ()
    """What another version of charrnn saved, or one with another package, a sentence for each step:
    it may be whole."""
    notes: tuple[str, ...] = ()
    """What became of its text, if that is gone or has changed: this is no damage."""

    @property
    def is_whole(self) -> bool:
        """Whether all was read, and nothing is damaged."""
        return not self.problems and not self.not_read

    @property
    def summary(self) -> str:
        """The result in words, such as `whole, 3 steps` or `damaged; whole: mine@400`."""
        if self.is_whole:
            return f"whole, {counted(self.num_saved, 'step')}"
        if not self.problems:
            return "saved by another version of charrnn or of a package, and not read"
        if not self.steps:
            return "damaged; no step can be used"
        if len(self.steps) == self.num_saved:
            return "damaged beside its steps, which are whole"
        return f"damaged; whole: {self.name}@{self.steps[-1]}"

    def to_json(self) -> dict[str, Any]:
        """Return all fields and `is_whole`, for JSON."""
        return asdict(self) | {"is_whole": self.is_whole}


def check_runs(names: Sequence[str]) -> list[CheckedRun]:
    """Read runs whole, and return what is damaged.

    One needs it before a run is archived or given away, and after a disk or a copy has failed.
    Other commands read only the files that they need.

    Args:
        names: Runs and model files by name or path, or RUN@STEP for one step. Without any, the runs
            that `charrnn runs` lists, and folders that look like one.

    Returns:
        What was found, a run each.

    Raises:
        CheckpointError: There is no run or step of such a name.

    Example:
        >>> check_runs(["first"])[0].is_whole
        True
    """
    if not names:
        return [_check_run(run, _named_like_steps(run)) for run in list_folders_like_runs()]
    return [_check_named(name) for name in names]


def _check_named(name: str) -> CheckedRun:
    """Check what a name means."""
    run, step = split_step(name)
    found = find(run or "") or _damaged_run(run or "") or find_run(run or "")
    if isinstance(found, ModelFile):
        if step is not None:
            found.load_step(step)
        return _check_model_file(found)
    saved_names = _named_like_steps(found)
    if step is not None:
        # It is named in the message, with the steps that there are.
        if checkpoint_name(step) not in saved_names:
            found.load_step(step)
        saved_names = [checkpoint_name(step)]
    return _check_run(found, saved_names)


def _damaged_run(name: str) -> RunReader | None:
    """Return the run of a name that is so damaged that other commands do not take it for one."""
    for path in paths_of(name):
        if looks_like_run(path):
            return RunReader(path)
    return None


def _named_like_steps(run: RunReader) -> list[str]:
    """List all that has the name of a checkpoint, ascending: also a link, in whose place a
    checkpoint may have been."""
    with convert_os_errors("read", path=run.path, kind=CheckpointError):
        names = filter(is_checkpoint_name, os.listdir(run.path))
    return sorted(names, key=checkpoint_step)


def _check_run(run: RunReader, saved_names: Sequence[str]) -> CheckedRun:
    """Check some checkpoints of a run and what is beside them."""
    # The weights of one checkpoint are in memory at a time.
    newest: Checkpoint | None = None
    steps: list[int] = []
    problems: list[str] = []
    not_read: list[str] = []
    for saved_name in saved_names:
        try:
            newest = read_checkpoint(run.path / saved_name, with_training=True)
            _check_weights(newest, run.path / saved_name)
            steps.append(newest.step)
        except OtherVersionError as error:
            not_read.append(str(error))
        except CheckpointError as error:
            # A training process may have saved a newer one, and removed this one.
            if os.path.lexists(run.path / saved_name):
                problems.append(str(error))
    if not saved_names:
        problems.append(f"{run.path} has nothing saved")

    log = run.path / "metrics.jsonl"
    last_logged = None
    try:
        last_logged = last_step(MetricsLog(log).records(problems))
    except CheckpointError as error:
        problems.append(str(error))

    notes = []
    if newest is not None:
        # A step is logged before it is saved.
        if last_logged is not None and last_logged < newest.step:
            problems.append(f"{log} lacks its end: step {newest.step} is saved, and not in it")
        problems += run.problems_beside(newest)
        problems += kept_texts_problems(run.path, newest.state.get("document_texts"))
        notes = _notes_on_text(run, newest)
    return CheckedRun(
        name=run.name,
        num_saved=len(saved_names),
        steps=tuple(steps),
        problems=_sentences(problems),
        not_read=_sentences(not_read),
        notes=_sentences(notes),
    )


def _check_model_file(file: ModelFile) -> CheckedRun:
    """Check a model file, which has one step and no text."""
    try:
        checkpoint = file.load_best()
        _check_weights(checkpoint, file.path)
        if checkpoint.words is not None:
            WordList.from_bytes(checkpoint.words, checkpoint.description.vocab(), file.path)
    except OtherVersionError as error:
        return CheckedRun(name=file.name, num_saved=1, steps=(), not_read=_sentences([str(error)]))
    except CheckpointError as error:
        return CheckedRun(name=file.name, num_saved=1, steps=(), problems=_sentences([str(error)]))
    return CheckedRun(name=file.name, num_saved=1, steps=(checkpoint.step,))


def _check_weights(checkpoint: Checkpoint, path: Path) -> None:
    """Raise CheckpointError unless the weights are those of the configuration and the alphabet."""
    description = checkpoint.description
    vocab_size = check_shapes(description.config(), tensors=checkpoint.model, path=path)
    check_vocab_size(vocab_size, vocab=description.vocab(), name=str(path))


def _notes_on_text(run: RunReader, checkpoint: Checkpoint) -> list[str]:
    """Say whether the text of a run is gone or has changed; a run without a text says so, too."""
    config = checkpoint.description.config()
    corpus = recorded_corpus(run.name, config=config, state=checkpoint.state, folder=run.path)
    if corpus is None:
        return [f"{run.name} does not record which text it learned"]
    if "-" in config.corpus:
        return [f"{run.name} learned from standard input, which is gone"]
    try:
        corpus.read()
    except CharRNNError as error:
        return [str(error)]
    return []


def _sentences(messages: Iterable[str]) -> tuple[str, ...]:
    """Return the first line of each message once: what follows says what to do about a command that
    failed, and no command has failed."""
    return tuple(dict.fromkeys(message.splitlines()[0] for message in messages))
