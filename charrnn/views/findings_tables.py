"""Draw findings: the ranked table of the best cells, the explanation of its columns and marks, and
the detectors that were not scored.

The passages below it are drawn by `passages`, and the page of one cell by `cell_pages`.
"""

from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from charrnn.cells.records import CellFindings, CellScore, Skipped
from charrnn.views.scores import MEANINGS, ends_text, score_mark, score_number, score_text
from charrnn.views.tables import Columns, records_table
from charrnn.views.theme import all_visible

LEGEND = (
    "chance: chance level, from shifted labels; untrained: the same choice in an untrained baseline"
)
"""The explanation of the columns of the table of findings, without the last column."""
ABOUT_INNER = "; inner: interior score, five or more characters after a label changed"
"""The explanation of the last column."""
ABOUT_CARD = "; held-out: the score of the best cell on real text, unseen in training"
"""The explanation of the last column for an included model."""


FINDINGS_COLUMNS: Columns = {
    "detector": "{detector}",
    "cell": "{layer}:{unit}",
    "score": lambda score: score_text(score) + score_mark(score),
    "95 % interval": lambda score: ends_text(score.ci_low, score.ci_high),
    "chance": lambda score: _number_or_blank(score.null_level),
    "untrained": lambda score: _number_or_blank(score.untrained),
    "inner": lambda score: _number_or_blank(score.interior),
}
"""The columns of the table of findings: `chance` is the chance level, `inner` the interior score
of a yes/no detector."""


def _number_or_blank(value: float | None) -> str:
    return "" if value is None else score_number(value)


def findings_table(findings: CellFindings, card: Sequence[CellScore] = ()) -> Table:
    """Build the table of findings, one row per detector, strongest cell first; rows with a mark are
    dim. The scores on the `card` of an included model, if it has one, replace the last column:
    there is no room for another."""
    columns = dict(FINDINGS_COLUMNS)
    if card:
        card_scores = {score.detector: score_text(score) for score in card}
        del columns["inner"]
        columns["held-out"] = lambda score: card_scores.get(score.detector, "")
    return records_table(
        columns,
        findings.scores,
        left=("detector",),
        style=lambda score: "dim" if score_mark(score) else None,
    )


def skipped_line(skipped: Sequence[Skipped]) -> Text:
    """Return a line with detectors that were not scored, and the reason if it is the same for
    all."""
    line = f"{', '.join(detector.detector for detector in skipped)}: not scored"
    if len({detector.reason for detector in skipped}) == 1:
        line += f", {skipped[0].reason}"
    return Text(all_visible(line), style="dim")


def scored_pictures(findings: CellFindings, card: Sequence[CellScore] = ()) -> list[RenderableType]:
    """Draw the table of findings, with the explanation of its columns and of the marks that occur
    in it. The scores on the `card` of an included model stand beside the findings."""
    about_last = ""
    if card:
        about_last = ABOUT_CARD
    elif any(score.interior is not None for score in findings.scores):
        about_last = ABOUT_INNER
    pictures: list[RenderableType] = [findings_table(findings, card)]
    pictures.append(Text(LEGEND + about_last, style="dim"))
    marks = set(map(score_mark, findings.scores))
    for mark, about in MEANINGS.items():
        if mark in marks:
            pictures.append(Text(f"{mark}: {about}."))
    return pictures


def findings_pictures(
    title: str,
    findings: CellFindings,
    *,
    card: Sequence[CellScore] = (),
) -> list[RenderableType]:
    """Draw the table, with the explanation of its columns and marks and the list of detectors that
    are not scored. `card` is as in `scored_pictures`.

    `findings_table` is the table alone.
    """
    pictures: list[RenderableType] = [Text(title, style="bold"), *scored_pictures(findings, card)]
    if not any(score.is_significant for score in findings.scores):
        pictures.append(Text("No cell follows a detector better than chance."))
    if findings.skipped:
        pictures.append(skipped_line(findings.skipped))
    return [*pictures, Text()]
