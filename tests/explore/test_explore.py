"""`charrnn explore`: driven by its keys, and looked at.

Tests `explore.app`, `explore.state`, `explore.text_view` and
`explore.terminal`, too.
"""

import json
import os
import sys
import threading

import pytest
from built_runs import build_chain, build_quoting
from command_lines import steering
from exploring import (
    FRESH,
    illegible,
    look,
    look_at_help,
    play,
    screen,
    shown,
    until,
    use_light_terminal,
    whole_page,
)
from known_weights import quoting_text
from rich.cells import cell_len
from rich.style import Style
from textual.widgets import DataTable

import charrnn
from charrnn.cells.study import Study
from charrnn.errors import DataError
from charrnn.explore.app import (
    BROWSER_KEYS,
    HINT,
    PAGE_KEYS,
    TABLE_KEYS,
    CellScreen,
    Explorer,
    TextView,
)
from charrnn.explore.state import ALL, BEST, cell_name, columns
from charrnn.system.progress import warn
from charrnn.views.theme import NUM_SHADES, block

HOSTILE = (
    "[bold]x[/bold] [red] \x1b[31mred\x1b[0m \x07\x9b2J\r \u202eback e\u0301 語 wide\ttab"
    " \U0001f642\n"
)
QUOTED = quoting_text(2_000, seed=1)


@pytest.fixture(scope="module")
def quoting(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quoting")
    corpus = folder / "quoting.txt"
    corpus.write_text(quoting_text(20_000), encoding="utf-8", newline="")
    return charrnn.load(build_quoting(folder / "quoting", corpus))


def text_of(app):
    return app.browser.query_one(TextView)


def styled(view):
    """The characters on the screen in their styles, without the gutter."""
    drawn = []
    for row in range(view.size.height):
        segments = list(view.render_line(row))[1:]
        characters = [
            (character, segment.style or Style())
            for segment in segments
            for character in segment.text
        ]
        drawn += characters[: len("".join(text for text, _ in characters).rstrip())]
    return drawn


def colours(view):
    """ "low", "high" or "" for each drawn character, by the hue of what is behind it."""
    names = []
    for _, style in styled(view):
        if style.bgcolor is None:
            names.append("")
        else:
            red, _, blue = style.bgcolor.get_truecolor()
            names.append("low" if red > blue else "high")
    return names


def test_browsing_colours_the_text_by_each_cell(model):
    traced = model.trace(FRESH[:2_000]).cells

    async def script(app, pilot):
        for row in range(5):
            await until(pilot, lambda row=row: app.exploration.row == row)
            layer, unit = app.exploration.cell
            scale = app.exploration.scale
            places = list(map(scale.position, traced[:, layer, unit].tolist()))
            drawn = "".join(character for character, _ in styled(text_of(app)))
            # The second line is far enough from the cursor, whose colours are swapped.
            begin = drawn.index("↵") + 1
            shown = colours(text_of(app))[begin : begin + 40]
            assert drawn[begin : begin + 40] == FRESH[begin : begin + 40].replace("\n", "↵")
            for colour, place in zip(shown, places[begin : begin + 40], strict=True):
                assert colour == name_of(place)
            await pilot.press("down")

    play(model, script)


def name_of(place):
    """The hue of a value from -1 to 1 on an unknown background, where the faintest shades are not
    drawn."""
    if abs(place) < 1.5 / NUM_SHADES:
        return ""
    return "low" if place < 0 else "high"


def test_lists_are_turned_through(model):
    async def script(app, pilot):
        state = app.exploration
        table = app.browser.query_one(DataTable)
        names = list(state.orders)
        assert (names[0], names[-1]) == (BEST, ALL)
        for name in [*names[1:], names[0]]:
            await pilot.press("s")
            await pilot.pause()
            assert (state.order, table.row_count) == (name, len(state.orders[name]))
            assert name == ALL or state.row == 0
            number = "" if name == ALL else "1"
            assert list(map(str, table.get_row_at(0))) == [number, *state.rows[0].shown(name)]
            headings = [str(column.label) for column in table.columns.values()]
            assert headings == ["", *columns(name)]
        await pilot.press("q")
        await until(pilot, lambda: app._exit)

    play(model, script)


@pytest.fixture
def opened(monkeypatch):
    """The explorers that the command opens, which are left at once."""
    found = []
    monkeypatch.setattr("charrnn.explore.terminal.check_full_screen", lambda: None)
    monkeypatch.setattr(Explorer, "run", lambda self: found.append(self))
    return found


def test_the_command_opens_the_text_with_the_figures_of_visualize(command, lab, tmp_path, opened):
    (tmp_path / "mine.txt").write_text(FRESH, encoding="utf-8")
    reported = json.loads(command("visualize --text mine.txt --json").out)
    ran = command("explore --text mine.txt --chars 300")
    assert (ran.code, ran.out) == (0, "")
    assert opened[0].exploration.trace.text == FRESH[:300]
    scores = opened[0].exploration.study.findings().scores
    assert json.loads(json.dumps([score.to_json() for score in scores])) == reported["findings"]


def test_the_cursor_walks_the_text_with_a_sparkline_of_its_line(model):
    trace = model.trace(FRESH[:2_000], num_guesses=5)
    lines = [line + "\n" for line in FRESH[:2_000].split("\n")]
    cursor = len(lines[0] + lines[1]) + 2

    async def script(app, pilot):
        layer, unit = app.exploration.cell
        values = trace.cells[:, layer, unit]
        await pilot.press("right", "j", "j", "right")
        await until(pilot, lambda: app.exploration.cursor == cursor)
        begin = len(lines[0] + lines[1])
        of_line = map(app.exploration.scale.position, values[begin:].tolist())
        blocks = "".join(map(block, of_line))[: len(lines[2])]
        assert shown(app, "#sparkline") == "  " + blocks
        assert f"{values[cursor]:+.2f}   next: " in shown(app, "#readout")
        assert f" {trace.guess_probs[cursor, 0]:.2f}  " in shown(app, "#readout")

    play(model, script)


@pytest.mark.filterwarnings("ignore:.* characters are unknown to ")
def test_nothing_in_a_hostile_text_steers_the_terminal_or_is_markup(tmp_path):
    model = charrnn.load(
        build_chain(tmp_path / "run", "".join(dict.fromkeys(HOSTILE)), clean=False)
    )
    model.name = "[b]na\x1bme"

    async def script(app, pilot):
        app.exploration.cursor = app.exploration.trace.text.index("\x9b") + 1
        await pilot.press("left")
        await until(pilot, lambda: shown(app, "#readout").startswith("<9b> "))
        drawn = screen(app)
        await pilot.press("enter")
        await until_measured(app, pilot)
        drawn += screen(app) + whole_page(app)
        assert "[bold]x[/bold] [red] " in drawn
        assert "<9b>2J" in drawn
        assert "[b]na␛me" in drawn
        assert steering(drawn) == []

    play(model, script, HOSTILE * 9)


def test_every_size_will_do(quoting, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")

    async def script(app, pilot):
        for key in ("down", "right", "j", "pagedown", "s", "question_mark", "escape"):
            await pilot.press(key)
        for width, height in ((1, 1), (110, 30), (80, 24)):
            await pilot.resize_terminal(width, height)
            await until(pilot, lambda h=height: len(screen(app).splitlines()) == h)
            assert {cell_len(line) for line in screen(app).splitlines()} == {width}
        assert screen(app).splitlines()[-1].startswith("? help")
        await pilot.press("up")
        await pilot.pause()
        assert all(not style.bgcolor for _, style in styled(text_of(app)))

    play(quoting, script, QUOTED, size=(1, 1))


def on_page(app, widget):
    return str(app.screen.query_one(widget).render()) if isinstance(app.screen, CellScreen) else ""


async def until_measured(app, pilot, status=""):
    await until(
        pilot, lambda: "Where cell" in whole_page(app) and on_page(app, "#status") == status
    )


async def open_page(app, pilot, status=""):
    """Open the page of the first cell of the list, by two keys."""
    await pilot.press("1", "enter")
    await until_measured(app, pilot, status)


def test_a_page_appears_when_it_is_measured_and_keys_work(quoting, monkeypatch):
    go_on, measure = threading.Semaphore(0), Study.page

    def wait(*arguments):
        page = measure(*arguments)
        assert go_on.acquire(timeout=600)
        return page

    monkeypatch.setattr(Study, "page", wait)

    async def script(app, pilot):
        await pilot.press("enter")
        await until(pilot, lambda: on_page(app, "#status"))
        assert "Where cell" not in whole_page(app)
        # What is measured of a page that was left does not show on another.
        await pilot.press("escape", "down", "enter")
        await until(pilot, lambda: on_page(app, "#status"))
        second = cell_name(app.exploration.cell)
        go_on.release()
        go_on.release()
        await until_measured(app, pilot)
        assert f"Where cell {second} is high" in whole_page(app)
        await pilot.press("q", "q")
        await until(pilot, lambda: app._exit)

    play(quoting, script, QUOTED)


def test_an_error_of_a_page_stands_below_it(quoting, monkeypatch):
    def fail(*arguments):
        raise DataError("the text is gone: give `text=mine.txt`")

    monkeypatch.setattr(Study, "page", fail)

    async def script(app, pilot):
        await pilot.press("enter")
        await until(pilot, lambda: "the text is gone" in screen(app))
        *_, above, error, hint = screen(app).splitlines()
        assert error.rstrip() == "the text is gone: give --text mine.txt"
        assert not above.strip() and hint.startswith("↑↓ PgUp")

    play(quoting, script, QUOTED)


def test_warnings_are_shown_below_the_text_and_when_it_is_closed(
    quoting, command, lab, opened, monkeypatch
):
    measure = Study.page

    def complain(*arguments):
        warn("the loops are slow", "the loops are slow")
        return measure(*arguments)

    monkeypatch.setattr(Study, "page", complain)

    async def script(app, pilot):
        await open_page(app, pilot, "the loops are slow")
        await pilot.press("escape", "right")
        await until(pilot, lambda: app.screen is app.browser)
        assert screen(app).count("the loops are slow") == 0, "it is said where it happened"
        assert app.warnings == ["the loops are slow"]

    play(quoting, script, QUOTED)
    monkeypatch.setattr(Explorer, "run", lambda self: warn("no numba"))
    assert "warning: no numba" in command("explore").err


def test_every_screen_is_legible_and_the_help_lists_every_key(model, monkeypatch):
    use_light_terminal(monkeypatch)

    async def script(app, pilot):
        await until(pilot, lambda: "needs at least 200" in " ".join(screen(app).split()))
        assert any(style.bgcolor and style.bgcolor.triplet for _, style in styled(text_of(app))), (
            "the text is coloured"
        )
        assert illegible(app) == []
        await look_at_help(app, pilot, "question_mark", TABLE_KEYS + BROWSER_KEYS)
        assert cell_len(HINT) <= app.size.width == 80, "nothing of the last line is cut"
        await pilot.press("enter")
        await until_measured(app, pilot)
        await look(app, pilot, CellScreen)
        await look_at_help(app, pilot, "question_mark", PAGE_KEYS)

    text = "the lamp is lit. (the door) is not.\nnor is she here\n"  # too short to score
    play(model, script, text, size=(80, 200))


def test_the_explorer_opens_without_torch(process):
    code = "import sys, charrnn.explore.app; print('torch' in sys.modules)"
    assert process("-c", code, PYTHONPATH=os.pathsep.join(sys.path)).stdout.split() == [b"False"]
