"""The pictures of inputs and outputs: every figure is shown, at 80 columns, without control characters."""

from collections.abc import Sequence
from dataclasses import replace
from io import StringIO

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType

from charrnn.lab.inputs import CellInputs, CharacterInput, Driver, EarlierCharacters, ErasedCharacter, InputPassage
from charrnn.lab.outputs import CellOutputs, CharacterEffect, ClampedCharacter, ClampedPrediction

INPUTS = CellInputs(
    layer=1,
    unit=396,
    num_positions=256,
    drivers=tuple(
        Driver(gate=gate, layer=layer, unit=unit, weight=1.0, strength=strength)
        for gate in "ifgo"
        for layer, unit, strength in ((1, 396, -2.75), (0, 511, 0.5), (1, 100, 0.25), (1, 200, 0.125), (1, 300, 0.0625))
    ),
    earlier=EarlierCharacters(
        num_positions=32,
        attribution_by_lag=(0.1,) * 24,
        measured_by_lag=tuple(lag / 100 for lag in range(24)),
        correlation=0.873,
        characters=(
            CharacterInput(character='"', count=1_234, attribution=0.25, measured=0.875),
            CharacterInput(character="\x1b", count=3, attribution=-0.25, measured=-0.125),
        ),
        passages=(
            InputPassage(
                position=99,
                value=-0.96875,
                characters=tuple(
                    ErasedCharacter(character=character, attribution=0.0, measured=measured)
                    for character, measured in (("a", 0.0), ("\n", -0.5), ("\x1b", 0.25), (" ", 0.1))
                ),
            ),
        ),
    ),
)
OUTPUTS = CellOutputs(
    layer=0,
    unit=7,
    quantity="tanh(c)",
    spread=0.5,
    num_positions=256,
    promoted=tuple(CharacterEffect(character=character, effect=0.5) for character in 'abcdefg"'),
    suppressed=(CharacterEffect(character=" ", effect=-1.25), CharacterEffect(character="\n", effect=-0.25)),
    clamped=ClampedPrediction(
        low=-0.9375,
        high=0.96875,
        num_chars=8_191,
        loss_free=1.5,
        loss_low=1.53125,
        loss_high=1.75,
        divergence_low=0.0625,
        divergence_high=0.21875,
        characters=(ClampedCharacter(character="x", free=0.01, low=0.005, high=0.08),),
    ),
)


def draw(pictures: Sequence[RenderableType], *, colour: bool = False, width: int = 80) -> str:
    file = StringIO()
    console = Console(
        file=file,
        width=width,
        force_terminal=colour,
        color_system="truecolor" if colour else None,
        highlight=False,
        legacy_windows=False,
    )
    for picture in pictures:
        console.print(picture)
    return file.getvalue()


def test_inputs_show_their_figures() -> None:
    out = draw(INPUTS.view())
    assert all(cell_len(line) <= 80 for line in out.splitlines())
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.strip()}
    assert rows["f"] == ["itself", "-2.75", "0:511", "+0.50", "1:100", "+0.25", "1:200", "+0.12"]
    assert rows['"'] == ["1,234", "+0.250", "+0.875"]
    assert "32 strong positions; correlation with the attribution 0.87" in " ".join(out.split())
    assert "0: 0.000, 1: 0.010, 2: 0.020, 4: 0.040, 8: 0.080, 16: 0.160, 23: 0.230" in " ".join(out.split())
    assert "-0.97 a↵␛" in out
    assert "\x1b" not in out


def test_the_colours_are_the_measured_effects() -> None:
    out = draw(INPUTS.view(), colour=True)
    passage = out[out.index("-0.97") :]
    strong, weak = passage.index("↵"), passage.index("a")
    assert "48;2" in passage[passage.rindex("\x1b", 0, strong) : strong]
    assert "48;2" not in passage[:weak]


@pytest.mark.parametrize(
    ("values", "effect", "is_drawn"),
    [
        *(((0.9996, -0.9992), effect, effect > 0.02) for effect in (0.0, 0.0007, 0.015, 0.025)),
        *(((0.9996, 0.9995), effect, effect > 0.01) for effect in (0.0, 0.0007, 0.025)),
    ],
)
def test_a_saturated_cell_is_named_and_its_noise_is_not_drawn(
    values: tuple[float, ...], effect: float, is_drawn: bool
) -> None:
    passages = tuple(
        InputPassage(
            position=9,
            value=value,
            characters=tuple(
                ErasedCharacter(character=character, attribution=0.0, measured=sign * effect)
                for character, sign in (("x", 1), ("y", -1), ("z", 0.5))
            ),
        )
        for value in values
    )
    assert INPUTS.earlier is not None
    earlier = replace(
        INPUTS.earlier,
        measured_by_lag=(effect / 2,) * 24,
        characters=(CharacterInput(character="x", count=3, attribution=0.0, measured=effect / 2),),
        passages=passages,
    )
    out = draw(replace(INPUTS, earlier=earlier).view())
    bound = {0.0: "0.000", 0.0007: "0.001", 0.015: "0.015"}.get(effect)
    line = f"saturated: erasing one character changes it by at most {bound}"
    assert (line in out.splitlines()) != is_drawn
    assert ("xyz" in out) == is_drawn
    assert ("attribution" in out) == is_drawn


def test_all_passages_have_one_scale_of_colours() -> None:
    """A passage in which the cell is saturated stays without colour beside one in which it is not."""
    strong, weak = (
        InputPassage(
            position=9, value=value, characters=(ErasedCharacter(character=name, attribution=0.0, measured=effect),)
        )
        for name, value, effect in (("S", 0.9, 0.8), ("W", 0.99, 0.001))
    )
    assert INPUTS.earlier is not None
    out = draw(replace(INPUTS, earlier=replace(INPUTS.earlier, passages=(strong, weak))).view(), colour=True)
    strong_line, weak_line = (next(line for line in out.splitlines() if value in line) for value in ("+0.90", "+0.99"))
    assert "48;2" in strong_line and "48;2" not in weak_line


def test_outputs_show_their_figures() -> None:
    out = draw(OUTPUTS.view())
    assert all(cell_len(line) <= 80 for line in out.splitlines())
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.strip()}
    assert rows["promotes"] == [word for character in "abcdef" for word in (character, "+0.50")]
    assert rows["suppresses"] == ["␣", "-1.25", "↵", "-0.25"]
    assert rows["x"] == ["1.00", "%", "0.50", "%", "8.00", "%", "+7.50"]
    assert rows["rise"][-2:] == ["+0.0312", "+0.2500"]
    assert rows["KL(free"][-2:] == ["0.0625", "0.2188"]
    assert "Clamped low (-0.94) and high (+0.97), over 8,191 characters" in out


def test_only_what_was_measured_is_shown() -> None:
    inputs = draw(CellInputs(layer=0, unit=0, num_positions=2, drivers=INPUTS.drivers[:1]).view())
    assert "erased" not in inputs and "1:396 -2.75" in inputs
    outputs = CellOutputs(
        layer=0, unit=0, quantity="h", spread=0.0, num_positions=2, promoted=(), suppressed=(), clamped=None
    )
    out = draw(outputs.view())
    assert out.count("nothing") == 2 and "Clamped" not in out
