"""The text of a run: read, encoded, and divided into its parts."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from charrnn.config.settings import Config, resolved
from charrnn.errors import DataError, UsageError, named
from charrnn.model.shapes import num_parameters
from charrnn.runs.checkpoint import Checkpoint
from charrnn.text.batches import BatchRows
from charrnn.text.copies import trained_share
from charrnn.text.corpus import Corpus, CorpusPart, read_corpus
from charrnn.text.reading_notes import shares_of_kinds
from charrnn.text.splits import split_text
from charrnn.text.text_files import FileRecord
from charrnn.text.vocab import IdArray, Vocab

MAX_UNKNOWN_SHARE = 0.1
"""Largest share of unknown characters in a text: they are all the same symbol, which is easy to
predict."""


@dataclass(frozen=True)
class RunText:
    """The corpus as ids, divided into a training, a validation and perhaps a test part.

    `CorpusPart` is a part of a text for whoever measures; a training needs all parts of the same
    ids.
    """

    corpus: Corpus
    num_train: int
    """Characters of the training part, which comes first."""
    num_before_test: int
    """Characters of the training and the validation part together."""
    trained_share: float | None = None
    """Share of the validation part that the training part has as well; None for a resumed run."""

    @classmethod
    def of(cls, corpus: Corpus, config: Config) -> "RunText":
        """Divide a corpus. Raises DataError for a training part without a character to predict."""
        training, validation, *_ = split_text(corpus.ids, config)
        if training.stop < 2:
            raise DataError(
                "The training text has 1 character; it needs 2. Give a longer text or another"
                f" {named('split')}."
            )
        return cls(corpus, num_train=training.stop, num_before_test=validation.stop)

    @property
    def num_validation(self) -> int:
        """Characters of the validation part, which follows the training part."""
        return self.num_before_test - self.num_train

    @property
    def vocab(self) -> Vocab:
        """The alphabet."""
        return self.corpus.vocab

    @property
    def ids(self) -> IdArray:
        """The whole text (N,), which may be mapped from a file."""
        return self.corpus.ids

    @property
    def files(self) -> Sequence[FileRecord]:
        """The files of which the text was read."""
        return self.corpus.files

    @property
    def pandoc_texts(self) -> Mapping[str, str]:
        """The texts of the files that pandoc has read, by their digests."""
        return self.corpus.source_text.pandoc_texts

    def batch_rows(self, config: Config) -> BatchRows:
        """Return the batch rows over the training part."""
        return BatchRows(self.ids[: self.num_train], resolved(config.batch_size))

    def learned_after(self, config: Config) -> IdArray | None:
        """Return the ids after which the next character is learned; None if all are learned.

        Raises UsageError for characters outside the alphabet, and if none of them stands in the
        training or in the validation part: nothing would be learned, or known of it.
        """
        after = config.learned_after
        if after is None:
            return None
        unknown = self.vocab.unknown_characters(after)
        if unknown:
            raise UsageError(
                f"The alphabet of the text lacks {''.join(unknown)!r} of {named('learned_after')}:"
                " nothing would be learned after it. Name characters of the text."
            )
        ids = self.vocab.encode(after)
        validation = self.ids[self.num_train - 1 : self.num_before_test - 1]
        if not np.isin(validation, ids).any():
            raise UsageError(
                f"The validation text has none of the characters {after!r} of"
                f" {named('learned_after')}, after which its loss is measured. Name others, or give"
                f" another {named('split')}."
            )
        return ids

    def facts(self, config: Config) -> dict[str, Any]:
        """Return the fields of a `ModelEvent` about this text and a model of resolved sizes."""
        return {
            "num_parameters": num_parameters(config, len(self.vocab)),
            "config": asdict(config),
            "corpus": ", ".join(origin.label for origin in self.corpus.source_text.origins),
            "kinds": shares_of_kinds(self.files),
            "num_chars": len(self.ids),
            "num_train_chars": self.num_train,
            "num_distinct_chars": int(np.count_nonzero(self.corpus.source_text.counts)),
            "vocab_size": len(self.vocab),
            "trained_share": self.trained_share,
        }


def read_new_text(config: Config, initial: Checkpoint | None) -> RunText:
    """Read the corpus of a new run, in the vocabulary of the model it starts with, if any. Raises
    DataError.

    `resuming.read_same_text` is for a resumed run, whose text must not have changed.
    """
    # The weights to start with have rows for their own characters.
    vocab = None if initial is None else initial.description.vocab()
    text = read_text(config, vocab=vocab)

    # Validation on passages that the training text has, too, says little, so their share is noted.
    training = CorpusPart(text.corpus, begin=0, end=text.num_train)
    validation = CorpusPart(text.corpus, begin=text.num_train, end=text.num_before_test)
    share = trained_share(validation, training=training, config=config)

    # A loss of which most is the unknown symbol would be excellent, and say nothing.
    share_unknown = len(text.corpus.unknown) / len(text.ids)
    if initial is not None and share_unknown > MAX_UNKNOWN_SHARE:
        raise DataError(
            f"{share_unknown:.0%} of the characters of the text are not in the alphabet of"
            f" {config.init_from}, of which at most {MAX_UNKNOWN_SHARE:.0%} may be unknown\nadd"
            f" them with {named('extend_alphabet', 'true')} and {named('min_count', 1)}, or train"
            f" without {named('init_from')}"
        )
    return replace(text, trained_share=share)


def read_text(config: Config, vocab: Vocab | None = None) -> RunText:
    """Read the corpus of a configuration, encode it, by default in a vocabulary of its own, and
    divide it. Raises DataError if it cannot be used."""
    return RunText.of(read_corpus(config, vocab), config)
