"""Records of what runs contain: the summary of a run, and its learning curve."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

AGAINST = ("steps", "characters", "seconds")
"""What learning curves can be drawn against."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSummary:
    """One line of `charrnn runs`."""

    name: str
    cell: str
    num_layers: int
    hidden_size: int
    corpus: str
    text: str
    """The corpus in short: the name of its first file without folder and suffix, and how many others there are."""
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
class LearningCurve:
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


@dataclass(frozen=True, kw_only=True, slots=True)
class LearningCurves:
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
        # A run without a digest is known by the name of its text.
        texts = {curve.digest or curve.text for curve in self.curves}
        alphabets = {curve.alphabet for curve in self.curves}
        splits = {curve.split for curve in self.curves}
        notes = []
        if len(texts) > 1:
            notes.append("These runs learned different texts: their losses must not be compared.")
        if len(alphabets) > 1:
            notes.append("Losses per character and losses per byte must not be compared.")
        if len(splits) > 1:
            notes.append("These runs split their text differently: their validation losses must not be compared.")
        return tuple(notes)

    def to_json(self) -> list[dict[str, Any]]:
        """Return one object per run."""
        return [asdict(curve) for curve in self.curves]
