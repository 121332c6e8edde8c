"""Draw records of the core, and objects in a notebook as HTML: the renderables of the terminal,
and charts as SVG.

Text without a colour has the text colour of the notebook; all other colours are legible on white
and on black.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from rich.color import parse_rgb_hex
from rich.console import Group, RenderableType
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from charrnn.cells.findings import (
    CellFindings,
    CellPage,
    CellPassage,
    CellValues,
    ColouredText,
    Passage,
)
from charrnn.cells.study import Study
from charrnn.cells.trace import Trace
from charrnn.evaluation.loss_reports import Evaluation, LossReport
from charrnn.generation.generated_text import GeneratedText, Prediction
from charrnn.runs.learning_curves import LearningCurve, LearningCurves
from charrnn.runs.overview import ModelDescription, RunSummary
from charrnn.system.display import Displayable
from charrnn.views.cell_page import PassageList, draw_parts, page_pictures, values_parts
from charrnn.views.charts import learning_chart
from charrnn.views.findings_tables import findings_pictures, passage_pictures
from charrnn.views.heatmap import (
    HeatMap,
    scale_of_text,
    surprise_map,
)
from charrnn.views.svg import FONTS, SvgDrawing, print_all, to_svg
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
CHARS_OF_STUDY = 60
"""Characters of the text of a study that stand in its table."""
MAX_GUESSED = 1_000
"""Maximum number of characters of a text with guesses, whose HTML is about eight times as large."""
_INKS = ("#767676", "#cd4141", "#1e8a46", "#a07000", "#4673e1", "#a555af", "#00808c", "#7d7d7d")
NOTEBOOK = TerminalTheme(
    background=(246, 246, 246),
    foreground=(0, 0, 0),
    normal=[parse_rgb_hex(ink[1:]) for ink in _INKS],
)
"""The theme of text in a notebook: its colours have a luminance between a dark and a light
background.

The first two colours only determine the grey of dim text."""
_PRE = (
    f'<pre style="font-family: {FONTS.replace(chr(39), "&quot;")}; white-space: pre; overflow-x:'
    ' auto; line-height: 1.3; color: inherit; background: none">{code}</pre>'
)


def to_html(value: Displayable) -> str | None:
    """Return the view of an object as HTML without scripts; None for an object without a view."""
    # Charts become SVG, and all renderables between two charts become one block of text.
    renderables = value.view()
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
    picture = HeatMap(shown, scale_of_text(coloured))
    return [*picture.legend(), picture, *cut]


def _surprise_pictures(trace: Trace) -> Sequence[RenderableType]:
    surprise = surprise_map(trace.text[:MAX_CHARS], trace.bits[:MAX_CHARS].tolist())
    return [*surprise.legend(), surprise, *_cut(trace.text)]


def _generated_pictures(generated: GeneratedText) -> Sequence[RenderableType]:
    # Line ends stay, so that verses look like verses; other control characters become marks.
    lines = generated.text[:MAX_CHARS].split("\n")
    return [Text("\n".join(map(all_visible, lines))), *_cut(generated.text)]


def _findings_pictures(findings: CellFindings) -> Sequence[RenderableType]:
    title = (
        f"{findings.num_cells:,} cells over {findings.num_chars:,} characters; chosen on the first"
        " half, scored on the second"
    )
    return findings_pictures(title, findings)


def _study_pictures(study: Study) -> Sequence[RenderableType]:
    rows = [
        ("choosing half", f"{study.half:,} characters, by which cells are chosen"),
        ("scoring half", f"{len(study.text) - study.half:,} characters, on which they are scored"),
        ("cells", f"{study.num_cells:,}: {study.num_layers} × {study.num_units}"),
        ("begins", all_visible(study.text.text[:CHARS_OF_STUDY])),
    ]
    return [plain_table("study", f"{len(study.text):,} characters", rows=rows)]


def view_record(record: object) -> Sequence[RenderableType]:
    """Return the view of a record of the core, or of one with parts; nothing for another
    object."""
    if hasattr(record, "parts"):
        return draw_parts(record.parts())
    match record:
        case CellFindings():
            return _findings_pictures(record)
        case CellPage():
            return page_pictures(record)
        case CellValues():
            return draw_parts(values_parts(record))
        case ColouredText():
            return _text_pictures(record)
        case Evaluation():
            return [evaluation_view(record)]
        case GeneratedText():
            return _generated_pictures(record)
        case LearningCurves():
            return [learning_chart(record)]
        case ModelDescription():
            return [plain_table("model", record.name, rows=record.rows())]
        case Study():
            return _study_pictures(record)
        case Trace():
            return _surprise_pictures(record)
    return _view_together(type(record), [record])


def view_records(records: Sequence[Any]) -> Sequence[RenderableType]:
    """Return the view of several records: one table or chart of records of one type, if that has
    one, or else the view of each."""
    kinds = {type(record) for record in records}
    pictures: list[RenderableType] = []
    if len(kinds) == 1:
        pictures += _view_together(kinds.pop(), records)
    if not pictures:
        for record in records:
            pictures += record.view()
    return pictures


def _view_together(kind: type, records: Sequence[Any]) -> Sequence[RenderableType]:
    """Return the table or the chart of records of a type; nothing for a type that has none."""
    if kind is CellPassage:
        return [PassageList(records)]
    if kind is LearningCurve:
        return [learning_chart(LearningCurves(curves=tuple(records)))]
    if kind is LossReport:
        return [losses_table(records)]
    if kind is Passage:
        return [Group(*passage_pictures(records))]
    if kind is Prediction:
        return [predictions_table(records)]
    if kind is RunSummary:
        return [runs_view(records)]
    if hasattr(kind, "view_together"):
        pictures: Sequence[RenderableType] = kind.view_together(records)
        return pictures
    return ()
