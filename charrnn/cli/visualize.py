"""charrnn visualize: the cells of a model, coloured over a text, named and scored."""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charrnn.cli.terminal import (
    DebugOption,
    JsonOption,
    QuietOption,
    RunArgument,
    TextOption,
    can_animate,
    finite,
    print_json,
    progress,
    read_text,
    result_console,
    warn,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

    from charrnn.api import Model
    from charrnn.microscope.detectors import Detector
    from charrnn.microscope.trace import Trace
    from charrnn.records import CellFindings, ColouredText
    from charrnn.render.page import Page, PageRow

CHARS_SCORED = 65_536
"""Characters of the held-out text that cells are chosen and scored on."""
CHARS_SHOWN = 1_200
PICTURES = 3
CHARS_ON_PAGE = 8_000
EXPORTS = (".html", ".svg", ".txt", ".json", ".npz")


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
    guesses: Annotated[
        bool, typer.Option("--guesses", help="With --cell: the five likeliest next characters under each.")
    ] = False,
    surprise: Annotated[
        bool, typer.Option("--surprise", help="Colour by how many bits each character surprised the model.")
    ] = False,
    export: Annotated[
        Path | None,
        typer.Option(
            "--export", help="Write it to FILE.html, .svg or .txt, or its numbers to .json or .npz.", metavar="FILE"
        ),
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
    from charrnn.errors import UsageError
    from charrnn.microscope.detectors import get_detectors

    _check_export(export)
    if json and export is not None:
        raise UsageError("Give --json or --export, not both.")
    if cell is not None and (find or detector):
        raise UsageError("--cell shows one cell as it is: leave out --find and --detector.")
    if surprise and (find or detector or cell is not None):
        raise UsageError("--surprise colours by surprise: leave out --cell, --find and --detector.")
    if guesses and cell is None:
        raise UsageError("--guesses stand under a text coloured by a cell: add --cell, such as --cell 0:17.")
    detectors = get_detectors(detector)
    if can_animate(sys.stderr) and not quiet:
        sys.stderr.write("Looking into the model ...\n")
    model = load(run)
    warn(model.warnings, quiet=quiet)
    layer_unit = None if cell is None else _parse_cell(cell, model)
    content, context = model.held_out_text() if text is None else (read_text(text, model.config.alphabet), "")
    finds = layer_unit is None and not surprise
    content = content[: CHARS_SCORED if finds else chars]
    kind = "" if export is None else export.suffix.lower()
    is_npz = kind == ".npz"
    with progress(len(content), "reading", quiet=quiet) as advance:
        trace = model.trace(
            content,
            context=context,
            on_progress=advance,
            num_guesses=5 if guesses or kind == ".html" else 0,
            keeps_hidden=is_npz,
        )
    if is_npz:
        assert export is not None
        _save_arrays(export, trace, detectors, num_chosen_on=len(trace.text) // 2 if finds else len(trace.text))
        return
    if surprise:
        shown = _surprise(model, trace)
    elif layer_unit is not None:
        shown = _cell(model, trace, *layer_unit, shows_guesses=guesses)
    else:
        with progress(len(content), "reading with an untrained twin", quiet=quiet) as advance:
            untrained = model.trace(content, context=context, network=model.untrained_twin(), on_progress=advance)
        shown = _findings(model, trace, untrained, detectors, is_asked=bool(detector), num_pictures=0 if find else top)
    if json:
        print_json(shown.data)
    else:
        _deliver(shown, export)


@dataclass(frozen=True)
class Shown:
    """What a command found, for people and for programs."""

    pictures: Sequence["RenderableType"]
    data: Any
    page: "Page | None" = None
    """What an exported .html shows, if that is more than the pictures."""


def _check_export(export: Path | None) -> None:
    from charrnn.errors import UsageError

    if export is not None and export.suffix.lower() not in EXPORTS:
        raise UsageError(f"--export {export}: the name must end in {', '.join(EXPORTS[:-1])} or {EXPORTS[-1]}.")
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


def _cell(model: "Model", trace: "Trace", layer: int, unit: int, *, shows_guesses: bool) -> Shown:
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
    model: "Model", trace: "Trace", title: str, columns: Sequence[str], rows: Sequence["PageRow"], begin: int = 0
) -> "Page | None":
    """The page that `--export FILE.html` writes, if the trace was made for one; from character `begin` on."""
    if trace.guess_ids is None or not rows:
        return None
    import numpy as np

    from charrnn.microscope.detectors import DETECTORS
    from charrnn.model.equations import CELLS
    from charrnn.render.page import Page

    part = slice(begin, begin + CHARS_ON_PAGE)
    labels = {row.detector: DETECTORS[row.detector].label(trace.text) for row in rows if row.detector}
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


def _surprise(model: "Model", trace: "Trace") -> Shown:
    import numpy as np
    from rich.text import Text

    from charrnn.render.heat import SURPRISE_LEGEND, SurpriseMap

    bits = -trace.logprobs / np.log(2)
    caption = Text.assemble(
        (f"surprise of {model.name}", "bold"), f", {np.nanmean(bits):.2f} bits per character over {len(bits):,}  "
    )
    data = {"run": model.name, "text": trace.text, "bits": bits.tolist()}
    return Shown([caption, SURPRISE_LEGEND, SurpriseMap(trace.text, bits.tolist())], data)


def _findings(
    model: "Model",
    trace: "Trace",
    untrained: "Trace",
    detectors: "list[Detector]",
    *,
    is_asked: bool,
    num_pictures: int,
) -> Shown:
    from charrnn.errors import DataError
    from charrnn.microscope.scores import find_cells
    from charrnn.render.page import PageRow
    from charrnn.render.tables import FINDINGS_COLUMNS, findings_rows

    findings = find_cells(trace, detectors, untrained)
    if is_asked and not findings.scores:
        reasons = "; ".join(f"{skipped.detector}: {skipped.reason}" for skipped in findings.skipped)
        raise DataError(f"Nothing to score in this text: {reasons}. Give another --text.")
    pictures = _report(model, trace, findings, num_pictures=num_pictures)
    rows = [
        PageRow(shown=row, cell=(score.layer, score.unit), detector=score.detector)
        for row, score in zip(findings_rows(findings), findings.scores, strict=True)
    ]
    page = _page(model, trace, f"Cells of {model.name}", FINDINGS_COLUMNS, rows, findings.num_chars // 2)
    return Shown(pictures, [score.to_json() for score in findings.scores], page)


def _save_arrays(path: Path, trace: "Trace", detectors: "list[Detector]", *, num_chosen_on: int) -> None:
    """The raw activations, in the format that docs/formats.md describes."""
    import numpy as np

    from charrnn.errors import CharRNNError

    arrays = {
        "ids": trace.ids,
        "text": np.array(trace.text),
        "cells": trace.cells,
        "hidden": trace.hidden,
        "logprobs": trace.logprobs,
        "scored": np.arange(len(trace.text)) >= num_chosen_on,
    }
    for detector in detectors:
        labels = detector.label(trace.text)
        if labels is not None:
            arrays[f"labels_{detector.name}"] = labels
    try:
        with path.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    except OSError as error:
        raise CharRNNError(f"--export {path}: {error.strerror}.") from None
    sys.stdout.write(f"{path}\n")


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


def _deliver(shown: Shown, export: Path | None) -> None:
    if export is None:
        console = result_console()
        for picture in shown.pictures:
            console.print(picture)
        return
    import json

    from charrnn.errors import CharRNNError
    from charrnn.render.export import to_html, to_svg, to_text
    from charrnn.render.page import to_page

    kind = export.suffix.lower()
    if kind == ".json":
        page = json.dumps(finite(shown.data)) + "\n"
    elif kind == ".html" and shown.page is not None:
        page = to_page(shown.page)
    else:
        page = {".svg": to_svg, ".html": to_html, ".txt": to_text}[kind](shown.pictures)
    try:
        export.write_text(page, encoding="utf-8")
    except OSError as error:
        raise CharRNNError(f"--export {export}: {error.strerror}.") from None
    sys.stdout.write(f"{export}\n")
