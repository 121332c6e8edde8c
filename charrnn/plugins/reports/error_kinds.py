"""Kinds of errors: sort the errors of a model by the knowledge that would have avoided them
(Karpathy, Johnson & Li 2015, section 4.4).

An error is a character to which the model gives a probability below 0.5. A sequence of oracles
removes the errors: each oracle removes some of the errors that the oracles before it left. An error
is attributed to the oracle that removes it:

1. n-gram: one of the n-gram models of order 1 to 9 gives the character a probability above 0.5.
2. memory: the character belongs to a word, is not its first, and the whole word occurs as a
   substring in the 100, 500, 1000 or 5000 characters before it.
3. rare word: the character belongs to a word that occurs 0, 1, … 5 times in the training text.
4. word start: the character follows a space or a quotation mark, or a newline.
5. punctuation: the character is a punctuation mark.
6. boost: the probability plus 0.1, 0.2, … 0.5 is at least 0.5. The last boost removes every
   remaining error.

A word, in any script, is a maximal run of letters, combining marks, digits and underscores, with
single apostrophes inside it: `don't` and `num_lines` are words. In a byte alphabet, all bytes above
127 are part of words. A text is a range of ids that is read in blocks, so that a long text needs no
more memory than a short one.

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
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import RenderableType
from rich.text import Text

from charrnn.errors import UsageError, counted
from charrnn.evaluation.comparison import Addition, Comparison
from charrnn.evaluation.loss_reports import MAX_SCORED
from charrnn.evaluation.losses import CharLosses, consecutive_ranges
from charrnn.ngrams.kneser_ney import fit_ngrams
from charrnn.plugins.reports.breakdown import class_name
from charrnn.system.arrays import Float32Array, Float64Array, Int64Array
from charrnn.system.display import Displayable
from charrnn.system.docstrings import described
from charrnn.system.progress import task
from charrnn.text.batches import release_pages
from charrnn.text.documents import END
from charrnn.text.given_text import GivenText
from charrnn.text.vocab import IdArray, Vocab, decode_each
from charrnn.trained_model import TrainedModel
from charrnn.views.tables import Bar, Columns, records_table
from charrnn.views.theme import all_visible

NGRAM_ORDER = 9
"""The highest order of the n-gram models among which the n-gram oracle chooses."""
MEMORY_LENGTHS = (100, 500, 1000, 5000)
"""Characters that the memory of each memory oracle holds, ascending."""
RARE_COUNTS = (0, 1, 2, 3, 4, 5)
"""How often a rare word occurs in the training text, ascending."""
BOOSTS = (0.1, 0.2, 0.3, 0.4, 0.5)
"""The amounts that the boost oracles add to the probability of the character, ascending; 0.5 avoids
every error."""
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
"""The line above all tables."""
LEGEND = """An oracle is a rule that removes errors, to find out what would have avoided them:
n-gram: an n-gram model of order 1 to 9 gives the character more than 0.5
memory-N: inside a word that occurs in the last N characters
rare-word-N: in a word that occurs N times in the training text
after-space, after-newline, punctuation: where the error is
boost-P: the probability plus P is 0.5 or more
share: of the errors; nats/char: what they add to the mean loss"""
"""The explanation of the kinds, below all tables."""


@described
@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorKind:
    """The errors of a model that are attributed to one oracle."""

    kind: str
    """One of `KINDS`."""
    num_errors: int
    """The number of the errors."""
    share: float
    """The share of these errors among all errors of the model; 0 if the model has no errors."""
    nats: float
    """The loss of these errors, divided by the number of all scored characters: their contribution
    to the mean loss."""


KIND_COLUMNS: Columns = {
    "kind": "{kind}",
    "errors": "{num_errors:,}",
    "share": "{share:.1%}",
    "nats/char": "{nats:.4f}",
    "": lambda kind: Bar(kind.share),
}
"""The columns of the table of a model."""


@described
@dataclass(frozen=True, kw_only=True, slots=True)
class ModelErrors:
    """The errors of a model: characters to which it gives a probability below 0.5."""

    run: str
    """The name of the run."""
    num_errors: int
    """The number of all errors."""
    share: float
    """The share of the errors among the scored characters."""
    nats_per_char: float
    """The mean loss of all scored characters."""
    kinds: tuple[ErrorKind, ...]
    """The errors of each of `KINDS`, in that order. Their numbers add up to `num_errors`."""


@described
@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorReport(Displayable):
    """The errors of one or several models over the same characters of a text."""

    num_chars: int
    """The number of characters that were scored."""
    text_length: int
    """The length of the text: more than `num_chars` if only segments of the text were scored."""
    models: tuple[ModelErrors, ...]
    """The errors of each model."""
    protocol: str = "stateful"
    """How the losses were measured, as in `LossReport`."""

    def view(self) -> Sequence[RenderableType]:
        """Return a table for each model, and the explanation of the kinds."""
        # The first character is never scored, which needs no note.
        pictures: list[RenderableType] = [Text(TITLE, style="bold")]
        if self.num_chars + 1 < self.text_length:
            share = 100 * self.num_chars / self.text_length
            pictures.append(
                Text(f"Scored: {share:.2g} % of the text, in segments spread evenly over it.")
            )

        for model in self.models:
            errors = counted(model.num_errors, "error")
            characters = counted(self.num_chars, "character")
            heading = f"{all_visible(model.run)}: {errors} in {characters}"
            pictures.append(
                Text(f"\n{heading} ({model.share:.1%}), {model.nats_per_char:.4f} nats/char")
            )
            pictures.append(_error_table(model))

        pictures.append(Text(LEGEND, style="dim"))
        return pictures


DECODED_CHARS = 1 << 20
"""Characters that are decoded at a time."""
WORD = "w"
"""The class of letters and other parts of a word."""
SPACE = "s"
"""The class of a space."""
NEWLINE = "n"
"""The class of line ends and the END of a document."""
QUOTE = "q"
"""The class of quotation marks and apostrophes."""
PUNCTUATION = "p"
"""The class of any other punctuation, and of symbols."""
OTHER = "o"
"""The class of control and format characters, and of characters that Unicode does not define."""
CLASS_OF = {
    **dict.fromkeys(("newlines", "ends of documents"), NEWLINE),
    **dict.fromkeys(("punctuation", "symbols"), PUNCTUATION),
    "spaces": SPACE,
    "other characters": OTHER,
}
"""The classes of `breakdown` that are no parts of a word."""
QUOTES = "\"'„‚「」『』"
"""Quotation marks outside Unicode's categories for quotation marks, Pi and Pf."""


def class_of(character: str) -> str:
    """Return the class of a character; "" stands for the unknown symbol, which counts as a
    letter."""
    # Names in source code contain underscores.
    if character in ("", "_"):
        return WORD
    if character in QUOTES or unicodedata.category(character) in ("Pi", "Pf"):
        return QUOTE
    return CLASS_OF.get(class_name(character), WORD)


def classes_of(vocab: Vocab) -> dict[str, str]:
    """Return the class of each character that `text.vocab.decode_each` can return."""
    if vocab.kind == "byte":
        # Bytes above 127 are parts of longer characters, and most of these are letters.
        classes = {chr(byte): class_of(chr(byte)) for byte in range(128)}
        classes.update((chr(byte), WORD) for byte in range(128, 256))
        return classes
    return {character or "\ufffd": class_of(character) for character in vocab.characters}


def word_pattern(classes: Mapping[str, str]) -> re.Pattern[str]:
    """Return the regular expression of a word in a decoded text; `classes` are the classes of its
    characters."""
    word_characters = "".join(character for character, name in classes.items() if name == WORD)

    # With the underscore the brackets are never empty, which would be no regular expression.
    inside = re.escape(f"_{word_characters}")
    return re.compile(f"[{inside}]+(?:['’][{inside}]+)*")


def count_words(ids: IdArray, vocab: Vocab, wanted: Mapping[str, int]) -> Int64Array:
    """Count how often each word in `wanted` occurs as a whole word in ids (N,).

    Returns counts (W,); the count of a word is at the index `wanted[word]`. Memory is bounded by
    the wanted words. A block ends after a space or a newline; a block without either cuts a word.
    """
    counts = np.zeros(len(wanted), np.int64)
    pattern = word_pattern(classes_of(vocab))
    cut_word = ""
    with task("counting words", total=len(ids)) as advance:
        for begin in range(0, len(ids), DECODED_CHARS):
            block = ids[begin : begin + DECODED_CHARS]
            text = cut_word + decode_each(vocab, block)

            # The word that the end of the block cuts is counted with the next block.
            end = 1 + max(text.rfind(" "), text.rfind("\n"))
            is_last = begin + len(block) == len(ids)
            if is_last or end == 0:
                end = len(text)

            for match in pattern.finditer(text, 0, end):
                index = wanted.get(match.group())
                if index is not None:
                    counts[index] += 1

            # The ids may be mapped from a file, whose pages would otherwise fill the memory.
            cut_word = text[end:]
            release_pages(ids)
            advance(len(block))
    return counts


ERROR_NATS = np.float32(math.log(2))
"""A character with a greater loss is an error: its probability is below 0.5. In float32 as the
losses are, so that a probability of exactly 0.5 is no error."""
NO_ERROR = len(KINDS)
"""The kind of a character that is no error."""
MAX_WORD = 256
"""Characters before and after a block that are read to complete its words. Longer words are cut."""
BLOCK_CHARS = 1 << 18
"""Scored characters that are attributed at a time."""

Kinds = NDArray[np.int8]
"""The kind of each character: an index into `KINDS`, or NO_ERROR."""
_UNDECIDED = -1


def attribute_errors(
    ids: IdArray,
    vocab: Vocab,
    losses: Sequence[CharLosses],
    ngram_nats: Float32Array,
    training: IdArray,
) -> list[Kinds]:
    """Attribute the errors of one or several models to oracles; return the kinds (M,) of the
    characters for each model.

    `losses` has the losses of every model at the same positions of `ids` (N,). `ngram_nats` (M,)
    are the losses of the best n-gram model at these positions. `training` has the ids of the
    training text, which is read once. Raises ValueError for losses at different positions.
    """
    # Indices are common to all models from here on.
    positions = losses[0].positions
    num_chars = len(positions)
    for model_losses in losses:
        if not np.array_equal(model_losses.positions, positions) or len(ngram_nats) != num_chars:
            raise ValueError("the losses must be those of the same characters")

    # An error that several models make is attributed once. The first oracle: n-grams.
    is_error = np.any([model_losses.nats > ERROR_NATS for model_losses in losses], axis=0)
    kinds = np.full(num_chars, NO_ERROR, np.int8)
    kinds[is_error] = _UNDECIDED
    kinds[is_error & (ngram_nats < ERROR_NATS)] = KINDS.index("n-gram")

    # The oracles that see the text, block by block.
    classes = classes_of(vocab)
    pattern = word_pattern(classes)
    words: dict[str, int] = {}
    rare = []
    with task("errors", total=num_chars) as advance:
        for begin, end in consecutive_ranges(positions, BLOCK_CHARS):
            # The block, with the text before it that the longest memory holds, and with whole
            # words at both ends.
            first = int(positions[begin])
            start = max(0, first - MAX_WORD - MEMORY_LENGTHS[-1])
            text = decode_each(vocab, ids[start : first + end - begin + MAX_WORD])
            spans = [match.span() for match in pattern.finditer(text)]

            rare_errors = _attribute_range(
                text,
                first - start,
                kinds=kinds[begin:end],
                classes=classes,
                spans=spans,
                words=words,
            )
            rare.append(RareErrors(rare_errors.errors + begin, rare_errors.words))
            release_pages(ids)
            advance(end - begin)

    # Rare words are counted in the training text, which is read once for all words.
    errors = np.concatenate([rare_errors.errors for rare_errors in rare])
    counts = count_words(training, vocab=vocab, wanted=words)
    num_occurrences = counts[np.concatenate([rare_errors.words for rare_errors in rare])]
    for count in RARE_COUNTS:
        kinds[errors[num_occurrences == count]] = KINDS.index(f"rare-word-{count}")

    return [_with_boosts(kinds, model_losses.nats) for model_losses in losses]


class RareErrors(NamedTuple):
    """Errors that only the rarity of their word may explain."""

    errors: Int64Array
    """The index of each error among the scored characters."""
    words: Int64Array
    """The index of the word that each error is in."""


def _attribute_range(
    text: str,
    first: int,
    *,
    kinds: Kinds,
    classes: Mapping[str, str],
    spans: Sequence[tuple[int, int]],
    words: dict[str, int],
) -> RareErrors:
    """Attribute the undecided errors of text[first : first + R] to the oracles that see the text:
    memory, word start and punctuation.

    `spans` are the begin and the end of each word. Changes `kinds` (R,), and adds to `words` the
    words of the errors that are not attributed to a memory. Returns these errors, counted from
    `first`.
    """
    begins = [begin for begin, _ in spans]
    # The memory is searched once for a word with several errors.
    find_memory = cache(partial(_memory_kind, text))
    rare_errors = []
    rare_words = []
    for error in np.flatnonzero(kinds == _UNDECIDED).tolist():
        position = error + first

        # The last word that begins here or before: the character may be in it, or after it.
        begin = 0
        end = 0
        index = bisect_right(begins, position) - 1
        if index >= 0:
            begin, end = spans[index]

        # Inside a word an apostrophe is no quotation mark.
        is_inside = begin < position < end
        if not is_inside:
            kind = _kind_at(
                class_before=classes[text[position - 1]], class_here=classes[text[position]]
            )
            if kind is not None:
                kinds[error] = kind

        # The memory is an earlier oracle than the kind above, which it overrides. The words that no
        # memory holds are counted later, all at once.
        kind_in_memory = None
        if is_inside:
            kind_in_memory = find_memory(begin, end)
        if kind_in_memory is not None:
            kinds[error] = kind_in_memory
        elif position < end:
            rare_errors.append(error)
            rare_words.append(words.setdefault(text[begin:end], len(words)))
    return RareErrors(np.array(rare_errors, np.int64), np.array(rare_words, np.int64))


def _kind_at(*, class_before: str, class_here: str) -> int | None:
    """Return the kind of an error outside a word or at the start of a word, by the class of the
    character before the error and the class of the character itself; None if neither explains the
    error."""
    if class_before == NEWLINE:
        return KINDS.index("after-newline")
    if class_before in (SPACE, QUOTE):
        return KINDS.index("after-space")
    if class_here in (PUNCTUATION, QUOTE):
        return KINDS.index("punctuation")
    return None


def _memory_kind(text: str, begin: int, end: int) -> int | None:
    """Return the kind of the shortest memory that holds an earlier occurrence of the word
    text[begin:end]; None if the longest memory holds none."""
    # Documents are read by themselves: the memory begins with the document.
    earliest = max(0, begin - MEMORY_LENGTHS[-1])
    earliest = max(earliest, text.rfind(END, earliest, begin) + 1)

    # The last occurrence is the nearest.
    occurrence = text.rfind(text[begin:end], earliest, begin)
    if occurrence < 0:
        return None
    index = bisect_left(MEMORY_LENGTHS, begin - occurrence)
    return KINDS.index(f"memory-{MEMORY_LENGTHS[index]}")


def _with_boosts(kinds: Kinds, nats: Float32Array) -> Kinds:
    """Return the kinds (M,) for the model with the losses `nats` (M,), with a boost for every error
    that is still undecided."""
    # An error of another model may be no error of this model.
    kinds = np.where(nats > ERROR_NATS, kinds, NO_ERROR).astype(np.int8)
    undecided = np.flatnonzero(kinds == _UNDECIDED)

    # The smallest boost that lifts the probability to 0.5.
    missing = 0.5 - np.exp(-nats[undecided].astype(np.float64))
    kinds[undecided] = KINDS.index(f"boost-{BOOSTS[0]}") + np.searchsorted(BOOSTS, missing)
    return kinds


def summarize_errors(run: str, losses: CharLosses, kinds: Kinds) -> ModelErrors:
    """Count the errors of a model by kind, and add up their losses. `kinds` (M,) are the kinds of
    its characters."""
    counts = np.bincount(kinds, minlength=NO_ERROR + 1)
    nats = np.bincount(kinds, losses.nats.astype(np.float64), minlength=NO_ERROR + 1) / len(kinds)

    # A model without errors has shares of 0.
    num_errors = int(counts[:NO_ERROR].sum())
    summaries = []
    for index, kind in enumerate(KINDS):
        error_kind = ErrorKind(
            kind=kind,
            num_errors=int(counts[index]),
            share=int(counts[index]) / max(1, num_errors),
            nats=float(nats[index]),
        )
        summaries.append(error_kind)
    return ModelErrors(
        run=run,
        num_errors=num_errors,
        share=num_errors / len(kinds),
        nats_per_char=losses.blocks.mean,
        kinds=tuple(summaries),
    )


def best_ngram_nats(
    probabilities_by_order: Iterable[tuple[int, Float64Array]], num_positions: int
) -> Float32Array:
    """Compute the loss (M,) of each character, in nats, by the n-gram model that predicts it best,
    from the probabilities (M,) of the n-gram models of all orders."""
    # One order at a time: all orders together are nine arrays of the length of the text.
    best = np.zeros(num_positions)
    for _, probabilities in probabilities_by_order:
        np.maximum(best, probabilities, out=best)
    return np.asarray(-np.log(best), np.float32)


def error_kinds(
    models: Sequence[TrainedModel],
    text: GivenText | None = None,
    *,
    part: str = "validation",
    context: str | bytes = "",
    precision: str = "auto",
    max_chars: int | None = MAX_SCORED,
) -> ErrorReport:
    """Attribute each error of one or several models to the oracle that would have avoided it.

    An error is a character with a probability below 0.5 (Karpathy, Johnson & Li 2015, section 4.4).
    The training text of the first run is read, too.

    Args:
        models: The models, all with the same alphabet.
        text: The text: a string, bytes, the `pathlib.Path` of a file, or a list of these. By
            default the held-out `part` of the text of the runs.
        part: The part of the text of the runs: `validation` or `test`.
        context: What the models read before the text. By default nothing.
        precision: `auto`, `fp32`, `bf16` or `fp16`. `auto` is `bf16` for a model of at least 128
            units that was trained in it, where the processor is fast in it, and else `fp32`.
        max_chars: The largest number of characters that are scored; of a longer text, in segments
            that are spread evenly over it. None: all.

    Returns:
        An `ErrorReport`: for each model the number of errors of each kind, and what they add to the
        mean loss, in nats per character.

    Raises:
        UsageError: There is no model, the held-out texts or the alphabets differ, or a parameter is
            out of range.
        DataError: The text is too short, the training text is missing or changed, or a file cannot
            be read.

    Example:
        >>> report = charrnn.error_kinds([model], text)
        >>> report.models[0].num_errors, report.num_chars
    """
    # Both texts are read before anything is measured: either may be missing.
    comparison = Comparison.of(
        models, text, part=part, context=context, precision=precision, max_chars=max_chars
    )
    training_text = comparison.training_text()
    training = training_text.ids[training_text.begin :]
    first, *others = comparison.runs
    for run in others:
        if run.vocab != first.vocab:
            raise UsageError(
                f"{first.name} and {run.name} have different alphabets, so their errors are not at"
                " the same characters: give runs that were trained on the same text."
            )

    losses = [run.losses for run in comparison.runs]

    # The first oracle needs n-grams of the training text.
    positions = losses[0].positions
    ngrams = fit_ngrams(training_text, min(NGRAM_ORDER, len(training)), end_id=first.network.end_id)
    ngram_nats = best_ngram_nats(ngrams.by_order(first.text.ids, positions), len(positions))

    names = [run.name for run in comparison.runs]
    kinds = attribute_errors(
        first.text.ids, vocab=first.vocab, losses=losses, ngram_nats=ngram_nats, training=training
    )
    return ErrorReport(
        num_chars=len(losses[0]),
        text_length=first.text.num_chars,
        models=tuple(map(summarize_errors, names, losses, kinds)),
    )


def _error_table(model: ModelErrors) -> RenderableType:
    """Build the table of a model: a row for each kind of which there is an error, and their sum."""
    kinds = [error_kind for error_kind in model.kinds if error_kind.num_errors]
    table = records_table(KIND_COLUMNS, kinds, left=("kind", ""), narrow=True)

    # All errors together. Characters that are no errors make up the rest of the loss.
    nats = sum(error_kind.nats for error_kind in kinds)
    table.add_row("all", f"{model.num_errors:,}", "", f"{nats:.4f}", "", style="bold")
    return table


ERRORS = Addition(
    name="errors",
    help="The characters with a probability below 0.5, by what would have avoided them.",
    report=error_kinds,
)
"""`evaluate --errors`."""
