"""Records of a model's errors by what would have avoided them, after Karpathy, Johnson & Li (2015), section 4.4."""

from dataclasses import dataclass

from charrnn.display import Displayable

NGRAM_ORDER = 9
"""The longest n-gram of the oracle: it has the models of order 1 to 9 to choose from."""
MEMORY_LENGTHS = (100, 500, 1000, 5000)
"""Characters that the memory of each oracle holds, ascending."""
RARE_COUNTS = (0, 1, 2, 3, 4, 5)
"""How often a rare word occurs in the training text, ascending."""
BOOSTS = (0.1, 0.2, 0.3, 0.4, 0.5)
"""What the last oracles add to the probability of the character, ascending; 0.5 avoids every error."""
AFTER_SPACE = "after-space"
"""The kind of errors after a space or a quotation mark."""
AFTER_NEWLINE = "after-newline"
"""The kind of errors after a line end, and at the start of a document."""
PUNCTUATION = "punctuation"
"""The kind of errors at a punctuation mark."""
KINDS = (
    "n-gram",
    *(f"memory-{length}" for length in MEMORY_LENGTHS),
    *(f"rare-word-{count}" for count in RARE_COUNTS),
    AFTER_SPACE,
    AFTER_NEWLINE,
    PUNCTUATION,
    *(f"boost-{boost}" for boost in BOOSTS),
)
"""The kinds of errors, in the order in which errors are attributed to them."""
GROUPS = ("n-gram", "memory", "rare word", "word start", "punctuation", "boost")
"""The oracles: each has one or more kinds of `KINDS`."""


def group_of(kind: str) -> str:
    """Return the oracle of a kind of errors, one of `GROUPS`."""
    if kind in (AFTER_SPACE, AFTER_NEWLINE):
        return "word start"
    if kind.startswith("rare-word"):
        return "rare word"
    return kind if kind in GROUPS else kind.partition("-")[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorKind:
    """The errors of a model that are attributed to one oracle."""

    kind: str
    """One of `KINDS`."""
    num_errors: int
    share: float
    """Of all errors of the model; 0 if it has none."""
    nats: float
    """The loss of these errors, divided by the number of all scored characters: what they add to its mean."""
    num_fixed: int | None = None
    """Errors of this kind that the first model has and this one has not; None for the first model."""
    num_new: int | None = None
    """Errors of this kind that this model has and the first one has not; None for the first model."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelErrors:
    """The errors of a model: characters to which it gives a probability below 0.5."""

    run: str
    num_errors: int
    share: float
    """Of the scored characters."""
    nats_per_char: float
    """The mean loss of all scored characters."""
    kinds: tuple[ErrorKind, ...]
    """One for each of `KINDS`, in that order. Their errors add up to `num_errors`."""

    def by_group(self) -> dict[str, int]:
        """Return the number of errors of each of `GROUPS`, in that order."""
        counts = dict.fromkeys(GROUPS, 0)
        for one in self.kinds:
            counts[group_of(one.kind)] += one.num_errors
        return counts


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorReport(Displayable):
    """The errors of one or several models over the same characters of a text."""

    num_chars: int
    """Characters that were scored."""
    text_length: int
    """Characters of the text: more than `num_chars` if only segments of it were scored."""
    models: tuple[ModelErrors, ...]
    """The first is the one that the others are compared with."""
    protocol: str = "stateful"
