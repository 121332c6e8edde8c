"""What `charrnn explore` and `charrnn write` have in common: their jobs, keys, colours, and where they do not open."""

from __future__ import annotations

import os
import re
import runpy
import sys
import threading
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import REPOSITORY, Ran, TrainedRun

import charrnn
from charrnn.api import Model

pytest.importorskip("textual", reason="the extra `tui` is not installed")

from exploring import FRESH, answer, illegible, play, play_writer, screen, until, whole_page
from textual.widgets import Input

from charrnn.apps.explore.app import BROWSER_KEYS, TABLE_KEYS, Explorer
from charrnn.apps.explore.screens import Comparison, Page
from charrnn.apps.full_screen import Choice, Help, Job, Question, Work
from charrnn.apps.write.drafts import SURPRISE
from charrnn.apps.write.screen import KEYS, Writer

if TYPE_CHECKING:
    from textual.pilot import Pilot

Command = Callable[..., Ran]
TEXT = "the lamp is lit. (the door) is not.\nnor is she here\n"


@pytest.fixture(scope="module")
def model(lstm: TrainedRun) -> Model:
    return charrnn.load(lstm.path)


@pytest.fixture
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


def test_every_screen_of_the_explorer_is_legible(model: Model, light_terminal: None) -> None:
    async def script(app: Explorer, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "needs at least 200" in " ".join(screen(app).split()))
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
        await answer(app, pilot, "1")
        await until(pilot, lambda: isinstance(app.screen, Comparison) and "clamped at 1" in screen(app))
        await look(app, pilot, Comparison)
        await pilot.press("escape", "enter")
        await until(pilot, lambda: "most correlated" in whole_page(app).lower())
        await look(app, pilot, Page)

    play(model, script, TEXT, size=(80, 200))


def test_every_screen_of_the_editor_is_legible(model: Model, light_terminal: None, tmp_path: Path) -> None:
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

    (tmp_path / "x.txt").write_text(TEXT, encoding="utf-8")
    play_writer(model, tmp_path / "x.txt", script, colour=SURPRISE)


def test_the_help_lists_every_key(model: Model) -> None:
    async def look_at_help(app: Any, pilot: Pilot[Any], key: str, keys: Any) -> None:
        await pilot.press(key)
        await until(pilot, lambda: isinstance(app.screen, Help) and "Esc closes this." in screen(app))
        words = " ".join(screen(app).replace("│", " ").split())
        assert all(names.split()[0] in words and meaning.split()[0] in words for names, meaning, _ in keys)
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, Help))

    async def explore(app: Explorer, pilot: Pilot[None]) -> None:
        await look_at_help(app, pilot, "question_mark", TABLE_KEYS + BROWSER_KEYS)

    async def write(app: Writer, pilot: Pilot[bool]) -> None:
        await look_at_help(app, pilot, "f1", KEYS)

    play(model, explore, TEXT, size=(80, 60))
    play_writer(model, None, write, size=(80, 60))


def test_the_newest_job_runs_first_and_none_that_is_not_wanted() -> None:
    """The second of two kinds runs while the first waits; a later one of a kind replaces the one before."""
    done: list[str] = []
    failures: list[Exception] = []
    events = {name: threading.Event() for name in ("begun", "second", "first done", "failed", "endless", "replaced")}

    def wait(name: str) -> None:
        assert events[name].wait(600)

    def on_failure(error: Exception) -> None:
        failures.append(error)
        events["failed"].set()

    def first(job: Job) -> None:
        events["begun"].set()
        wait("second")
        job.pause()
        job.show(done.append, "first")
        events["first done"].set()

    def endless(job: Job) -> None:
        events["endless"].set()
        try:
            while True:
                job.pause()
        finally:
            done.append("end")
            events["replaced"].set()

    def fail(job: Job) -> None:
        raise ValueError("broken")

    later: list[Callable[[], object]] = []
    work = Work(lambda call: later.append(call), on_failure)
    work.start("one", first)
    wait("begun")
    work.start("other", lambda job: job.show(done.append, "second"))
    events["second"].set()
    wait("first done")
    for call in later:
        call()
    assert done == ["second", "first"]
    work.stop("one")
    later[1]()
    assert done == ["second", "first"], "what a stopped job has found is not shown"
    work.start("other", fail)
    wait("failed")
    assert [str(one) for one in failures] == ["broken"]
    work.start("one", endless)
    wait("endless")
    events["endless"].clear()
    work.start("one", endless)
    wait("replaced")
    wait("endless")
    work.close()
    others = {*threading.enumerate()}
    work.start("late", lambda job: done.append("late"))
    for late in {*threading.enumerate()} - others:
        late.join(600)
        assert not late.is_alive()
    assert done == ["second", "first", "end", "end"]


# The commands.


@pytest.mark.parametrize(
    ("name", "instead"),
    [("explore", "`charrnn visualize` prints the same"), ("write", "charrnn sample --prime-file DRAFT")],
)
def test_off_a_terminal_and_without_textual_it_says_so(
    command: Command, monkeypatch: pytest.MonkeyPatch, name: str, instead: str
) -> None:
    ran = command(name)
    assert (ran.code, ran.out) == (2, "")
    assert "fills a terminal" in ran.err and instead in ran.err and len(ran.err.splitlines()) <= 3
    monkeypatch.setattr("charrnn.cli.streams.find_spec", lambda name: None)
    ran = command(name)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"error: charrnn {name} needs the package textual.")
    assert ran.err.endswith("pip install -c constraints.txt -e '.[tui]'\n")


def test_help_needs_neither_torch_nor_textual_and_the_interfaces_open_without_torch(
    process: Callable[..., Any],
) -> None:
    code = """
import sys
from charrnn.cli.app import run
for name in ("explore", "write"):
    run([name, "--help"])
print(sorted({"torch", "textual", "numpy"} & set(sys.modules)))
import charrnn.apps.explore.app, charrnn.apps.write.screen
print("textual" in sys.modules, "torch" in sys.modules)
"""
    ran = process("-c", code, PYTHONPATH=os.pathsep.join(sys.path))
    assert ran.stdout.decode().splitlines()[-2:] == ["[]", "True False"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("explore", ("follows quote", "Enter page")),
        ("write", ("chapter-1.txt", "beam", "T 0.8", "1-5 insert")),
    ],
)
def test_the_pictures_of_the_documentation_show_them(
    model: Model, monkeypatch: pytest.MonkeyPatch, name: str, words: tuple[str, ...]
) -> None:
    monkeypatch.syspath_prepend(REPOSITORY / "docs")
    script = runpy.run_path(str(REPOSITORY / "docs" / f"make_{name}_picture.py"))
    drawn = script["draw"](model, model.encode(FRESH)) if name == "explore" else script["draw"](model)
    for picture in (drawn, script["FILE"].read_text(encoding="utf-8")):
        text = re.sub("<[^>]*>", "", picture)
        assert all(word in text for word in words) and "reading" not in text
        assert len(picture.encode()) < 60_000 and ElementTree.fromstring(picture).tag.endswith("svg")
        assert re.findall("https?://[^\"' ]*", picture) == ["http://www.w3.org/2000/svg"]
