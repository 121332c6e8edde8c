"""Draw how far back predictions reach: closing characters by distance, and the loss with resets."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import RenderableType
from rich.text import Text

from charrnn.evaluation.estimate import Estimate
from charrnn.lab.long_range_records import MAX_DISTANCE, ClosingReport, LongRangeReport, ModelResets
from charrnn.views.charts import Line, LineChart, Tick, enclosing_ticks
from charrnn.views.tables import plain_table
from charrnn.views.theme import all_visible

MIN_PAIRS = 20
"""A closing character with fewer pairs has no table of its own."""
MIN_PAIRS_OF_A_BIN = 10
"""Distances with fewer pairs are not drawn: their means say little. As few have no interval, either."""
NUM_CHARTS = 1
"""Closing characters that have a chart, at most."""
NO_CLOSING = "The scored text has no pair of brackets or quotation marks."
"""Shown where nothing is closed."""
_SHARES = [(tenths / 10, f"{tenths / 10:.1f}") for tenths in range(0, 11, 2)]


def long_range_pictures(report: LongRangeReport) -> list[RenderableType]:
    """Return what shows a report: a chart and tables of closing characters, and a chart and a table of the resets."""
    return [*_closing_pictures(report), *_reset_pictures(report)]


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
    lines = []
    for number, name in enumerate(predictors):
        points = [
            (math.log2(math.sqrt(one.low * one.high)), one.probabilities[number].mean)
            for one in closing.bins
            if one.num_pairs >= MIN_PAIRS_OF_A_BIN
        ]
        lines.append(Line(all_visible(name), [points], number))
    return LineChart(
        title=f"Mean probability of the closing {closing.closing}, by distance to the opening one",
        lines=lines,
        across=(0.0, math.log2(MAX_DISTANCE)),
        across_label="characters, on a logarithmic scale",
        across_ticks=_PowersOfTwo(int(math.log2(MAX_DISTANCE))),
        up_ticks=_SHARES,
        empty_notice=NO_CLOSING,
    )


@dataclass(frozen=True, slots=True)
class _PowersOfTwo:
    """Ticks from 1 to 2^highest; their positions are the exponents."""

    highest: int

    def __call__(self, most: int) -> list[Tick]:
        step = max(1, math.ceil(self.highest / max(1, most - 1)))
        return [(float(power), f"{2**power:,}") for power in range(0, self.highest + 1, step)]


def _table_of_closing(closing: ClosingReport, report: LongRangeReport) -> RenderableType:
    """Build a table of the mean probabilities by distance, those of the runs with their intervals."""
    num_runs = len(report.resets)
    headers = [f"closing {closing.closing}", "pairs"]
    for number, name in enumerate(report.predictors):
        headers += [name, "95 %"] if number < num_runs else [name]
    table = plain_table(*headers, right=headers[1:])
    table.padding = (0, 1, 0, 0)
    rows: list[tuple[str, int, Sequence[Estimate]]] = [
        (f"{one.low}–{one.high}", one.num_pairs, one.probabilities) for one in closing.bins
    ]
    rows.append(("all", closing.num_pairs, closing.probabilities))
    for name, num_pairs, estimates in rows:
        cells = []
        for number, one in enumerate(estimates):
            cells += [f"{one.mean:.3f}", _interval(one)] if number < num_runs else [f"{one.mean:.3f}"]
        table.add_row(name, f"{num_pairs:,}", *cells, style="bold" if name == "all" else None)
    return table


def _interval(estimate: Estimate, form: str = ".2f") -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{estimate.low:{form}}…{estimate.high:{form}}"


def _reset_pictures(report: LongRangeReport) -> Iterator[RenderableType]:
    losses = [one.nats_per_char for model in report.resets for one in model.losses]
    intervals = [one.interval for one in report.resets[0].losses if one.interval is not None]
    if not intervals:
        yield Text("The text is too short for a loss with resets.")
        return
    if len(intervals) > 1:
        yield _chart_of_resets(report, losses, intervals)
    for model in report.resets:
        yield _table_of_resets(model)
    yield Text(
        f"Loss in nats/char of {report.num_reset_chars:,} characters, the same ones in every row. Per reset: the rise "
        "times the characters between resets, in nats; it stops growing where the memory ends."
    )


def _table_of_resets(model: ModelResets) -> RenderableType:
    headers = ["reset every", model.run, "rise", "95 %", "per reset"]
    table = plain_table(*headers, right=headers[1:])
    table.padding = (0, 1, 0, 0)
    for one in model.losses:
        loss = f"{one.nats_per_char:.4f}"
        if one.interval is None:
            table.add_row("never", loss, "", "", "")
            continue
        rise = f"{one.rise.mean:+.4f}", _interval(one.rise, "+.4f")
        table.add_row(f"{one.interval:,}", loss, *rise, f"{one.nats_per_reset:.3f}")
    return table


def _chart_of_resets(report: LongRangeReport, losses: Sequence[float], intervals: Sequence[int]) -> RenderableType:
    highest = int(math.log2(intervals[-1]))
    lines = []
    for number, model in enumerate(report.resets):
        points = [(math.log2(one.interval), one.nats_per_char) for one in model.losses if one.interval is not None]
        level = model.losses[-1].nats_per_char
        lines.append(Line(all_visible(model.run), [points], number))
        lines.append(Line("", [[(0.0, level), (float(highest), level)]], number, is_marked=False))
    return LineChart(
        title="Loss (nats/char) by characters between resets; thin line: without resets",
        lines=lines,
        across=(0.0, float(highest)),
        across_label="characters between resets, on a logarithmic scale",
        across_ticks=_PowersOfTwo(highest),
        up_ticks=enclosing_ticks(min(losses), max(losses)),
        empty_notice="There is nothing to draw.",
    )
