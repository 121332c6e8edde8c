"""Drive `charrnn explore` by its keys, without a terminal."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from typing import Any

import pytest
from legibility import MIN_CONTRAST, contrast
from rich.color import Color, ColorSystem
from rich.style import Style
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, MONOKAI
from synthetic import make_corpus
from textual.pilot import Pilot
from textual.widgets import Static

import charrnn.commands.app  # noqa: F401 - registers the options that messages name
from charrnn.api import Model
from charrnn.explore.app import Explorer, Help, Keys
from charrnn.explore.state import explore_text

Script = Callable[[Explorer, Pilot[None]], Awaitable[None]]
FRESH = make_corpus(num_chars=5_000, seed=1).text[:5_000]
FRAME_SECONDS = 0.002
"""Time in which a frame is drawn; Textual's own is 1/60 s."""


def play(
    model: Model,
    script: Script,
    text: str | bytes = FRESH,
    size: tuple[int, int] = (80, 24),
) -> Explorer:
    """Run a script in the explorer, as `play_in` does."""
    exploration = explore_text(model, model.encode(text), num_shown=2_000, num_scored=8_000)
    return play_in(Explorer(exploration), script, size)


def play_in(app: Any, script: Callable[[Any, Any], Awaitable[None]], size: tuple[int, int]) -> Any:
    """Run a script in an interface of that size; what ended it, if anything did, is raised."""
    # Of all colours, whatever the terminal is in which the tests run.
    app.console._color_system = ColorSystem.TRUECOLOR

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await script(app, pilot)

    with pytest.MonkeyPatch.context() as patch:
        for module in ("textual.app", "textual.pilot"):
            patch.setattr(f"{module}.wait_for_idle", process_messages, raising=False)
        patch.setattr("textual.screen.UPDATE_PERIOD", FRAME_SECONDS / 2)
        asyncio.run(run())
    return app


async def process_messages(*_: float) -> None:
    """Let every task process its messages before and after the next frame. Textual itself would
    wait up to a second."""
    for turn in range(101):
        await asyncio.sleep(FRAME_SECONDS if turn == 50 else 0)


async def until(pilot: Pilot[Any], is_reached: Callable[[], bool]) -> None:
    """Wait for it; ten minutes at the most, so that a busy machine does not matter."""
    end = time.monotonic() + 600
    while time.monotonic() < end:
        await pilot.pause()
        if is_reached():
            await asyncio.sleep(
                2 * FRAME_SECONDS
            )  # what follows from it is drawn with the next frame
            await pilot.pause()
            return
        await asyncio.sleep(0.02)  # a thread computes meanwhile
    raise AssertionError(f"not reached; the screen shows\n{screen(pilot.app)}")


def screen(app: Any) -> str:
    """All that is on the screen."""
    return "\n".join(
        "".join(segment.text for segment in strip)
        for strip in app.screen._compositor.render_strips()
    )


def shown(app: Explorer, widget: str) -> str:
    return str(app.browser.query_one(widget, Static).render())


def whole_page(app: Any) -> str:
    """The pictures of a page of the explorer, those below the screen too; nothing on another
    screen."""
    pages = app.screen.query("#page")
    return "\n".join(
        strip.text for page in pages for strip in page.render_lines(page.region.reset_offset)
    )


def use_light_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "TERM": "xterm",
        "COLORTERM": "truecolor",
        "CHARRNN_BACKGROUND": "light",
    }.items():
        monkeypatch.setenv(name, value)


async def look(app: Any, pilot: Pilot[Any], kind: type) -> None:
    """Wait for a screen, and check that its text is legible."""
    await until(pilot, lambda: isinstance(app.screen, kind))
    await pilot.pause()
    assert illegible(app) == []


async def look_at_help(app: Any, pilot: Pilot[Any], key: str, keys: Sequence[Keys]) -> None:
    """Open the help, and check that it is legible and lists the keys."""
    await pilot.press(key)
    await until(pilot, lambda: "Esc closes this." in screen(app))
    await look(app, pilot, Help)
    words = " ".join(screen(app).replace("│", " ").split())
    assert all(f"{names} {' '.join(meaning.split()[:2])}" in words for names, meaning, _ in keys)
    await pilot.press("escape")
    await until(pilot, lambda: not isinstance(app.screen, Help))


def illegible(app: Any) -> list[str]:
    """Words on the screen that are dim, or have too little contrast on a white terminal or on a
    dark one."""
    found = []
    for strip in app.screen._compositor.render_strips():
        for text, style, _ in strip:
            is_word = style is not None and any(map(str.isalnum, text))
            if is_word and (style.dim or least_contrast(style) < MIN_CONTRAST):
                found.append(text)
    return found


@cache
def least_contrast(style: Style) -> float:
    """The contrast on a white terminal or on a dark one, whichever is less."""
    ink, paper = style.color or Color.default(), style.bgcolor or Color.default()
    return min(
        contrast(ink.get_truecolor(theme).hex, paper.get_truecolor(theme, foreground=False).hex)
        for theme in (DEFAULT_TERMINAL_THEME, MONOKAI)
    )
