"""Generated texts, predictions and copied passages."""

from dataclasses import asdict, dataclass, field
from typing import Any

from charrnn.display import Displayable

MIN_COPY_LENGTH = 30
"""Shortest copy that counts, in characters.

Measured on 100,000 characters of tiny Shakespeare and of War and Peace: each has passages of 20 to 23 characters in
common with the other (0.1 and 0.3 % of it) and none of 25. Held-out text has, with the 90 % of the text before it, 0.2
and 3.2 % in common in passages of 25, 0.1 and 0.6 % in passages of 30. So 30 characters are evidence, 20 are not.
(`benchmarks/novelty_speed.py --shares shakespeare.txt war-and-peace.txt`, 2026-11-20.)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class GeneratedText(Displayable):
    """A generated text with the model's log-probability (nats, temperature 1) of each of its characters.

    `seed` is the seed it was drawn with, `score` what a beam search ranks by, `stop` the string that ended it, or "".
    `has_ended` is None without documents; else whether the document has reached its END, whose log-probability is then
    the last of `logprobs`, or was cut.
    """

    text: str
    logprobs: tuple[float, ...]
    seed: int | None = None
    score: float | None = None
    stop: str = ""
    has_ended: bool | None = None

    @property
    def logprob(self) -> float:
        """Log-probability of the whole text in nats."""
        return sum(self.logprobs)


@dataclass(frozen=True, kw_only=True, slots=True)
class Continuation(Displayable):
    """One way to continue a text to the end of a word, a line or a sentence."""

    text: str
    """As it is inserted: lines end with "\\n"."""
    logprobs: tuple[float, ...]
    """The model's log-probability of each id of the text, in nats, at temperature 1."""
    how: str
    """What found it: `diverse` or `stochastic` for a beam search, `sample` for one drawn at `temperature`."""
    temperature: float | None = None
    """Of a sample."""
    is_complete: bool = True
    """Whether it reaches the end that was asked for, or was cut."""

    @property
    def logprob(self) -> float:
        """Log-probability of the text, in nats."""
        return sum(self.logprobs)

    @property
    def nats_per_char(self) -> float:
        """Mean negative log-probability of a character, in nats."""
        return -self.logprob / max(1, len(self.text))


@dataclass(frozen=True, kw_only=True, slots=True)
class Copy:
    """A passage of a text that also occurs in the training text, there first at `source`.

    Offsets and lengths are in characters, or in bytes for bytes; `source_line` counts from 1.
    """

    start: int
    length: int
    source: int
    source_line: int

    @property
    def stop(self) -> int:
        """Offset of its end in the text."""
        return self.start + self.length


@dataclass(frozen=True, kw_only=True, slots=True)
class Novelty(Displayable):
    """Passages of a text that are copied from the training text, in the order of the text.

    The copies are the longest passages of at least `min_length` characters; they may overlap, but none contains
    another. `held_out_share` is the same share for held-out text, which is not copied: see `Model.novelty`.
    """

    text: str | bytes = field(repr=False)
    min_length: int
    copies: tuple[Copy, ...]
    held_out_share: float | None = None

    @property
    def num_copied(self) -> int:
        """Number of characters that are part of a copy, each counted once."""
        num = reached = 0
        for copy in self.copies:
            num += copy.stop - max(copy.start, reached)
            reached = copy.stop
        return num

    @property
    def share_copied(self) -> float:
        """Share of the characters that are part of a copy, from 0 to 1; 0 for an empty text."""
        return self.num_copied / max(1, len(self.text))

    @property
    def longest(self) -> Copy | None:
        """The longest copy, the first of equals; None if nothing is copied."""
        return max(self.copies, key=lambda copy: copy.length, default=None)

    def to_json(self) -> dict[str, Any]:
        """Return the figures and the copies as one object, without the text."""
        return {
            "min_length": self.min_length,
            "num_chars": len(self.text),
            "num_copied": self.num_copied,
            "share_copied": self.share_copied,
            "held_out_share": self.held_out_share,
            "longest": None if self.longest is None else asdict(self.longest),
            "copies": [asdict(copy) for copy in self.copies],
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class DocumentNovelty(Displayable):
    """How many of the documents that a model wrote are new. A new one is not a document of the training text."""

    is_new: tuple[bool, ...]
    """For each document, in order."""
    num_distinct: int
    """Number of different documents."""
    num_held_out: int
    """Number of validation documents that were compared, too."""
    num_held_out_new: int
    """Number of these that are not in the training text: what a model that copies nothing could reach."""

    @property
    def num_new(self) -> int:
        """Number of documents that are new, repeated ones included."""
        return sum(self.is_new)


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction(Displayable):
    """One possible next character and its probability."""

    character: str
    probability: float
