"""Inputs and outputs of cells: from a study complete and saved in the run; what saturated cells
show."""

from dataclasses import replace

import pytest
from conftest import copy_run
from rich.console import Console

import charrnn
from charrnn.analyses import sampled_states
from charrnn.analyses.inputs import (
    CellInputs,
    CharacterInput,
    EarlierCharacters,
    ErasedCharacter,
    InputPassage,
)

TEXT = 'She said "wait" and left.\n    He did not.\n' * 40


@pytest.mark.filterwarnings("ignore:.* characters are unknown to ")
def test_cells_have_inputs_and_outputs_once(lstm, tmp_path, monkeypatch):
    run = copy_run(lstm.path, tmp_path / "run")
    study = charrnn.load(run).study(TEXT, cached=True)
    inputs, outputs = study.inputs(), study.outputs()
    cells = [(layer, unit) for layer in range(study.num_layers) for unit in range(study.num_units)]
    assert (
        [(one.layer, one.unit) for one in inputs]
        == [(one.layer, one.unit) for one in outputs]
        == cells
    )
    assert all(one.earlier is None for one in inputs)
    of_cell, to_cell = study.inputs_of(*cells[-1]), study.outputs_of(*cells[-1])
    assert of_cell.earlier is not None
    assert of_cell.drivers == inputs[-1].drivers
    assert to_cell == outputs[-1]
    # Nothing is read again, by another study of the same run.
    again = charrnn.load(run).study(TEXT, cached=True)
    monkeypatch.setattr(sampled_states, "sample_states", pytest.fail)
    object.__setattr__(again, "network", pytest.fail)
    assert (again.inputs(), again.outputs()) == (inputs, outputs)
    assert (again.inputs_of(*cells[-1]), again.outputs_of(*cells[-1])) == (of_cell, to_cell)


def passage(value, **effects):
    characters = tuple(
        ErasedCharacter(character=name, measured=effect) for name, effect in effects.items()
    )
    return InputPassage(position=9, value=value, characters=characters)


EARLIER = EarlierCharacters(
    num_positions=32, measured_by_lag=(0.1,) * 24, characters=(), passages=()
)
INPUTS = CellInputs(layer=1, unit=396, num_positions=256, drivers=())


def draw(pictures, *, colour=False):
    system = "truecolor" if colour else None
    console = Console(
        width=80, force_terminal=colour, color_system=system, highlight=False, legacy_windows=False
    )
    with console.capture() as captured:
        for picture in pictures:
            console.print(picture)
    return captured.get()


@pytest.mark.parametrize("lowest", [-0.9992, 0.9995])
@pytest.mark.parametrize("effect", [0.0, 0.0007, 0.015, 0.025])
def test_a_saturated_cell_is_named_and_no_noise_drawn(lowest, effect):
    is_drawn = effect > (0.02 if lowest < 0 else 0.01)
    earlier = replace(
        EARLIER,
        measured_by_lag=(effect / 2,) * 24,
        characters=(CharacterInput(character="x", count=3, measured=effect / 2),),
        passages=tuple(
            passage(value, x=effect, y=-effect, z=effect / 2) for value in (0.9996, lowest)
        ),
    )
    out = draw(replace(INPUTS, earlier=earlier).view())
    bound = {0.0: "0.000", 0.0007: "0.001", 0.015: "0.015"}.get(effect)
    assert (
        f"saturated: erasing one character changes it by at most {bound}" in out.splitlines()
    ) != is_drawn
    assert ("xyz" in out) == ("characters back" in out) == is_drawn


def test_the_colours_are_the_measured_effects_on_one_scale():
    """A passage in which the cell is saturated stays without colour beside one in which it is
    not."""
    earlier = replace(EARLIER, passages=(passage(0.9, a=0.0, S=0.8), passage(0.99, W=0.001)))
    out = draw(replace(INPUTS, earlier=earlier).view(), colour=True)
    strong = next(line for line in out.splitlines() if "+0.90" in line)
    weak = next(line for line in out.splitlines() if "+0.99" in line)
    assert "48;" in strong
    assert "48;" not in strong[: strong.index("a")]
    assert "48;" not in weak
