"""The screen of `charrnn write`: the draft, the continuations below it, and the keys.

Characters that a terminal would interpret are replaced in the widget of the draft, and restored
when the draft is saved.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.document._document import EditResult
from textual.document._edit import Edit
from textual.widgets import Static, TextArea

from charrnn.errors import CharRNNError, DataError, UsageError, counted
from charrnn.generation import continuations as assistant
from charrnn.generation.sample_options import NUM_CONTINUATIONS, SAMPLE_TEMPERATURE
from charrnn.plugins.tui.full_screen import (
    FullScreen,
    FullScreenApp,
    Help,
    HintLine,
    Job,
    KeyQuestion,
    Keys,
    Question,
    StatusLine,
    bind_all,
    one_line,
)
from charrnn.plugins.tui.write import drafts
from charrnn.system.progress import task
from charrnn.trained_model import TrainedModel

_BASE = 0x100000
"""Start of plane 16 of Unicode, which has only private-use characters: a terminal draws a box."""
_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)
"""Control characters except a tab and a newline; line separators; marks that change the direction
of the text; lone surrogates, which cannot be sent to a terminal."""
_PRIVATE = re.compile("[\U00100000-\U0010ffff]")
OFFER_KEYS = ("1", "2", "3", "4", "5", "escape")
"""Keys that insert or dismiss continuations while they are shown."""
MAX_UNDO = 1000
"""Number of changes that can be undone."""
KEYS: tuple[Keys, ...] = (
    (
        "Tab",
        "five continuations; once more: five others. Other keys than digits dismiss them",
        {"tab": "offer"},
    ),
    ("1 to 5", "insert that one; Ctrl-Z takes it out again", {}),
    ("Esc", "dismiss the continuations, or stop looking for them", {}),
    ("Ctrl-U F3", "where continuations end: word, line or sentence", {"ctrl+u,f3": "until"}),
    ("Ctrl-T F2", "the temperature of the samples", {"ctrl+t,f2": "temperature"}),
    ("Ctrl-Z Ctrl-Y", "undo, redo", {}),
    ("Ctrl-S", "save; F5 saves under another name", {"ctrl+s": "save", "f5": "save_as"}),
    (
        "Ctrl-X Ctrl-C Ctrl-V",
        "cut, copy and paste the selection (Shift with arrow keys)",
        {"ctrl+c": "copy_or_leave"},
    ),
    (
        "Ctrl-Q",
        "quit; asks if something is not saved. So does Ctrl-C where nothing is selected",
        {},
    ),
    ("F1", "these keys, and how the model reads the draft", {"f1": "help"}),
)
"""The keys. A key without an action is handled by the text widget or by `_press`."""
ACTIONS = {binding.key: binding.action for binding in Binding.make_bindings(bind_all(KEYS))}
"""The action of each key by its Textual name."""
TEMPERATURES = (0.2, 0.5, SAMPLE_TEMPERATURE, 1.0, 1.2)
"""Temperatures that Ctrl-T goes through."""
HINT = "Tab continue  ^U until  ^T temperature  ^Z undo  ^S save  F1 help  ^Q quit"
"""Keys at the bottom of the screen."""
OFFER_HINT = "1-5 insert  Tab five others  Esc dismiss  (figures: nats per character)"
"""Keys at the bottom while continuations are shown."""
OFFERS = "offers"
"""The kind of the job that looks for continuations."""
NOTES = "notes"
"""The kind of the job that reads the whole draft."""
LOOKING = "looking for continuations ..."
"""The message while continuations are looked for."""


def hide(text: str) -> str:
    """Replace each character that cannot be shown by a private-use character. Raises DataError for
    a text that has such private-use characters itself."""
    # `reveal` would turn the text's own private-use character into another character.
    private = _PRIVATE.search(text)
    if private:
        raise DataError(
            f"the text has the private-use character U+{ord(private[0]):X}, which the editor needs"
            " for itself: leave such characters out"
        )
    return _STEERING.sub(lambda match: chr(_BASE + ord(match[0])), text)


def hide_pasted(text: str) -> str:
    """Replace the characters that cannot be shown in a text from another program; line ends of
    every kind become a newline."""
    return hide_copied(re.sub("\r\n?|[\x0b\x0c\x85\u2028\u2029]", "\n", text))


def hide_copied(text: str) -> str:
    """Replace the characters that cannot be shown in a text that was copied in the editor; its line
    separators stay."""
    return hide(_PRIVATE.sub("\ufffd", text))


def reveal(text: str) -> str:
    """Return the text from which `hide` made this one."""
    return _PRIVATE.sub(lambda match: chr(ord(match[0]) - _BASE), text)


class Editor(TextArea):
    """The text widget of the draft; its lines end with "\\n"."""

    def __init__(
        self, text: str, press: Callable[[str], Awaitable[bool]], refuse: Callable[[str], object]
    ) -> None:
        """Edit a text.

        `press` is called with a key and returns whether it has handled the key. `refuse` is called
        with the reason why a change is not made.
        """
        # These are set before the widget is created, which asks for the text.
        self._text: str | None = None
        self._draft: str | None = None
        super().__init__(
            hide(text),
            soft_wrap=True,
            max_checkpoints=MAX_UNDO,
            highlight_cursor_line=False,
        )
        self.cursor_blink = False
        self.match_cursor_bracket = False
        self._press = press
        self._refuse = refuse

    @property
    def text(self) -> str:
        """The text as it is in the widget. It is cached until it changes, because every line that
        is drawn asks for it."""
        if self._text is None:
            self._text = self.document.text
        return self._text

    @text.setter
    def text(self, value: str) -> None:
        self.load_text(value)

    @property
    def draft(self) -> str:
        """The text as it is saved, but with line ends "\\n"."""
        if self._draft is None:
            self._draft = reveal(self.text)
        return self._draft

    def _forget_text(self) -> None:
        self._text = None
        self._draft = None

    def load_text(self, text: str) -> None:
        """Replace the text, and drop the history of changes."""
        self._forget_text()
        super().load_text(text)

    def edit(self, edit: Edit) -> EditResult:
        """Make a change, unless it makes a line too long."""
        # Long lines would be slow: the widget folds the whole line again at every key.
        length = self._longest_line_after(edit)
        if length > drafts.MAX_LINE_CHARS:
            limit = f"a line would have {length:,} characters; at most {drafts.MAX_LINE_CHARS:,}"
            self._refuse(f"not changed: {limit}. Enter begins a new line.")
            return EditResult(end_location=self.selection.end, replaced_text="")

        self._forget_text()
        return super().edit(edit)

    def _longest_line_after(self, edit: Edit) -> int:
        """Return the length of the longest line that a change makes."""
        # The first line begins with the text before the change, and the last line ends with the
        # text after it.
        row, column = edit.bottom
        lengths = [len(line) for line in edit.text.split("\n")]
        lengths[0] += edit.top[1]
        lengths[-1] += len(self.document.get_line(row)) - column
        return max(lengths)

    def undo(self) -> None:
        """Undo the last change."""
        self._forget_text()
        super().undo()

    def redo(self) -> None:
        """Redo the change that was undone."""
        self._forget_text()
        super().redo()

    def before_cursor(self) -> str:
        """Return the draft up to the cursor."""
        # The widget knows the cursor by line and column, not by its position in the text.
        row, column = self.cursor_location
        lines = self.draft.split("\n")
        return "\n".join([*lines[:row], lines[row][:column]])

    def insert_continuation(self, text: str) -> None:
        """Insert a text at the cursor as one change, which one undo removes."""
        self._insert(hide_pasted(text))

    def action_paste(self) -> None:
        """Insert the text that was copied in the editor."""
        if self.app.clipboard:
            self._insert(hide_copied(self.app.clipboard))

    def _insert(self, text: str) -> None:
        # A checkpoint before and after the text separates it from the letters typed before and
        # after it, so that they are not undone with it.
        self.history.checkpoint()
        begin, end = self.selection
        replaced = self.replace(text, begin, end, maintain_selection_offset=False)
        self.move_cursor(replaced.end_location)
        self.history.checkpoint()

    async def _on_key(self, event: events.Key) -> None:
        # Keys may arrive together with text. Textual would run a binding with priority before it
        # inserts the letters that were typed before the key, and any other binding after it inserts
        # the letters that were typed after the key. Here all keys are handled in order.
        is_obeyed = await self._press(event.key)
        if not is_obeyed and not event.is_printable:
            bound = self.screen.active_bindings.get(event.key)
            if bound is not None:
                is_obeyed = await self.app.run_action(bound.binding.action, bound.node)
        if is_obeyed:
            event.stop()
            event.prevent_default()

    async def _on_paste(self, event: events.Paste) -> None:
        # The widget would insert characters that a terminal interprets.
        event.prevent_default()
        event.stop()
        self._insert(hide_pasted(event.text))


class DraftScreen(FullScreen):
    """The draft, five continuations of it, and the keys."""

    app: "Writer"

    def __init__(
        self, model: TrainedModel, draft: drafts.Draft, options: assistant.ContinuationOptions
    ) -> None:
        """Edit a draft."""
        super().__init__()
        self.model = model
        self.file = draft
        self.options = options
        self.editor = Editor(draft.text, press=self._press, refuse=self.say)
        self.note = ""
        """The characters that the model reads as other characters, in one line."""
        self.offered: list[assistant.Continuation] = []
        """The continuations that are shown."""
        self.is_looking = False
        """Whether a job is looking for continuations."""
        self._continuations: assistant.Continuations | None = None

    @property
    def is_unsaved(self) -> bool:
        """Whether the text differs from the text that was read or saved last."""
        return self.editor.draft != self.file.text

    def compose(self) -> ComposeResult:
        with Horizontal(id="top"):
            yield Static(id="title")
            yield Static(id="settings")
        yield self.editor
        yield Static(id="offers")
        yield StatusLine()
        yield HintLine(HINT)

    def on_mount(self) -> None:
        """Show the draft with the cursor before the last line end, where writing continues, and let
        the model read the draft meanwhile."""
        self.editor.focus()
        row, column = self.editor.document.end
        if column == 0 and row > 0:
            row -= 1
        self.editor.move_cursor((row, len(self.editor.document.get_line(row))))
        self._show()
        self._note_reading()

    # Drawing

    def _show(self) -> None:
        """Draw everything but the draft."""
        # Show the settings that Tab would use.
        settings = f"{self.options.until}  temperature {self.options.temperature:g}"
        self.put("settings", Text(settings))

        name = "unnamed"
        if self.file.path is not None:
            name = self.file.path.name
        if self.is_unsaved:
            name = f"* {name}"
        self.put("title", one_line(name, self.model.name))

        # The hint names the keys that have an effect now.
        offers = self.query_one("#offers", Static)
        offers.display = bool(self.offered)
        hint = HINT
        if self.offered:
            offers.update(offer_table(self.offered, texts=self._offered_texts()))
            hint = OFFER_HINT
        elif self.is_looking:
            hint = "Esc stop"
        self.query_one(HintLine).show(hint)

    def _offered_texts(self) -> list[assistant.Continuation]:
        """Return the beginning of each continuation that fits on the screen, which is also the text
        that is inserted."""
        # All continuations together fill half the screen.
        num_lines = max(1, (self.size.height // 2 - 1) // NUM_CONTINUATIONS)
        return [
            fitting(
                continuation,
                console=self.app.console,
                width=max(20, self.size.width - 20),
                num_lines=num_lines,
            )
            for continuation in self.offered
        ]

    # Continuations

    def action_offer(self) -> None:
        """Look for five continuations, or for five more if some are offered already."""
        # The job must not use widgets, so the values that it needs are read here.
        model = self.model
        options = self.options
        text = self.editor.before_cursor()
        earlier = None
        if self.offered:
            earlier = self._continuations

        def search(job: Job) -> None:
            continuations = earlier
            if continuations is None:
                with task("reading the draft", total=len(text)) as advance:
                    continuations = assistant.continue_text(
                        model.generator, text=text, options=options, on_read=advance
                    )

            # The message replaces the progress of the reading.
            job.show(self.say, LOOKING)
            offered = continuations.take(on_step=job.pause)
            if not offered:
                raise UsageError(
                    f"{model.name} has no other continuation to the end of a {options.until}"
                )
            job.show(self._offer, continuations, offered)

        self.is_looking = True
        self.say(LOOKING)
        self._show()
        self.app.measure(OFFERS, search, self.say, self._end_search)

    def _offer(
        self, continuations: assistant.Continuations, offered: list[assistant.Continuation]
    ) -> None:
        self._continuations = continuations
        self.offered = offered

    def _end_search(self, message: str) -> None:
        self.is_looking = False
        self.say(message)
        self._show()

    def _dismiss(self) -> None:
        """Remove the offered continuations, and stop looking for them."""
        self.app.work.stop(OFFERS)
        if self.is_looking:
            self.say("")
        self.is_looking = False
        self.offered = []
        self._continuations = None
        self._show()

    async def _press(self, key: str) -> bool:
        """Handle a key; return False if it is neither a key of the continuations nor of the
        screen."""
        if key in OFFER_KEYS and self._answer(key):
            return True
        return key in ACTIONS and await self.app.run_action(ACTIONS[key], self)

    def _answer(self, key: str) -> bool:
        """Insert the continuation with the number `key`, or dismiss all; return False if there are
        none."""
        # The continuations are dismissed first, because the insertion changes the text to which
        # they belong.
        if not self.offered and not self.is_looking:
            return False
        offered = self._offered_texts()
        self._dismiss()
        if key == "escape":
            return True

        # A digit without a continuation is a character of the draft.
        number = int(key)
        if number <= len(offered):
            self.editor.insert_continuation(offered[number - 1].text)
        else:
            self.editor.insert_continuation(key)
        return True

    # Changes

    def on_text_area_changed(self) -> None:
        """Dismiss the continuations and the message, which belong to another text."""
        self._dismiss()
        self.say("")

    def on_text_area_selection_changed(self) -> None:
        """Dismiss the continuations when the cursor moves."""
        # `_dismiss` draws the whole screen, so it is called only if there is something to dismiss.
        if self.offered or self.is_looking:
            self._dismiss()

    def on_resize(self) -> None:
        """Draw the screen for a new size."""
        self._show()

    # Settings

    def action_until(self) -> None:
        """Change the end of continuations: from word to line to sentence and back to word."""
        words = list(assistant.MAX_CHARS)
        index = words.index(self.options.until) + 1
        self._change(until=words[index % len(words)])

    def action_temperature(self) -> None:
        """Take the next higher temperature, or the lowest after the highest."""
        # The current temperature need not be in the list: --temp can be any number.
        current = self.options.temperature
        higher = [temperature for temperature in TEMPERATURES if temperature > current]
        self._change(temperature=min(higher or TEMPERATURES))

    def _change(self, **changes: Any) -> None:
        # Continuations with the old settings are replaced by continuations with the new ones.
        is_offering = bool(self.offered) or self.is_looking
        self._dismiss()
        self.options = replace(self.options, **changes)
        self._show()
        if is_offering:
            self.action_offer()

    # Notes

    def _note_reading(self) -> None:
        """Note the characters that the model reads as other characters, and let it read the
        draft."""
        model = self.model
        text = self.editor.draft

        def measure(job: Job) -> None:
            unknown = assistant.substitutions(model.vocab, text)
            job.show(self._take_note, drafts.describe_reading(unknown, model.name))

            # The draft is read now, so that the first Tab does not wait for it.
            ids = assistant.read_as_known(model.vocab, text)
            reader = assistant.reader_of(model.generator)
            reader.state_after(ids, on_read=lambda num_chars: job.pause())

        # "" means that the job had no error: then the message on the screen stays.
        def say(message: str) -> None:
            if message:
                self.say(message)

        self.app.measure(NOTES, measure, say)

    def _take_note(self, note: str) -> None:
        # The note does not replace a message about continuations: the help shows the note, too.
        self.note = note
        if note and not self.offered and not self.is_looking:
            self.say(note)

    def action_help(self) -> None:
        """Show the keys and the notes."""
        # With the seed, the user can get the same continuations again.
        notes = [f"Seed {self.options.seed}."]
        if self.note:
            notes.insert(0, self.note)
        self.app.push_screen(Help(KEYS, notes))

    # Saving and leaving

    def action_save(
        self,
        path: Path | None = None,
        *,
        overwrite: bool = False,
        then: Callable[[], object] = lambda: None,
    ) -> None:
        """Save the draft to `path` or, without a path, to its own file, and then call `then`. If
        neither exists, ask for a name."""
        if path is None and self.file.path is None:
            self.action_save_as(then)
            return

        text = self.editor.draft
        try:
            self.file.save(text, path, overwrite=overwrite)
        except drafts.ChangedOnDiskError as error:
            answers = {
                "o": ("overwrite it", lambda: self.action_save(path, overwrite=True, then=then)),
                "n": ("another name", lambda: self.action_save_as(then)),
            }
            self.app.push_screen(KeyQuestion(f"{error}.", answers))
        except (DataError, UsageError) as error:
            self.say(f"not saved: {error}")
        except CharRNNError as error:
            self.say(f"not saved: {error}. F5 saves under another name.")
        else:
            self.say(f"saved {counted(len(text), 'character')} in {self.file.path}")
            self._show()
            then()

    def action_save_as(self, then: Callable[[], object] = lambda: None) -> None:
        """Ask for a name, and save under it."""

        def answer(name: str) -> None:
            # `parse_path` raises for an invalid name, and the question stays. The file is written
            # after the question has closed, because that may open another question.
            path = drafts.parse_path(name)
            self.app.call_later(lambda: self.action_save(path, then=then))

        self.app.push_screen(Question("Save as which file?", answer))

    def action_copy_or_leave(self) -> None:
        """Copy the selected text, or quit if no text is selected, as terminals do."""
        if self.editor.selected_text:
            self.editor.action_copy()
        else:
            self.action_leave()

    def action_leave(self) -> None:
        """Quit; ask first if something is not saved."""
        if not self.is_unsaved:
            self._leave()
            return

        # The question names the path, because several editors may be open.
        name = "The draft"
        if self.file.path is not None:
            name = str(self.file.path)
        answers = {
            "s": ("save and quit", lambda: self.action_save(then=self._leave)),
            "d": ("discard and quit", self._leave),
        }
        self.app.push_screen(KeyQuestion(f"{name} has changes that are not saved.", answers))

    def _leave(self) -> None:
        self.app.exit(True)


def fitting(
    continuation: assistant.Continuation, *, console: Console, width: int, num_lines: int
) -> assistant.Continuation:
    """Return a continuation without the last words that do not fit into `num_lines` lines of
    `width` columns."""
    while len(Text(drafts.shown_continuation(continuation)).wrap(console, width)) > num_lines:
        shorter = assistant.without_last_word(continuation.text)
        if shorter == continuation.text:  # a single word
            shorter = shorter[:-1]
        continuation = replace(continuation, text=shorter, is_complete=False)
    return continuation


def offer_table(
    offered: Sequence[assistant.Continuation], *, texts: Sequence[assistant.Continuation]
) -> Table:
    """List continuations by number, each with its loss and with the part of it that fits, which is
    in `texts`."""
    table = Table(box=None, padding=(0, 1, 0, 0), show_header=False, expand=True)
    for style in ("bold", "", ""):
        table.add_column(style=style, no_wrap=True)
    table.add_column(ratio=1)

    for number, (continuation, fitted) in enumerate(zip(offered, texts, strict=True), start=1):
        source = "beam"
        if continuation.temperature is not None:
            source = f"T {continuation.temperature:g}"
        table.add_row(
            str(number),
            source,
            f"{continuation.nats_per_char:.2f}",
            drafts.shown_continuation(fitted),
        )
    return table


class Writer(FullScreenApp[bool]):
    """The application of `charrnn write`. Its result is True if the user has left it by a key."""

    COMMAND = "write"
    CSS_PATH = ["../full_screen.tcss", "screen.tcss"]  # noqa: RUF012

    def __init__(
        self, model: TrainedModel, draft: drafts.Draft, options: assistant.ContinuationOptions
    ) -> None:
        """Edit a draft with continuations by a model."""
        super().__init__()
        self.draft_screen = DraftScreen(model, draft=draft, options=options)

    def on_mount(self) -> None:
        """Show the draft."""
        self.push_screen(self.draft_screen)

    def rescue(self) -> Path | None:
        """Save the text to a new file beside the draft if it has unsaved changes; return the path
        of the new file."""
        screen = self.draft_screen
        if screen.is_unsaved:
            return screen.file.rescue(screen.editor.draft)
        return None

    def copy_to_clipboard(self, text: str) -> None:
        """Copy a text; the characters of the draft that cannot be shown are restored."""
        if self.screen is self.draft_screen:
            text = reveal(text)
        super().copy_to_clipboard(text)

    async def action_quit(self) -> None:
        """Quit from any screen; ask first if something is not saved."""
        self.action_help_quit()

    def action_help_quit(self) -> None:
        """Quit by Ctrl-C from a dialog, as by Ctrl-Q."""
        if not isinstance(self.screen, KeyQuestion):
            # The editor calls it after the keys that were typed before.
            self.draft_screen.editor.call_later(self.draft_screen.action_leave)
