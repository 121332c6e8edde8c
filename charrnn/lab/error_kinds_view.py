"""Draw the errors of models by kind: a bar divided by oracle, a table of all kinds, and what other models fix."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from charrnn.errors import counted
from charrnn.lab.error_kinds_records import ErrorReport, ModelErrors
from charrnn.views.charts import StackedBar
from charrnn.views.tables import Bar, plain_table
from charrnn.views.theme import all_visible

TITLE = "Errors (a probability below 0.5), by the first oracle that removes them"
"""Stands above the bars."""
LEGEND = """An oracle is a rule that removes errors, to find out what would have avoided them:
n-gram: an n-gram model of order 1 to 9 gives the character more than 0.5
memory-N: inside a word that occurs in the last N characters
rare-word-N: in a word that occurs N times in the training text
after-space, after-newline, punctuation: where the error is
boost-P: the probability plus P is 0.5 or more"""
"""What the kinds of the tables mean."""


def errors_pictures(report: ErrorReport) -> list[RenderableType]:
    """Return what shows a report: a bar for each model, the table of the first, and the changes to the others."""
    pictures: list[RenderableType] = [Text(TITLE, style="bold")]
    for model in report.models:
        num_errors, num_chars = counted(model.num_errors, "error"), counted(report.num_chars, "character")
        head = f"{all_visible(model.run)}: {num_errors} in {num_chars}"
        pictures.append(Text(f"\n{head} ({model.share:.1%}), {model.nats_per_char:.4f} nats/char"))
        groups = model.by_group()
        pictures.append(StackedBar([(name, num / max(1, model.num_errors)) for name, num in groups.items()]))
    if report.num_chars + 1 < report.text_length:
        share = 100 * report.num_chars / report.text_length
        pictures.append(Text(f"Scored: {share:.2g} % of the text, in segments spread evenly over it."))
    first, *others = report.models
    pictures += [_table_of_one(first), Text(LEGEND, style="dim")]
    pictures += [_changes(first, other) for other in others]
    return pictures


def _table_of_one(model: ModelErrors) -> RenderableType:
    table = plain_table("kind", "errors", "share", "nats/char", "", right=("errors", "share", "nats/char"))
    table.padding = (0, 1, 0, 0)
    for one in (kind for kind in model.kinds if kind.num_errors):
        numbers = f"{one.num_errors:,}", f"{one.share:.1%}", f"{one.nats:.4f}"
        table.add_row(one.kind, *numbers, Bar(one.share))
    total = sum(one.nats for one in model.kinds)
    table.add_row("all", f"{model.num_errors:,}", "", f"{total:.4f}", "", style="bold")
    name = all_visible(model.run)
    return Group(Text(f"\n{name}: share of its errors, and what they add to its mean loss in nats/char"), table)


def _changes(first: ModelErrors, other: ModelErrors) -> RenderableType:
    """Build the table of the errors of the first model that another one has not, and the reverse.

    The last column divides what is fixed, less what is new, by the difference of the two models.
    """
    columns = ("errors", "fixed", "new", "errors now", "share")
    table = plain_table("kind", *columns, right=columns)
    table.padding = (0, 1, 0, 0)
    difference = first.num_errors - other.num_errors
    for before, after in zip(first.kinds, other.kinds, strict=True):
        if before.num_errors == after.num_errors == 0:
            continue
        fixed, new = after.num_fixed or 0, after.num_new or 0
        share = f"{(fixed - new) / difference:.1%}".replace("-0.0%", "0.0%") if difference else ""
        table.add_row(before.kind, *_counts(before.num_errors, fixed, new, after.num_errors), share)
    sums = [
        sum(values) for values in zip(*((one.num_fixed or 0, one.num_new or 0) for one in other.kinds), strict=True)
    ]
    table.add_row("all", *_counts(first.num_errors, *sums, other.num_errors), "", style="bold")
    names = f"{all_visible(other.run)} in place of {all_visible(first.run)}"
    change = "fewer errors" if difference >= 0 else "more errors"
    return Group(Text(f"{names}: {abs(difference):,} {change}; share: of this difference"), table)


def _counts(*numbers: int) -> Sequence[str]:
    return [f"{number:,}" for number in numbers]
