"""Kinds of errors: what would have avoided each of a model's errors (Karpathy, Johnson & Li 2015,
section 4.4).

An error is a character to which the model gives a probability below 0.5. A sequence of oracles
removes errors, each from what the earlier ones leave; an error is attributed to the oracle that
removes it:

1. n-gram: one of the n-gram models of order 1 to 9 gives the character a probability above 0.5.
2. memory: the character belongs to a word, is not its first, and the whole word occurs as a
   substring in the 100, 500, 1000 or 5000 characters before it.
3. rare word: the character belongs to a word that occurs 0, 1, … 5 times in the training text.
4. word start: the character follows a space or a quotation mark, or a newline.
5. punctuation: the character is a punctuation mark.
6. boost: the probability plus 0.1, 0.2, … 0.5 is at least 0.5. The last one removes all that is
   left.

A word, in any script, is a maximal run of letters, combining marks, digits and underscores, with
single apostrophes inside it: `don't` and `num_lines` are words. Of a byte alphabet, all bytes above
127 are part of words. A text is a range of ids that is read in blocks, so its length needs no
memory.

Shapes: N characters of context and text, M scored characters, W words, R characters of a range, V
vocabulary.
"""

import math
import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import RenderableType
from rich.text import Text

from charrnn.api import Model
from charrnn.errors import UsageError, counted
from charrnn.evaluation.comparison import Comparison, Report
from charrnn.evaluation.losses import CharLosses, consecutive_ranges
from charrnn.reports.breakdown import class_name
from charrnn.system.display import Displayable
from charrnn.system.progress import task
from charrnn.text.batches import release_pages
from charrnn.text.documents import END
from charrnn.text.vocab import IdArray, Vocab, decode_each
from charrnn.views.tables import Bar, plain_table
from charrnn.views.theme import all_visible

NGRAM_ORDER = 9
"""The longest n-gram of the oracle: it has the models of order 1 to 9 to choose from."""
MEMORY_LENGTHS = (100, 500, 1000, 5000)
"""Characters that the memory of each oracle holds, ascending."""
RARE_COUNTS = (0, 1, 2, 3, 4, 5)
"""How often a rare word occurs in the training text, ascending."""
BOOSTS = (0.1, 0.2, 0.3, 0.4, 0.5)
"""What the last oracles add to the probability of the character, ascending; 0.5 avoids every error.
"""
KINDS = (
    "n-gram",
    *(f"memory-{length}" for length in MEMORY_LENGTHS),
    *(f"rare-word-{count}" for count in RARE_COUNTS),
    *("after-space", "after-newline", "punctuation"),
    *(f"boost-{boost}" for boost in BOOSTS),
)
"""The kinds of errors, in the order in which errors are attributed to them. `after-space` is after
a space or a quotation mark, `after-newline` after a line end and at the start of a document."""
TITLE = "Errors (a probability below 0.5), by the first oracle that removes them"
"""Stands above all tables."""
LEGEND = """An oracle is a rule that removes errors, to find out what would have avoided them:
n-gram: an n-gram model of order 1 to 9 gives the character more than 0.5
memory-N: inside a word that occurs in the last N characters
rare-word-N: in a word that occurs N times in the training text
after-space, after-newline, punctuation: where the error is
boost-P: the probability plus P is 0.5 or more
share: of the errors; nats/char: what they add to the mean loss"""
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
    """The loss of these errors, divided by the number of all scored characters: what they add to
    its mean."""


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


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorReport(Displayable):
    """The errors of one or several models over the same characters of a text."""

    num_chars: int
    """Characters that were scored."""
    text_length: int
    """Characters of the text: more than `num_chars` if only segments of it were scored."""
    models: tuple[ModelErrors, ...]
    protocol: str = "stateful"

    def view(self) -> Sequence[RenderableType]:
        """Return a table for each model, and what the kinds mean."""
        # The first character is never scored, which needs no note.
        pictures: list[RenderableType] = [Text(TITLE, style="bold")]
        if self.num_chars + 1 < self.text_length:
            share = 100 * self.num_chars / self.text_length
            pictures.append(
                Text(f"Scored: {share:.2g} % of the text, in segments spread evenly over it.")
            )

        for model in self.models:
            what = counted(model.num_errors, "error")
            where = counted(self.num_chars, "character")
            head = f"{all_visible(model.run)}: {what} in {where}"
            pictures.append(
                Text(f"\n{head} ({model.share:.1%}), {model.nats_per_char:.4f} nats/char")
            )
            pictures.append(_table_of(model))

        pictures.append(Text(LEGEND, style="dim"))
        return pictures


DECODED_CHARS = 1 << 20
"""Characters that are decoded at a time."""
WORD = "w"
"""The class of a part of a word."""
SPACE = "s"
"""The class of a space."""
NEWLINE = "n"
"""The class of line ends and the END of a document."""
QUOTE = "q"
"""The class of quotation marks and apostrophes."""
PUNCTUATION = "p"
"""The class of any other punctuation, and of symbols."""
OTHER = "o"
"""The class of control and format characters, and of those that Unicode does not define."""
CLASS_OF = {
    **dict.fromkeys(("newlines", "ends of documents"), NEWLINE),
    **dict.fromkeys(("punctuation", "symbols"), PUNCTUATION),
    "spaces": SPACE,
    "other characters": OTHER,
}
"""The classes of `breakdown` that are no parts of a word."""
QUOTES = "\"'„‚「」『』"
"""Quotation marks that Unicode does not classify as such (categories Pi and Pf)."""


def class_of(character: str) -> str:
    """Return the class of a character; "" stands for the unknown symbol, which is mostly a
    letter."""
    # Names of programs have underscores.
    if character in ("", "_"):
        return WORD
    if character in QUOTES or unicodedata.category(character) in ("Pi", "Pf"):
        return QUOTE
    return CLASS_OF.get(class_name(character), WORD)


def classes_of(vocab: Vocab) -> dict[str, str]:
    """Return the class of everything that `text.vocab.decode_each` decodes an id to."""
    if vocab.kind == "byte":
        # Bytes above 127 are parts of longer characters, most of which are letters.
        classes = {chr(byte): class_of(chr(byte)) for byte in range(128)}
        classes.update((chr(byte), WORD) for byte in range(128, 256))
        return classes
    return {character or "\ufffd": class_of(character) for character in vocab.characters}


def word_pattern(classes: Mapping[str, str]) -> re.Pattern[str]:
    """Return the regular expression of a word in a decoded text whose characters have these
    classes."""
    of_words = "".join(character for character, own in classes.items() if own == WORD)

    # Never empty: a class of characters without any is no regular expression.
    inside = re.escape(f"_{of_words}")
    return re.compile(f"[{inside}]+(?:['’][{inside}]+)*")


def count_words(ids: IdArray, vocab: Vocab, wanted: Mapping[str, int]) -> NDArray[np.int64]:
    """Count how often each wanted word occurs as a word in ids (N,): counts (W,), at the index
    `wanted[word]`.

    Memory is bounded by the wanted words. A block ends after a space or a newline; where there is
    none, a word is cut.
    """
    counts = np.zeros(len(wanted), np.int64)
    pattern = word_pattern(classes_of(vocab))
    rest = ""
    with task("counting words", total=len(ids)) as advance:
        for begin in range(0, len(ids), DECODED_CHARS):
            block = ids[begin : begin + DECODED_CHARS]
            text = rest + decode_each(vocab, block)

            # The word that the end of the block cuts is counted with the next block.
            end = 1 + max(text.rfind(" "), text.rfind("\n"))
            is_last = begin + len(block) == len(ids)
            if is_last or end == 0:
                end = len(text)

            for match in pattern.finditer(text, 0, end):
                index = wanted.get(match.group())
                if index is not None:
                    counts[index] += 1

            # The ids may be those of a mapped file, which would otherwise fill the memory.
            rest = text[end:]
            release_pages(ids)
            advance(len(block))
    return counts


ERROR_NATS = np.float32(math.log(2))
"""A greater loss is an error: a probability below 0.5. In float32 as the losses are, so that 0.5
itself is none."""
NO_ERROR = len(KINDS)
"""The kind of a character that is predicted."""
MAX_WORD = 256
"""Characters before and after a block that are read to complete its words. Longer words are cut."""
BLOCK_CHARS = 1 << 18
"""Scored characters that are attributed, and characters whose pairs are found, at a time."""

Kinds = NDArray[np.int8]
"""An index into `KINDS`, or NO_ERROR, for each character."""
_UNDECIDED = -1


def attribute_errors(
    ids: IdArray,
    vocab: Vocab,
    losses: Sequence[CharLosses],
    ngram_nats: NDArray[np.float32],
    training: IdArray,
) -> list[Kinds]:
    """Attribute the errors of one or several models; return for each the kinds (M,) of its
    characters.

    `losses` are those of the models at the same positions of `ids` (N,), `ngram_nats` (M,) those of
    the best n-gram model there, `training` the ids of the training text, which is read once. Raises
    ValueError for losses at different positions.
    """
    # Indices are common to all models from here on.
    positions = losses[0].positions
    for one in losses:
        if not np.array_equal(one.positions, positions) or len(ngram_nats) != len(positions):
            raise ValueError("the losses must be those of the same characters")

    # What is an error of any model is attributed once. The first oracle: n-grams.
    is_error = np.any([one.nats > ERROR_NATS for one in losses], axis=0)
    kinds = np.full(len(positions), NO_ERROR, np.int8)
    kinds[is_error] = _UNDECIDED
    kinds[is_error & (ngram_nats < ERROR_NATS)] = KINDS.index("n-gram")

    # The oracles that see the text, block by block.
    classes = classes_of(vocab)
    pattern = word_pattern(classes)
    words: dict[str, int] = {}
    rare = []
    with task("errors", total=len(positions)) as advance:
        for begin, end in consecutive_ranges(positions, BLOCK_CHARS):
            # With the text before it that the longest memory holds, and whole words at both ends.
            first = int(positions[begin])
            start = max(0, first - MAX_WORD - MEMORY_LENGTHS[-1])
            text = decode_each(vocab, ids[start : first + end - begin + MAX_WORD])
            spans = [match.span() for match in pattern.finditer(text)]

            found = _attribute_range(
                text,
                first - start,
                kinds=kinds[begin:end],
                classes=classes,
                spans=spans,
                words=words,
            )
            rare.append(RareErrors(found.errors + begin, found.words))
            release_pages(ids)
            advance(end - begin)

    # Rare words are counted in the training text, which is read once for all of them.
    errors = np.concatenate([one.errors for one in rare])
    counts = count_words(training, vocab=vocab, wanted=words)
    num_occurrences = counts[np.concatenate([one.words for one in rare])]
    for count in RARE_COUNTS:
        kinds[errors[num_occurrences == count]] = KINDS.index(f"rare-word-{count}")

    return [_with_boosts(kinds, one.nats) for one in losses]


class RareErrors(NamedTuple):
    """Errors that only the rarity of their word may explain."""

    errors: NDArray[np.int64]
    """Indices of the errors among the scored characters."""
    words: NDArray[np.int64]
    """The index of the word of each."""


def _attribute_range(
    text: str,
    first: int,
    *,
    kinds: Kinds,
    classes: Mapping[str, str],
    spans: Sequence[tuple[int, int]],
    words: dict[str, int],
) -> RareErrors:
    """Attribute the undecided errors of text[first : first + R] to all oracles but n-gram, rare
    word and boost.

    `spans` are begin and end of each word. Changes `kinds` (R,), and adds to `words` the words of
    the errors that are not attributed to a memory. Returns these errors, counted from `first`.
    """
    begins = [begin for begin, _ in spans]
    # Several errors may be in one word, which is looked for once.
    find_memory = cache(partial(_memory_kind, text))
    rare_errors = []
    rare_words = []
    for error in np.flatnonzero(kinds == _UNDECIDED).tolist():
        place = error + first

        # The last word that begins here or before: the character may be in it, or after it.
        begin = 0
        end = 0
        index = bisect_right(begins, place) - 1
        if index >= 0:
            begin, end = spans[index]

        # Inside a word an apostrophe is no quotation mark.
        is_inside = begin < place < end
        if not is_inside:
            kind = _kind_by_place(before=classes[text[place - 1]], own=classes[text[place]])
            if kind is not None:
                kinds[error] = kind

        # The first oracle in the order of `KINDS` that removes it overrides what was found above;
        # the words that no memory holds are counted later, all at once.
        kind_in_memory = None
        if is_inside:
            kind_in_memory = find_memory(begin, end)
        if kind_in_memory is not None:
            kinds[error] = kind_in_memory
        elif place < end:
            rare_errors.append(error)
            rare_words.append(words.setdefault(text[begin:end], len(words)))
    return RareErrors(np.array(rare_errors, np.int64), np.array(rare_words, np.int64))


def _kind_by_place(*, before: str, own: str) -> int | None:
    """Return the kind of an error outside a word or at its start, by the classes of the character
    before it and of its own; None if these do not explain it."""
    if before == NEWLINE:
        return KINDS.index("after-newline")
    if before in (SPACE, QUOTE):
        return KINDS.index("after-space")
    if own in (PUNCTUATION, QUOTE):
        return KINDS.index("punctuation")
    return None


def _memory_kind(text: str, begin: int, end: int) -> int | None:
    """Return the kind of the word text[begin:end] if it occurs before it, in the shortest
    memory."""
    # Documents are read by themselves: the memory begins with the document.
    earliest = max(0, begin - MEMORY_LENGTHS[-1])
    earliest = max(earliest, text.rfind(END, earliest, begin) + 1)

    # The last occurrence is the nearest one, which the shortest memory holds.
    place = text.rfind(text[begin:end], earliest, begin)
    if place < 0:
        return None
    index = bisect_left(MEMORY_LENGTHS, begin - place)
    return KINDS.index(f"memory-{MEMORY_LENGTHS[index]}")


def _with_boosts(kinds: Kinds, nats: NDArray[np.float32]) -> Kinds:
    """Return the kinds (M,) of the model with the losses `nats` (M,): boosts where no other oracle
    applies."""
    # An error of another model may be none of this one.
    kinds = np.where(nats > ERROR_NATS, kinds, NO_ERROR).astype(np.int8)
    left = np.flatnonzero(kinds == _UNDECIDED)

    # The first boost that is at least what is missing.
    missing = 0.5 - np.exp(-nats[left].astype(np.float64))
    kinds[left] = KINDS.index(f"boost-{BOOSTS[0]}") + np.searchsorted(BOOSTS, missing)
    return kinds


def summarize_errors(run: str, losses: CharLosses, kinds: Kinds) -> ModelErrors:
    """Count the errors of a model, whose characters have `kinds` (M,), and add up their losses."""
    counts = np.bincount(kinds, minlength=NO_ERROR + 1)
    nats = np.bincount(kinds, losses.nats.astype(np.float64), minlength=NO_ERROR + 1) / len(kinds)

    # Of errors that there are none of, the shares are 0.
    num_errors = int(counts[:NO_ERROR].sum())
    found = []
    for index, kind in enumerate(KINDS):
        one = ErrorKind(
            kind=kind,
            num_errors=int(counts[index]),
            share=int(counts[index]) / max(1, num_errors),
            nats=float(nats[index]),
        )
        found.append(one)
    return ModelErrors(
        run=run,
        num_errors=num_errors,
        share=num_errors / len(kinds),
        nats_per_char=losses.mean,
        kinds=tuple(found),
    )


def best_ngram_nats(
    probabilities_by_order: Iterable[tuple[int, NDArray[np.float64]]], num_positions: int
) -> NDArray[np.float32]:
    """Compute the least of the losses (M,) of all orders of n-grams, in nats, from the probability
    (M,) of each character by each order."""
    # One order at a time: all of them together are nine arrays of the length of the text.
    best = np.zeros(num_positions)
    for _, probabilities in probabilities_by_order:
        np.maximum(best, probabilities, out=best)
    return np.asarray(-np.log(best), np.float32)


def error_kinds(
    models: Sequence[Model], text: str | bytes | None = None, **options: Any
) -> ErrorReport:
    """Attribute the errors of one or several models to what would have avoided them.

    The text is that of `evaluate_runs`, the training text is that of the first run, which is read
    again. The options `part`, `context`, `precision` and `max_chars` are those of `evaluate_runs`,
    and so are the errors. Raises UsageError also for models with different alphabets, and DataError
    if the training text is missing or changed.

    >>> charrnn.error_kinds([model]).models[0].num_errors
    """
    # Both texts are read before anything is measured: one of them may be missing.
    comparison = Comparison.of(models, text, **options)
    part = comparison.training_text()
    training = part.ids[part.begin :]
    first, *others = comparison.runs
    for run in others:
        if run.vocab != first.vocab:
            raise UsageError(
                f"{first.name} and {run.name} have different alphabets, so their errors are not at"
                " the same characters: give runs that were trained on the same text."
            )

    # The losses of every model at the same characters.
    losses = [comparison.losses_of(run) for run in comparison.runs]

    # The first oracle needs n-grams of the training text, the others its words.
    positions = losses[0].positions
    ngrams = models[0].ngram_model(min(NGRAM_ORDER, len(training)), training=part)
    ngram_nats = best_ngram_nats(ngrams.by_order(first.text.ids, positions), len(positions))

    # The oracles are the same for all models, so each error is looked at once.
    names = [run.name for run in comparison.runs]
    kinds = attribute_errors(
        first.text.ids, vocab=first.vocab, losses=losses, ngram_nats=ngram_nats, training=training
    )
    return ErrorReport(
        num_chars=len(losses[0]),
        text_length=first.text.num_chars,
        models=tuple(map(summarize_errors, names, losses, kinds)),
    )


def _table_of(model: ModelErrors) -> RenderableType:
    """Build the table of a model: the kinds that it has, and their sum."""
    columns = ("errors", "share", "nats/char")
    table = plain_table("kind", *columns, "", right=columns, narrow=True)
    for one in model.kinds:
        if one.num_errors:
            table.add_row(
                one.kind,
                f"{one.num_errors:,}",
                f"{one.share:.1%}",
                f"{one.nats:.4f}",
                Bar(one.share),
            )

    # What all errors add to the loss: the rest is that of characters that were predicted.
    nats = sum(one.nats for one in model.kinds)
    table.add_row("all", f"{model.num_errors:,}", "", f"{nats:.4f}", "", style="bold")
    return table


ERRORS = Report(
    "errors",
    help="The characters with a probability below 0.5, by what would have avoided them.",
    measure=error_kinds,
)
"""`evaluate --errors`."""
