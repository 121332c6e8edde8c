"""How well a model closes what was opened: the probability of a closing bracket or quotation mark, by distance.

After Karpathy, Johnson & Li (2015), section 4.3, who compare an LSTM with n-grams by the closing brace of C.

Shapes: N characters, M scored characters, P pairs.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.bootstrap import MAX_BLOCKS, BlockSums
from charrnn.evaluation.char_losses import consecutive_ranges
from charrnn.evaluation.estimate import Estimate
from charrnn.lab.long_range_records import DISTANCES, MAX_DISTANCE, ClosingBin, ClosingReport
from charrnn.text.batches import release_pages
from charrnn.text.documents import END
from charrnn.text.encoded import decode_each
from charrnn.text.vocab import IdArray, Vocab

OPENERS = {
    ")": "(",
    "]": "[",
    "}": "{",
    "）": "（",
    "】": "【",
    "」": "「",
    "』": "『",
    "》": "《",
    '"': '"',
    "”": "“„",
    "“": "„",
    "»": "«",
    "«": "»",
}
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
    for first, last in _ranges(positions):
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


def _ranges(positions: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield ranges [first, last) of consecutive positions (M,), at most BLOCK_CHARS long."""
    for begin, end in consecutive_ranges(positions):
        for some in range(begin, end, BLOCK_CHARS):
            first = int(positions[some])
            yield first, first + min(BLOCK_CHARS, end - some)


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
    reports = []
    for closing in sorted(set(pairs.closings), key=lambda one: (-pairs.closings.count(one), one)):
        chosen = characters == closing
        bin_of = np.searchsorted(DISTANCES, pairs.distances, side="right") - 1
        bins = []
        for number, low in enumerate(DISTANCES):
            some = chosen & (bin_of == number)
            if some.any():
                high = (*DISTANCES[1:], MAX_DISTANCE + 1)[number] - 1
                means = tuple(estimate_mean(values[some]) for values in probabilities)
                bins.append(ClosingBin(low=low, high=high, num_pairs=int(some.sum()), probabilities=means))
        means = tuple(estimate_mean(values[chosen]) for values in probabilities)
        reports.append(
            ClosingReport(closing=closing, num_pairs=int(chosen.sum()), probabilities=means, bins=tuple(bins))
        )
    return tuple(reports)


def estimate_mean(values: NDArray[Any]) -> Estimate:
    """Compute the mean of values (P,) in the order of the text; its interval takes neighbours together."""
    blocks = BlockSums.of(values, min(MAX_BLOCKS, len(values)))
    interval = blocks.interval() or (None, None)
    return Estimate(mean=blocks.mean, low=interval[0], high=interval[1])
