"""The pictures of `charrnn visualize`, mode by mode: renderables for people, data for programs. Nothing is measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import RenderableType

    from charrnn.api import Model
    from charrnn.cells.records import CellFindings, CellPage, Passage
    from charrnn.cells.trace import Trace
    from charrnn.detectors.detector import Detector, Labels
    from charrnn.views.page import Page, PageRow
    from charrnn.views.svg import Layout

NUM_GUESSES = 5
"""Next characters that are shown below each character."""
ABOUT_COLUMNS = (
    "score: AUC, the probability that the cell ranks a character inside above one outside, or for a count Spearman's ρ",
    "chance: the score that the best of all cells stays below for 95 % of labels that were shifted along the text",
    "untrained: the score of the same choice in an untrained baseline; ρ keeps its sign",
    "inner: the AUC over characters five or more after a label changed; R² of a straight line for a count",
)
"""What stands under the table of an exported page."""


@dataclass(frozen=True)
class Shown:
    """A result, for people and for programs."""

    title: str
    """The name of an exported picture."""
    pictures: Sequence["RenderableType"]
    data: Any
    page: "Page | None" = None
    """What an exported .html shows, if that is more than the pictures."""
    arrays: "Mapping[str, NDArray[Any]]" = field(default_factory=dict)
    """What an exported .npz contains."""
    layout: "Layout | None" = None
    """The size and shape of an exported .svg or .png, if they were asked for."""


@dataclass(frozen=True)
class ColouredCells:
    """The values (N,) of some cells (layer, unit) at every character of a text, and their pages."""

    cells: "Sequence[tuple[int, int]]"
    values: "Sequence[NDArray[np.float32]]"
    pages: "Sequence[CellPage]"
    trace: "Trace | None" = None
    """With guesses, if they are shown or a page is exported."""


@dataclass(frozen=True)
class FoundCells:
    """The best cell for each detector, and passages that show the best of them."""

    findings: "CellFindings"
    passages: "Sequence[Passage]" = ()
    trace: "Trace | None" = None
    """Of the beginning of the scoring half with guesses, for an exported page."""
    labels: "Mapping[str, Labels]" = field(default_factory=dict)
    """The labels of the same characters, by detector."""
    atlas: Any = None
    """What an exported page or .json shows of all cells."""


def show_cells(model: "Model", text: str, found: ColouredCells, *, shows_guesses: bool, has_sparkline: bool) -> Shown:
    """Draw a text of N characters for each cell, with guesses or a sparkline if asked for, then its page."""
    from rich.text import Text

    from charrnn.cells.records import ColouredText
    from charrnn.model.registry import cell_type
    from charrnn.views.cell_page import page_pictures
    from charrnn.views.heatmap import ABOUT_GUESSES, GuessMap, HeatMap, Legend
    from charrnn.views.page import PageRow
    from charrnn.views.theme import all_visible

    kind = cell_type(model.config.cell).shows
    guesses = model.guesses(found.trace) if found.trace is not None and shows_guesses else []
    pictures: list[RenderableType] = []
    drawn = []
    for (layer, unit), values, cell_page in zip(found.cells, found.values, found.pages, strict=True):
        coloured = ColouredText(text=text, values=tuple(map(float, values)))
        drawn.append({"layer": layer, "unit": unit, "values": list(coloured.values), "page": cell_page.to_json()})
        pictures += [Text()] if pictures else []
        pictures.append(Text.assemble((f"cell {layer}:{unit} of {all_visible(model.name)}", "bold"), f", {kind}  "))
        if len(drawn) == 1:
            pictures += [Legend(), Text(ABOUT_GUESSES)] if shows_guesses else [Legend()]
        heat_map = HeatMap(coloured, has_sparkline or None)
        pictures.append(GuessMap(text, coloured.values, guesses) if shows_guesses else heat_map)
        pictures += [Text(), *page_pictures(cell_page, has_sparkline=has_sparkline)]
    # The first cell is repeated at the top level, for programs written when there could be only one.
    first = {name: drawn[0][name] for name in ("layer", "unit", "values")}
    data = {"run": model.name, **first, "text": text, "cells": drawn}
    names = [f"{layer}:{unit}" for layer, unit in found.cells]
    title = f"{'A cell' if len(names) == 1 else 'Cells'} of {model.name}"
    rows = [PageRow(shown=[name], cell=cell) for name, cell in zip(names, found.cells, strict=True)]
    page = None if found.trace is None else _page(model, found.trace, title, ["cell"], rows)
    return Shown(f"{model.name}: {', '.join(names)}", pictures, data | ({"guesses": guesses} if guesses else {}), page)


def _page(
    model: "Model",
    trace: "Trace",
    title: str,
    columns: Sequence[str],
    rows: "Sequence[PageRow]",
    labels: "Mapping[str, Labels] | None" = None,
    notes: Sequence[str] = (),
    *,
    has_all_cells: bool = False,
) -> "Page":
    """Build the page that `--export FILE.html` writes, of the first characters of a trace with guesses."""
    from charrnn.model.registry import cell_type
    from charrnn.views.page import Page, chars_on_page

    part = slice(0, chars_on_page(trace.cells[0].size if has_all_cells else len(rows)))
    return Page(
        title=title,
        shows=cell_type(model.config.cell).shows,
        text=trace.text[part],
        cells=trace.cells[part],
        bits=trace.bits[part].tolist(),
        guesses=model.guesses(trace, part),
        columns=columns,
        rows=rows,
        notes=notes,
        labels={name: found[part] for name, found in (labels or {}).items() if found.dtype == bool},
    )


def show_surprise(model: "Model", trace: "Trace", *, has_sparkline: bool) -> Shown:
    """Draw a text coloured by its surprise, with a sparkline below each line if asked for."""
    import numpy as np
    from rich.text import Text

    from charrnn.views.heatmap import SURPRISE_LEGEND, SurpriseMap
    from charrnn.views.theme import all_visible

    bits = trace.bits
    caption = Text.assemble(
        (f"surprise of {all_visible(model.name)}", "bold"),
        f", {np.nanmean(bits):.2f} bits per character over {len(bits):,}  ",
    )
    data = {"run": model.name, "text": trace.text, "bits": bits.tolist()}
    title = f"Surprise of {model.name}"
    return Shown(title, [caption, SURPRISE_LEGEND, SurpriseMap(trace.text, bits.tolist(), has_sparkline or None)], data)


def show_findings(
    model: "Model",
    found: FoundCells,
    detectors: "Sequence[Detector]",
    *,
    num_available: int,
    has_contributions: bool = False,
    has_sparkline: bool = False,
    passages_first: bool = False,
) -> Shown:
    """Draw the ranked table of the best cells, that of their contributions if asked for, and the passages.

    On a terminal what comes last is in view; a picture shows the passages first.
    """
    from charrnn.model.registry import cell_type
    from charrnn.views.findings import findings_pictures, passage_pictures
    from charrnn.views.theme import all_visible

    findings = found.findings
    looks_for = {detector.name: detector.looks_for for detector in detectors}
    of = "" if num_available == findings.num_chars else f" of {num_available:,}"
    title = (
        f"{all_visible(model.name)}: {findings.num_cells:,} cells over {findings.num_chars:,}{of} characters; "
        "chosen on the first half, scored on the second"
    )
    tables = findings_pictures(title, findings, has_contributions=has_contributions)
    passages = passage_pictures(found.passages, looks_for, has_sparkline=has_sparkline)
    pictures = [*passages, *tables] if passages_first else [*tables, *passages]
    page = None if found.trace is None else _findings_page(model, found, found.trace, title)
    data: Any = [score.to_json() for score in findings.scores]
    # A page is exported instead of the data, which takes as long to build as the page.
    if found.atlas is not None and page is None:
        data = {"run": model.name, "shows": cell_type(model.config.cell).shows} | found.atlas.to_json()
    return Shown(f"Cells of {model.name}", pictures, data, page)


def _findings_page(model: "Model", found: FoundCells, trace: "Trace", title: str) -> "Page":
    """Build the page of the findings over the beginning of the scoring half, with their labels underlined."""
    from charrnn.views.page import PageRow
    from charrnn.views.tables import FINDINGS_COLUMNS, findings_rows, footnotes, unscored

    rows = [
        PageRow(shown=row, cell=(score.layer, score.unit), detector=score.detector)
        for row, score in zip(findings_rows(found.findings), found.findings.scores, strict=True)
    ]
    notes = [title, *ABOUT_COLUMNS, *footnotes(found.findings), *unscored(found.findings.skipped)]
    title = f"Cells of {model.name}"
    has_all_cells = found.atlas is not None
    page = _page(model, trace, title, FINDINGS_COLUMNS, rows, found.labels, notes, has_all_cells=has_all_cells)
    if found.atlas is None:
        return page
    return replace(
        page,
        source=found.atlas.text,
        begin=found.atlas.half,
        cell_columns=found.atlas.columns,
        entries=found.atlas.entries(),
        notes=[*notes, *found.atlas.notes],
    )
