"""A text in the colours of chosen cells, `charrnn visualize --cell`, or of its surprise."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich.console import RenderableType
from rich.text import Text

from charrnn.cells.findings import ColouredText
from charrnn.cli.arguments import parse_cell
from charrnn.commands.visualize_options import Subject
from charrnn.detectors.detector import Labels
from charrnn.errors import DataError, UsageError
from charrnn.model.cell_type_registry import cell_type
from charrnn.system.lazy import LazyModule
from charrnn.system.progress import warn
from charrnn.text.corpus import Corpus
from charrnn.text.given_text import read_text_file
from charrnn.views.cell_page import page_pictures
from charrnn.views.delivery import PICTURE_SUFFIXES, Shown
from charrnn.views.heatmap import (
    HeatMap,
    end_legend,
    scale_of_text,
    surprise_map,
    whole_words,
)
from charrnn.views.theme import Scale, all_visible

if TYPE_CHECKING:
    from charrnn.reports import lines
else:
    # Imported only where it is used.
    lines = LazyModule("charrnn.reports.lines")

Guesses = list[list[tuple[str, float]]]
"""The most likely next characters after each character; empty if they are not shown."""
NUM_GUESSES = 5
"""Next characters that are shown below each character."""


def show_cells(subject: Subject) -> Shown:
    """Measure and draw the cells of `--cell`: the text in the colours of each, and its page.

    A picture has no page, which would not fit on it and takes a hundred times as long to measure as
    the values. JSON repeats the first cell at the top level.
    """
    model = subject.model
    # Each cell once, however often it is named.
    cells = list(
        dict.fromkeys(
            parse_cell("--cell", text=cell, model=model) for cell in subject.options.cells
        )
    )
    labels = _chosen_labels(subject)
    underlined = "".join(f"where {detector} is on" for detector in labels)
    kind = cell_type(model.config.cell_type).shows

    # One study, so that all pages share one reading of the text.
    study = model.study(subject.whole, cached=True)
    pictures: list[RenderableType] = []
    listed: list[dict[str, object]] = []
    before: Scale | None = None
    coloured_texts = _coloured_texts(subject, cells, labels=labels)
    for (layer, unit), coloured in zip(cells, coloured_texts, strict=True):
        title = f"cell {layer}:{unit} of {all_visible(model.name)}"
        if pictures:
            pictures.append(Text())
        pictures.append(Text.assemble((title, "bold"), f", {kind}  "))

        # Cells that share a scale follow each other without it.
        picture = _drawn(subject, coloured)
        if picture.scale != before:
            pictures += [*picture.legend(underlined), *end_legend(coloured.text)]
        before = picture.scale
        pictures.append(picture)

        # As in Python, layer and unit are numbers, and not the text that is typed.
        entry: dict[str, object] = {"layer": layer, "unit": unit, "values": [*coloured.values]}
        if subject.options.suffix not in PICTURE_SUFFIXES:
            page = study.page(layer, unit)
            pictures += [Text(), *page_pictures(page)]
            entry["page"] = page.to_json()
        listed.append(entry)

    first = {key: listed[0][key] for key in ("layer", "unit", "values")}
    data = {"run": model.name, **first, "text": subject.text.text, "cells": listed}
    if coloured_texts[0].guesses:
        data["guesses"] = coloured_texts[0].guesses
    if labels:
        data["labels"] = {detector: marks.tolist() for detector, marks in labels.items()}
    names = ", ".join(f"{layer}:{unit}" for layer, unit in cells)
    return Shown(f"{model.name}: {names}", pictures=pictures, data=data)


def _coloured_texts(
    subject: Subject, cells: Sequence[tuple[int, int]], labels: dict[str, Labels]
) -> list[ColouredText]:
    """Measure the text in the colours of each cell."""
    model = subject.model
    inside: tuple[bool, ...] = ()
    for of_detector in labels.values():
        inside = tuple(of_detector.tolist())
    guesses: Guesses = []
    if subject.options.guesses:
        guesses = model.guesses(model.trace(subject.text, num_guesses=NUM_GUESSES))
    return [
        ColouredText(
            text=subject.text.text,
            values=tuple(map(float, values)),
            guesses=tuple(map(tuple, guesses)),
            inside=inside,
            polarity=model.polarity(layer, unit),
        )
        for (layer, unit), values in zip(cells, subject.study.values(cells), strict=True)
    ]


def _chosen_labels(subject: Subject) -> dict[str, Labels]:
    """Return the labels of the text by the one detector that was named, by its name; no labels
    without one.

    Raises UsageError for several detectors and for a count, which cannot be underlined; DataError
    for a detector that does not apply to the text.
    """
    options = subject.options
    if not (options.detectors or options.detect):
        return {}
    if options.guesses:
        raise UsageError(
            "--guesses stand below the characters, where --detector underlines them: leave one of"
            " them out."
        )
    names = [detector.name for detector in subject.detectors]
    if len(names) > 1:
        raise UsageError(f"One detector is underlined, not {', '.join(names)}: name one.")
    labelling = subject.detectors[0].labelling(subject.text.text)
    if labelling.labels is None:
        raise DataError(f"{names[0]} labels nothing: {labelling.absence}.")
    if labelling.labels.dtype != bool:
        raise UsageError(
            f"{names[0]} counts, and only a yes/no detector can be underlined: name another one."
        )
    return {names[0]: labelling.labels}


def _drawn(subject: Subject, coloured: ColouredText) -> HeatMap:
    """Return a text in the colours of a cell, with the guesses below each character if there are
    any."""
    scale = scale_of_text(coloured)
    if not coloured.guesses:
        coloured = _whole_words(subject, coloured)
    return HeatMap(coloured, scale)


def _whole_words(subject: Subject, coloured: ColouredText) -> ColouredText:
    # A slice is compared, because a single byte of bytes is a number.
    last = subject.context[-1:]
    return whole_words(
        coloured,
        begins_inside_line=bool(last) and last not in ("\n", "\0", b"\n"),
        ends_inside_text=subject.num_available > len(subject.text),
    )


def _lists_of_whole_text(subject: Subject) -> "Sequence[lines.EndsOfList]":
    """Return the least and the most likely sentences and words of the whole text."""
    model = subject.model
    # The same text as `read_passage` reads, whose notes are printed already.
    text: Corpus | str | bytes | None = None
    context: str | bytes = ""
    if subject.options.text is not None:
        text = read_text_file(subject.options.text, model.config)
    elif model.card and subject.options.part == "validation":
        text = model.written_text()
    if text is not None:
        context = subject.context
    scored = lines.score_text([model], text, part=subject.options.part, context=context)
    # Whether the model has learned this text, above all.
    warn(*scored.notes)
    num = subject.options.top
    if num is None:
        num = lines.NUM_LISTED
    return [scored.ends_of_list(unit, num=num) for unit in (lines.SENTENCE, lines.WORD)]


def show_surprise(subject: Subject) -> Shown:
    """Draw the least and the most likely sentences and words of a text, and its beginning coloured
    by its surprise."""
    # The first character of a text without context is predicted by nothing.
    trace = subject.model.trace(subject.text)
    if len(trace.text) == 1 and subject.text.first == 0:
        raise DataError(
            "The text has 1 character, which nothing predicts; its surprise needs at least 2."
        )
    lists = _lists_of_whole_text(subject)
    name, bits = subject.model.name, trace.bits.tolist()
    # A reader must not take the beginning for the whole text.
    shown_of = f"{len(bits):,} of {subject.num_available:,}"
    mean = f", {np.nanmean(trace.bits):.2f} bits per character over {shown_of} (--chars)  "
    caption = Text.assemble((f"surprise of {all_visible(name)}", "bold"), mean)
    coloured = _whole_words(subject, ColouredText(text=trace.text, values=tuple(bits)))
    drawn = surprise_map(coloured.text, bits=coloured.values)
    # The lists come first: the colours of a long text would push them out of sight.
    pictures = [ends.view([name]) for ends in lists]
    pictures += [caption, *drawn.legend(), *end_legend(trace.text), drawn]
    data = {"run": name, "text": trace.text, "bits": bits}
    rows: list[dict[str, object]] = []
    for ends in lists:
        listed = ends.to_json([name])
        data[f"{ends.unit}s"] = listed
        for likely, losses in listed.items():
            rows += [{"unit": ends.unit, "likely": likely, **loss} for loss in losses]
    return Shown(f"Surprise of {name}", pictures=pictures, data=data, rows=rows)
