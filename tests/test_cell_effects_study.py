"""Inputs and outputs of cells from a study: complete, saved in the run, and with one clear error for a bad text."""

from pathlib import Path

import pytest
from conftest import TrainedRun, copy_run

import charrnn
from charrnn.errors import DataError
from charrnn.lab import sampled_states

TEXT = 'She said "wait" and left.\n    He did not.\n' * 40


def test_every_cell_has_inputs_and_outputs_once(
    lstm: TrainedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copy_run(lstm.path, tmp_path / "run")
    model = charrnn.load(run)
    study = model.study(TEXT, cached=True)
    inputs, outputs = study.inputs(), study.outputs()
    cells = [(layer, unit) for layer in range(study.num_layers) for unit in range(study.num_units)]
    assert [(one.layer, one.unit) for one in inputs] == [(one.layer, one.unit) for one in outputs] == cells
    assert all(one.earlier is None for one in inputs) and all(one.clamped is None for one in outputs)
    layer, unit = cells[-1]
    of_cell, to_cell = study.inputs_of(layer, unit), study.outputs_of(layer, unit)
    assert of_cell.earlier is not None and of_cell.drivers == inputs[-1].drivers
    assert to_cell.clamped is not None and to_cell.promoted == outputs[-1].promoted
    assert to_cell.clamped.low < to_cell.clamped.high
    assert to_cell.clamped.num_chars == len(TEXT) - len(TEXT) // 2 - 1
    assert 0 < to_cell.clamped.divergence_low < 10

    # Nothing is read again, by another study of the same run.
    def fail(*_: object) -> None:
        raise AssertionError("the network was built")

    again = charrnn.load(run).study(TEXT, cached=True)
    monkeypatch.setattr(sampled_states, "sample_states", fail)
    object.__setattr__(again, "network", fail)
    assert (again.inputs(), again.outputs()) == (inputs, outputs)
    assert (again.inputs_of(layer, unit), again.outputs_of(layer, unit)) == (of_cell, to_cell)


def test_a_text_of_two_characters_is_enough_and_one_is_not(lstm: TrainedRun) -> None:
    model = charrnn.load(lstm.path)
    assert model.study("ab").inputs_of(0, 0).earlier is not None
    clamped = model.study("ab").outputs_of(0, 0).clamped
    assert clamped is not None and clamped.num_chars == 1
    for measure in (
        lambda study: study.inputs(),
        lambda study: study.outputs(),
        lambda study: study.inputs_of(0, 0),
        lambda study: study.outputs_of(0, 0),
    ):
        with pytest.raises(DataError, match=r"The text has 1 character; .* at least 2\. Give a longer `text`\."):
            measure(model.study("a"))
