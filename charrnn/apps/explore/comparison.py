"""The screen with two generated texts: with a cell or a direction clamped, and without."""

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.widgets import Static

from charrnn.apps.explore.state import Clamp
from charrnn.apps.explore.text_view import TextView
from charrnn.cli.streams import printable
from charrnn.views.visible import all_visible


class Comparison(Screen[None]):
    """Two generated texts side by side: with a cell clamped, and without."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss", show=False),
        Binding("r", "again", show=False),
        Binding("j,down", "scroll(1)", show=False),
        Binding("k,up", "scroll(-1)", show=False),
    ]

    def __init__(self, clamp: Clamp, generate: Callable[["Comparison", Clamp], object]) -> None:
        """Compare; `generate` has the texts of a clamp generated, and then calls `take` or `say`."""
        super().__init__()
        self.clamp: Clamp | None = clamp
        """What is compared; None once the screen is closed."""
        self._generate_both = generate

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

    def on_unmount(self) -> None:
        self.clamp = None

    def action_again(self) -> None:
        if self.clamp is not None:
            self.clamp = replace(self.clamp, seed=self.clamp.seed + 1)
            self._generate()

    def action_scroll(self, by: int) -> None:
        for view in self.query(TextView):
            view.scroll_relative(y=by, animate=False)

    def say(self, clamp: Clamp, message: str) -> None:
        """Show a message in place of the name of what is clamped, if the screen still compares that."""
        if clamp is self.clamp:
            self.query_one("#clamped-title", Static).update(Text(printable(message)))

    def take(self, clamp: Clamp, clamped: tuple[str, list[float]], free: tuple[str, list[float]]) -> None:
        """Show two texts with a value for each character, if the screen still compares that."""
        if clamp is self.clamp:
            self.say(clamp, f"{clamp.name} clamped at {clamp.value:.4g}")
            self.query_one("#clamped", TextView).show(*clamped)
            self.query_one("#free", TextView).show(*free)

    def _generate(self) -> None:
        if self.clamp is None:
            return
        clamp, (layer, unit) = self.clamp, self.clamp.cell
        after = all_visible(clamp.prime[-30:])
        self.query_one("#title", Static).update(Text(f"after …{after}   seed {clamp.seed}", no_wrap=True))
        self.query_one("#free-title", Static).update(Text(f"not clamped, coloured by {layer}:{unit}"))
        self.say(clamp, "generating ...")
        self._generate_both(self, clamp)
