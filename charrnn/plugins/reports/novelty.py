"""Show every passage of a text that also occurs, character for character, in a corpus, and tell
documents that are new from those of a corpus.

Shapes: N characters of a text (bytes, for the byte alphabet).
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.style import Style
from rich.table import Table
from rich.text import Text

from charrnn.errors import DataError, UsageError, check_range, counted, named
from charrnn.generation.generated_text import MIN_COPY_LENGTH
from charrnn.plugins.reports.copies import learned_texts
from charrnn.system.display import Displayable
from charrnn.text.copies import (
    SLICE_CHARS,
    KnownHashes,
    SlicedText,
    codes_of,
    document_hashes,
    find_matches,
    hash_documents,
)
from charrnn.text.given_text import GivenText, whole_text
from charrnn.text.vocab import as_bytes
from charrnn.trained_model import TrainedModel
from charrnn.views.heatmap import draw, stretches_in_words
from charrnn.views.tables import Columns, records_table
from charrnn.views.theme import all_visible, is_in_words

MAX_CHARS = 1_000_000
"""The longest text that is compared, in characters."""

HELD_OUT_CHARS = 50_000
"""Characters of the validation text that are compared: enough for a stable share."""

MAX_NOTEBOOK_CHARS = 4_000
"""The longest text that a notebook shows with its copies marked: a notebook keeps its outputs."""

EXCERPT_WIDTH = 20
"""Columns of the excerpt from a copy."""

REASON = " What is copied shows only beside the text it learned from."
"""The end of a message: why the training text is needed."""
ABOUT_HELD_OUT = "held-out: the same share of validation text, which the model was not trained on"
"""The explanation of a column of `Novelty.table`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Copy:
    """A passage of a text that also occurs in the training text.

    Offsets and lengths are in characters, or in bytes if the text is bytes.
    """

    start: int
    """Offset in the text."""
    length: int
    source: int
    """Offset of the first occurrence in the training text."""
    source_line: int
    """Line of the first occurrence, from 1."""

    @property
    def stop(self) -> int:
        """Offset of the end in the text."""
        return self.start + self.length


@dataclass(frozen=True, kw_only=True, slots=True)
class Novelty(Displayable):
    """Passages of a text that are copied from the training text, in the order of the text.

    The copies are the longest passages of at least `min_length` characters; they may overlap, but
    no copy contains another. `held_out_share` is the share of held-out text that occurs in the
    training text although nobody copied it: see `Model.novelty`.
    """

    text: str | bytes = field(repr=False)
    """The text as the training text is stored: with LF line ends; bytes, for the byte alphabet."""
    min_length: int
    copies: tuple[Copy, ...]
    """The passages that are copied."""
    held_out_share: float | None = None

    @property
    def num_copied(self) -> int:
        """The number of characters that are part of a copy, each counted once."""
        return int(np.count_nonzero(_marks(self)))

    @property
    def share_copied(self) -> float:
        """The share of the characters that are part of a copy, from 0 to 1; 0 for an empty text."""
        return self.num_copied / max(1, len(self.text))

    @property
    def longest(self) -> Copy | None:
        """The longest copy, or the first of several that are equally long; None if nothing is
        copied."""
        return max(self.copies, key=lambda copy: copy.length, default=None)

    def to_json(self) -> dict[str, object]:
        """Return the figures and the copies as one object, without the text.

        Returns:
            A dictionary, which `json.dumps` takes.

        Example:
            >>> found = model.novelty("abc")
            >>> found.to_json()["num_chars"]
            3
        """
        return {
            "min_length": self.min_length,
            "num_chars": len(self.text),
            "num_copied": self.num_copied,
            "share_copied": self.share_copied,
            "held_out_share": self.held_out_share,
            "longest": None if self.longest is None else asdict(self.longest),
            "copies": [asdict(copy) for copy in self.copies],
        }

    def table(self) -> Table:
        """Build the table of the copied shares and of the longest copy.

        Returns:
            A table of rich, which `rich.print` prints.

        Example:
            >>> import rich
            >>> rich.print(model.novelty("abc").table())
        """
        # Without a copy the last columns stay empty.
        length = ""
        excerpt = Text()
        longest = self.longest
        if longest is not None:
            unit = "byte" if isinstance(self.text, bytes) else "character"
            length = counted(longest.length, unit)
            excerpt = _excerpt(self.text[longest.start : longest.stop])
        columns: Columns = {
            "copied": "{share_copied:.1%}",
            "held-out": "{held_out_share:.1%}",
            f"copies ≥ {self.min_length:,}": f"{len(self.copies):,}",
            "longest": length,
            "from line": "{longest.source_line:,}",
            "it begins": lambda novelty: excerpt,
        }
        return records_table(columns, [self], left=("it begins",), narrow=True)

    def view(self) -> Sequence[RenderableType]:
        """Return what a notebook shows: the table and the marked text.

        A text of more than 4,000 characters is left out.

        Returns:
            Renderables, which `rich.print` prints.

        Example:
            >>> import rich
            >>> rich.print(*model.novelty("abc").view())
        """
        pictures: list[RenderableType] = [self.table()]
        if len(self.text) <= MAX_NOTEBOOK_CHARS:
            pictures.append(CopiedText(self))
        return pictures

    def pages(self) -> Sequence[RenderableType]:
        """Return what the terminal shows: the marked text, the table, and its explanation.

        Returns:
            Renderables, which `rich.print` prints.

        Example:
            >>> import rich
            >>> rich.print(*model.novelty("abc").pages())
        """
        pictures: list[RenderableType] = [CopiedText(self), self.table()]
        if self.held_out_share is not None:
            pictures.append(Text(ABOUT_HELD_OUT, style="dim"))
        return pictures


def _excerpt(text: str | bytes) -> Text:
    """Return the beginning of a text on a line of at most `EXCERPT_WIDTH` columns; an ellipsis
    marks the cut."""
    head = text[: 4 * EXCERPT_WIDTH]  # A UTF-8 character has at most 4 bytes.
    if isinstance(head, bytes):
        head = head.decode("utf-8", "replace")
    line = Text(all_visible(head))
    line.truncate(EXCERPT_WIDTH, overflow="ellipsis")
    return line


@dataclass(frozen=True, slots=True)
class NoveltyReference:
    """The training text of a model and, for comparison, validation text, which is not copied.

    Both texts are str, or bytes for the byte alphabet. The training text may be part of a corpus
    that is read in blocks.
    """

    training: SlicedText = field(repr=False)
    held_out: str | bytes = field(repr=False)

    def compare(self, text: str | bytes, *, min_length: int = MIN_COPY_LENGTH) -> Novelty:
        """Find what a text copies from the training text, as `Model.novelty` does.

        Args:
            text: The text, at most 1,000,000 characters: a string, or bytes for the byte alphabet.
            min_length: The length of the shortest passage that counts as a copy, in characters, at
                least 1.

        Returns:
            A `Novelty`.

        Raises:
            UsageError: `min_length` is under 1.
            DataError: The text is too long.

        Example:
            >>> reference = model.novelty_reference()
            >>> reference.compare("zyx").num_copied
            0
        """
        # The text in the form in which the corpus is stored.
        if isinstance(self.training[:0], bytes):
            text = as_bytes(text)
        elif isinstance(text, str):
            text = text.replace("\r\n", "\n")

        novelty = find_copies(text, self.training, min_length=min_length)
        held_out = find_copies(self.held_out, self.training, min_length=min_length)
        return replace(novelty, held_out_share=held_out.share_copied)


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


def find_copies(
    text: str | bytes, corpus: SlicedText, *, min_length: int = MIN_COPY_LENGTH
) -> Novelty:
    """Find all passages of `text` with at least `min_length` characters that also occur in
    `corpus`.

    A copy is maximal: with one more character at either end it does not occur in the corpus. Copies
    of different passages of the corpus may overlap in the text, but no copy contains another. Each
    copy has the offset of its first occurrence in the corpus.

    The corpus is read once from start to end, and once more up to the last copy. Time is
    proportional to both lengths, and memory to that of the text. Of texts that repeat themselves
    very often, a copy may be shorter than it could be; the copied share is right
    (`text.copies.find_matches`). Raises UsageError for a `min_length` under 1, DataError
    for a text longer than `MAX_CHARS`, TypeError if one is str and the other bytes.
    """
    check_range("min_length", min_length, remedy=f" Try {MIN_COPY_LENGTH}.")
    if len(text) > MAX_CHARS:
        raise DataError(
            f"The text has {len(text):,} characters; at most {MAX_CHARS:,} are compared. Give a"
            " part of it."
        )
    if type(text) is not type(corpus[:0]):
        raise TypeError(f"cannot compare {type(text).__name__} with {type(corpus[:0]).__name__}")

    matches = find_matches(codes_of(text), corpus, length=min_length).tolist()
    lines = _count_lines({source for _, _, source in matches}, corpus)
    copies = [
        Copy(start=start, length=length, source=source, source_line=lines[source])
        for start, length, source in matches
    ]
    return Novelty(text=text, min_length=min_length, copies=tuple(copies))


def _count_lines(sources: Collection[int], corpus: SlicedText) -> dict[int, int]:
    """Return the number of the line, from 1, of each of these offsets in the corpus. The corpus is
    read once."""
    # From each offset to the next, in slices: the corpus need not be in memory.
    lines: dict[int, int] = {}
    previous = 0
    line = 1
    for source in sorted(sources):
        for begin in range(previous, source, SLICE_CHARS):
            text = corpus[begin : min(source, begin + SLICE_CHARS)]
            if isinstance(text, bytes):
                line += text.count(b"\n")
            else:
                # END is a line end, as in the detectors; raw bytes can contain NUL without being
                # documents.
                line += text.count("\n") + text.count("\0")

        previous = source
        lines[source] = line
    return lines


STYLES = (
    Style(),
    Style(color="rgb(255,255,255)", bgcolor="rgb(176,80,0)"),
    Style(color="rgb(255,255,255)", bgcolor="rgb(0,105,110)"),
)
"""The style of text that is not copied, and two styles of copies, which alternate so that adjacent
copies differ."""
LINES = " ━═"
"""The lines below the text that stand for `STYLES` without colour."""
ASCII_LINES = " -="
"""The lines for streams that carry ASCII only."""
MARKS_IN_WORDS = ("not copied", "copied", "another copy")
"""The words for `STYLES`."""


@dataclass(frozen=True)
class CopiedText:
    """A renderable that marks the copies in a text, folded at the width of the console.

    A character in several copies belongs to the first of them. Without colour the marks are lines
    below the text. Bytes are decoded as UTF-8; a character counts as copied if all of its bytes
    are copied.
    """

    novelty: Novelty

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = ASCII_LINES if options.ascii_only else LINES
        marked = _marked_characters(self.novelty)
        if is_in_words(console):
            yield from stretches_in_words((text, MARKS_IN_WORDS[mark]) for text, mark in marked)
            return

        yield from draw(
            marked,
            console=console,
            options=options,
            style_of=STYLES.__getitem__,
            mark_of=lines.__getitem__,
        )


def _marked_characters(novelty: Novelty) -> Iterator[tuple[str, int]]:
    marks = iter(_marks(novelty).tolist())
    if isinstance(novelty.text, str):
        yield from zip(novelty.text, marks, strict=True)
        return

    # surrogateescape: a byte that is not UTF-8 becomes one character, which is encoded as this
    # byte again.
    for character in novelty.text.decode("utf-8", "surrogateescape"):
        num_bytes = len(character.encode("utf-8", "surrogateescape"))
        yield character, min(islice(marks, num_bytes))


def _marks(novelty: Novelty) -> NDArray[np.uint8]:
    """Return 0 for each character (byte) that is not copied, else 1 or 2, which alternate from copy
    to copy."""
    # Copies may overlap: the characters that they have in common belong to the first copy.
    marks = np.zeros(len(novelty.text), np.uint8)
    reached = 0
    for number, copy in enumerate(novelty.copies):
        marks[max(reached, copy.start) : copy.stop] = 1 + number % 2
        reached = copy.stop
    return marks


def new_documents(model: TrainedModel, known: GivenText = ()) -> Callable[[str | bytes], bool]:
    """Return a function that says whether a document is new: it stands neither in the text of the
    model, held-out parts included, nor in that of a model that it started from, and is none of
    those that are `known`. The function is the argument `accept` of `Model.samples`.

    Raises DataError if the run's text or a file is missing or changed, UsageError for a model
    without documents.
    """
    if model.config.end_id is None:
        raise UsageError(
            f"{model.name} was not trained on documents: use {named('novelty')}, which finds copied"
            " passages."
        )
    known_text = whole_text(known, model.config)
    if model.vocab.kind == "byte":
        known_text = as_bytes(known_text)
    texts = chain.from_iterable(learned_texts(model, reason=REASON))
    return tell_new(*texts, known_text)


def novelty_reference(model: TrainedModel, *, length: int) -> NoveltyReference:
    """Read and verify the run's training text, so that `compare` can compare several texts with it.

    Raises DataError if the training text is missing or changed, UsageError if a sample of `length`
    characters is too long to be compared.
    """
    # The length is checked before a text is generated, so that the message comes at once.
    longest = MAX_CHARS
    unit = "characters"
    if model.vocab.kind == "byte":
        # A byte that is part of no character becomes U+FFFD in the sample, which has three bytes.
        longest = MAX_CHARS // 3
        unit = "bytes"
    if length > longest:
        raise UsageError(
            f"{named('length')} is {length:,}; {named('novelty')} compares {longest:,} {unit} at"
            " most. Shorten it."
        )

    model.check_learned_here()
    training, validation, *_ = model.read_parts(reason=REASON)
    return NoveltyReference(training, validation[:HELD_OUT_CHARS])
