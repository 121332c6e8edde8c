"""`charrnn explore`: driven by its keys, and looked at."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from conftest import Ran, TrainedRun
from progress_reports import reports
from rich.cells import cell_len
from rich.style import Style

import charrnn
from charrnn.api import Model
from charrnn.text.encoded import undo_decode_each
from charrnn.views.theme import BLOCKS, block, palette_of

pytest.importorskip("textual", reason="the extra `tui` is not installed")

from exploring import FRESH, play, screen, shown, until, until_scored
from textual.widgets import DataTable, Input

from charrnn.apps.explore import app as explorer
from charrnn.apps.explore import state as exploration
from charrnn.apps.explore.app import Explorer, measure_in_stages
from charrnn.apps.explore.screens import Comparison, TextView
from charrnn.apps.explore.state import ALL, BEST, MAX_TYPED, NUM_GENERATED, TypedText, columns
from charrnn.apps.full_screen import Help, Question, Stopped
from charrnn.generation.options import SAMPLE_TEMPERATURE
from charrnn.progress import task

if TYPE_CHECKING:
    from textual.pilot import Pilot

Command = Callable[..., Ran]
HOSTILE = "[bold]x[/bold] [red] \x1b[31mred\x1b[0m \x07\x9b2J\r \u202eback e\u0301 語 wide\ttab \U0001f642\n"


@pytest.fixture(scope="module")
def model(lstm: TrainedRun) -> Model:
    return charrnn.load(lstm.path)


def styled(view: TextView) -> list[tuple[str, Style]]:
    """The characters on the screen in their styles, without the gutter."""
    drawn = []
    for row in range(view.size.height):
        segments = list(view.render_line(row))[1:]
        characters = [(character, segment.style or Style()) for segment in segments for character in segment.text]
        drawn += characters[: len("".join(text for text, _ in characters).rstrip())]
    return drawn


def expected_styles(
    app: Explorer, model: Model, cell: tuple[int, int], cursor: int, num: int
) -> list[tuple[str, Style]]:
    values = model.trace(FRESH[:2_000]).cells[:, cell[0], cell[1]]
    return [
        (
            "↵" if FRESH[i] == "\n" else FRESH[i],
            palette_of(app.console).value(values[i]) + Style(reverse=i == cursor or None),
        )
        for i in range(num)
    ]


def test_browsing_colours_the_text_by_each_cell_and_says_what_it_follows(model: Model) -> None:
    found = model.survey(FRESH).scores
    assert len(found) > 3

    async def script(app: Explorer, pilot: Pilot[None]) -> None:
        await until_scored(app, pilot)
        seen = set()
        for row, score in enumerate(found):
            await until(pilot, lambda row=row: app.browser.exploration.row == row)  # type: ignore[misc]
            # What the line is folded at does not matter: characters and styles are compared one after the other.
            drawn = [item for item in styled(app.browser.query_one("#text", TextView)) if item[0] != " "]
            expected = expected_styles(app, model, (score.layer, score.unit), 0, 2_000)
            assert drawn == [item for item in expected if item[0] != " "][: len(drawn)]
            assert len(drawn) > 100
            seen.add(tuple(style for _, style in drawn))
            value = score.auc if score.auc is not None else score.spearman
            caption = shown(app, "#caption")
            assert caption.startswith(f"cell {score.layer}:{score.unit} follows {score.detector} (")
            assert f"{value:.3f}" in caption
            assert f"untrained baseline {score.untrained:.3f}" in caption
            assert f"{score.chosen_on:.3f} on the first half" in caption
            assert " ".join(caption.split())[:40] in screen(app)
            await pilot.press("down")
        assert len(seen) == len({(score.layer, score.unit) for score in found}) > 1
        await pilot.press("home", "end")
        await until(pilot, lambda: app.browser.exploration.row == len(found) - 1)
        await pilot.press("home")
        await until(pilot, lambda: app.browser.exploration.row == 0)

    play(model, script)


def test_the_text_is_there_before_anything_is_known_of_the_cells(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()

    def measure(*arguments: Any, **options: Any) -> Iterator[Any]:
        assert go_on.wait(600)
        yield from measure_in_stages(*arguments, **options)

    monkeypatch.setattr(explorer, "measure_in_stages", measure)

    async def script(app: Explorer, pilot: Pilot[None]) -> None:
        assert FRESH.splitlines()[0] in screen(app)
        assert all(not style for _, style in styled(app.browser.query_one("#text", TextView))[1:])
        await pilot.press("down", "right")
        await until(pilot, lambda: app.browser.exploration.cell == (0, 1))
        go_on.set()
        await until_scored(app, pilot)
        assert app.browser.exploration.order == ALL, "the list is not turned away from someone who is reading it"
        assert any(style for _, style in styled(app.browser.query_one("#text", TextView))[2:])

    play(model, script)


def test_lists_are_turned_through_and_cells_gone_to(model: Model) -> None:
    async def script(app: Explorer, pilot: Pilot[None]) -> None:
        await until_scored(app, pilot)
        state = app.browser.exploration
        names = list(state.orders)
        assert (names[0], names[-1], "quote" in names) == (BEST, ALL, True)
        table = app.browser.query_one(DataTable)
        for name in [*names[1:], names[0]]:
            await pilot.press("s")
            await pilot.pause()
            assert (state.order, state.row, table.row_count) == (name, 0, len(state.orders[name]))
            assert name in shown(app, "#title")
            assert [str(cell) for cell in table.get_row_at(0)] == [
                "" if name == ALL else "1",
                *state.rows[0].shown(name),
            ]
            assert [str(column.label) for column in table.columns.values()] == ["", *columns(name)]
        best = {row.score.detector: row.cell for row in state.orders[BEST] if row.score}
        assert all(state.orders[name][0].cell == best[name] for name in best)
        assert len(state.orders["quote"]) == len(state.orders[ALL]) == 32
        await pilot.press("S")
        await until(pilot, lambda: state.order == ALL)
        await pilot.press("S", "slash")
        await until(pilot, lambda: isinstance(app.screen, Question))
        for answer, reason in (("0:32", "units from 0 to 31"), ("q", "such as 0:17"), ("1:0", "layers go from 0 to 0")):
            app.screen.query_one(Input).value = answer
            await pilot.press("enter")
            await pilot.pause()
            assert reason in " ".join(screen(app).replace("│", " ").split())
        app.screen.query_one(Input).value = "0:7"
        await pilot.press("enter")
        await until(pilot, lambda: state.cell == (0, 7) and table.cursor_row == state.row)
        assert state.order == names[-2]
        assert shown(app, "#caption").startswith("cell 0:7 ")
        # A cell that the list does not have is looked at among all.
        await pilot.press("s", "s")
        missing = next(unit for unit in range(32) if (0, unit) not in best.values())
        await pilot.press("slash")
        await until(pilot, lambda: isinstance(app.screen, Question))
        app.screen.query_one(Input).value = f"0:{missing}"
        await pilot.press("enter")
        await until(pilot, lambda: state.cell == (0, missing))
        assert state.order == ALL

    play(model, script)


def test_it_shows_the_figures_that_visualize_reports(
    command: Command, lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from charrnn.cli import visualize

    (tmp_path / "mine.txt").write_text(FRESH, encoding="utf-8")
    reported = json.loads(command("visualize", "--text", "mine.txt", "--json").out)
    opened: list[Explorer] = []
    monkeypatch.setattr("charrnn.cli.streams.fills_terminal", lambda: True)
    monkeypatch.setattr(Explorer, "run", lambda self: opened.append(self))
    assert command("explore", "--text", "mine.txt").code == 0
    text = opened[0]._scored
    assert (text.text, text.first) == (FRESH, 0) and len(FRESH) < visualize.CHARS_SCORED
    study = opened[0].model.study(text, cached=True)
    with reports() as done:
        _, *found = measure_in_stages(study, text.part(0, 100), num_guesses=1)
    assert done["reading"] == 100 and done["scoring all cells"] == 32
    assert json.loads(json.dumps([score.to_json() for score in found[-1].findings.scores])) == reported
    # The first of a detector's list is that cell, with that score; all cells are there.
    for score in found[-1].findings.scores:
        ranked = found[-1].ranking[score.detector]
        assert ranked[0] == score and len({(one.layer, one.unit) for one in ranked}) == len(ranked) == 32


def test_the_cursor_walks_the_text_with_a_sparkline_of_its_line(model: Model) -> None:
    trace = model.trace(FRESH[:2_000], num_guesses=5)
    lines = [line + "\n" for line in FRESH[:2_000].split("\n")]
    assert all(2 < len(line) < 70 for line in lines[:3])

    async def script(app: Explorer, pilot: Pilot[None]) -> None:
        await until_scored(app, pilot)
        cell = (slice(None), *app.browser.exploration.cell)
        await pilot.press("right", "j", "j", "right")
        cursor = len(lines[0] + lines[1]) + 2
        await until(pilot, lambda: app.browser.exploration.viewed.cursor == cursor)
        begin = FRESH.rindex("\n", 0, cursor) + 1
        values = trace.cells[cell][begin : FRESH.index("\n", cursor) + 1]
        assert shown(app, "#sparkline") == "  " + "".join(block(value) for value in values)
        assert set(shown(app, "#sparkline").strip()) <= set(BLOCKS)
        assert trace.guess_probs is not None
        assert f"{trace.cells[cell][cursor]:+.2f}   next: " in shown(app, "#readout")
        assert f" {trace.guess_probs[cursor, 0]:.2f}  " in shown(app, "#readout")
        await pilot.press("pagedown")
        await until(pilot, lambda: app.browser.query_one("#text", TextView).scroll_offset.y > 0)
        assert any(style.reverse for _, style in styled(app.browser.query_one("#text", TextView)))
        await pilot.press(*["pageup"] * 5, *["left"] * 9)
        await until(pilot, lambda: app.browser.exploration.viewed.cursor == 0)

    play(model, script)


def test_typing_is_followed_character_by_character(model: Model) -> None:
    async def script(app: Explorer, pilot: Pilot[None]) -> None:
        await until_scored(app, pilot)
        typed_text = app.browser.typed
        # Among them letters that are commands elsewhere.
        await pilot.press("t", *"(sq)", "enter", *"jkt((", "backspace", "space", "a")
        typed = "(sq)\njkt( a"
        await until(pilot, lambda: typed_text.text == typed)
        trace = model.trace(typed, num_guesses=5)
        assert app.is_running
        assert trace.guess_probs is not None
        for unit in (0, 5, 31):
            values = typed_text.values((0, unit))
            assert values == pytest.approx(trace.cells[:, 0, unit], abs=1e-4)
        assert [p for _, p in typed_text.guesses()] == pytest.approx(trace.guess_probs[-1].tolist(), abs=1e-4)
        assert np.ptp(trace.cells[:, 0, 0]) > 0.01
        await until(pilot, lambda: "(sq)↵" in screen(app))
        await pilot.press("end", "left")
        row = len(app.browser.exploration.rows) - 1
        await until(pilot, lambda: (app.browser.exploration.row, typed_text.cursor) == (row, len(typed) - 2))
        layer, unit = app.browser.exploration.cell
        assert f"␣ {trace.cells[-2, layer, unit]:+.2f}   next: " in shown(app, "#readout")
        await pilot.press("slash")
        await until(pilot, lambda: "/ is not in the vocabulary" in shown(app, "#status"))
        # Out of typing, but not of the text; then out of that too.
        await pilot.press("escape", "up")
        await until(pilot, lambda: app.browser.exploration.row == row - 1)
        assert (app.browser.exploration.viewed, len(typed_text.text)) == (typed_text, len(typed) + 1)
        await pilot.press("escape")
        await pilot.pause()
        assert FRESH.splitlines()[0] in screen(app)

    play(model, script)


def test_a_pasted_text_is_read_and_its_end_left_out(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    from textual.events import Paste

    monkeypatch.setattr(exploration, "MAX_TYPED", 100)
    assert MAX_TYPED > 100

    async def script(app: Explorer, pilot: Pilot[None]) -> None:
        await pilot.press("t")
        app.post_message(Paste("(a)\r\n" + FRESH[:300]))
        await until(pilot, lambda: "characters can be typed" in screen(app))
        assert app.browser.typed.text == ("(a)\n" + FRESH)[:100]

    play(model, script)


@pytest.mark.parametrize("typed", ["zäb «語»🙂", "plain"])
def test_a_model_of_bytes_reads_each_byte_of_what_is_typed(byte_run: TrainedRun, typed: str) -> None:
    model = charrnn.load(byte_run.path)
    reading = TypedText(model)
    for character in typed:
        reading.feed(character)
    trace = model.trace(typed, num_guesses=5)
    assert reading.text == trace.text
    values = reading.values((0, 3))
    assert values == pytest.approx(trace.cells[:, 0, 3], abs=1e-4)
    assert trace.guess_probs is not None
    assert [p for _, p in reading.guesses()] == pytest.approx(trace.guess_probs[-1].tolist(), abs=1e-4)
    assert undo_decode_each(reading.before_cursor(), "byte") == typed.encode()
    reading.delete_last()
    assert reading.text == model.trace(typed[:-1]).text


def test_a_clamped_cell_writes_another_text_beside_the_one_it_would_have_been(model: Model) -> None:
    def text(seed: int, **options: Any) -> str:
        prime = FRESH[:3]
        return model.sample(
            length=NUM_GENERATED, temperature=SAMPLE_TEMPERATURE, seed=seed, prime=prime, **options
        ).text

    def sides(app: Explorer) -> tuple[str, str]:
        views = (app.screen.query_one("#clamped", TextView), app.screen.query_one("#free", TextView))
        return views[0]._characters, views[1]._characters

    async def script(app: Explorer, pilot: Pilot[None]) -> None:
        await until_scored(app, pilot)
        await pilot.press("right", "right", "S", "down")
        await until(pilot, lambda: app.browser.exploration.cell == (0, 1))
        await pilot.press("c")
        await until(pilot, lambda: isinstance(app.screen, Question))
        for answer, reason in (("2", "2 is outside -1 to 1"), ("nan", "outside -1 to 1"), ("high", "a number")):
            app.screen.query_one(Input).value = answer
            await pilot.press("enter")
            await pilot.pause()
            assert reason in screen(app)
        app.screen.query_one(Input).value = "-1"
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Comparison) and all(sides(app)))
        held, free = text(0, clamps={(0, 1): -1.0}), text(0)
        assert sides(app) == (held, free)
        assert held != free
        drawn = screen(app)
        assert "0:1 clamped at -1" in drawn
        first = f"{held.splitlines()[0][:30]}", f"{free.splitlines()[0][:30]}"
        assert all(part in drawn for part in first)
        await pilot.press("r")
        await until(pilot, lambda: sides(app) == (text(1, clamps={(0, 1): -1.0}), text(1)))
        assert "seed 1" in screen(app)
        # Commands of the browser mean nothing here.
        await pilot.press("s", "t", "slash", "down", "j", "escape")
        await pilot.pause()
        assert app.screen is app.browser

    play(model, script)


@pytest.mark.parametrize(
    "keys", [("q",), ("ctrl+c",), ("ctrl+q",), ("t", "q", "ctrl+c"), ("c", "ctrl+c"), ("t", "escape", "q")]
)
def test_quitting(model: Model, keys: tuple[str, ...]) -> None:
    async def script(app: Explorer, pilot: Pilot[None]) -> None:
        await pilot.press(*keys[:-1])
        assert app.is_running
        await pilot.press(keys[-1])
        await pilot.pause()
        assert app._exit

    play(model, script)


def test_the_help_names_every_key(model: Model) -> None:
    async def script(app: Explorer, pilot: Pilot[None]) -> None:
        await pilot.press("question_mark")
        await pilot.pause()
        assert isinstance(app.screen, Help)
        words = screen(app).split()
        assert {
            "Home",
            "End",
            "j",
            "k",
            "PgDn",
            "PgUp",
            "s",
            "S",
            "/",
            "t",
            "Esc",
            "c",
            "d",
            "Enter",
            "?",
            "q",
            "↑",
            "←",
        } <= {*words}
        await pilot.press("escape")
        await pilot.pause()
        assert app.screen is app.browser

    play(model, script)


@pytest.mark.parametrize("alphabet", ["char", "byte"])
def test_nothing_in_a_hostile_text_steers_the_terminal_or_is_markup(
    train_run: Callable[..., TrainedRun], byte_run: TrainedRun, alphabet: str, tmp_path: Any
) -> None:
    if alphabet == "byte":
        path = byte_run.path
    else:
        (tmp_path / "hostile.txt").write_bytes(HOSTILE.encode() * 200)
        path = train_run("hostile", corpus=(str(tmp_path / "hostile.txt"),), steps=3).path
    model = charrnn.load(path)
    model.name = "[b]na\x1bme"

    async def script(app: Explorer, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.browser.given.trace is not None)
        drawn = screen(app)
        await pilot.press("t", *"[b]")
        app.browser._type("\x1b\x07")
        await until(pilot, lambda: "[b]␛␇" in screen(app))
        assert shown(app, "#readout").startswith("␇ ")
        drawn += screen(app)
        await pilot.press("escape", "c")
        await until(pilot, lambda: isinstance(app.screen, Question))
        app.screen.query_one(Input).value = "1"
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Comparison) and " clamped at 1" in screen(app))
        drawn += screen(app)
        assert "[bold]x[/bold] [red] ␛[31mred␛[0m ␇" in drawn
        assert "[b]na␛me" in drawn
        steering = {
            character for character in drawn if character != "\n" and (ord(character) < 32 or character == "\x7f")
        }
        assert steering | ({*drawn} & {*map(chr, range(128, 160)), "\u202e"}) == set()

    play(model, script, HOSTILE.encode() * 9 if alphabet == "byte" else HOSTILE * 9)


@pytest.mark.parametrize(
    "size", [(1, 1), (40, 10), *(pytest.param(s, marks=pytest.mark.thorough) for s in ((20, 5), (80, 24), (200, 60)))]
)
def test_every_size_will_do(model: Model, size: tuple[int, int]) -> None:
    async def script(app: Explorer, pilot: Pilot[None]) -> None:
        await until_scored(app, pilot)
        for keys in ("down", "right", "j", "pagedown", "s", "question_mark", "escape", "slash", "escape", "t", "x"):
            await pilot.press(keys)
        lines = screen(app).splitlines()
        assert (len(lines), {cell_len(line) for line in lines}) == (size[1], {size[0]})
        await pilot.resize_terminal(110, 30)
        await pilot.pause()
        view, table = app.browser.query_one("#text", TextView), app.browser.query_one(DataTable)
        assert view.region.x >= table.region.right, "side by side where there is room"
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        assert view.region.y >= table.region.bottom
        assert min(view.size.height, table.size.height) >= 5
        assert screen(app).splitlines()[-1].startswith("typing")

    play(model, script, size=size)


def test_without_colour_blocks_show_the_values(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def script(app: Explorer, pilot: Pilot[None]) -> None:
        await until_scored(app, pilot)
        layer, unit = app.browser.exploration.cell
        values = model.trace(FRESH[:200]).cells[:, layer, unit]
        first = FRESH.splitlines()[0]
        lines = screen(app).splitlines()
        row = next(row for row, line in enumerate(lines) if first in line)
        assert lines[row + 1].rstrip() == "  " + "".join(block(value) for value in values[: len(first) + 1])
        assert all(not style.bgcolor for _, style in styled(app.browser.query_one("#text", TextView)))

    play(model, script)


def test_a_text_too_short_to_score_is_shown_and_it_says_so(model: Model) -> None:
    async def script(app: Explorer, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "cells are not scored" in screen(app))
        assert "Give a longer --text." in " ".join(screen(app).split())
        await pilot.press("s", "s", "down")
        await until(pilot, lambda: app.browser.exploration.cell == (0, 1))
        assert app.browser.exploration.order == ALL

    play(model, script, FRESH[:50])


def test_what_goes_wrong_out_of_sight_ends_it_with_that_error(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(*arguments: Any, **options: Any) -> Iterator[Any]:
        raise charrnn.CharRNNError("the weights do not fit")
        yield

    monkeypatch.setattr(explorer, "measure_in_stages", measure)

    async def script(app: Explorer, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app._exit)

    with pytest.raises(charrnn.CharRNNError, match="the weights do not fit"):
        play(model, script)


async def compare(app: Explorer, pilot: Pilot[None]) -> None:
    """Clamp the selected cell, and wait for the screen that compares."""
    await until_scored(app, pilot)
    await pilot.press("c")
    await until(pilot, lambda: isinstance(app.screen, Question))
    app.screen.query_one(Input).value = "1"
    await pilot.press("enter")
    await until(pilot, lambda: isinstance(app.screen, Comparison))


@pytest.mark.parametrize("key", ["escape", "r", "ctrl+c"])
def test_texts_that_nobody_waits_for_are_not_generated_to_their_end(
    model: Model, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    has_started = threading.Event()
    ended: list[type[BaseException]] = []
    generate, stream = exploration.Clamp.generate, Model.stream

    def watch(self: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return generate(self, *arguments, **options)
        except BaseException as error:
            ended.append(type(error))
            raise

    def endless(self: Model, *, seed: int, **options: Any) -> Iterator[Any]:
        if seed > 0:
            yield from stream(self, seed=seed, **options)
        while not seed:
            has_started.set()
            yield SimpleNamespace(text="x", value=0.5)

    monkeypatch.setattr(exploration.Clamp, "generate", watch)
    monkeypatch.setattr(Model, "stream", endless)

    async def script(app: Explorer, pilot: Pilot[None]) -> None:
        await compare(app, pilot)
        await until(pilot, has_started.is_set)
        await pilot.press(key)
        if key == "escape":
            await until(pilot, lambda: bool(ended))
        if key == "r":
            await until(pilot, lambda: " clamped at 1" in screen(app) and "seed 1" in screen(app))

    app = play(model, script)
    assert ended == [Stopped] and app.work.is_closed


def test_quitting_ends_the_work(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    has_ended = threading.Event()

    def measure(*arguments: Any, **options: Any) -> Iterator[Any]:
        try:
            with task("at work", 2) as advance:
                advance(1)
                while True:
                    advance(0)
                    time.sleep(0.01)
        finally:
            has_ended.set()
        yield

    monkeypatch.setattr(explorer, "measure_in_stages", measure)

    async def script(app: Explorer, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "at work" in screen(app))
        await pilot.press("q")

    app = play(model, script)
    assert has_ended.is_set()
    assert app.work.is_closed, "nothing begins to use torch any more"


@pytest.mark.parametrize(("arguments", "reason"), [((), "fills a terminal"), (("--chars", 0), "--chars")])
def test_off_a_terminal_it_says_so(command: Command, arguments: tuple[object, ...], reason: str) -> None:
    ran = command("explore", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert reason in ran.err
    assert len(ran.err.splitlines()) <= 3


def test_without_textual_it_says_how_to_get_it(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charrnn.cli.streams.find_spec", lambda name: None)
    ran = command("explore")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: charrnn explore needs the package textual.")
    assert ran.err.endswith("pip install -c constraints.txt -e '.[tui]'\n")


def test_the_command_opens_the_interface_on_the_text_it_is_given(
    command: Command, lab: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:

    (tmp_path / "mine.txt").write_text(FRESH, encoding="utf-8")
    opened: list[Explorer] = []
    monkeypatch.setattr("charrnn.cli.streams.fills_terminal", lambda: True)
    monkeypatch.setattr(Explorer, "run", lambda self: opened.append(self))
    ran = command("explore", "--text", "mine.txt", "--chars", 300)
    assert (ran.code, ran.out) == (0, "")
    assert opened[0].browser.given.text == FRESH[:300]
    ran = command("explore", "--text", "-")
    assert (ran.code, "Give a file" in ran.err) == (2, True)
    # An error that Textual reports itself closes the interface without a result.
    monkeypatch.setattr(Explorer, "run", lambda self: setattr(self, "_return_code", 1))
    assert command("explore", "--text", "mine.txt", "--chars", 300).code == 1


def test_help_needs_neither_torch_nor_textual(process: Callable[..., Any]) -> None:
    code = "import sys; from charrnn.cli.app import run; run(['explore', '--help']); "
    ran = process("-c", code + "print(sorted({'torch', 'textual'} & set(sys.modules)))")
    assert ran.returncode == 0
    assert ran.stdout.decode().endswith("[]\n")


def test_the_interface_opens_without_torch(process: Callable[..., Any]) -> None:
    code = "import sys, charrnn.apps.explore.app; print('textual' in sys.modules, 'torch' in sys.modules)"
    assert process("-c", code, PYTHONPATH=os.pathsep.join(sys.path)).stdout == b"True False\n"


@pytest.mark.parametrize(("word", "value"), [(" low", 0.0), ("high ", 0.5), ("0", 0.0), ("-0.25", -0.25)])
def test_a_direction_is_clamped_at_an_end_that_is_zero(word: str, value: float) -> None:
    viewed, direction = SimpleNamespace(before_cursor=lambda: ""), SimpleNamespace(low=0.0, high=0.5)
    explored: Any = SimpleNamespace(viewed=viewed, direction=direction)
    assert exploration.Clamp.parse(word, explored).value == value
