"""charrnn visualize: the cells of a model, coloured over a text, named and scored."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charrnn.cli.terminal import (
    DebugOption,
    JsonOption,
    QuietOption,
    RunArgument,
    TextOption,
    can_animate,
    print_json,
    progress,
    read_text,
    result_console,
    warn,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

    from charrnn.api import Model
    from charrnn.microscope.trace import Trace
    from charrnn.records import CellFindings, ColouredText

CHARS_SCORED = 65_536
"""Characters of the held-out text that cells are chosen and scored on."""
CHARS_SHOWN = 1_200
PICTURES = 3


def visualize(
    run: RunArgument = None,
    cell: Annotated[
        str | None, typer.Option("--cell", help="Show this cell: layer and unit, from 0.", metavar="L:U")
    ] = None,
    detector: Annotated[
        list[str] | None, typer.Option("--detector", help="Look for this only (repeatable).", metavar="NAME")
    ] = None,
    find: Annotated[bool, typer.Option("--find", help="Print the ranked table only.")] = False,
    top: Annotated[int, typer.Option("--top", help="How many cells to colour.", metavar="N", min=0)] = PICTURES,
    text: TextOption = None,
    chars: Annotated[
        int, typer.Option("--chars", help="Characters to colour with --cell.", metavar="N", min=1)
    ] = CHARS_SHOWN,
    export: Annotated[
        Path | None,
        typer.Option("--export", help="Write the picture to FILE.html or FILE.svg instead.", metavar="FILE"),
    ] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Show what the cells of a model keep track of.

    Without options: finds, for each detector, the cell that follows it best. The cell is chosen on one half of the
    held-out text and scored on the other, beside the same choice in an untrained twin of the model. Then the best cells
    are coloured over the text: red where the cell is low, blue where it is high.
    """
    from charrnn.api import load
    from charrnn.errors import DataError, UsageError
    from charrnn.microscope.detectors import get_detectors

    _check_export(export)
    if json and export is not None:
        raise UsageError("Give --json or --export, not both.")
    if cell is not None and (find or detector):
        raise UsageError("--cell shows one cell as it is: leave out --find and --detector.")
    detectors = get_detectors(detector)
    if can_animate(sys.stderr) and not quiet:
        sys.stderr.write("Looking into the model ...\n")
    model = load(run)
    warn(model.warnings, quiet=quiet)
    layer_unit = None if cell is None else _parse_cell(cell, model)
    content, context = model.held_out_text() if text is None else (read_text(text, model.config.alphabet), "")
    content = content[: CHARS_SCORED if layer_unit is None else chars]
    trace = _trace(model, content, context, "reading", quiet=quiet)
    if layer_unit is not None:
        pictures = _picture_of_cell(model, trace, *layer_unit)
        if json:
            layer, unit = layer_unit
            values = trace.cells[:, layer, unit].tolist()
            print_json({"run": model.name, "layer": layer, "unit": unit, "text": trace.text, "values": values})
            return
    else:
        from charrnn.microscope.scores import find_cells

        untrained = _trace(model, content, context, "reading with an untrained twin", quiet=quiet, use_twin=True)
        findings = find_cells(trace, detectors, untrained)
        if json:
            print_json([score.to_json() for score in findings.scores])
            return
        if detector and not findings.scores:
            reasons = "; ".join(f"{skipped.detector}: {skipped.reason}" for skipped in findings.skipped)
            raise DataError(f"Nothing to score in this text: {reasons}. Give another --text.")
        pictures = _report(model, trace, findings, num_pictures=0 if find else top)
    _deliver(pictures, export)


def _check_export(export: Path | None) -> None:
    from charrnn.errors import UsageError

    if export is not None and export.suffix.lower() not in (".html", ".svg"):
        raise UsageError(f"--export {export}: the name must end in .html or .svg.")
    if export is not None and not export.parent.is_dir():
        raise UsageError(f"--export {export}: there is no folder {export.parent}.")


def _parse_cell(cell: str, model: "Model") -> tuple[int, int]:
    from charrnn.config import resolved
    from charrnn.errors import UsageError

    match = re.fullmatch(r"(\d{1,9}):(\d{1,9})", cell.strip())
    num_layers, hidden_size = resolved(model.config.num_layers), resolved(model.config.hidden_size)
    if match is None:
        raise UsageError(f"--cell {cell}: write it as layer:unit, both from 0, such as --cell 0:17.")
    layer, unit = int(match[1]), int(match[2])
    if layer >= num_layers or unit >= hidden_size:
        raise UsageError(f"--cell {cell}: {model.name} has layers 0 to {num_layers - 1}, units 0 to {hidden_size - 1}.")
    return layer, unit


def _trace(
    model: "Model", content: str | bytes, context: str | bytes, label: str, *, quiet: bool, use_twin: bool = False
) -> "Trace":
    with progress(len(content), label, quiet=quiet) as advance:
        network = model.untrained_twin() if use_twin else None
        return model.trace(content, context=context, network=network, on_progress=advance)


def _picture_of_cell(model: "Model", trace: "Trace", layer: int, unit: int) -> list["RenderableType"]:
    from rich.text import Text

    from charrnn.model.equations import CELLS
    from charrnn.render.heat import HeatMap, Legend

    kind = CELLS[model.config.cell].shows
    coloured = _colour(trace, layer, unit, slice(0, len(trace.text)))
    return [Text.assemble((f"cell {layer}:{unit} of {model.name}", "bold"), f", {kind}  "), Legend(), HeatMap(coloured)]


def _colour(trace: "Trace", layer: int, unit: int, passage: slice) -> "ColouredText":
    from charrnn.records import ColouredText

    values = trace.cells[passage, layer, unit]
    return ColouredText(text=trace.text[passage], values=tuple(map(float, values)))


def _report(model: "Model", trace: "Trace", findings: "CellFindings", *, num_pictures: int) -> list["RenderableType"]:
    from rich.text import Text

    from charrnn.microscope.detectors import DETECTORS
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
        shown += [skipped_lines(findings), Text()]
    best = findings.scores[:num_pictures]
    if best:
        shown += [Legend(), Text()]
    for score in best:
        labels = DETECTORS[score.detector].label(trace.text)
        assert labels is not None, "a scored detector has labels"
        passage = choose_passage(trace.text, labels, half)
        caption = f"cell {score.layer}:{score.unit} follows {score.detector} ({DETECTORS[score.detector].looks_for})"
        shown += [Text(caption, style="bold"), HeatMap(_colour(trace, score.layer, score.unit, passage)), Text()]
    return shown


def _deliver(pictures: Sequence["RenderableType"], export: Path | None) -> None:
    if export is None:
        console = result_console()
        for picture in pictures:
            console.print(picture)
        return
    from charrnn.errors import CharRNNError
    from charrnn.render.export import to_html, to_svg

    page = to_svg(pictures) if export.suffix.lower() == ".svg" else to_html(pictures)
    try:
        export.write_text(page, encoding="utf-8")
    except OSError as error:
        raise CharRNNError(f"--export {export}: {error.strerror}.") from None
    sys.stdout.write(f"{export}\n")
