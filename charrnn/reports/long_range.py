"""How well predictors close what was opened, by its distance: how far back they reach in a text.

Measured is the probability of a closing bracket or quotation mark, after Karpathy, Johnson & Li
(2015), section 4.3, who compare an LSTM with n-grams by the closing brace of C.

Shapes: N characters of context and text, M scored characters, V vocabulary, P pairs.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import RenderableType
from rich.text import Text

from charrnn.api import Model
from charrnn.evaluation.comparison import Report
from charrnn.evaluation.losses import consecutive_ranges
from charrnn.reports.error_kinds import compare_with_training
from charrnn.reports.ngram_models import NgramModel
from charrnn.statistics.intervals import MAX_BLOCKS, BlockSums, Estimate
from charrnn.system.display import Displayable
from charrnn.text.batches import release_pages
from charrnn.text.documents import END
from charrnn.text.vocab import IdArray, Vocab, decode_each
from charrnn.views.tables import ends_text, plain_table

BLOCK_CHARS = 1 << 18
"""Scored characters whose pairs are found at a time."""
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

        # A table of few pairs is noise; that of the most frequent character is better than none.
        shown = [one for one in self.closings if one.num_pairs >= MIN_PAIRS]
        if not shown:
            shown = [self.closings[0]]
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
        # What a block closes may have been opened before it.
        first = int(positions[first_index])
        last = int(positions[last_index - 1]) + 1
        begin = max(0, first - MAX_DISTANCE)
        text = decode_each(vocab, ids[begin:last])
        if vocab.kind == "byte":
            text = text.translate(_WITHOUT_BYTES)

        for opened, closed in _pairs_of(text, may_be_inside=begin > 0):
            if begin + closed >= first and closed - opened <= MAX_DISTANCE:
                closings.append(text[closed])
                found.append((begin + opened, begin + closed))
        release_pages(ids)

    # (P, 2), also of no pair.
    pairs = np.array(found, np.int64).reshape(-1, 2)
    return Pairs("".join(closings), opened=pairs[:, 0], closed=pairs[:, 1])


_WITHOUT_BYTES = dict.fromkeys(range(0x80, 0x100), "\ufffd")
"""Replaces what stands for a byte of a longer character, which may look like a quotation mark: `«`
is byte 0xab."""


def _pairs_of(text: str, *, may_be_inside: bool) -> Iterator[tuple[int, int]]:
    """Yield the offsets of each pair, by the closing one. `may_be_inside`: the text may begin
    inside a quotation."""
    # The offsets of what is open, by its character; the last one is closed first.
    still_open: dict[str, list[int]] = {character: [] for character in _OPENING}
    for match in _TOKENS.finditer(text):
        token = match.group()
        offset = match.start()

        # The end of a document closes everything, a blank line all quotations.
        if token == END or token.startswith("\n"):
            may_be_inside = False
            for character in _OPENING if token == END else PARAGRAPH_QUOTES:
                still_open[character].clear()
            continue

        # A `"` after a cut may open or close. Those before the next blank line are ignored, unless
        # one surely opens.
        if token == '"' and may_be_inside:
            if not _SURELY_OPENS.match(text, max(0, offset - 1)):
                continue
            may_be_inside = False

        # What is open last is closed first, as brackets of different kinds are nested.
        nearest = max(
            (still_open[character] for character in OPENERS.get(token, "")),
            key=lambda offsets: offsets[-1] if offsets else -1,
            default=[],
        )

        # `"` opens where it closes nothing.
        if nearest:
            yield nearest.pop(), offset
        elif token in _OPENING:
            still_open[token].append(offset)


def report_closings(
    pairs: Pairs, probabilities: Sequence[NDArray[Any]]
) -> tuple[ClosingReport, ...]:
    """Average the probabilities (P,) that each predictor gives to the closing characters, by
    character and distance."""
    characters = np.array(list(pairs.closings))
    bin_of = np.searchsorted(DISTANCES, pairs.distances, side="right") - 1

    # The most frequent one first; equally frequent ones in an order that does not vary.
    reports = []
    for closing, _ in sorted(Counter(pairs.closings).items(), key=lambda item: (-item[1], item[0])):
        is_closing = characters == closing

        bins = []
        for number, (low, above) in enumerate(pairwise((*DISTANCES, MAX_DISTANCE + 1))):
            is_in_bin = is_closing & (bin_of == number)
            if not is_in_bin.any():
                continue
            one = ClosingBin(
                low=low,
                high=above - 1,
                num_pairs=int(is_in_bin.sum()),
                probabilities=_means(probabilities, is_in_bin),
            )
            bins.append(one)

        report = ClosingReport(
            closing=closing,
            num_pairs=int(is_closing.sum()),
            probabilities=_means(probabilities, is_closing),
            bins=tuple(bins),
        )
        reports.append(report)
    return tuple(reports)


def _means(
    probabilities: Sequence[NDArray[Any]], is_chosen: NDArray[np.bool_]
) -> tuple[Estimate, ...]:
    return tuple(estimate_mean(values[is_chosen]) for values in probabilities)


def estimate_mean(values: NDArray[Any]) -> Estimate:
    """Compute the mean of values (P,) in the order of the text; its interval takes neighbours
    together."""
    # Neighbours are not independent: pairs of one page have one style.
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

    >>> [closing.closing for closing in charrnn.long_range([model]).closings]
    """
    # All models read the whole text; the losses of closing characters are a few of theirs.
    comparison, training = compare_with_training(models, text, **options)
    first = comparison.runs[0]
    ids = first.text.ids
    losses = [comparison.losses_of(run) for run in comparison.runs]
    positions = losses[0].positions
    pairs = find_pairs(ids, first.vocab, positions)

    # The probability of every closing character, by the runs and by n-grams.
    closed = np.searchsorted(positions, pairs.closed)
    probabilities = [np.exp(-some.nats[closed].astype(np.float64)) for some in losses]
    orders = [order for order in CLOSING_ORDERS if order <= len(training)]
    if len(pairs.closed) and orders:
        ngrams = NgramModel.fit(training, len(first.vocab), orders[-1])
        probabilities += list(ngrams.char_probabilities(ids, pairs.closed, orders))

    # In the order of the probabilities.
    predictors = [run.name for run in comparison.runs]
    predictors += [f"{order}-gram" for order in orders]
    return LongRangeReport(
        predictors=tuple(predictors),
        closings=report_closings(pairs, probabilities),
        num_chars=len(positions),
        text_length=first.text.num_chars,
    )


MIN_PAIRS = 20
"""A closing character with fewer pairs has no table of its own."""


def _table_of_closing(closing: ClosingReport, report: LongRangeReport) -> RenderableType:
    """Build a table of the mean probabilities by distance, those of the runs with their
    intervals."""
    # Intervals of the n-grams would make the table wider than 80 columns.
    has_interval = [not name.endswith("-gram") for name in report.predictors]
    headers = [f"closing {closing.closing}", "pairs"]
    for name, is_run in zip(report.predictors, has_interval, strict=True):
        headers.append(name)
        if is_run:
            headers.append("95 %")
    table = plain_table(*headers, right=headers[1:], narrow=True)

    def cells_of(some: ClosingBin | ClosingReport) -> list[str]:
        cells = [f"{some.num_pairs:,}"]
        for estimate, is_run in zip(some.probabilities, has_interval, strict=True):
            cells.append(f"{estimate.mean:.3f}")
            if is_run:
                cells.append(ends_text(estimate.low, estimate.high, ".2f"))
        return cells

    # From near to far, then all distances together.
    for one in closing.bins:
        table.add_row(f"{one.low}–{one.high}", *cells_of(one))
    table.add_row("all", *cells_of(closing), style="bold")
    return table


LONG_RANGE = Report(
    "long_range",
    "How well brackets and quotes are closed, by distance.",
    long_range,
)
"""`evaluate --long-range`."""
