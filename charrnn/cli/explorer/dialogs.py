"""Screens in place of the browser or over it: a question, the list of keys, two generated texts."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Input, Static

from charrnn.api import Model
from charrnn.cli.explorer.state import Clamp
from charrnn.cli.explorer.text_view import TextView
from charrnn.cli.flags import with_flags
from charrnn.cli.streams import printable
from charrnn.errors import CharRNNError, UsageError
from charrnn.render.visible import all_visible

COMMAND = "explore"
"""The command whose options messages name."""
KEYS = (
    ("↑ ↓", "the cell before, the cell after"),
    ("Home End", "the first cell of the list, the last"),
    ("← →", "along the text, character by character"),
    ("j k", "a line of text down, up"),
    ("PgDn PgUp", "a page of text down, up"),
    ("1 to 9", "the cell of the list with that number"),
    ("Enter p", "the page of the cell: passages, what it writes, the cost of ablating it, values, what sets it"),
    ("d", "the direction of the cell's detector over several cells, in place of the cell, and back"),
    ("s S", "the next list of cells, the one before: the best for each detector, all by one detector, all"),
    ("/", "go to a cell, layer:unit"),
    ("t", "type a text; the cells follow. Backspace deletes"),
    ("Esc", "stop typing; once more: back to the text that was given"),
    ("c", "clamp the cell or the direction at a value, and compare what the model generates from the cursor on"),
    ("?", "these keys"),
    ("q", "quit; Ctrl-C too, from everywhere"),
)
"""Keys and what they do, for the help."""


class Question(ModalScreen[None]):
    """A question with one line of input; it stays, with the error below it, until the answer is valid."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", show=False)]

    def __init__(self, question: str, answer: Callable[[str], object]) -> None:
        super().__init__()
        self._question, self._answer = question, answer

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            yield Static(Text(self._question))
            yield Input(compact=True, select_on_focus=False)
            yield Static(id="wrong")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        try:
            self._answer(event.value)
        except UsageError as error:
            self.query_one("#wrong", Static).update(Text(printable(with_flags(error.message, COMMAND))))
        else:
            self.dismiss()


class Help(ModalScreen[None]):
    """The list of all keys."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q,enter", "dismiss", show=False)]

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="box"):
            for key, meaning in KEYS:
                with Horizontal(classes="key"):
                    yield Static(Text(key, style="bold"), classes="name")
                    yield Static(Text(meaning), classes="meaning")
            yield Static(Text("\nRed is a cell's -1, blue its +1. Esc closes this."))


class Comparison(Screen[None]):
    """Two generated texts side by side: with a cell clamped, and without."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss", show=False),
        Binding("r", "again", show=False),
        Binding("j,down", "scroll(1)", show=False),
        Binding("k,up", "scroll(-1)", show=False),
    ]

    def __init__(self, model: Model, clamp: Clamp) -> None:
        super().__init__()
        self._model, self._clamp = model, clamp

    def compose(self) -> ComposeResult:
        yield Static(id="title")
        with Horizontal():
            for side in ("clamped", "free"):
                with Vertical():
                    yield Static(id=f"{side}-title", classes="bold")
                    yield TextView(id=side)
        yield Static(Text("jk scroll  r other random numbers  Esc back"), id="hint")

    def on_mount(self) -> None:
        self._generate()

    def action_again(self) -> None:
        self._clamp = replace(self._clamp, seed=self._clamp.seed + 1)
        self._generate()

    def action_scroll(self, by: int) -> None:
        for view in self.query(TextView):
            view.scroll_relative(y=by, animate=False)

    def _generate(self) -> None:
        clamp, (layer, unit) = self._clamp, self._clamp.cell
        after = all_visible(clamp.prime[-30:])
        self.query_one("#title", Static).update(Text(f"after …{after}   seed {clamp.seed}", no_wrap=True))
        self.query_one("#free-title", Static).update(Text(f"not clamped, coloured by {layer}:{unit}"))
        title = self.query_one("#clamped-title", Static)
        title.update(Text("generating ..."))

        def show(clamped: tuple[str, list[float]], free: tuple[str, list[float]]) -> None:
            # Another seed may have been asked for meanwhile.
            if self.is_mounted and clamp is self._clamp:
                title.update(Text(f"{clamp.name} clamped at {clamp.value:.4g}"))
                self.query_one("#clamped", TextView).show(*clamped)
                self.query_one("#free", TextView).show(*free)

        def generate() -> None:
            try:
                texts = [clamp.generate(self._model, is_clamped=is_clamped) for is_clamped in (True, False)]
            except CharRNNError as error:
                self.call_later(title.update, Text(printable(with_flags(error.message, COMMAND))))
            else:
                self.call_later(show, *texts)

        threading.Thread(target=generate, daemon=True).start()
