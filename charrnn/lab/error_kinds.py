"""Kinds of errors: what would have avoided each of a model's errors (Karpathy, Johnson & Li 2015, section 4.4).

An error is a character to which the model gives a probability below 0.5. A sequence of oracles removes errors, each
from what the earlier ones leave; an error is attributed to the oracle that removes it:

1. n-gram: one of the n-gram models of order 1 to 9 gives the character a probability above 0.5.
2. memory: the character belongs to a word, is not its first, and the whole word occurs as a substring in the 100, 500,
   1000 or 5000 characters before it.
3. rare word: the character belongs to a word that occurs 0, 1, … 5 times in the training text.
4. word start: the character follows a space or a quotation mark, or a newline.
5. punctuation: the character is a punctuation mark.
6. boost: the probability plus 0.1, 0.2, … 0.5 is at least 0.5. The last one removes all that is left.

A word, in any script, is a maximal run of letters, combining marks, digits and underscores, with single apostrophes
inside it: `don't` and `num_lines` are words. A text is a range of ids that is read in blocks, so its length needs no
memory.

Shapes: N characters of context and text, M scored characters, W words, R characters of a range, V vocabulary.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Group, RenderableType
from rich.text import Text

from charrnn.display import Displayable
from charrnn.errors import UsageError, counted
from charrnn.evaluation import breakdown
from charrnn.evaluation.comparison import Comparison, Report
from charrnn.evaluation.losses import CharLosses, consecutive_ranges
from charrnn.extensions import PackageFunction
from charrnn.lab.ngrams import NgramModel
from charrnn.progress import task
from charrnn.text.batches import release_pages
from charrnn.text.documents import END
from charrnn.text.encoded import decode_each
from charrnn.text.vocab import IdArray, Vocab
from charrnn.views.charts import StackedBar
from charrnn.views.tables import Bar, plain_table
from charrnn.views.theme import all_visible

if TYPE_CHECKING:
    from charrnn.api import Model

NGRAM_ORDER = 9
"""The longest n-gram of the oracle: it has the models of order 1 to 9 to choose from."""
MEMORY_LENGTHS = (100, 500, 1000, 5000)
"""Characters that the memory of each oracle holds, ascending."""
RARE_COUNTS = (0, 1, 2, 3, 4, 5)
"""How often a rare word occurs in the training text, ascending."""
BOOSTS = (0.1, 0.2, 0.3, 0.4, 0.5)
"""What the last oracles add to the probability of the character, ascending; 0.5 avoids every error."""
AFTER_SPACE = "after-space"
"""The kind of errors after a space or a quotation mark."""
AFTER_NEWLINE = "after-newline"
"""The kind of errors after a line end, and at the start of a document."""
PUNCTUATION = "punctuation"
"""The kind of errors at a punctuation mark."""
KINDS = (
    "n-gram",
    *(f"memory-{length}" for length in MEMORY_LENGTHS),
    *(f"rare-word-{count}" for count in RARE_COUNTS),
    AFTER_SPACE,
    AFTER_NEWLINE,
    PUNCTUATION,
    *(f"boost-{boost}" for boost in BOOSTS),
)
"""The kinds of errors, in the order in which errors are attributed to them."""
GROUPS = ("n-gram", "memory", "rare word", "word start", "punctuation", "boost")
"""The oracles: each has one or more kinds of `KINDS`."""


def group_of(kind: str) -> str:
    """Return the oracle of a kind of errors, one of `GROUPS`."""
    if kind in (AFTER_SPACE, AFTER_NEWLINE):
        return "word start"
    if kind.startswith("rare-word"):
        return "rare word"
    return kind if kind in GROUPS else kind.partition("-")[0]


TITLE = "Errors (a probability below 0.5), by the first oracle that removes them"
"""Stands above the bars."""
LEGEND = """An oracle is a rule that removes errors, to find out what would have avoided them:
n-gram: an n-gram model of order 1 to 9 gives the character more than 0.5
memory-N: inside a word that occurs in the last N characters
rare-word-N: in a word that occurs N times in the training text
after-space, after-newline, punctuation: where the error is
boost-P: the probability plus P is 0.5 or more"""
"""What the kinds of the tables mean."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorKind:
    """The errors of a model that are attributed to one oracle."""

    kind: str
    """One of `KINDS`."""
    num_errors: int
    share: float
    """Of all errors of the model; 0 if it has none."""
    nats: float
    """The loss of these errors, divided by the number of all scored characters: what they add to its mean."""
    num_fixed: int | None = None
    """Errors of this kind that the first model has and this one has not; None for the first model."""
    num_new: int | None = None
    """Errors of this kind that this model has and the first one has not; None for the first model."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelErrors:
    """The errors of a model: characters to which it gives a probability below 0.5."""

    run: str
    num_errors: int
    share: float
    """Of the scored characters."""
    nats_per_char: float
    """The mean loss of all scored characters."""
    kinds: tuple[ErrorKind, ...]
    """One for each of `KINDS`, in that order. Their errors add up to `num_errors`."""

    def by_group(self) -> dict[str, int]:
        """Return the number of errors of each of `GROUPS`, in that order."""
        counts = dict.fromkeys(GROUPS, 0)
        for one in self.kinds:
            counts[group_of(one.kind)] += one.num_errors
        return counts


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorReport(Displayable):
    """The errors of one or several models over the same characters of a text."""

    num_chars: int
    """Characters that were scored."""
    text_length: int
    """Characters of the text: more than `num_chars` if only segments of it were scored."""
    models: tuple[ModelErrors, ...]
    """The first is the one that the others are compared with."""
    protocol: str = "stateful"

    def view(self) -> Sequence[RenderableType]:
        """Return a bar for each model, the table of the first, and the changes to the others."""
        pictures: list[RenderableType] = [Text(TITLE, style="bold")]
        for model in self.models:
            num_errors, num_chars = counted(model.num_errors, "error"), counted(self.num_chars, "character")
            head = f"{all_visible(model.run)}: {num_errors} in {num_chars}"
            pictures.append(Text(f"\n{head} ({model.share:.1%}), {model.nats_per_char:.4f} nats/char"))
            groups = model.by_group()
            pictures.append(StackedBar([(name, num / max(1, model.num_errors)) for name, num in groups.items()]))
        if self.num_chars + 1 < self.text_length:
            share = 100 * self.num_chars / self.text_length
            pictures.append(Text(f"Scored: {share:.2g} % of the text, in segments spread evenly over it."))
        first, *others = self.models
        pictures += [_table_of_one(first), Text(LEGEND, style="dim")]
        pictures += [_changes(first, other) for other in others]
        return pictures


DECODED_CHARS = 1 << 20
"""Characters that are decoded at a time."""
_APOSTROPHES = "'’"
_QUOTES = '"„‚「」『』'
"""Quotation marks that Unicode does not classify as such (categories Pi and Pf)."""


class CharClass(IntEnum):
    """What a character is."""

    OTHER = 0
    """A control or a format character, or one that Unicode does not define."""
    WORD = 1
    """Part of a word. The unknown symbol is one, because what is rare is mostly a letter."""
    SPACE = 2
    NEWLINE = 3
    """A line end, or the END of a document."""
    QUOTE = 4
    """A quotation mark of any kind; apostrophes, too, unless they are inside a word."""
    PUNCTUATION = 5
    """Any other punctuation, and symbols."""
    APOSTROPHE = 6
    """Before it is decided whether it is inside a word; never in a `Block`."""


Classes = NDArray[np.int8]


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Characters [begin, begin + N) of a text."""

    begin: int
    text: str = field(repr=False)
    """One character per id, as `text.encoded.decode_each` decodes them."""
    classes: Classes = field(repr=False)
    """(N,): a `CharClass` each; every byte of a character of several bytes has that of the character."""

    def word_bounds(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the begins and the ends (W,) of the words, as offsets in the block. Its ends cut words."""
        is_word = np.zeros(len(self.classes) + 2, np.int8)
        is_word[1:-1] = self.classes == CharClass.WORD
        changes = np.diff(is_word)
        return np.flatnonzero(changes == 1), np.flatnonzero(changes == -1)


_KIND_OF_CLASS = {
    **dict.fromkeys(("lower case", "upper case", "other letters", "combining marks", "digits"), CharClass.WORD),
    **dict.fromkeys(("unknown", "invalid bytes"), CharClass.WORD),
    **dict.fromkeys(("newlines", "ends of documents"), CharClass.NEWLINE),
    **dict.fromkeys(("punctuation", "symbols"), CharClass.PUNCTUATION),
    "spaces": CharClass.SPACE,
    "other characters": CharClass.OTHER,
}
"""What the characters of each class of `breakdown.CLASSES` are, if they are neither quotation marks nor apostrophes."""


def class_of(character: str) -> CharClass:
    """Return the class of a character; "" stands for the unknown symbol."""
    if character and character in _APOSTROPHES:
        return CharClass.APOSTROPHE
    if character == "_":
        return CharClass.WORD
    if character and (character in _QUOTES or unicodedata.category(character) in ("Pi", "Pf")):
        return CharClass.QUOTE
    return _KIND_OF_CLASS[breakdown.CLASSES[breakdown.class_of(character)]]


def read_block(ids: IdArray, vocab: Vocab, begin: int, end: int) -> Block:
    """Decode and classify characters [begin, end) of a text, clipped to it.

    Bytes are decoded as UTF-8. A byte that is part of no character counts as part of a word, as letters of older
    encodings are.
    """
    begin, end = max(0, begin), min(end, len(ids))
    some = ids[begin:end]
    if vocab.kind == "byte":
        return Block(begin, decode_each(vocab, some), _classes_of_bytes(some.astype(np.uint8).tobytes()))
    table = np.array([class_of(character) for character in vocab.characters], np.int8)
    return Block(begin, decode_each(vocab, some), _settled(table[some]))


def _classes_of_bytes(data: bytes) -> Classes:
    """Classify each byte (N,) as the character that it belongs to."""
    points, sizes = breakdown.decode_bytes(data)
    different, index = np.unique(points, return_inverse=True)
    found = np.array([class_of(chr(point)) for point in different], np.int8)[index]
    return np.repeat(_settled(found), sizes)


def _settled(found: Classes) -> Classes:
    """Replace APOSTROPHE (N,): by WORD between two characters of a word, else by QUOTE."""
    is_apostrophe = found == CharClass.APOSTROPHE
    if not is_apostrophe.any():
        return found
    is_word = found == CharClass.WORD
    is_inside = np.zeros(len(found), bool)
    is_inside[1:-1] = is_apostrophe[1:-1] & is_word[:-2] & is_word[2:]
    return np.where(is_inside, CharClass.WORD, np.where(is_apostrophe, CharClass.QUOTE, found)).astype(np.int8)


def count_words(ids: IdArray, vocab: Vocab, wanted: Mapping[str, int]) -> NDArray[np.int64]:
    """Count how often each wanted word occurs as a word in ids (N,): counts (W,), at the index `wanted[word]`.

    Memory is bounded by the wanted words.
    """
    counts = np.zeros(len(wanted), np.int64)
    with task("counting words", len(ids)) as advance:
        for block in _blocks_of_whole_words(ids, vocab):
            text = block.text
            found = [
                wanted[word]
                for begin, end in zip(*(bounds.tolist() for bounds in block.word_bounds()), strict=True)
                if (word := text[begin:end]) in wanted
            ]
            counts += np.bincount(np.array(found, np.int64), minlength=len(wanted))
            release_pages(ids)
            advance(len(text))
    return counts


def _blocks_of_whole_words(ids: IdArray, vocab: Vocab) -> Iterator[Block]:
    """Yield all characters of a text in blocks that cut no word, unless it is as long as half a block."""
    begin = 0
    while begin < len(ids):
        block = read_block(ids, vocab, begin, begin + DECODED_CHARS)
        size = len(block.text)
        if begin + size < len(ids):
            # The class of an apostrophe depends on what follows it, so a block ends after a space or a newline.
            tail = block.classes[size // 2 :]
            cuts = np.flatnonzero((tail == CharClass.SPACE) | (tail == CharClass.NEWLINE))
            if len(cuts):
                size = size // 2 + int(cuts[-1]) + 1
                block = Block(begin, block.text[:size], block.classes[:size])
        yield block
        begin += size


ERROR_NATS = np.float32(math.log(2))
"""A greater loss is an error: a probability below 0.5. In float32 as the losses are, so that 0.5 itself is none."""
NO_ERROR = len(KINDS)
"""The kind of a character that is predicted."""
MAX_WORD = 256
"""Characters before and after a block that are read to complete its words. Longer words are cut."""
BLOCK_CHARS = 1 << 18
"""Scored characters that are attributed at a time."""

Kinds = NDArray[np.int8]
"""An index into `KINDS`, or NO_ERROR, for each character."""
_UNDECIDED = -1


def attribute_errors(
    ids: IdArray, vocab: Vocab, losses: Sequence[CharLosses], ngram_nats: NDArray[np.float32], training: IdArray
) -> list[Kinds]:
    """Attribute the errors of one or several models; return for each the kinds (M,) of its characters.

    `losses` are those of the models at the same positions of `ids` (N,), `ngram_nats` (M,) those of the best n-gram
    model there, `training` the ids of the training text, which is read once. Raises ValueError for losses at different
    positions.
    """
    positions = losses[0].positions
    if any(not np.array_equal(one.positions, positions) for one in losses) or len(ngram_nats) != len(positions):
        raise ValueError("the losses must be those of the same characters")
    is_error = np.zeros(len(positions), bool)
    for one in losses:
        is_error |= one.nats > ERROR_NATS
    kinds = np.full(len(positions), NO_ERROR, np.int8)
    kinds[is_error] = _UNDECIDED
    kinds[is_error & (ngram_nats < ERROR_NATS)] = KINDS.index("n-gram")
    words: dict[str, int] = {}
    in_words = []  # pairs (indices of errors, indices of their words), of errors that only a rare word may explain
    with task("errors", len(positions)) as advance:
        for begin, end in consecutive_ranges(positions, BLOCK_CHARS):
            errors, word_of = _attribute_range(ids, vocab, int(positions[begin]), kinds[begin:end], words)
            in_words.append((errors + begin, word_of))
            release_pages(ids)
            advance(end - begin)
    errors, word_of = (np.concatenate(some) for some in zip(*in_words, strict=True))
    counts = count_words(training, vocab, words)
    for count in RARE_COUNTS:
        kinds[errors[counts[word_of] == count]] = KINDS.index(f"rare-word-{count}")
    return [_with_boosts(kinds, one.nats) for one in losses]


def _attribute_range(
    ids: IdArray, vocab: Vocab, first: int, kinds: Kinds, words: dict[str, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Attribute the undecided errors of ids[first : first + R] to all oracles but n-gram, rare word and boost.

    Changes `kinds` (R,), and adds to `words` the words of the errors that are not attributed to a memory. Returns the
    indices of these errors, from `first` on, and those of their words.
    """
    block = read_block(ids, vocab, first - MAX_WORD - MEMORY_LENGTHS[-1], first + len(kinds) + MAX_WORD)
    errors = np.flatnonzero(kinds == _UNDECIDED)
    here = errors + (first - block.begin)
    begins, ends = block.word_bounds()
    # The word at or before each error: none if it ends before the error.
    number = np.searchsorted(begins, here, side="right") - 1
    is_in_word = (number >= 0) & (ends[number] > here) if len(ends) else np.zeros(len(here), bool)
    is_inner = is_in_word & (begins[number] < here) if len(ends) else is_in_word
    before = block.classes[here - 1]
    choices = (
        (before == CharClass.NEWLINE, AFTER_NEWLINE),
        (np.isin(before, (CharClass.SPACE, CharClass.QUOTE)), AFTER_SPACE),
        (np.isin(block.classes[here], (CharClass.PUNCTUATION, CharClass.QUOTE)), PUNCTUATION),
    )
    for applies, kind in reversed(choices):
        kinds[errors[applies]] = KINDS.index(kind)
    memory_kinds = _memory_kinds(block, begins, ends, np.unique(number[is_inner]))
    rare_errors, rare_words = [], []
    for error, word, inner in zip(
        errors[is_in_word].tolist(), number[is_in_word].tolist(), is_inner[is_in_word].tolist(), strict=True
    ):
        kind = memory_kinds.get(word) if inner else None
        if kind is not None:
            kinds[error] = kind
        else:
            rare_errors.append(error)
            rare_words.append(words.setdefault(block.text[begins[word] : ends[word]], len(words)))
    return np.array(rare_errors, np.int64), np.array(rare_words, np.int64)


def _memory_kinds(
    block: Block, begins: NDArray[np.int64], ends: NDArray[np.int64], numbers: NDArray[np.int64]
) -> dict[int, int]:
    """Return the kind of each of the words with these numbers that occurs before it, in the shortest memory."""
    found = {}
    for number in numbers.tolist():
        begin, end = int(begins[number]), int(ends[number])
        earliest = max(0, begin - MEMORY_LENGTHS[-1])
        # Documents are read by themselves: the memory begins with the document.
        earliest = max(earliest, block.text.rfind(END, earliest, begin) + 1)
        place = block.text.rfind(block.text[begin:end], earliest, begin)
        if place >= 0:
            length = next(length for length in MEMORY_LENGTHS if begin - place <= length)
            found[number] = KINDS.index(f"memory-{length}")
    return found


def _with_boosts(kinds: Kinds, nats: NDArray[np.float32]) -> Kinds:
    """Return the kinds (M,) of the model with the losses `nats` (M,): boosts where no other oracle applies."""
    kinds = np.where(nats > ERROR_NATS, kinds, NO_ERROR).astype(np.int8)
    left = np.flatnonzero(kinds == _UNDECIDED)
    probabilities = np.exp(-nats[left].astype(np.float64))
    missing = np.searchsorted(BOOSTS, 0.5 - probabilities)  # the first boost that is at least what is missing
    kinds[left] = KINDS.index(f"boost-{BOOSTS[0]}") + missing
    return kinds


def summarize_errors(run: str, losses: CharLosses, kinds: Kinds, reference: Kinds | None = None) -> ModelErrors:
    """Count the errors of a model by kind, and what it fixes of a reference model with the kinds `reference` (M,)."""
    num_kinds = len(KINDS)
    is_error = kinds != NO_ERROR
    counts = np.bincount(kinds[is_error], minlength=num_kinds)
    sums = np.bincount(kinds[is_error], losses.nats[is_error].astype(np.float64), minlength=num_kinds)
    num_errors = int(is_error.sum())
    fixed, new = None, None
    if reference is not None:
        was_error = reference != NO_ERROR
        fixed = np.bincount(reference[was_error & ~is_error], minlength=num_kinds)
        new = np.bincount(kinds[is_error & ~was_error], minlength=num_kinds)
    return ModelErrors(
        run=run,
        num_errors=num_errors,
        share=num_errors / len(kinds),
        nats_per_char=losses.mean,
        kinds=tuple(
            ErrorKind(
                kind=kind,
                num_errors=int(counts[index]),
                share=int(counts[index]) / max(1, num_errors),
                nats=float(sums[index]) / len(kinds),
                num_fixed=None if fixed is None else int(fixed[index]),
                num_new=None if new is None else int(new[index]),
            )
            for index, kind in enumerate(KINDS)
        ),
    )


def best_ngram_nats(model: NgramModel, ids: IdArray, positions: NDArray[np.int64]) -> NDArray[np.float32]:
    """Compute the least of the losses (M,) of all orders of n-grams at `positions` (M,) of a text, in nats."""
    best = np.empty(len(positions), np.float32)
    for begin in range(0, len(positions), BLOCK_CHARS):
        some = slice(begin, begin + BLOCK_CHARS)
        best[some] = model.char_nats_by_order(ids, positions[some]).min(axis=0)
    return best


def compare_with_training(
    models: Sequence[Model], text: str | bytes | None, **options: Any
) -> tuple[Comparison, IdArray]:
    """Read a text for models with one alphabet; return it with the ids of the training text of the first model.

    The options `part`, `context`, `precision` and `max_chars` are those of `evaluate_runs`, and so are the errors.
    Raises UsageError also for models with different alphabets, and DataError if the training text is missing or
    changed.
    """
    comparison = Comparison.of(models, text, **options)
    training = comparison.training_text()
    first, *others = comparison.runs
    for run in others:
        if run.vocab != first.vocab:
            raise UsageError(
                f"{first.name} and {run.name} have different alphabets, so their errors are not at the same "
                "characters: give runs that were trained on the same text."
            )
    return comparison, training.ids[training.begin :]


def error_kinds(models: Sequence[Model], text: str | bytes | None = None, **options: Any) -> ErrorReport:
    """Attribute the errors of one or several models to what would have avoided them, and count what the others fix.

    The text is that of `evaluate_runs`, the training text is that of the first run, which is read again. Options and
    errors are those of `compare_with_training`.
    """
    comparison, training = compare_with_training(models, text, **options)
    first = comparison.runs[0]
    losses = [comparison.losses_of(run) for run in comparison.runs]
    ngrams = NgramModel.fit(training, len(first.vocab), min(NGRAM_ORDER, len(training)))
    ngram_nats = best_ngram_nats(ngrams, first.text.ids, losses[0].positions)
    kinds = attribute_errors(first.text.ids, first.vocab, losses, ngram_nats, training)
    return ErrorReport(
        num_chars=len(losses[0]),
        text_length=first.text.num_chars,
        models=tuple(
            summarize_errors(run.name, some, own, None if run is first else kinds[0])
            for run, some, own in zip(comparison.runs, losses, kinds, strict=True)
        ),
    )


def _table_of_one(model: ModelErrors) -> RenderableType:
    table = plain_table("kind", "errors", "share", "nats/char", "", right=("errors", "share", "nats/char"))
    table.padding = (0, 1, 0, 0)
    for one in (kind for kind in model.kinds if kind.num_errors):
        numbers = f"{one.num_errors:,}", f"{one.share:.1%}", f"{one.nats:.4f}"
        table.add_row(one.kind, *numbers, Bar(one.share))
    total = sum(one.nats for one in model.kinds)
    table.add_row("all", f"{model.num_errors:,}", "", f"{total:.4f}", "", style="bold")
    name = all_visible(model.run)
    return Group(Text(f"\n{name}: share of its errors, and what they add to its mean loss in nats/char"), table)


def _changes(first: ModelErrors, other: ModelErrors) -> RenderableType:
    """Build the table of the errors of the first model that another one has not, and the reverse.

    The last column divides what is fixed, less what is new, by the difference of the two models.
    """
    columns = ("errors", "fixed", "new", "errors now", "share")
    table = plain_table("kind", *columns, right=columns)
    table.padding = (0, 1, 0, 0)
    difference = first.num_errors - other.num_errors
    for before, after in zip(first.kinds, other.kinds, strict=True):
        if before.num_errors == after.num_errors == 0:
            continue
        fixed, new = after.num_fixed or 0, after.num_new or 0
        share = f"{(fixed - new) / difference:.1%}".replace("-0.0%", "0.0%") if difference else ""
        table.add_row(before.kind, *_counts(before.num_errors, fixed, new, after.num_errors), share)
    sums = [
        sum(values) for values in zip(*((one.num_fixed or 0, one.num_new or 0) for one in other.kinds), strict=True)
    ]
    table.add_row("all", *_counts(first.num_errors, *sums, other.num_errors), "", style="bold")
    names = f"{all_visible(other.run)} in place of {all_visible(first.run)}"
    change = "fewer errors" if difference >= 0 else "more errors"
    return Group(Text(f"{names}: {abs(difference):,} {change}; share: of this difference"), table)


def _counts(*numbers: int) -> Sequence[str]:
    return [f"{number:,}" for number in numbers]


EXTENSIONS = (
    PackageFunction(name="error_kinds", function=error_kinds),
    Report(
        name="errors",
        help="In place of the loss: the characters with a probability below 0.5, by what would have avoided them.",
        measure=error_kinds,
    ),
)
"""`charrnn.error_kinds` and `evaluate --errors`."""
