"""What happens while a model is trained."""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from charrnn.errors import Message


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One thing that happened while training. `seconds` count from the start of the process."""

    event: ClassVar[str]

    def to_json(self) -> dict[str, Any]:
        """The event as the object that `train --json` prints on one line."""
        return {"event": self.event, **asdict(self)}


@dataclass(frozen=True, kw_only=True, slots=True)
class StartEvent(Event):
    """The run is set up: nothing is trained yet, its folder exists.

    `num_distinct_chars` counts those of the text; `vocab_size` the entries of the model's alphabet, the unknown symbol
    included. They differ where rare characters are not learned, and with `--init-from`.
    """

    event: ClassVar[str] = "start"
    run: str
    num_parameters: int
    num_steps: int
    first_step: int
    config: dict[str, Any]
    corpus: str
    num_chars: int
    num_train_chars: int
    num_distinct_chars: int
    vocab_size: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class StepEvent(Event):
    """One optimizer step; `train_nats` is its mean loss in nats per character."""

    event: ClassVar[str] = "step"
    step: int
    seconds: float
    train_nats: float
    grad_norm: float
    learning_rate: float
    chars_per_second: float


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationEvent(Event):
    """Stateful loss on the whole validation split."""

    event: ClassVar[str] = "evaluation"
    step: int
    seconds: float
    val_nats: float
    val_bpc: float
    is_best: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleEvent(Event):
    """What the model writes at this step."""

    event: ClassVar[str] = "sample"
    step: int
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedEvent(Event):
    """A step was committed to disk at `path`."""

    event: ClassVar[str] = "saved"
    step: int
    path: str


@dataclass(frozen=True, kw_only=True, slots=True)
class WarningEvent(Event):
    """Something the user should know; training goes on."""

    event: ClassVar[str] = "warning"
    message: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", Message(self.message))


@dataclass(frozen=True, kw_only=True, slots=True)
class DoneEvent(Event):
    """The budget is spent, or a stop was asked for (`is_complete` false); everything is saved."""

    event: ClassVar[str] = "done"
    step: int
    seconds: float
    val_nats: float | None
    best_step: int
    run: str
    is_complete: bool


TrainEvent = StartEvent | StepEvent | EvaluationEvent | SampleEvent | SavedEvent | WarningEvent | DoneEvent
