"""Draw findings: the ranked tables with the explanation of their columns, and passages coloured by
the best cells."""

from collections.abc import Mapping, Sequence

from rich.console import RenderableType
from rich.text import Text

from charrnn.cells.findings import CellFindings, CellScore, ColouredText, Passage
from charrnn.views.heatmap import (
    HeatMap,
    Legend,
    end_legend,
    scale_of_text,
    scale_pictures,
    whole_words,
)
from charrnn.views.tables import (
    findings_table,
    footnotes,
    meaning,
    polarity_text,
    skipped_line,
)
from charrnn.views.theme import all_visible

LEGEND = (
    "chance: chance level, from shifted labels; untrained: the same choice in an untrained"
    " baseline; "
)
"""The explanation of the columns of the table of findings, without the last column."""
ABOUT_INNER = "inner: interior score, five or more characters after a label changed"
"""The explanation of the last column."""
ABOUT_CARD = "held-out: the score of the best cell on real text, unseen in training"
"""The explanation of the last column for an included model."""


def findings_pictures(
    title: str,
    findings: CellFindings,
    *,
    card: Sequence[CellScore] = (),
) -> list[RenderableType]:
    """Draw the table, with the explanation of its columns and marks and the list of detectors that
    are not scored. The scores on the `card` of an included model stand beside the findings."""
    pictures: list[RenderableType] = [Text(title, style="bold"), findings_table(findings, card)]
    if findings.scores:
        about_last = ABOUT_CARD if card else ABOUT_INNER
        pictures += [Text(LEGEND + about_last, style="dim"), Text()]

    # If no score is significant, one sentence replaces the notes on every score.
    notes = footnotes(findings)
    if not any(score.is_significant for score in findings.scores):
        notes = ["No cell follows a detector better than chance."]
    if notes:
        pictures += [*map(Text, notes), Text()]
    if findings.skipped:
        pictures += [skipped_line(findings.skipped), Text()]
    return pictures


def passage_pictures(
    passages: Sequence[Passage],
    looks_for: Mapping[str, str] | None = None,
) -> list[RenderableType]:
    """Draw each passage, coloured by its cell. `looks_for` describes each detector, for the
    captions."""
    # The first legend explains the underlines. A detector that counts underlines nothing.
    are_underlined = [bool(passage.coloured.inside) for passage in passages]
    underlined = ""
    if all(are_underlined) and passages:
        underlined = "where the detector is on"
    elif any(are_underlined):
        underlined = "where the detector is on (not for those that count)"

    pictures: list[RenderableType] = []
    scales = [scale_of_text(passage.coloured) for passage in passages]
    if not all(scale.is_own for scale in scales):
        pictures.append(Legend(underlined=underlined))
        underlined = ""
    pictures += end_legend("".join(passage.coloured.text for passage in passages))
    for passage, scale in zip(passages, scales, strict=True):
        score = passage.score
        caption = f"cell {score.layer}:{score.unit} follows {score.detector}"
        about = looks_for[score.detector] if looks_for else ""
        # The name of a regular expression may be the expression itself, which its description
        # would repeat.
        if about and not about.endswith(f" of {score.detector}"):
            caption += f" ({about})"
        polarity = polarity_text(score)
        # The legend above all passages is that of cells that are high inside.
        if scale.is_turned and not scale.is_own:
            polarity += ", so its scale goes from +1 to -1"
        phrases = filter(None, (polarity, meaning(score)))
        if pictures:
            pictures.append(Text())
        pictures.append(Text(all_visible(f"{caption}: {', '.join(phrases)}"), style="bold"))
        if scale.is_own:
            pictures += scale_pictures(scale, underlined)
            underlined = ""
        pictures.append(HeatMap(_whole_words_of(passage), scale))
    return pictures


def _whole_words_of(passage: Passage) -> ColouredText:
    """Return the text of a passage without the words that its ends cut."""
    return whole_words(
        passage.coloured,
        begins_inside_line=passage.begins_inside_line,
        ends_inside_text=passage.ends_inside_text,
    )
