"""The editor: the draft, the continuations below it, the keys, until it is left or a signal ends
it.

The text that is edited has no characters that a terminal would interpret.
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

from charrnn.api import Model
from charrnn.errors import CharRNNError, DataError, UsageError, counted
from charrnn.generation.sample_options import SAMPLE_TEMPERATURE
from charrnn.system.progress import task
from charrnn.tui.full_screen import (
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
from charrnn.tui.write import continuations as assistant
from charrnn.tui.write import drafts

_BASE = 0x100000
"""Start of plane 16, which is private use as a whole: a terminal draws a box."""
_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)
"""Control characters except a tab and a newline; line separators; marks that change the direction
of the text; lone surrogates, which no terminal can be sent."""
_PRIVATE = re.compile("[\U00100000-\U0010ffff]")
OFFER_KEYS = ("1", "2", "3", "4", "5", "escape")
"""Keys that belong to the continuations while they are shown."""
MAX_UNDO = 1000
"""Steps that can be undone."""
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
"""The keys; those without an action are the editor's own, or handled where they are typed."""
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
    """Replace what cannot be shown, one character by one. Raises DataError for a text with such
    private characters."""
    # Such a character would come back from `reveal` as another one.
    found = _PRIVATE.search(text)
    if found:
        raise DataError(
            f"the text has the private-use character U+{ord(found[0]):X}, which the editor needs"
            " for itself: leave such characters out"
        )
    return _STEERING.sub(lambda match: chr(_BASE + ord(match[0])), text)


def hide_pasted(text: str) -> str:
    """Replace what cannot be shown in a text that comes from elsewhere; line ends of any kind
    become a newline."""
    return hide_copied(re.sub("\r\n?|[\x0b\x0c\x85\u2028\u2029]", "\n", text))


def hide_copied(text: str) -> str:
    """Replace what cannot be shown in a text that was copied in the editor; its own line separators
    stay."""
    return hide(_PRIVATE.sub("\ufffd", text))


def reveal(text: str) -> str:
    """Return the text that `hide` was given."""
    return _PRIVATE.sub(lambda match: chr(ord(match[0]) - _BASE), text)


class Editor(TextArea):
    """A text with line ends "\\n" that is edited."""

    def __init__(
        self, text: str, press: Callable[[str], Awaitable[bool]], refuse: Callable[[str], object]
    ) -> None:
        """Edit a text.

        `press` is called with a key and returns whether it was obeyed, `refuse` with the reason why
        a change is not made.
        """
        # Before the widget, which asks for the text when it is made.
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
        """The text as it is in the widget; kept until it changes, because every line that is drawn
        asks for it."""
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
        """Replace the text and what can be undone."""
        self._forget_text()
        super().load_text(text)

    def edit(self, edit: Edit) -> EditResult:
        """Make a change, unless it makes a line too long."""
        # The widget folds a whole line again at every key.
        length = self._longest_line_after(edit)
        if length > drafts.MAX_LINE_CHARS:
            limit = f"a line would have {length:,} characters; at most {drafts.MAX_LINE_CHARS:,}"
            self._refuse(f"not changed: {limit}. Enter begins a new line.")
            return EditResult(end_location=self.selection.end, replaced_text="")

        self._forget_text()
        return super().edit(edit)

    def _longest_line_after(self, edit: Edit) -> int:
        """Return the length of the longest line that a change makes."""
        # The first line begins with what is left before the change, the last ends with what is left
        # after it.
        row, column = edit.bottom
        lengths = [len(line) for line in edit.text.split("\n")]
        lengths[0] += edit.top[1]
        lengths[-1] += len(self.document.get_line(row)) - column
        return max(lengths)

    def undo(self) -> None:
        """Take the last change back."""
        self._forget_text()
        super().undo()

    def redo(self) -> None:
        """Make the change again that was taken back."""
        self._forget_text()
        super().redo()

    def before_cursor(self) -> str:
        """Return the draft up to the cursor."""
        # By lines, as the widget counts: the position in the text is not kept anywhere.
        row, column = self.cursor_location
        lines = self.draft.split("\n")
        return "\n".join([*lines[:row], lines[row][:column]])

    def insert_continuation(self, text: str) -> None:
        """Insert a text at the cursor, as one step to undo."""
        self._insert(hide_pasted(text))

    def action_paste(self) -> None:
        """Insert what was copied in the editor."""
        if self.app.clipboard:
            self._insert(hide_copied(self.app.clipboard))

    def _insert(self, text: str) -> None:
        # Between two checkpoints, so that neither the letters typed before nor those after it are
        # undone with it.
        self.history.checkpoint()
        begin, end = self.selection
        replaced = self.replace(text, begin, end, maintain_selection_offset=False)
        self.move_cursor(replaced.end_location)
        self.history.checkpoint()

    async def _on_key(self, event: events.Key) -> None:
        # Keys may arrive together with text. Textual obeys a binding with priority before the
        # letters typed ahead of it are inserted, and any other one after letters typed behind it:
        # here each has its turn.
        is_obeyed = await self._press(event.key)
        if not is_obeyed and not event.is_printable:
            bound = self.screen.active_bindings.get(event.key)
            if bound is not None:
                is_obeyed = await self.app.run_action(bound.binding.action, bound.node)
        if is_obeyed:
            event.stop()
            event.prevent_default()

    async def _on_paste(self, event: events.Paste) -> None:
        # Not by the widget, which would insert what a terminal interprets.
        event.prevent_default()
        event.stop()
        self._insert(hide_pasted(event.text))


class DraftScreen(FullScreen):
    """The draft, five continuations of it, and the keys."""

    app: "Writer"

    def __init__(
        self, model: Model, draft: drafts.Draft, options: assistant.ContinuationOptions
    ) -> None:
        """Edit a draft."""
        super().__init__()
        self.model = model
        self.file = draft
        self.options = options
        self.editor = Editor(draft.text, press=self._press, refuse=self.say)
        self.note = ""
        """What the model reads as something else."""
        self.offered: list[assistant.Continuation] = []
        """The continuations that are shown."""
        self.is_looking = False
        """Whether continuations are being looked for."""
        self._continuations: assistant.Continuations | None = None

    @property
    def is_unsaved(self) -> bool:
        """Whether the text differs from what was read or saved last."""
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
        """Show the draft with the cursor before the last line end, and let the model read it
        meanwhile."""
        # Where one goes on writing: a file ends with a newline.
        self.editor.focus()
        row, column = self.editor.document.end
        if column == 0 and row > 0:
            row -= 1
        self.editor.move_cursor((row, len(self.editor.document.get_line(row))))
        self._show()
        self._note_reading()

    # What is shown

    def _show(self) -> None:
        """Draw everything but the draft."""
        # What Tab would do now, without asking for the help.
        settings = f"{self.options.until}  temperature {self.options.temperature:g}"
        self.put("settings", Text(settings))

        name = "unnamed"
        if self.file.path is not None:
            name = self.file.path.name
        if self.is_unsaved:
            name = f"* {name}"
        self.put("title", one_line(name, self.model.name))

        # The hint names the keys that do something now.
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
        """Return as much of each continuation as is shown, and inserted."""
        # All of them together fill half the screen.
        num_lines = max(1, (self.size.height // 2 - 1) // assistant.NUM_CONTINUATIONS)
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
        """Look for five continuations, or for five others where some are offered already."""
        # What the thread needs is taken here: it must not ask widgets.
        model = self.model
        options = self.options
        text = self.editor.before_cursor()
        known = None
        if self.offered:
            known = self._continuations

        def search(job: Job) -> None:
            continuations = known
            if continuations is None:
                with task("reading the draft", total=len(text)) as advance:
                    continuations = assistant.continue_text(
                        model, text=text, options=options, on_read=advance
                    )

            # In place of the progress of the reading.
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
        """Offer no continuations, and stop looking for them."""
        self.app.work.stop(OFFERS)
        if self.is_looking:
            self.say("")
        self.is_looking = False
        self.offered = []
        self._continuations = None
        self._show()

    async def _press(self, key: str) -> bool:
        """Obey a key; return False if it has nothing to do with continuations, nor with the
        screen."""
        if key in OFFER_KEYS and self._answer(key):
            return True
        return key in ACTIONS and await self.app.run_action(ACTIONS[key], self)

    def _answer(self, key: str) -> bool:
        """Insert a continuation by its number, or dismiss them all; return False if there are
        none."""
        # Dismissed first: what is inserted changes the text to which they belong.
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
        """Dismiss the continuations once the cursor is elsewhere."""
        # Not otherwise: dismissing draws everything.
        if self.offered or self.is_looking:
            self._dismiss()

    def on_resize(self) -> None:
        """Draw for another size."""
        self._show()

    # Settings

    def action_until(self) -> None:
        """Continue to the next of word, line and sentence."""
        # In the order of their length, and then from the beginning.
        words = list(assistant.MAX_CHARS)
        place = words.index(self.options.until) + 1
        self._change(until=words[place % len(words)])

    def action_temperature(self) -> None:
        """Take the next higher temperature, after the highest the lowest."""
        # Not by its place: --temperature may be any other.
        higher = [one for one in TEMPERATURES if one > self.options.temperature]
        self._change(temperature=min(higher or TEMPERATURES))

    def _change(self, **changes: Any) -> None:
        # Continuations of the old settings are replaced by those of the new ones.
        is_offering = bool(self.offered) or self.is_looking
        self._dismiss()
        self.options = replace(self.options, **changes)
        self._show()
        if is_offering:
            self.action_offer()

    # Notes

    def _note_reading(self) -> None:
        """Find out what the model reads as something else, and let it read the draft."""
        model = self.model
        text = self.editor.draft

        def measure(job: Job) -> None:
            unknown = assistant.substitutions(model.vocab, text)
            job.show(self._take_note, drafts.describe_reading(unknown, model.name))

            # So that the first Tab does not wait for a long draft to be read.
            ids = assistant.read_as_known(model.vocab, text)
            assistant.reader_of(model).state_after(ids, on_read=lambda num_chars: job.pause())

        # A message of something else stays if there is no error.
        def say(message: str) -> None:
            if message:
                self.say(message)

        self.app.measure(NOTES, measure, say)

    def _take_note(self, note: str) -> None:
        # A message of the continuations is not replaced: the help shows the note, too.
        self.note = note
        if note and not self.offered and not self.is_looking:
            self.say(note)

    def action_help(self) -> None:
        """Show the keys and the notes."""
        # With it the same continuations can be asked for again.
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
        """Save, under another name if it is given, and then call `then`; ask for a name if there is
        none."""
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
            # The question stays for a name that cannot be; it is closed before the file is written,
            # which may ask the next one.
            path = drafts.parse_path(name)
            self.app.call_later(lambda: self.action_save(path, then=then))

        self.app.push_screen(Question("Save as which file?", answer))

    def action_copy_or_leave(self) -> None:
        """Copy what is selected, or quit."""
        # As terminals do: Ctrl-C copies what is marked, and otherwise ends the program.
        if self.editor.selected_text:
            self.editor.action_copy()
        else:
            self.action_leave()

    def action_leave(self) -> None:
        """Quit; ask first if something is not saved."""
        if not self.is_unsaved:
            self._leave()
            return

        # By its path: several editors may be open.
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
    """Return a continuation without the last words that do not fit into so many lines of so many
    columns."""
    while len(Text(drafts.shown_continuation(continuation)).wrap(console, width)) > num_lines:
        shorter = assistant.without_last_word(continuation.text)
        if shorter == continuation.text:  # a single word
            shorter = shorter[:-1]
        continuation = replace(continuation, text=shorter, is_complete=False)
    return continuation


def offer_table(
    offered: Sequence[assistant.Continuation], *, texts: Sequence[assistant.Continuation]
) -> Table:
    """List continuations by number: how likely the model takes each to be, and as much of it as
    fits."""
    table = Table(box=None, padding=(0, 1, 0, 0), show_header=False, expand=True)
    for style in ("bold", "", ""):
        table.add_column(style=style, no_wrap=True)
    table.add_column(ratio=1)

    for number, (whole, fitted) in enumerate(zip(offered, texts, strict=True), start=1):
        source = "beam"
        if whole.temperature is not None:
            source = f"T {whole.temperature:g}"
        table.add_row(
            str(number), source, f"{whole.nats_per_char:.2f}", drafts.shown_continuation(fitted)
        )
    return table


class Writer(FullScreenApp[bool]):
    """`charrnn write`: a draft, and continuations of it. The result is True if it was left by its
    keys."""

    COMMAND = "write"
    CSS_PATH = ["../full_screen.tcss", "screen.tcss"]  # noqa: RUF012

    def __init__(
        self, model: Model, draft: drafts.Draft, options: assistant.ContinuationOptions
    ) -> None:
        """Edit a draft with continuations by a model."""
        super().__init__()
        self.draft_screen = DraftScreen(model, draft=draft, options=options)

    def on_mount(self) -> None:
        """Show the draft."""
        self.push_screen(self.draft_screen)

    def rescue(self) -> Path | None:
        """Save the text beside the draft if it differs from what was saved last; return its
        path."""
        screen = self.draft_screen
        if screen.is_unsaved:
            return screen.file.rescue(screen.editor.draft)
        return None

    def copy_to_clipboard(self, text: str) -> None:
        """Copy a text; that of the draft with the author's own characters."""
        if self.screen is self.draft_screen:
            text = reveal(text)
        super().copy_to_clipboard(text)

    async def action_quit(self) -> None:
        """Quit from any screen; ask first if something is not saved."""
        self.action_help_quit()

    def action_help_quit(self) -> None:
        """Quit by Ctrl-C from a dialog, as by Ctrl-Q."""
        if not isinstance(self.screen, KeyQuestion):
            # By the editor, so that it comes after the keys that were typed before.
            self.draft_screen.editor.call_later(self.draft_screen.action_leave)
