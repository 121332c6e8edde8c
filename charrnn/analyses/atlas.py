"""The atlas: the values of all cells, their places on a map, and the page of each, for exported
pages and .json.

Near cells of the map carry the same information: their values correlate.

Shapes: N characters, L layers, H units per layer, C cells.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.analyses.descriptions.results import Description, DescriptionReport
from charrnn.cells.activations import Activations
from charrnn.cells.analysis import CellAnalysis, sections, unless_too_short
from charrnn.cells.findings import CellFindings, CellScore, CellValues, MeasuredCell
from charrnn.cells.values import correlate, measure_values
from charrnn.system.display import Displayable
from charrnn.views.cell_page import characters_text
from charrnn.views.html_page import CellColumn, CellEntry, HeatMapPage, PagePart, ShownPassage
from charrnn.views.tables import MEANINGS, NO_GAIN_MARK, score_mark

ATLAS_VERSION = 1
"""Version of the JSON of an atlas; a new one if a key changes its meaning or disappears."""
NUM_AFTER = 12
"""Characters that are kept of those a cell was measured after: those that change its mean most."""
MIN_AFTER = 5
"""Occurrences that such a character needs."""
CHARS_BEFORE = 60
"""Characters of a passage that are kept before the one it was chosen for, at most."""
CHARS_AFTER = 30
"""Characters of a passage from that one on, at most."""
CELLS_EXACT = 1_024
"""Cells whose map is computed from all eigenvectors, at most: their number cubed decides how long
that takes."""
NUM_COLUMNS = 16
"""Columns whose span comes near the leading eigenvectors of more cells."""
NUM_POWERS = 64
"""How often the matrix
multiplies them."""
NUM_DIGITS = 5
"""Significant digits of the numbers of a cell."""
COLUMNS = (
    CellColumn(name="cell", about="layer and unit, from 0", is_number=False),
    CellColumn(
        name="description", about="the best rule of at most three conditions", is_number=False
    ),
    CellColumn(
        name="R²", about="how well the rule predicts the half of the text that did not choose it"
    ),
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
KINDS = {"top": "highest", "bottom": "lowest", "decile": "tenth"}
"""How the kinds of passages are called on a page."""
NOTES = (
    (
        "All cells: click a column to sort by it. The filter takes words and comparisons:"
        " R2>0.5, timescale>50."
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
"""What a page with an atlas says of its parts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AtlasCell(MeasuredCell):
    """What was measured of a cell. Its values have the characters that change its mean most, and
    short passages.

    `x` and `y` are its place on the map, from 0 to 1.
    """

    x: float
    y: float
    in_passages: tuple[NDArray[np.float32], ...] = field(default=(), repr=False, compare=False)
    """The cell's values in each of its passages."""

    def to_json(self) -> dict[str, Any]:
        """Return all fields but the values in the passages as one object."""
        return self.to_json_with(x=self.x, y=self.y)


@dataclass(frozen=True, kw_only=True, slots=True)
class Atlas(Displayable):
    """All cells of a model over a text, in the order of their numbers, with the findings of the
    detectors.

    `half` is the index at which the scoring half begins.
    """

    text: str = field(repr=False)
    """One character per id, as in `EncodedText.text`: the positions of passages count these."""
    half: int
    num_layers: int
    num_units: int
    findings: CellFindings
    cells: tuple[AtlasCell, ...] = field(repr=False)
    report: DescriptionReport | None = field(default=None, repr=False)
    """What the descriptions explain in all; None for a text that is too short."""

    def added_to(self, page: HeatMapPage) -> HeatMapPage:
        """Return a page with the table, the map and the pages of all cells."""
        return replace(
            page,
            source=self.text,
            begin=self.half,
            cell_columns=COLUMNS,
            entries=atlas_entries(self),
            notes=(*page.notes, *NOTES),
        )

    def of(self, layer: int, unit: int) -> AtlasCell:
        """Return a cell. Raises IndexError if there is none."""
        return self.cells[layer * self.num_units + unit]

    def to_json(self) -> dict[str, Any]:
        """Return the object of `visualize --export atlas.json`, which docs/formats.md describes."""
        # Each description is with its cell.
        about = None
        if self.report is not None:
            about = self.report.to_json()
            del about["descriptions"]
        return {
            "version": ATLAS_VERSION,
            "num_chars": len(self.text),
            "half": self.half,
            "num_layers": self.num_layers,
            "num_units": self.num_units,
            "findings": [score.to_json() for score in self.findings.scores],
            "skipped": [asdict(skipped) for skipped in self.findings.skipped],
            "descriptions": about,
            "cells": [cell.to_json() for cell in self.cells],
            "text": self.text,
        }


def atlas(analysis: CellAnalysis, findings: CellFindings) -> Atlas:
    """Measure all cells: values, places on a map, descriptions, inputs and outputs, beside the
    findings.

    The effects that take long, of erased characters and clamped cells, are those of `inputs_of` and
    `outputs_of`. Descriptions and effects are None for a text too short for them. Raises DataError
    for a text too short for findings.
    """
    # What needs no more than the values, then the analyses, each of which may be kept already.
    cells = measure_cells(analysis.activations())
    results = {}
    for section in sections():
        if section.parts is not None:
            results[section.name] = section.of_all_cells(analysis)

    complete = []
    for index, cell in enumerate(cells):
        of_cell = {name: of_all[index] for name, of_all in results.items()}
        complete.append(replace(cell, sections=of_cell))
    return Atlas(
        text=analysis.text.text,
        half=analysis.half,
        num_layers=analysis.num_layers,
        num_units=analysis.num_units,
        findings=findings,
        report=unless_too_short(analysis.descriptions),
        cells=tuple(complete),
    )


def measure_cells(activations: Activations) -> tuple[AtlasCell, ...]:
    """Measure the values of all cells and place the cells on a map; all numbers have NUM_DIGITS
    digits."""
    # The correlations serve the map and the list of similar cells.
    correlations = correlate(activations)
    places = place_cells(correlations).tolist()
    measured = measure_values(activations, cells=None, correlations=correlations)
    cells = []
    for found, (x, y) in zip(measured, places, strict=True):
        # A file of all cells has room for short passages only.
        kept = _shortened(found)
        values = activations.of(kept.layer, kept.unit)
        cell = AtlasCell(
            layer=kept.layer,
            unit=kept.unit,
            x=x,
            y=y,
            values=kept,
            in_passages=tuple(values[one.begin : one.end] for one in kept.passages),
        )
        cells.append(_rounded(cell))
    return tuple(cells)


def _shortened(values: CellValues) -> CellValues:
    """Keep the characters that change the mean most, and the parts of the passages around what they
    show."""
    # A mean over few characters is noise, and the largest one by chance.
    after = [one for one in values.after_characters if one.count >= MIN_AFTER]
    after.sort(key=lambda one: -abs(one.mean - values.mean))

    # From some characters before the place that they show to some after it.
    passages = []
    for one in values.passages:
        begin = max(one.begin, one.index - CHARS_BEFORE)
        end = min(one.end, one.index + CHARS_AFTER)
        passages.append(replace(one, begin=begin, end=end))
    return replace(values, after_characters=tuple(after[:NUM_AFTER]), passages=tuple(passages))


def _rounded(value: Any) -> Any:
    """Return a record, a tuple or a number with NUM_DIGITS significant digits."""
    # Whatever is inside of it: the digits are most of a file of all cells.
    if is_dataclass(value) and not isinstance(value, type):
        parts = {field.name: _rounded(getattr(value, field.name)) for field in fields(value)}
        return replace(value, **parts)
    if isinstance(value, tuple):
        return tuple(map(_rounded, value))
    if isinstance(value, float):
        return float(f"{value:.{NUM_DIGITS}g}")
    return value


def place_cells(correlations: NDArray[np.float32]) -> NDArray[np.float64]:
    """Place cells with correlations (C, C) on a map: returns (C, 2) in [0, 1].

    Classical multidimensional scaling (Torgerson 1952) of squared distances 1 - r²: the sign of a
    cell does not matter. Then each axis is stretched halfway to equal spacing.
    """
    # The doubly centred matrix of products; the constant 1 of the distances disappears.
    products = correlations.astype(np.float64) ** 2 / 2
    products -= products.mean(axis=0)
    products -= products.mean(axis=1, keepdims=True)
    axes = _leading_axes(products)

    # Few cells lie far from a crowd: of their places, half is the rank.
    order = np.argsort(axes, axis=0, kind="stable")
    ranks = np.argsort(order, axis=0, kind="stable") / max(1, len(correlations) - 1)
    lengths = np.ptp(axes, axis=0)
    scaled = (axes - axes.min(axis=0)) / np.where(lengths > 0, lengths, 1)
    return np.asarray((ranks + scaled) / 2)


def _leading_axes(products: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the two leading eigenvectors of a symmetric matrix (C, C), times the roots of their
    eigenvalues.

    The largest entry of each is positive, so that the map of a model is always the same.
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

    # In ascending order; a single cell has one axis, and its place on the other is 0.
    axes = np.zeros((len(products), 2))
    leading = vectors[:, ::-1][:, :2] * np.sqrt(np.maximum(values[::-1][:2], 0))
    axes[:, : leading.shape[1]] = leading

    # An eigenvector may as well be its negative, depending on the library.
    signs = np.sign(np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], axis=0))
    return np.asarray(axes * np.where(signs == 0, 1, signs))


def atlas_entries(atlas: Atlas) -> list[CellEntry]:
    """Return what a page shows of every cell."""
    # A cell may be the best one of several detectors.
    found: dict[tuple[int, int], list[CellScore]] = defaultdict(list)
    for score in atlas.findings.scores:
        if score.is_significant:
            found[score.layer, score.unit].append(score)
    return [_entry(cell, found[cell.layer, cell.unit]) for cell in atlas.cells]


def _entry(cell: AtlasCell, scores: Sequence[CellScore]) -> CellEntry:
    """Return what a page shows of a cell: its row, its name on the map, and its own page."""
    # What it follows, by detectors and by a rule in words.
    values = cell.values
    labels = []
    follows = ", ".join(f"{one.detector} {score_mark(one)}".rstrip() for one in scores)
    if follows:
        labels.append(f"follows {follows}")
    text = ""
    score = None
    description: Description | None = cell.sections.get("description")
    if description is not None:
        text = description.text
        if description.explained:
            score = description.score
            labels.append(text)

    # Only what training made gives it a colour.
    found = [one.detector for one in scores if not one.is_no_better_than_untrained]
    return CellEntry(
        cell=(cell.layer, cell.unit),
        columns=(text, score, follows, values.timescale, values.mean, values.spread),
        label="; ".join(labels),
        map_name=found[0] if found else "",
        map_position=(cell.x, cell.y),
        sections=tuple(section for section in _sections(cell) if section.content),
    )


def _sections(cell: AtlasCell) -> Iterator[PagePart]:
    """Yield the parts of the page of a cell, those of its sections in their order; a part may be
    empty."""
    # Where it is strong comes first, then figures, then what the other analyses say.
    passages = _passages(cell)
    for kind in ("top", "bottom"):
        title = f"Where it is {KINDS[kind]}"
        yield PagePart(title=title, draw_as="passages", content=passages[kind])
    yield from _values(cell.values)
    for section in sections():
        result = cell.sections.get(section.name)
        if section.parts is not None and result is not None:
            yield from section.parts(result)
    yield PagePart(
        title="A passage of each tenth of its values",
        about="the largest first; chosen at random within each tenth",
        draw_as="passages",
        content=passages["decile"],
    )


def _passages(cell: AtlasCell) -> Mapping[str, list[ShownPassage]]:
    """Return the passages of a cell by kind."""
    found: dict[str, list[ShownPassage]] = defaultdict(list)
    for place, shown in zip(cell.values.passages, cell.in_passages, strict=True):
        title = f"{KINDS.get(place.kind, '')} {place.rank}: {place.value:.2f}".replace("-", "−")
        found[place.kind].append(ShownPassage(title=title, begin=place.begin, values=shown))
    return found


def _values(values: CellValues) -> Iterator[PagePart]:
    """Yield the parts of the page about the values of a cell."""
    # The figures that there are: some cells have no gates, others no timescale.
    figures: list[tuple[str, str | float]] = [
        ("mean", values.mean),
        ("standard deviation", values.spread),
    ]
    if values.timescale is not None:
        source = values.timescale_from
        # A gate has a letter, everything else a word.
        name = f"gate {source}" if len(source) == 1 else f"the {source}"
        figures.append(("timescale", f"{characters_text(values.timescale)}, from {name}"))
    if values.decay is not None:
        figures.append(("autocorrelation falls to 1/e after", characters_text(values.decay)))
    for gate in values.gates:
        shares = f"open {100 * gate.open:.0f} %, closed {100 * gate.closed:.0f} %"
        figures.append((f"gate {gate.gate}", shares))

    # Then the pictures: how values are distributed, and what goes with them.
    yield PagePart(title="Values", draw_as="figures", content=figures)
    yield PagePart(title="Histogram", draw_as="histogram", content=(-1.0, 1.0, values.histogram))
    yield PagePart(
        title="Mean value after a character",
        about="the characters after which it is farthest from its mean",
        draw_as="bars",
        content=[(one.character, one.mean) for one in values.after_characters],
    )
    yield PagePart(
        title="Most correlated cells",
        draw_as="cells",
        content=[((one.layer, one.unit), one.correlation) for one in values.correlated],
    )
