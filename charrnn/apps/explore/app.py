"""The application: the browser, and threads that measure the cells meanwhile."""

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType

from charrnn.api import Model
from charrnn.apps.explore.browser import Browser
from charrnn.apps.explore.comparison import Comparison
from charrnn.apps.explore.keys import COMMAND
from charrnn.apps.explore.pages import Page, Subject
from charrnn.apps.explore.stages import OnShare, measure_in_stages, page_in_stages, share_of
from charrnn.apps.explore.state import NUM_GUESSES, Clamp, TracedText
from charrnn.apps.explore.work import Work
from charrnn.apps.full_screen import FullScreenApp, Stopped
from charrnn.cells.directions import NUM_CELLS
from charrnn.cli.flags import with_flags
from charrnn.config import resolved
from charrnn.errors import CharRNNError, DataError
from charrnn.lab.directions_view import ABOUT_DIRECTIONS, contribution_pictures
from charrnn.model.clamping import Direction
from charrnn.text.encoded import EncodedText
from charrnn.views.cell_page import page_pictures, summary_pictures

if TYPE_CHECKING:
    from charrnn.cells.analysis import CellAnalysis


class Explorer(FullScreenApp[None]):
    """`charrnn explore`: the browser, and threads that measure the cells meanwhile."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]  # noqa: RUF012
    CSS = (
        FullScreenApp.CSS
        + """
    #legend { width: auto; }
    .-narrow #body { layout: vertical; }
    .-wide #body { layout: horizontal; }
    .-narrow CellTable { height: 30%; min-height: 3; }
    .-wide CellTable { width: 66; height: 1fr; }
    CellTable { scrollbar-size: 1 1; }
    CellTable > .datatable--header { text-style: bold; background: ansi_default; color: ansi_default; }
    CellTable > .datatable--cursor { text-style: reverse; background: ansi_default; color: ansi_default; }
    #reading { height: 1fr; width: 1fr; }
    #caption { height: auto; max-height: 2; }
    TextView { height: 1fr; scrollbar-gutter: stable; scrollbar-size: 1 1; }
    TextView, CellTable, #pictures, #box {
        scrollbar-background: ansi_default; scrollbar-background-hover: ansi_default;
        scrollbar-background-active: ansi_default; scrollbar-color: ansi_bright_black;
    }
    #sparkline, #readout { height: 1; }
    #summary { height: auto; max-height: 6; }
    #pictures { height: 1fr; scrollbar-size: 1 1; scrollbar-gutter: stable; }
    #page { height: auto; }
    .bold { text-style: bold; height: auto; }
    Comparison Vertical { width: 1fr; padding: 0 1 0 0; }
    .name { width: 12; }
    """
    )
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+c,ctrl+q", "quit", show=False, priority=True)]

    def __init__(self, model: Model, text: EncodedText, *, num_shown: int, num_scored: int) -> None:
        """Show the first `num_shown` characters of a text, and score the cells on the first `num_scored`."""
        super().__init__()
        self.model = model
        self._shown, self._scored = text.part(0, num_shown), text.part(0, num_scored)
        self.browser = Browser(model, TracedText(model, self._shown.text), self)
        self.work: Work = Work(self.fail)

    def on_mount(self) -> None:
        """Show the browser, and measure the cells meanwhile."""
        self.push_screen(self.browser)
        # After the first screen is drawn, because importing torch takes a second.
        self.browser.call_after_refresh(self.work.start, self._measure)

    @cached_property
    def _study(self) -> "CellAnalysis":
        # The cache is that of `charrnn visualize`: the same figures are measured once for both.
        return self.model.study(self._scored, cached=True)

    def _reporter(self, say: Callable[[str], object], pause: Callable[[], None]) -> OnShare:
        """Return a callback that says the progress of a job, and lets newer jobs run first."""

        def show_share(label: str, share: float) -> None:
            pause()
            self.call_later(say, f"{label} {share:.0%}" if share else f"{label} ...")

        return show_share

    def _measure(self, pause: Callable[[], None]) -> None:
        """Measure the cells and show each result."""
        try:
            on_share = self._reporter(self.browser.say, pause)
            for result in measure_in_stages(self._study, self._shown, num_guesses=NUM_GUESSES, on_share=on_share):
                self.call_later(self.browser.take, result)
            self.call_later(self.browser.say, "")
        except DataError as error:
            self.call_later(self.browser.say, f"cells are not scored: {with_flags(error.message, COMMAND)}")

    def measure_page(self, page: Page, subject: Subject) -> None:
        """Measure a cell or a direction, and show on its page what is known, part by part, while it shows that."""

        def say(message: str) -> None:
            page.say(subject, message)

        def measure(pause: Callable[[], None]) -> None:
            on_share = self._reporter(say, pause)
            if isinstance(subject.what, Direction):
                advance = share_of("ablating", self._study.num_read_ablating(), on_share)
                contribution = self._study.ablate_direction(subject.what, on_progress=advance)
                self.call_later(page.take, subject, [], [*contribution_pictures(contribution), Text(ABOUT_DIRECTIONS)])
            else:
                for found in page_in_stages(self._study, *subject.what, on_share=on_share):
                    summary = summary_pictures(found, subject.detector)
                    self.call_later(page.take, subject, summary, page_pictures(found))
                    if page.subject is not subject:
                        return
            self.call_later(say, "")

        self.work.start(measure)

    def measure_direction(self, detector: str, show: Callable[[Direction], object]) -> None:
        """Fit the direction of a detector and call `show` with it."""

        def measure(pause: Callable[[], None]) -> None:
            on_share = self._reporter(self.browser.say, pause)
            config = self.model.config
            size = min(NUM_CELLS, resolved(config.num_layers) * resolved(config.hidden_size))
            # The findings have read the text already: it is read once more.
            advance = share_of(f"fitting {detector}@{size}", len(self._scored), on_share)
            try:
                self.call_later(show, self._study.direction(detector, size, on_progress=advance))
            except DataError as error:
                self.call_later(self.browser.say, with_flags(error.message, COMMAND))
            else:
                self.call_later(self.browser.say, "")

        self.work.start(measure)

    def generate_both(self, comparison: Comparison, clamp: Clamp) -> None:
        """Generate the two texts of a comparison and show them, unless it is closed or shows another clamp by then."""

        def generate(pause: Callable[[], None]) -> None:
            def check() -> None:
                pause()
                if comparison.clamp is not clamp:
                    raise Stopped

            try:
                clamped, free = (
                    clamp.generate(self.model, is_clamped=is_clamped, check=check) for is_clamped in (True, False)
                )
            except CharRNNError as error:
                self.call_later(comparison.say, clamp, with_flags(error.message, COMMAND))
            else:
                self.call_later(comparison.take, clamp, clamped, free)

        self.work.start(generate)
