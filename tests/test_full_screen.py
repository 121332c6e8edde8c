"""What `charrnn explore` and `charrnn write` have in common: every screen is legible in a light and a dark terminal."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import TrainedRun

import charrnn
from charrnn.api import Model

pytest.importorskip("textual", reason="the extra `tui` is not installed")

from exploring import illegible, play, screen, until
from textual.widgets import Input, Static

from charrnn.apps.explore.app import Explorer
from charrnn.apps.explore.screens import Comparison, Page
from charrnn.apps.full_screen import Choice, Help, Question
from charrnn.apps.write.drafts import SURPRISE, Draft, DraftFile, Settings
from charrnn.apps.write.screen import Writer

if TYPE_CHECKING:
    from textual.pilot import Pilot

TEXT = "the lamp is lit. (the door) is not.\nnor is she here\n"


@pytest.fixture(scope="module")
def model(lstm: TrainedRun) -> Model:
    return charrnn.load(lstm.path)


@pytest.fixture(autouse=True)
def light_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TERM": "xterm", "COLORTERM": "truecolor", "CHARRNN_BACKGROUND": "light"}.items():
        monkeypatch.setenv(name, value)


async def look(app: Any, pilot: Pilot[Any], kind: type) -> None:
    """Wait for a screen, and check that its text is legible."""
    await until(pilot, lambda: isinstance(app.screen, kind))
    await pilot.pause()
    assert illegible(app) == []


async def check_input(app: Any, pilot: Pilot[Any]) -> None:
    """Check that the cursor and what is selected in the line of input have their colours swapped."""
    app.screen.query_one(Input).value = "abc"
    for key, marked in (("home", "a"), ("end", " "), ("shift+left", "c")):
        await pilot.press(key)
        await pilot.pause()
        strip = app.screen.query_one(Input).render_line(0)
        assert marked in [text for text, style, _ in strip if style is not None and style.reverse]
    assert illegible(app) == []


def test_every_screen_of_the_explorer_is_legible(model: Model) -> None:
    async def script(app: Explorer, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "cells are not scored" in screen(app))
        assert any(
            style and style.bgcolor and style.bgcolor.triplet
            for _, style, _ in app.browser.query_one("#text").render_line(0)
        ), "the text is coloured"
        assert illegible(app) == []
        await pilot.press("question_mark")
        await look(app, pilot, Help)
        await pilot.press("escape", "slash", "x", "enter")
        await look(app, pilot, Question)
        await check_input(app, pilot)
        await pilot.press("escape", "c")
        await look(app, pilot, Question)
        app.screen.query_one(Input).value = "1"
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Comparison) and "clamped at 1" in screen(app))
        await look(app, pilot, Comparison)
        await pilot.press("escape", "enter")
        await until(pilot, lambda: isinstance(app.screen, Page) and "most correlated" in drawn_page(app).lower())
        await look(app, pilot, Page)

    def drawn_page(app: Explorer) -> str:
        page = app.screen.query_one("#page", Static)
        return "\n".join(strip.text for strip in page.render_lines(page.region.reset_offset))

    play(model, script, TEXT, size=(80, 200))


def test_every_screen_of_the_editor_is_legible(model: Model) -> None:
    async def script(app: Writer, pilot: Pilot[bool]) -> None:
        draft_screen = app.draft_screen
        await until(pilot, lambda: bool(draft_screen.editor.get_line(0).spans))
        await pilot.press("tab")
        await until(pilot, lambda: len(draft_screen.offered) == 5)
        await pilot.pause()
        assert "beam" in screen(app) and illegible(app) == []
        await pilot.press("escape", "shift+left", "shift+left")
        await pilot.pause()
        assert illegible(app) == []
        await pilot.press("x", "ctrl+q")
        await look(app, pilot, Choice)
        await pilot.press("escape", "f5")
        await look(app, pilot, Question)
        await check_input(app, pilot)
        await pilot.press("escape", "f1")
        await look(app, pilot, Help)

    async def run() -> Writer:
        app = Writer(model, DraftFile(Path("x.txt"), Draft(text=TEXT)), Settings(seed=3, colour=SURPRISE))
        async with app.run_test(size=(80, 24)) as pilot:
            await script(app, pilot)
        return app

    asyncio.run(run()).finish()
