"""Every picture on every terminal: whatever width, colours and encoding, nothing sticks out or steers the terminal."""

import io
import re
import unicodedata
from typing import Literal

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType
from test_notebook import OBJECTS
from test_tables import WIDE_TABLES

from charrnn.apps.notebook import pictures
from charrnn.views.heatmap import SURPRISE_LEGEND, Legend
from charrnn.views.svg import Drawing

Colours = Literal["standard", "256", "truecolor"]
PICTURES: dict[str, list[RenderableType]] = {
    **{name: list(pictures(value)) for name, (value, _) in OBJECTS.items()},
    **{f"table of {name}": [table] for name, table in WIDE_TABLES.items()},
    "legends": [Legend(underlined="where the detector is on (not for counts)"), SURPRISE_LEGEND],
}
SETS_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
"""The only control sequence that a picture may contain: colours, bold, underlined."""
FIGURE = re.compile(r"\d[\d,.]*\d")


def drawn(
    shown: list[RenderableType],
    width: int,
    colours: Colours | None = None,
    encoding: str = "utf-8",
    background: str = "dark",
    **environment: str,
) -> str:
    """What is written to a terminal, or without `colours` to anything else."""
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="replace", newline="\n")
    environ = {"CHARRNN_BACKGROUND": background} | environment
    terminal = {"color_system": colours, "force_terminal": colours is not None, "legacy_windows": False}
    console = Console(file=file, width=width, highlight=False, _environ=environ, **terminal)
    for picture in shown:
        console.print(picture)
    file.flush()
    return file.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]


@pytest.mark.parametrize("shown", PICTURES.values(), ids=PICTURES.keys())
def test_nothing_sticks_out_or_steers_the_terminal(shown: list[RenderableType]) -> None:
    # Each terminal with a width, not all with all of them.
    for width, encoding in ((40, "utf-8"), (80, "ascii"), (120, "utf-8")):
        plain = drawn(shown, width, encoding=encoding)
        assert plain.strip() and "\x1b" not in plain
        texts = [plain, drawn(shown, width, "truecolor", encoding, NO_COLOR="1")]
        for colours, background in (("standard", "dark"), ("256", "light"), ("truecolor", "unknown")):
            texts.append(drawn(shown, width, colours, encoding, background))  # type: ignore[arg-type]
        for text in texts:
            without = SETS_COLOURS.sub("", text)
            assert max(map(cell_len, without.splitlines())) <= width, without
            categories = {unicodedata.category(character) for character in without if character != "\n"}
            assert not categories & {"Cc", "Cf", "Cs", "Zl", "Zp"}
        assert len({SETS_COLOURS.sub("", text) for text in texts[2:]}) == 1, "colours change no character"


@pytest.mark.parametrize("shown", PICTURES.values(), ids=PICTURES.keys())
def test_no_figure_is_cut(shown: list[RenderableType]) -> None:
    tables = [picture for picture in shown if not isinstance(picture, Drawing)]
    figures = set(FIGURE.findall(drawn(tables, 500)))
    for width in (30, 60, 100):
        assert figures <= set(FIGURE.findall(drawn(tables, width)))
