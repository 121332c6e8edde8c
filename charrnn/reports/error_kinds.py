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

The second measurement: how well predictors close what was opened, by its distance: a measure of how
far back they reach in a text. It is the probability of a closing bracket or quotation mark, after
Karpathy, Johnson & Li (2015), section 4.3, who compare an LSTM with n-grams by the closing brace of
C.

Shapes: N characters of context and text, M scored characters, W words, R characters of a range, V
vocabulary, P pairs.
"""

import math
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import RenderableType
from rich.text import Text

from charrnn.api import Model
from charrnn.errors import UsageError, counted
from charrnn.evaluation.comparison import Comparison, Report
from charrnn.evaluation.losses import CharLosses, consecutive_ranges
from charrnn.hooks.extensions import PackageFunction, offers
from charrnn.reports import breakdown
from charrnn.reports.ngram_models import NgramModel
from charrnn.statistics.intervals import MAX_BLOCKS, BlockSums, Estimate
from charrnn.system.display import Displayable
from charrnn.system.progress import task
from charrnn.text.batches import release_pages
from charrnn.text.documents import END
from charrnn.text.vocab import IdArray, Vocab, decode_each
from charrnn.views.tables import Bar, ends_text, plain_table
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
        pictures: list[RenderableType] = [Text(TITLE, style="bold")]
        if self.num_chars + 1 < self.text_length:
            share = 100 * self.num_chars / self.text_length
            pictures.append(
                Text(f"Scored: {share:.2g} % of the text, in segments spread evenly over it.")
            )
        for model in self.models:
            num_errors, num_chars = (
                counted(model.num_errors, "error"),
                counted(self.num_chars, "character"),
            )
            head = f"{all_visible(model.run)}: {num_errors} in {num_chars}"
            pictures += [
                Text(f"\n{head} ({model.share:.1%}), {model.nats_per_char:.4f} nats/char"),
                _table_of(model),
            ]
        return [*pictures, Text(LEGEND, style="dim")]


DECODED_CHARS = 1 << 20
"""Characters that are decoded at a time."""
WORD, SPACE, NEWLINE, QUOTE, PUNCTUATION, OTHER = "wsnqpo"
"""Classes of characters: part of a word; a space; a line end or the END of a document; a quotation
mark or apostrophe; any other punctuation and symbols; a control or format character, or one that
Unicode does not define."""
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
    character = character or "a"
    if character in QUOTES or unicodedata.category(character) in ("Pi", "Pf"):
        return QUOTE
    return WORD if character == "_" else CLASS_OF.get(breakdown.class_name(character), WORD)


def classes_of(vocab: Vocab) -> dict[str, str]:
    """Return the class of everything that `text.vocab.decode_each` decodes an id to."""
    if vocab.kind == "byte":
        return {chr(byte): class_of(chr(byte)) if byte < 128 else WORD for byte in range(256)}
    return {character or "\ufffd": class_of(character) for character in vocab.characters}


def word_pattern(classes: Mapping[str, str]) -> re.Pattern[str]:
    """Return the regular expression of a word in a decoded text whose characters have these
    classes."""
    inside = re.escape(
        "_" + "".join(character for character, own in classes.items() if own == WORD)
    )
    return re.compile(f"[{inside}]+(?:['’][{inside}]+)*")


def count_words(ids: IdArray, vocab: Vocab, wanted: Mapping[str, int]) -> NDArray[np.int64]:
    """Count how often each wanted word occurs as a word in ids (N,): counts (W,), at the index
    `wanted[word]`.

    Memory is bounded by the wanted words. A block ends after a space or a newline; where there is
    none, a word is cut.
    """
    counts, pattern, rest = [0] * len(wanted), word_pattern(classes_of(vocab)), ""
    with task("counting words", len(ids)) as advance:
        for begin in range(0, len(ids), DECODED_CHARS):
            block = ids[begin : begin + DECODED_CHARS]
            text = rest + decode_each(vocab, block)
            is_last = begin + len(block) == len(ids)
            after_space = 1 + max(text.rfind(" "), text.rfind("\n"))
            end = after_space if after_space and not is_last else len(text)
            for match in pattern.finditer(text, 0, end):
                if (index := wanted.get(match.group())) is not None:
                    counts[index] += 1
            rest = text[end:]
            release_pages(ids)
            advance(len(block))
    return np.array(counts, np.int64)


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
    positions = losses[0].positions
    if any(not np.array_equal(one.positions, positions) for one in losses) or len(
        ngram_nats
    ) != len(positions):
        raise ValueError("the losses must be those of the same characters")
    is_error = np.any([one.nats > ERROR_NATS for one in losses], axis=0)
    kinds = np.full(len(positions), NO_ERROR, np.int8)
    kinds[is_error] = _UNDECIDED
    kinds[is_error & (ngram_nats < ERROR_NATS)] = KINDS.index("n-gram")
    words: dict[str, int] = {}
    classes = classes_of(vocab)
    pattern = word_pattern(classes)
    in_words = []  # pairs (indices of errors, indices of their words), of errors that only a rare word may explain  # noqa: E501
    with task("errors", len(positions)) as advance:
        for begin, end in consecutive_ranges(positions, BLOCK_CHARS):
            first = int(positions[begin])
            start = max(0, first - MAX_WORD - MEMORY_LENGTHS[-1])
            text = decode_each(vocab, ids[start : first + end - begin + MAX_WORD])
            found = [match.span() for match in pattern.finditer(text)]
            errors, word_of = _attribute_range(
                text, first - start, kinds[begin:end], classes, found, words
            )
            in_words.append((errors + begin, word_of))
            release_pages(ids)
            advance(end - begin)
    errors, word_of = (np.concatenate(some) for some in zip(*in_words, strict=True))
    counts = count_words(training, vocab, words)
    for count in RARE_COUNTS:
        kinds[errors[counts[word_of] == count]] = KINDS.index(f"rare-word-{count}")
    return [_with_boosts(kinds, one.nats) for one in losses]


def _attribute_range(
    text: str,
    first: int,
    kinds: Kinds,
    classes: Mapping[str, str],
    found: Sequence[tuple[int, int]],
    words: dict[str, int],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Attribute the undecided errors of text[first : first + R] to all oracles but n-gram, rare
    word and boost.

    `found` are begin and end of each word. Changes `kinds` (R,), and adds to `words` the words of
    the errors that are not attributed to a memory. Returns the indices of these errors, from
    `first` on, and those of their words.
    """
    begins = [begin for begin, _ in found]
    find_memory = cache(partial(_memory_kind, text))
    rare_errors, rare_words = [], []
    for error in np.flatnonzero(kinds == _UNDECIDED).tolist():
        place = error + first
        begin, end = found[index] if (index := bisect_right(begins, place) - 1) >= 0 else (0, 0)
        if (
            place >= end or place == begin
        ):  # not inside a word, where an apostrophe is no quotation mark
            before = classes[text[place - 1]]
            if before == NEWLINE:
                kinds[error] = KINDS.index("after-newline")
            elif before in (SPACE, QUOTE):
                kinds[error] = KINDS.index("after-space")
            elif classes[text[place]] in (PUNCTUATION, QUOTE):
                kinds[error] = KINDS.index("punctuation")
        if begin < place < end and (kind_in_memory := find_memory(begin, end)) is not None:
            kinds[error] = kind_in_memory
        elif place < end:
            rare_errors.append(error)
            rare_words.append(words.setdefault(text[begin:end], len(words)))
    return np.array(rare_errors, np.int64), np.array(rare_words, np.int64)


def _memory_kind(text: str, begin: int, end: int) -> int | None:
    """Return the kind of the word text[begin:end] if it occurs before it, in the shortest
    memory."""
    # Documents are read by themselves: the memory begins with the document.
    earliest = max(0, begin - MEMORY_LENGTHS[-1])
    earliest = max(earliest, text.rfind(END, earliest, begin) + 1)
    place = text.rfind(text[begin:end], earliest, begin)
    if place < 0:
        return None
    return KINDS.index(
        f"memory-{next(length for length in MEMORY_LENGTHS if begin - place <= length)}"
    )


def _with_boosts(kinds: Kinds, nats: NDArray[np.float32]) -> Kinds:
    """Return the kinds (M,) of the model with the losses `nats` (M,): boosts where no other oracle
    applies."""
    kinds = np.where(nats > ERROR_NATS, kinds, NO_ERROR).astype(np.int8)
    left = np.flatnonzero(kinds == _UNDECIDED)
    probabilities = np.exp(-nats[left].astype(np.float64))
    missing = np.searchsorted(
        BOOSTS, 0.5 - probabilities
    )  # the first boost that is at least what is missing
    kinds[left] = KINDS.index(f"boost-{BOOSTS[0]}") + missing
    return kinds


def summarize_errors(run: str, losses: CharLosses, kinds: Kinds) -> ModelErrors:
    """Count the errors of a model, whose characters have `kinds` (M,), and add up their losses."""
    nums = np.bincount(kinds, minlength=NO_ERROR + 1)[:NO_ERROR].tolist()
    nats = np.bincount(kinds, losses.nats.astype(np.float64), minlength=NO_ERROR + 1) / len(kinds)
    num_errors = sum(nums)
    return ModelErrors(
        run=run,
        num_errors=num_errors,
        share=num_errors / len(kinds),
        nats_per_char=losses.mean,
        kinds=tuple(
            ErrorKind(kind=kind, num_errors=num, share=num / max(1, num_errors), nats=of_kind)
            for kind, num, of_kind in zip(KINDS, nums, nats[:NO_ERROR].tolist(), strict=True)
        ),
    )


def best_ngram_nats(
    model: NgramModel, ids: IdArray, positions: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Compute the least of the losses (M,) of all orders of n-grams at `positions` (M,) of a text,
    in nats."""
    best = np.zeros(len(positions))
    for _, probabilities in model.by_order(ids, positions):
        np.maximum(best, probabilities, out=best)
    return np.asarray(-np.log(best), np.float32)


def compare_with_training(
    models: Sequence[Model], text: str | bytes | None, **options: Any
) -> tuple[Comparison, IdArray]:
    """Read a text for models with one alphabet; return it with the ids of the training text of the
    first model.

    The options `part`, `context`, `precision` and `max_chars` are those of `evaluate_runs`, and so
    are the errors. Raises UsageError also for models with different alphabets, and DataError if the
    training text is missing or changed.
    """
    comparison = Comparison.of(models, text, **options)
    training = comparison.training_text()
    first, *others = comparison.runs
    for run in others:
        if run.vocab != first.vocab:
            raise UsageError(
                f"{first.name} and {run.name} have different alphabets, so their errors are not at"
                " the same characters: give runs that were trained on the same text."
            )
    return comparison, training.ids[training.begin :]


def error_kinds(
    models: Sequence[Model], text: str | bytes | None = None, **options: Any
) -> ErrorReport:
    """Attribute the errors of one or several models to what would have avoided them.

    The text is that of `evaluate_runs`, the training text is that of the first run, which is read
    again. Options and errors are those of `compare_with_training`.
    """
    comparison, training = compare_with_training(models, text, **options)
    first = comparison.runs[0]
    losses = [comparison.losses_of(run) for run in comparison.runs]
    ngrams = NgramModel.fit(training, len(first.vocab), min(NGRAM_ORDER, len(training)))
    ngram_nats = best_ngram_nats(ngrams, first.text.ids, losses[0].positions)
    names = [run.name for run in comparison.runs]
    kinds = attribute_errors(first.text.ids, first.vocab, losses, ngram_nats, training)
    return ErrorReport(
        num_chars=len(losses[0]),
        text_length=first.text.num_chars,
        models=tuple(map(summarize_errors, names, losses, kinds)),
    )


def _table_of(model: ModelErrors) -> RenderableType:
    table = plain_table(
        "kind",
        "errors",
        "share",
        "nats/char",
        "",
        right=("errors", "share", "nats/char"),
        narrow=True,
    )
    for one in model.kinds:
        if one.num_errors:
            table.add_row(
                one.kind,
                f"{one.num_errors:,}",
                f"{one.share:.1%}",
                f"{one.nats:.4f}",
                Bar(one.share),
            )
    table.add_row(
        "all",
        f"{model.num_errors:,}",
        "",
        f"{sum(one.nats for one in model.kinds):.4f}",
        "",
        style="bold",
    )
    return table


CLOSING_ORDERS = (5, 10, 20)
"""Orders of the n-grams that closing characters are compared with. Karpathy, Johnson & Li (2015)
take 20."""
DISTANCES = (1, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
"""The shortest distance of each bin; the last one ends with `MAX_DISTANCE`."""
MAX_DISTANCE = 4096
"""Pairs further apart than this, in characters, are left out: most of them are no pairs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClosingBin:
    """Pairs of an opening and a closing character that are from `low` to `high` characters
    apart."""

    low: int
    high: int
    num_pairs: int
    probabilities: tuple[Estimate, ...]
    """The mean probability of the closing character, one for each predictor."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClosingReport:
    """How well one closing character is predicted, by its distance to the character that it
    closes."""

    closing: str
    num_pairs: int
    probabilities: tuple[Estimate, ...]
    """Over all pairs, one for each predictor."""
    bins: tuple[ClosingBin, ...]
    """Only those with at least one pair, by distance."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LongRangeReport(Displayable):
    """How well one or several models and n-grams close what was opened in a text."""

    predictors: tuple[str, ...]
    """What the probabilities of closing characters are those of: the runs, then `N-gram` for each
    order."""
    closings: tuple[ClosingReport, ...]
    """The most frequent closing character first; empty if nothing is closed in the scored text."""
    num_chars: int
    """Characters that were scored."""
    text_length: int
    """Characters of the text."""

    def view(self) -> Sequence[RenderableType]:
        """Return a table for each closing character."""
        if not self.closings:
            return [Text("The scored text has no pair of brackets or quotation marks.")]
        shown = [one for one in self.closings if one.num_pairs >= MIN_PAIRS] or self.closings[:1]
        return [_table_of_closing(closing, self) for closing in shown]


OPENERS = dict(zip(")]}）】」』》“»«", "([{（【「『《„«»", strict=True)) | {'"': '"', "”": "“„"}
"""What each closing character may close. One that closes nothing opens, if it is an opening
character too."""
PARAGRAPH_QUOTES = '"“„«»'
"""Opening characters that a blank line closes: each paragraph of a long quotation may begin with
one of its own."""
_OPENING = frozenset("".join(OPENERS.values()))
_SURELY_OPENS = re.compile(r'\s"\S')
_TOKENS = re.compile(f"[{re.escape(''.join({*OPENERS, *_OPENING}))}{END}]|\n[ \t\r]*\n")


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """P pairs of an opening and a closing character, by the place of the closing one."""

    closings: str
    """The P closing characters."""
    opened: NDArray[np.int64] = field(repr=False)
    """(P,): indices of the opening characters."""
    closed: NDArray[np.int64] = field(repr=False)
    """(P,): indices of the closing characters, ascending."""

    @property
    def distances(self) -> NDArray[np.int64]:
        """(P,): characters from the opening one to the closing one: 1 if nothing is between
        them."""
        return self.closed - self.opened


def find_pairs(ids: IdArray, vocab: Vocab, positions: NDArray[np.int64]) -> Pairs:
    """Find the pairs at most MAX_DISTANCE characters apart whose closing characters are at
    `positions` (M,), ascending.

    A closing character closes the nearest opening one that is still open; those without a partner
    are ignored. `"` opens and closes in turn. Quotations end at blank lines, and everything at the
    end of a document. Of a text in bytes, only ASCII characters are found: the others are several
    bytes each.
    """
    closings: list[str] = []
    found: list[tuple[int, int]] = []
    for first_index, last_index in consecutive_ranges(positions, BLOCK_CHARS):
        first, last = int(positions[first_index]), int(positions[last_index - 1]) + 1
        begin = max(0, first - MAX_DISTANCE)
        text = decode_each(vocab, ids[begin:last])
        if vocab.kind == "byte":
            text = text.translate(_WITHOUT_BYTES)
        for opened, closed in _pairs_of(text, may_be_inside=begin > 0):
            if begin + closed >= first and closed - opened <= MAX_DISTANCE:
                closings.append(text[closed])
                found.append((begin + opened, begin + closed))
        release_pages(ids)
    pairs = np.array(found, np.int64).reshape(-1, 2)
    return Pairs("".join(closings), pairs[:, 0], pairs[:, 1])


_WITHOUT_BYTES = dict.fromkeys(range(0x80, 0x100), "\ufffd")
"""Replaces what stands for a byte of a longer character, which may look like a quotation mark: `«`
is byte 0xab."""


def _pairs_of(text: str, *, may_be_inside: bool) -> Iterator[tuple[int, int]]:
    """Yield the offsets of each pair, by the closing one. `may_be_inside`: the text may begin
    inside a quotation."""
    still_open: dict[str, list[int]] = {character: [] for character in _OPENING}
    # A `"` after a cut may open or close. Those before the next blank line are ignored, unless one
    # surely opens.
    for match in _TOKENS.finditer(text):
        token, offset = match.group(), match.start()
        if token == END or token.startswith("\n"):
            may_be_inside = False
            for character in _OPENING if token == END else PARAGRAPH_QUOTES:
                still_open[character].clear()
            continue
        if token == '"' and may_be_inside:
            if not _SURELY_OPENS.match(text, max(0, offset - 1)):
                continue
            may_be_inside = False
        candidates = [character for character in OPENERS.get(token, "") if still_open[character]]
        if candidates:
            yield (
                still_open[max(candidates, key=lambda character: still_open[character][-1])].pop(),
                offset,
            )
        elif token in _OPENING:
            still_open[token].append(offset)


def report_closings(
    pairs: Pairs, probabilities: Sequence[NDArray[Any]]
) -> tuple[ClosingReport, ...]:
    """Average the probabilities (P,) that each predictor gives to the closing characters, by
    character and distance."""
    characters = np.array(list(pairs.closings))
    bin_of = np.searchsorted(DISTANCES, pairs.distances, side="right") - 1

    def means(chosen: NDArray[np.bool_]) -> dict[str, Any]:
        estimates = (estimate_mean(values[chosen]) for values in probabilities)
        return {"num_pairs": int(chosen.sum()), "probabilities": tuple(estimates)}

    def bins(chosen: NDArray[np.bool_]) -> Iterator[ClosingBin]:
        for number, (low, above) in enumerate(pairwise((*DISTANCES, MAX_DISTANCE + 1))):
            some = chosen & (bin_of == number)
            if some.any():
                yield ClosingBin(low=low, high=above - 1, **means(some))

    ordered = sorted(set(pairs.closings), key=lambda one: (-pairs.closings.count(one), one))
    chosen = ((closing, characters == closing) for closing in ordered)
    return tuple(
        ClosingReport(closing=closing, bins=tuple(bins(some)), **means(some))
        for closing, some in chosen
    )


def estimate_mean(values: NDArray[Any]) -> Estimate:
    """Compute the mean of values (P,) in the order of the text; its interval takes neighbours
    together."""
    blocks = BlockSums.of(values, min(MAX_BLOCKS, len(values)))
    low, high = blocks.interval() or (None, None)
    return Estimate(mean=blocks.mean, low=low, high=high)


def long_range(
    models: Sequence[Model], text: str | bytes | None = None, **options: Any
) -> LongRangeReport:
    """Measure how far back predictions reach by the probability of closing brackets and quotation
    marks.

    It is averaged by the distance to the opening one and compared with n-grams of the training text
    of the first run, which are counted only where something is closed in the scored text. Options
    and errors are those of `compare_with_training`.
    """
    comparison, training = compare_with_training(models, text, **options)
    first, ids = comparison.runs[0], comparison.runs[0].text.ids
    losses = [comparison.losses_of(run) for run in comparison.runs]
    positions = losses[0].positions
    pairs = find_pairs(ids, first.vocab, positions)
    probabilities = [
        np.exp(-some.nats[np.searchsorted(positions, pairs.closed)].astype(np.float64))
        for some in losses
    ]
    orders = [order for order in CLOSING_ORDERS if order <= len(training)]
    if len(pairs.closed) and orders:
        ngrams = NgramModel.fit(training, len(first.vocab), orders[-1])
        probabilities += list(ngrams.char_probabilities(ids, pairs.closed, orders))
    return LongRangeReport(
        predictors=(*(run.name for run in comparison.runs), *(f"{order}-gram" for order in orders)),
        closings=report_closings(pairs, probabilities),
        num_chars=len(positions),
        text_length=first.text.num_chars,
    )


MIN_PAIRS = 20
"""A closing character with fewer pairs has no table of its own."""


def _table_of_closing(closing: ClosingReport, report: LongRangeReport) -> RenderableType:
    """Build a table of the mean probabilities by distance, those of the runs with their
    intervals."""
    num_runs = sum(not name.endswith("-gram") for name in report.predictors)
    headers = [f"closing {closing.closing}", "pairs"]
    for number, name in enumerate(report.predictors):
        headers += [name, "95 %"][: 2 if number < num_runs else 1]
    table = plain_table(*headers, right=headers[1:], narrow=True)
    rows: list[ClosingBin | ClosingReport] = [*closing.bins, closing]
    for some in rows:
        cells = []
        for number, one in enumerate(some.probabilities):
            cells += [f"{one.mean:.3f}", ends_text(one.low, one.high, ".2f")][
                : 2 if number < num_runs else 1
            ]
        name = f"{some.low}–{some.high}" if isinstance(some, ClosingBin) else "all"
        table.add_row(name, f"{some.num_pairs:,}", *cells, style="bold" if name == "all" else None)
    return table


EXTENSIONS = (
    *offers(PackageFunction, error_kinds, long_range),
    Report(
        "errors",
        "In place of the loss: the characters with a probability below 0.5, by what would have"
        " avoided them.",
        error_kinds,
    ),
    Report(
        "long_range",
        "In place of the loss: how well brackets and quotes are closed, by distance.",
        long_range,
    ),
)
"""`charrnn.error_kinds` and `evaluate --errors`, `charrnn.long_range` and `evaluate --long-range`.
"""
