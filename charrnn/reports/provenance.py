"""Where a text comes from: the passages that stand in the training text or again in the same text,
their places, the share of the text, and tables of both.

Shapes: N characters of a text (bytes, for the byte alphabet), M passages.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np
from rich.cells import cell_len, set_cell_size
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from charrnn.cells.records import ColouredText
from charrnn.config.options import at_least, check
from charrnn.errors import CharRNNError, DataError, UsageError, counted
from charrnn.generation.generated_text import MIN_COPY_LENGTH
from charrnn.system.arrays import BoolArray, Int64Array
from charrnn.system.display import Displayable
from charrnn.system.progress import warn
from charrnn.text.copies import SlicedText, are_covered, codes_of, find_matches, find_repeats
from charrnn.text.corpus import Corpus, CorpusPart, Place
from charrnn.text.vocab import GIVEN_AS_BYTES, as_bytes
from charrnn.trained_model import TrainedModel, load_base, read_parts
from charrnn.views.heatmap import HeatMap
from charrnn.views.tables import Columns, records_table
from charrnn.views.theme import Scale, all_visible

MAX_CHARS = 20_000_000
"""The longest text that is compared, in characters."""
HELD_OUT_CHARS = 50_000
"""Characters of the validation text that are compared: enough for a stable share."""
EXCERPT_WIDTH = 64
"""Columns of the excerpt from a passage."""
MAX_ROWS = 20
"""Passages in the table, the longest ones."""
TRAINING_TEXT = "the training text"
"""Where the passages of a text stand that copies."""
REASON = " What is copied shows only beside the text it learned from."
"""The end of a message: why the training text is needed."""
REST = "the rest of the text"
"""Where the passages of a text stand that repeats itself."""


@dataclass(frozen=True, kw_only=True)
class CopiedPassage:
    """A passage of a text that also stands in the training text, or again in the same text.

    `Provenance.passages` consists of them. `start` and `length` find the passage in the text that
    was traced, `place` in the file of the training text. Offsets and lengths are in characters, or
    in bytes if the text is bytes.
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
    """How many more places were found."""
    at: Place | None = None
    """The place of the passage itself, if the text is that of a file."""


@dataclass(frozen=True, kw_only=True)
class Provenance(Displayable):
    """The passages of a text of N characters that stand in the training text, or again in the same
    text, in the order of the text.

    `Model.provenance` returns it, before a generated text is published: `share_copied` beside
    `held_out_share` says whether the model has copied, and `passages` where from. They are the
    longest ones of at least `min_length` characters; they may overlap, but no passage contains
    another. `held_out_share` is the share of held-out text that stands in the training text
    although nobody copied it: names, idioms and licences recur. A share near it is no sign of
    copying.
    """

    text: str | bytes = field(repr=False)
    """The text as the training text is stored: with LF line ends; bytes, for the byte alphabet."""
    min_length: int
    """The length of the shortest passage that counts."""
    passages: tuple[CopiedPassage, ...] = field(repr=False)
    """The passages that stand in the training text."""
    held_out_share: float | None = None
    """The share of held-out text that stands in the training text; None for a text that is compared
    with itself."""
    where: str = TRAINING_TEXT
    """Where the passages stand: `TRAINING_TEXT` or `REST`."""
    reach: str = ""
    """Which text was not compared, in a sentence; "" if all were."""

    @property
    def is_copied(self) -> BoolArray:
        """(N,): whether each character is part of a passage.

        It marks the characters in a picture of one's own; passages may overlap, so their lengths do
        not add up to it.
        """
        spans = [(passage.start, passage.length) for passage in self.passages]
        return are_covered(spans, num_chars=len(self.text))

    @property
    def share_copied(self) -> float:
        """The share of the characters that are part of a passage, from 0 to 1; 0 for an empty text.

        Compare it with `held_out_share`: only what is above that was copied.
        """
        return float(self.is_copied.sum() / max(1, len(self.text)))

    @property
    def longest(self) -> CopiedPassage | None:
        """The longest passage, or the first of several that are equally long; None if nothing is
        copied.

        It is the first to look at: a sentence of the training text is a copy, whatever the share
        is.
        """
        return max(self.passages, key=lambda passage: passage.length, default=None)

    def to_json(self) -> dict[str, object]:
        """Return the figures and the passages, without the text.

        A program that checks samples keeps it as the record of the check; it quotes nothing of the
        text.

        Returns:
            A dictionary of numbers, strings, lists and None.

        Example:
            >>> model.provenance("What is it?").to_json()["num_copied"]
            0
        """
        return {
            "reach": self.reach,
            "min_length": self.min_length,
            "num_chars": len(self.text),
            "num_copied": int(self.is_copied.sum()),
            "share_copied": self.share_copied,
            "held_out_share": self.held_out_share,
            "passages": [asdict(passage) for passage in self.passages],
        }

    def view(self) -> Sequence[RenderableType]:
        """Return the text, in which passages are underlined, and the tables.

        A notebook shows it by itself. It has all of the text; `figures` are what to print of a long
        one.

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

        It is the upper part of `view`, for a page with tables of its own below the text.

        Returns:
            A renderable of rich.

        Example:
            >>> model.provenance("What is it?").marked_text().coloured.text
            'What is it?'
        """
        text = self.text
        is_copied = self.is_copied
        if isinstance(text, bytes):
            # A character is part of a passage if all of its bytes are. surrogateescape: a byte that
            # is not UTF-8 becomes one character, which is encoded as this byte again.
            text = text.decode("utf-8", "surrogateescape")
            sizes = [len(character.encode("utf-8", "surrogateescape")) for character in text]
            is_copied = np.logical_and.reduceat(is_copied, np.cumsum([0, *sizes[:-1]]))
        coloured = ColouredText(
            text=text, values=(math.nan,) * len(text), inside=tuple(is_copied.tolist())
        )
        return HeatMap(coloured, Scale(low=0.0, high=1.0))

    def figures(self) -> Sequence[RenderableType]:
        """Return the tables, and how far the figures reach.

        It is the lower part of `view`, for a result that is too long to be shown as a text.

        Returns:
            Renderables of rich.

        Example:
            >>> len(model.provenance("What is it?").figures())
            2
        """
        shares = {
            "copied": "{share_copied:.1%}",
            "held-out": "{held_out_share:.1%}",
            "longest": "{longest.length:,}",
        }
        pictures: list[RenderableType] = [records_table(shares, [self])]
        if self.passages:
            pictures.append(self.passages_table())
        about = (
            f"copied: the share of the text in passages of {self.min_length} or more characters"
            f" that stand in {self.where}, too, and may overlap"
        )
        if self.passages:
            about += "; longest: the length of the longest passage"
        if self.held_out_share is not None:
            about += "; held-out: the share of validation text, which nobody copied"
        return [*pictures, Text(f"{about}. {self.reach}".rstrip(), style="dim")]

    def passages_table(self) -> Table:
        """Build the table of the longest passages, longest first, each with its places below it.

        A report about many texts needs it, which has its own figures; `figures` has the table with
        the shares above it.

        Returns:
            A table of rich, with at most 20 passages.

        Example:
            >>> model.provenance("What is it?").passages_table().row_count
            0
        """
        # Of two places in the same text, the later one names the earlier one.
        passages = self.passages
        if self.where == REST:
            passages = tuple(passage for passage in passages if passage.offset < passage.start)

        longest = sorted(passages, key=lambda passage: -passage.length)[:MAX_ROWS]
        columns: Columns = {
            "characters": "{length:,}",
            "passage": lambda passage: _excerpt(
                self.text[passage.start : passage.start + passage.length]
            ),
        }
        # 80 columns have no room for two names of files beside an excerpt.
        below: Columns = {"passage": _shown_places}
        return records_table(columns, longest, left=("passage",), below=below)


def _shown_places(passage: CopiedPassage) -> Text:
    """Return the places of a passage, each on a line: the place in its own text, if that is a file,
    and the place in the other text."""
    places = ["in no file as a whole"]
    if passage.place is not None:
        places = [shown_place(passage.place)]
    if passage.at is not None:
        places = [f"here {shown_place(passage.at)}", f"there {places[0]}"]
    if passage.num_more:
        places.append(counted(passage.num_more, "more place"))
    return Text("\n".join(places))


def shown_place(place: Place) -> str:
    """Return a place in words: the file, the line or paragraph, and the column."""
    return f"{all_visible(place.file)}, {place.unit} {place.line:,}, column {place.column:,}"


def _excerpt(text: str | bytes) -> Text:
    """Return the beginning and the end of a text on a line of at most `EXCERPT_WIDTH` columns."""
    line = all_visible(as_bytes(text).decode("utf-8", "replace"))
    if cell_len(line) <= EXCERPT_WIDTH:
        return Text(line)
    half = EXCERPT_WIDTH // 2
    head = set_cell_size(line, half)
    tail = set_cell_size(line[::-1], half - 1)[::-1]
    return Text(f"{head}…{tail}")


@dataclass(frozen=True)
class ReferenceText:
    """The texts that a model has learned and, for comparison, validation text, which is not copied.

    `Model.reference_text` returns it, to trace many texts: the training text is read from its files
    once. All texts are str, or bytes for the byte alphabet. They may be parts of corpora that are
    read in blocks.
    """

    parts: Sequence[Sequence[CorpusPart]]
    """The parts of the model's own text, the training part first, then those of the texts of the
    models that it started from."""
    missing: str = ""
    """A sentence that names the model whose text is not known; "" if all are."""
    _held_out_shares: dict[int, float] = field(default_factory=dict)

    @property
    def trainings(self) -> list[CorpusPart]:
        """The training part of each text.

        The first is that of the model itself, the others those of the models that it started from.
        """
        return [training for training, *_ in self.parts]

    @property
    def held_out(self) -> str | bytes:
        """The beginning of the validation text."""
        return self.parts[0][1][:HELD_OUT_CHARS]

    def passages(
        self, text: str | bytes, *, min_length: int = MIN_COPY_LENGTH
    ) -> tuple[CopiedPassage, ...]:
        """Find the passages of a text that stand in the texts learned.

        Their places in the files are found, too. It is for a loop over many texts;
        `Model.provenance` adds the shares and the tables of one text.

        Args:
            text: The text as the training text is stored: with LF line ends, or bytes for the byte
                alphabet.
            min_length: The length of the shortest passage that counts as a copy, in characters.

        Returns:
            A tuple of `CopiedPassage`, in the order of the text. None of them contains another.

        Example:
            >>> reference_text = model.reference_text()
            >>> [passage] = reference_text.passages(model.training_text()[:100] + "zyx")
            >>> passage.start, passage.length
            (0, 100)
        """
        found: list[CopiedPassage] = []
        for number, training in enumerate(self.trainings):
            matches = find_passages(text, corpus=training, min_length=min_length)
            found += _passages_of(matches, training, number=number)

        # In the order of the text, without those that another one contains. Of equal ones, that of
        # the model's own text is the first.
        kept: list[CopiedPassage] = []
        stop = 0
        for passage in sorted(found, key=lambda one: (one.start, -one.length, one.number)):
            if passage.start + passage.length > stop:
                kept.append(passage)
                stop = passage.start + passage.length
        return tuple(kept)

    def held_out_share(self, min_length: int) -> float:
        """Return the share of the characters of the held-out text that stand in the training text,
        which is looked for once.

        It is what a share of copied characters is compared with: nobody copied this text.
        """
        if min_length not in self._held_out_shares:
            held_out = self.held_out
            is_copied = np.zeros(len(held_out), np.bool_)
            for training in self.trainings:
                matches = find_passages(held_out, corpus=training, min_length=min_length)
                is_copied |= are_covered(matches, num_chars=len(held_out))
            self._held_out_shares[min_length] = float(is_copied.sum() / max(1, len(is_copied)))
        return self._held_out_shares[min_length]


def read_reference_text(model: TrainedModel) -> ReferenceText:
    """Read the parts of the text of a model, and of the texts of the models that it started from.

    Users call `Model.reference_text`, which keeps the text with the model.

    A warning names a model that it started from if it is no longer the model of that name, or has a
    text that cannot be read. Raises DataError if the model's own text is missing or has changed.
    """
    texts = [read_parts(model, reason=REASON)]
    # A run that was trained again from what once began with it would come back without end.
    seen: set[str | None] = set()
    while model.config.init_from is not None:
        init_from = model.config.init_from
        why = "another model has that name now"
        try:
            earlier = load_base(model)
            if earlier is not None and earlier.step_digest in seen:
                earlier = None
            if earlier is not None and earlier.card:
                why = "the model came with charrnn, and its text did not"
            elif earlier is not None:
                texts.append(read_parts(earlier, reason=REASON))
                seen.add(earlier.step_digest)
                model = earlier
                continue
        # A caption may be given away: the error itself has paths of this machine.
        except DataError:
            why = "its text is gone or has changed"
        except CharRNNError:
            why = "its run is gone or damaged"
        name = os.path.basename(init_from)
        missing = f"what {name} learned before is not compared: {why}"
        warn(missing)
        return ReferenceText(texts, missing)
    return ReferenceText(texts)


def find_passages(
    text: str | bytes, corpus: SlicedText, *, min_length: int = MIN_COPY_LENGTH
) -> Int64Array:
    """Find all passages of `text` with at least `min_length` characters that also stand in
    `corpus`: start, length, first offset in the corpus and number of places of each (M, 4), as
    `text.copies.find_matches`.

    Raises UsageError for a `min_length` under 1, DataError for a text longer than `MAX_CHARS`.
    """
    check("min_length", min_length, allowed=at_least(1), remedy=f" Try {MIN_COPY_LENGTH}.")
    if len(text) > MAX_CHARS:
        raise DataError(
            f"The text has {len(text):,} characters; at most {MAX_CHARS:,} are compared. Give a"
            " part of it."
        )
    return find_matches(codes_of(text), corpus, length=min_length)


def _passages_of(
    matches: Int64Array, corpus: Corpus | CorpusPart, *, number: int = 0
) -> list[CopiedPassage]:
    """Return the passages of matches (M, 4) with the text of this number."""
    passages = []
    # The places are looked up together: the files are read again.
    found = zip(matches.tolist(), _places(corpus, matches[:, 2]), strict=True)
    for (start, length, offset, num_places), place in found:
        passage = CopiedPassage(
            start=start,
            length=length,
            number=number,
            offset=offset,
            place=place,
            num_more=num_places - 1,
        )
        passages.append(passage)
    return passages


def _places(corpus: Corpus | CorpusPart, offsets: Int64Array) -> list[Place | None]:
    """Return places with the names of their files alone: what is shown may be given away, and a
    whole path has the name of its user."""
    places: list[Place | None] = []
    for place in corpus.places(offsets):
        if place is not None:
            place = replace(place, file=os.path.basename(place.file))
        places.append(place)
    return places


def find_copies(
    text: str | bytes, *, reference_text: ReferenceText, min_length: int = MIN_COPY_LENGTH
) -> Provenance:
    """Find the passages of a text that stand in the texts learned.

    It is for a text in memory, such as a sample; `copies_in` and `repeats_in` are for a file, whose
    lines they name.

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

    reach = ""
    if missing := reference_text.missing:
        reach = f"{missing[:1].upper()}{missing[1:]}."
    return Provenance(
        text=text,
        min_length=min_length,
        passages=reference_text.passages(text, min_length=min_length),
        held_out_share=reference_text.held_out_share(min_length),
        reach=reach,
    )


def copies_in(corpus: Corpus, reference_text: ReferenceText) -> Provenance:
    """Find the passages of a file that stand in the texts learned, with both places of each: what a
    manuscript shares with a corpus.

    `find_copies` is for a text that no file has.
    """
    found = find_copies(corpus.content, reference_text=reference_text)
    return _placed(found, corpus)


def repeats_in(corpus: Corpus) -> Provenance:
    """Find the passages of a file that stand in it again, with both places of each: what an author
    has written twice.

    No model is needed for it.
    """
    matches = find_repeats(corpus.content, length=MIN_COPY_LENGTH)
    found = Provenance(
        text=corpus.content,
        min_length=MIN_COPY_LENGTH,
        passages=tuple(_passages_of(matches, corpus)),
        where=REST,
    )
    return _placed(found, corpus)


def _placed(found: Provenance, corpus: Corpus) -> Provenance:
    """Return the provenance of the text of a file with the places of its passages in it."""
    starts = np.array([passage.start for passage in found.passages], np.int64)
    places = _places(corpus, starts)
    passages = [
        replace(passage, at=place) for passage, place in zip(found.passages, places, strict=True)
    ]
    return replace(found, passages=tuple(passages))
