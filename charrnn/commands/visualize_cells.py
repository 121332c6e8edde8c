"""A text in the colours of chosen cells, `charrnn visualize --cell`, or of its surprise."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np
from rich.console import RenderableType
from rich.text import Text

from charrnn.cells.findings import CellPage, ColouredText
from charrnn.cells.trace import Trace
from charrnn.cli.arguments import parse_cell
from charrnn.commands.visualize_options import Subject
from charrnn.detectors.detector import Labels
from charrnn.errors import DataError, UsageError
from charrnn.model.cell_type_registry import cell_type
from charrnn.system.lazy import LazyModule
from charrnn.system.progress import warn
from charrnn.text.corpus import Corpus
from charrnn.text.given_text import read_text_file
from charrnn.trained_model import TrainedModel
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


@dataclass(frozen=True)
class ColouredCell:
    """A cell, and its values at the N characters of a text."""

    layer: int
    unit: int
    text: ColouredText

    def title(self, model: TrainedModel) -> str:
        """Return the name of the cell in a picture."""
        return f"cell {self.layer}:{self.unit} of {all_visible(model.name)}"


@dataclass(frozen=True)
class CellsInColour:
    """Cells in a terminal or a picture: a text in the colours of each, and the page of the cell
    below it."""

    cells: Sequence[ColouredCell]
    pages: Sequence[CellPage] = ()
    """Empty for a picture, which a page would not fit on."""

    def show(self, subject: Subject) -> Shown:
        """Draw the cells below each other; cells that share a scale follow each other without
        it."""
        kind = cell_type(subject.model.config.cell_type).shows
        pictures: list[RenderableType] = []
        underlined = "".join(f"where {name} is on" for name in _chosen_labels(subject))
        before: Scale | None = None
        for cell, page in zip_longest(self.cells, self.pages):
            if pictures:
                pictures.append(Text())
            pictures.append(Text.assemble((cell.title(subject.model), "bold"), f", {kind}  "))

            picture = _drawn(subject, cell.text)
            if picture.scale != before:
                pictures += [*picture.legend(underlined), *end_legend(cell.text.text)]
            before = picture.scale

            pictures.append(picture)
            if page is not None:
                pictures += [Text(), *page_pictures(page)]
        return Shown(_names_of(subject, self.cells), pictures=pictures, data=None)


@dataclass(frozen=True)
class CellsAsJson:
    """Cells as JSON, with the page of each. The first cell is repeated at the top level."""

    cells: Sequence[ColouredCell]
    pages: Sequence[CellPage]

    def show(self, subject: Subject) -> Shown:
        """Return the values of the cells and their pages."""
        # As in Python, layer and unit are numbers, and not the text that is typed.
        listed = []
        for cell, page in zip(self.cells, self.pages, strict=True):
            index = {"layer": cell.layer, "unit": cell.unit}
            listed.append(index | {"values": [*cell.text.values], "page": page.to_json()})
        labels = _chosen_labels(subject)

        first = {name: listed[0][name] for name in ("layer", "unit", "values")}
        data: dict[str, object] = {
            "run": subject.model.name,
            **first,
            "text": subject.text.text,
            "cells": listed,
        }
        guesses = self.cells[0].text.guesses
        if guesses:
            data["guesses"] = guesses
        if labels:
            data["labels"] = {name: of_detector.tolist() for name, of_detector in labels.items()}
        return Shown(_names_of(subject, self.cells), pictures=(), data=data)


CellsShown = CellsInColour | CellsAsJson
"""What `--cell` shows, one class for each output."""


def show_cells(subject: Subject) -> Shown:
    """Measure and draw the cells of `--cell`."""
    return _measure_cells(subject).show(subject)


def _measure_cells(subject: Subject) -> CellsShown:
    """Measure the cells of `--cell` as far as the output needs it: the page of a cell takes a
    hundred times as long as its values."""
    options = subject.options
    model = subject.model
    # Each cell once, however often it is named.
    indices = list(
        dict.fromkeys(parse_cell("--cell", text=cell, model=model) for cell in options.cells)
    )
    labels = _chosen_labels(subject)
    inside: tuple[bool, ...] = ()
    for of_detector in labels.values():
        inside = tuple(of_detector.tolist())

    guesses: Guesses = []
    if options.guesses:
        guesses = model.guesses(model.trace(subject.text, num_guesses=NUM_GUESSES))
    cells = []
    for index, values in zip(indices, subject.study.values(indices), strict=True):
        coloured = ColouredText(
            text=subject.text.text,
            values=tuple(map(float, values)),
            guesses=tuple(map(tuple, guesses)),
            inside=inside,
            polarity=model.polarity(*index),
        )
        cells.append(ColouredCell(*index, coloured))
    if options.suffix in PICTURE_SUFFIXES:
        return CellsInColour(cells)

    # One study, so that all cells share one reading of the text.
    study = model.study(subject.whole, cached=True)
    pages = [study.page(*index) for index in indices]
    if options.json or options.suffix == ".json":
        return CellsAsJson(cells, pages)
    return CellsInColour(cells, pages)


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


def _names_of(subject: Subject, cells: Sequence[ColouredCell]) -> str:
    """Return the title of a file with some cells."""
    names = ", ".join(f"{cell.layer}:{cell.unit}" for cell in cells)
    return f"{subject.model.name}: {names}"


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


@dataclass(frozen=True)
class Surprise:
    """The surprise of the beginning of a text, and the ends of the lists of sentences and
    words of the whole text."""

    trace: Trace
    lists: "Sequence[lines.EndsOfList]"


def _measure_surprise(subject: Subject) -> Surprise:
    # The first character of a text without context is predicted by nothing.
    trace = subject.model.trace(subject.text)
    if len(trace.text) == 1 and subject.text.first == 0:
        raise DataError(
            "The text has 1 character, which nothing predicts; its surprise needs at least 2."
        )
    return Surprise(trace, _lists_of_whole_text(subject))


def _lists_of_whole_text(subject: Subject) -> "Sequence[lines.EndsOfList]":
    """Return the least and the most likely sentences and words of the whole text."""
    model = subject.model
    # The same text as `read_passage` reads, whose notes are printed already.
    text: Corpus | str | bytes | None = None
    context: str | bytes = ""
    if subject.options.text is not None:
        text = read_text_file(subject.options.text, model.config)
    elif model.card:
        text = model.written_text()
    if text is not None:
        context = subject.context
    scored = lines.score_text([model], text, context=context)
    # Whether the model has learned this text, above all.
    warn(*scored.notes)
    return [scored.ends_of_list(unit) for unit in (lines.SENTENCE, lines.WORD)]


def show_surprise(subject: Subject) -> Shown:
    """Draw the least and the most likely sentences and words of a text, and its beginning coloured
    by its surprise."""
    surprise = _measure_surprise(subject)
    trace = surprise.trace
    name, bits = subject.model.name, trace.bits.tolist()
    # A reader must not take the beginning for the whole text.
    shown_of = f"{len(bits):,} of {subject.num_available:,}"
    mean = f", {np.nanmean(trace.bits):.2f} bits per character over {shown_of} (--chars)  "
    caption = Text.assemble((f"surprise of {all_visible(name)}", "bold"), mean)
    coloured = _whole_words(subject, ColouredText(text=trace.text, values=tuple(bits)))
    drawn = surprise_map(coloured.text, bits=coloured.values)
    # The lists come first: the colours of a long text would push them out of sight.
    pictures = [ends.view([name]) for ends in surprise.lists]
    pictures += [caption, *drawn.legend(), *end_legend(trace.text), drawn]
    data = {"run": name, "text": trace.text, "bits": bits}
    data |= {f"{ends.unit}s": ends.to_json([name]) for ends in surprise.lists}
    return Shown(f"Surprise of {name}", pictures=pictures, data=data)
