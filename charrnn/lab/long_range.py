"""How far back the predictions of models reach in a text: closing characters by distance, and the loss with resets.

How well a model closes what was opened is the probability of a closing bracket or quotation mark by its distance, after
Karpathy, Johnson & Li (2015), section 4.3, who compare an LSTM with n-grams by the closing brace of C. The loss with a
state that is reset every k characters shows what the model gains by remembering longer.

Shapes: N characters, M scored characters, P pairs, G groups of L characters.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.console import RenderableType
from rich.text import Text

from charrnn.display import Displayable
from charrnn.evaluation.comparison import Report
from charrnn.evaluation.losses import CharLosses, consecutive_ranges, losses_from_start
from charrnn.extensions import PackageFunction
from charrnn.intervals import MAX_BLOCKS, BlockSums, Estimate
from charrnn.lab.error_kinds import compare_with_training
from charrnn.lab.ngrams import NgramModel
from charrnn.progress import task
from charrnn.text.batches import release_pages
from charrnn.text.documents import END
from charrnn.text.encoded import decode_each
from charrnn.text.vocab import IdArray, Vocab
from charrnn.views.charts import Line, LineChart, Tick, enclosing_ticks
from charrnn.views.tables import plain_table
from charrnn.views.theme import all_visible

if TYPE_CHECKING:
    from charrnn.api import Model
    from charrnn.model.network import Predictor

CLOSING_ORDERS = (5, 10, 20)
"""Orders of the n-grams that closing characters are compared with. Karpathy, Johnson & Li (2015) take 20."""
DISTANCES = (1, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
"""The shortest distance of each bin; the last one ends with `MAX_DISTANCE`."""
MAX_DISTANCE = 4096
"""Pairs further apart than this, in characters, are left out: most of them are no pairs."""
RESET_INTERVALS = (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
"""Characters that are predicted between two resets."""


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
class ResetLoss:
    """The loss of a model whose state is reset to the initial one every `interval` characters."""

    interval: int | None
    """Characters that are predicted between two resets; None: the state is never reset."""
    nats_per_char: float
    rise: Estimate
    """By how much the loss is above that without resets, in nats per character, on the same characters."""
    nats_per_reset: float
    """The rise times the characters between resets: what one reset costs until the next one. It stops growing where the
    memory ends."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelResets:
    """The loss of one model by how often its state is reset."""

    run: str
    losses: tuple[ResetLoss, ...]
    """By interval, from the shortest; the last one is without resets."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LongRangeReport(Displayable):
    """How far back the predictions of one or several models reach in a text."""

    predictors: tuple[str, ...]
    """What the probabilities of closing characters are those of: the runs, then `N-gram` for each order."""
    closings: tuple[ClosingReport, ...]
    """The most frequent closing character first; empty if nothing is closed in the scored text."""
    resets: tuple[ModelResets, ...]
    num_chars: int
    """Characters that were scored for the closing characters."""
    num_reset_chars: int
    """Characters that were scored with resets."""
    text_length: int
    """Characters of the text."""

    def view(self) -> Sequence[RenderableType]:
        """Return a chart and tables of closing characters, and a chart and a table of the resets."""
        return [*_closing_pictures(self), *_reset_pictures(self)]


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


def estimate_mean(values: NDArray[Any], num_blocks: int | None = MAX_BLOCKS) -> Estimate:
    """Compute the mean of values (P,) in the order of the text; its interval takes neighbours together."""
    blocks = BlockSums.of(values, num_blocks and min(num_blocks, len(values)))
    low, high = blocks.interval() or (None, None)
    return Estimate(mean=blocks.mean, low=low, high=high)


MAX_CHARS = 1 << 18
"""Characters that are scored for each interval, at most: enough for differences of 0.001 nats."""
MIN_GROUPS = 16
"""A text is divided into at least as many groups, so that there is an interval."""
_CHARS_AT_ONCE = 1 << 15
_LOGITS_AT_ONCE = 1 << 22


def choose_groups(positions: NDArray[np.int64], max_chars: int = MAX_CHARS) -> NDArray[np.int64]:
    """Choose the characters to score with resets: groups of L consecutive ones of `positions` (M,), spread evenly.

    L is the longest of RESET_INTERVALS of which the text has MIN_GROUPS groups, or else the shortest. Returns indices
    (G, L) into `positions`; G is 0 where no two positions are consecutive.
    """
    ranges = list(consecutive_ranges(positions))
    for length in reversed(RESET_INTERVALS):
        starts = np.concatenate([np.arange(begin, end - length + 1, length) for begin, end in ranges])
        if len(starts) >= MIN_GROUPS or length == RESET_INTERVALS[0]:
            break
    num_groups = min(len(starts), max(1, max_chars // length))
    chosen = starts[np.arange(num_groups) * len(starts) // num_groups] if num_groups else starts
    return np.asarray(chosen[:, None] + np.arange(length), dtype=np.int64)


def measure_resets(
    network: Predictor, ids: IdArray, losses: CharLosses, groups: NDArray[np.int64], *, precision: str = "auto"
) -> tuple[ResetLoss, ...]:
    """Measure the loss of the characters of `groups` (G, L) for each interval up to L, and without resets.

    `losses` are the model's over the text `ids`. A state that is reset every k characters is the initial one before
    the first of each k characters; the model reads the character before it and predicts it, and so on. Without groups,
    nothing is measured and nothing returned.
    """
    if groups.size == 0:
        return ()
    kept = losses.nats[groups].astype(np.float64)
    measured = []
    for interval in (interval for interval in RESET_INTERVALS if interval <= groups.shape[1]):
        nats = reset_nats(network, ids, losses.positions[groups], interval, precision=precision)
        rise = estimate_mean((nats - kept).ravel(), None)
        per_char, per_reset = float(nats.mean()), interval * rise.mean
        measured.append(ResetLoss(interval=interval, nats_per_char=per_char, rise=rise, nats_per_reset=per_reset))
    nothing = Estimate(mean=0.0, low=0.0, high=0.0)
    never = ResetLoss(interval=None, nats_per_char=float(kept.mean()), rise=nothing, nats_per_reset=0.0)
    return (*measured, never)


def reset_nats(
    network: Predictor, ids: IdArray, positions: NDArray[np.int64], interval: int, *, precision: str = "auto"
) -> NDArray[np.float64]:
    """Compute the losses (G, L) in nats of characters at `positions` (G, L), with a reset every `interval` characters.

    Each row consists of consecutive positions from 1 on; L is a multiple of `interval`.
    """
    windows = positions.reshape(-1, interval)
    nats = np.empty(windows.shape, np.float64)
    num_logits = network.vocab_size * interval
    num_windows = max(1, min(_CHARS_AT_ONCE // interval, _LOGITS_AT_ONCE // num_logits))
    with task("reading with resets", windows.size) as advance:
        for begin in range(0, len(windows), num_windows):
            some = windows[begin : begin + num_windows].T
            nats[begin : begin + num_windows] = losses_from_start(network, ids, some, precision).T
            advance(some.size)
    return nats.reshape(positions.shape)


def long_range(models: Sequence[Model], text: str | bytes | None = None, **options: Any) -> LongRangeReport:
    """Measure how far back predictions reach: closing characters by distance, and the loss with the state reset.

    The probability of each closing bracket or quotation mark is averaged by the distance to the opening one and
    compared with n-grams of the training text of the first run, which are counted only where something is closed in the
    scored text. The loss is measured with a reset every 2, 4, … 1,024 characters and without. Options and errors are
    those of `compare_with_training`.
    """
    comparison, training = compare_with_training(models, text, **options)
    first, ids = comparison.runs[0], comparison.runs[0].text.ids
    losses = [comparison.losses_of(run) for run in comparison.runs]
    positions = losses[0].positions
    groups = choose_groups(positions, min(MAX_CHARS, comparison.max_chars or MAX_CHARS))
    pairs = find_pairs(ids, first.vocab, positions)
    probabilities = [np.exp(-some.nats[np.searchsorted(positions, pairs.closed)].astype(np.float64)) for some in losses]
    orders = [order for order in CLOSING_ORDERS if order <= len(training)]
    if len(pairs.closed) and orders:
        ngrams = NgramModel.fit(training, len(first.vocab), orders[-1])
        probabilities += list(ngrams.char_probabilities(ids, pairs.closed, orders))
    return LongRangeReport(
        predictors=(*(run.name for run in comparison.runs), *(f"{order}-gram" for order in orders)),
        closings=report_closings(pairs, probabilities),
        resets=tuple(
            ModelResets(
                run=run.name,
                losses=measure_resets(run.network, ids, some, groups, precision=comparison.precision),
            )
            for run, some in zip(comparison.runs, losses, strict=True)
        ),
        num_chars=len(positions),
        num_reset_chars=groups.size,
        text_length=first.text.num_chars,
    )


MIN_PAIRS = 20
"""A closing character with fewer pairs has no table of its own."""
MIN_PAIRS_OF_A_BIN = 10
"""Distances with fewer pairs are not drawn: their means say little. As few have no interval, either."""
NUM_CHARTS = 1
"""Closing characters that have a chart, at most."""
NO_CLOSING = "The scored text has no pair of brackets or quotation marks."
"""Shown where nothing is closed."""


def _closing_pictures(report: LongRangeReport) -> Iterator[RenderableType]:
    if not report.closings:
        yield Text(NO_CLOSING)
        return
    shown = [one for one in report.closings if one.num_pairs >= MIN_PAIRS] or report.closings[:1]
    for closing in shown[:NUM_CHARTS]:
        yield _chart_of_closing(closing, report.predictors)
    for closing in shown:
        yield _table_of_closing(closing, report)
    others = [f"{one.closing} {one.num_pairs:,}" for one in report.closings if one not in shown]
    if others:
        yield Text(f"Fewer than {MIN_PAIRS} pairs: {', '.join(others)}")


def _chart_of_closing(closing: ClosingReport, predictors: Sequence[str]) -> RenderableType:
    """Draw the probability against the distance: each bin at its middle, on a logarithmic axis."""
    drawn = [one for one in closing.bins if one.num_pairs >= MIN_PAIRS_OF_A_BIN]
    lines = []
    for number, name in enumerate(predictors):
        points = [(math.log2(math.sqrt(one.low * one.high)), one.probabilities[number].mean) for one in drawn]
        lines.append(Line(all_visible(name), [points], number))
    return LineChart(
        title=f"Mean probability of the closing {closing.closing}, by distance to the opening one",
        lines=lines,
        **_logarithmic("characters", MAX_DISTANCE),
        up_ticks=[(tenths / 10, f"{tenths / 10:.1f}") for tenths in range(0, 11, 2)],
        empty_notice=NO_CLOSING,
    )


def _logarithmic(label: str, most: int) -> dict[str, Any]:
    """Return the parameters of a `LineChart` whose horizontal axis has the powers of 2 from 1 to `most`."""
    highest = int(math.log2(most))

    def ticks(num_ticks: int) -> list[Tick]:
        step = max(1, math.ceil(highest / max(1, num_ticks - 1)))
        return [(float(power), f"{2**power:,}") for power in range(0, highest + 1, step)]

    label = f"{label}, on a logarithmic scale"
    return {"across": (0.0, float(highest)), "across_label": label, "across_ticks": ticks}


def _table_of_closing(closing: ClosingReport, report: LongRangeReport) -> RenderableType:
    """Build a table of the mean probabilities by distance, those of the runs with their intervals."""
    num_runs = len(report.resets)
    headers = [f"closing {closing.closing}", "pairs"]
    for number, name in enumerate(report.predictors):
        headers += [name, "95 %"][: 2 if number < num_runs else 1]
    table = plain_table(*headers, right=headers[1:])
    table.padding = (0, 1, 0, 0)
    rows: list[ClosingBin | ClosingReport] = [*closing.bins, closing]
    for some in rows:
        cells = []
        for number, one in enumerate(some.probabilities):
            cells += [f"{one.mean:.3f}", _interval(one)][: 2 if number < num_runs else 1]
        name = f"{some.low}–{some.high}" if isinstance(some, ClosingBin) else "all"
        table.add_row(name, f"{some.num_pairs:,}", *cells, style="bold" if name == "all" else None)
    return table


def _interval(estimate: Estimate, form: str = ".2f") -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{estimate.low:{form}}…{estimate.high:{form}}"


def _reset_pictures(report: LongRangeReport) -> Iterator[RenderableType]:
    intervals = [one.interval for one in report.resets[0].losses if one.interval is not None]
    if not intervals:
        yield Text("The text is too short for a loss with resets.")
        return
    if len(intervals) > 1:
        yield _chart_of_resets(report, intervals[-1])
    for model in report.resets:
        headers = ["reset every", model.run, "rise", "95 %", "per reset"]
        table = plain_table(*headers, right=headers[1:])
        table.padding = (0, 1, 0, 0)
        for one in model.losses:
            rise = f"{one.rise.mean:+.4f}", _interval(one.rise, "+.4f"), f"{one.nats_per_reset:.3f}"
            is_never = one.interval is None
            name = "never" if is_never else f"{one.interval:,}"
            table.add_row(name, f"{one.nats_per_char:.4f}", *([""] * len(rise) if is_never else rise))
        yield table
    yield Text(
        f"Loss in nats/char of {report.num_reset_chars:,} characters, the same ones in every row. Per reset: the rise "
        "times the characters between resets, in nats; it stops growing where the memory ends."
    )


def _chart_of_resets(report: LongRangeReport, longest: int) -> RenderableType:
    losses = [one.nats_per_char for model in report.resets for one in model.losses]
    lines = []
    for number, model in enumerate(report.resets):
        points = [(math.log2(one.interval), one.nats_per_char) for one in model.losses if one.interval is not None]
        level = model.losses[-1].nats_per_char
        lines.append(Line(all_visible(model.run), [points], number))
        lines.append(Line("", [[(0.0, level), (math.log2(longest), level)]], number, is_marked=False))
    return LineChart(
        title="Loss (nats/char) by characters between resets; thin line: without resets",
        lines=lines,
        **_logarithmic("characters between resets", longest),
        up_ticks=enclosing_ticks(min(losses), max(losses)),
        empty_notice="There is nothing to draw.",
    )


EXTENSIONS = (
    PackageFunction(name="long_range", function=long_range),
    Report(
        name="long_range",
        help="In place of the loss: closing brackets and quotes by distance, and the loss with the state reset.",
        measure=long_range,
    ),
)
"""`charrnn.long_range` and `evaluate --long-range`."""
