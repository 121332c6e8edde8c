"""The editor: the draft, the continuations below it, the keys, until it is left or a signal ends it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.screen import Screen
from textual.widgets import Static

from charrnn.api import Model
from charrnn.apps.full_screen import Choice, FullScreenApp, Help, Job, Keys, Question, StatusLine, one_line
from charrnn.apps.write.assistant import continue_text, read_as_known, reader_of, substitutions
from charrnn.apps.write.continuations import MAX_CHARS, Continuation, ContinuationOptions, Continuations
from charrnn.apps.write.drafts import (
    ChangedOnDiskError,
    Draft,
    describe_reading,
    parse_path,
    shown_continuation,
    source_of,
)
from charrnn.apps.write.editor import OFFER_KEYS, Editor, reveal
from charrnn.errors import CharRNNError, DataError, UsageError, counted
from charrnn.generation.options import SAMPLE_TEMPERATURE
from charrnn.progress import task

KEYS: tuple[Keys, ...] = (
    ("Tab", "five continuations; once more: five others. Other keys than digits dismiss them", {"tab": "offer"}),
    ("1 to 5", "insert that one; Ctrl-Z takes it out again", {}),
    ("Esc", "dismiss the continuations, or stop looking for them", {}),
    ("Ctrl-U F3", "where continuations end: word, line or sentence", {"ctrl+u,f3": "until"}),
    ("Ctrl-T F2", "the temperature of the samples", {"ctrl+t,f2": "temperature"}),
    ("Ctrl-Z Ctrl-Y", "undo, redo", {}),
    ("Ctrl-S", "save; F5 saves under another name", {"ctrl+s": "save", "f5": "save_as"}),
    ("Ctrl-X Ctrl-C Ctrl-V", "cut, copy and paste the selection (Shift with arrow keys)", {"ctrl+c": "copy_or_leave"}),
    ("Ctrl-Q", "quit; asks if something is not saved. So does Ctrl-C where nothing is selected", {}),
    ("F1", "these keys, and how the model reads the draft", {"f1": "help"}),
)
"""The keys; those without an action are the editor's own, or handled where they are typed."""
ACTIONS = {key: action for _, _, actions in KEYS for keys, action in actions.items() for key in keys.split(",")}
"""The action of each key by its Textual name."""
TEMPERATURES = (0.2, 0.5, SAMPLE_TEMPERATURE, 1.0, 1.2)
"""Temperatures that Ctrl-T goes through."""
HINT = "Tab continue  ^U until  ^T temperature  ^Z undo  ^S save  F1 help  ^Q quit"
"""Keys at the bottom of the screen."""
OFFER_HINT = "1-5 insert  Tab five others  Esc dismiss  (figures: nats per character)"
"""Keys at the bottom while continuations are shown."""
OFFERS, NOTES = "offers", "notes"
"""Kinds of the jobs of the editor."""
LOOKING = "looking for continuations ..."
"""The message while continuations are looked for."""


class DraftScreen(Screen[None]):
    """The draft, five continuations of it, and the keys."""

    app: "Writer"

    def __init__(self, model: Model, draft: Draft, options: ContinuationOptions) -> None:
        """Edit a draft."""
        super().__init__()
        self.model, self.file, self.options = model, draft, options
        self.editor = Editor(draft.text, self._press, self.say)
        self.note = ""
        """What the model reads as something else."""
        self.offered: list[Continuation] = []
        """The continuations that are shown."""
        self.is_looking = False
        """Whether continuations are being looked for."""
        self._continuations: Continuations | None = None

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
        yield Static(id="hint")

    def on_mount(self) -> None:
        """Show the draft with the cursor before the last line end, and let the model read it meanwhile."""
        self.editor.focus()
        row, column = self.editor.document.end
        if column == 0 and row > 0:
            row -= 1
        self.editor.move_cursor((row, len(self.editor.document.get_line(row))))
        self._show()
        self._note_reading()

    # What is shown

    def say(self, message: str) -> None:
        """Replace the status message; "" removes it."""
        self.query_one(StatusLine).say(message)

    def _show(self) -> None:
        """Draw everything but the draft."""
        settings = f"{self.options.until}  temperature {self.options.temperature:g}"
        self.query_one("#settings", Static).update(Text(settings))
        name = "unnamed" if self.file.path is None else self.file.path.name
        title = one_line("* " * self.is_unsaved + name, self.model.name)  # * is for changes that are not saved
        self.query_one("#title", Static).update(title)
        offers = self.query_one("#offers", Static)
        offers.display = bool(self.offered)
        if self.offered:
            offers.update(offer_table(self.offered, self.app.console, self.size.width))
        hint = OFFER_HINT if self.offered else "Esc stop" if self.is_looking else HINT
        self.query_one("#hint", Static).update(Text(hint, no_wrap=True, overflow="ellipsis"))

    # Continuations

    def action_offer(self) -> None:
        """Look for five continuations, or for five others where some are offered already."""
        model, options = self.model, self.options
        known, text = self._continuations if self.offered else None, self.editor.before_cursor()

        def search(job: Job) -> None:
            if (continuations := known) is None:
                with task("reading the draft", len(text)) as advance:
                    continuations = continue_text(model, text, options, on_read=advance)
            job.show(self.say, LOOKING)
            offered = continuations.take(on_step=job.pause)
            if not offered:
                raise UsageError(f"{model.name} has no other continuation to the end of a {options.until}")
            job.show(self._offer, continuations, offered)

        self.is_looking = True
        self.say(LOOKING)
        self._show()
        self.app.measure(OFFERS, search, self.say, self._end_search)

    def _offer(self, continuations: Continuations, offered: list[Continuation]) -> None:
        self._continuations, self.offered = continuations, offered

    def _end_search(self, message: str) -> None:
        self.is_looking = False
        self.say(message)
        self._show()

    def _dismiss(self) -> None:
        """Offer no continuations, and stop looking for them."""
        self.app.work.stop(OFFERS)
        if self.is_looking:
            self.say("")
        self.is_looking, self.offered, self._continuations = False, [], None
        self._show()

    async def _press(self, key: str) -> bool:
        """Obey a key; return False if it has nothing to do with continuations, nor with the screen."""
        if key in OFFER_KEYS and self._answer(key):
            return True
        return key in ACTIONS and await self.app.run_action(ACTIONS[key], self)

    def _answer(self, key: str) -> bool:
        """Insert a continuation by its number, or dismiss them all; return False if there are none."""
        offered = self.offered
        if not offered and not self.is_looking:
            return False
        self._dismiss()
        if key != "escape":
            self.editor.insert_continuation(offered[int(key) - 1].text if int(key) <= len(offered) else key)
        return True

    # Changes

    def on_text_area_changed(self) -> None:
        """Dismiss the continuations and the message, which belong to another text."""
        self._dismiss()
        self.say("")

    def on_text_area_selection_changed(self) -> None:
        """Dismiss the continuations once the cursor is elsewhere."""
        if self.offered or self.is_looking:
            self._dismiss()

    def on_resize(self) -> None:
        """Draw for another size."""
        self._show()

    # Settings

    def action_until(self) -> None:
        """Continue to the next of word, line and sentence."""
        words = [*MAX_CHARS]
        self._change(until=words[(words.index(self.options.until) + 1) % len(words)])

    def action_temperature(self) -> None:
        """Take the next higher temperature, after the highest the lowest."""
        higher = [one for one in TEMPERATURES if one > self.options.temperature]
        self._change(temperature=(higher or TEMPERATURES)[0])

    def _change(self, **changes: Any) -> None:
        is_offering = bool(self.offered) or self.is_looking
        self._dismiss()
        self.options = replace(self.options, **changes)
        self._show()
        if is_offering:
            self.action_offer()

    # Notes

    def _note_reading(self) -> None:
        """Find out what the model reads as something else, and let it read the draft."""
        model, text = self.model, self.editor.draft

        def measure(job: Job) -> None:
            job.show(self._take_note, describe_reading(substitutions(model.vocab, text), model.name))
            reader_of(model).state_after(read_as_known(model.vocab, text), lambda num_chars: job.pause())

        # A message of something else stays if there is no error.
        self.app.measure(NOTES, measure, lambda message: self.say(message) if message else None)

    def _take_note(self, note: str) -> None:
        self.note = note
        if self.note and not self.offered and not self.is_looking:
            self.say(self.note)

    def action_help(self) -> None:
        """Show the keys and the notes."""
        self.app.push_screen(Help(KEYS, [*filter(None, [self.note]), f"Seed {self.options.seed}."]))

    # Saving and leaving

    def action_save(
        self, path: Path | None = None, *, overwrite: bool = False, then: Callable[[], object] = lambda: None
    ) -> None:
        """Save, under another name if it is given, and then call `then`; ask for a name if there is none."""
        if path is None and self.file.path is None:
            self.action_save_as(then)
            return
        text = self.editor.draft
        try:
            self.file.save(text, path, overwrite=overwrite)
        except ChangedOnDiskError as error:
            answers = {
                "o": ("overwrite it", lambda: self.action_save(path, overwrite=True, then=then)),
                "n": ("another name", lambda: self.action_save_as(then)),
            }
            self.app.push_screen(Choice(f"{error}.", answers))
        except DataError as error:
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
            path = parse_path(name)
            self.app.call_later(lambda: self.action_save(path, then=then))

        self.app.push_screen(Question("Save as which file?", answer))

    def action_copy_or_leave(self) -> None:
        """Copy what is selected, or quit."""
        if self.editor.selected_text:
            self.editor.action_copy()
        else:
            self.action_leave()

    def action_leave(self) -> None:
        """Quit; ask first if something is not saved."""
        if not self.is_unsaved:
            self._leave()
            return
        name = "The draft" if self.file.path is None else str(self.file.path)
        answers = {
            "s": ("save and quit", lambda: self.action_save(then=self._leave)),
            "d": ("discard and quit", self._leave),
        }
        self.app.push_screen(Choice(f"{name} has changes that are not saved.", answers))

    def _leave(self) -> None:
        self.app.exit(True)


def offer_table(offered: Sequence[Continuation], console: Console, width: int) -> Table:
    """List continuations by number for a screen of so many columns, each on two lines at most."""
    table = Table(box=None, padding=(0, 1, 0, 0), show_header=False, expand=True)
    for style in ("bold", "", ""):
        table.add_column(style=style, no_wrap=True)
    table.add_column(ratio=1)
    for number, one in enumerate(offered, start=1):
        lines = Text(shown_continuation(one)).wrap(console, max(20, width - 20))
        if len(lines) > 2:
            lines[1].append(" …")
        table.add_row(str(number), source_of(one), f"{one.nats_per_char:.2f}", Text("\n").join(lines[:2]))
    return table


class Writer(FullScreenApp[bool]):
    """`charrnn write`: a draft, and continuations of it. The result is True if it was left by its keys."""

    COMMAND = "write"
    CSS = (
        FullScreenApp.CSS
        + """
    #settings { width: auto; }
    Editor { height: 1fr; padding: 0 1; background: ansi_default; color: ansi_default; scrollbar-size: 1 1; }
    Editor, Editor:focus { border: none; }
    #offers { height: auto; max-height: 11; display: none; border-top: solid ansi_default; }
    .name { width: 21; }
    """
    )

    def __init__(self, model: Model, draft: Draft, options: ContinuationOptions) -> None:
        """Edit a draft with continuations by a model."""
        super().__init__()
        self.draft_screen = DraftScreen(model, draft, options)

    def on_mount(self) -> None:
        """Show the draft."""
        self.push_screen(self.draft_screen)

    def copy_to_clipboard(self, text: str) -> None:
        """Copy a text; that of the draft with the author's own characters."""
        super().copy_to_clipboard(reveal(text) if self.screen is self.draft_screen else text)

    async def action_quit(self) -> None:
        """Quit from any screen; ask first if something is not saved."""
        self.action_help_quit()

    def action_help_quit(self) -> None:
        """Quit by Ctrl-C from a dialog, as by Ctrl-Q."""
        if not isinstance(self.screen, Choice):
            self.draft_screen.editor.call_later(self.draft_screen.action_leave)  # after the keys typed before
