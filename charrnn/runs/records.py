"""Records of what runs contain: the summary of a run, and its learning curve."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from charrnn.display import Displayable

AGAINST = ("steps", "characters", "seconds")
"""What learning curves can be drawn against."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSummary(Displayable):
    """One line of `charrnn runs`."""

    name: str
    cell: str
    num_layers: int
    hidden_size: int
    corpus: str
    text: str
    """The corpus in short: the name of its first file without folder and suffix, and how many others there are."""
    digest: str | None
    """SHA-256 of the text; None if no checkpoint says it."""
    alphabet: str
    split: tuple[float, ...]
    seed: int
    num_parameters: int | None
    """Number of trained weights; None if the alphabet is damaged, whose size they depend on."""
    step: int
    num_steps: int
    num_chars: int
    """Characters that were read up to this step, all batch rows together."""
    best_nats: float | None
    minutes: float
    warnings: tuple[str, ...] = ()
    """Damaged lines of its log, or a damaged alphabet; the figures are computed without them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelDescription(Displayable):
    """What a person wants to know of a loaded model."""

    name: str
    cell: str
    depth: str
    num_layers: int
    hidden_size: int
    num_parameters: int
    alphabet: str
    vocab_size: int
    """Entries of the vocabulary, the unknown symbol among them."""
    text: str
    step: int
    val_nats: float | None
    """The validation loss at this step; None if it was not validated."""

    @property
    def architecture(self) -> str:
        """The cell type, layers and units, such as `lstm 2×512` or `gru 4×128 residual`."""
        depth = "" if self.depth == "stacked" else f" {self.depth}"
        return f"{self.cell} {self.num_layers}×{self.hidden_size}{depth}"

    @property
    def symbols(self) -> str:
        """The size of the vocabulary, with what it consists of."""
        return f"{self.vocab_size:,} {'bytes' if self.alphabet == 'byte' else 'characters'}"

    def rows(self) -> list[tuple[str, str]]:
        """Return the names and values of a table, without what is unknown."""
        loss = "" if self.val_nats is None else f"{self.val_nats:.4f} nats per character"
        found = (
            ("cells", self.architecture),
            ("weights", f"{self.num_parameters:,}"),
            ("alphabet", self.symbols),
            ("text", self.text),
            ("step", f"{self.step:,}"),
            ("validation loss", loss),
        )
        return [(name, value) for name, value in found if value]


@dataclass(frozen=True, kw_only=True, slots=True)
class LossCurve:
    """Losses in nats per character, and after how many steps, characters and seconds each was measured."""

    steps: tuple[int, ...]
    characters: tuple[int, ...] = field(repr=False)
    """Characters of the training text that were read, all batch rows together."""
    seconds: tuple[float, ...] = field(repr=False)
    """Seconds since the start of training, without the time between a stop and a resumption."""
    nats: tuple[float, ...]

    def against(self, axis: str) -> tuple[float, ...]:
        """Return the steps, the characters or the seconds: one of AGAINST."""
        return {"steps": self.steps, "characters": self.characters, "seconds": self.seconds}[axis]


@dataclass(frozen=True, kw_only=True, slots=True)
class LearningCurve(Displayable):
    """The losses that a run logged, with an ascending step each."""

    run: str
    text: str
    """The corpus in short, as in `RunSummary`."""
    digest: str | None
    """SHA-256 of the text; None if no checkpoint says it."""
    alphabet: str
    split: tuple[float, ...]
    validation: LossCurve
    """The stateful loss on the validation text, at every validation."""
    training: LossCurve
    """The mean loss of every optimizer step; empty unless asked for."""
    warnings: tuple[str, ...] = ()
    """Damaged lines of its log, which are left out."""


def comparison_notes(runs: Sequence[RunSummary | LearningCurve]) -> tuple[str, ...]:
    """Return why the losses of some runs must not be compared with each other, one sentence for each reason."""
    # A run without a digest is known by the name of its text.
    texts = {run.digest or run.text for run in runs}
    alphabets = {run.alphabet for run in runs}
    splits = {run.split for run in runs}
    notes = []
    if len(texts) > 1:
        notes.append("These runs learned different texts: their losses must not be compared.")
    if len(alphabets) > 1:
        notes.append("Losses per character and losses per byte must not be compared.")
    if len(splits) > 1:
        notes.append("These runs split their text differently: their validation losses must not be compared.")
    return tuple(notes)


@dataclass(frozen=True, kw_only=True, slots=True)
class LearningCurves(Displayable):
    """The learning curves of several runs, and against what they are drawn: steps, characters or seconds."""

    curves: tuple[LearningCurve, ...]
    against: str = "steps"

    def __iter__(self) -> Iterator[LearningCurve]:
        return iter(self.curves)

    def __len__(self) -> int:
        return len(self.curves)

    @property
    def notes(self) -> tuple[str, ...]:
        """Why some of these losses must not be compared with each other, one sentence for each reason."""
        return comparison_notes(self.curves)

    def to_json(self) -> list[dict[str, Any]]:
        """Return one object per run."""
        return [asdict(curve) for curve in self.curves]
