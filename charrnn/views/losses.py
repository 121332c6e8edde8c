"""Draw the losses of an evaluation, one row per predictor and protocol, in 80 columns."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from charrnn.evaluation.records import NGRAM, Evaluation, EvaluationRow, LossBreakdown, LossReport
from charrnn.views.tables import Bar, ends_text, plain_table
from charrnn.views.theme import all_visible

SHOWN_ORDERS = (1, 2, 3, 5, 8, 12, 20)
"""The orders of n-grams that are drawn, and the best one; a record and --json have all."""
_TO_FIRST_RUN = ("stateful", "windowed-256")
"""Protocols whose differences are to the first run by the same protocol."""
_FIGURES = ("nats/char", "bits/char", "bits/byte")


def evaluation_view(evaluation: Evaluation) -> RenderableType:
    """Draw all rows, with what was skipped and the notes below them.

    The rows of one predictor are named by their protocol. With several predictors or protocols that are compared, the
    rows have their differences.
    """
    rows = shown_rows(evaluation.rows)
    is_one = len({row.name for row in rows}) == 1 and all(row.difference is None for row in rows)
    table = losses_table([row.loss for row in rows]) if is_one else _losses_of_several(rows)
    where = "this text" if evaluation.part is None else f"the {evaluation.part} text"
    if evaluation.common_bytes is not None:
        where += " that all runs have: bytes {:,} to {:,} of their text".format(*evaluation.common_bytes)
    first = evaluation.first
    parts: list[RenderableType] = [Text(f"Loss over {where}"), table]
    parts.append(Text(how_to_read(rows)))
    skipped = {(row.protocol, row.reason) for row in evaluation.skipped}
    parts += [Text(f"{protocol} is skipped: {reason}.") for protocol, reason in sorted(skipped)]
    if first.nats_ci is None:
        parts.append(Text("The text is too short for an interval, which needs 1,000 scored characters."))
    parts += [Text(note) for note in evaluation.notes]
    for breakdown in evaluation.breakdowns:
        parts += [Text(""), breakdown_view(breakdown)]
    return Group(*parts)


def breakdown_view(breakdown: LossBreakdown) -> RenderableType:
    """Draw the loss by class or by position: a bar per group or, for a run that is compared, its difference."""
    title, first = {
        "class": ("by class of character", "class"),
        "position": ("by the number of characters read since the initial state", "read"),
    }[breakdown.by]
    by_class = breakdown.by == "class"
    has_differences = any(group.difference is not None for group in breakdown.groups)
    columns = (first, "characters", "nats/char", "95 % interval")
    last = ("difference", "its interval") if has_differences else ("of the loss", "") if by_class else ("",)
    table = plain_table(*columns, *last, right=(*columns[1:], *filter(None, last)), narrow=True)
    # Classes are of very different sizes: the bars show where most of the loss is.
    values = [group.share_of_loss if by_class else group.nats_per_char for group in breakdown.groups]
    largest = max(values)
    for group, value in zip(breakdown.groups, values, strict=True):
        cells = [group.name, f"{group.num_chars:,}", f"{group.nats_per_char:.4f}", _ends(group.nats_ci)]
        difference = group.difference
        if difference is not None:
            table.add_row(*cells, f"{difference.mean:+.4f}", ends_text(difference.low, difference.high, "+.3f"))
        elif has_differences:
            table.add_row(*cells, "", "")
        else:
            share = [f"{group.share_of_loss:.1%}"] if by_class else []
            table.add_row(*cells, *share, Bar(value / largest if largest > 0 else 0.0))
    return Group(Text(f"{all_visible(breakdown.name)}: {breakdown.protocol} loss {title}"), table)


def how_to_read(rows: Sequence[EvaluationRow]) -> str:
    """Say how to read the rows: which loss is better, what is below a figure, and which loss each difference is to."""
    notes = ["Lower is better."]
    if any(row.loss.nats_ci is not None for row in rows):
        notes.append("Below a figure: its 95 % interval.")
    compared = [row for row in rows if row.difference is not None]
    first = all_visible(rows[0].name)
    references = [f"to {first} by the same protocol"] * any(row.loss.protocol in _TO_FIRST_RUN for row in compared)
    references += [f"of n-grams, to {first}, stateful"] * any(row.name == NGRAM for row in compared)
    is_dynamic = any(row.loss.protocol == "dynamic" for row in compared)
    references += ["of dynamic, to the stateful loss of the same run"] * is_dynamic
    if references:
        notes.append(f"Difference of the loss: {'; '.join(references)}.")
    is_read_twice = any(row.loss.num_chars > row.loss.text_length for row in rows)
    notes += ["windowed-256: random windows, which overlap."] * is_read_twice
    if any(row.loss.protocol == "dynamic" and row.name.endswith("]") for row in rows):
        notes.append("RUN[:N]: the first N characters of the text.")
    return " ".join(notes)


def shown_rows(rows: Sequence[EvaluationRow]) -> tuple[EvaluationRow, ...]:
    """Return the rows to draw: all but those n-gram orders that are neither in `SHOWN_ORDERS` nor the best."""
    ngrams = [row for row in rows if row.name == NGRAM]
    best = min(ngrams, key=lambda row: row.loss.nats_per_char, default=None)
    shown = {f"{order}-gram" for order in SHOWN_ORDERS}
    return tuple(row for row in rows if row.name != NGRAM or row is best or row.loss.protocol in shown)


def losses_table(reports: Sequence[LossReport]) -> RenderableType:
    """Build the table of one predictor's losses, one row per protocol, each figure above its 95 % interval."""
    columns = ("protocol", *_FIGURES, "characters", "precision")
    table = plain_table(*columns, right=(*_FIGURES, "characters"), narrow=True)
    for report in reports:
        values = (report.nats_per_char, report.bpc, report.bits_per_byte)
        table.add_row(report.protocol, *(f"{value:.4f}" for value in values), f"{report.num_chars:,}", report.precision)
        if report.nats_ci is not None:
            intervals = (report.nats_ci, report.bpc_ci, report.bits_per_byte_ci)
            table.add_row("", *map(_ends, intervals), "", "", style="dim")
    return table


def _losses_of_several(rows: Sequence[EvaluationRow]) -> RenderableType:
    columns = ("", "protocol", *_FIGURES, "difference")
    table = plain_table(*columns, right=(*_FIGURES, "difference"), narrow=True)
    has_bytes = any(row.byte_difference is not None for row in rows)
    for row in rows:
        loss, difference = row.loss, row.difference or row.byte_difference
        shown = "" if difference is None else f"{difference.mean:+.4f}"
        values = (loss.nats_per_char, loss.bpc, loss.bits_per_byte)
        table.add_row(row.name, loss.protocol, *(f"{value:.4f}" for value in values), shown)
        ends = "" if difference is None else ends_text(difference.low, difference.high, "+.3f")
        if loss.nats_ci is not None or ends:
            of_bytes = _ends(loss.bits_per_byte_ci) if has_bytes else ""
            table.add_row("", "", _ends(loss.nats_ci), "", of_bytes, ends, style="dim")
    return table


def _ends(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else ends_text(*interval)
