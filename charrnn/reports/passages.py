"""The passages of a text that stand in another text, or again in the same one: their places, the
share of the text, and tables of both.

Shapes: N characters of a text (bytes, for the byte alphabet), M passages.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np
from rich.cells import cell_len, set_cell_size
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from charrnn.errors import counted
from charrnn.generation.generated_text import MIN_COPY_LENGTH
from charrnn.system.arrays import BoolArray, Int64Array
from charrnn.system.display import Displayable
from charrnn.text.copies import are_covered, find_repeats
from charrnn.text.corpus import Corpus
from charrnn.text.places import Place
from charrnn.text.vocab import as_bytes
from charrnn.views.tables import Cell, Columns, records_table
from charrnn.views.theme import all_visible

EXCERPT_WIDTH = 64
"""Columns of the excerpt from a passage."""
MAX_ROWS = 20
"""Passages in the table, the longest ones."""
TRAINING_TEXT = "the training text"
"""Where the passages of a text stand that copies."""
REST = "the rest of the text"
"""Where the passages of a text stand that repeats itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Passage:
    """A passage of a text that also stands in the training text, or again in the same text.

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
    at: Place | None = None
    """The place of the passage itself, if the text is that of a file."""

    @property
    def stop(self) -> int:
        """Offset of the end in the text."""
        return self.start + self.length


@dataclass(frozen=True, kw_only=True, slots=True)
class CopiedPassages(Displayable):
    """The passages of a text of N characters that stand in the training text, or again in the same
    text, in the order of the text.

    They are the longest ones of at least `min_length` characters; they may overlap, but no passage
    contains another. `held_out_share` is the share of held-out text that stands in the training
    text although nobody copied it: names, idioms and licences recur. A share near it is no sign of
    copying.
    """

    text: str | bytes = field(repr=False)
    """The text as the training text is stored: with LF line ends; bytes, for the byte alphabet."""
    min_length: int
    """The length of the shortest passage that counts."""
    passages: tuple[Passage, ...] = field(repr=False)
    """The passages that stand in the training text."""
    held_out_share: float | None = None
    """The share of held-out text that stands in the training text; None for a text that is compared
    with itself."""
    where: str = TRAINING_TEXT
    """Where the passages stand: `TRAINING_TEXT` or `REST`."""
    reach: str = ""
    """Which text was not compared, in a sentence; "" if all were."""

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
        """Return the figures and the passages, without the text.

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
        """Return the tables: the text of a file may be long."""
        return self.figures()

    def figures(self) -> Sequence[RenderableType]:
        """Return the tables, and how far the figures reach.

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
            about = f"Passages may overlap: each is the longest one from its place in {self.where}."
            if self.where == REST:
                about = "Passages may overlap: each is listed at its later place."
            pictures.append(Text(about, style="dim"))
        pictures.append(Text(f"{self._about()}. {self.reach}".rstrip(), style="dim"))
        return pictures

    def _about(self) -> str:
        """Return the explanation of the columns of `table`."""
        about = (
            f"copied: the share of the text in passages of {self.min_length} or more"
            f" {self.unit}s that stand in {self.where}, too, where a line end is no blank"
        )
        if self.held_out_share is not None:
            about += (
                "; held-out: the same share of validation text, which nobody copied, so that it"
                " shows what names and set phrases alone give"
            )
        if self.passages:
            about += "; longest: the length of the longest passage"
        return about

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

    def _columns(self) -> Columns:
        """Return the columns of `table`; a narrow terminal shows the first alone."""
        columns: dict[str, Cell] = {"copied": "{share_copied:.1%}"}
        if self.held_out_share is not None:
            columns["held-out"] = "{held_out_share:.1%}"
        columns["longest"] = "{longest.length:,}"
        return columns

    def table(self) -> Table:
        """Build the table of the shares of copied text.

        Returns:
            A table of rich with one row.

        Example:
            >>> model.provenance("What is it?").table().row_count
            1
        """
        return records_table(self._columns(), [self])

    def passages_table(self) -> Table:
        """Build the table of the longest passages, longest first, each with its places below it.

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
            "passage": lambda passage: _excerpt(self.text[passage.start : passage.stop]),
        }
        # 80 columns have no room for two names of files beside an excerpt.
        below: Columns = {"passage": _shown_places}
        return records_table(columns, longest, left=("passage",), below=below)


def repeats_in(corpus: Corpus) -> CopiedPassages:
    """Find the passages of a file that stand in it again, with both places of each."""
    text = corpus.content
    passages = passages_of(find_repeats(text, length=MIN_COPY_LENGTH), corpus.places)
    return CopiedPassages(
        text=text, min_length=MIN_COPY_LENGTH, passages=placed(passages, corpus), where=REST
    )


def passages_of(
    matches: Int64Array,
    places: Callable[[Int64Array], Sequence[Place | None]],
    *,
    number: int = 0,
) -> list[Passage]:
    """Return the passages of matches (M, 4) with the text of this number, whose `places` are found
    by their offsets."""
    # The places are looked up together: the files are read again.
    if not len(matches):
        return []
    passages = []
    found = zip(matches.tolist(), places(matches[:, 2]), strict=True)
    for (start, length, offset, num_places), place in found:
        passage = Passage(
            start=start,
            length=length,
            number=number,
            offset=offset,
            place=_without_folder(place),
            num_more=num_places - 1,
        )
        passages.append(passage)
    return passages


def placed(passages: Sequence[Passage], corpus: Corpus) -> tuple[Passage, ...]:
    """Return passages of the text of a file with their own places in it."""
    places = corpus.places(np.array([passage.start for passage in passages], np.int64))
    with_places = []
    for passage, place in zip(passages, places, strict=True):
        with_places.append(replace(passage, at=_without_folder(place)))
    return tuple(with_places)


def _without_folder(place: Place | None) -> Place | None:
    """Return a place with the name of its file alone: what is shown may be given away, and a whole
    path has the name of its user."""
    if place is None:
        return None
    return replace(place, file=os.path.basename(place.file))


def _shown_places(passage: Passage) -> Text:
    """Return the places of a passage, each on a line: the place in its own text, if that is a file,
    and the place in the other text."""
    places = ["in no file as a whole"]
    if passage.place is not None:
        places = [shown_place(passage.place)]
    if passage.at is not None:
        places.insert(0, f"here {shown_place(passage.at)}")
        places[1] = f"there {places[1]}"
    if passage.num_more:
        places.append(counted(passage.num_more, "more place"))
    return Text("\n".join(places))


def shown_place(place: Place) -> str:
    """Return the file, the line and the column of a place in words."""
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
