"""What `charrnn visualize` shows, mode by mode: pictures for people, data for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rich.console import RenderableType

    from charrnn.api import Model
    from charrnn.detectors.registry import Detector
    from charrnn.microscope.study import Study
    from charrnn.microscope.trace import Trace
    from charrnn.records.microscope import Ablation, CellFindings, CellHistory, GateReport, GradientReach
    from charrnn.render.page import Page, PageRow

CHARS_ON_PAGE = 8_000
NUM_GUESSES = 5
FEW_STEPS = 5
LEGEND = (
    "chance: the best of all cells for shifted labels; untrained: the same choice in an untrained twin; inner: five "
    "or more characters after a span began or ended (for counts R²)"
)
"""What the columns of the table are, in short."""
ABOUT_GUESSES = (
    "Below each character: what may come next, likeliest first (from 2 %; in colours, the likelier the brighter)."
)
ABOUT_COLUMNS = (
    "score: AUC, how often the cell ranks a character inside above one outside, or for a count Spearman's ρ",
    "chance: what the best of all cells stays under for 95 % of labels that were shifted along the text",
    "untrained: the same choice in a twin of the model that learned nothing; ρ keeps its sign",
    "inner: the AUC over characters five or more after a span began or ended; R² of a straight line for a count",
)
"""What stands under the table of an exported page."""


@dataclass(frozen=True)
class Shown:
    """What a command found, for people and for programs."""

    title: str
    """The name of an exported picture."""
    pictures: Sequence["RenderableType"]
    data: Any
    page: "Page | None" = None
    """What an exported .html shows, if that is more than the pictures."""
    arrays: "Mapping[str, NDArray[Any]]" = field(default_factory=dict)
    """What an exported .npz contains."""


def show_cells(
    model: "Model",
    study: "Study",
    cells: Sequence[tuple[int, int]],
    *,
    trace: "Trace | None",
    shows_guesses: bool,
    has_sparkline: bool,
) -> Shown:
    """One picture of the text for each cell (layer, unit), with guesses below it, or a sparkline, if asked for.

    Guesses, and the page of an exported .html, are those of `trace`, which has them.
    """
    from rich.text import Text

    from charrnn.model.cells import find_cell
    from charrnn.records.microscope import ColouredText
    from charrnn.render.guesses import GuessMap
    from charrnn.render.heatmap import HeatMap
    from charrnn.render.legend import Legend
    from charrnn.render.page import PageRow
    from charrnn.render.visible import all_visible

    kind = find_cell(model.config.cell).shows
    guesses = _guesses(model, trace) if trace is not None and shows_guesses else []
    pictures: list[RenderableType] = []
    drawn = []
    for (layer, unit), found in zip(cells, study.values(cells, slice(None)), strict=True):
        coloured = ColouredText(text=study.text.text, values=tuple(map(float, found)))
        drawn.append({"layer": layer, "unit": unit, "values": list(coloured.values)})
        pictures += [Text()] if pictures else []
        pictures.append(Text.assemble((f"cell {layer}:{unit} of {all_visible(model.name)}", "bold"), f", {kind}  "))
        if len(drawn) == 1:
            pictures += [Legend(), Text(ABOUT_GUESSES)] if shows_guesses else [Legend()]
        pictures.append(
            GuessMap(study.text.text, coloured.values, guesses)
            if shows_guesses
            else HeatMap(coloured, has_sparkline or None)
        )
    # The first cell stands there by itself too, as it did when there could be only one.
    data = {"run": model.name, **drawn[0], "text": study.text.text, "cells": drawn}
    names = [f"{layer}:{unit}" for layer, unit in cells]
    title = f"{'A cell' if len(cells) == 1 else 'Cells'} of {model.name}"
    rows = [PageRow(shown=[name], cell=cell) for name, cell in zip(names, cells, strict=True)]
    page = None if trace is None else _page(model, trace, title, ["cell"], rows)
    return Shown(f"{model.name}: {', '.join(names)}", pictures, data | ({"guesses": guesses} if guesses else {}), page)


def _guesses(model: "Model", trace: "Trace", part: slice = slice(None)) -> list[list[tuple[str, float]]]:
    """After each character, the likeliest next ones and their probabilities, if the trace has them."""
    if trace.guess_ids is None or trace.guess_probs is None:
        return []
    return [
        [(model.spell(char), probability) for char, probability in zip(ids, probs, strict=True)]
        for ids, probs in zip(trace.guess_ids[part].tolist(), trace.guess_probs[part].tolist(), strict=True)
    ]


def _page(
    model: "Model",
    trace: "Trace",
    title: str,
    columns: Sequence[str],
    rows: Sequence["PageRow"],
    detectors: "Sequence[Detector]" = (),
    notes: Sequence[str] = (),
) -> "Page | None":
    """The page that `--export FILE.html` writes, if the trace was made for one."""
    if trace.guess_ids is None or not rows:
        return None
    import numpy as np

    from charrnn.model.cells import find_cell
    from charrnn.render.page import Page

    part = slice(0, CHARS_ON_PAGE)
    followed = {row.detector for row in rows}
    labels = {detector.name: detector.label(trace.text) for detector in detectors if detector.name in followed}
    return Page(
        title=title,
        shows=find_cell(model.config.cell).shows,
        text=trace.text[part],
        cells=trace.cells[part],
        bits=(-trace.logprobs[part] / np.log(2)).tolist(),
        guesses=_guesses(model, trace, part),
        columns=columns,
        rows=rows,
        notes=notes,
        labels={name: found[part] for name, found in labels.items() if found is not None and found.dtype == bool},
    )


def show_surprise(model: "Model", trace: "Trace", *, has_sparkline: bool) -> Shown:
    """A text by its surprisal, with a sparkline below it if that is asked for."""
    import numpy as np
    from rich.text import Text

    from charrnn.errors import DataError
    from charrnn.render.heatmap import SurpriseMap
    from charrnn.render.legend import SURPRISE_LEGEND
    from charrnn.render.visible import all_visible

    if len(trace.logprobs) < 2 and np.isnan(trace.logprobs).all():
        raise DataError("The text has 1 character, which nothing predicts; its surprise needs at least 2.")
    bits = -trace.logprobs / np.log(2)
    caption = Text.assemble(
        (f"surprise of {all_visible(model.name)}", "bold"),
        f", {np.nanmean(bits):.2f} bits per character over {len(bits):,}  ",
    )
    data = {"run": model.name, "text": trace.text, "bits": bits.tolist()}
    title = f"Surprise of {model.name}"
    return Shown(title, [caption, SURPRISE_LEGEND, SurpriseMap(trace.text, bits.tolist(), has_sparkline or None)], data)


def show_findings(
    model: "Model",
    study: "Study",
    findings: "CellFindings",
    detectors: "Sequence[Detector]",
    *,
    is_table: bool,
    num_pictures: int,
    has_page: bool,
    has_sparkline: bool,
    num_available: int,
) -> Shown:
    """The ranked table of the best cells, and the best of them over passages of the text that they were scored on."""
    from rich.text import Text

    from charrnn.microscope.passage import choose_passage
    from charrnn.records.microscope import ColouredText
    from charrnn.render.heatmap import HeatMap
    from charrnn.render.legend import Legend
    from charrnn.render.page import PageRow
    from charrnn.render.tables import (
        FINDINGS_COLUMNS,
        NOT_SIGNIFICANT_MARK,
        contributions_table,
        findings_rows,
        findings_table,
        polarity_text,
        skipped_lines,
    )
    from charrnn.render.visible import all_visible

    half = findings.num_chars // 2
    of = "" if num_available == findings.num_chars else f" of {num_available:,}"
    title = (
        f"{all_visible(model.name)}: {findings.num_cells:,} cells over {findings.num_chars:,}{of} characters; "
        "chosen on the first half, scored on the second"
    )
    pictures: list[RenderableType] = [Text(title, style="bold"), findings_table(findings)]
    if findings.scores:
        pictures += [Text(LEGEND, style="dim"), Text()]
    if is_table and findings.scores:
        about = (
            "How well so many cells together tell it, the best one first (AUC, or R² of a count), and what silencing "
            "the best one costs inside and outside (nats/character), where there is most of it"
        )
        pictures += [Text(about, style="bold"), contributions_table(findings)]
    if not any(score.is_significant for score in findings.scores):
        pictures += [Text("No cell follows any of these better than chance would have it."), Text()]
    elif not all(score.is_significant for score in findings.scores):
        pictures += [Text(f"{NOT_SIGNIFICANT_MARK}: chance may have brought this."), Text()]
    if findings.skipped:
        pictures += [skipped_lines(findings.skipped), Text()]
    best = [score for score in findings.scores if score.is_significant][:num_pictures]
    if best:
        pictures += [Legend(), Text()]
    by_name = {detector.name: detector for detector in detectors}
    for score in best:
        labels = by_name[score.detector].label(study.text.text)
        assert labels is not None, "a scored detector has labels"
        passage = choose_passage(study.text.text, labels, half)
        (values,) = study.values([(score.layer, score.unit)], passage)
        caption = f"cell {score.layer}:{score.unit} follows {score.detector} ({by_name[score.detector].looks_for})"
        caption += f": {polarity_text(score)}"
        coloured = ColouredText(text=study.text.text[passage], values=tuple(map(float, values)))
        pictures += [Text(all_visible(caption), style="bold"), HeatMap(coloured, has_sparkline or None), Text()]
    unscored = [f"{skipped.detector}: not scored, {skipped.reason}" for skipped in findings.skipped]
    page = None
    if has_page and findings.scores:
        part = slice(half, half + CHARS_ON_PAGE)
        trace = model.trace(study.text.part(half, half + CHARS_ON_PAGE), num_guesses=NUM_GUESSES)
        rows = [
            PageRow(shown=row, cell=(score.layer, score.unit), detector=score.detector)
            for row, score in zip(findings_rows(findings), findings.scores, strict=True)
        ]
        labelled = [(detector, detector.label(study.text.text)) for detector in detectors]
        known = [detector.with_labels(labels[part]) for detector, labels in labelled if labels is not None]
        page = _page(
            model,
            trace,
            f"Cells of {model.name}",
            FINDINGS_COLUMNS,
            rows,
            known,
            [title, *ABOUT_COLUMNS, *unscored],
        )
    return Shown(f"Cells of {model.name}", pictures, [score.to_json() for score in findings.scores], page)


def show_gates(report: "GateReport") -> Shown:
    """How often the gates of each layer are saturated."""
    from charrnn.render.scatters import GateScatters

    return Shown(f"Gates of {report.name}", [GateScatters(report)], report.to_json())


def show_gradients(reaches: "Sequence[GradientReach]") -> Shown:
    """How far the error signal reaches back, in one chart."""
    from charrnn.render.curves import GradientChart

    return Shown(f"Gradients of {reaches[0].name}", [GradientChart(reaches)], [reach.to_json() for reach in reaches])


def show_ablation(model: "Model", at_mean: "Ablation", at_zero: "Ablation") -> Shown:
    """What silencing a cell costs."""
    from rich.text import Text

    from charrnn.render.tables import ablation_table, skipped_lines
    from charrnn.render.visible import all_visible

    name = f"{at_mean.layer}:{at_mean.unit}"
    caption = Text.assemble(
        (f"cell {name} of {all_visible(model.name)}, held", "bold"),
        f": change of the loss over {at_mean.num_chars:,} characters",
    )
    pictures: list[RenderableType] = [caption, ablation_table(at_mean, at_zero)]
    if at_mean.skipped:
        pictures.append(skipped_lines(at_mean.skipped))
    return Shown(
        f"Ablation of cell {name} of {model.name}",
        pictures,
        {"run": model.name, "mean": at_mean.to_json(), "zero": at_zero.to_json()},
    )


def show_history(model: "Model", histories: "Sequence[CellHistory]", num_chars: int) -> Shown:
    """How well the cells that are the best now followed their detectors at every saved step."""
    from rich.text import Text

    from charrnn.render.tables import history_table
    from charrnn.render.visible import all_visible

    title = f"Cells of {all_visible(model.name)} over its saved steps, on {num_chars:,} characters"
    pictures: list[RenderableType] = [Text(title, style="bold")]
    pictures.append(history_table(histories))
    if histories and len(histories[0].steps) < FEW_STEPS:
        pictures.append(Text("Few steps were saved: train with --save-every and --keep 100 to see cells come to be."))
    return Shown(title, pictures, [history.to_json() for history in histories])
