"""Draw findings: the ranked tables with what their columns mean, and passages coloured by the best
cells."""

from collections.abc import Mapping, Sequence

from rich.console import RenderableType
from rich.text import Text

from charrnn.cells.findings import CellFindings, Passage
from charrnn.views.heatmap import HeatMap, Legend, scale_pictures
from charrnn.views.tables import (
    contributions_table,
    findings_table,
    footnotes,
    meaning,
    polarity_text,
    skipped_lines,
)
from charrnn.views.theme import Scale, all_visible, scale_of

LEGEND = (
    "chance: chance level, from shifted labels; untrained: the same choice in an untrained"
    " baseline; inner: interior score, five or more characters after a label changed (R² for a"
    " count)"
)
"""The columns of the table of findings, in short."""
ABOUT_CONTRIBUTIONS = (
    "Left: how well 1, 2, 4, … cells together predict the label, best cell first (AUC, or R² of a"
    " count). Right: the contribution of the best cell inside and outside (nats/character), where"
    " the label changes most often"
)
"""What stands above the table of probes and contributions."""


def findings_pictures(
    title: str, findings: CellFindings, *, has_contributions: bool
) -> list[RenderableType]:
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
    passages: Sequence[Passage],
    looks_for: Mapping[str, str] | None = None,
    *,
    has_sparkline: bool = False,
) -> list[RenderableType]:
    """Draw each passage, coloured by its cell. `looks_for` describes each detector, for the
    captions."""
    has_underlines = any(passage.coloured.inside for passage in passages)
    has_counts = not all(passage.coloured.inside for passage in passages)
    underlined = ("where the detector is on" + " (not for counts)" * has_counts) * has_underlines
    scales = [scale_of(passage.coloured.values) for passage in passages]
    needs_legend = not all(scale.is_own for scale in scales)
    pictures: list[RenderableType] = [Legend(underlined=underlined), Text()] if needs_legend else []
    for passage, scale in zip(passages, scales, strict=True):
        score = passage.score
        about = looks_for[score.detector] if looks_for else ""
        # A regular expression without a name is its own name.
        described = f" ({about})" if about and not about.endswith(f" of {score.detector}") else ""
        caption = f"cell {score.layer}:{score.unit} follows {score.detector}{described}"
        said = filter(None, (polarity_text(score), meaning(score)))
        pictures.append(Text(all_visible(f"{caption}: {', '.join(said)}"), style="bold"))
        if scale.is_own:
            pictures += scale_pictures(scale, underlined)
        pictures += [HeatMap(passage.coloured, has_sparkline, scale), Text()]
    return pictures


def slide_pictures(texts: Sequence[tuple[str, Scale, RenderableType]]) -> list[RenderableType]:
    """Draw each text below what is said of it and the scale: all that a slide has room for."""
    pictures: list[RenderableType] = []
    for about, scale, drawn in texts:
        caption = all_visible(about + ": red {}, blue {}".format(*scale.ends))
        pictures += [*([Text()] if pictures else ()), Text(caption, style="bold"), drawn]
    return pictures


def passage_slides(
    passages: Sequence[Passage], *, has_sparkline: bool = False
) -> list[RenderableType]:
    """Draw each passage below its cell, its detector and, if chance or no training explains it, the
    mark of that."""
    texts = []
    for passage in passages:
        score, scale = passage.score, scale_of(passage.coloured.values)
        mark = "".join(
            f" ({note.rstrip('.')})" for note in footnotes(CellFindings(scores=(score,)))
        )
        about = f"cell {score.layer}:{score.unit} follows {score.detector}{mark}"
        texts.append((about, scale, HeatMap(passage.coloured, has_sparkline, scale)))
    return slide_pictures(texts)
