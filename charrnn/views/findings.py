"""Draw findings: the ranked tables with what their columns mean, and passages coloured by the best cells."""

from collections.abc import Mapping, Sequence

from rich.console import RenderableType
from rich.text import Text

from charrnn.cells.records import CellFindings, Passage
from charrnn.views.heatmap import HeatMap, Legend
from charrnn.views.tables import contributions_table, findings_table, footnotes, polarity_text, skipped_lines
from charrnn.views.theme import all_visible

LEGEND = (
    "chance: chance level, from shifted labels; untrained: the same choice in an untrained baseline; inner: interior "
    "score, five or more characters after a label changed (R² for a count)"
)
"""The columns of the table of findings, in short."""
TRUTH = "where the detector is on"
"""What is underlined in a passage."""
NOT_COUNTS = " (not for counts)"
"""What a legend adds where a passage belongs to a count detector."""
ABOUT_CONTRIBUTIONS = (
    "Left: how well 1, 2, 4, … cells together predict the label, best cell first (AUC, or R² of a count). Right: the "
    "contribution of the best cell inside and outside (nats/character), where the label changes most often"
)
"""What stands above the table of probes and contributions."""


def findings_pictures(title: str, findings: CellFindings, *, has_contributions: bool) -> list[RenderableType]:
    """Draw the tables, and say what the marks mean and which detectors are not scored."""
    pictures: list[RenderableType] = [Text(title, style="bold"), findings_table(findings)]
    if findings.scores:
        pictures += [Text(LEGEND, style="dim"), Text()]
    if has_contributions and findings.scores:
        pictures += [Text(ABOUT_CONTRIBUTIONS, style="bold"), contributions_table(findings)]
    if not any(score.is_significant for score in findings.scores):
        pictures += [Text("No cell follows a detector better than chance."), Text()]
    elif notes := footnotes(findings):
        pictures += [*map(Text, notes), Text()]
    if findings.skipped:
        pictures += [skipped_lines(findings.skipped), Text()]
    return pictures


def passage_pictures(
    passages: Sequence[Passage], looks_for: Mapping[str, str] | None = None, *, has_sparkline: bool = False
) -> list[RenderableType]:
    """Draw each passage, coloured by its cell. `looks_for` describes each detector, for the captions."""
    has_underlines = any(passage.coloured.inside for passage in passages)
    has_counts = not all(passage.coloured.inside for passage in passages)
    underlined = (TRUTH + NOT_COUNTS * has_counts) * has_underlines
    pictures: list[RenderableType] = [Legend(underlined=underlined), Text()] if passages else []
    for passage in passages:
        score = passage.score
        about = looks_for[score.detector] if looks_for else ""
        # A regular expression without a name is its own name.
        described = f" ({about})" if about and not about.endswith(f" of {score.detector}") else ""
        caption = f"cell {score.layer}:{score.unit} follows {score.detector}{described}"
        known = ", no better than the untrained network" if score.is_no_better_than_untrained else ""
        pictures.append(Text(all_visible(f"{caption}: {polarity_text(score)}{known}"), style="bold"))
        pictures += [HeatMap(passage.coloured, has_sparkline or None), Text()]
    return pictures
