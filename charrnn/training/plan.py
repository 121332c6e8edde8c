"""What a training is to do, settled before it starts: its text cut in parts, its model, its steps and its threads."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import torch

from charrnn.config import MODEL_FIELDS, Config, resolved
from charrnn.errors import DataError, UsageError
from charrnn.model.reading import IdArray
from charrnn.text.corpus import Corpus, read_corpus
from charrnn.text.lanes import Lanes, split_ids
from charrnn.text.recorded import RecordedCorpus
from charrnn.text.vocab import MAX_CHARACTERS, Vocab
from charrnn.training.measuring import choose_threads, measure_step
from charrnn.training.recipe import choose_steps

MEASURE_SECONDS = 2.5
MEASURE_SHARE = 0.03
LEAST_MEASURE_SECONDS = 0.25
"""A budget in minutes is measured for so long, but for no more than this share of it; for a few steps at the least."""

MOST_UNKNOWN = 0.1
"""The share of unknown characters above which a text is refused: they are all one symbol, which is easy to predict."""

Download = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Text:
    """The corpus as ids, cut into what is learned from and what is validated on."""

    corpus: Corpus
    vocab: Vocab
    ids: IdArray
    num_train: int
    num_before_test: int


def with_model_of(run: str, theirs: Config, config: Config) -> Config:
    """The configuration with the model of `run`, whose configuration is `theirs`.

    Raises UsageError if another model was asked for; a value that is the default counts as not asked for.
    """
    default = Config()
    model: dict[str, Any] = {name: getattr(theirs, name) for name in MODEL_FIELDS}
    for name, there in model.items():
        asked = getattr(config, name)
        if asked not in (there, getattr(default, name)):
            raise UsageError(f"{name} is {asked}, but {there} in {run}: --init-from keeps the model.")
    return replace(config, **model)


def check_alphabet(run: str, text: Text) -> None:
    """Raise DataError if the alphabet of `run` has too few characters of the training or of a held-out text.

    The loss would be excellent, and say nothing: most of what is predicted would be the unknown symbol.
    """
    if text.vocab.kind == "byte":
        return
    parts = {
        "training text": text.ids[: text.num_train],
        "validation text": text.ids[text.num_train : text.num_before_test],
        "test text": text.ids[text.num_before_test :],
    }
    for name, ids in parts.items():
        share = float((ids == 0).mean()) if len(ids) else 0.0
        if share > MOST_UNKNOWN:
            raise DataError(
                f"{share:.0%} of the characters of the {name} are not in the alphabet of {run}; "
                f"with --init-from at most {MOST_UNKNOWN:.0%} may be unknown\n"
                "train without --init-from, or train both runs with --alphabet byte, which knows every text"
            )


def plan_steps(config: Config, text: Text, lanes: Lanes, device: torch.device, began: float) -> Config:
    """Turn the budget into steps and fill in what depends on them, and the number of threads.

    Minutes are measured, and count from `began`. Sums on another number of threads differ in their last digits, so the
    configuration that is returned, not the command, reproduces a run.
    """
    num_val = text.num_before_test - text.num_train
    if config.minutes is None:
        planned = choose_steps(config, text.num_train, num_val)
        return replace(planned, threads=choose_threads(planned, lanes, len(text.vocab), device))
    seconds = min(MEASURE_SECONDS, max(LEAST_MEASURE_SECONDS, MEASURE_SHARE * 60 * config.minutes))
    seconds_per_step, threads = measure_step(config, lanes, len(text.vocab), device, seconds)
    seconds_left = max(0.0, 60 * config.minutes - (time.perf_counter() - began))
    return choose_steps(replace(config, threads=threads), text.num_train, num_val, seconds_per_step, seconds_left)


def take_notes(asked: Config, planned: Config, text: Text) -> tuple[str, ...]:
    """What the user should know of the text and of what became of their settings."""
    notes = list(text.corpus.notes)
    num_unknown = int((text.ids == 0).sum()) if text.vocab.kind == "char" else 0
    if num_unknown:
        why = "beyond the alphabet's limit" if len(text.vocab) == MAX_CHARACTERS else "too rare to learn"
        if planned.init_from is not None:
            why = f"not in the alphabet of {planned.init_from}"
        notes.append(f"{num_unknown:,} of {len(text.ids):,} characters are {why}: read as unknown")
        if num_unknown > 0.01 * len(text.ids) and planned.init_from is None:
            notes.append("--alphabet byte learns every character of such a text")
    sizes = [(getattr(asked, name), getattr(planned, name)) for name in ("num_lanes", "bptt_length")]
    if any(wish not in ("auto", got) for wish, got in sizes):
        lanes, length = (got for _, got in sizes)
        notes.append(f"the text is too short for that: {lanes} lanes of {length} characters per step instead")
    if asked.threads == "auto" and resolved(planned.threads) < torch.get_num_threads():
        all_threads = torch.get_num_threads()
        notes.append(f"{planned.threads} of {all_threads} threads are faster (other work here, or a small model)")
    return tuple(notes)


def read_text(
    config: Config,
    stdin: BinaryIO | None,
    on_download: Download | None,
    vocab: Vocab | None = None,
    recorded: RecordedCorpus | None = None,
) -> Text:
    """The corpus of a configuration in a given alphabet, else its own; for a run that is resumed, the one `recorded`.

    Raises DataError if it cannot be used.
    """
    if recorded is not None:
        corpus = recorded.read(stdin=stdin, instead=" or start a new run")
    else:
        corpus = read_corpus(
            config.corpus, alphabet=config.alphabet, encoding=config.encoding, stdin=stdin, on_download=on_download
        )
    content = corpus.content
    if vocab is None:
        vocab = Vocab.of_bytes() if isinstance(content, bytes) else Vocab.from_text(content, min_count=config.min_count)
    ids = vocab.encode(content)
    parts = split_ids(len(ids), config.split)
    return Text(corpus, vocab, ids, num_train=parts[0].stop, num_before_test=parts[1].stop)
