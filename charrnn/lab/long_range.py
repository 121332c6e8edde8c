"""How well predictors close what was opened, by its distance: a measure of how far back they reach in a text.

The probability of a closing bracket or quotation mark, after Karpathy, Johnson & Li (2015), section 4.3, who compare an
LSTM with n-grams by the closing brace of C.

Shapes: N characters, M scored characters, P pairs.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import RenderableType
from rich.text import Text

from charrnn.api import Model
from charrnn.display import Displayable
from charrnn.evaluation.comparison import Report
from charrnn.evaluation.losses import consecutive_ranges
from charrnn.extensions import PackageFunction
from charrnn.intervals import MAX_BLOCKS, BlockSums, Estimate
from charrnn.lab.error_kinds import compare_with_training
from charrnn.lab.ngrams import NgramModel
from charrnn.text.batches import release_pages
from charrnn.text.documents import END
from charrnn.text.vocab import IdArray, Vocab, decode_each
from charrnn.views.tables import ends_text, plain_table

CLOSING_ORDERS = (5, 10, 20)
"""Orders of the n-grams that closing characters are compared with. Karpathy, Johnson & Li (2015) take 20."""
DISTANCES = (1, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
"""The shortest distance of each bin; the last one ends with `MAX_DISTANCE`."""
MAX_DISTANCE = 4096
"""Pairs further apart than this, in characters, are left out: most of them are no pairs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClosingBin:
    """Pairs of an opening and a closing character that are from `low` to `high` characters apart."""

    low: int
    high: int
    num_pairs: int
    probabilities: tuple[Estimate, ...]
    """The mean probability of the closing character, one for each predictor."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClosingReport:
    """How well one closing character is predicted, by its distance to the character that it closes."""

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
    """What the probabilities of closing characters are those of: the runs, then `N-gram` for each order."""
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
"""What each closing character may close. One that closes nothing opens, if it is an opening character too."""
QUOTES = '"“„«»'
"""Opening characters that a blank line closes: each paragraph of a long quotation may begin with one of its own."""
BLOCK_CHARS = 1 << 18
"""Characters whose pairs are found at a time."""
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
        """(P,): characters from the opening one to the closing one: 1 if nothing is between them."""
        return self.closed - self.opened


def find_pairs(ids: IdArray, vocab: Vocab, positions: NDArray[np.int64]) -> Pairs:
    """Find the pairs at most MAX_DISTANCE characters apart whose closing characters are at `positions` (M,), ascending.

    A closing character closes the nearest opening one that is still open; those without a partner are ignored. `"`
    opens and closes in turn. Quotations end at blank lines, and everything at the end of a document. Of a text in
    bytes, only ASCII characters are found: the others are several bytes each.
    """
    closings: list[str] = []
    found: list[tuple[int, int]] = []
    for first_index, last_index in consecutive_ranges(positions, BLOCK_CHARS):
        first, last = int(positions[first_index]), int(positions[last_index - 1]) + 1
        begin = max(0, first - MAX_DISTANCE)
        text = decode_each(vocab, ids[begin:last])
        if vocab.kind == "byte":
            text = text.translate(_WITHOUT_BYTES)
        for opened, closed in _pairs_of(text, is_cut=begin > 0):
            if begin + closed >= first and closed - opened <= MAX_DISTANCE:
                closings.append(text[closed])
                found.append((begin + opened, begin + closed))
        release_pages(ids)
    pairs = np.array(found, np.int64).reshape(-1, 2)
    return Pairs("".join(closings), pairs[:, 0], pairs[:, 1])


_WITHOUT_BYTES = dict.fromkeys(range(0x80, 0x100), "\ufffd")
"""Replaces what stands for a byte of a longer character, which may look like a quotation mark: `«` is byte 0xab."""


def _pairs_of(text: str, *, is_cut: bool) -> Iterator[tuple[int, int]]:
    """Yield the offsets of each pair, by the closing one. `is_cut`: the text may begin inside a quotation."""
    still_open: dict[str, list[int]] = {character: [] for character in _OPENING}
    # A `"` after a cut may open or close. Those before the next blank line are ignored, unless one surely opens.
    may_be_inside = is_cut
    for match in _TOKENS.finditer(text):
        token, offset = match.group(), match.start()
        if token == END or token.startswith("\n"):
            may_be_inside = False
            for character in _OPENING if token == END else QUOTES:
                still_open[character].clear()
            continue
        if token == '"' and may_be_inside:
            if not _SURELY_OPENS.match(text, max(0, offset - 1)):
                continue
            may_be_inside = False
        candidates = [character for character in OPENERS.get(token, "") if still_open[character]]
        if candidates:
            yield still_open[max(candidates, key=lambda character: still_open[character][-1])].pop(), offset
        elif token in _OPENING:
            still_open[token].append(offset)


def report_closings(pairs: Pairs, probabilities: Sequence[NDArray[Any]]) -> tuple[ClosingReport, ...]:
    """Average the probabilities (P,) that each predictor gives to the closing characters, by character and distance."""
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
    return tuple(ClosingReport(closing=closing, bins=tuple(bins(some)), **means(some)) for closing, some in chosen)


def estimate_mean(values: NDArray[Any]) -> Estimate:
    """Compute the mean of values (P,) in the order of the text; its interval takes neighbours together."""
    blocks = BlockSums.of(values, min(MAX_BLOCKS, len(values)))
    low, high = blocks.interval() or (None, None)
    return Estimate(mean=blocks.mean, low=low, high=high)


def long_range(models: Sequence[Model], text: str | bytes | None = None, **options: Any) -> LongRangeReport:
    """Measure how far back predictions reach by the probability of closing brackets and quotation marks.

    It is averaged by the distance to the opening one and compared with n-grams of the training text of the first run,
    which are counted only where something is closed in the scored text. Options and errors are those of
    `compare_with_training`.
    """
    comparison, training = compare_with_training(models, text, **options)
    first, ids = comparison.runs[0], comparison.runs[0].text.ids
    losses = [comparison.losses_of(run) for run in comparison.runs]
    positions = losses[0].positions
    pairs = find_pairs(ids, first.vocab, positions)
    probabilities = [np.exp(-some.nats[np.searchsorted(positions, pairs.closed)].astype(np.float64)) for some in losses]
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
    """Build a table of the mean probabilities by distance, those of the runs with their intervals."""
    num_runs = sum(not name.endswith("-gram") for name in report.predictors)
    headers = [f"closing {closing.closing}", "pairs"]
    for number, name in enumerate(report.predictors):
        headers += [name, "95 %"][: 2 if number < num_runs else 1]
    table = plain_table(*headers, right=headers[1:], narrow=True)
    rows: list[ClosingBin | ClosingReport] = [*closing.bins, closing]
    for some in rows:
        cells = []
        for number, one in enumerate(some.probabilities):
            cells += [f"{one.mean:.3f}", ends_text(one.low, one.high, ".2f")][: 2 if number < num_runs else 1]
        name = f"{some.low}–{some.high}" if isinstance(some, ClosingBin) else "all"
        table.add_row(name, f"{some.num_pairs:,}", *cells, style="bold" if name == "all" else None)
    return table


EXTENSIONS = (
    PackageFunction(name="long_range", function=long_range),
    Report(
        name="long_range",
        help="In place of the loss: how well brackets and quotes are closed, by distance.",
        measure=long_range,
    ),
)
"""`charrnn.long_range` and `evaluate --long-range`."""
