"""The events of a training run."""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

from charrnn.errors import Message
from charrnn.system.files import JSON


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Base class of all events. `seconds` count from the call of `train` or `resume`."""

    event: ClassVar[str]
    """Name of the class without "Event", in lower case."""

    def to_json(self) -> dict[str, JSON]:
        """Return the object that `train --json` prints on one line."""
        return {"event": self.event, **asdict(self)}


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelEvent(Event):
    """Base class of the events that describe the model and its text.

    `num_distinct_chars` counts the characters of the text, `vocab_size` the entries of the
    vocabulary with the unknown symbol. They differ if rare characters became unknown, and for a run
    that starts from another run's weights. `trained_share` is the share of the validation text
    that the training text has as well (`charrnn.text.copies.trained_share`); None for a resumed
    run.
    """

    num_parameters: int
    config: dict[str, Any]
    corpus: str
    num_chars: int
    num_train_chars: int
    num_distinct_chars: int
    vocab_size: int
    trained_share: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanEvent(ModelEvent):
    """The text is read and the model is chosen. The steps that fit into a budget in minutes are
    measured next."""

    event: ClassVar[Literal["plan"]] = "plan"


@dataclass(frozen=True, kw_only=True, slots=True)
class StartEvent(ModelEvent):
    """The run's folder exists and training starts."""

    event: ClassVar[Literal["start"]] = "start"
    run: str
    num_steps: int
    first_step: int
    notes: tuple[str, ...] = ()
    """What may surprise the user."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "notes", tuple(map(Message, self.notes)))


@dataclass(frozen=True, kw_only=True, slots=True)
class StepEvent(Event):
    """An optimizer step; `train_nats` is its mean loss in nats per character."""

    event: ClassVar[Literal["step"]] = "step"
    step: int
    seconds: float
    train_nats: float
    grad_norm: float
    learning_rate: float
    chars_per_second: float


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationEvent(Event):
    """A validation: the stateful loss on the validation part, or on `num_chars` characters of it,
    and the share of them that the first guess gets right."""

    event: ClassVar[Literal["evaluation"]] = "evaluation"
    step: int
    seconds: float
    val_nats: float
    val_bpc: float
    first_guess: float | None
    num_chars: int
    is_best: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleEvent(Event):
    """A sample that the model generated after this step."""

    event: ClassVar[Literal["sample"]] = "sample"
    step: int
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedEvent(Event):
    """A checkpoint was saved in the folder `path`."""

    event: ClassVar[Literal["saved"]] = "saved"
    step: int
    path: str


@dataclass(frozen=True, kw_only=True, slots=True)
class WarningEvent(Event):
    """A problem that does not end training."""

    event: ClassVar[Literal["warning"]] = "warning"
    message: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", Message(self.message))


@dataclass(frozen=True, kw_only=True, slots=True)
class DoneEvent(Event):
    """Training ended, after its last step or because a stop was requested (`is_complete` false);
    all is saved."""

    event: ClassVar[Literal["done"]] = "done"
    step: int
    seconds: float
    val_nats: float | None
    best_nats: float | None
    """The validation loss at `best_step`, the step that commands load; None if no step was
    validated."""
    best_step: int
    run: str
    is_complete: bool
    with_counts_nats: float | None = None
    """The validation loss at `best_step` together with counts of the training text; None where
    nothing was counted."""
    recipe: str | None = None
    """The path of the configuration that trains the same weights again; None if a run was stopped,
    resumed or went back a step."""


TrainEvent = (
    PlanEvent
    | StartEvent
    | StepEvent
    | EvaluationEvent
    | SampleEvent
    | SavedEvent
    | WarningEvent
    | DoneEvent
)
