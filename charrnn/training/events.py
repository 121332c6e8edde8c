"""The events of a training run."""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

from charrnn.system.files import JSON


@dataclass(frozen=True, kw_only=True)
class Event:
    """Base class of all events.

    A loop over `train` asks for the `event` of each, which is a word, and reads the fields of that
    kind.
    """

    event: ClassVar[str]
    """Name of the class without "Event", in lower case."""

    def to_json(self) -> dict[str, JSON]:
        """Return the object that `train --json` prints on one line.

        A log of one's own that other programs read can be written by it, a line for each event.

        Returns:
            A dictionary, which `json.dumps` takes.

        Example:
            >>> from charrnn.training.events import SampleEvent
            >>> SampleEvent(step=100, text="The").to_json()
            {'event': 'sample', 'step': 100, 'text': 'The'}
        """
        return {"event": self.event, **asdict(self)}


@dataclass(frozen=True, kw_only=True)
class ModelEvent(Event):
    """Base class of the events that describe the model and its text.

    The characters of the text and the entries of the vocabulary differ in number if rare characters
    became unknown, and for a run that starts from another run's weights.
    """

    num_parameters: int
    """Number of trained weights."""
    config: dict[str, Any]
    """The fields of the configuration; before the start of training some may be `auto`."""
    corpus: str
    """The name of the text."""
    kinds: str
    """How many files of each suffix the text has, with their shares; "" for a single file."""
    num_chars: int
    """Characters of the text; bytes, for the byte alphabet."""
    num_train_chars: int
    """Characters of the training text."""
    num_distinct_chars: int
    """Distinct characters of the text."""
    vocab_size: int
    """Entries of the vocabulary, the unknown symbol among them."""
    trained_share: float | None = None
    """The share of the validation text that the training text has as well, from 0 to 1
    (`charrnn.text.copies.trained_share`); None for a resumed run."""


@dataclass(frozen=True, kw_only=True)
class PlanEvent(ModelEvent):
    """The text is read and the model is chosen. The steps that fit into a budget in minutes are
    measured next. It has the first fields of `start`, up to `trained_share`.

    It is the first event, before the wait for the measurement: whoever does not like the choice
    closes the iterator, and no run is left.
    """

    event: ClassVar[Literal["plan"]] = "plan"


@dataclass(frozen=True, kw_only=True)
class StartEvent(ModelEvent):
    """The run's folder exists and training starts.

    It has what a display needs before the first step: the folder, the number of steps for a bar
    (which a `ReplannedEvent` may change), and the notes to show.
    """

    event: ClassVar[Literal["start"]] = "start"
    run: str
    """The folder of the run."""
    num_steps: int
    """Steps of the whole training."""
    first_step: int
    """The steps that were taken before: 0 for a new run."""
    notes: tuple[str, ...] = ()
    """What may surprise the user."""


@dataclass(frozen=True, kw_only=True)
class StepEvent(Event):
    """An optimizer step; `train_nats` is its mean loss in nats per character.

    It comes after every step, and is for a bar or a curve. A single step says little of how good
    the model is: `EvaluationEvent` does.
    """

    event: ClassVar[Literal["step"]] = "step"
    step: int
    """The number of the step, from 1."""
    seconds: float
    """Seconds since the call of `train` or `resume`."""
    train_nats: float
    """The mean loss of the step in nats per character."""
    grad_norm: float
    """The norm of all gradients together, before they are clipped."""
    learning_rate: float
    """The learning rate of the step."""
    chars_per_second: float
    """Characters of the training text that the step read per second."""


@dataclass(frozen=True, kw_only=True)
class ReplannedEvent(Event):
    """What is left of a budget in minutes was planned again, because steps take longer or less long
    than they did: the training has another number of steps from here on.

    A bar of progress gets its new end from `num_steps`: that of the start event no longer holds.
    """

    event: ClassVar[Literal["replanned"]] = "replanned"
    step: int
    """The steps that were taken."""
    seconds: float
    """Seconds since the call of `train` or `resume`."""
    num_steps: int
    """Steps of the whole training."""
    threads: int
    """The number of threads of the steps that follow."""


@dataclass(frozen=True, kw_only=True)
class ValidatingEvent(Event):
    """A validation begins, during which no step is taken.

    A long validation text takes minutes, and a display says meanwhile what is waited for. The next
    event is the evaluation, unless a stop is requested before all characters are read.
    """

    event: ClassVar[Literal["validating"]] = "validating"
    step: int
    """The step after which the model is validated."""
    num_chars: int
    """Characters of the validation text that are read."""


@dataclass(frozen=True, kw_only=True)
class EvaluationEvent(Event):
    """A validation: the stateful loss on the validation part, or on `num_chars` characters of it,
    and the share of them that the first guess gets right.

    It is the figure by which trainings are compared, and `is_best` marks the step that `load` will
    take.
    """

    event: ClassVar[Literal["evaluation"]] = "evaluation"
    step: int
    """The step after which the model was validated."""
    seconds: float
    """Seconds since the call of `train` or `resume`."""
    val_nats: float
    """The loss in nats per character."""
    val_bpc: float
    """The loss in bits per character."""
    first_guess: float | None
    """The share of the characters than which no other was likelier, from 0 to 1."""
    num_chars: int
    """Characters of the validation text that were read."""
    is_best: bool
    """Whether no earlier validation had a lower loss."""


@dataclass(frozen=True, kw_only=True)
class SampleEvent(Event):
    """A sample that the model generated after this step.

    Shown to somebody who waits, it tells more than a loss: first words appear, then sentences.
    """

    event: ClassVar[Literal["sample"]] = "sample"
    step: int
    """The step after which it was drawn."""
    text: str
    """The sample."""


@dataclass(frozen=True, kw_only=True)
class SavedEvent(Event):
    """A checkpoint was saved in the folder `path`.

    What was trained so far is safe: if the training is killed, `resume` continues from there.
    """

    event: ClassVar[Literal["saved"]] = "saved"
    step: int
    """The step of the checkpoint."""
    path: str
    """The folder of the checkpoint."""


@dataclass(frozen=True, kw_only=True)
class WarningEvent(Event):
    """A problem that does not end training.

    A program that hides all other events should show this one.
    """

    event: ClassVar[Literal["warning"]] = "warning"
    message: str
    """What the problem is, and the remedy."""


@dataclass(frozen=True, kw_only=True)
class DoneEvent(Event):
    """Training ended, after its last step or because a stop was requested (`is_complete` false);
    all is saved.

    It is the last event: `*_, done = charrnn.train(config)` keeps it alone, and `load(done.run)`
    loads the model.
    """

    event: ClassVar[Literal["done"]] = "done"
    step: int
    """The last step."""
    seconds: float
    """Seconds since the call of `train` or `resume`."""
    val_nats: float | None
    """The last validation loss, in nats per character; None if no step was validated."""
    best_nats: float | None
    """The validation loss at `best_step`, the step that commands load; None if no step was
    validated."""
    best_step: int
    """The step with the lowest validation loss; 0 if no step was validated."""
    run: str
    """The folder of the run."""
    is_complete: bool
    """Whether the last step of the training was taken; False if a stop was requested."""
    recipe: str | None = None
    """The path of the configuration that trains the same weights again; None if a run was stopped,
    resumed or went back a step."""


TrainEvent = (
    PlanEvent
    | StartEvent
    | StepEvent
    | ReplannedEvent
    | ValidatingEvent
    | EvaluationEvent
    | SampleEvent
    | SavedEvent
    | WarningEvent
    | DoneEvent
)
"""An event of a training: what `train` and `resume` yield.

It annotates a function of one's own that handles events; `event.event` tells which one it is.
"""
