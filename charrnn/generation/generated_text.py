"""Generated texts and predictions."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from operator import attrgetter
from statistics import fmean

from charrnn.system.display import Displayable

MIN_COPY_LENGTH = 30
"""The shortest copy that counts, in characters.

Measured on 100,000 characters of tiny Shakespeare and of War and Peace. The two texts share
passages of 20 to 23 characters (0.1 and 0.3 % of their characters), and no passage of 25. Held-out
text shares 0.2 and 3.2 % of its characters with the 90 % of the text before it in passages of 25,
0.1 and 0.6 % in passages of 30. So 30 characters are evidence, 20 are not. (Measured at a161760a,
`benchmarks/speed/novelty_speed.py --shares`.)
"""


@dataclass(frozen=True)
class DeadEnd:
    """The place in a text that no character may follow.

    It says which options to loosen: together they forbid every character, so the text ends there
    before its length.
    """

    num_chars: int
    """The characters of the text (bytes, for the byte alphabet)."""
    options: tuple[str, ...]
    """The options that together allow no character."""


@dataclass(frozen=True, kw_only=True)
class GeneratedText(Displayable):
    """A generated text with the model's log-probability of each of its characters.

    `sample`, `samples` and `beam` return it. `print` writes its `text`; `seed` draws the same text
    again, also one of several; `logprobs` tell where the model was sure of what it wrote.
    """

    text: str
    """The text, without the prime and without the stop string."""
    logprobs: tuple[float, ...]
    """The log-probability of each character in nats, at temperature 1, by the weights that drew it.
    If the document has reached its END, the last one is that of END."""
    seed: int | None = None
    """The seed that draws this text alone, also if it is one of several samples; None for a beam
    search."""
    stop: str = ""
    """The stop string that ended the text, or ""."""
    has_ended: bool | None = None
    """Whether the document has reached its END or was cut; None for a model without documents."""
    dead_end: DeadEnd | None = None
    """Why the text ends before its length although nothing ended it; None if something did."""
    excess: float | None = None
    """How unlikely the text is for its length, beside the others that it is sorted with."""

    def __str__(self) -> str:
        """Return the text, so that `print` writes what was generated."""
        return self.text

    @property
    def is_cut(self) -> bool:
        """Whether a document was cut before its END, and not by a stop string.

        A list of names or molecules leaves such texts out, because their ends are missing; with a
        larger `length` there are fewer.
        """
        return self.has_ended is False and not self.stop and self.dead_end is None

    @property
    def logprob(self) -> float:
        """The log-probability of the whole text in nats.

        It ranks texts of about the same length. A longer text is less likely in any case: `excess`
        is for texts of different lengths.
        """
        # The sum of nothing is a float, too.
        return sum(self.logprobs, 0.0)


def excess_of(nats: float, num_chars: int, *, mean: float, spread: float) -> float:
    """Return how unlikely a text of a loss in nats is for its length n: (nats - n mean) / (spread
    sqrt(n)), with the mean and the standard deviation of the losses of characters.

    It compares texts of different lengths, which the loss alone and the loss per character do not:
    a short text varies more.
    """
    # A sum of n independent losses varies by sqrt(n) times their spread.
    if not spread or not num_chars:
        return 0.0
    return (nats - num_chars * mean) / (spread * math.sqrt(num_chars))


def sorted_by_excess(texts: Iterable[GeneratedText]) -> list[GeneratedText]:
    """Return texts with their `excess`, the most likely for their length first. The mean and the
    standard deviation are those of the characters of all texts.

    A list of names from the most to the least usual is sorted so.
    """
    drawn = list(texts)
    losses = [-logprob for text in drawn for logprob in text.logprobs] or [0.0]
    mean = fmean(losses)
    spread = math.sqrt(fmean((loss - mean) ** 2 for loss in losses))
    measured = []
    for text in drawn:
        excess = excess_of(
            nats=-text.logprob, num_chars=len(text.logprobs), mean=mean, spread=spread
        )
        measured.append(replace(text, excess=excess))
    return sorted(measured, key=attrgetter("excess"))


@dataclass(frozen=True, kw_only=True)
class Prediction(Displayable):
    """A possible next character and its probability.

    `Model.predict` returns a list of them, and a program reads the first one or draws them all.
    """

    character: str
    """The character; `\\xNN` for a byte that is none by itself."""
    probability: float
    """Its probability, from 0 to 1."""
