"""Where a text comes from: the passages that stand in the training text; and which documents stand
in a corpus.

Shapes: N characters of a text (bytes, for the byte alphabet).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
from rich.console import RenderableType
from rich.text import Text

from charrnn.cells.findings import ColouredText
from charrnn.config.options import at_least, check
from charrnn.errors import DataError, UsageError, named
from charrnn.generation.generated_text import MIN_COPY_LENGTH
from charrnn.reports.copies import learned_texts
from charrnn.reports.passages import (
    CopiedPassages,
    Passage,
    passages_of,
    placed,
)
from charrnn.system.arrays import Int64Array
from charrnn.text.copies import (
    SlicedText,
    are_covered,
    codes_of,
    find_matches,
    known_documents,
    loose_key,
)
from charrnn.text.corpus import Corpus, CorpusPart
from charrnn.text.vocab import GIVEN_AS_BYTES, as_bytes
from charrnn.trained_model import TrainedModel
from charrnn.views.heatmap import HeatMap
from charrnn.views.theme import Scale

HELD_OUT_CHARS = 50_000
"""Characters of the validation text that are compared: enough for a stable share."""
MAX_COMPARED = 20_000_000
"""The longest text that is compared with another one, in characters."""
REASON = " What is copied shows only beside the text it learned from."
"""The end of a message: why the training text is needed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance(CopiedPassages):
    """The provenance of a text of N characters: the passages that stand in the training text, in
    the order of the text, which are marked in it."""

    def view(self) -> Sequence[RenderableType]:
        """Return the text, in which passages are underlined, and the tables.

        Returns:
            Renderables of rich.

        Example:
            >>> len(model.provenance("What is it?").view())
            5
        """
        underlined = f"underlined: {self.min_length} or more characters in a row of {self.where}"
        return [self.marked_text(), "", Text(underlined), *self.figures()]

    def marked_text(self) -> HeatMap:
        """Return the text, in which passages are underlined.

        Returns:
            A renderable of rich.

        Example:
            >>> model.provenance("What is it?").marked_text().coloured.text
            'What is it?'
        """
        # Of a text of bytes, a character is part of a passage if all of its bytes are.
        text, begins = self.characters()
        coloured = ColouredText(
            text=text,
            values=(math.nan,) * len(text),
            inside=tuple(np.logical_and.reduceat(self.is_copied, begins).tolist()),
        )
        return HeatMap(coloured, Scale(0.0, 1.0))


@dataclass(frozen=True)
class ReferenceText:
    """The texts that a model has learned and, for comparison, validation text, which is not copied.

    All texts are str, or bytes for the byte alphabet. They may be parts of corpora that are read in
    blocks.
    """

    trainings: Sequence[CorpusPart] = field(repr=False)
    """The model's own training text, and those of the models that it started from."""
    held_out: str | bytes = field(repr=False)
    """The validation text."""
    missing: str = ""
    """A sentence that names a model whose text is not known; "" if all are."""
    _held_out_shares: dict[int, float] = field(default_factory=dict, repr=False)

    def passages(
        self, text: str | bytes, *, min_length: int = MIN_COPY_LENGTH
    ) -> tuple[Passage, ...]:
        """Find the passages of `text` that stand in the texts learned, and their places in the
        files."""
        found: list[Passage] = []
        for number, training in enumerate(self.trainings):
            matches = find_passages(text, corpus=training, min_length=min_length)
            found += passages_of(matches, training.places, number=number)
        return tuple(_longest(found))

    def held_out_share(self, min_length: int) -> float:
        """Return the share of the characters of the held-out text that stand in the training text,
        which is looked for once."""
        if min_length not in self._held_out_shares:
            is_copied = np.zeros(len(self.held_out), np.bool_)
            for training in self.trainings:
                matches = find_passages(self.held_out, corpus=training, min_length=min_length)
                is_copied |= are_covered(matches, len(self.held_out))
            self._held_out_shares[min_length] = float(is_copied.sum() / max(1, len(is_copied)))
        return self._held_out_shares[min_length]


def _longest(passages: Sequence[Passage]) -> list[Passage]:
    """Return the passages in the order of the text, without those that another one contains."""
    kept: list[Passage] = []
    # Of equal ones, that of the model's own text is the first.
    for passage in sorted(passages, key=lambda found: (found.start, -found.stop, found.number)):
        if not kept or passage.stop > kept[-1].stop:
            kept.append(passage)
    return kept


def find_passages(
    text: str | bytes, corpus: SlicedText, *, min_length: int = MIN_COPY_LENGTH
) -> Int64Array:
    """Find all passages of `text` with at least `min_length` characters that also stand in
    `corpus`: start, length, first offset in the corpus and number of places of each (M, 4), as
    `text.copies.find_matches`.

    Raises UsageError for a `min_length` under 1, DataError for a text longer than `MAX_COMPARED`.
    """
    check("min_length", min_length, allowed=at_least(1), remedy=f" Try {MIN_COPY_LENGTH}.")
    if len(text) > MAX_COMPARED:
        raise DataError(
            f"The text has {len(text):,} characters; at most {MAX_COMPARED:,} are compared. Give a"
            " part of it."
        )
    return find_matches(codes_of(text), corpus, length=min_length)


def copies_in(corpus: Corpus, reference_text: ReferenceText) -> CopiedPassages:
    """Find the passages of a file that stand in the texts learned, with both places of each."""
    text = corpus.content
    return CopiedPassages(
        text=text,
        min_length=MIN_COPY_LENGTH,
        passages=placed(reference_text.passages(text), corpus),
        held_out_share=reference_text.held_out_share(MIN_COPY_LENGTH),
        reach=_capitalized(reference_text.missing),
    )


def _capitalized(clause: str) -> str:
    """Return a clause as a sentence; "" for none."""
    if not clause:
        return ""
    return f"{clause[:1].upper()}{clause[1:]}."


def trace_text(
    text: str | bytes, *, reference_text: ReferenceText, min_length: int = MIN_COPY_LENGTH
) -> Provenance:
    """Find the passages of a text that stand in the texts learned.

    Raises DataError for an empty or too long text, UsageError for bytes that a model of characters
    is given, and for a `min_length` under 1.
    """
    # The text in the form in which the corpus is stored.
    if isinstance(reference_text.held_out, bytes):
        text = as_bytes(text)
    elif isinstance(text, bytes):
        raise UsageError(GIVEN_AS_BYTES)
    else:
        text = text.replace("\r\n", "\n")
    if not text:
        raise DataError("The text is empty: give at least one character.")

    return Provenance(
        text=text,
        min_length=min_length,
        passages=reference_text.passages(text, min_length=min_length),
        held_out_share=reference_text.held_out_share(min_length),
        reach=_capitalized(reference_text.missing),
    )


def read_reference_text(model: TrainedModel) -> ReferenceText:
    """Read and verify the run's training text, so that several texts can be traced. Raises
    DataError if it is missing or changed."""
    learned = learned_texts(model, reason=REASON)
    validation = learned.parts[0][1]
    return ReferenceText(
        trainings=learned.trainings,
        held_out=validation[:HELD_OUT_CHARS],
        missing=learned.missing,
    )


def new_documents(
    model: TrainedModel,
) -> Callable[[str | bytes], bool]:
    """Return a function that says whether a document is new: it stands neither in the text of the
    model, held-out parts included, nor in that of a model that it started from,
    whatever its case, the blanks at its ends and the form of Unicode. The function is the argument
    `accept` of `Model.samples`.

    Raises DataError if the run's text is missing or changed, UsageError for a model
    without documents.
    """
    if model.config.end_id is None:
        raise UsageError(
            f"{model.name} was not trained on documents: use {named('trace')}, which finds copied"
            " passages."
        )
    texts = chain.from_iterable(learned_texts(model, reason=REASON).parts)
    known = known_documents(*texts)
    return lambda document: loose_key(document) not in known
