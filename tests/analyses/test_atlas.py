"""The atlas: places on the map, packed values, every cell with everything, saved in the run, and
shown on a page."""

import json
from dataclasses import replace

import numpy as np
import pytest
from conftest import copy_run

import charrnn
from charrnn.analyses.atlas import ATLAS_VERSION, COLUMNS, atlas_entries, place_cells
from charrnn.analyses.atlas_page import HeatMapPage, chars_on_page

TEXT = 'she said "wait" and left.\n    and so did we.\n' * 60


def test_the_map_has_the_axes_of_classical_scaling():
    """Against NumPy's eigenvectors of the doubly centred matrix, by the order of the cells along
    each axis."""
    draw = np.random.default_rng(1)
    values = draw.normal(size=(24, 3)) @ draw.normal(size=(3, 400)) + 0.2 * draw.normal(
        size=(24, 400)
    )
    correlations = np.corrcoef(values)
    centring = np.eye(24) - 1 / 24
    sizes, vectors = np.linalg.eigh(centring @ (correlations**2 - 1) @ centring / 2)
    assert sizes[-1] > sizes[-2] > sizes[-3]
    expected = vectors[:, ::-1][:, :2]
    found = place_cells(correlations.astype(np.float32))
    for axis in range(2):
        assert abs(np.corrcoef(expected[:, axis], found[:, axis])[0, 1]) > 0.9
    assert found.min() >= 0
    assert found.max() <= 1
    assert np.array_equal(found, place_cells(correlations.astype(np.float32)))


def test_the_axes_of_many_cells_are_searched_in_a_small_space(monkeypatch):
    """A map of all eigenvectors takes the cube of the number of cells: half a minute at 4,096."""
    draw = np.random.default_rng(3)
    values = draw.normal(size=(300, 4)) @ draw.normal(size=(4, 500)) + 0.5 * draw.normal(
        size=(300, 500)
    )
    correlations = np.corrcoef(values).astype(np.float32)
    for num_alive in (300, 40):
        correlations[num_alive:], correlations[:, num_alive:] = 0, 0
        monkeypatch.setattr("charrnn.analyses.atlas.CELLS_EXACT", 300)
        exact = place_cells(correlations)[:num_alive]
        monkeypatch.setattr("charrnn.analyses.atlas.CELLS_EXACT", 299)
        assert place_cells(correlations)[:num_alive] == pytest.approx(
            exact, abs=0.01
        )  # 0.0017 is half a rank


def test_cells_that_carry_the_same_are_near_whatever_their_sign():
    values = np.random.default_rng(2).normal(size=(60, 300))
    values[41] = -values[5]
    places = place_cells(np.corrcoef(values).astype(np.float32))
    distances = np.linalg.norm(places[:, None] - places, axis=2) + 9 * np.eye(60)
    assert distances[5, 41] < np.median(distances.min(axis=0)) * 2


@pytest.mark.parametrize("num_cells", [1, 2, 3])
def test_constant_cells_have_places_too(num_cells):
    places = place_cells(np.eye(num_cells, dtype=np.float32))
    assert places.shape == (num_cells, 2)
    assert places.min() >= 0
    assert places.max() <= 1


@pytest.fixture(scope="module")
def run(lstm, tmp_path_factory):
    return copy_run(lstm.path, tmp_path_factory.mktemp("atlas") / "run")


@pytest.fixture(scope="module")
def measured(run):
    return charrnn.load(run).atlas(TEXT, cached=True)


def test_every_cell_has_everything_also_in_json(measured):
    for place, cell in enumerate(measured.cells):
        parts = (cell.values, cell.inputs, cell.outputs)
        assert {(part.layer, part.unit) for part in parts} == {(0, place)}
        assert measured.of(0, place) is cell
        assert sum(cell.values.histogram) == len(TEXT)
    assert len(measured.cells) == measured.num_units
    assert measured.half == len(TEXT) // 2


def test_an_atlas_is_written_as_json(measured):
    found = json.loads(json.dumps(measured.to_json(), allow_nan=False))
    assert (found["version"], found["num_chars"], found["text"]) == (ATLAS_VERSION, len(TEXT), TEXT)
    assert len(found["findings"]) == len(measured.findings.scores)
    third = found["cells"][2]
    parts = {"values", "inputs", "outputs", "evidence"}
    assert third.keys() == {"layer", "unit", "x", "y"} | parts
    assert third["values"]["mean"] == measured.cells[2].values.mean


def test_the_values_in_passages_are_those_of_a_trace(run, measured):
    trace, cell = charrnn.load(run).trace(TEXT), measured.cells[3]
    for place, shown in zip(cell.values.passages, cell.in_passages, strict=True):
        assert shown == pytest.approx(
            trace.cells[place.begin : place.end, 0, 3], abs=2e-3
        )  # half precision
        assert place.begin <= place.index < place.end <= place.begin + 90


def test_a_page_shows_every_part_of_a_cell(measured, monkeypatch):
    # Which cell follows a property more than by chance depends on the processor.
    monkeypatch.setattr("charrnn.cells.findings.CellScore.is_significant", True)
    entries = atlas_entries(measured)
    assert [entry.cell for entry in entries] == [(cell.layer, cell.unit) for cell in measured.cells]
    assert all(len(entry.columns) == len(COLUMNS) - 1 for entry in entries)
    drawn = {part.draw_as for entry in entries for part in entry.parts}
    assert drawn == {"rows", "passages", "bars"}
    best = next(score for score in measured.findings.scores if score.is_significant)
    entry = entries[best.layer * measured.num_units + best.unit]
    assert best.detector in str(entry.columns[0])
    assert best.detector in entry.label


def test_a_page_leaves_out_what_a_text_is_too_short_for(measured):
    cell = replace(measured.cells[0], sections={})
    (bare,) = atlas_entries(replace(measured, cells=(cell,)))
    titles = [part.title for part in bare.parts]
    assert titles[0] == "Where cell 0:0 is high and low"
    assert "What the cell makes more likely" not in titles


def test_a_page_of_512_cells_has_at_most_five_megabytes(measured):
    size, character = chars_on_page(512), "ж"
    many = [
        replace(measured.cells[unit % len(measured.cells)], layer=0, unit=unit)
        for unit in range(512)
    ]
    figures = {"cells": np.zeros((size, 1, 512), np.float32), "bits": [1.2345] * size}
    texts = {
        "text": character * size,
        "source": character * 131_072,
        "guesses": [[(character, 0.1234)] * 5] * size,
    }
    words = {"title": "", "shows": "tanh(c)", "columns": (), "rows": (), "labels": {}, "notes": ()}
    entries = atlas_entries(replace(measured, cells=tuple(many)))
    page = HeatMapPage(**figures, **texts, **words, begin=0, cell_columns=COLUMNS, entries=entries)
    assert len(page.to_html().encode()) < 5_000_000 and size == 8_000
    assert chars_on_page(2048) < size / 3 and chars_on_page(1) == size


def test_a_text_too_short_for_effects_has_the_other_parts(run):
    findings = charrnn.load(run).study(TEXT, cached=True).findings()
    found = charrnn.load(run).study("a").atlas(findings)
    assert found.cells[0].outputs is None
    assert found.findings is findings
