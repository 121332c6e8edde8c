"""Every picture on every terminal: whatever width, colours and encoding, nothing sticks out or
steers the terminal."""

import io
import re
from importlib import import_module
from pathlib import Path

import pytest
from command_lines import COLOUR, steering
from displayed import HOSTILE, OBJECTS, WIDE_TABLES
from rich.cells import cell_len
from rich.console import Console

import charrnn
from charrnn.system.display import Displayable
from charrnn.views.drawing import Drawing
from charrnn.views.heatmap import SURPRISE_LEGEND, Legend

PICTURES = {
    **{name: list(value.view()) for name, (value, _) in OBJECTS.items()},
    **{f"table of {name}": [table] for name, table in WIDE_TABLES.items()},
    "legends": [Legend(underlined="where the detector is on (not for counts)"), SURPRISE_LEGEND],
}
"""The only control sequence that a picture may contain: colours, bold, underlined."""
FIGURE = re.compile(r"\d(?:[\d,.]*\d)?")
TICK = re.compile(r"(?m)^ *([\d.e-]+)┤")
"""A figure beside the axis of a chart."""


def drawn(shown, width, colours=None, encoding="utf-8", background="dark", **environment):
    """What is written to a terminal, or without `colours` to anything else."""
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="replace", newline="\n")
    environ = {"CHARRNN_BACKGROUND": background} | environment
    terminal = {
        "color_system": colours,
        "force_terminal": colours is not None,
        "legacy_windows": False,
    }
    console = Console(file=file, width=width, highlight=False, _environ=environ, **terminal)
    for picture in shown:
        console.print(picture)
    file.flush()
    return file.buffer.getvalue().decode(encoding)


@pytest.mark.parametrize("shown", PICTURES.values(), ids=PICTURES.keys())
def test_nothing_sticks_out_or_steers_the_terminal(shown):
    # Each terminal with a width, not all with all of them.
    for width, encoding in ((40, "utf-8"), (80, "ascii"), (120, "utf-8")):
        plain = drawn(shown, width, encoding=encoding)
        assert plain.strip()
        assert "\x1b" not in plain
        texts = [plain, drawn(shown, width, "truecolor", encoding, NO_COLOR="1")]
        for colours, background in (
            ("standard", "dark"),
            ("256", "light"),
            ("truecolor", "unknown"),
        ):
            texts.append(drawn(shown, width, colours, encoding, background))
        for text in texts:
            without = COLOUR.sub("", text)
            assert max(map(cell_len, without.splitlines())) <= width, without
            assert steering(without, "\n") == []
        assert len({COLOUR.sub("", text) for text in texts[2:]}) == 1, "colours change no character"


NO_FIGURE = ("text", "table of settings", "table of skipped")
"""Pictures without a figure: a text, settings whose values are names, and reasons alone."""


@pytest.mark.parametrize("name", PICTURES)
def test_no_figure_is_cut(name):
    charts = [picture for picture in PICTURES[name] if isinstance(picture, Drawing)]
    tables = [picture for picture in PICTURES[name] if picture not in charts]
    # Names and texts may be cut, and the figure in them.
    figures = set(FIGURE.findall(drawn(tables, 500))) - {*FIGURE.findall(HOSTILE)}
    assert bool(charts or figures) != (name in NO_FIGURE)
    for width in (100, 120):
        assert figures <= set(FIGURE.findall(drawn(tables, width)))
        for chart in charts:
            ticks = [float(tick) for tick in TICK.findall(drawn([chart], width))]
            assert len(ticks) > 1
            assert ticks == sorted({*ticks}, reverse=True), "downwards along the axis"


ELSEWHERE = {
    "Backpropagation",
    "Model",
    "RunSummaries",
    "Study",
    "_Records",
}
"""What the tests of its own module draw."""


def test_the_view_of_every_record_is_drawn():
    package = Path(charrnn.__file__).parent
    for path in package.rglob("*.py"):
        if "(Displayable)" in path.read_text(encoding="utf-8"):
            import_module(".".join(path.relative_to(package.parent).with_suffix("").parts))
    kinds = [Displayable]
    for kind in kinds:
        kinds += kind.__subclasses__()
    views = {kind.__name__ for kind in kinds[1:] if kind.__module__.startswith("charrnn.")}
    values = [value for value, _ in OBJECTS.values()]
    records = [record for value in values if isinstance(value, list | tuple) for record in value]
    assert views - {type(value).__name__ for value in (*values, *records)} <= ELSEWHERE
