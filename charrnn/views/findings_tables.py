"""Draw findings: the ranked tables with the explanation of their columns, and passages coloured by
the best cells."""

from collections.abc import Mapping, Sequence

from rich.console import RenderableType
from rich.text import Text

from charrnn.cells.findings import CellFindings, CellScore, Passage
from charrnn.views.heatmap import HeatMap, end_legend, scale_of_text, scale_pictures, whole_words
from charrnn.views.tables import (
    MEANINGS,
    findings_table,
    meaning,
    polarity_text,
    score_line,
    score_mark,
    skipped_line,
)
from charrnn.views.theme import all_visible

LEGEND = (
    "chance: chance level, from shifted labels; untrained: the same choice in an untrained baseline"
)
"""The explanation of the columns of the table of findings, without the last column."""
ABOUT_INNER = "; inner: interior score, five or more characters after a label changed"
"""The explanation of the last column."""
ABOUT_CARD = "; held-out: the score of the best cell on real text, unseen in training"
"""The explanation of the last column for an included model."""


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
    are not scored. `card` is as in `scored_pictures`."""
    pictures: list[RenderableType] = [Text(title, style="bold"), *scored_pictures(findings, card)]
    if not any(score.is_significant for score in findings.scores):
        pictures.append(Text("No cell follows a detector better than chance."))
    if findings.skipped:
        pictures.append(skipped_line(findings.skipped))
    return [*pictures, Text()]


def passage_pictures(
    passages: Sequence[Passage],
    looks_for: Mapping[str, str] | None = None,
) -> list[RenderableType]:
    """Draw each passage, coloured by its cell, below a caption and the scale if it is not that of
    the passage before. `looks_for` describes each detector, for the captions."""
    pictures = end_legend("".join(passage.coloured.text for passage in passages))
    before = None
    for passage in passages:
        score = passage.score
        coloured = passage.coloured
        caption = f"cell {score.layer}:{score.unit} follows {score.detector}"
        if looks_for:
            caption += f" ({looks_for[score.detector]})"
        phrases = filter(None, (polarity_text(score), meaning(score)))
        if pictures:
            pictures.append(Text())
        pictures.append(Text(all_visible(f"{caption}: {', '.join(phrases)}"), style="bold"))
        pictures.append(Text(score_line(score)))

        # A detector that counts underlines nothing.
        scale = scale_of_text(coloured)
        key = (scale, bool(coloured.inside))
        if key != before:
            underlined = "where the detector is on" if coloured.inside else ""
            pictures += scale_pictures(scale, underlined)
        before = key
        shown = whole_words(
            coloured,
            begins_inside_line=passage.begins_inside_line,
            ends_inside_text=passage.ends_inside_text,
        )
        pictures.append(HeatMap(shown, scale))
    return pictures
