"""Scatters of saturated gates: each unit where its shares put it, at 60, 80 and 120 columns, and in ASCII."""

import io
import re

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType

from charrnn.cells.records import GateUse
from charrnn.lab.gates import DOT, GateReport, GateScatters
from charrnn.views.svg import INK


def report(letters: str = "fio", num_layers: int = 2) -> GateReport:
    """Four units: three in corners, one in the middle; in the first layer only."""
    shares = ((0.0, 1.0, 0.0, 0.25), (0.0, 0.0, 1.0, 0.25))
    gates = tuple(
        GateUse(
            layer=layer, gate=gate, left=shares[0] if layer == 0 else (0.5,), right=shares[1] if layer == 0 else (0.5,)
        )
        for layer in range(num_layers)
        for gate in letters
    )
    return GateReport(name="lamps-001", cell="lstm", num_chars=12_345, gates=gates)


def plain(renderable: RenderableType, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None, _environ={})
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def in_ascii(renderable: RenderableType, width: int) -> list[str]:
    written = io.BytesIO()
    file = io.TextIOWrapper(written, encoding="ascii", newline="\n")
    Console(file=file, width=width, color_system=None, legacy_windows=False, _environ={}).print(renderable)
    file.flush()
    return [line.rstrip() for line in written.getvalue().decode("ascii").split("\n")]


PLOT = """\
layer 0: update
 1│⠁
  │
  │
  │
  │
  │    ⡀
  │
 0│⡀               ⢀
  └─────────────────
   0               1
 shut 31% open 31%
"""


def test_every_unit_stands_where_its_shares_put_it() -> None:
    lines = plain(GateScatters(report("z", 1)), 20)
    assert "\n".join(lines[lines.index("") + 1 : -3]) + "\n" == PLOT
    assert " ".join(lines[-3:]) == "A dot is a unit; both axes are shares of the characters."


def test_a_narrow_terminal_has_them_below_each_other() -> None:
    lines = plain(GateScatters(report("fio", 1)), 40)
    assert max(map(cell_len, lines)) <= 40
    assert [line.count("layer") for line in lines if "layer" in line] == [2, 1]


def test_in_an_exported_picture_each_unit_is_a_dot_where_its_shares_put_it() -> None:
    height, shapes = GateScatters(report("fi", num_layers=1)).to_shapes(1200.0)
    drawn = "".join(shapes)
    axes = [re.findall(r"[\d.]+", d) for d in re.findall(rf'd="(M[^"]*)" fill="none" stroke="{INK}"', drawn)]
    assert len(axes) == 2, "one plot for each gate"
    left, upper, _, lower, right, _ = map(float, axes[0])
    places = [(float(x) + DOT, float(y)) for x, y in re.findall(rf'd="M([\d.]+) ([\d.]+)a{DOT:g} ', drawn)]
    # (shut, open): (0, 0), (1, 0), (0, 1), (1/4, 1/4)
    middle = (left + (right - left) / 4, lower - (lower - upper) / 4)
    expected = [(left, lower), (right, lower), (left, upper), middle]
    assert [(x, y) for place in places[:4] for x, y in [place]] == [pytest.approx(one, abs=0.02) for one in expected]
    assert len(places) == 8 and all(x <= 1200 and y <= height for x, y in places)
    assert "layer 0: forget" in drawn and "layer 0: input" in drawn and "shut 31% open 31%" in drawn
