"""The text of a run: read, encoded, and divided into its parts."""

from dataclasses import dataclass, replace
from typing import Any

from charrnn.config.settings import Config, resolved
from charrnn.errors import DataError, named
from charrnn.runs.checkpoint import Checkpoint
from charrnn.runs.reader import find_model_file
from charrnn.text.batches import BatchRows
from charrnn.text.copies import trained_share
from charrnn.text.corpus import Corpus, CorpusPart, read_corpus
from charrnn.text.documents import Documents, split_text
from charrnn.text.reading_notes import shares_of_kinds
from charrnn.text.recorded_corpus import MAX_COMPARED, RecordedCorpus, recorded_corpus
from charrnn.text.sources import Order
from charrnn.text.vocab import IdArray, Vocab

MAX_UNKNOWN_SHARE = 0.1
"""Largest share of unknown characters in a text: they are all the same symbol, which is easy to
predict."""


@dataclass(frozen=True, slots=True)
class RunText:
    """The corpus as ids, divided into a training, a validation and perhaps a test part."""

    corpus: Corpus
    num_train: int
    """Characters of the training part, which comes first."""
    num_before_test: int
    """Characters of the training and the validation part together."""
    trained_share: float | None = None
    """Share of the validation part that the training part has as well; None for a resumed run."""

    earlier_share: float | None = None
    """Share of the validation part that the run of `init_from` has learned; None if its text is not
    here."""

    @property
    def num_validation(self) -> int:
        """Characters of the validation part, which follows the training part."""
        return self.num_before_test - self.num_train

    @property
    def training_ids(self) -> IdArray:
        """The training part (num_train,)."""
        return self.ids[: self.num_train]

    def batch_rows(self, config: Config) -> BatchRows:
        """Return the batch rows over the training part."""
        return BatchRows(self.training_ids, resolved(config.batch_size))

    @property
    def vocab(self) -> Vocab:
        """The alphabet."""
        return self.corpus.vocab

    @property
    def ids(self) -> IdArray:
        """The whole text (N,), which may be mapped from a file."""
        return self.corpus.ids

    @property
    def facts(self) -> dict[str, Any]:
        """The fields of a `PlanEvent` and a `StartEvent` about the text."""
        return {
            "corpus": ", ".join(self.corpus.sources),
            "kinds": shares_of_kinds(self.corpus.files),
            "num_chars": len(self.ids),
            "num_train_chars": self.num_train,
            "num_distinct_chars": len(self.corpus.counted.code_points),
            "vocab_size": len(self.vocab),
            "trained_share": self.trained_share,
        }


def read_new_text(config: Config, initial: Checkpoint | None) -> RunText:
    """Read the corpus of a new run, in the vocabulary of the model it starts with, if any. Raises
    DataError."""
    # The weights to start with have rows for their own characters.
    vocab = None if initial is None else initial.description.vocab()
    text = read_text(config, vocab)
    if config.init_from is not None:
        check_alphabet(config.init_from, text=text, extended=config.extend_alphabet)

    # Validation on passages that the training text has, too, says little, so their share is noted.
    training = CorpusPart(text.corpus, begin=0, end=text.num_train)
    validation = CorpusPart(text.corpus, begin=text.num_train, end=text.num_before_test)
    share = trained_share(validation, training=training, config=config)

    # So does validation on what the weights have learned before. A model file has no text.
    earlier_share = None
    run = config.init_from
    if initial is not None and run is not None and find_model_file(run) is None:
        theirs = initial.description.config()
        folder = initial.description.folder.parent
        recorded = recorded_corpus(run, config=theirs, state=initial.state, folder=folder)
        if recorded is not None and len(validation) <= MAX_COMPARED:
            earlier_share = recorded.trained_share(validation[:])
    return replace(text, trained_share=share, earlier_share=earlier_share)


def read_text(
    config: Config,
    vocab: Vocab | None = None,
    recorded: RecordedCorpus | None = None,
) -> RunText:
    """Read the corpus of a configuration, or the corpus that a resumed run `recorded`, and encode
    it.

    Without `vocab`, the text gets a vocabulary of its own; `Config.extend_alphabet` adds new
    characters to `vocab`. Raises DataError if the corpus cannot be used, CharRNNError if the ids of
    a large corpus cannot be written to a disk.
    """
    # A resumed run reads the recorded corpus and checks its digest; a new run reads the files that
    # are named.
    if recorded is not None:
        corpus = recorded.read(vocab=vocab, instead="start a new run")
    else:
        corpus = read_corpus(
            config.corpus,
            alphabet=config.alphabet,
            encoding=config.encoding,
            order=Order(config.order, config.order_seed),
            documents=Documents.of(config),
            joins_lines=config.join_lines,
            is_cleaned=config.clean,
            vocab=vocab,
            extend_vocab=config.extend_alphabet,
            min_count=config.min_count,
        )

    # At least a first character, which is only read, and another, which is predicted.
    splits = split_text(corpus.ids, config)
    if splits[0].stop < 2:
        raise DataError(
            "The training text has 1 character; it needs 2. Give a longer text or another"
            f" {named('split')}."
        )
    return RunText(corpus, num_train=splits[0].stop, num_before_test=splits[1].stop)


def check_alphabet(run: str, text: RunText, *, extended: bool) -> None:
    """Raise DataError if the alphabet of `run` has too few characters of the training or of a
    held-out text.

    The loss would be excellent, and say nothing: most of the predicted characters would be the
    unknown symbol.
    """
    # Bytes have no unknown symbol.
    if text.vocab.kind == "byte":
        return
    ranges = {
        "training text": (0, text.num_train),
        "validation text": (text.num_train, text.num_before_test),
        "test text": (text.num_before_test, len(text.ids)),
    }
    for name, (begin, end) in ranges.items():
        share = text.corpus.num_unknown(begin, end) / max(1, end - begin)
        if share <= MAX_UNKNOWN_SHARE:
            continue
        # An alphabet that was extended has all but the rare characters.
        remedy = named("min_count", 1) if extended else named("extend_alphabet", "true")
        raise DataError(
            f"{share:.0%} of the characters of the {name} are not in the alphabet of {run}; "
            f"with {named('init_from')} at most {MAX_UNKNOWN_SHARE:.0%} may be unknown\n"
            f"add them with {remedy}, train without {named('init_from')}, "
            f"or both runs with {named('alphabet', 'byte')}, which knows every text"
        )
