"""What a cell does over a text: its mean, its histogram, passages with its extreme values, and a
passage in which it follows a label.

Shapes: N characters, S passages, c cells.
"""

import re
from collections.abc import Iterator, Sequence

import numpy as np

from charrnn.cells.records import NUM_BINS, CellIndex, CellPage, CellPassage
from charrnn.detectors.detector import Labels
from charrnn.statistics.agreement import measure_score
from charrnn.system.arrays import Float32Array, Float64Array, Int64Array

NUM_EXTREMES = 3
"""Number of top passages, and of bottom passages."""
NUM_DECILES = 10
"""Tenths of the values; each gives a passage."""
CHARS_BEFORE = 100
"""Characters of a passage before the character that it was chosen for, at most."""
CHARS_AFTER = 50
"""Characters of a passage from that character on, at most."""
LARGEST_SNAP = 12
"""Characters by which a passage is shortened at each end so that it begins and ends between words.
"""
_SENTENCE_END = re.compile(r"[.!?]+[\"'”’»)\]}]*(?=\s)|\n[ \t\r]*\n|\0|[;{}][ \t]*(?=\r?\n)")
"""The end of a sentence, with its closing marks; a blank line; the end of a document; the end of a
line of code."""
MAX_SENTENCE = 1_000
"""Characters after which a sentence ends in any case, as in a text without punctuation."""
NUM_LINES = 8
"""Lines of a passage."""
MAX_LENGTH = 900
"""Characters of a passage, at most."""
MAX_COUNT = 80
"""Counts are clipped to this before their variance is computed, so that one long line does not
decide."""
NUM_CHANGES = 6
"""Changes of a label that are enough: three spans. More do not add to the contrast of a passage."""
NUM_CANDIDATES = 9
"""Number of passages, at most, of which the typical passage is selected."""
MIN_CONTRAST = 0.5
"""A passage has at least this share of the largest contrast."""
_LINE = re.compile(f"[^\n\0]{{0,{MAX_LENGTH - 1}}}[\n\0]|[^\n\0]{{{MAX_LENGTH}}}")
"""A line with its end, or a stretch of a longer line."""


def measure_values(text: str, cells: Sequence[CellIndex], values: Float32Array) -> list[CellPage]:
    """Describe the values (c, N) of cells over a text: pages without scores.

    `Study.pages` adds the scores.
    """
    sentences = number_sentences(text)
    # A cell that is often saturated has many equal values: the first of them is drawn from the
    # whole text, not from its beginning.
    drawn = np.random.default_rng(0).permutation(len(text))

    pages = []
    for (layer, unit), of_cell in zip(cells, values, strict=True):
        # Rounded to half precision, in which values that differ by rounding alone are equal.
        rounded = of_cell.astype(np.float16).astype(np.float32)
        # np.histogram, which allows bins of any width, takes longer. 1 belongs to the last bin.
        bins = ((rounded + 1) * (NUM_BINS / 2)).astype(np.int64).clip(max=NUM_BINS - 1)
        histogram = np.bincount(bins, minlength=NUM_BINS)
        passages = extreme_passages(rounded, text=text, sentences=sentences, drawn=drawn)
        pages.append(
            CellPage(
                layer=layer,
                unit=unit,
                num_chars=len(rounded),
                mean=float(rounded.mean(dtype=np.float64)),
                spread=float(rounded.std(dtype=np.float64)),
                histogram=tuple(histogram.tolist()),
                passages=tuple(passages),
            )
        )
    return pages


def extreme_passages(
    values: Float32Array, text: str, sentences: Int64Array, drawn: Int64Array
) -> Iterator[CellPassage]:
    """Yield the top, the bottom and the decile passages of a cell's values (N,), as
    `CellPage.passages` has them.

    `sentences` (N,) has the number of each character's sentence. `drawn` (N,) is a permutation of
    all indices: of equal values, the first in it is taken first. A passage that cannot be chosen is
    left out.
    """
    # A stable sort, so that equal values stay in the drawn order.
    order = drawn[np.argsort(values[drawn], kind="stable")]

    is_free = np.ones(len(values), np.bool_)
    for kind, rank, candidates in _candidates(order):
        free = candidates[is_free[candidates]]
        if len(free) == 0:
            continue

        # The next passage must not overlap this one, nor be of its sentence.
        index = int(free[0])
        first, last = np.searchsorted(sentences, [sentences[index], sentences[index] + 1])
        is_free[first:last] = False
        reach = CHARS_BEFORE + CHARS_AFTER
        is_free[max(0, index - reach + 1) : index + reach] = False

        # Lines are counted without a copy of the text before. A document begins on a new line.
        begin, end = _between_words(text, index)
        yield CellPassage(
            kind=kind,
            rank=rank,
            value=float(values[index]),
            index=index,
            begin=begin,
            line=1 + text.count("\n", 0, index) + text.count("\0", 0, index),
            text=text[begin:end],
            values=tuple(round(value, 4) for value in values[begin:end].tolist()),
        )


def _candidates(order: Int64Array) -> Iterator[tuple[str, int, Int64Array]]:
    """Yield kind and rank of each passage, and the indices (n,) for which it may be chosen, best
    first; `order` (N,) sorts the values."""
    for rank in range(1, NUM_EXTREMES + 1):
        yield "top", rank, order[::-1]
    for rank in range(1, NUM_EXTREMES + 1):
        yield "bottom", rank, order
    for decile in range(NUM_DECILES, 0, -1):
        begin = len(order) * (decile - 1) // NUM_DECILES
        end = len(order) * decile // NUM_DECILES
        middle = (begin + end) // 2
        # From the middle of the tenth up, then from there down.
        yield "decile", decile, np.concatenate((order[middle:end], order[begin:middle][::-1]))


def _between_words(text: str, index: int) -> tuple[int, int]:
    """Return begin and end of the passage around a character: between words, if a gap is near
    enough."""
    # Only shorter, never longer, and never without the character itself.
    begin = max(0, index - CHARS_BEFORE)
    if begin > 0:
        for at in range(begin, min(begin + LARGEST_SNAP, index)):
            if text[at - 1].isspace():
                begin = at
                break

    end = min(len(text), index + CHARS_AFTER)
    if end < len(text):
        for at in range(end, max(end - LARGEST_SNAP, index + 1), -1):
            if text[at].isspace():
                end = at
                break

    return begin, end


def number_sentences(text: str) -> Int64Array:
    """Return for each character of a text (N,) the number of its sentence, ascending from 0.

    White space after a sentence belongs to the next sentence.
    """
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    ends.append(len(text))

    # Mark where sentences start, and count the marks so far. A long sentence has several.
    starts = np.zeros(len(text) + 1, np.int64)
    begin = 0
    for end in ends:
        starts[begin + MAX_SENTENCE : end : MAX_SENTENCE] = 1
        starts[end] = 1
        begin = end
    return np.cumsum(starts[:-1])


def choose_passage(
    text: str, labels: Labels, values: Float32Array, *, polarity: int, first: int
) -> slice:
    """Select a passage from index `first` on in which the label changes, and which is typical of a
    cell.

    It is what a picture of a cell should show: the best passage would look better than the cell is.

    labels (N,); values of the cell from `first` on. Of the `contrasting_passages`, the passage in
    which the cell agrees with the labels as well as in the median (the lower of two) is selected,
    so half of them follow the detector at least as well. The cell's best passage is not searched
    for.
    """

    def agreement(part: slice) -> float:
        of_part = values[part.start - first : part.stop - first]
        score = measure_score(of_part, labels=labels[part], polarity=polarity)
        if labels.dtype == bool:
            return score
        return polarity * score

    candidates = contrasting_passages(text, labels=labels, first=first)
    if len(candidates) > 1:
        # A single passage is not measured: its label may never change, and then it has no
        # agreement.
        candidates.sort(key=agreement)
    return candidates[(len(candidates) - 1) // 2]


def contrasting_passages(text: str, labels: Labels, first: int) -> list[slice]:
    """Return the passages from index `first` on with the largest contrast of labels, which do not
    overlap, best first.

    labels (N,). A passage is NUM_LINES lines, at most MAX_LENGTH characters; a line ends with a
    newline or with the END of a document. Its contrast is the variance of its labels, which is p (1
    - p) for yes/no labels, times the number of changes of the label up to NUM_CHANGES. There are at
    most NUM_CANDIDATES, and none has less than MIN_CONTRAST of the contrast of the first.
    """
    # Greedy, the best first: a passage that overlaps it would show the same text again.
    starts, ends = _segments(text, first)
    contrasts = _contrasts(labels, starts=starts, ends=ends)
    passages: list[slice] = []
    least = MIN_CONTRAST * float(contrasts.max())
    while len(passages) < NUM_CANDIDATES:
        best = int(contrasts.argmax())
        if contrasts[best] < least:
            break
        passages.append(slice(int(starts[best]), int(ends[best])))
        # The passage itself, and passages that overlap it, are out.
        contrasts[(starts < ends[best]) & (ends > starts[best])] = -1.0
    return passages


def _segments(text: str, first: int) -> tuple[Int64Array, Int64Array]:
    """Return the begin and the end of every passage (S,) from index `first` on."""
    # A passage begins at each line, and ends with the eighth line. The last character is left out,
    # so that no line begins at the end of the text.
    line_ends = [first + match.end() for match in _LINE.finditer(text[first:-1])]
    starts = np.array([first, *line_ends])
    ends = np.append(starts[NUM_LINES:], [len(text)] * NUM_LINES)[: len(starts)]
    ends = np.minimum(ends, starts + MAX_LENGTH)

    # A passage that reaches the end has fewer lines. Only the first such passage is kept, because a
    # single short line would have the largest contrast.
    is_kept = np.append(True, ends[:-1] < len(text))
    return starts[is_kept], ends[is_kept]


def _contrasts(labels: Labels, starts: Int64Array, ends: Int64Array) -> Float64Array:
    """Return the contrast of each passage (S,): see `contrasting_passages`."""
    # The variance of the labels, from running sums.
    values = np.minimum(labels.astype(np.float64), MAX_COUNT)
    sums = np.append(0.0, np.cumsum(values))
    squares = np.append(0.0, np.cumsum(values**2))
    lengths = np.maximum(1, ends - starts)
    means = (sums[ends] - sums[starts]) / lengths
    variances = (squares[ends] - squares[starts]) / lengths - means**2

    # changes[i]: how many of the first i + 1 labels differ from the label before.
    changes = np.append(0, np.cumsum(labels[1:] != labels[:-1]))
    num_changes = np.minimum(NUM_CHANGES, changes[ends - 1] - changes[starts])
    return np.asarray(np.maximum(0.0, variances) * num_changes)
