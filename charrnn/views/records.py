"""Draw the records of the core: what `view` of a record returns."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from charrnn.cells.records import (
    CellFindings,
    CellPage,
    CellPassage,
    ColouredText,
    Passage,
)
from charrnn.cells.trace import Trace
from charrnn.evaluation.loss_reports import Evaluation, EvaluationRow, LossReport
from charrnn.generation.generated_text import GeneratedText, Prediction
from charrnn.runs.overview import LearningCurves, ModelDescription, RunSummary
from charrnn.views.cell_pages import page_pictures, passage_list
from charrnn.views.charts import learning_chart
from charrnn.views.findings_tables import findings_pictures
from charrnn.views.heatmap import (
    HeatMap,
    scale_of_text,
    surprise_map,
)
from charrnn.views.passages import passage_pictures
from charrnn.views.svg import print_all as print_all
from charrnn.views.tables import (
    evaluation_view,
    losses_table,
    plain_table,
    predictions_table,
    runs_view,
)
from charrnn.views.theme import all_visible

MAX_CHARS = 4_000
"""Maximum number of characters of a text that are coloured: a notebook stores its outputs."""


def _cut_picture(picture: HeatMap) -> Sequence[RenderableType]:
    """Draw the beginning of a coloured text, below its legend."""
    coloured = picture.coloured
    shown = replace(
        coloured,
        text=coloured.text[:MAX_CHARS],
        values=coloured.values[:MAX_CHARS],
        guesses=coloured.guesses[:MAX_CHARS],
        inside=coloured.inside[:MAX_CHARS],
    )
    pictures = [*picture.legend(), replace(picture, coloured=shown)]
    if (num_chars := len(coloured.text)) > MAX_CHARS:
        pictures.append(Text(f"The first {MAX_CHARS:,} of {num_chars:,} characters.", style="dim"))
    return pictures


def _generated_pictures(generated: GeneratedText) -> Sequence[RenderableType]:
    # Line ends stay, so that verses look like verses; other control characters become marks.
    lines = generated.text.split("\n")
    return [Text("\n".join(map(all_visible, lines)))]


def view_record(record: object) -> Sequence[RenderableType]:
    """Return the view of a record of the core; nothing for another object."""
    match record:
        case CellFindings():
            title = (
                f"{record.num_cells:,} cells over {record.num_chars:,} characters; chosen on the"
                " first half, scored on the second"
            )
            return findings_pictures(title, record)
        case CellPage():
            return page_pictures(record)
        case ColouredText():
            return _cut_picture(HeatMap(record, scale=scale_of_text(record)))
        case Evaluation():
            return [evaluation_view(record)]
        case GeneratedText():
            return _generated_pictures(record)
        case LearningCurves():
            return [learning_chart(record)]
        case ModelDescription():
            return [plain_table("model", record.name, rows=record.rows())]
        case Trace():
            bits = ColouredText(text=record.text, values=tuple(record.bits.tolist()))
            return _cut_picture(surprise_map(bits))
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
        return passage_list(records)
    if kind is LossReport:
        return [losses_table([EvaluationRow(name="", loss=loss) for loss in records])]
    if kind is Passage:
        return passage_pictures(records)
    if kind is Prediction:
        return [predictions_table(records)]
    if kind is RunSummary:
        return [runs_view(records)]
    if hasattr(kind, "view_together"):
        pictures: Sequence[RenderableType] = kind.view_together(records)
        return pictures
    return ()
