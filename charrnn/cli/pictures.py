"""What `charrnn visualize` shows, mode by mode: pictures for people, data for programs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

    from charrnn.api import Model
    from charrnn.microscope.detectors import Detector
    from charrnn.microscope.trace import Trace
    from charrnn.records import Ablation, CellFindings, ColouredText, GateReport, GradientReach
    from charrnn.render.page import Page, PageRow

CHARS_ON_PAGE = 8_000


@dataclass(frozen=True)
class Shown:
    """What a command found, for people and for programs."""

    pictures: Sequence["RenderableType"]
    data: Any
    page: "Page | None" = None
    """What an exported .html shows, if that is more than the pictures."""


def show_cell(model: "Model", trace: "Trace", layer: int, unit: int, *, shows_guesses: bool) -> Shown:
    """One cell over a text, with guesses below it if the trace has them and they are asked for."""
    from rich.text import Text

    from charrnn.model.equations import CELLS
    from charrnn.render.guesses import GuessMap
    from charrnn.render.heat import HeatMap, Legend
    from charrnn.render.page import PageRow

    kind = CELLS[model.config.cell].shows
    coloured = _colour(trace, layer, unit, slice(0, len(trace.text)))
    caption = Text.assemble((f"cell {layer}:{unit} of {model.name}", "bold"), f", {kind}  ")
    data = {"run": model.name, "layer": layer, "unit": unit, "text": trace.text, "values": list(coloured.values)}
    row = PageRow(shown=[f"{layer}:{unit}"], cell=(layer, unit))
    page = _page(model, trace, f"A cell of {model.name}", ["cell"], [row])
    if not shows_guesses:
        return Shown([caption, Legend(), HeatMap(coloured)], data, page)
    guesses = _guesses(model, trace)
    below = Text("Below each character: what the model expects next, the likelier the brighter.")
    return Shown(
        [caption, Legend(), below, GuessMap(trace.text, coloured.values, guesses)], data | {"guesses": guesses}, page
    )


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
    begin: int = 0,
) -> "Page | None":
    """The page that `--export FILE.html` writes, if the trace was made for one; from character `begin` on."""
    if trace.guess_ids is None or not rows:
        return None
    import numpy as np

    from charrnn.model.equations import CELLS
    from charrnn.render.page import Page

    part = slice(begin, begin + CHARS_ON_PAGE)
    followed = {row.detector for row in rows}
    labels = {detector.name: detector.label(trace.text) for detector in detectors if detector.name in followed}
    return Page(
        title=title,
        shows=CELLS[model.config.cell].shows,
        text=trace.text[part],
        cells=trace.cells[part],
        bits=(-trace.logprobs[part] / np.log(2)).tolist(),
        guesses=_guesses(model, trace, part),
        columns=columns,
        rows=rows,
        labels={name: found[part] for name, found in labels.items() if found is not None and found.dtype == bool},
    )


def show_surprise(model: "Model", trace: "Trace") -> Shown:
    """A text by its surprisal."""
    import numpy as np
    from rich.text import Text

    from charrnn.render.heat import SURPRISE_LEGEND, SurpriseMap

    bits = -trace.logprobs / np.log(2)
    caption = Text.assemble(
        (f"surprise of {model.name}", "bold"), f", {np.nanmean(bits):.2f} bits per character over {len(bits):,}  "
    )
    data = {"run": model.name, "text": trace.text, "bits": bits.tolist()}
    return Shown([caption, SURPRISE_LEGEND, SurpriseMap(trace.text, bits.tolist())], data)


def show_findings(
    model: "Model",
    trace: "Trace",
    untrained: "Trace",
    detectors: "list[Detector]",
    *,
    is_asked: bool,
    num_pictures: int,
) -> Shown:
    """The ranked table of the best cells, and the best of them over a text.

    Raises DataError if nothing that was asked for could be scored.
    """
    from charrnn.errors import DataError
    from charrnn.microscope.scores import find_cells
    from charrnn.render.page import PageRow
    from charrnn.render.tables import FINDINGS_COLUMNS, findings_rows

    findings = find_cells(trace, detectors, untrained)
    if is_asked and not findings.scores:
        reasons = "; ".join(f"{skipped.detector}: {skipped.reason}" for skipped in findings.skipped)
        raise DataError(f"Nothing to score in this text: {reasons}. Give another --text.")
    pictures = _report(model, trace, findings, detectors, num_pictures=num_pictures)
    rows = [
        PageRow(shown=row, cell=(score.layer, score.unit), detector=score.detector)
        for row, score in zip(findings_rows(findings), findings.scores, strict=True)
    ]
    page = _page(model, trace, f"Cells of {model.name}", FINDINGS_COLUMNS, rows, detectors, findings.num_chars // 2)
    return Shown(pictures, [score.to_json() for score in findings.scores], page)


def _colour(trace: "Trace", layer: int, unit: int, passage: slice) -> "ColouredText":
    from charrnn.records import ColouredText

    values = trace.cells[passage, layer, unit]
    return ColouredText(text=trace.text[passage], values=tuple(map(float, values)))


def _report(
    model: "Model", trace: "Trace", findings: "CellFindings", detectors: "Sequence[Detector]", *, num_pictures: int
) -> list["RenderableType"]:
    from rich.text import Text

    from charrnn.microscope.passage import choose_passage
    from charrnn.render.heat import HeatMap, Legend
    from charrnn.render.tables import findings_table, skipped_lines

    half = findings.num_chars // 2
    title = (
        f"{model.name}: {findings.num_cells:,} cells over {findings.num_chars:,} characters; "
        "chosen on the first half, scored on the second"
    )
    shown: list[RenderableType] = [Text(title, style="bold"), findings_table(findings)]
    if findings.skipped:
        shown += [skipped_lines(findings.skipped), Text()]
    best = findings.scores[:num_pictures]
    if best:
        shown += [Legend(), Text()]
    for score in best:
        detector = next(detector for detector in detectors if detector.name == score.detector)
        labels = detector.label(trace.text)
        assert labels is not None, "a scored detector has labels"
        passage = choose_passage(trace.text, labels, half)
        caption = f"cell {score.layer}:{score.unit} follows {score.detector} ({detector.looks_for})"
        shown += [Text(caption, style="bold"), HeatMap(_colour(trace, score.layer, score.unit, passage)), Text()]
    return shown


def show_gates(report: "GateReport") -> Shown:
    """How often the gates of each layer are saturated."""
    from charrnn.render.scatters import GateScatters

    return Shown([GateScatters(report)], report.to_json())


def show_gradients(reaches: "Sequence[GradientReach]") -> Shown:
    """How far the error signal reaches back, in one chart."""
    from charrnn.render.curves import GradientChart

    return Shown([GradientChart(reaches)], [reach.to_json() for reach in reaches])


def show_ablation(model: "Model", at_mean: "Ablation", at_zero: "Ablation") -> Shown:
    """What silencing a cell costs."""
    from rich.text import Text

    from charrnn.render.tables import ablation_table, skipped_lines

    name = f"{at_mean.layer}:{at_mean.unit}"
    caption = Text.assemble(
        (f"cell {name} of {model.name}, held", "bold"), f": change of the loss over {at_mean.num_chars:,} characters"
    )
    pictures: list[RenderableType] = [caption, ablation_table(at_mean, at_zero)]
    if at_mean.skipped:
        pictures.append(skipped_lines(at_mean.skipped))
    return Shown(pictures, {"run": model.name, "mean": at_mean.to_json(), "zero": at_zero.to_json()})
