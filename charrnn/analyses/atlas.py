"""The atlas: the values of all cells, a map of the cells, and a page for each cell, in an exported
page or a .json file.

Cells that are near on the map carry the same information: their values correlate.

Shapes: N characters, L layers, H units per layer, C cells.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from typing import Any

import numpy as np

from charrnn.analyses.atlas_page import (
    CellColumn,
    CellEntry,
    HeatMapPage,
    PageRow,
    chars_on_page,
)
from charrnn.cells.activations import Activations
from charrnn.cells.findings import (
    CellFindings,
    CellIndex,
    CellPassage,
    CellScore,
    CellValues,
    MeasuredCell,
)
from charrnn.cells.passages import read_passages
from charrnn.cells.study import Study, sections
from charrnn.cells.target_labels import label_by_name
from charrnn.cells.value_statistics import correlate, measure_values
from charrnn.detectors.detector import Detector
from charrnn.model.cell_type_registry import cell_type
from charrnn.system.arrays import Float32Array, Float64Array
from charrnn.system.display import Displayable
from charrnn.trained_model import TrainedModel
from charrnn.views.cell_page import page_parts
from charrnn.views.tables import (
    FINDINGS_COLUMNS,
    MEANINGS,
    NO_GAIN_MARK,
    footnotes,
    record_cell,
    score_mark,
    unscored,
)

ATLAS_VERSION = 1
"""Version of the JSON of an atlas; a new one if a key changes its meaning or disappears."""
NUM_AFTER = 12
"""Characters of a cell for which its mean after them is listed: those that change the mean most."""
MIN_AFTER = 5
"""Occurrences that a listed character needs."""
CHARS_BEFORE = 60
"""Characters of a passage before the character it was chosen for, at most."""
CHARS_AFTER = 30
"""Characters of a passage from that character on, at most."""
CELLS_EXACT = 1_024
"""Up to this many cells, the map is computed from all eigenvectors, which takes time proportional
to the cube of the number of cells."""
NUM_GUESSES = 5
"""Next characters that the page names for each character."""
NUM_COLUMNS = 16
"""Columns of the basis that approximates the leading eigenvectors of more cells."""
NUM_POWERS = 64
"""How often the basis is multiplied by the matrix."""
NUM_DIGITS = 5
"""Significant digits of every number of a cell."""
COLUMNS = (
    CellColumn(name="cell", about="layer and unit, from 0", is_number=False),
    CellColumn(
        name="follows",
        about=(
            f"the detectors whose best cell it is, if that is significant; {NO_GAIN_MARK}:"
            f" {MEANINGS[NO_GAIN_MARK]}"
        ),
        is_number=False,
    ),
    CellColumn(name="timescale", about="characters after which the memory has decayed to 1/e"),
    CellColumn(name="mean", about="mean value"),
    CellColumn(name="spread", about="standard deviation of the values"),
)
"""The columns of the table of all cells."""
NOTES = (
    (
        "score: AUC, the probability that the cell ranks a character inside above one outside, or"
        " for a count Spearman's ρ"
    ),
    (
        "chance: the score that the best of all cells stays below for 95 % of labels that were"
        " shifted along the text"
    ),
    "untrained: the score of the same choice in an untrained baseline; ρ keeps its sign",
    "inner: the AUC over characters five or more after a label changed; a count has none",
    (
        "All cells: click a column to sort by it. The filter takes words and comparisons:"
        " quote timescale>50."
    ),
    (
        "Map: cells whose values are correlated, with either sign, are near (classical scaling of 1"
        " - r²)."
    ),
    (
        "Selection: a cell is on where its value is far enough above its mean over this text (high)"
        " or below it (low)."
    ),
)
"""The notes that explain the parts of a page."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AtlasCell(MeasuredCell):
    """The measurements of a cell, with the characters that change its mean most and with short
    passages."""

    x: float
    """Its place on the map from left to right, from 0 to 1."""
    y: float
    """Its place on the map in the other direction, from 0 to 1."""
    in_passages: tuple[Float32Array, ...] = field(default=(), repr=False, compare=False)
    """The cell's values in each of its passages."""

    def to_json(self) -> dict[str, Any]:
        """Return all fields but the values in the passages as one object."""
        return self.to_json_with(x=self.x, y=self.y)


@dataclass(frozen=True, kw_only=True, slots=True)
class Atlas(Displayable):
    """All cells of a model over a text, with the findings of the detectors."""

    text: str = field(repr=False)
    """One character per id, as in `EncodedText.text`: the positions of passages count these."""
    half: int
    """The index at which the scoring half begins."""
    num_layers: int
    """L."""
    num_units: int
    """H: units per layer."""
    findings: CellFindings
    """The findings of the detectors."""
    cells: tuple[AtlasCell, ...] = field(repr=False)
    """All C cells, in the order of their numbers."""

    def of(self, layer: int, unit: int) -> AtlasCell:
        """Return the measurements of a cell.

        Args:
            layer: The layer of the cell, from 0.
            unit: The unit of the cell in its layer, from 0.

        Returns:
            An `AtlasCell`: values, place on the map, inputs and outputs.

        Raises:
            IndexError: There is no such cell.

        Example:
            >>> cell = study.atlas().of(0, 5)
            >>> cell.x, cell.y  # its place on the map, from 0 to 1
        """
        return self.cells[layer * self.num_units + unit]

    def to_json(self) -> dict[str, Any]:
        """Return the object of `visualize --export atlas.json`, which docs/look-up/formats.md
        describes."""
        return {
            "version": ATLAS_VERSION,
            "num_chars": len(self.text),
            "half": self.half,
            "num_layers": self.num_layers,
            "num_units": self.num_units,
            "findings": [score.to_json() for score in self.findings.scores],
            "skipped": [asdict(skipped) for skipped in self.findings.skipped],
            "cells": [cell.to_json() for cell in self.cells],
            "text": self.text,
        }


def atlas(study: Study, findings: CellFindings) -> Atlas:
    """Measure the values, map coordinates, inputs and outputs of all cells, and put
    them beside the findings.

    The atlas leaves out the effects of erased characters, which take long: `inputs_of` measures
    them. Effects are None for a text too short for them. Raises DataError for a
    text too short for findings.
    """
    # First the measurements of the values alone, then the analyses, whose results may be cached.
    cells = measure_cells(study.activations)
    results = {section.name: section.of_all_cells(study) for section in sections()}

    complete = []
    for index, cell in enumerate(cells):
        cell_results = {name: all_results[index] for name, all_results in results.items()}
        complete.append(replace(cell, sections=cell_results))
    return Atlas(
        text=study.text.text,
        half=study.half,
        num_layers=study.num_layers,
        num_units=study.num_units,
        findings=findings,
        cells=tuple(complete),
    )


def measure_cells(activations: Activations) -> tuple[AtlasCell, ...]:
    """Measure the values of all cells and place the cells on a map; all numbers have NUM_DIGITS
    digits."""
    # The correlations serve the map and the list of similar cells.
    correlations = correlate(activations)
    coordinates = place_cells(correlations).tolist()
    values_of_cells = measure_values(activations, cells=None, correlations=correlations)
    cells = []
    for full, (x, y) in zip(values_of_cells, coordinates, strict=True):
        # A file of all cells has room for short passages only.
        short = _shortened(full)
        values = activations.of(short.layer, short.unit)
        cell = AtlasCell(
            layer=short.layer,
            unit=short.unit,
            x=x,
            y=y,
            values=short,
            in_passages=tuple(values[passage.begin : passage.end] for passage in short.passages),
        )
        cells.append(_rounded(cell))
    return tuple(cells)


def _shortened(values: CellValues) -> CellValues:
    """Return the values with only the characters that change the mean most, and with only the
    surroundings of the character that a passage shows."""
    # A mean over few characters is noise, and the largest one by chance.
    after_characters = [char for char in values.after_characters if char.count >= MIN_AFTER]
    after_characters.sort(key=lambda char: -abs(char.mean - values.mean))

    passages = []
    for passage in values.passages:
        begin = max(passage.begin, passage.index - CHARS_BEFORE)
        end = min(passage.end, passage.index + CHARS_AFTER)
        passages.append(replace(passage, begin=begin, end=end))
    return replace(
        values, after_characters=tuple(after_characters[:NUM_AFTER]), passages=tuple(passages)
    )


def _rounded(value: Any) -> Any:
    """Return a record, a tuple or a number with NUM_DIGITS significant digits."""
    # Digits are most of a file of all cells.
    if is_dataclass(value) and not isinstance(value, type):
        rounded_fields = {
            field.name: _rounded(getattr(value, field.name)) for field in fields(value)
        }
        return replace(value, **rounded_fields)
    if isinstance(value, tuple):
        return tuple(map(_rounded, value))
    if isinstance(value, float):
        return float(f"{value:.{NUM_DIGITS}g}")
    return value


def place_cells(correlations: Float32Array) -> Float64Array:
    """Place cells with correlations (C, C) on a map: returns (C, 2) in [0, 1].

    Classical multidimensional scaling (Torgerson 1952) of squared distances 1 - r²: the sign of a
    cell does not matter. Then each axis is stretched halfway to equal spacing.
    """
    # The doubly centred matrix of products; centring removes the constant 1 of the distances.
    products = correlations.astype(np.float64) ** 2 / 2
    products -= products.mean(axis=0)
    products -= products.mean(axis=1, keepdims=True)
    axes = _leading_axes(products)

    # A few cells lie far from the crowd: half of each coordinate is the rank.
    order = np.argsort(axes, axis=0, kind="stable")
    ranks = np.argsort(order, axis=0, kind="stable") / max(1, len(correlations) - 1)
    lengths = np.ptp(axes, axis=0)
    scaled = (axes - axes.min(axis=0)) / np.where(lengths > 0, lengths, 1)
    return np.asarray((ranks + scaled) / 2)


def _leading_axes(products: Float64Array) -> Float64Array:
    """Return the two leading eigenvectors of a symmetric matrix (C, C), times the roots of their
    eigenvalues.

    The largest entry of each eigenvector is positive, so that the map of a model is always the
    same.
    """
    if len(products) <= CELLS_EXACT:
        values, vectors = np.linalg.eigh(products)
    else:
        # Orthogonal iteration (Rutishauser 1969): its powers turn any columns to the leading
        # eigenvectors.
        basis = np.random.default_rng(0).normal(size=(len(products), NUM_COLUMNS))
        for _ in range(NUM_POWERS):
            basis, _ = np.linalg.qr(products @ basis)
        values, within = np.linalg.eigh(basis.T @ products @ basis)
        vectors = basis @ within

    # `eigh` sorts in ascending order. A single cell has one axis; its second coordinate is 0.
    axes = np.zeros((len(products), 2))
    leading = vectors[:, ::-1][:, :2] * np.sqrt(np.maximum(values[::-1][:2], 0))
    axes[:, : leading.shape[1]] = leading

    # An eigenvector may as well be its negative, depending on the library.
    signs = np.sign(np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], axis=0))
    return np.asarray(axes * np.where(signs == 0, 1, signs))


def page_of(
    atlas: Atlas, model: TrainedModel, study: Study, *, title: str, detectors: Sequence[Detector]
) -> HeatMapPage:
    """Return the page of an atlas, over the beginning of the scoring half, on which no cell was
    chosen; `title` is the first of its notes."""
    # A browser has to load the values of all cells: the more cells, the fewer characters.
    chars = slice(study.half, study.half + chars_on_page(len(atlas.cells)))
    trace = model.trace(study.text.part(chars.start, chars.stop), num_guesses=NUM_GUESSES)

    # The rows are the rows of the terminal, each with the cell that a click colours.
    findings = atlas.findings
    rows = []
    for score in findings.scores:
        cells = [str(record_cell(score, cell)) for cell in FINDINGS_COLUMNS.values()]
        rows.append(
            PageRow(
                columns=cells,
                cell=(score.layer, score.unit),
                detector=score.detector,
                polarity=score.polarity,
            )
        )

    # Only yes/no labels can be underlined.
    names = [score.detector for score in findings.scores]
    of_text = label_by_name(study.text.text, names=names, detectors=detectors)
    labels = {name: of_text[name][chars] for name in names if of_text[name].dtype == bool}
    return HeatMapPage(
        title=f"Cells of {model.name}",
        shows=cell_type(model.config.cell).shows,
        text=trace.text,
        cells=trace.cells,
        bits=trace.bits.tolist(),
        guesses=model.guesses(trace),
        columns=list(FINDINGS_COLUMNS),
        rows=rows,
        labels=labels,
        notes=[title, *footnotes(findings), *unscored(findings.skipped), *NOTES],
        source=atlas.text,
        begin=atlas.half,
        cell_columns=COLUMNS,
        entries=atlas_entries(atlas),
    )


def atlas_entries(atlas: Atlas) -> list[CellEntry]:
    """Return the entry of every cell for the page."""
    # A cell may be the best cell of several detectors.
    scores_of: dict[CellIndex, list[CellScore]] = defaultdict(list)
    for score in atlas.findings.scores:
        if score.is_significant:
            scores_of[score.layer, score.unit].append(score)
    entries = []
    for cell in atlas.cells:
        scores = scores_of[cell.layer, cell.unit]
        passages = read_passages(atlas.text, cell.values.passages, cell.in_passages)
        entries.append(_entry(cell, scores, passages))
    return entries


def _entry(
    cell: AtlasCell, scores: Sequence[CellScore], passages: Sequence[CellPassage]
) -> CellEntry:
    """Return the entry of a cell: its row in the table, its label and mark on the map, and the
    parts of its page."""
    # The detectors that the cell follows.
    values = cell.values
    labels = []
    follows = ", ".join(f"{score.detector} {score_mark(score)}".rstrip() for score in scores)
    if follows:
        labels.append(f"follows {follows}")

    # Only a detector that the cell has learned to follow colours it on the map.
    learned = [score.detector for score in scores if not score.is_no_better_than_untrained]
    return CellEntry(
        cell=(cell.layer, cell.unit),
        columns=(follows, values.timescale, values.mean, values.spread),
        label="; ".join(labels),
        map_name=learned[0] if learned else "",
        map_position=(cell.x, cell.y),
        parts=tuple(page_parts(cell, passages)),
    )
