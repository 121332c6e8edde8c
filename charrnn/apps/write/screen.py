"""The editor: the draft, the continuations below it, the keys, until it is left or a signal ends it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from rich.style import Style
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Static

from charrnn.api import Model
from charrnn.apps.full_screen import Choice, FullScreenApp, Help, Question, StatusLine
from charrnn.apps.write.assistant import DraftAssistant, ReadText, assistant_of
from charrnn.apps.write.drafts import (
    ChangedOnDiskError,
    Colour,
    DraftFile,
    Settings,
    check_saved,
    describe_reading,
    parse_path,
)
from charrnn.apps.write.editor import Editor, reveal
from charrnn.apps.write.offers import Job, OfferSearch, Worker, offer_table
from charrnn.cli.streams import printable
from charrnn.errors import CharRNNError, DataError, counted
from charrnn.generation.records import Continuation
from charrnn.views.heatmap import MAX_BITS
from charrnn.views.theme import Palette, palette_of

COMMAND = "write"
"""The command whose options messages name."""
KEYS = (
    ("Tab", "five continuations; once more: five others. Any other key but a digit dismisses them"),
    ("1 to 5", "insert that one; Ctrl-Z takes it out again"),
    ("Esc", "dismiss the continuations, or stop looking for them"),
    ("Ctrl-U F3", "where continuations end: word, line or sentence"),
    ("Ctrl-T F2", "the temperature of the samples"),
    ("F4", "colours: none, surprise, the cell of --color"),
    ("Ctrl-Z Ctrl-Y", "undo, redo"),
    ("Ctrl-S", "save; F5 saves under another name"),
    ("Ctrl-X Ctrl-C Ctrl-V", "cut, copy and paste what is selected (Shift with the arrow keys)"),
    ("Ctrl-Q", "quit; asks if something is not saved. So does Ctrl-C where nothing is selected"),
    ("F1", "these keys, and how the model reads the draft"),
)
"""Keys and what they do, for the help."""


def line_styles(
    assistant: DraftAssistant,
    palette: Palette,
    colour: Colour,
    text: str,
    begin: int,
    lengths: Sequence[int],
    check: Callable[[], object],
) -> list[list[Style]]:
    """Return a style for each character of some lines of a text, by a cell or by surprise; no style where nan.

    The lines have these `lengths` without their ends, and the first one begins at `begin`. `check` is called often;
    what it raises ends the work.
    """
    starts = np.cumsum([begin, *(length + 1 for length in lengths)]).tolist()
    end = min(len(text), starts[-1])
    style_of: Callable[[float], Style] = palette.surprise
    if isinstance(colour, tuple):
        values = assistant.cell_values(text, colour, begin, end, on_read=lambda num_chars: check()).tolist()
        style_of = palette.value
    else:
        values = (assistant.surprise(text, begin, end, on_read=lambda num_chars: check()) / MAX_BITS).tolist()
    styles = [style_of(value) if value == value else Style() for value in values]
    return [styles[start - begin : start - begin + length] for start, length in zip(starts, lengths, strict=False)]


HINT = "Tab continue  ^U until  ^T temperature  ^Z undo  ^S save  F1 help  ^Q quit"
"""Keys at the bottom of the screen."""
OFFER_HINT = "1-5 insert  Tab five others  Esc dismiss  (figures: nats per character)"
"""Keys at the bottom while continuations are shown."""
OFFERS, NOTES, COLOURS = "offers", "notes", "colours"
"""What the worker does, most urgent first."""
PAUSE = 0.25
"""Seconds without a change after which the text is coloured again."""


class DraftScreen(Screen[None]):
    """The draft, five continuations of it, and the keys."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "offer", show=False, priority=True),
        Binding("ctrl+u,f3", "until", show=False, priority=True),
        Binding("ctrl+t,f2", "temperature", show=False, priority=True),
        Binding("f4", "colour", show=False, priority=True),
        Binding("ctrl+s", "save", show=False, priority=True),
        Binding("f5", "save_as", show=False, priority=True),
        Binding("ctrl+c", "copy_or_leave", show=False, priority=True),
        Binding("f1", "help", show=False, priority=True),
    ]

    def __init__(
        self,
        model: Model,
        file: DraftFile,
        settings: Settings,
        call_later: Callable[..., object],
        on_failure: Callable[[Exception], object],
    ) -> None:
        """Edit the draft of a file.

        The worker's thread calls both functions: `call_later` with what the interface is to do, `on_failure` with an
        error.
        """
        super().__init__()
        self.model, self.file, self.settings = model, file, settings
        self.editor = Editor(file.draft.text, lambda: bool(self.offered) or self.is_looking)
        self.notes: list[str] = []
        self._colour_timer: Timer | None = None
        self._call_later = call_later
        self.worker = Worker((OFFERS, NOTES, COLOURS), self._say_later, on_failure)
        self._search = OfferSearch(model, self.worker, OFFERS, call_later, self._on_offers_changed)

    @property
    def offered(self) -> list[Continuation]:
        """The continuations that are shown."""
        return self._search.offered

    @property
    def is_looking(self) -> bool:
        """Whether continuations are being looked for."""
        return self._search.is_looking

    def compose(self) -> ComposeResult:
        with Horizontal(id="top"):
            yield Static(id="title")
            yield Static(id="settings")
        yield self.editor
        yield Static(id="offers")
        yield StatusLine()
        yield Static(id="hint")

    def on_mount(self) -> None:
        """Show the draft, and let the model read it meanwhile."""
        self.editor.focus()
        self.editor.move_cursor(self._end_of_text())
        self._show()
        self.worker.start()
        self._note_reading()

    def _end_of_text(self) -> tuple[int, int]:
        """Return where the text ends: before the newline at the end of the file, if there is one."""
        row, column = self.editor.document.end
        if column == 0 and row > 0:
            row -= 1
        return row, len(self.editor.document.get_line(row))

    # What is shown

    def say(self, message: str) -> None:
        """Replace the status message; "" removes it."""
        self.query_one(StatusLine).say(message)

    def _say_later(self, job: Job, message: str) -> None:
        if job.kind == OFFERS:
            self._call_later(self._search.give_up, job, message)
        else:
            self._call_later(self.say, message)

    def _show(self) -> None:
        """Draw everything but the draft."""
        settings = f"{self.settings.until}  temperature {self.settings.temperature:g}"
        if self.settings.colour is not None:
            settings += f"  {self.settings.colour_name}"
        self.query_one("#settings", Static).update(Text(settings))
        self.query_one("#title", Static).update(self._title(max(8, self.size.width - len(settings) - 1)))
        offers = self.query_one("#offers", Static)
        offers.display = bool(self.offered)
        if self.offered:
            offers.update(offer_table(self.offered, self.size.width))
        hint = OFFER_HINT if self.offered else "Esc stop" if self.is_looking else HINT
        self.query_one("#hint", Static).update(Text(hint, no_wrap=True, overflow="ellipsis"))

    def _title(self, width: int) -> Text:
        """Return the file and the model in so many columns; * is for changes that are not saved."""
        mark = "* " if self.file.is_unsaved(self.editor.draft) else ""
        path = self.file.path
        names = ["unnamed"] if path is None else [str(path), path.name]
        titles = [Text(f"{mark}{' '.join(printable(name).split())}  {printable(self.model.name)}") for name in names]
        title = next((title for title in titles if title.cell_len <= width), titles[-1])
        title.truncate(width, overflow="ellipsis")
        return title

    # Continuations

    def action_offer(self) -> None:
        """Offer five continuations, or five others."""
        self._search.look(self._before_cursor(), self.settings)

    def _on_offers_changed(self, message: str | None) -> None:
        if message is not None:
            self.say(message)
        self._show()
        if self.offered:
            self._colour_soon()

    def on_editor_pressed(self, event: Editor.Pressed) -> None:
        """Insert a continuation by its number, or dismiss them all."""
        if event.key == "escape":
            self._search.dismiss()
        elif int(event.key) <= len(self.offered):
            chosen = self.offered[int(event.key) - 1]
            self._search.dismiss()
            self.editor.insert_continuation(chosen.text)
        elif self.is_looking:
            self._search.dismiss()
            self.editor.insert_continuation(event.key)

    def _before_cursor(self) -> str:
        row, column = self.editor.cursor_location
        return self.editor.draft[: self.editor.offset_of(row, column)]

    # Changes

    def on_text_area_changed(self) -> None:
        """Dismiss the continuations and the message, which belong to another text, and colour the text again."""
        self._search.dismiss()
        self.say("")
        self._colour_soon()

    def on_editor_refused(self, event: Editor.Refused) -> None:
        """Say why a change was not made."""
        self.say(event.reason)

    def on_text_area_selection_changed(self) -> None:
        """Dismiss the continuations once the cursor is elsewhere."""
        if self.offered or self.is_looking:
            self._search.dismiss()

    def on_editor_scrolled(self) -> None:
        """Colour what is in view now."""
        self._colour_soon()

    def on_resize(self, event: events.Resize) -> None:
        """Draw for another size."""
        self._show()
        self._colour_soon()

    # Settings

    def action_until(self) -> None:
        """Continue to another end."""
        self._change(self.settings.next_until)

    def action_temperature(self) -> None:
        """Take the next temperature."""
        self._change(self.settings.next_temperature)

    def _change(self, change: Callable[[], object]) -> None:
        is_offering = bool(self.offered) or self.is_looking
        self._search.dismiss()
        change()
        self._show()
        if is_offering:
            self.action_offer()

    def action_colour(self) -> None:
        """Take the next colours."""
        self.settings.next_colour()
        self._show()
        if self.app.no_color and self.settings.colour is not None:
            self.say("NO_COLOR is set: no colours are drawn")
        if self.settings.colour is None:
            self.worker.cancel(COLOURS)
            self.editor.show_styles({})
        self._colour_soon()

    # Colours

    def _colour_soon(self) -> None:
        if self._colour_timer is not None:
            self._colour_timer.stop()
            self._colour_timer = None
        if self.settings.colour is not None and not self.app.no_color and self.is_mounted:
            self._colour_timer = self.set_timer(PAUSE, self._colour)

    def _colour(self) -> None:
        """Let the worker colour the lines in view."""
        colour, text = self.settings.colour, self.editor.draft
        first, last = self.editor.lines_in_view()
        lengths = [len(self.editor.document.get_line(row)) for row in range(first, last)]
        begin, palette = self.editor.offset_of(first), palette_of(self.app.console)

        def work(job: Job) -> dict[int, list[Style]]:
            styles = line_styles(assistant_of(self.model), palette, colour, text, begin, lengths, job.check)
            return dict(enumerate(styles, start=first))

        self.worker.submit(Job(COLOURS, work, lambda styles: self._call_later(self._take_styles, colour, styles)))

    def _take_styles(self, colour: object, styles: dict[int, Sequence[Style]]) -> None:
        if colour == self.settings.colour:
            self.editor.show_styles(styles)

    # Notes

    def _note_reading(self) -> None:
        """Let the worker find out what the model reads as something else, and read the draft."""
        text = self.editor.draft

        def work(job: Job) -> ReadText:
            read = assistant_of(self.model).read(text)
            self._call_later(self._take_reading, read)
            assistant_of(self.model).reader.state_after(read.ids, lambda num_chars: job.check())
            return read

        self.worker.submit(Job(NOTES, work, lambda read: self._call_later(self._colour_soon)))

    def _take_reading(self, read: ReadText) -> None:
        self.notes = describe_reading(read, self.model.name)
        if self.notes and not self.offered and not self.is_looking:
            self.say(". ".join(self.notes))

    def action_help(self) -> None:
        """Show the keys and the notes."""
        self.app.push_screen(Help(KEYS, [*self.notes, f"Seed {self.settings.seed}."]))

    # Saving and leaving

    def action_save(self) -> None:
        """Save; ask for a name if there is none."""
        self._save()

    def action_save_as(self) -> None:
        """Save under another name."""
        self._ask_name(lambda: None)

    def _save(
        self, path: Path | None = None, *, overwrite: bool = False, then: Callable[[], object] = lambda: None
    ) -> None:
        if path is None and self.file.path is None:
            self._ask_name(then)
            return
        text = self.editor.draft
        try:
            self.file.save(text, path, overwrite=overwrite)
        except ChangedOnDiskError as error:
            answers = {
                "o": ("overwrite it", lambda: self._save(path, overwrite=True, then=then)),
                "n": ("another name", lambda: self._ask_name(then)),
            }
            self.app.push_screen(Choice(f"{error}.", answers))
        except DataError as error:
            self.say(f"not saved: {error}")
        except CharRNNError as error:
            self.say(f"not saved: {error}. F5 saves under another name.")
        else:
            self.say(f"saved {counted(len(text), 'character')} in {self.file.path}{self._size_warning(text)}")
            self._show()
            then()

    def _size_warning(self, text: str) -> str:
        """Return what to add to the message if the text that was saved is too long to be opened again, else ""."""
        assert self.file.path is not None, "it was saved"
        try:
            check_saved(self.file.path, text)
        except DataError as error:
            return f", but it cannot be opened again here: {error}"
        except OSError:  # removed by someone else at this moment
            pass
        return ""

    def _ask_name(self, then: Callable[[], object]) -> None:
        def answer(name: str) -> None:
            path = parse_path(name)
            self.app.call_later(lambda: self._save(path, then=then))

        self.app.push_screen(Question("Save as which file?", answer, command=COMMAND))

    def action_copy_or_leave(self) -> None:
        """Copy what is selected, or quit."""
        if self.editor.selected_text:
            self.editor.action_copy()
        else:
            self.action_leave()

    def action_leave(self) -> None:
        """Quit; ask first if something is not saved."""
        if not self.file.is_unsaved(self.editor.draft):
            self._leave()
            return
        name = "The draft" if self.file.path is None else str(self.file.path)
        answers = {"s": ("save and quit", lambda: self._save(then=self._leave)), "d": ("discard and quit", self._leave)}
        self.app.push_screen(Choice(f"{name} has changes that are not saved.", answers))

    def _leave(self) -> None:
        self.app.exit(True)


class Writer(FullScreenApp[bool]):
    """`charrnn write`: a draft, and continuations of it. The result is True if it was left by its keys."""

    CSS = (
        FullScreenApp.CSS
        + """
    #settings { width: auto; }
    Editor { height: 1fr; border: none; padding: 0 1; background: ansi_default; color: ansi_default; }
    Editor:focus { border: none; }
    Editor { scrollbar-size: 1 1; }
    Editor .text-area--cursor { text-style: reverse; background: ansi_default; color: ansi_default; }
    Editor .text-area--selection { text-style: reverse; background: ansi_default; color: ansi_default; }
    #offers { height: auto; max-height: 11; display: none; border-top: solid ansi_default; }
    .name { width: 21; }
    """
    )

    def __init__(self, model: Model, file: DraftFile, settings: Settings) -> None:
        """Edit the draft of a file with continuations by a model."""
        super().__init__()
        self.draft_screen = DraftScreen(model, file, settings, self.call_later, self.fail)
        self.work = self.draft_screen.worker

    def on_mount(self) -> None:
        """Show the draft."""
        self.push_screen(self.draft_screen)

    def copy_to_clipboard(self, text: str) -> None:
        """Copy a text; that of the draft with the author's own characters."""
        super().copy_to_clipboard(reveal(text) if self.screen is self.draft_screen else text)

    async def action_quit(self) -> None:
        """Quit from any screen; ask first if something is not saved."""
        if not isinstance(self.screen, Choice):
            self.draft_screen.action_leave()

    def action_help_quit(self) -> None:
        """Quit by Ctrl-C from a dialog, as by Ctrl-Q."""
        if not isinstance(self.screen, Choice):
            self.draft_screen.action_leave()
