"""Draw objects in a notebook as HTML: the renderables of the terminal, and charts as SVG.

Text without a colour has the text colour of the notebook; all other colours are legible on white
and on black.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from charrnn.cells.findings import (
    CellFindings,
    CellPage,
    CellPassage,
    CellValues,
    ColouredText,
    Passage,
)
from charrnn.cells.trace import Trace
from charrnn.evaluation.loss_reports import Evaluation, LossReport
from charrnn.generation.generated_text import GeneratedText, Prediction
from charrnn.runs.learning_curves import LearningCurve, LearningCurves
from charrnn.runs.overview import ModelDescription, RunSummary
from charrnn.system.display import Displayable, RecordList, RecordTuple
from charrnn.views.cell_page import PassageList, page_pictures, values_pictures
from charrnn.views.charts import learning_chart
from charrnn.views.findings_tables import findings_pictures, passage_pictures
from charrnn.views.heatmap import (
    ABOUT_GUESSES,
    SURPRISE_LEGEND,
    GuessMap,
    HeatMap,
    scale_of_text,
    scale_pictures,
    surprise_map,
)
from charrnn.views.svg import FONTS, SvgDrawing, print_all, terminal_theme, to_svg
from charrnn.views.tables import (
    evaluation_view,
    losses_table,
    plain_table,
    predictions_table,
    runs_view,
)
from charrnn.views.theme import all_visible

MAX_CHARS = 4_000
"""Maximum number of characters of a text that are drawn: a notebook stores its outputs."""
MAX_GUESSED = 1_000
"""Maximum number of characters of a text with guesses, whose HTML is about eight times as large."""
_INKS = ("#767676", "#cd4141", "#1e8a46", "#a07000", "#4673e1", "#a555af", "#00808c", "#7d7d7d")
NOTEBOOK = terminal_theme("#f6f6f6", ink="#000000", colours=_INKS)
"""The theme of text in a notebook: its colours have a luminance between a dark and a light
background.

The first two colours only determine the grey of dim text."""
_PRE = (
    f'<pre style="font-family: {FONTS.replace(chr(39), "&quot;")}; white-space: pre; overflow-x:'
    ' auto; line-height: 1.3; color: inherit; background: none">{code}</pre>'
)


def to_html(value: object) -> str | None:
    """Return an object as HTML without scripts; None if there is no picture of such an object."""
    # Charts become SVG, and all renderables between two charts become one block of text.
    renderables = pictures(value)
    if not renderables:
        return None
    html = ""
    for is_drawing, group in groupby(
        renderables, key=lambda picture: isinstance(picture, SvgDrawing)
    ):
        if is_drawing:
            html += "".join(map(_drawn, group))
        else:
            # The background of a notebook is unknown.
            html += print_all(group, _environ={}).export_html(
                theme=NOTEBOOK, code_format=_PRE, inline_styles=True
            )
    return f"<div>{html}</div>"


def pictures(value: object) -> Sequence[RenderableType]:
    """Return the renderables that show an object; none for an object that has no picture."""
    if isinstance(value, RecordList | RecordTuple):
        kinds = {type(record) for record in value}
        draw = _together(kinds.pop()) if len(kinds) == 1 else None
        if draw is not None:
            return draw(value)
    elif type(value) in _PICTURES:
        return _PICTURES[type(value)](value)
    else:
        draw = _together(type(value))
        if draw is not None:
            return draw([value])

    if not isinstance(value, Displayable):
        return ()
    of_parts = [picture for part in value.parts() for picture in pictures(part)]
    return of_parts or value.view()


def _together(kind: type) -> Callable[[Sequence[Any]], Sequence[RenderableType]] | None:
    """Return the function that draws several records of a type in one picture, None if there is no
    such function."""
    draw: Callable[[Sequence[Any]], Sequence[RenderableType]] | None
    draw = _TOGETHER.get(kind) or getattr(kind, "view_together", None)
    return draw


def _drawn(picture: RenderableType) -> str:
    """Return a chart as SVG with its own background, at most as wide as the notebook."""
    return to_svg([picture]).replace("<svg ", '<svg style="max-width: 100%; height: auto" ', 1)


def _cut(text: str | bytes, most: int = MAX_CHARS) -> Sequence[RenderableType]:
    """Return a note with the number of characters that are drawn, nothing if the text is
    complete."""
    if len(text) <= most:
        return []
    return [Text(f"The first {most:,} of {len(text):,} characters.", style="dim")]


def _text_pictures(coloured: ColouredText) -> Sequence[RenderableType]:
    most = MAX_GUESSED if coloured.guesses else MAX_CHARS
    shown = replace(
        coloured,
        text=coloured.text[:most],
        values=coloured.values[:most],
        guesses=coloured.guesses[:most],
        inside=coloured.inside[:most],
    )
    cut = _cut(coloured.text, most)
    scale = scale_of_text(coloured)
    legend = scale_pictures(scale)
    if coloured.guesses:
        return [*legend, Text(ABOUT_GUESSES), GuessMap(shown, scale), *cut]
    return [*legend, HeatMap(shown, scale), *cut]


def _surprise_pictures(trace: Trace) -> Sequence[RenderableType]:
    surprise = surprise_map(trace.text[:MAX_CHARS], trace.bits[:MAX_CHARS].tolist())
    return [SURPRISE_LEGEND, surprise, *_cut(trace.text)]


def _generated_pictures(generated: GeneratedText) -> Sequence[RenderableType]:
    # Line ends stay, so that verses look like verses; other control characters become marks.
    lines = generated.text[:MAX_CHARS].split("\n")
    return [Text("\n".join(map(all_visible, lines))), *_cut(generated.text)]


def _findings_pictures(findings: CellFindings) -> Sequence[RenderableType]:
    title = (
        f"{findings.num_cells:,} cells over {findings.num_chars:,} characters; chosen on the first"
        " half, scored on the second"
    )
    return findings_pictures(title, findings, has_probes=False)


_TOGETHER: dict[type, Callable[[Sequence[Any]], Sequence[RenderableType]]] = {
    CellPassage: lambda passages: [PassageList(passages)],
    LearningCurve: lambda curves: [learning_chart(LearningCurves(curves=tuple(curves)))],
    LossReport: lambda reports: [losses_table(reports)],
    Passage: lambda passages: [Group(*passage_pictures(passages))],
    Prediction: lambda predictions: [predictions_table(predictions)],
    RunSummary: lambda runs: [runs_view(runs)],
}
"""The functions that draw several records of a type of the core in one picture."""
_PICTURES: dict[type, Callable[[Any], Sequence[RenderableType]]] = {
    CellFindings: _findings_pictures,
    CellPage: page_pictures,
    CellValues: values_pictures,
    ColouredText: _text_pictures,
    Evaluation: lambda evaluation: [evaluation_view(evaluation)],
    GeneratedText: _generated_pictures,
    LearningCurves: lambda curves: [learning_chart(curves)],
    ModelDescription: lambda model: [plain_table("model", model.name, rows=model.rows())],
    Trace: _surprise_pictures,
}
"""The functions that draw records without a `view` method."""
