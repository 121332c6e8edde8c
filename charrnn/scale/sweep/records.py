"""The runs of a sweep, its table, and the events of its progress."""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from charrnn.display import Displayable
from charrnn.errors import Message

FINISHED, FAILED, STOPPED, WAITING = "finished", "failed", "stopped", "waiting"
"""States of a run of a sweep: trained to its end; ended by an error; saved before its end; not started."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepRun:
    """One run of a sweep: one setting with one seed."""

    name: str
    """Name of its folder in that of the sweep."""
    values: dict[str, Any]
    """The swept fields of the configuration."""
    seed: int
    status: str = WAITING
    """FINISHED, FAILED, STOPPED or WAITING."""
    nats_per_char: float | None = None
    """Lowest validation loss of a finished run: that of its best step, which every command loads."""
    best_step: int | None = None
    step: int = 0
    num_steps: int | None = None
    """Steps of its budget; None before it was planned."""
    num_parameters: int | None = None
    text_digest: str | None = None
    """SHA-256 of its text."""
    message: str | None = None
    """Why it failed, or what is unusual about it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepRow:
    """One setting of a sweep: mean, spread and interval over its seeds.

    Everything but `values` is None where too few runs are finished: `mean` needs one, the rest two.
    """

    values: dict[str, Any]
    num_finished: int
    num_failed: int
    num_runs: int
    num_parameters: int | None
    """Weights of the largest of its models."""
    mean: float | None
    """Mean validation loss in nats per character."""
    spread: float | None
    """Standard deviation over the seeds, with n - 1."""
    low: float | None
    """Ends of the 95 % interval of the mean: Student's t over the seeds."""
    high: float | None
    difference: float | None
    """Mean minus that of the first row; None for the first row."""
    difference_low: float | None
    """Ends of the 95 % interval of the difference."""
    difference_high: float | None
    is_paired: bool
    """Whether the interval of the difference is that of pairs of runs with one seed, else Welch's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepReport(Displayable):
    """The table of a sweep, and its runs."""

    folder: str
    fields: tuple[str, ...]
    """The swept fields, in the order of the command."""
    num_seeds: int
    rows: tuple[SweepRow, ...]
    """Best first: settings without a failed run by their mean, then the others."""
    runs: tuple[SweepRun, ...]
    notes: tuple[str, ...] = ()
    """What limits the comparison."""

    def to_json(self) -> dict[str, Any]:
        """Return the object that `sweep --json` prints."""
        return {**asdict(self), "notes": [str(Message(note)) for note in self.notes]}


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepEvent:
    """Base class of the events of a sweep."""

    event: ClassVar[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepStartEvent(SweepEvent):
    """The sweep's folder is locked and its runs are known; those of a search are only counted."""

    event: ClassVar[str] = "sweep-start"
    folder: str
    num_runs: int
    num_finished: int
    """Runs that an earlier start of the sweep has finished."""
    jobs: int
    threads: int
    """Processor threads of each run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunProgressEvent(SweepEvent):
    """A run has taken a step, or has been started (at the step that it continues from)."""

    event: ClassVar[str] = "run-progress"
    name: str
    step: int
    num_steps: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RunEndEvent(SweepEvent):
    """A run has ended; `is_new` is false if an earlier start of the sweep has finished it."""

    event: ClassVar[str] = "run-end"
    run: SweepRun
    is_new: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepEndEvent(SweepEvent):
    """All runs have ended, or a stop was requested (`is_complete` is false); everything is saved."""

    event: ClassVar[str] = "sweep-end"
    report: SweepReport
    is_complete: bool


AnySweepEvent = SweepStartEvent | RunProgressEvent | RunEndEvent | SweepEndEvent
"""Any event of a sweep."""
