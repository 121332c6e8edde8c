"""The application: the browser, and threads that measure the cells meanwhile, quickest results first."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import cached_property
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType

from charrnn.api import Model
from charrnn.apps.explore.browser import Browser
from charrnn.apps.explore.screens import COMMAND, Comparison, Page, Subject
from charrnn.apps.explore.state import NUM_GUESSES, Clamp, RankedFindings, TracedText
from charrnn.apps.full_screen import FullScreenApp, Stopped
from charrnn.cells.analysis import CellAnalysis
from charrnn.cells.records import CellPage
from charrnn.cells.trace import Trace, trace_text
from charrnn.cli.flags import with_flags
from charrnn.config import resolved
from charrnn.errors import CharRNNError, DataError
from charrnn.lab.directions import ABOUT_DIRECTIONS, ablate_direction, direction
from charrnn.model.clamping import NUM_CELLS, Direction
from charrnn.progress import CallbackProgress, Task, using
from charrnn.text.encoded import EncodedText
from charrnn.views.cell_page import page_pictures, summary_pictures


def measure_in_stages(
    study: CellAnalysis, shown: EncodedText, *, num_guesses: int
) -> "Iterator[Trace | RankedFindings]":
    """Yield the trace of `shown`, then the findings of `study`, then the same with all cells ranked.

    Raises DataError if the text of the study is too short to score.
    """
    yield trace_text(study.network(), shown, num_guesses=num_guesses)
    findings = study.findings()
    yield RankedFindings(findings, {})
    if findings.scores:
        yield RankedFindings(findings, study.ranking([score.detector for score in findings.scores]))


def page_in_stages(study: CellAnalysis, layer: int, unit: int) -> Iterator[CellPage]:
    """Yield the page of a cell with its passages and values, and again with each other part as it is measured."""
    yield from study.page_in_parts(layer, unit)


def progress_to(say: Callable[[str], object], pause: Callable[[], None]) -> CallbackProgress:
    """Return what says the progress of a job, and lets newer jobs run first."""

    def show_task(task: Task) -> None:
        pause()
        share = min(1, task.done / task.total) if task.total else 0
        say(f"{task.label} {share:.0%}" if share else f"{task.label} ...")

    return CallbackProgress(show_task)


Job = Callable[[Callable[[], None]], None]
"""Something to compute, given a function that it calls often: it lets newer jobs run first, and raises Stopped."""


class Work:
    """Jobs of which one runs at a time, the newest first, so that no two use torch or the findings at once."""

    def __init__(self, on_failure: Callable[[Exception], object]) -> None:
        """Call `on_failure` with what a job raises, except Stopped, in the job's thread."""
        self._on_failure = on_failure
        self._changed = threading.Condition()
        self._jobs: list[object] = []
        self._running: object | None = None
        self._is_closed = False

    def start(self, job: Job) -> None:
        """Run a job in a thread."""
        name = object()
        with self._changed:
            self._jobs.append(name)

        def run() -> None:
            try:
                self._take_turn(name)
                job(lambda: self._take_turn(name))
            except Stopped:
                pass
            except Exception as error:  # of a worker thread: raised again where the command ends
                self._on_failure(error)
            finally:
                with self._changed:
                    self._jobs.remove(name)
                    if self._running is name:
                        self._running = None
                    self._changed.notify_all()

        threading.Thread(target=run, daemon=True).start()

    def close(self) -> None:
        """End all jobs, and wait for the one that runs; none runs afterwards."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            # A thread that runs torch code while the process ends can crash it.
            self._changed.wait_for(lambda: self._running is None)

    @property
    def is_closed(self) -> bool:
        """Whether no job runs any more."""
        return self._is_closed and self._running is None

    def _take_turn(self, name: object) -> None:
        with self._changed:
            if self._running is name and self._jobs[-1] is not name and not self._is_closed:
                self._running = None
                self._changed.notify_all()
            self._changed.wait_for(
                lambda: self._is_closed or (self._jobs[-1] is name and self._running in (None, name))
            )
            if self._is_closed:
                raise Stopped
            self._running = name


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

    def _progress(self, say: Callable[[str], object], pause: Callable[[], None]) -> AbstractContextManager[None]:
        """Say the progress of a job, and let newer jobs run first."""
        return using(progress_to(lambda message: self.call_later(say, message), pause))

    def _measure(self, pause: Callable[[], None]) -> None:
        """Measure the cells and show each result."""
        try:
            with self._progress(self.browser.say, pause):
                for result in measure_in_stages(self._study, self._shown, num_guesses=NUM_GUESSES):
                    self.call_later(self.browser.take, result)
            self.call_later(self.browser.say, "")
        except DataError as error:
            self.call_later(self.browser.say, f"cells are not scored: {with_flags(error.message, COMMAND)}")

    def measure_page(self, page: Page, subject: Subject) -> None:
        """Measure a cell or a direction, and show on its page what is known, part by part, while it shows that."""

        def say(message: str) -> None:
            page.say(subject, message)

        def measure(pause: Callable[[], None]) -> None:
            with self._progress(say, pause):
                if isinstance(subject.what, Direction):
                    contribution = ablate_direction(self._study, subject.what)
                    pictures = [*contribution.view(), Text(ABOUT_DIRECTIONS)]
                    self.call_later(page.take, subject, [], pictures)
                else:
                    for found in page_in_stages(self._study, *subject.what):
                        summary = summary_pictures(found, subject.detector)
                        self.call_later(page.take, subject, summary, page_pictures(found))
                        if page.subject is not subject:
                            return
            self.call_later(say, "")

        self.work.start(measure)

    def measure_direction(self, detector: str, show: Callable[[Direction], object]) -> None:
        """Fit the direction of a detector and call `show` with it."""

        def measure(pause: Callable[[], None]) -> None:
            config = self.model.config
            size = min(NUM_CELLS, resolved(config.num_layers) * resolved(config.hidden_size))
            try:
                with self._progress(self.browser.say, pause):
                    self.call_later(show, direction(self._study, detector, size))
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
