"""`charrnn write`: driven by its keys, and looked at."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import Ran, TrainedRun

import charrnn
from charrnn.api import Model

pytest.importorskip("textual", reason="the extra `tui` is not installed")

from exploring import answer, play_writer, screen, until
from rich.style import Style

from charrnn.apps.full_screen import Choice, Help
from charrnn.apps.write.assistant import assistant_of
from charrnn.apps.write.continuations import Continuation, Continuations
from charrnn.apps.write.drafts import describe_reading, parse_path, shown_continuation
from charrnn.apps.write.editor import hide, hide_pasted, marks, reveal
from charrnn.apps.write.screen import Writer
from charrnn.errors import DataError, UsageError
from charrnn.views.heatmap import MAX_BITS
from charrnn.views.theme import palette_of

if TYPE_CHECKING:
    from textual.pilot import Pilot

Command = Callable[..., Ran]
TEXT = "the lamp is lit. the door"


@pytest.fixture(scope="module")
def model(lstm: TrainedRun) -> Model:
    return charrnn.load(lstm.path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "draft.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


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

    play_writer(model, path, script)
    assert path.read_text(encoding="utf-8") == TEXT, "nothing is saved unasked"


def test_tab_offers_five_others_and_continues_at_the_cursor(model: Model, path: Path) -> None:
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
        await pilot.press("home", "right", "right", "right", "tab")
        await until(pilot, lambda: len(draft_screen.offered) == 5)
        assert draft_screen.offered == model.continuations("the", seed=3)
        chosen = draft_screen.offered[0].text
        await pilot.press("1")
        await until(pilot, lambda: draft_screen.editor.draft == "the" + chosen + TEXT[3:] + "x")

    play_writer(model, path, script)


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

    play_writer(model, path, script)


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

    app = play_writer(model, path, script)
    assert path.read_bytes() == data[:-2] + b"x\r\n", "typed before the last line end"
    assert app.return_value is True


def test_a_new_draft_is_saved_under_the_name_that_is_asked_for(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("taken.txt").write_text("taken")

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

    play_writer(model, None, script)


def test_a_name_that_cannot_be_looked_up_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> bool:
        raise OSError(36, "File name too long")

    with monkeypatch.context() as patch, pytest.raises(UsageError, match="cannot be used: File name too long"):
        patch.setattr(Path, "is_dir", fail)
        parse_path("name")


def test_a_draft_that_changed_on_disk_is_not_replaced_unasked(model: Model, path: Path) -> None:
    async def script(app: Writer, pilot: Pilot[bool]) -> None:
        path.write_text("somebody else's")
        await pilot.press("x", "ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, Choice))
        assert "has changed on disk" in screen(app)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.draft_screen)

    play_writer(model, path, script)
    assert path.read_text() == "somebody else's"


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

    app = play_writer(model, path, script)
    assert app.return_value is True
    assert path.read_text() == TEXT + "xx"


def test_what_is_discarded_is_not_saved(model: Model, path: Path) -> None:
    async def script(app: Writer, pilot: Pilot[bool]) -> None:
        await pilot.press("x", "ctrl+q")
        await until(pilot, lambda: isinstance(app.screen, Choice))
        await pilot.press("d")
        await pilot.pause()

    assert play_writer(model, path, script).return_value is True
    assert path.read_text() == TEXT


def test_what_is_copied_has_the_authors_own_characters(model: Model, path: Path) -> None:
    path.write_text("a\u2028\x1b", encoding="utf-8")

    async def script(app: Writer, pilot: Pilot[bool]) -> None:
        for key in ("ctrl+c", "ctrl+x"):
            await pilot.press("end", "shift+left", "shift+left", key)
            await until(pilot, lambda: app.clipboard == "\u2028\x1b")
            await pilot.press("end", "ctrl+v")
        await until(pilot, lambda: app.draft_screen.editor.draft == "a" + "\u2028\x1b" * 2)
        assert app.screen is app.draft_screen

    play_writer(model, path, script)


@pytest.mark.parametrize("colour", ["surprise", (0, 3)])
def test_the_draft_is_coloured(model: Model, path: Path, colour: Any) -> None:
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

    play_writer(model, path, script, colour=colour)


def test_a_long_path_leaves_room_for_the_mark_of_changes(model: Model, path: Path) -> None:
    folder = path.parent / ("folder-" * 20)
    folder.mkdir()
    (folder / "draft.txt").write_text(TEXT)

    async def script(app: Writer, pilot: Pilot[bool]) -> None:
        assert screen(app).startswith("draft.txt  lstm-001 ")
        await pilot.press("x")
        await until(pilot, lambda: screen(app).startswith("* draft.txt  lstm-001 "))

    play_writer(model, folder / "draft.txt", script)


def test_typing_does_not_wait_for_the_model(model: Model, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, is_waiting, is_over = threading.Event(), threading.Event(), threading.Event()
    take = Continuations.take

    def wait(self: Any, **options: Any) -> Any:
        is_waiting.set()
        assert go_on.wait(600)
        return take(self, **options)

    monkeypatch.setattr(Continuations, "take", wait)

    async def script(app: Writer, pilot: Pilot[bool]) -> None:
        await pilot.press("tab")
        await until(pilot, is_waiting.is_set)
        assert "looking for continuations" in screen(app)
        await pilot.press("a", "b")
        await until(pilot, lambda: app.draft_screen.editor.draft == TEXT + "ab")
        # Done after the search has ended, and after what that has shown, if anything.
        app.work.start("after it", lambda job: job.show(is_over.set))
        go_on.set()
        await until(pilot, is_over.is_set)
        assert not app.draft_screen.offered, "they belong to another text"
        await pilot.press("tab")
        await until(pilot, lambda: len(app.draft_screen.offered) == 5)

    play_writer(model, path, script)


def test_what_a_terminal_would_interpret_is_shown_as_marks(model: Model, path: Path) -> None:
    hostile = "\x1b[2J\x07 \u202eback \u2028 \x9b2J\x0c end"
    path.write_text(hostile, encoding="utf-8")

    async def script(app: Writer, pilot: Pilot[bool]) -> None:
        assert "␛[2J" in screen(app)
        assert not set("\x1b\x07\u202e\u2028\x9b\x0c") & set(screen(app))
        await pilot.press("x")
        await until(pilot, lambda: app.draft_screen.editor.draft == hostile + "x")

    play_writer(model, path, script)


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


def test_an_error_of_a_job_is_shown_and_another_one_ends_the_editor(
    model: Model, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failure: Exception = UsageError("no such luck")

    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(Continuations, "take", fail)

    async def script(app: Writer, pilot: Pilot[bool]) -> None:
        nonlocal failure
        await pilot.press("tab")
        await until(pilot, lambda: "no such luck" in screen(app))
        assert not app.draft_screen.is_looking
        with monkeypatch.context() as patch:
            patch.setattr(Continuations, "take", lambda self, **options: [])
            await pilot.press("x", "tab")
            await until(pilot, lambda: "lstm-001 has no other continuation to the end of a word" in screen(app))
        failure = ZeroDivisionError("a bug")
        await pilot.press("x", "tab")
        await until(pilot, lambda: app._exit)

    with pytest.raises(ZeroDivisionError):
        play_writer(model, path, script)


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

    play_writer(model, path, script)


def test_a_long_line_has_no_colours(model: Model, path: Path) -> None:
    path.write_text("a" * 4_001 + "\n" + "a" * 4_000, encoding="utf-8")

    async def script(app: Writer, pilot: Pilot[bool]) -> None:
        app.draft_screen.editor.show_styles({row: [Style(bold=True)] * 4_001 for row in (0, 1)})
        assert [len(app.draft_screen.editor.get_line(row).spans) for row in (0, 1)] == [0, 4_000]

    play_writer(model, path, script)


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
    assert opened[0].draft_screen.file.text == TEXT
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
