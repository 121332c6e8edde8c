"""Where a text comes from: the passages that stand in the training text, and how well a model and
the n-grams of the training text predict each character; and which documents stand in a corpus.

Shapes: N characters of a text (bytes, for the byte alphabet).
"""

import math
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import chain

import numpy as np
from rich.cells import cell_len, set_cell_size
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from charrnn.cells.findings import ColouredText
from charrnn.errors import DataError, UsageError, check_range, named
from charrnn.generation.generated_text import MIN_COPY_LENGTH
from charrnn.generation.sample_options import DEFAULT_UNKNOWN, Clamps
from charrnn.ngrams.contexts import NgramPredictor
from charrnn.ngrams.text_model import ngrams_of
from charrnn.plugins.reports.char_predictions import (
    CharPredictions,
    predict_chars,
    with_ngrams,
)
from charrnn.plugins.reports.copies import learned_texts
from charrnn.system.arrays import BoolArray, Int64Array
from charrnn.system.display import Displayable
from charrnn.text.copies import (
    KnownHashes,
    SlicedText,
    are_covered,
    codes_of,
    count_places,
    document_hashes,
    find_matches,
    hash_documents,
)
from charrnn.text.corpus import CorpusPart
from charrnn.text.given_text import GivenText, whole_text
from charrnn.text.places import Place
from charrnn.text.vocab import as_bytes
from charrnn.trained_model import TextModel, TrainedModel
from charrnn.views.heatmap import HeatMap
from charrnn.views.tables import Columns, records_table
from charrnn.views.theme import Scale, all_visible

MAX_CHARS = 1_000_000
"""The longest text that is traced, in characters."""
HELD_OUT_CHARS = 50_000
"""Characters of the validation text that are compared: enough for a stable share."""
EXCERPT_WIDTH = 20
"""Columns of the excerpt from a passage."""
MAX_ROWS = 20
"""Passages in the table, the longest ones."""
REASON = " What is copied shows only beside the text it learned from."
"""The end of a message: why the training text is needed."""
ABOUT = (
    "copied: the share of the text that is underlined, where a line end is no blank; held-out: the"
    " same share of validation text, which nobody copied, so that it shows what names and set"
    " phrases alone give; longest: the length of the longest passage; model, n-grams: how well the"
    " model, and the n-grams of the training text alone, predict the text (mean loss in nats per"
    " character, lower is better)."
)
"""The explanation of columns of `Provenance.table`."""
ABOUT_PASSAGES = (
    "Passages may overlap: each is the longest one from its place in the training text."
)
"""The explanation of `Provenance.passages_table`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Passage:
    """A passage of a text that also stands in the training text.

    Offsets and lengths are in characters, or in bytes if the text is bytes.
    """

    start: int
    """Offset in the text."""
    length: int
    """Its length."""
    number: int = 0
    """The text in which it stands: 0 for the model's own training text, 1 for that of the model
    from which it started, and so on."""
    offset: int
    """Offset of its first place in that text."""
    place: Place | None
    """The place in a file of its first place in the training text; None if that came from a stream.
    """
    num_more: int
    """How many more places the training text has."""

    @property
    def stop(self) -> int:
        """Offset of the end in the text."""
        return self.start + self.length


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance(Displayable):
    """The provenance of a text of N characters: the passages that stand in the training text, in
    the order of the text, and the predictions of each character.

    The passages are the longest ones of at least `min_length` characters; they may overlap, but no
    passage contains another. `held_out_share` is the share of held-out text that stands in the
    training text although nobody copied it: names, idioms and licences recur. A share near it is no
    sign of copying.
    """

    text: str | bytes = field(repr=False)
    """The text as the training text is stored: with LF line ends; bytes, for the byte alphabet."""
    min_length: int
    """The length of the shortest passage that counts."""
    passages: tuple[Passage, ...] = field(repr=False)
    """The passages that stand in the training text."""
    held_out_share: float
    """The share of held-out text that stands in the training text."""
    predictions: CharPredictions = field(repr=False)
    """The predictions of each character by the model and by n-grams."""
    reach: str = ""
    """How far the figures reach: the longest context of the n-grams and the characters that are
    counted, unknown characters, and a text that was not compared."""

    @property
    def unit(self) -> str:
        """What the numbers count: `byte` in a text of bytes, else `character`."""
        if isinstance(self.text, bytes):
            return "byte"
        return "character"

    @property
    def is_copied(self) -> BoolArray:
        """(N,): whether each character is part of a passage."""
        spans = [(passage.start, passage.length) for passage in self.passages]
        return are_covered(spans, len(self.text))

    @property
    def share_copied(self) -> float:
        """The share of the characters that are part of a passage, from 0 to 1; 0 for an empty
        text."""
        return float(self.is_copied.sum() / max(1, len(self.text)))

    @property
    def longest(self) -> Passage | None:
        """The longest passage, or the first of several that are equally long; None if nothing is
        copied."""
        return max(self.passages, key=lambda passage: passage.length, default=None)

    def to_json(self) -> dict[str, object]:
        """Return the figures, the passages and the numbers of each character, without the text.

        Returns:
            A dictionary of numbers, strings, lists and None.

        Example:
            >>> len(model.provenance("What is it?").to_json()["characters"]["logprobs"])
            11
        """
        return {
            "reach": self.reach,
            "min_length": self.min_length,
            "num_chars": len(self.text),
            "num_copied": int(self.is_copied.sum()),
            "share_copied": self.share_copied,
            "held_out_share": self.held_out_share,
            "passages": [asdict(passage) for passage in self.passages],
            "characters": {
                name: None if values is None else values.tolist()
                for name, values in self.predictions._asdict().items()
            },
        }

    def view(self) -> Sequence[RenderableType]:
        """Return the text, in which passages are underlined, and the tables.

        Returns:
            Renderables of rich.

        Example:
            >>> len(model.provenance("What is it?").view())
            5
        """
        underlined = (
            f"underlined: {self.min_length} or more characters in a row of the training text"
        )
        return [self.marked_text(), "", Text(underlined), *self.figures()]

    def figures(self) -> Sequence[RenderableType]:
        """Return the tables, and how far the n-grams reach.

        Returns:
            Renderables of rich.

        Example:
            >>> len(model.provenance("What is it?").figures())
            2
        """
        pictures: list[RenderableType] = [self.table()]
        if self.passages:
            pictures.append(self.passages_table())
        if len(self.passages) > 1:
            pictures.append(Text(ABOUT_PASSAGES, style="dim"))
        pictures.append(Text(f"{ABOUT} {self.reach}".rstrip(), style="dim"))
        return pictures

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

    def characters(self) -> tuple[str, Int64Array]:
        """Return the characters of the text, which may be bytes, and where each begins.

        Returns:
            The text as a string of M characters, and the offset (M,) of each in the text.

        Example:
            >>> text, begins = model.provenance("What is it?").characters()
            >>> text, int(begins[-1])
            ('What is it?', 10)
        """
        if isinstance(self.text, str):
            return self.text, np.arange(len(self.text))
        # surrogateescape: a byte that is not UTF-8 becomes one character, which is encoded as this
        # byte again.
        decoded = self.text.decode("utf-8", "surrogateescape")
        sizes = [len(character.encode("utf-8", "surrogateescape")) for character in decoded]
        return decoded, np.cumsum([0, *sizes[:-1]])

    def table(self) -> Table:
        """Build the table of the shares of copied text, and of the losses.

        Returns:
            A table of rich with one row.

        Example:
            >>> model.provenance("What is it?").table().row_count
            1
        """
        columns: Columns = {
            # A narrow terminal shows the first columns alone.
            "copied": "{share_copied:.1%}",
            "held-out": "{held_out_share:.1%}",
            "longest": "{longest.length:,}",
            "model": _mean_nats("logprobs"),
            "n-grams": _mean_nats("ngram_logprobs"),
        }
        return records_table(columns, [self], narrow=True)

    def passages_table(self) -> Table:
        """Build the table of the longest passages and their places, in the order of the text.

        Returns:
            A table of rich, with at most 20 rows.

        Example:
            >>> model.provenance("What is it?").passages_table().row_count
            0
        """
        # The longest passages, in the order of the text.
        longest = sorted(self.passages, key=lambda passage: -passage.length)[:MAX_ROWS]
        columns: Columns = {
            "characters": "{length:,}",
            "passage": lambda passage: _excerpt(self.text[passage.start : passage.stop]),
            "file": _file_name,
            "line": "{place.line:,}",
            "column": "{place.column:,}",
            "other places": "{num_more:,}",
        }
        rows = sorted(longest, key=lambda passage: passage.start)
        return records_table(columns, rows, left=("passage", "file"), narrow=True)


def _mean_nats(name: str) -> Callable[[Provenance], str]:
    """Return a function that shows the mean of -ln p in a field of `CharPredictions`."""

    def shown(provenance: Provenance) -> str:
        # The column of n-grams is empty where nothing was counted.
        logprobs = getattr(provenance.predictions, name)
        if logprobs is None or not len(logprobs):
            return ""
        return f"{-logprobs.mean():.3f}"

    return shown


def _file_name(passage: Passage) -> Text:
    """Return the name of the file of a passage."""
    if passage.place is None:
        return Text("in no file as a whole")
    return Text(all_visible(passage.place.file), overflow="fold")


def _excerpt(text: str | bytes) -> Text:
    """Return the beginning and the end of a text on a line of at most `EXCERPT_WIDTH` columns."""
    line = all_visible(as_bytes(text).decode("utf-8", "replace"))
    if cell_len(line) <= EXCERPT_WIDTH:
        return Text(line, no_wrap=True)
    half = EXCERPT_WIDTH // 2
    head = set_cell_size(line, half)
    tail = set_cell_size(line[::-1], half - 1)[::-1]
    return Text(f"{head}…{tail}", no_wrap=True)


@dataclass(frozen=True)
class ReferenceText:
    """The texts that a model has learned and, for comparison, validation text, which is not copied.

    All texts are str, or bytes for the byte alphabet. They may be parts of corpora that are read in
    blocks.
    """

    model: TrainedModel = field(repr=False)
    """The model that has learned the texts."""
    trainings: Sequence[CorpusPart] = field(repr=False)
    """Its own training text, and those of the models that it started from."""
    held_out: str | bytes = field(repr=False)
    """The validation text."""
    missing: str = ""
    """A sentence that names a model whose text is not known; "" if all are."""
    _held_out_shares: dict[int, float] = field(default_factory=dict, repr=False)

    def passages(
        self, text: str | bytes, *, min_length: int = MIN_COPY_LENGTH
    ) -> tuple[Passage, ...]:
        """Find the passages of `text` that stand in the texts learned, and their places in the
        files, which are named without the folder that they have in common."""
        found: list[Passage] = []
        for number, training in enumerate(self.trainings):
            matches = find_passages(text, corpus=training, min_length=min_length)
            # Where nothing is copied, no file is read.
            if not len(matches):
                continue

            # A passage may occur twice in the text, but is looked for once.
            contents = [text[start : start + length] for start, length, _ in matches]
            num_places = count_places(set(contents), corpus=training)
            places = training.places(matches[:, 2])
            for match, content, place in zip(matches.tolist(), contents, places, strict=True):
                start, length, offset = match
                passage = Passage(
                    start=start,
                    length=length,
                    number=number,
                    offset=offset,
                    place=place,
                    num_more=num_places[content] - 1,
                )
                found.append(passage)
        return _with_names(_longest(found))

    @cached_property
    def ngrams(self) -> NgramPredictor:
        """The n-grams of the training text. Raises DataError if numba, which a long text needs, is
        missing."""
        return ngrams_of(self.model, training=self.trainings[0]).predictor

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


def _with_names(passages: Sequence[Passage]) -> tuple[Passage, ...]:
    """Return the passages with the names of their files: what is shown may be given away, and a
    whole path has the name of its user."""
    folders = {os.path.dirname(found.place.file) for found in passages if found.place is not None}
    folder = ""
    with suppress(ValueError):  # No file, or files on several drives.
        folder = os.path.commonpath(folders)
    named_passages = []
    for passage in passages:
        place = passage.place
        if place is not None:
            place = replace(place, file=place.file.removeprefix(folder).lstrip(os.sep))
        named_passages.append(replace(passage, place=place))
    return tuple(named_passages)


def tell_new(*texts: SlicedText) -> Callable[[str | bytes], bool]:
    """Return a function that says whether a document is not, as a whole, one of the documents of
    some texts, each of which ends in END (U+0000). Each text is read once.

    Only hashes of 8 bytes are kept. No document of the texts passes as new. A new document has the
    hash of a document in them with a probability of 1 in 2^64, and then it does not count as new.
    """
    # A few bytes a document: a text may have millions.
    known = KnownHashes(chain.from_iterable(map(document_hashes, texts)))
    is_bytes = isinstance(texts[0][:0], bytes)

    def is_new(document: str | bytes) -> bool:
        stored = as_bytes(document) if is_bytes else document
        indices, _ = known.find(hash_documents([stored]))
        return not len(indices)

    return is_new


def find_passages(
    text: str | bytes, corpus: SlicedText, *, min_length: int = MIN_COPY_LENGTH
) -> Int64Array:
    """Find all passages of `text` with at least `min_length` characters that also stand in
    `corpus`: start, length and first offset in the corpus of each (M, 3), as
    `text.copies.find_matches`.

    Raises UsageError for a `min_length` under 1, DataError for a text longer than `MAX_CHARS`,
    TypeError if one is str and the other bytes.
    """
    check_range("min_length", min_length, remedy=f" Try {MIN_COPY_LENGTH}.")
    if len(text) > MAX_CHARS:
        raise DataError(
            f"The text has {len(text):,} characters; at most {MAX_CHARS:,} are compared. Give a"
            " part of it."
        )
    if type(text) is not type(corpus[:0]):
        raise TypeError(f"cannot compare {type(text).__name__} with {type(corpus[:0]).__name__}")
    return find_matches(codes_of(text), corpus, length=min_length)


def trace_text(
    model: TextModel,
    text: str | bytes,
    *,
    reference_text: ReferenceText,
    prime: str | bytes | None = None,
    unknown: str = DEFAULT_UNKNOWN,
    clamps: Clamps | None = None,
    min_length: int = MIN_COPY_LENGTH,
) -> Provenance:
    """Trace a text that a model reads after `prime`, as `sample` reads it, with the same `clamps`.

    Raises DataError for an empty or too long text, UsageError for bytes that a model of characters
    is given, and for a `min_length` under 1.
    """
    # The text in the form in which the corpus is stored.
    if isinstance(reference_text.held_out[:0], bytes):
        text = as_bytes(text)
    elif isinstance(text, str):
        text = text.replace("\r\n", "\n")
    if not text:
        raise DataError("The text is empty: give at least one character.")
    ids = model.vocab.encode(text)
    passages = reference_text.passages(text, min_length=min_length)

    # The weights as they were trained: in 8 bits, as `sample` draws, the losses would differ a
    # little from those of `evaluate`.
    generator = model.generator
    stepper = generator.model_for("fp32", clamps or {})
    context_ids = generator.encode_prime(prime, unknown)
    logprobs = predict_chars(stepper, ids=ids, context_ids=context_ids)
    predictions = CharPredictions(logprobs - model.vocab.escapes(ids))
    reach: list[str] = []

    # The n-grams are those of the text of the first model, in its own alphabet.
    first = model.trained_models[0].vocab
    first_ids = first.encode(text)
    unit = "bytes" if isinstance(text, bytes) else "characters"
    try:
        predictor = reference_text.ngrams
    except DataError as error:
        reach.append(error.message)
    else:
        if first != model.vocab:
            context_ids = first.encode(model.vocab.decode(context_ids))
        predictions = with_ngrams(
            logprobs=predictions.logprobs,
            ids=first_ids,
            context_ids=context_ids,
            predictor=predictor,
            escapes=first.escapes(first_ids),
        )
        reach.append(
            f"The n-grams are of {len(predictor.contexts.ids):,} {unit} of the training text, with"
            f" contexts of up to {predictor.longest} {unit}."
        )

    # What a reader of the figures must know.
    if num_unknown := model.vocab.num_unknown(ids):
        reach.append(
            f"{num_unknown:,} of {len(ids):,} {unit} are not in the alphabet: each costs"
            f" {model.vocab.escape_nats:.2f} nats more than the unknown symbol."
        )
    if reference_text.missing:
        reach.append(f"{reference_text.missing[:1].upper()}{reference_text.missing[1:]}.")
    return Provenance(
        text=text,
        min_length=min_length,
        passages=passages,
        held_out_share=reference_text.held_out_share(min_length),
        predictions=predictions,
        reach=" ".join(reach),
    )


def check_length(model: TrainedModel, length: int) -> None:
    """Raise UsageError if a sample of `length` characters is too long to be traced: the message
    comes before a text is generated."""
    longest = MAX_CHARS
    unit = "characters"
    if model.vocab.kind == "byte":
        # A byte that is part of no character becomes U+FFFD in the sample, which has three bytes.
        longest = MAX_CHARS // 3
        unit = "bytes"
    if length > longest:
        raise UsageError(
            f"{named('length')} is {length:,}; {named('trace')} takes {longest:,} {unit} at most."
            " Shorten it."
        )


def read_reference_text(model: TrainedModel) -> ReferenceText:
    """Read and verify the run's training text, so that several texts can be traced. Raises
    DataError if it is missing or changed."""
    learned = learned_texts(model, reason=REASON)
    validation = learned.parts[0][1]
    return ReferenceText(
        model=model,
        trainings=learned.trainings,
        held_out=validation[:HELD_OUT_CHARS],
        missing=learned.missing,
    )


def new_documents(model: TrainedModel, known: GivenText = ()) -> Callable[[str | bytes], bool]:
    """Return a function that says whether a document is new: it stands neither in the text of the
    model, held-out parts included, nor in that of a model that it started from, and is none of
    those that are `known`. The function is the argument `accept` of `Model.samples`.

    Raises DataError if the run's text or a file is missing or changed, UsageError for a model
    without documents.
    """
    if model.config.end_id is None:
        raise UsageError(
            f"{model.name} was not trained on documents: use {named('trace')}, which finds copied"
            " passages."
        )
    known_text = whole_text(known, model.config)
    if model.vocab.kind == "byte":
        known_text = as_bytes(known_text)
    texts = chain.from_iterable(learned_texts(model, reason=REASON).parts)
    return tell_new(*texts, known_text)
