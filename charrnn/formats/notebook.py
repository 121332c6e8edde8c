"""The HTML by which objects show themselves in a notebook: the renderables of the terminal, and
charts as SVG.

Text without a colour of its own has that of the notebook; other colours are legible on white and on
black.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from charrnn.api import Model
from charrnn.cells.findings import (
    Ablation,
    CellFindings,
    CellPage,
    CellPassage,
    CellValues,
    ColouredText,
    Passage,
)
from charrnn.cells.trace import Trace
from charrnn.evaluation.loss_reports import Evaluation, LossReport
from charrnn.generation.generated import GeneratedText, Prediction
from charrnn.hooks.manager import has_room
from charrnn.runs.overview import LearningCurve, LearningCurves, ModelDescription, RunSummary
from charrnn.system.display import Displayable, RecordList, RecordTuple
from charrnn.views.cell_page import PassageList, page_pictures, values_pictures
from charrnn.views.charts import learning_chart
from charrnn.views.findings_tables import findings_pictures, passage_pictures
from charrnn.views.heatmap import (
    ABOUT_GUESSES,
    SURPRISE_LEGEND,
    GuessMap,
    HeatMap,
    Legend,
    SurpriseMap,
    scale_pictures,
)
from charrnn.views.svg import FONTS, SvgDrawing, print_all, terminal_theme, to_svg
from charrnn.views.tables import (
    ablation_table,
    evaluation_view,
    losses_table,
    plain_table,
    runs_view,
)
from charrnn.views.theme import all_visible, scale_of

MAX_CHARS = 4_000
"""Characters of a text that are drawn at most; a notebook keeps its outputs."""
MAX_GUESSED = 1_000
"""The same for a text with guesses, which is about eight times as large."""
_INKS = ("#767676", "#cd4141", "#1e8a46", "#a07000", "#4673e1", "#a555af", "#00808c", "#7d7d7d")
NOTEBOOK = terminal_theme("#f6f6f6", "#000000", _INKS)
"""The theme of text in a notebook: colours of a luminance between that of dark and of light paper.

The first two colours only determine the grey of dim text."""
_PRE = (
    f'<pre style="font-family: {FONTS.replace(chr(39), "&quot;")}; white-space: pre; overflow-x:'
    ' auto; line-height: 1.3; color: inherit; background: none">{code}</pre>'
)


def to_html(value: object) -> str | None:
    """Return an object as HTML without scripts; None if there is no picture of such an object."""
    shown = pictures(value)
    if not shown:
        return None
    parts: list[str] = []
    for is_drawing, group in groupby(shown, key=lambda picture: isinstance(picture, SvgDrawing)):
        together = list(group)
        parts += map(_drawn, together) if is_drawing else [_written(together)]
    return f"<div>{''.join(parts)}</div>"


def pictures(value: object) -> Sequence[RenderableType]:
    """Return the renderables that show an object; none for an object that has no picture."""
    kind = type(value)
    if isinstance(value, RecordList | RecordTuple):
        kinds = {type(record) for record in value}
        if len(kinds) == 1 and (draw := _TOGETHER.get(kinds.pop())) is not None:
            return [draw(value)]
        return [picture for record in value for picture in pictures(record)]
    if kind in _TOGETHER:
        return [_TOGETHER[kind]([value])]
    if kind in _PICTURES:
        return _PICTURES[kind](value)
    return value.view() if isinstance(value, Displayable) else ()


def _drawn(picture: RenderableType) -> str:
    """Return a chart as SVG on paper of its own, at most as wide as the notebook."""
    return to_svg([picture]).replace("<svg ", '<svg style="max-width: 100%; height: auto" ', 1)


def _written(group: Sequence[RenderableType]) -> str:
    # The background of a notebook is unknown.
    return print_all(group, _environ={}).export_html(
        theme=NOTEBOOK, code_format=_PRE, inline_styles=True
    )


def _cut(text: str | bytes, most: int = MAX_CHARS) -> Sequence[RenderableType]:
    """Say how much of a text is drawn, if that is not all of it."""
    return [Text(f"The first {most:,} of {len(text):,} characters.", style="dim")] * (
        len(text) > most
    )


def _text_pictures(coloured: ColouredText) -> Sequence[RenderableType]:
    most = MAX_GUESSED if coloured.guesses else MAX_CHARS
    shown, values, cut = coloured.text[:most], coloured.values[:most], _cut(coloured.text, most)
    if coloured.guesses:
        return Legend(), Text(ABOUT_GUESSES), GuessMap(shown, values, coloured.guesses[:most]), *cut
    scale, drawn = (
        scale_of(values),
        replace(coloured, text=shown, values=values, inside=coloured.inside[:most]),
    )
    return *scale_pictures(scale), HeatMap(drawn, scale=scale), *cut


def _surprise_pictures(trace: Trace) -> Sequence[RenderableType]:
    return (
        SURPRISE_LEGEND,
        SurpriseMap(trace.text[:MAX_CHARS], trace.bits[:MAX_CHARS].tolist()),
        *_cut(trace.text),
    )


def _generated_pictures(generated: GeneratedText) -> Sequence[RenderableType]:
    return [
        Text("\n".join(map(all_visible, generated.text[:MAX_CHARS].split("\n")))),
        *_cut(generated.text),
    ]


def _findings_pictures(findings: CellFindings) -> Sequence[RenderableType]:
    title = (
        f"{findings.num_cells:,} cells over {findings.num_chars:,} characters; chosen on the first"
        " half, scored on the second"
    )
    has_contributions = any(score.ablation_inside is not None for score in findings.scores)
    return findings_pictures(title, findings, has_contributions=has_contributions)


_TOGETHER: dict[type, Callable[[Sequence[Any]], RenderableType]] = {
    CellPassage: PassageList,
    LearningCurve: lambda curves: learning_chart(LearningCurves(curves=tuple(curves))),
    LossReport: losses_table,
    Passage: lambda passages: Group(*passage_pictures(passages)),
    RunSummary: runs_view,
}
"""What shows several records of a type in one picture."""
_PICTURES: dict[type, Callable[[Any], Sequence[RenderableType]]] = {
    Ablation: lambda ablation: [ablation_table(ablation)],
    CellFindings: _findings_pictures,
    CellPage: page_pictures,
    CellValues: values_pictures,
    ColouredText: _text_pictures,
    Evaluation: lambda evaluation: [evaluation_view(evaluation)],
    GeneratedText: _generated_pictures,
    LearningCurves: lambda curves: [learning_chart(curves)],
    Model: lambda model: pictures(model.description),
    ModelDescription: lambda model: [plain_table("model", model.name, rows=model.rows())],
    Trace: _surprise_pictures,
}
"""What shows a record that has no `view` of its own."""
if has_room("analyses"):
    from charrnn.analyses.directions import Direction, DirectionText, direction_pictures
    from charrnn.analyses.gradients.reach import GradientReach, gradient_chart
    from charrnn.analyses.history import CellHistory, history_table
    from charrnn.analyses.numbers import predictions_table

    _TOGETHER |= {
        CellHistory: history_table,
        GradientReach: gradient_chart,
        Prediction: predictions_table,
    }
    _PICTURES |= {
        Direction: direction_pictures,
        DirectionText: lambda shown: [
            *direction_pictures(shown.direction),
            *_text_pictures(shown.coloured),
        ],
    }
