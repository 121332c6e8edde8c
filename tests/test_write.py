"""`charrnn write`: driven by its keys, and looked at."""

from __future__ import annotations

import asyncio
import os
import re
import runpy
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from conftest import Ran, TrainedRun

import charrnn
from charrnn.api import Model

pytest.importorskip("textual", reason="the extra `tui` is not installed")

from exploring import screen, until
from rich.style import Style
from textual.widgets import Input

from charrnn.apps.full_screen import Choice, Help, Question, StatusLine, Stopped
from charrnn.apps.write.assistant import assistant_of
from charrnn.apps.write.drafts import (
    Draft,
    DraftFile,
    Settings,
    describe_reading,
    read_draft,
    shown_continuation,
)
from charrnn.apps.write.editor import hide, hide_pasted, marks, reveal
from charrnn.apps.write.offers import Job, OfferSearch, Worker
from charrnn.apps.write.screen import Writer
from charrnn.errors import DataError, UsageError
from charrnn.generation.records import Continuation

if TYPE_CHECKING:
    from textual.pilot import Pilot

Command = Callable[..., Ran]
Script = Callable[[Writer, "Pilot[bool]"], Awaitable[None]]
TEXT = "the lamp is lit. the door"


@pytest.fixture(scope="module")
def model(lstm: TrainedRun) -> Model:
    return charrnn.load(lstm.path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "draft.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def play(model: Model, path: Path | None, script: Script, **options: Any) -> Writer:
    """Run a script in the editor; what ended it, if anything did, is raised."""
    size = options.pop("size", (80, 24))
    settings = Settings(**{"seed": 3, **options})

    async def run() -> Writer:
        app = Writer(model, DraftFile(path, Draft() if path is None else read_draft(path)), settings)
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await script(app, pilot)
        return app

    app = asyncio.run(run())
    app.finish()
    return app


def test_tab_offers_five_and_a_digit_inserts_one_that_undo_takes_out(model: Model, path: Path) -> None:
    expected = model.continuations(TEXT, seed=3, count=5)

    async def script(app: Writer, pilot: Pilot[bool]) -> None:
        draft_screen = app.draft_screen
        await pilot.press("tab")
        await until(pilot, lambda: len(draft_screen.offered) == 5)
        assert draft_screen.offered == expected
        assert draft_screen.editor.draft == TEXT, "nothing is inserted unasked"
        shown = screen(app)
        for number, one in enumerate(expected, start=1):
            assert f"{number} " in shown and shown_continuation(one) in shown and f"{one.nats_per_char:.2f}" in shown
        await pilot.press("3")
        await until(pilot, lambda: draft_screen.editor.draft == TEXT + expected[2].text)
        assert not draft_screen.offered
        await pilot.press("ctrl+z")
        await until(pilot, lambda: draft_screen.editor.draft == TEXT)
        await pilot.press("ctrl+y")
        await until(pilot, lambda: draft_screen.editor.draft == TEXT + expected[2].text)
        await pilot.press("3")
        await until(pilot, lambda: draft_screen.editor.draft == TEXT + expected[2].text + "3")

    play(model, path, script)
    assert path.read_text(encoding="utf-8") == TEXT, "nothing is saved unasked"


def test_tab_again_offers_five_others_and_escape_dismisses_them(model: Model, path: Path) -> None:
    async def script(app: Writer, pilot: Pilot[bool]) -> None:
        draft_screen = app.draft_screen
        await pilot.press("tab")
        await until(pilot, lambda: len(draft_screen.offered) == 5)
        first = list(draft_screen.offered)
        await pilot.press("tab")
        await until(pilot, lambda: len(draft_screen.offered) == 5 and draft_screen.offered != first)
        assert not {one.text for one in first} & {one.text for one in draft_screen.offered}
        await pilot.press("escape")
        await until(pilot, lambda: not draft_screen.offered)
        await pilot.press("tab")
        await until(pilot, lambda: draft_screen.offered == first)
        await pilot.press("x")
        await until(pilot, lambda: not draft_screen.offered and draft_screen.editor.draft == TEXT + "x")
        await pilot.press("tab")
        await until(pilot, lambda: len(draft_screen.offered) == 5)
        await pilot.press("left")
        await until(pilot, lambda: not draft_screen.offered)

    play(model, path, script)


def test_it_continues_at_the_cursor(model: Model, path: Path) -> None:
    async def script(app: Writer, pilot: Pilot[bool]) -> None:
        draft_screen = app.draft_screen
        await pilot.press("home", "right", "right", "right", "tab")
        await until(pilot, lambda: len(draft_screen.offered) == 5)
        assert draft_screen.offered == model.continuations("the", seed=3)
        chosen = draft_screen.offered[0].text
        await pilot.press("1")
        await until(pilot, lambda: draft_screen.editor.draft == "the" + chosen + TEXT[3:])

    play(model, path, script)


def test_settings_go_round(model: Model, path: Path) -> None:
    async def script(app: Writer, pilot: Pilot[bool]) -> None:
        draft_screen = app.draft_screen
        assert "word  temperature 0.8" in screen(app)
        for end in ("line", "sentence", "word"):
            await pilot.press("ctrl+u")
            await until(pilot, lambda end=end: draft_screen.settings.until == end and end in screen(app))  # type: ignore[misc]
        for temperature in (1.0, 1.2, 0.2, 0.5, 0.8):
            await pilot.press("ctrl+t")
            await until(pilot, lambda value=temperature: f"temperature {value:g}" in screen(app))  # type: ignore[misc]
        assert draft_screen.settings.temperature == 0.8
        # While continuations are shown, they are replaced by those of the new settings.
        await pilot.press("tab")
        await until(pilot, lambda: len(draft_screen.offered) == 5)
        await pilot.press("f3")
        expected = model.continuations(TEXT, until="line", seed=3)
        await until(pilot, lambda: draft_screen.offered == expected)

    play(model, path, script)


def test_ctrl_s_saves_the_authors_own_characters(model: Model, path: Path) -> None:
    data = b"\xef\xbb\xbf" + "“The lamp\u00a0is lit—”\r\nthe\u2028door\r\n".encode()
    path.write_bytes(data)

    async def script(app: Writer, pilot: Pilot[bool]) -> None:
        await until(pilot, lambda: bool(app.draft_screen.notes))
        assert "“ is read as" in app.draft_screen.notes[0] and "does not know 7 characters" in app.draft_screen.notes[0]
        await pilot.press("x")
        await until(pilot, lambda: "* " in screen(app))
        assert path.read_bytes() == data
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "saved" in screen(app))
        assert "* " not in screen(app).splitlines()[0]
        await pilot.press("y", "backspace")
        await until(pilot, lambda: "saved" not in screen(app))
        await pilot.press("ctrl+q")
        await pilot.pause()

    app = play(model, path, script)
    assert path.read_bytes() == data[:-2] + b"x\r\n", "typed before the last line end"
    assert app.return_value is True


def test_a_new_draft_is_saved_under_the_name_that_is_asked_for(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("taken.txt").write_text("taken")

    async def answer(app: Writer, pilot: Pilot[bool], name: str) -> None:
        await until(pilot, lambda: isinstance(app.screen, Question))
        app.screen.query_one(Input).value = name
        await pilot.press("enter")
        await pilot.pause()

    async def script(app: Writer, pilot: Pilot[bool]) -> None:
        await pilot.press(*"abc", "ctrl+s")
        await answer(app, pilot, " ")
        assert "Write the name of a file." in screen(app)
        await answer(app, pilot, ".")
        assert "is a folder" in screen(app)
        await answer(app, pilot, "~nosuchuser/x")
        assert "That name cannot be used" in screen(app)
        await answer(app, pilot, "taken.txt")
        await until(pilot, lambda: isinstance(app.screen, Choice))
        assert "exists already" in screen(app) and Path("taken.txt").read_text() == "taken"
        await pilot.press("escape", "ctrl+s")
        await answer(app, pilot, "new.txt")
        await until(pilot, lambda: Path("new.txt").exists())
        assert Path("new.txt").read_text() == "abc"
        await pilot.press("f5")
        await answer(app, pilot, "missing/new.txt")
        await until(pilot, lambda: "not saved: cannot write missing/new.txt" in " ".join(screen(app).split()))
        await pilot.press("f5")
        await answer(app, pilot, "taken.txt")
        await until(pilot, lambda: isinstance(app.screen, Choice))
        await pilot.press("o")
        await until(pilot, lambda: Path("taken.txt").read_text() == "abc")
        assert app.draft_screen.file.path == Path("taken.txt")

    play(model, None, script)


@pytest.mark.parametrize(
    "error", [OSError(36, "File name too long"), PermissionError(13, "Permission denied"), ValueError("no name")]
)
def test_a_name_that_cannot_be_looked_up_is_asked_for_again(
    model: Model, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> bool:
        raise error

    async def script(app: Writer, pilot: Pilot[bool]) -> None:
        await pilot.press("x", "ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, Question))
        app.screen.query_one(Input).value = "name"
        with monkeypatch.context() as patch:
            patch.setattr(Path, "is_dir", fail)
            await pilot.press("enter")
            await pilot.pause()
        reason = getattr(error, "strerror", None) or str(error)
        await until(pilot, lambda: f"cannot be used: {reason}" in screen(app))

    play(model, None, script)


def test_a_draft_that_changed_on_disk_is_not_replaced_unasked(model: Model, path: Path) -> None:
    async def script(app: Writer, pilot: Pilot[bool]) -> None:
        path.write_text("somebody else's")
        await pilot.press("x", "ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, Choice))
        assert "has changed on disk" in screen(app)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.draft_screen)
        assert path.read_text() == "somebody else's"
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, Choice))
        await pilot.press("o")
        await until(pilot, lambda: path.read_text() == TEXT + "x")

    play(model, path, script)


def test_leaving_asks_if_something_is_not_saved(model: Model, path: Path) -> None:
    async def script(app: Writer, pilot: Pilot[bool]) -> None:
        for key in ("ctrl+q", "ctrl+c"):
            await pilot.press("x", key)
            await until(pilot, lambda: isinstance(app.screen, Choice))
            assert "not saved" in screen(app)
            await pilot.press("ctrl+q")
            await pilot.press("y", "escape")
            await until(pilot, lambda: app.screen is app.draft_screen)
            assert app.is_running
        await pilot.press("f1")
        await until(pilot, lambda: isinstance(app.screen, Help))
        await pilot.press("ctrl+q")
        await until(pilot, lambda: isinstance(app.screen, Choice))
        await pilot.press("s")
        await pilot.pause()

    app = play(model, path, script)
    assert app.return_value is True
    assert path.read_text() == TEXT + "xx"


def test_what_is_discarded_is_not_saved(model: Model, path: Path) -> None:
    async def script(app: Writer, pilot: Pilot[bool]) -> None:
        await pilot.press("x", "ctrl+q")
        await until(pilot, lambda: isinstance(app.screen, Choice))
        await pilot.press("d")
        await pilot.pause()

    assert play(model, path, script).return_value is True
    assert path.read_text() == TEXT


def test_ctrl_c_copies_what_is_selected(model: Model, path: Path) -> None:
    async def script(app: Writer, pilot: Pilot[bool]) -> None:
        await pilot.press("shift+left", "shift+left", "ctrl+c", "end", "ctrl+v")
        await until(pilot, lambda: app.draft_screen.editor.draft == TEXT + TEXT[-2:])
        assert app.screen is app.draft_screen

    play(model, path, script)


def test_what_is_copied_has_the_authors_own_characters(model: Model, path: Path) -> None:
    path.write_text("a\u2028\x1b", encoding="utf-8")

    async def script(app: Writer, pilot: Pilot[bool]) -> None:
        for key in ("ctrl+c", "ctrl+x"):
            await pilot.press("end", "shift+left", "shift+left", key)
            await until(pilot, lambda: app.clipboard == "\u2028\x1b")
            await pilot.press("end", "ctrl+v")
        await until(pilot, lambda: app.draft_screen.editor.draft == "a" + "\u2028\x1b" * 2)

    play(model, path, script)


def test_only_the_search_that_was_asked_for_last_counts(model: Model, path: Path) -> None:
    async def script(app: Writer, pilot: Pilot[bool]) -> None:
        draft_screen = app.draft_screen
        jobs: list[Job] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(draft_screen.worker, "submit", jobs.append)
            await pilot.press("tab", "x", "tab")
        await until(pilot, lambda: len([job for job in jobs if job.kind == "offers"]) == 2 and draft_screen.is_looking)
        first, second = (job for job in jobs if job.kind == "offers")
        first.done(first.work(first))
        draft_screen._say_later(first, "of the first")
        draft_screen._say_later(Job("notes", lambda job: None, lambda result: None), "of the notes")
        await until(pilot, lambda: "of the notes" in screen(app))
        assert draft_screen.is_looking and not draft_screen.offered
        second.done(second.work(second))
        await until(pilot, lambda: draft_screen.offered == model.continuations(TEXT + "x", seed=3))

    play(model, path, script)


def test_a_search_says_how_far_it_has_read_and_that_it_found_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs: list[Job] = []
    messages: list[str | None] = []

    class Assistant:
        def continue_text(self, text: str, options: Any, *, on_read: Callable[[int], object], on_step: Any) -> Any:
            for _ in range(5):
                on_read(1_000)
            on_step()
            return SimpleNamespace(take=lambda count: [])

    model: Any = SimpleNamespace(name="tiny")
    monkeypatch.setattr("charrnn.apps.write.offers.assistant_of", lambda model: Assistant())
    worker: Any = SimpleNamespace(submit=jobs.append, cancel=lambda kind: None)
    search = OfferSearch(model, worker, "offers", lambda call, *arguments: call(*arguments), messages.append)
    search.look("x" * 5_000, Settings("line"))
    (job,) = jobs
    assert search.is_looking and messages == ["looking for continuations ..."]
    job.done(job.work(job))
    none = "tiny has no other continuation to the end of a line"
    assert not search.is_looking and messages[1:] == ["reading the draft: 4,000 of 5,000 characters", none]
    # A search that was dismissed, or replaced by another, says nothing any more.
    search.look("y", Settings())
    search.dismiss()
    search.give_up(jobs[1], "too late")
    jobs[1].done(jobs[1].work(jobs[1]))
    assert messages[3:] == ["looking for continuations ...", ""]
    search.look("z", Settings())
    jobs[2].is_stopped = True
    with pytest.raises(Stopped):
        jobs[2].work(jobs[2])
    search.give_up(jobs[2], "out of luck")
    assert messages[-1] == "out of luck" and not search.is_looking


@pytest.mark.parametrize("colour", ["surprise", (0, 3)])
def test_the_draft_is_coloured(model: Model, path: Path, colour: Any) -> None:
    from charrnn.views.heatmap import MAX_BITS
    from charrnn.views.theme import palette_of

    def colours(app: Writer) -> list[Any]:
        line = app.draft_screen.editor.get_line(0)
        found: list[Any] = [None] * len(line)
        for span in line.spans:
            found[span.start] = span.style
        return found

    async def script(app: Writer, pilot: Pilot[bool]) -> None:
        palette, text = palette_of(app.console), TEXT + "s"
        await until(pilot, lambda: any(colours(app)))
        await pilot.press("s")
        if isinstance(colour, tuple):
            styles = [palette.value(value) for value in assistant_of(model).cell_values(text, colour, 0, len(text))]
        else:
            bits = assistant_of(model).surprise(text, 0, len(text)) / MAX_BITS
            styles = [palette.surprise(value) for value in bits]
        await until(pilot, lambda: colours(app) == [style or None for style in styles])
        while app.draft_screen.settings.colour is not None:
            await pilot.press("f4")
            await pilot.pause()
        assert not any(colours(app))

    play(model, path, script, colour=colour)


def test_a_long_path_leaves_room_for_the_mark_of_changes(model: Model, path: Path) -> None:
    folder = path.parent / ("folder-" * 20)
    folder.mkdir()
    (folder / "draft.txt").write_text(TEXT)

    async def script(app: Writer, pilot: Pilot[bool]) -> None:
        assert screen(app).startswith("draft.txt  lstm-001 ")
        await pilot.press("x")
        await until(pilot, lambda: screen(app).startswith("* draft.txt  lstm-001 "))

    play(model, folder / "draft.txt", script)


def test_typing_does_not_wait_for_the_model(model: Model, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, is_waiting, is_over = threading.Event(), threading.Event(), threading.Event()
    take = charrnn.apps.write.continuations.Continuations.take  # type: ignore[attr-defined]

    def wait(self: Any, count: int) -> Any:
        is_waiting.set()
        assert go_on.wait(600)
        return take(self, count)

    monkeypatch.setattr("charrnn.apps.write.continuations.Continuations.take", wait)

    async def script(app: Writer, pilot: Pilot[bool]) -> None:
        await pilot.press("tab")
        await until(pilot, is_waiting.is_set)
        assert "looking for continuations" in screen(app)
        await pilot.press("a", "b")
        await until(pilot, lambda: app.draft_screen.editor.draft == TEXT + "ab")
        # Done after the search has ended, and after what that has shown, if anything.
        app.draft_screen.worker.submit(Job("colours", lambda job: None, lambda result: app.call_later(is_over.set)))
        go_on.set()
        await until(pilot, is_over.is_set)
        assert not app.draft_screen.offered, "they belong to another text"
        await pilot.press("tab")
        await until(pilot, lambda: len(app.draft_screen.offered) == 5)

    play(model, path, script)


def test_what_a_terminal_would_interpret_is_shown_as_marks(model: Model, path: Path) -> None:
    hostile = "\x1b[2J\x07 \u202eback \u2028 \x9b2J\x0c end"
    path.write_text(hostile, encoding="utf-8")

    async def script(app: Writer, pilot: Pilot[bool]) -> None:
        assert "␛[2J" in screen(app)
        assert not set("\x1b\x07\u202e\u2028\x9b\x0c") & set(screen(app))
        await pilot.press("x")
        await until(pilot, lambda: app.draft_screen.editor.draft == hostile + "x")

    play(model, path, script)


def test_characters_are_hidden_and_revealed() -> None:
    text = "".join(map(chr, range(0x300))) + "\u2028\u202e\ufeff語\ud800\udfff"
    assert reveal(hide(text)) == text and len(hide(text)) == len(marks(hide(text))) == len(text)
    assert hide_pasted("a\r\nb\rc\u2028d\U00100041") == "a\nb\nc\nd\ufffd"
    with pytest.raises(DataError, match=r"U\+100041"):
        hide("\U00100041")


def test_notes_name_what_is_read_as_something_else(model: Model) -> None:
    notes = describe_reading(assistant_of(model).read("\u00a0\u00a0語"), "lstm-001")
    assert notes == ["lstm-001 does not know 3 characters: no-break space is read as space (2), 語 stays unknown (1)"]
    assert describe_reading(assistant_of(model).read("plain"), "lstm-001") == []


@pytest.mark.parametrize(
    ("text", "shown"), [(" two\nlines ", "␣two↵lines␣"), (" ", "␣"), ("\x1b", "␛"), ("  x", "␣␣x")]
)
def test_how_a_continuation_is_shown(text: str, shown: str) -> None:
    assert shown_continuation(Continuation(text=text, logprobs=(-1.0,), how="diverse")) == shown
    assert shown_continuation(Continuation(text=text, logprobs=(), how="sample", is_complete=False)) == shown + "…"


def test_the_worker_prefers_what_is_urgent() -> None:
    done: list[str] = []
    is_running, go_on, are_done = threading.Event(), threading.Event(), threading.Event()

    def slow(job: Job) -> str:
        is_running.set()
        assert go_on.wait(600)
        job.check()
        return "slow"

    def take(result: str) -> None:
        done.append(result)
        if len(done) == 2:
            are_done.set()

    worker = Worker(("urgent", "slow"), lambda job, message: None, lambda error: None)
    worker.start()
    worker.submit(Job("slow", slow, take))
    assert is_running.wait(600)
    worker.submit(Job("slow", lambda job: "replaced", take))
    worker.submit(Job("urgent", lambda job: "urgent", take))
    go_on.set()
    assert are_done.wait(600)
    worker.close()
    assert done == ["urgent", "replaced"]


def test_an_error_of_a_job_is_shown_and_another_one_ends_the_editor(
    model: Model, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failure: Exception = UsageError("no such luck")

    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr("charrnn.apps.write.assistant.DraftAssistant.continue_text", fail)

    async def script(app: Writer, pilot: Pilot[bool]) -> None:
        nonlocal failure
        await pilot.press("tab")
        await until(pilot, lambda: "no such luck" in screen(app))
        assert not app.draft_screen.is_looking
        failure = ZeroDivisionError("a bug")
        await pilot.press("x", "tab")
        await until(pilot, lambda: app._exit)

    with pytest.raises(ZeroDivisionError):
        play(model, path, script)


def status(app: Writer) -> str:
    """The whole status message, also what does not fit on the screen."""
    return str(app.draft_screen.query_one(StatusLine).render())


def said(app: Writer) -> str:
    return " ".join(screen(app).split())


def test_no_line_becomes_too_long(model: Model, path: Path) -> None:
    path.write_text(("a" * 49_999 + "\n") * 2, encoding="utf-8")

    async def script(app: Writer, pilot: Pilot[bool]) -> None:
        editor = app.draft_screen.editor
        text = editor.draft + "b"
        editor.move_cursor((2, 0))
        await pilot.press("b")
        editor.move_cursor((1, 0))
        await pilot.press("backspace")
        await until(pilot, lambda: "a line would have 99,998 characters; at most 50,000" in said(app))
        await pilot.press("b", "b")
        await until(pilot, lambda: "a line would have 50,001 characters" in said(app))
        app.copy_to_clipboard("cc")
        await pilot.press("ctrl+v")
        await until(pilot, lambda: "a line would have 50,002 characters" in said(app))
        assert len(editor.draft) == len(text) + 1
        await pilot.press("enter")
        await until(pilot, lambda: editor.document.line_count == 4)

    play(model, path, script)


def test_a_long_line_has_no_colours(model: Model, path: Path) -> None:
    path.write_text("a" * 4_001 + "\n" + "a" * 4_000, encoding="utf-8")

    async def script(app: Writer, pilot: Pilot[bool]) -> None:
        app.draft_screen.editor.show_styles({row: [Style(bold=True)] * 4_001 for row in (0, 1)})
        assert [len(app.draft_screen.editor.get_line(row).spans) for row in (0, 1)] == [0, 4_000]

    play(model, path, script)


def test_the_picture_of_the_documentation_shows_five_continuations(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(__file__).parents[1] / "docs"
    monkeypatch.syspath_prepend(folder)
    script = runpy.run_path(str(folder / "make_write_picture.py"))
    for picture in (script["draw"](model), script["FILE"].read_text(encoding="utf-8")):
        words = re.sub("<[^>]*>", "", picture)
        assert "chapter-1.txt" in words and "beam" in words and "T 0.8" in words and "1-5 insert" in words
        assert len(picture.encode()) < 60_000
        assert re.findall("https?://[^\"' ]*", picture) == ["http://www.w3.org/2000/svg"]


# The command.


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Writer]:
    """The editors that the command opens, which are left at once."""

    found: list[Writer] = []

    def run(self: Writer) -> bool:
        found.append(self)
        return True

    monkeypatch.setattr("charrnn.cli.streams.fills_terminal", lambda: True)
    monkeypatch.setattr(Writer, "run", run)
    return found


def test_the_command_opens_the_draft(command: Command, lab: Path, path: Path, opened: list[Writer]) -> None:
    ran = command("write", path, "--temp", 0.5, "--seed", 7, "--until", "line", "--color", "0:3")
    assert (ran.code, ran.out) == (0, "")
    settings = opened[0].draft_screen.settings
    assert (settings.until, settings.temperature, settings.seed, settings.colour) == ("line", 0.5, 7, (0, 3))
    assert opened[0].draft_screen.file.draft.text == TEXT
    assert command("write", "--run", lab).code == 0
    assert opened[1].draft_screen.file.path is None


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--color", "0:99"), 2, "units from 0 to 31"),
        (("--color", "red"), 2, "it must be surprise or a cell"),
        (("--until", "page"), 2, "--until is 'page'; it must be word, line or sentence"),
        (("--temp", "-1"), 2, "--temp is -1.0"),
        (("--seed", "-1"), 2, "--seed"),
        (("--run", "nosuch"), 4, "'nosuch'"),
        ((".",), 3, "is a folder: give a text file"),
        (("binary.txt",), 3, "byte 1 is NUL. Give a text file"),
        (("latin.txt",), 3, "iconv"),
        (("no/such/folder.txt",), 3, "does not exist: create it"),
        (("private.txt",), 3, "leave such characters out"),
    ],
)
def test_what_cannot_be_used(
    command: Command,
    lab: Path,
    tmp_path: Path,
    opened: list[Writer],
    arguments: tuple[object, ...],
    code: int,
    message: str,
) -> None:
    (tmp_path / "binary.txt").write_bytes(b"a\0b")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    (tmp_path / "private.txt").write_text("\U00100041", encoding="utf-8")
    ran = command("write", *arguments)
    assert (ran.code, ran.out, opened) == (code, "", [])
    assert message in ran.err and len(ran.err.splitlines()) <= 3


def test_without_a_run_it_says_so(command: Command, opened: list[Writer]) -> None:
    ran = command("write")
    assert ran.code == 4 and "charrnn train" in ran.err


def test_off_a_terminal_it_says_so(command: Command) -> None:
    ran = command("write")
    assert (ran.code, ran.out) == (2, "")
    assert "fills a terminal" in ran.err and "charrnn sample --prime-file DRAFT" in ran.err


def test_without_textual_it_says_how_to_get_it(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charrnn.cli.streams.find_spec", lambda name: None)
    ran = command("write")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.endswith("pip install -c constraints.txt -e '.[tui]'\n")


def test_help_needs_neither_torch_nor_textual(process: Callable[..., Any]) -> None:
    code = "import sys; from charrnn.cli.app import run; run(['write', '--help']); "
    ran = process("-c", code + "print(sorted({'torch', 'textual', 'numpy'} & set(sys.modules)))")
    assert ran.returncode == 0
    assert ran.stdout.decode().endswith("[]\n")


def test_the_editor_opens_without_torch(process: Callable[..., Any]) -> None:
    code = "import sys, charrnn.apps.write.screen; print('textual' in sys.modules, 'torch' in sys.modules)"
    assert process("-c", code, PYTHONPATH=os.pathsep.join(sys.path)).stdout == b"True False\n"
