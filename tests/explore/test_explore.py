"""`charrnn explore`: driven by its keys, and looked at.

Tests `explore.app`, `explore.state`, `explore.text_view` and
`explore.terminal`, too.
"""

import importlib
import json
import math
import os
import re
import sys
import threading
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from queue import Queue
from types import SimpleNamespace

import pytest
from built_runs import build_chain, build_quoting
from command_lines import steering
from conftest import REPOSITORY
from exploring import (
    FRESH,
    answer,
    check_input,
    illegible,
    look,
    look_at_help,
    play,
    screen,
    shown,
    until,
    until_scored,
    use_light_terminal,
    whole_page,
)
from known_weights import QUOTING_UNIT, quoting_text
from rich.cells import cell_len
from rich.style import Style
from textual.events import Paste
from textual.widgets import DataTable

import charrnn
from charrnn.cells.findings import CellFindings, CellScore
from charrnn.cells.study import Study
from charrnn.explore import app as explorer
from charrnn.explore import state as exploration
from charrnn.explore.app import (
    BROWSER_KEYS,
    HINT,
    PAGE_KEYS,
    TABLE_KEYS,
    CellScreen,
    ClampScreen,
    Explorer,
    TextView,
)
from charrnn.explore.full_screen import FullScreenApp, Question, Work
from charrnn.explore.state import ALL, BEST, Row, TypedText, cell_name, columns
from charrnn.generation.continuations import Continuation
from charrnn.generation.sample_options import SAMPLE_TEMPERATURE
from charrnn.system import progress
from charrnn.system.progress import task
from charrnn.text.vocab import undo_decode_each
from charrnn.views.tables import score_mark, score_text
from charrnn.views.theme import NUM_SHADES, block

HOSTILE = (
    "[bold]x[/bold] [red] \x1b[31mred\x1b[0m \x07\x9b2J\r \u202eback e\u0301 語 wide\ttab"
    " \U0001f642\n"
)
QUOTED = quoting_text(2_000, seed=1)


@pytest.fixture(autouse=True)
def short_comparisons(monkeypatch):
    monkeypatch.setattr(exploration, "NUM_GENERATED", 150)


@pytest.fixture(scope="module")
def quoting(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quoting")
    corpus = folder / "quoting.txt"
    corpus.write_text(quoting_text(20_000), encoding="utf-8", newline="")
    return charrnn.load(build_quoting(folder / "quoting", corpus))


def text_of(app):
    return app.browser.query_one("#text", TextView)


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
        await until_scored(app, pilot)
        for row in range(5):
            await until(pilot, lambda row=row: app.browser.exploration.row == row)
            layer, unit = app.browser.exploration.cell
            scale = app.browser.exploration.scale
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


def test_the_caption_says_what_the_cell_follows_and_how_well(model):
    found = model.survey(FRESH).scores[:5]

    async def script(app, pilot):
        await until_scored(app, pilot)
        for row, score in enumerate(found):
            await until(pilot, lambda row=row: app.browser.exploration.row == row)
            caption = shown(app, "#caption")
            cell = f"cell {score.layer}:{score.unit} follows {score.detector}"
            assert caption.startswith(f"{cell}: {score_text(score)}{score_mark(score)}")
            assert app.browser.exploration.scale.is_turned == (score.polarity < 0)
            untrained = f"untrained baseline {score.untrained:.3f}"
            assert untrained in caption
            assert untrained in " ".join(screen(app).split()), "nothing is cut off"
            await pilot.press("down")

    play(model, script)


def test_findings_that_cannot_be_right_are_named(model, monkeypatch):
    def findings(study):
        progress.warn("0.9 cannot be right")
        return CellFindings(scores=())

    async def script(app, pilot):
        await until(pilot, lambda: shown(app, "#status") == "0.9 cannot be right")

    monkeypatch.setattr(Study, "findings", findings)
    assert play(model, script).warnings == ["0.9 cannot be right"], (
        "the command prints it when the screen is left"
    )


def test_the_text_is_there_before_anything_is_known_of_the_cells(model, monkeypatch):
    go_on, trace_text = threading.Event(), explorer.trace_text

    def wait(*arguments, **options):
        assert go_on.wait(600)
        return trace_text(*arguments, **options)

    monkeypatch.setattr(explorer, "trace_text", wait)

    async def script(app, pilot):
        assert FRESH.splitlines()[0] in screen(app)
        assert all(not style for _, style in styled(text_of(app))[1:])
        await pilot.press("down", "right")
        await until(pilot, lambda: app.browser.exploration.cell == (0, 1))
        go_on.set()
        await until_scored(app, pilot)
        assert app.browser.exploration.order == ALL, (
            "the list is not turned away from someone who is reading it"
        )
        assert any(style for _, style in styled(text_of(app))[2:])

    play(model, script)


AUC_SCORE = CellScore(
    detector="quote",
    layer=0,
    unit=1,
    polarity=1,
    num_positive=9,
    auc=0.7,
    ci_low=0.6,
    ci_high=0.8,
    chosen_on=0.7,
    p_value=0.01,
    null_level=0.6,
    untrained=0.65,
)


@pytest.mark.parametrize(
    "changes, mark",
    [
        ({}, ""),
        # A cell below the best one has no p-value: it is held against the chance level of the best
        # of all cells.
        ({"p_value": None, "ci_low": None, "ci_high": None}, ""),
        ({"p_value": None, "ci_low": None, "ci_high": None, "null_level": 0.75}, "?"),
    ],
)
def test_a_list_has_the_marks_of_the_tables(changes, mark):
    score = replace(AUC_SCORE, **changes)
    assert score_mark(score) == mark
    assert Row((0, 1), score).shown(BEST)[2] == f"AUC 0.700{mark}"


def test_without_colours_each_line_has_its_values_below_it(model, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")

    async def script(app, pilot):
        await until(pilot, lambda: bool(shown(app, "#sparkline")))
        view = text_of(app)
        assert view.render_line(0).text[2:].rstrip() == FRESH[: FRESH.index("\n")] + "↵"
        assert view.render_line(1).text.rstrip() == shown(app, "#sparkline")
        await pilot.press("pagedown")
        await until(pilot, lambda: view.scroll_offset.y > 0)
        rows = [view.render_line(row).text for row in range(view.size.height - 1)]
        # The cursor is in view, and the values below it.
        assert any(row.startswith("▸") for row in rows)

    play(model, script)


def test_lists_are_turned_through(model):
    async def script(app, pilot):
        await until_scored(app, pilot)
        state = app.browser.exploration
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


def test_a_cell_is_gone_to_in_its_list_or_among_all(model):
    async def script(app, pilot):
        await until_scored(app, pilot)
        state = app.browser.exploration
        table = app.browser.query_one(DataTable)
        names = list(state.orders)
        await pilot.press("S", "S", "slash")
        for typed, reason in (("0:32", "units go from 0 to 31"), ("q", "such as 0:17")):
            await answer(app, pilot, typed)
            assert reason in " ".join(screen(app).replace("│", " ").split())
        await answer(app, pilot, "0:7")
        await until(pilot, lambda: state.cell == (0, 7))
        assert (state.order, table.cursor_row) == (names[-2], state.row)

        # A cell that the list does not have is looked at among all.
        await pilot.press("s", "s", "slash")
        best = {row.cell for row in state.orders[BEST]}
        missing = next(unit for unit in range(32) if (0, unit) not in best)
        await answer(app, pilot, f"0:{missing}")
        await until(pilot, lambda: state.cell == (0, missing))
        assert state.order == ALL

    play(model, script)


@pytest.fixture
def opened(monkeypatch):
    """The explorers that the command opens, which are left at once."""
    found = []
    monkeypatch.setattr("charrnn.explore.terminal.fills_terminal", lambda: True)
    monkeypatch.setattr(Explorer, "run", lambda self: found.append(self))
    return found


def test_the_command_opens_the_text_with_the_figures_of_visualize(command, lab, tmp_path, opened):
    (tmp_path / "mine.txt").write_text(FRESH, encoding="utf-8")
    reported = json.loads(command("visualize", "--text", "mine.txt", "--json").out)
    ran = command("explore", "--text", "mine.txt", "--chars", 300)
    assert (ran.code, ran.out) == (0, "")
    assert opened[0].browser.given.text == FRESH[:300]
    scores = opened[0].study.findings().scores
    assert json.loads(json.dumps([score.to_json() for score in scores])) == reported["findings"]


def test_the_command_reads_no_text_from_the_keyboard(command, lab, opened):
    ran = command("explore", "--text", "-")
    assert ran.code == 2
    assert "Give a file" in ran.err


def test_an_error_that_textual_reports_itself_is_an_exit_code(command, lab, opened, monkeypatch):
    monkeypatch.setattr(Explorer, "run", lambda self: setattr(self, "_return_code", 1))
    assert command("explore").code == 1


def test_the_cursor_walks_the_text_with_a_sparkline_of_its_line(model):
    trace = model.trace(FRESH[:2_000], num_guesses=5)
    lines = [line + "\n" for line in FRESH[:2_000].split("\n")]
    cursor = len(lines[0] + lines[1]) + 2

    async def script(app, pilot):
        await until_scored(app, pilot)
        layer, unit = app.browser.exploration.cell
        values = trace.cells[:, layer, unit]
        await pilot.press("right", "j", "j", "right")
        await until(pilot, lambda: app.browser.exploration.viewed.cursor == cursor)
        begin = len(lines[0] + lines[1])
        of_line = map(app.browser.exploration.scale.position, values[begin:].tolist())
        blocks = "".join(map(block, of_line))[: len(lines[2])]
        assert shown(app, "#sparkline") == "  " + blocks
        assert f"{values[cursor]:+.2f}   next: " in shown(app, "#readout")
        assert f" {trace.guess_probs[cursor, 0]:.2f}  " in shown(app, "#readout")

    play(model, script)


@pytest.mark.filterwarnings("ignore:.* characters are unknown to ")
def test_the_cursor_is_on_the_whole_cluster_at_each_of_its_characters(tmp_path):
    model = charrnn.load(build_chain(tmp_path / "run", "\nxq\u0323\u0302y"))
    text = "xq\u0323\u0302y\n" * 60

    async def script(app, pilot):
        await until_scored(app, pilot)
        under_cursor = []
        for _ in range(5):
            reversed_ = [char for char, style in styled(text_of(app)) if style.reverse]
            under_cursor.append("".join(reversed_))
            await pilot.press("right")
            await pilot.pause()
        assert under_cursor == ["x", *["q\u0323\u0302"] * 3, "y"]

    play(model, script, text=text)


def test_typing_is_followed_character_by_character(model):
    # Among them letters that are commands elsewhere.
    typed = "(sq)\njkt( a"
    trace = model.trace(typed, num_guesses=5)
    best = trace.guess_probs[-1].tolist()

    async def script(app, pilot):
        reading = app.browser.typed
        await pilot.press("t", *"(sq)", "enter", *"jkt((", "backspace", "space", "a")
        await until(pilot, lambda: reading.text == typed)
        await until(pilot, lambda: "(sq)↵" in screen(app))
        for unit in (0, 5, 31):
            assert reading.values((0, unit)) == pytest.approx(trace.cells[:, 0, unit], abs=1e-4)
        assert [p for _, p in reading.guesses()] == pytest.approx(best, abs=1e-4)
        await pilot.press("end", "left")
        await until(pilot, lambda: reading.cursor == len(typed) - 2)
        layer, unit = app.browser.exploration.cell
        assert (layer, unit) == app.browser.exploration.rows[-1].cell
        assert f"␣ {trace.cells[-2, layer, unit]:+.2f}   next: " in shown(app, "#readout")

    play(model, script)


def most_probable_first(continuations):
    return sorted(continuations, key=lambda continuation: -continuation.logprob)


def test_what_is_typed_is_continued_and_a_key_takes_one(quoting):
    expected = most_probable_first(quoting.continuations("ab", seed=0))

    async def script(app, pilot):
        browser = app.browser
        await pilot.press("t", "a", "b")
        await until(pilot, lambda: browser.typed.text == "ab" and len(browser.offered) == 5)
        assert browser.offered == expected
        second = expected[1]
        assert f"F2  {math.exp(second.logprob):.2f}  {second.text}" in screen(app)
        assert "Tab" in screen(app).splitlines()[-1]

        # The cells follow what is taken, as if it had been typed.
        await pilot.press("f2")
        text = "ab" + second.text
        await until(pilot, lambda: browser.typed.text == text)
        trace = quoting.trace(text)
        assert browser.typed.values((0, 5)) == pytest.approx(trace.cells[:, 0, 5], abs=1e-4)

        # A key takes nothing while nothing is offered, and nothing stands there afterwards.
        app.work.stop(explorer.OFFERS)
        browser.offered = []
        await pilot.press("f1", "escape")
        await until(pilot, lambda: not browser.is_typing)
        assert browser.typed.text == text
        assert not browser.query_one("#offers").display

    play(quoting, script, QUOTED)


def test_tab_takes_the_first_continuation_of_what_was_typed_last(tmp_path):
    model = charrnn.load(build_chain(tmp_path / "run", "abcde fghi\n"))

    expected = most_probable_first(model.continuations("ab", seed=0))
    text = "ab" + expected[0].text
    following = most_probable_first(model.continuations(text, seed=0))
    assert expected[0].text != following[0].text

    async def script(app, pilot):
        browser = app.browser
        await pilot.press("t", "a", "b")
        await until(pilot, lambda: browser.offered == expected)
        await pilot.press("tab")
        await until(pilot, lambda: browser.typed.text == text)
        await until(pilot, lambda: browser.offered == following)

    play(model, script, "abcde fghi\n" * 30)


def test_a_text_of_bytes_is_continued_as_it_was_typed(byte_run):
    reading = TypedText(charrnn.load(byte_run.path))
    for character in "z\u00e4b \u8a9e":
        reading.feed(character)
    assert reading.typed == "z\u00e4b \u8a9e"


def test_how_a_continuation_is_shown():
    offered = [
        Continuation(text=" the ", logprobs=(math.log(0.5), math.log(0.5))),
        Continuation(text="a\nlong", logprobs=(0.0,), is_complete=False),
    ]
    lines = str(exploration.offered_lines(offered)).split("\n")
    assert lines == ["F1  0.25  \u2423the\u2423", "F2  1.00  a\u21b5long\u2026", "F3", "F4", "F5"]


def test_what_is_unknown_or_too_long_is_said_while_it_is_typed(model, monkeypatch):
    monkeypatch.setattr(exploration, "MAX_TYPED", 100)

    async def script(app, pilot):
        await until_scored(app, pilot)
        await pilot.press("t", "slash")
        message = "not in the vocabulary, and counted as unknown: "
        await until(pilot, lambda: f"{message}/" in shown(app, "#status"))
        # The next key ends the message; of a pasted text, all are named.
        await pilot.press("a", "backspace")
        await until(pilot, lambda: app.browser.typed.text[1:] == "")
        assert message not in screen(app)
        app.post_message(Paste("/a@/"))
        await until(pilot, lambda: f"{message}/ @" in shown(app, "#status"))
        await pilot.press(*["backspace"] * 4)
        await until(pilot, lambda: app.browser.typed.text[1:] == "")
        app.post_message(Paste("(a)\r\n" + FRESH[:300]))
        await until(pilot, lambda: "characters can be typed" in screen(app))
        # The unknown character counts as one, and what comes after the hundredth is left out.
        assert app.browser.typed.text[1:] == ("(a)\n" + FRESH)[:99]

    play(model, script)


def test_escape_leaves_typing_and_then_the_typed_text(model):
    async def script(app, pilot):
        viewed = app.browser.exploration
        await pilot.press("t", "a", "escape")
        await until(pilot, lambda: not app.browser.is_typing)
        assert viewed.viewed is app.browser.typed
        await pilot.press("escape")
        await until(pilot, lambda: viewed.viewed is app.browser.given)
        assert FRESH.splitlines()[0] in screen(app)
        await pilot.press("t", "q")
        assert app.is_running, "a letter"
        await pilot.press("ctrl+c")
        await until(pilot, lambda: app._exit)

    play(model, script)


def test_a_model_of_bytes_reads_each_byte_of_what_is_typed(byte_run):
    model = charrnn.load(byte_run.path)
    typed = "zäb «語»🙂"
    trace = model.trace(typed, num_guesses=5)
    reading = TypedText(model)
    for character in typed:
        reading.feed(character)
    assert reading.text == trace.text
    assert reading.values((0, 3)).tolist() == pytest.approx(trace.cells[:, 0, 3], abs=1e-4)
    probabilities = [probability for _, probability in reading.guesses()]
    assert probabilities == pytest.approx(trace.guess_probs[-1].tolist(), abs=1e-4)
    assert undo_decode_each(reading.before_cursor(), "byte") == typed.encode()


def test_what_is_deleted_leaves_no_trace_in_what_follows(byte_run):
    model = charrnn.load(byte_run.path)
    reading, expected = TypedText(model), TypedText(model)
    reading.delete_last()
    assert reading.guesses() == []
    for character in "a🙂x":
        reading.feed(character)
    reading.delete_last()
    reading.delete_last()
    reading.feed("b")
    for character in "ab":
        expected.feed(character)
    assert reading.text == expected.text
    assert reading.guesses() == expected.guesses()


def sides(app):
    """The two generated texts."""
    return [view._characters for view in app.screen.query(TextView)]


def written(model, seed, **options):
    """What the model generates after the first three characters."""
    generated = model.sample(
        length=150, temperature=SAMPLE_TEMPERATURE, seed=seed, prime=FRESH[:3], **options
    )
    return generated.text


async def clamp(app, pilot):
    """Clamp cell 0:1 at -1 after three characters, with two answers that are refused."""
    await until_scored(app, pilot)
    await pilot.press("right", "right", "S", "home", "down")
    await until(pilot, lambda: app.browser.exploration.cell == (0, 1))
    await pilot.press("c")
    for typed in ("2", "nan"):
        await answer(app, pilot, typed)
        assert "Write a number from -1 to 1" in screen(app)
    await answer(app, pilot, "-1")
    await until(pilot, lambda: isinstance(app.screen, ClampScreen))
    await until(pilot, lambda: all(sides(app)))


def test_a_clamped_cell_writes_another_text_beside_the_one_it_would_have_been(model):
    clamped = {(0, 1): -1.0}

    async def script(app, pilot):
        await clamp(app, pilot)
        held, free = sides(app)
        assert held == written(model, 0, clamps=clamped)
        assert free == written(model, 0)
        assert held != free
        for part in ("0:1 clamped at -1", held.splitlines()[0][:30], free.splitlines()[0][:30]):
            assert part in screen(app)

    play(model, script)


def test_other_random_numbers_and_scrolling_are_for_both_texts(model):
    async def script(app, pilot):
        await clamp(app, pilot)
        await pilot.press("r")
        expected = [written(model, 1, clamps={(0, 1): -1.0}), written(model, 1)]
        await until(pilot, lambda: sides(app) == expected)
        assert "seed 1" in screen(app)
        moved = []
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(TextView, "scroll_relative", lambda view, **by: moved.append(by["y"]))
            await pilot.press("j")
        assert moved == [1, 1]
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.browser)

    play(model, script)


@pytest.mark.filterwarnings("ignore:.* characters are unknown to ")
def test_nothing_in_a_hostile_text_steers_the_terminal_or_is_markup(tmp_path):
    model = charrnn.load(
        build_chain(tmp_path / "run", "".join(dict.fromkeys(HOSTILE)), clean=False)
    )
    model.name = "[b]na\x1bme"

    async def script(app, pilot):
        await until(pilot, lambda: app.browser.given.trace is not None)
        drawn = screen(app)
        await pilot.press("t", *"[b]")
        app.browser._type("\x1b\x07")
        await until(pilot, lambda: "[b]␛␇" in screen(app))
        assert shown(app, "#readout").startswith("␇ ")
        drawn += screen(app)
        await pilot.press("escape", "c")
        await answer(app, pilot, "1")
        await until(pilot, lambda: isinstance(app.screen, ClampScreen))
        await until(pilot, lambda: " clamped at 1" in screen(app))
        drawn += screen(app)
        assert "[bold]x[/bold] [red] ␛[31mred␛[0m ␇" in drawn
        assert "[b]na␛me" in drawn
        assert steering(drawn) == []

    play(model, script, HOSTILE * 9)


def test_every_size_will_do(quoting, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")

    async def script(app, pilot):
        await until_scored(app, pilot)
        for key in ("down", "right", "j", "pagedown", "s", "question_mark", "escape", "slash"):
            await pilot.press(key)
        await pilot.press("escape", "t", "x")
        for width, height in ((1, 1), (110, 30), (80, 24)):
            await pilot.resize_terminal(width, height)
            await until(pilot, lambda h=height: len(screen(app).splitlines()) == h)
            assert {cell_len(line) for line in screen(app).splitlines()} == {width}
        assert screen(app).splitlines()[-1].startswith("typing")
        await pilot.press("escape", "escape", "up")
        await pilot.pause()
        assert all(not style.bgcolor for _, style in styled(text_of(app)))

    play(quoting, script, QUOTED, size=(1, 1))


def test_the_values_of_the_line_are_those_of_the_new_width(model):
    async def script(app, pilot):
        await until_scored(app, pilot)
        await pilot.press("t", *("ab" * 20), "escape")
        for width in (120, 60, 100, 40):
            await pilot.resize_terminal(width, 30)
            view = text_of(app)
            await until(pilot, lambda w=width: app.size.width == w)
            await pilot.pause()
            line = view.sparkline(view.current_line)
            assert shown(app, "#sparkline").strip() == line.strip()
            assert len(line.strip()) > 1

    play(model, script, size=(80, 24))


def test_list_and_text_are_side_by_side_where_there_is_room(model):
    async def script(app, pilot):
        table = app.browser.query_one(DataTable)
        assert text_of(app).region.y >= table.region.bottom
        await pilot.resize_terminal(110, 30)
        await until(pilot, lambda: text_of(app).region.x >= table.region.right)

    play(model, script, size=(80, 24))


def on_page(app, widget):
    return str(app.screen.query_one(widget).render()) if isinstance(app.screen, CellScreen) else ""


async def until_measured(app, pilot):
    await until(pilot, lambda: "Where cell" in whole_page(app) and not on_page(app, "#status"))


async def open_page(app, pilot):
    """Open the page of the first cell of the list, by two keys."""
    await until_scored(app, pilot)
    await pilot.press("1", "enter")
    await until_measured(app, pilot)


def test_the_page_of_the_quotation_cell_is_two_keys_away(quoting):
    async def script(app, pilot):
        await until_scored(app, pilot)
        assert f"1  0:{QUOTING_UNIT}" in screen(app)
        await open_page(app, pilot)
        assert on_page(app, "#caption").startswith(f"cell 0:{QUOTING_UNIT} follows quote")

    play(quoting, script, QUOTED)


def test_scores_do_not_change_the_cell_of_an_open_page(quoting, monkeypatch):
    go_on, findings = threading.Event(), Study.findings

    def wait(*arguments):
        assert go_on.wait(600)
        return findings(*arguments)

    monkeypatch.setattr(Study, "findings", wait)

    async def script(app, pilot):
        await pilot.press("enter")
        await until(pilot, lambda: on_page(app, "#caption"))
        go_on.set()
        await until(pilot, lambda: BEST in app.browser.exploration.orders)
        assert app.browser.exploration.cell == (0, 0)
        await until_measured(app, pilot)
        assert on_page(app, "#caption").startswith("cell 0:0 ")

    play(quoting, script, QUOTED)


def test_the_list_of_all_cells_begins_at_the_best(quoting):
    async def script(app, pilot):
        await until_scored(app, pilot)
        await pilot.press("S", "enter")
        await until(pilot, lambda: on_page(app, "#caption"))
        assert app.browser.exploration.order == ALL
        assert on_page(app, "#caption").startswith(f"cell 0:{QUOTING_UNIT} follows quote")
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.browser)
        table = app.browser.query_one(DataTable)
        assert str(table.get_row_at(table.cursor_row)[1]) == f"0:{QUOTING_UNIT}"

    play(quoting, script, QUOTED)


def test_a_page_has_the_score_and_the_passages_of_the_cell(quoting):
    async def script(app, pilot):
        await open_page(app, pilot)
        page = whole_page(app)
        assert "quote" in page[page.index("How well cell") : page.index("Values over")]
        passage = next(line for line in page.splitlines() if line.startswith("top 1"))
        assert "+1.00" in passage

    play(quoting, script, QUOTED)


def test_a_page_scrolls(quoting):
    async def script(app, pilot):
        await open_page(app, pilot)
        pictures = app.screen.query_one("#pictures")
        await until(pilot, lambda: pictures.max_scroll_y > 2)
        for key, y in (("down", 1), ("j", 2), ("k", 1)):
            await pilot.press(key)
            await until(pilot, lambda y=y: pictures.scroll_offset.y == y)
        await pilot.press("end")
        await until(pilot, lambda: "top and bottom" in screen(app))

    play(quoting, script, QUOTED)


def test_a_page_turns_to_the_other_cells_of_the_list(quoting):
    async def script(app, pilot):
        await open_page(app, pilot)
        first, second, *_ = [cell_name(row.cell) for row in app.browser.exploration.rows]
        await pilot.press("left")
        assert on_page(app, "#caption").startswith(f"cell {first} "), "there is none before"
        await pilot.press("right")
        await until_measured(app, pilot)
        assert on_page(app, "#caption").startswith(f"cell {second} ")
        assert f"Where cell {second} is high" in whole_page(app)
        await pilot.press("c")
        await until(pilot, lambda: isinstance(app.screen, Question))
        await pilot.press("escape", "escape")
        await until(pilot, lambda: app.screen is app.browser)
        assert app.browser.query_one(DataTable).cursor_row == 1

    play(quoting, script, QUOTED)


def test_a_page_appears_when_it_is_measured_and_keys_work(quoting, monkeypatch):
    go_on, measure = threading.Semaphore(0), Study.page

    def wait(*arguments):
        page = measure(*arguments)
        assert go_on.acquire(timeout=600)
        return page

    monkeypatch.setattr(Study, "page", wait)

    async def script(app, pilot):
        await until_scored(app, pilot)
        await pilot.press("enter")
        go_on.release()
        await until(pilot, lambda: "Values over" in whole_page(app))
        await pilot.press("down")
        await until(pilot, lambda: app.screen.query_one("#pictures").scroll_offset.y == 1)
        # What a page that was left measures does not show on another.
        await pilot.press("right")
        for _ in range(10):
            go_on.release()
        await until_measured(app, pilot)
        assert "Where cell 0:5 " not in whole_page(app)

    play(quoting, script, QUOTED)


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
        await pilot.press("slash", "x", "enter")
        await look(app, pilot, Question)
        await check_input(app, pilot)
        await pilot.press("escape", "c")
        await look(app, pilot, Question)
        await answer(app, pilot, "1")
        await until(
            pilot, lambda: isinstance(app.screen, ClampScreen) and "clamped at 1" in screen(app)
        )
        await look(app, pilot, ClampScreen)
        await pilot.press("escape", "enter")
        await until(pilot, lambda: "values over" in whole_page(app).lower())
        await look(app, pilot, CellScreen)
        await look_at_help(app, pilot, "question_mark", PAGE_KEYS)

    text = "the lamp is lit. (the door) is not.\nnor is she here\n"  # too short to score
    play(model, script, text, size=(80, 200))


class Jobs:
    """Work whose results are shown by hand, and two events that a job waits for."""

    def __init__(self):
        self.done = []
        self.later = Queue()
        self.work = Work(self.later.put, self.done.append)
        self.begun = threading.Event()
        self.may_go_on = threading.Event()

    def start(self, kind, result):
        """Start a job that shows its result."""
        self.work.start(kind, lambda job: job.show(self.done.append, result))

    def start_waiting(self, kind, go_on):
        """Start a job that waits until it may go on, and wait until it does."""

        def compute(job):
            self.begun.set()
            assert self.may_go_on.wait(600)
            go_on(job)

        self.work.start(kind, compute)
        assert self.begun.wait(600)


def test_the_newest_job_runs_first():
    jobs = Jobs()

    def go_on(job):
        job.pause()
        job.show(jobs.done.append, "first")

    jobs.start_waiting("one", go_on)
    jobs.start("other", "second")
    jobs.start("another", "third")
    jobs.may_go_on.set()
    for _ in range(3):
        jobs.later.get(timeout=600)()
    assert jobs.done == ["third", "second", "first"]


def test_what_a_stopped_job_has_found_is_not_shown():
    jobs = Jobs()
    jobs.start("one", "found")
    show = jobs.later.get(timeout=600)
    jobs.work.stop("one")
    show()
    assert jobs.done == []


def test_a_later_job_of_a_kind_replaces_the_one_before():
    jobs = Jobs()
    ended = threading.Event()

    def go_on(job):
        try:
            while True:
                job.pause()
        finally:
            ended.set()

    jobs.start_waiting("one", go_on)
    jobs.start("one", "replaced it")
    jobs.may_go_on.set()
    assert ended.wait(600)
    jobs.later.get(timeout=600)()
    assert jobs.done == ["replaced it"]


def test_no_job_runs_once_the_work_is_closed():
    jobs = Jobs()
    jobs.work.close()
    jobs.work.start("late", lambda job: jobs.done.append("late"))
    jobs.work.close()
    assert jobs.done == []


def test_the_share_of_work_is_said_if_its_size_is_known():
    said = []
    job = SimpleNamespace(pause=lambda: None, show=lambda show, message: show(message))
    interface = SimpleNamespace(work=SimpleNamespace(start=lambda kind, work: work(job)))

    def compute(_):
        for label, total in (("waiting", 0), ("reading", 4)):
            with task(label, total) as advance:
                advance(3)
                advance(3)

    FullScreenApp.measure(interface, "one", compute, said.append)
    assert said == ["waiting ...", "waiting ...", "reading 75%", "reading 100%", ""]


def test_the_explorer_needs_textual(command, monkeypatch):
    monkeypatch.setattr("charrnn.errors.find_spec", lambda name: None)
    ran = command("explore")
    ran.assert_refused(2)
    assert ran.err.startswith("error: charrnn explore needs the package textual.")
    assert ran.err.endswith("pip install charrnn-lab\n")


def test_the_explorer_opens_without_torch(process):
    code = "import sys, charrnn.explore.app; print('torch' in sys.modules)"
    assert process("-c", code, PYTHONPATH=os.pathsep.join(sys.path)).stdout.split() == [b"False"]


@pytest.mark.docs
def test_the_picture_of_the_documentation_shows_it(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(REPOSITORY / "docs" / "make")
    screens = importlib.import_module("screens")
    monkeypatch.setattr(screens, "PICTURES", tmp_path)
    screens.draw_explorer()
    for folder in (tmp_path, REPOSITORY / "docs" / "pictures"):
        picture = (folder / "explore.svg").read_text("utf-8")
        text = re.sub("<[^>]*>", "", picture)
        assert "follows quote" in text
        assert "Enter page" in text
        assert "reading" not in text
        assert ElementTree.fromstring(picture).tag.endswith("svg")


def test_the_values_beside_a_clamp_are_times_the_polarity(quoting):
    sides = [
        exploration.Clamp("x", cell=(0, QUOTING_UNIT), value=0.5, polarity=polarity).generate(
            quoting, lambda: None
        )
        for polarity in (1, -1)
    ]
    for (text, values), (same_text, turned) in zip(*sides, strict=True):
        assert same_text == text and any(values)
        assert turned == [-value for value in values]
