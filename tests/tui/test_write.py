"""`charrnn write`: driven by its keys, and looked at; the file of a draft, of which nothing is
lost."""

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from built_runs import build_chain
from exploring import (
    answer,
    check_input,
    illegible,
    look,
    look_at_help,
    play_writer,
    screen,
    until,
    use_light_terminal,
)
from known_weights import CYCLE, chain_text
from textual import events

from charrnn.errors import CharRNNError, CheckpointError, DataError, UsageError
from charrnn.generation.continuations import Continuation, Continuations, continue_text
from charrnn.plugins.tui.full_screen import Help, KeyQuestion, Question
from charrnn.plugins.tui.write import drafts
from charrnn.plugins.tui.write.drafts import (
    MAX_DRAFT_BYTES,
    ChangedOnDiskError,
    Draft,
    read_draft,
    shown_continuation,
)
from charrnn.plugins.tui.write.screen import KEYS, Writer, hide, hide_pasted, reveal

TEXT = "the lamp is lit. the door"


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "draft.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


async def until_offered(app, pilot, expected=None):
    """Wait for these continuations, or for any five; return them."""
    screen_of_draft = app.draft_screen
    if expected is None:
        await until(pilot, lambda: len(screen_of_draft.offered) == 5)
    else:
        await until(pilot, lambda: screen_of_draft.offered == expected)
    return list(screen_of_draft.offered)


async def until_draft(app, pilot, expected):
    await until(pilot, lambda: app.draft_screen.editor.draft == expected)


def test_tab_offers_five_continuations(model, path):
    expected = model.continuations(TEXT, seed=3)

    async def script(app, pilot):
        await pilot.press("tab")
        await until_offered(app, pilot, expected)
        for one in expected:
            assert shown_continuation(one) in screen(app)
            assert f"{one.nats_per_char:.2f}" in screen(app)
        assert app.draft_screen.editor.draft == TEXT, "nothing is inserted unasked"

    play_writer(model, path, script)
    assert path.read_text(encoding="utf-8") == TEXT, "nothing is saved unasked"


def test_tab_once_more_offers_five_others(model, path):
    expected = model.continuations(TEXT, seed=3)

    async def script(app, pilot):
        await pilot.press("tab")
        await until_offered(app, pilot, expected)
        await pilot.press("tab")
        await until(pilot, lambda: app.draft_screen.offered != expected)
        others = await until_offered(app, pilot)
        assert not {one.text for one in expected} & {one.text for one in others}
        await pilot.press("escape", "tab")
        await until_offered(app, pilot, expected)

    play_writer(model, path, script)


def test_a_digit_inserts_a_continuation_and_ctrl_z_takes_it_out(model, path):
    expected = model.continuations(TEXT, seed=3)
    taken = TEXT + expected[2].text

    async def script(app, pilot):
        await pilot.press("tab")
        await until_offered(app, pilot, expected)
        await pilot.press("3")
        await until_draft(app, pilot, taken)
        assert not app.draft_screen.offered
        await pilot.press("ctrl+z")
        await until_draft(app, pilot, TEXT)
        await pilot.press("ctrl+y", "3")
        await until_draft(app, pilot, taken + "3")

    play_writer(model, path, script)


@pytest.mark.parametrize("size", [(80, 24), (60, 40), (30, 12)])
def test_what_is_inserted_is_what_is_shown_and_ends_after_a_word(model, path, monkeypatch, size):
    words = " ".join(f"word{number}" for number in range(30))
    long = Continuation(text=f" {words} x", logprobs=(-1.0,) * 200)
    monkeypatch.setattr(Continuations, "take", lambda self, **options: [long] * 5)

    async def script(app, pilot):
        await pilot.press("tab")
        await until(pilot, lambda: "…" in screen(app))
        shown = " ".join(screen(app).partition("beam")[2].partition("beam")[0].split())
        await pilot.press("1")
        await until(pilot, lambda: app.draft_screen.editor.draft != TEXT)
        inserted = app.draft_screen.editor.draft.removeprefix(TEXT)
        assert f"␣{inserted.strip()}…" in shown
        assert f"{words} ".startswith(f"{inserted.strip()} ")

    play_writer(model, path, script, size=size)


def test_continuations_are_those_of_the_place_of_the_cursor_and_the_settings(model, path):
    async def script(app, pilot):
        await pilot.press("home", "right", "right", "right", "tab")
        await until_offered(app, pilot, model.continuations("the", seed=3))
        # While continuations are shown, they are replaced by those of the new settings.
        await pilot.press("f3")
        offered = await until_offered(app, pilot, model.continuations("the", until="line", seed=3))
        await pilot.press("1")
        await until_draft(app, pilot, "the" + offered[0].text + TEXT[3:])
        for num_times, temperature in ((2, 1.2), (3, 0.8)):
            await pilot.press(*["ctrl+t"] * num_times)
            shown = f"line  temperature {temperature}"
            await until(pilot, lambda shown=shown: shown in screen(app))

    play_writer(model, path, script)


AUTHORS_TEXT = b"\xef\xbb\xbf" + "“The lamp\u00a0is lit—”\r\nthe\u2028door\r\n".encode()


def test_ctrl_s_saves_the_authors_own_characters(model, path):
    path.write_bytes(AUTHORS_TEXT)

    async def script(app, pilot):
        await pilot.press("x")
        await until(pilot, lambda: screen(app).startswith("* draft.txt  lstm-001 "))
        assert path.read_bytes() == AUTHORS_TEXT
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "saved" in screen(app))
        assert screen(app).startswith("draft.txt  lstm-001 ")
        await pilot.press("ctrl+q")
        await pilot.pause()

    assert play_writer(model, path, script).return_value is True
    assert path.read_bytes() == AUTHORS_TEXT[:-2] + b"x\r\n", "typed before the last line end"


def test_a_note_says_what_the_model_reads_as_something_else(model, path):
    path.write_bytes(AUTHORS_TEXT)

    async def script(app, pilot):
        await until(pilot, lambda: bool(app.draft_screen.note))
        assert "“ (read as" in app.draft_screen.note
        assert app.draft_screen.note.startswith("not in the vocabulary of lstm-001: ")

    play_writer(model, path, script)


def test_a_new_draft_gets_the_name_asked_for(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    taken = Path("taken.txt")
    taken.write_text("taken")

    async def script(app, pilot):
        await pilot.press(*"abc", "ctrl+s")
        await answer(app, pilot, "~nosuchuser/x")
        assert "That name cannot be used" in screen(app)
        await answer(app, pilot, "taken.txt")
        await until(pilot, lambda: isinstance(app.screen, KeyQuestion))
        assert "exists already" in screen(app)
        assert taken.read_text() == "taken"
        await pilot.press("escape", "ctrl+s")
        await answer(app, pilot, "new.txt")
        await until(
            pilot, lambda: Path("new.txt").exists() and Path("new.txt").read_text() == "abc"
        )
        await pilot.press("f5")
        await answer(app, pilot, "missing/new.txt")
        await until(
            pilot,
            lambda: "not saved: cannot write missing/new.txt" in " ".join(screen(app).split()),
        )
        await pilot.press("f5")
        await answer(app, pilot, "taken.txt")
        await until(pilot, lambda: isinstance(app.screen, KeyQuestion))
        await pilot.press("o")
        await until(pilot, lambda: taken.read_text() == "abc")
        assert app.draft_screen.file.path == taken

    play_writer(model, None, script)


def test_keys_that_arrive_together_are_obeyed_in_their_order(model, tmp_path):
    async def script(app, pilot):
        editor = app.draft_screen.editor
        for key in ("a", "b", "backspace", "ctrl+s", "c", "tab", "d", "left", "e", "ctrl+q"):
            app.post_message(events.Key(key, key if len(key) == 1 else None))
        await until(pilot, lambda: isinstance(app.screen, KeyQuestion))
        assert editor.draft == "aced"
        assert (tmp_path / "new.txt").read_text() == "a", "and it asks before it quits"

    play_writer(model, tmp_path / "new.txt", script)


def test_leaving_asks_if_something_is_not_saved(model, path):
    async def script(app, pilot):
        for key in ("ctrl+q", "ctrl+c"):
            await pilot.press("x", key)
            await until(pilot, lambda: isinstance(app.screen, KeyQuestion))
            assert "not saved" in screen(app)
            await pilot.press("ctrl+q", "y", "escape")
            await until(pilot, lambda: app.screen is app.draft_screen)
        await pilot.press("f1")
        await until(pilot, lambda: isinstance(app.screen, Help))
        await pilot.press("ctrl+q")
        await until(pilot, lambda: isinstance(app.screen, KeyQuestion))
        await pilot.press("s")
        await pilot.pause()

    app = play_writer(model, path, script)
    assert app.return_value is True
    assert path.read_text() == TEXT + "xx"


def test_hostile_characters_are_boxes_on_the_screen_and_themselves_when_copied(model, path):
    hostile = "\x1b[2J\x07 \u202eback \x9b2J\x0c a\u2028\x1b"
    path.write_text(hostile, encoding="utf-8")

    async def script(app, pilot):
        assert "\U0010001b[2J" in screen(app)
        assert not set("\x1b\x07\u202e\u2028\x9b\x0c") & set(screen(app))
        for key in ("ctrl+c", "ctrl+x"):
            await pilot.press("end", "shift+left", "shift+left", key)
            await until(pilot, lambda: app.clipboard == "\u2028\x1b")
            await pilot.press("end", "ctrl+v")
        await until(pilot, lambda: app.draft_screen.editor.draft == hostile + "\u2028\x1b")
        await pilot.press("ctrl+q")
        await until(pilot, lambda: isinstance(app.screen, KeyQuestion))
        await pilot.press("d")
        await pilot.pause()

    assert play_writer(model, path, script).return_value is True
    assert path.read_text(encoding="utf-8") == hostile, "what is discarded is not saved"


def test_typing_does_not_wait_for_the_model(model, path, monkeypatch):
    go_on, is_waiting, is_over = threading.Event(), threading.Event(), threading.Event()
    take = Continuations.take

    def wait(self, **options):
        is_waiting.set()
        assert go_on.wait(600)
        return take(self, **options)

    monkeypatch.setattr(Continuations, "take", wait)

    async def script(app, pilot):
        def read(*arguments, **options):
            app.call_from_thread(app.draft_screen.say, "what reading says")
            return continue_text(*arguments, **options)

        monkeypatch.setattr("charrnn.generation.continuations.continue_text", read)
        await pilot.press("tab")
        await until(pilot, is_waiting.is_set)
        assert "looking for continuations" in screen(app)
        await pilot.press("escape")
        assert "looking for continuations" not in screen(app)
        await pilot.press("tab", "a", "b")
        await until(pilot, lambda: app.draft_screen.editor.draft == TEXT + "ab")
        # Done after the search has ended, and after what that has shown, if anything.
        app.work.start("after it", lambda job: job.show(is_over.set))
        go_on.set()
        await until(pilot, is_over.is_set)
        assert not app.draft_screen.offered, "they belong to another text"
        await pilot.press("tab")
        await until(pilot, lambda: len(app.draft_screen.offered) == 5)
        app.draft_screen.editor.move_cursor((0, 0))
        await until(pilot, lambda: not app.draft_screen.offered)

    play_writer(model, path, script)


def test_an_error_is_shown_if_a_user_can_correct_it(model, path, monkeypatch):
    failure = CheckpointError("no such luck")

    def fail(*_, **__):
        raise failure

    async def script(app, pilot):
        nonlocal failure
        await pilot.press("x", "tab")
        await until(pilot, lambda: "no such luck" in screen(app))
        assert not app.draft_screen.is_looking
        assert app.draft_screen.editor.draft == TEXT + "x"
        failure = ZeroDivisionError("a bug")
        await pilot.press("x", "tab")
        await until(pilot, lambda: app._exit)

    monkeypatch.setattr(Continuations, "take", fail)
    with pytest.raises(ZeroDivisionError):
        play_writer(model, path, script)


def test_no_line_becomes_too_long(model, path, monkeypatch):
    monkeypatch.setattr("charrnn.plugins.tui.write.drafts.MAX_LINE_CHARS", 50)
    path.write_text(("a" * 49 + "\n") * 2 + "a" * 40, encoding="utf-8")

    async def script(app, pilot):
        editor = app.draft_screen.editor
        length = len(editor.draft)
        editor.move_cursor((1, 0))
        app.copy_to_clipboard("cc")
        for keys, num_chars in ((("backspace",), 98), (("b", "b"), 51), (("ctrl+v",), 52)):
            await pilot.press(*keys)
            said = f"a line would have {num_chars} characters; at most 50"
            await until(pilot, lambda said=said: said in " ".join(screen(app).split()))
        assert len(editor.draft) == length + 1
        await pilot.press("enter")
        await until(pilot, lambda: editor.document.line_count == 4)

    play_writer(model, path, script)


def test_screens_are_legible_and_help_has_every_key(model, path, monkeypatch):
    use_light_terminal(monkeypatch)

    async def script(app, pilot):
        await pilot.press("tab")
        await until(pilot, lambda: len(app.draft_screen.offered) == 5)
        await pilot.pause()
        assert "beam" in screen(app)
        assert illegible(app) == []
        await pilot.press("escape", "shift+left", "shift+left")
        await pilot.pause()
        assert illegible(app) == []
        await pilot.press("x", "ctrl+q")
        await look(app, pilot, KeyQuestion)
        await pilot.press("escape", "f5")
        await look(app, pilot, Question)
        await check_input(app, pilot)
        await pilot.press("escape")
        await look_at_help(app, pilot, "f1", KEYS)

    play_writer(model, path, script, size=(80, 60))


def test_characters_are_hidden_and_revealed():
    text = "".join(map(chr, range(0x300))) + "\u2028\u202e\ufeff語\ud800\udfff"
    assert reveal(hide(text)) == text
    assert len(hide(text)) == len(text)
    assert hide_pasted("a\r\nb\rc\u2028d\U00100041") == "a\nb\nc\nd\ufffd"
    with pytest.raises(DataError, match=r"U\+100041"):
        hide("\U00100041")


def test_what_names_no_file_is_refused_and_few_substitutions_are_listed(tmp_path):
    for name, message in (
        (" ", "Write the name"),
        ("a\0b", "Write the name"),
        (str(tmp_path), "is a folder"),
    ):
        with pytest.raises(UsageError, match=message):
            drafts.parse_path(name)
    listed = drafts.describe_reading(dict.fromkeys("abcdefghijklmn", ""), "run")
    assert listed.startswith("not in the vocabulary of run: ")
    assert listed.endswith("(left out), …")
    assert listed.count("(left out)") == 12


@pytest.mark.parametrize(
    ("text", "shown"), [(" two\nlines ", "␣two↵lines␣"), (" ", "␣"), ("  \x1b", "␣␣␛")]
)
def test_how_a_continuation_is_shown(text, shown):
    whole = Continuation(text=text, logprobs=(-1.0,))
    assert shown_continuation(whole) == shown
    assert shown_continuation(replace(whole, is_complete=False)) == shown + "…"


@pytest.fixture
def opened(monkeypatch):
    """The editors that the command opens, which are left at once."""
    found = []
    monkeypatch.setattr("charrnn.plugins.tui.terminal.fills_terminal", lambda: True)
    monkeypatch.setattr(Writer, "run", lambda self: not found.append(self))
    return found


def test_the_command_opens_the_draft(command, lab, path, opened):
    ran = command("write", path, "--temp", 0.5, "--seed", 7, "--until", "line")
    assert (ran.code, ran.out) == (0, "")
    assert opened[0].draft_screen.file.text == TEXT
    options = opened[0].draft_screen.options
    assert (options.until, options.temperature, options.seed) == ("line", 0.5, 7)


def test_the_command_takes_a_run_with_a_draft_or_without(command, lab, path, opened):
    for arguments, expected in ((("--run", lab), None), ((lab, path), path)):
        assert command("write", *arguments).code == 0
        assert opened[-1].draft_screen.model.name == lab.name
        assert opened[-1].draft_screen.file.path == expected


def test_the_command_does_not_take_a_run_for_a_draft(command, lab, opened):
    ran = command("write", "prose")
    assert (ran.code, opened) == (2, [])
    assert "prose is a run, and the draft is missing. Give a draft after it, or --run" in ran.err
    assert command("write", lab, "prose").code == 0
    Path("prose").write_text(TEXT, encoding="utf-8")
    assert command("write", "prose").code == 0


def test_what_cannot_be_used(command, lab, tmp_path, opened):
    (tmp_path / "private.txt").write_text("\U00100041", encoding="utf-8")
    for arguments, code, message in (
        (("--until", "page"), 2, "--until is page; it must be one of word, line, sentence"),
        ((".",), 3, "is a folder: give a text file. A model is named by --run."),
        (("private.txt",), 3, "leave such characters out"),
    ):
        ran = command("write", *arguments)
        assert (ran.code, ran.out, opened) == (code, "", [])
        assert message in ran.err
        assert len(ran.err.splitlines()) <= 3


# The file of a draft: every character stays, and nothing of somebody else's is replaced.

MIXED = "\ufeff“Don’t—”\r\n\u00a0she\u2028said…\x0b\x0c\r\n"


@pytest.mark.parametrize(
    ("data", "newline"),
    [
        (b"", "\n"),
        (b"plain\ntext\n", "\n"),
        (MIXED.encode(), "\r\n"),
        (b"old\rmac\r", "\r"),
        (b"mixed\r\nline\nends\r\r\n", "\n"),
        ("no newline é語\U0001f642".encode(), "\n"),
        (b"\xef\xbb\xbf", "\n"),
    ],
)
def test_what_is_read_is_saved_again_byte_for_byte(path, data, newline):
    path.write_bytes(data)
    draft = read_draft(path)
    assert draft.newline == newline
    draft.save(draft.text)
    assert path.read_bytes() == data
    draft.save(draft.text + "more\n")
    assert path.read_bytes() == data + b"more" + newline.encode()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a\0b", "byte 1 is NUL"),
        (b"caf\xe9", "not UTF-8 text: .* at byte 3.*iconv"),
        (b"a" * (MAX_DRAFT_BYTES + 1), "at most 4,194,304.*chapter"),
        (b"a\n" + b"b" * 50_001 + b"\n", "line 2 has 50,001 characters; .* 50,000: .*fold -s"),
    ],
    ids=["NUL", "Latin-1", "large", "long line"],
)
def test_a_file_that_is_no_draft(path, data, message):
    path.write_bytes(data)
    with pytest.raises(DataError, match=message):
        read_draft(path)


def test_a_path_that_is_no_draft(tmp_path, path):
    names = {
        "missing/draft.txt": "does not exist: create it",
        "a\0b": "cannot read",
        "draft.txt/file": "cannot read",
    }
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        names["pipe"] = "not a regular file"
    for name, message in names.items():
        with pytest.raises(DataError, match=message):
            read_draft(tmp_path / name)


def test_a_text_that_nobody_saved_is_kept_beside_the_draft(tmp_path):
    path = tmp_path / "draft.txt"
    path.write_bytes(b"one\r\n")
    draft = read_draft(path)
    first, second = draft.rescue("one\ntwo\n"), draft.rescue("three\ud800")
    assert [first.name, second.name] == ["draft.txt.unsaved-1", "draft.txt.unsaved-2"]
    assert first.read_bytes() == b"one\r\ntwo\r\n"
    assert path.read_bytes() == b"one\r\n"
    assert os.name == "nt" or first.stat().st_mode & 0o777 == 0o600


def test_a_file_that_changed_is_not_replaced_unasked(tmp_path):
    path = tmp_path / "new.txt"
    draft = read_draft(path)
    assert (draft.text, draft.digest, path.exists()) == ("", None, False)
    draft.save("first")
    path.write_text("other")
    with pytest.raises(ChangedOnDiskError, match="has changed on disk"):
        draft.save("mine")
    with pytest.raises(ChangedOnDiskError, match="exists already"):
        Draft(tmp_path / "another.txt").save("mine", path)
    assert path.read_text() == "other"
    draft.save("mine", overwrite=True)
    path.touch()
    draft.save("mine again")
    path.unlink()
    draft.save("again")
    assert path.read_text() == "again"


def test_another_file_that_is_a_text_of_a_run_is_not_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("novel.txt").write_text(chain_text(3_000))
    build_chain(Path("run"), CYCLE, corpus=Path("novel.txt"))
    with pytest.raises(UsageError, match=r"novel\.txt is a text of the run run"):
        Draft().save("mine", Path("novel.txt"), overwrite=True)
    # Whoever opened it sees what is replaced.
    read_draft(Path("novel.txt")).save("mine")
    assert Path("novel.txt").read_text() == "mine"


def test_a_link_stays_a_link(tmp_path, path):
    link = tmp_path / "link.txt"
    link.symlink_to(path)
    read_draft(link).save("second")
    assert link.is_symlink()
    assert path.read_text() == "second"


@pytest.mark.skipif(os.name == "nt", reason="there are no such permissions")
def test_permissions_stay_all_the_time(path, monkeypatch):
    modes = []
    sync = os.fsync

    def look(descriptor):
        modes.append(os.fstat(descriptor).st_mode & 0o777)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    for mode in (0o600, 0o640):
        path.chmod(mode)
        read_draft(path).save("second")
        assert path.stat().st_mode & 0o777 == mode
    assert modes[0] == 0o600, "while it is written"


def test_what_cannot_be_saved(path, monkeypatch):
    for character, name in (("\0", r"U\+0000"), ("\ud83d", r"U\+D83D")):
        with pytest.raises(DataError, match=f"line 2 has {name}.*delete it"):
            read_draft(path).save(f"ab\nc{character}")
    with pytest.raises(CharRNNError, match="it is not a regular file"):
        Draft(path.parent).save("a")
    monkeypatch.setattr(drafts.os, "access", lambda *_: False)  # root may write anything
    with pytest.raises(CharRNNError, match="it is read-only"):
        read_draft(path).save("a")
    assert path.read_text() == TEXT
