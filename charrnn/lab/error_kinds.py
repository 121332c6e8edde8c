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

Shapes: N characters of context and text, M scored characters, K characters that are an error of any model.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import UsageError
from charrnn.evaluation.char_losses import CharLosses, char_losses, consecutive_ranges
from charrnn.evaluation.loss_table import MeasuredRun
from charrnn.lab.error_kinds_records import (
    AFTER_NEWLINE,
    AFTER_SPACE,
    BOOSTS,
    KINDS,
    MEMORY_LENGTHS,
    NGRAM_ORDER,
    PUNCTUATION,
    RARE_COUNTS,
    ErrorKind,
    ErrorReport,
    ModelErrors,
)
from charrnn.lab.ngrams import NgramModel
from charrnn.lab.words import Block, CharClass, count_words, read_block
from charrnn.text.batches import release_pages
from charrnn.text.documents import END
from charrnn.text.vocab import IdArray, Vocab

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
    ids: IdArray,
    vocab: Vocab,
    losses: Sequence[CharLosses],
    ngram_nats: NDArray[np.float32],
    training: IdArray,
    on_progress: Callable[[int], object] = lambda num_chars: None,
) -> list[Kinds]:
    """Attribute the errors of one or several models; return for each the kinds (M,) of its characters.

    `losses` are those of the models at the same positions of `ids` (N,), `ngram_nats` (M,) those of the best n-gram
    model there, `training` the ids of the training text, which is read once. `on_progress` is called with the
    number of characters read since its last call, M and those of the training text in all. Raises ValueError for
    losses at different positions.
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
    for begin, end in _runs(positions):
        errors, word_of = _attribute_run(ids, vocab, int(positions[begin]), kinds[begin:end], words)
        in_words.append((errors + begin, word_of))
        release_pages(ids)
        on_progress(end - begin)
    errors, word_of = (np.concatenate(some) for some in zip(*in_words, strict=True))
    counts = count_words(training, vocab, words, on_progress)
    for count in RARE_COUNTS:
        kinds[errors[counts[word_of] == count]] = KINDS.index(f"rare-word-{count}")
    return [_with_boosts(kinds, one.nats) for one in losses]


def _runs(positions: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield ranges [begin, end) of indices whose positions (M,) are consecutive, at most BLOCK_CHARS at a time."""
    for first, last in consecutive_ranges(positions):
        for begin in range(first, last, BLOCK_CHARS):
            yield begin, min(begin + BLOCK_CHARS, last)


def _attribute_run(
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


def best_ngram_nats(
    model: NgramModel,
    ids: IdArray,
    positions: NDArray[np.int64],
    on_progress: Callable[[int], object] = lambda num_chars: None,
) -> NDArray[np.float32]:
    """Compute the least of the losses (M,) of all orders of n-grams at `positions` (M,) of a text, in nats.

    `on_progress` is called with the number of characters scored since its last call.
    """
    best = np.empty(len(positions), np.float32)
    for begin in range(0, len(positions), BLOCK_CHARS):
        some = slice(begin, begin + BLOCK_CHARS)
        best[some] = model.char_nats_by_order(ids, positions[some]).min(axis=0)
        on_progress(len(best[some]))
    return best


def report_errors(
    runs: Sequence[MeasuredRun],
    training: IdArray,
    *,
    precision: str = "auto",
    max_chars: int | None = None,
    on_progress: Callable[[int], object] = lambda num_chars: None,
) -> ErrorReport:
    """Measure the errors of runs over their common text, by kind; `training` are the ids of the training text.

    `on_progress` is called with the number of characters read by any of the models since its last call. Raises
    UsageError for runs with different alphabets.
    """
    check_same_alphabet(runs)
    first = runs[0]
    ids, vocab = first.text.ids, first.vocab
    losses = [
        char_losses(
            run.network, ids, first.text.first_scored, precision=precision, max_chars=max_chars, on_progress=on_progress
        )
        for run in runs
    ]
    ngrams = NgramModel.fit(training, len(vocab), min(NGRAM_ORDER, len(training)), on_progress=on_progress)
    ngram_nats = best_ngram_nats(ngrams, ids, losses[0].positions, on_progress)
    kinds = attribute_errors(ids, vocab, losses, ngram_nats, training, on_progress)
    return ErrorReport(
        num_chars=len(losses[0]),
        text_length=first.text.num_chars,
        models=tuple(
            summarize_errors(run.name, some, own, None if run is first else kinds[0])
            for run, some, own in zip(runs, losses, kinds, strict=True)
        ),
    )


def check_same_alphabet(runs: Sequence[MeasuredRun]) -> None:
    """Raise UsageError unless all runs read the same characters."""
    for run in runs[1:]:
        if run.vocab != runs[0].vocab:
            raise UsageError(
                f"{runs[0].name} and {run.name} have different alphabets, so their errors are not at the same "
                "characters: give runs that were trained on the same text."
            )
