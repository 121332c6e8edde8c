"""Generated texts and predictions."""

from dataclasses import dataclass

from charrnn.system.display import Displayable

MIN_COPY_LENGTH = 30
"""Shortest copy that counts, in characters.

Measured on 100,000 characters of tiny Shakespeare and of War and Peace: each has passages of 20 to
23 characters in common with the other (0.1 and 0.3 % of it) and none of 25. Held-out text has, with
the 90 % of the text before it, 0.2 and 3.2 % in common in passages of 25, 0.1 and 0.6 % in passages
of 30. So 30 characters are evidence, 20 are not. (`benchmarks/speed/novelty_speed.py --shares
shakespeare.txt war-and-peace.txt`, 2026-11-20.)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class GeneratedText(Displayable):
    """A generated text with the model's log-probability (nats, temperature 1) of each of its
    characters.

    `seed` is the seed that draws it, of several samples this one alone; None for a beam search.
    `stop` is the string that ended it, or "". `has_ended` is None without documents; else whether
    the document has reached its END, whose log-probability is then the last of `logprobs`, or was
    cut.
    """

    text: str
    logprobs: tuple[float, ...]
    seed: int | None = None
    stop: str = ""
    has_ended: bool | None = None

    @property
    def logprob(self) -> float:
        """Log-probability of the whole text in nats."""
        return sum(self.logprobs)


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction(Displayable):
    """One possible next character and its probability."""

    character: str
    probability: float
