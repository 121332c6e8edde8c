"""The application: the browser, and a thread that measures the cells meanwhile."""

import threading
from collections.abc import Callable
from typing import ClassVar

from textual.app import App
from textual.binding import Binding, BindingType

from charrnn.api import Model
from charrnn.cli.explorer.browser import Browser
from charrnn.cli.explorer.state import NUM_GUESSES, TracedText
from charrnn.errors import DataError
from charrnn.microscope.stages import measure_in_stages
from charrnn.text.encoded import EncodedText


class _Stopped(Exception):
    """The interface is closing: the work ends."""


class Explorer(App[None]):
    """`charrnn explore`: the browser, and a thread that measures the cells meanwhile."""

    ENABLE_COMMAND_PALETTE = False
    ALLOW_SELECT = False
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]  # noqa: RUF012
    CSS = """
    Screen { layout: vertical; }
    #top { height: 1; }
    #title { width: 1fr; height: 1; text-style: bold; }
    #legend { width: auto; }
    .-narrow #body { layout: vertical; }
    .-wide #body { layout: horizontal; }
    .-narrow CellTable { height: 30%; min-height: 3; }
    .-wide CellTable { width: 63; height: 1fr; }
    CellTable { scrollbar-size: 1 1; }
    CellTable > .datatable--header { text-style: bold; background: ansi_default; color: ansi_default; }
    CellTable > .datatable--cursor { text-style: reverse; background: ansi_default; color: ansi_default; }
    #reading { height: 1fr; width: 1fr; }
    #caption { height: auto; max-height: 2; }
    TextView { height: 1fr; scrollbar-gutter: stable; scrollbar-size: 1 1; }
    #sparkline, #readout, #hint { height: 1; }
    #status { height: auto; max-height: 2; display: none; text-style: italic; }
    #hint { text-style: dim; }
    .bold { text-style: bold; height: 1; }
    Comparison Vertical { width: 1fr; padding: 0 1 0 0; }
    ModalScreen { align: center middle; background: transparent; }
    #box { background: ansi_default; border: solid ansi_default; padding: 0 1; }
    #box { width: 72; max-width: 100%; height: auto; max-height: 100%; }
    .key { height: auto; }
    .name { width: 12; }
    .meaning { width: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+c,ctrl+q", "quit", show=False, priority=True)]

    def __init__(self, model: Model, text: EncodedText, *, num_shown: int, num_scored: int) -> None:
        """Show the first `num_shown` characters of a text, and score the cells on the first `num_scored`."""
        # The terminal's own colours, so that text without a value looks as it does everywhere else.
        super().__init__(ansi_color=True)
        self.theme = "ansi-dark"
        self.model = model
        self._shown, self._scored = text.part(0, num_shown), text.part(0, num_scored)
        self.browser = Browser(model, TracedText(model, self._shown.text))
        self._is_closing = False
        self._is_end_asked: Callable[[], bool] | None = None
        self._torch_at_work = threading.Lock()
        self._failure: Exception | None = None

    def on_mount(self) -> None:
        self.push_screen(self.browser)
        if self._is_end_asked is not None:
            self.set_interval(0.1, self._heed)  # seconds
        # After the first screen is drawn, because importing torch takes a second.
        self.browser.call_after_refresh(threading.Thread(target=self._measure, daemon=True).start)

    def run_until(self, is_end_asked: Callable[[], bool]) -> None:
        """Run until the interface is closed or `is_end_asked` returns true."""
        self._is_end_asked = is_end_asked
        self.run()

    def finish(self) -> None:
        """End the work; call this when the interface is closed. Raises the error that closed it, if there was one."""
        self._is_closing = True
        # Never released: a thread that runs torch code while the process ends can crash it.
        self._torch_at_work.acquire()
        if self._failure is not None:
            raise self._failure

    def _heed(self) -> None:
        if self._is_end_asked is not None and self._is_end_asked():
            self.exit()

    def _measure(self) -> None:
        """Measure the cells and show each result."""

        def show_share(label: str, share: float) -> None:
            if self._is_closing:
                raise _Stopped
            self.call_later(self.browser.say, f"{label} {share:.0%}" if share else f"{label} ...")

        try:
            # The cache is that of `charrnn visualize`: the same figures are measured once for both.
            study = self.model.study(self._scored, cached=True)
            results = measure_in_stages(study, self._shown, num_guesses=NUM_GUESSES, on_share=show_share)
            while True:
                with self._torch_at_work:
                    result = next(results, None)
                if result is None:
                    break
                self.call_later(self.browser.take, result)
            self.call_later(self.browser.say, "")
        except _Stopped:
            pass
        except DataError as error:
            self.call_later(self.browser.say, f"cells are not scored: {error}")
        except Exception as error:  # of a worker thread: raised again where the command ends
            self._failure = error
            self.call_later(self.exit)
