"""The summary of a run for `charrnn runs`."""

import contextlib
from pathlib import PurePath

from charrnn.config import resolved
from charrnn.errors import CheckpointError
from charrnn.files import MAX_TEXT_BYTES, parse_json, read_capped
from charrnn.model.shapes import num_parameters
from charrnn.runs.checkpoint import read_state
from charrnn.runs.description import VOCAB
from charrnn.runs.metrics import MetricsLog
from charrnn.runs.reader import RunReader
from charrnn.runs.records import RunSummary
from charrnn.text.vocab import Vocab

WILDCARDS = frozenset("*?[")
"""Characters that make a name a pattern of names."""


def summarize(folder: RunReader) -> RunSummary:
    """Summarize a run's model, progress and best loss. Raises CheckpointError if it is damaged."""
    config = folder.read_config()
    problems: list[str] = []
    step, best_nats, seconds = 0, None, 0.0
    for loss in MetricsLog(folder.path / "metrics.jsonl").losses(problems):
        step, seconds = max(step, loss.step or 0), loss.seconds
        if loss.is_validation and loss.nats is not None:
            best_nats = loss.nats if best_nats is None else min(best_nats, loss.nats)
    num_weights = None
    try:
        num_weights = num_parameters(config, _vocab_size(folder))
    except CheckpointError as error:
        problems.append(str(error).splitlines()[0])
    return RunSummary(
        name=folder.name,
        cell=config.cell,
        num_layers=resolved(config.num_layers),
        hidden_size=resolved(config.hidden_size),
        corpus=", ".join(config.corpus) or "the standard library",
        text=text_name(config.corpus),
        digest=text_digest(folder),
        alphabet=config.alphabet,
        split=config.split,
        seed=config.seed,
        num_parameters=num_weights,
        step=step,
        num_steps=config.steps or 0,
        num_chars=step * resolved(config.num_lanes) * resolved(config.bptt_length),
        best_nats=best_nats,
        minutes=seconds / 60,
        warnings=tuple(problems),
    )


def text_name(corpus: tuple[str, ...]) -> str:
    """Return a corpus in short: its first source without folder and suffix, and the number of others, as in "a +2"."""
    if not corpus:
        return "standard library"
    others = f" +{len(corpus) - 1}" if len(corpus) > 1 else ""
    if corpus[0] == "-":
        return f"stdin{others}"
    # Of a pattern such as texts/**/*.txt, the last folder that it names.
    parts = [part for part in PurePath(corpus[0]).parts if not WILDCARDS & set(part)]
    name = PurePath(parts[-1].removesuffix(".gz")).stem if parts else corpus[0]
    return f"{name or corpus[0]}{others}"


def text_digest(folder: RunReader) -> str | None:
    """Return the digest of the text that the newest intact checkpoint records, None if there is none."""
    for name in reversed(folder.checkpoints()):
        with contextlib.suppress(CheckpointError):
            digest = read_state(folder.path / name).get("corpus_digest")
            return digest if isinstance(digest, str) else None
    return None


def _vocab_size(folder: RunReader) -> int:
    path = folder.path / VOCAB
    return len(Vocab.from_json(parse_json(path, read_capped(path, max_bytes=MAX_TEXT_BYTES)), str(path)))
