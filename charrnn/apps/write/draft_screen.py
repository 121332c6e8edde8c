"""The screen of the editor: the draft, the continuations below it, and the keys."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

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
from charrnn.apps.dialogs import Choice, Help, Question
from charrnn.apps.full_screen import StatusLine
from charrnn.apps.write.colours import line_styles
from charrnn.apps.write.drafts import ChangedOnDiskError, check_lines, check_saved, read_recovery, recovery_files
from charrnn.apps.write.editor import Editor
from charrnn.apps.write.keys import COMMAND, KEYS
from charrnn.apps.write.offers import OfferSearch, offer_table
from charrnn.apps.write.state import DraftFile, Settings, describe_reading, parse_path
from charrnn.apps.write.substitution import ReadText
from charrnn.apps.write.worker import Job, Worker
from charrnn.cli.streams import printable
from charrnn.errors import CharRNNError, DataError, counted
from charrnn.generation.records import Continuation
from charrnn.views.palette import palette_of

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
            styles = line_styles(self.model.assistant, palette, colour, text, begin, lengths, job.check)
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
            read = self.model.assistant.read(text)
            self._call_later(self._take_reading, read)
            self.model.assistant.reader.state_after(read.ids, lambda num_chars: job.check())
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

    def ask_about_recovery(self) -> None:
        """Ask what to do with text that was not saved when an editor ended, if there is any."""
        found = recovery_files(self.file.path)
        if not found:
            return
        answers = {
            "r": ("recover it", lambda: self._take_over(found[0])),
            "d": ("delete it", lambda: self._delete(found[0])),
        }
        self.app.push_screen(Choice(f"{found[0]} has text that was not saved when the editor ended.", answers))

    def _take_over(self, path: Path) -> None:
        try:
            text = read_recovery(path, self.file.format)
            check_lines(path, text)
            is_undone = self.editor.replace_all(text)
        except CharRNNError as error:
            self.say(str(error))
            return
        self.file.take_over(path, text, is_undone)
        self.editor.move_cursor(self._end_of_text())
        self._show()
        self._note_reading()

    def _delete(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            self.say(f"cannot delete {path}: {error.strerror}")

    def _leave(self) -> None:
        self.app.exit(True)
