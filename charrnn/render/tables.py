"""Tables that fit 80 columns: found cells, predictions, losses, runs, corpora, settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.style import StyleType
from rich.table import Table
from rich.text import Text

from charrnn.records.evaluation import LossReport
from charrnn.records.generation import Novelty, Prediction
from charrnn.records.microscope import Ablation, CellFindings, CellHistory, CellScore, Skipped
from charrnn.records.runs import RunSummary
from charrnn.render.palette import ASCII_BLOCKS, BLOCKS, block
from charrnn.render.visible import all_visible, visible
from charrnn.text.catalogue import CatalogueEntry

_BEGIN_WIDTH = 20
_NAME_WIDTH = 10
_AMPLE_WIDTH = 10_000
_BAR_WIDTH = 30


class _PlainTable(Table):
    """A table whose words are words: none is markup, and nothing in them steers a terminal.

    A figure is never broken in two. Where there is no room for all columns of figures, those that are left go on below,
    beside the first column again; a table that has more than figures becomes a paragraph a row, without its bars.
    """

    def add_row(self, *cells: RenderableType | None, style: StyleType | None = None, end_section: bool = False) -> None:
        # Names come from others: of runs, of fields, of detectors, of which a regular expression may well be `[/b]`.
        words = (Text(all_visible(cell)) if isinstance(cell, str) else cell for cell in cells)
        super().add_row(*words, style=style, end_section=end_section)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        has_figures_only = len(self.columns) > 2 and all(column.no_wrap for column in self.columns[1:])
        if self.fits(console, options) or (
            not has_figures_only and self._narrowest(console, options) <= options.max_width
        ):
            yield from super().__rich_console__(console, options)
            return
        if has_figures_only:
            left = list(range(1, len(self.columns)))
            while left:
                sizes = range(len(left), 1, -1)
                num_fitting = next((n for n in sizes if self._part(left[:n]).fits(console, options)), 1)
                yield from self._part(left[:num_fitting]).__rich_console__(console, options)
                left = left[num_fitting:]
            return
        for number, row in enumerate(self.rows):
            name, *values = (list(column.cells)[number] for column in self.columns)
            pairs = [
                Text.assemble((f"{column.header} ", "dim"), value)
                for column, value in zip(self.columns[1:], values, strict=True)
                if isinstance(value, Text) and value
            ]
            style = row.style or ""
            yield Text.assemble((str(name), "bold"), style=style, overflow="fold")
            yield Padding(Text(", ", style=style, overflow="fold").join(pairs), (0, 0, 0, 2))

    def fits(self, console: Console, options: ConsoleOptions) -> bool:
        """Whether there is room for it with nothing wrapped."""
        ample = options.update_width(_AMPLE_WIDTH)
        return Measurement.get(console, ample, self).maximum <= options.max_width

    def _part(self, indices: Sequence[int]) -> "_PlainTable":
        """The first column and those of `indices`."""
        columns = [self.columns[index] for index in (0, *indices)]
        part = _PlainTable(box=self.box, pad_edge=self.pad_edge, header_style=self.header_style, padding=self.padding)
        for column in columns:
            part.add_column(column.header, justify=column.justify, overflow=column.overflow, no_wrap=column.no_wrap)
        for row, *cells in zip(self.rows, *(column.cells for column in columns), strict=True):
            part.add_row(*cells, style=row.style)
        return part

    def _narrowest(self, console: Console, options: ConsoleOptions) -> int:
        """Columns that hold its figures, and the longest words of what can be wrapped, of long ones the beginning."""
        ample = options.update_width(_AMPLE_WIDTH)
        width = Measurement.get(console, ample, self).maximum
        for column in self.columns:
            if not column.no_wrap:
                sizes = [Measurement.get(console, ample, cell) for cell in (column.header, *column.cells)]
                longest_word = max(size.minimum for size in sizes)
                width -= max(size.maximum for size in sizes) - min(longest_word, _NAME_WIDTH)
        return width


def _table(*columns: str, right: Sequence[str] = ()) -> Table:
    table = _PlainTable(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        is_figure = column in right
        table.add_column(column, justify="right" if is_figure else "left", overflow="fold", no_wrap=is_figure)
    return table


@dataclass(frozen=True)
class _Bar:
    """A bar as long as a share from 0 to 1."""

    share: float

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(1, _BAR_WIDTH)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        length = round(min(_BAR_WIDTH, options.max_width) * self.share)
        yield Text(("#" if options.ascii_only else "█") * length, style="blue")


@dataclass(frozen=True)
class _Blocks:
    """A block for each share from 0 to 1: the higher, the fuller."""

    shares: Sequence[float]

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(1, max(1, len(self.shares)))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        blocks = ASCII_BLOCKS if options.ascii_only else BLOCKS
        yield Text("".join(block(2 * share - 1, blocks) for share in self.shares), overflow="fold")


DOUBT = "?"
"""Stands behind a score that chance may have brought."""
FINDINGS_COLUMNS = ("detector", "cell", "score", "95 % interval", "chance", "untrained", "inner")


def findings_rows(findings: CellFindings) -> list[list[str]]:
    """Under FINDINGS_COLUMNS, the best cell for each detector, strongest first.

    `chance` is what the best of all cells reaches for shifted labels, `inner` the score away from the spans' ends, or
    R² for a count.
    """
    return [
        [
            score.detector,
            f"{score.layer}:{score.unit}",
            score_text(score) + ("" if score.is_significant else DOUBT),
            interval_text(score),
            _three(score.null_level),
            _three(score.untrained),
            _three(score.interior) if score.auc is not None else f"R² {_three(score.r2)}",
        ]
        for score in findings.scores
    ]


def score_text(score: CellScore) -> str:
    """A cell's score with its name: AUC or ρ."""
    return f"AUC {score.auc:.3f}" if score.auc is not None else f"ρ {score.spearman:+.3f}"


def chosen_text(score: CellScore) -> str:
    """Its score on the text that it was chosen on, with its name, or nothing if that is not known."""
    if score.chosen_on is None:
        return ""
    return f"AUC {score.chosen_on:.3f}" if score.auc is not None else f"ρ {score.chosen_on:+.3f}"


def interval_text(score: CellScore) -> str:
    """Its 95 % interval, or nothing if there is none."""
    return "" if score.ci_low is None or score.ci_high is None else f"{score.ci_low:.3f}…{score.ci_high:.3f}"


def way_text(score: CellScore) -> str:
    """Which way the cell goes with what it follows."""
    if score.auc is not None:
        return "high inside" if score.polarity > 0 else "low inside"
    return "rises with it" if score.polarity > 0 else "falls with it"


def findings_table(findings: CellFindings) -> Table:
    """`findings_rows` as a table; what chance could bring is faint."""
    table = _table(*FINDINGS_COLUMNS, right=FINDINGS_COLUMNS[1:])
    table.padding = (0, 1, 0, 0)  # so that it fits into 80 columns
    for row, score in zip(findings_rows(findings), findings.scores, strict=True):
        table.add_row(*row, style=None if score.is_significant else "dim")
    return table


def worth_table(findings: CellFindings) -> Table:
    """For each detector, what 1 to all cells together tell of it, and what silencing the best one costs."""
    sizes = [str(number) for number, _ in findings.scores[0].probe[:-1]]
    columns = ("cells together", *sizes, "all", "inside", "outside")
    table = _table(*columns, right=columns[1:])
    for score in findings.scores:
        costs = (score.ablation_inside, score.ablation_outside)
        table.add_row(
            score.detector,
            *(f"{value:.3f}" for _, value in score.probe),
            *("" if cost is None else f"{cost:+.4f}" for cost in costs),
        )
    return table


def _three(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def history_table(histories: Sequence[CellHistory]) -> Table:
    """For each detector, its best cell's score at every saved step: a block each, from chance to perfect."""
    steps = histories[0].steps if histories else ()
    span = f"steps {steps[0]:,} to {steps[-1]:,}" if steps else "steps"
    table = _table("detector", "cell", "first", span, "last", right=("first", "last"))
    for history in histories:
        chance = 0.5 if history.is_auc else 0.0
        shares = [(abs(value) - chance) / (1 - chance) for value in history.values]
        name, sign = ("AUC", "") if history.is_auc else ("ρ", "+")
        first, last = (f"{name} {value:{sign}.3f}" for value in (history.values[0], history.values[-1]))
        table.add_row(history.detector, f"{history.layer}:{history.unit}", first, _Blocks(shares), last)
    return table


def skipped_lines(skipped: Sequence[Skipped]) -> Text:
    """One line per detector that was not scored, and why."""
    lines = [all_visible(f"{one.detector}: not scored, {one.reason}") for one in skipped]
    return Text("\n".join(lines), style="dim")


def ablation_table(at_mean: Ablation, at_zero: Ablation) -> Table:
    """What a held cell adds to the loss, in all and inside and outside each detector's spans, the dearest first."""
    table = _table(
        *("nats/character", "held at its mean", "95 % interval", "held at 0"),
        right=("held at its mean", "95 % interval", "held at 0"),
    )
    table.add_row("in all", f"{at_mean.change:+.4f}", _interval(at_mean.ci), f"{at_zero.change:+.4f}")
    zero = {effect.detector: effect for effect in at_zero.effects}
    for effect in sorted(at_mean.effects, key=lambda effect: -effect.change_inside):
        other = zero[effect.detector]
        inside, outside = f"inside {effect.detector}", "  outside"
        if effect.is_count:
            inside, outside = f"{effect.detector} over 0", "  at 0"
        table.add_row(
            inside, f"{effect.change_inside:+.4f}", _interval(effect.ci_inside), f"{other.change_inside:+.4f}"
        )
        table.add_row(
            outside, f"{effect.change_outside:+.4f}", _interval(effect.ci_outside), f"{other.change_outside:+.4f}"
        )
    return table


def _interval(ends: tuple[float, float]) -> str:
    return f"{ends[0]:+.4f}…{ends[1]:+.4f}"


def predictions_table(predictions: Sequence[Prediction]) -> Table:
    """Next characters with their probabilities and a bar each."""
    table = _table("next", "probability", "", right=("probability",))
    for prediction in predictions:
        shown = prediction.character if len(prediction.character) != 1 else visible(prediction.character)
        table.add_row(
            Text("␣" if shown == " " else shown), f"{prediction.probability:.4f}", _Bar(prediction.probability)
        )
    return table


def losses_table(reports: Sequence[LossReport]) -> Table:
    """Losses, one protocol a row."""
    table = _table(
        "protocol",
        "nats/char",
        "bits/char",
        "bits/byte",
        "characters",
        "precision",
        right=("nats/char", "bits/char", "bits/byte", "characters"),
    )
    for report in reports:
        table.add_row(
            report.protocol,
            f"{report.nats_per_char:.4f}",
            f"{report.bpc:.4f}",
            f"{report.bits_per_byte:.4f}",
            f"{report.num_chars:,}",
            report.precision,
        )
    return table


def novelty_table(novelty: Novelty) -> Table:
    """How much is copied, how much of held-out text would be, and the longest copy: length, source, first words."""
    columns = ("copied", "held-out", f"copies ≥ {novelty.min_length:,}", "longest", "from line")
    table = _table(*columns, "it begins", right=columns)
    longest = novelty.longest
    table.add_row(
        f"{novelty.share_copied:.1%}",
        "" if novelty.held_out_share is None else f"{novelty.held_out_share:.1%}",
        f"{len(novelty.copies):,}",
        "" if longest is None else f"{longest.length:,}",
        "" if longest is None else f"{longest.source_line:,}",
        "" if longest is None else _begin(novelty.text[longest.start : longest.stop]),
    )
    return table


def _begin(text: str | bytes) -> Text:
    """A text in one line of `_BEGIN_WIDTH` columns at the most, cut with an ellipsis."""
    head = text[: 4 * _BEGIN_WIDTH]  # bytes, at the most, of as many characters as there are columns
    words = head.decode("utf-8", "replace") if isinstance(head, bytes) else head
    line = Text(all_visible(words))
    line.truncate(_BEGIN_WIDTH, overflow="ellipsis")
    return line


def runs_table(runs: Sequence[RunSummary]) -> Table:
    """One run a row, oldest first."""
    table = _table("run", "model", "steps", "best nats/char", "minutes", right=("steps", "best nats/char", "minutes"))
    for run in runs:
        table.add_row(
            run.name,
            f"{run.cell} {run.num_layers}×{run.hidden_size}",
            f"{run.step:,}/{run.num_steps:,}",
            "" if run.best_nats is None else f"{run.best_nats:.4f}",
            f"{run.minutes:.1f}",
        )
    return table


def catalogue_table(entries: Sequence[CatalogueEntry]) -> Table:
    """The texts known by name."""
    table = _table("name", "bytes", "licence", "look for", right=("bytes",))
    for entry in entries:
        table.add_row(entry.name, f"{entry.num_bytes:,}", entry.licence, entry.look_for)
    return table


def settings_table(values: Mapping[str, Any], origins: Mapping[str, str]) -> Table:
    """Every configuration value and where it came from."""
    table = _table("field", "value", "from")
    for name, value in values.items():
        words = " ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
        origin = Text(all_visible(origins[name]), style="bold" if origins[name] != "default" else "dim")
        table.add_row(name, words or "-", origin)
    return table
