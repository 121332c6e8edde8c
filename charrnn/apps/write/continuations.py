"""Offers different ways to continue a text, to the end of a word, a line or a sentence."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from charrnn.display import Displayable
from charrnn.errors import UsageError, named
from charrnn.generation.beam import BeamSearch
from charrnn.generation.generator import Generator
from charrnn.generation.options import SAMPLE_TEMPERATURE, Mode, SearchOptions, Shaping, check_word
from charrnn.generation.sampling import NUM_SEEDS, PrimedState, sample_ids, undrawable_ids
from charrnn.text.vocab import REPLACEMENT

MAX_CHARS: dict[str, int] = {"word": 40, "line": 240, "sentence": 240}
"""Where a continuation can end, and its characters at most (of bytes, with the byte alphabet): the rest is cut."""
_MARKS = "\u0300-\u036f"
_WORD = re.compile(rf"[\w{_MARKS}]+(?:['’][\w{_MARKS}]+)*(?=[^\w{_MARKS}'’]|['’][^\w{_MARKS}])")
"""A word with single apostrophes inside it, before a character that cannot continue it."""
_LINE = re.compile(r"[^\r\n](?=[\r\n])")
"""The last character of a line."""
_SENTENCE = re.compile(
    r"""\w[^\w]*?(?:
          [.!?…]+ ["'”’»)\]]* (?=\s)      # closing quotes and brackets belong to the sentence
        | [。！？]+ [」』”’）]* (?=[^。！？」』”’）])   # no space follows in Chinese and Japanese
        | (?=\r?\n[ \t]*\r?\n)            # a paragraph without a full stop, such as a heading
    )""",
    re.VERBOSE,
)
"""The end of a sentence: a full stop is taken for one even after an abbreviation."""
_PATTERNS = {"word": _WORD, "line": _LINE, "sentence": _SENTENCE}


def end_of(text: str, until: str, before: str = "") -> int | None:
    """Return the length of the first word, line or sentence of a text, with the white space before it; more than 0.

    None while it may still go on: whether it has ended is known from what follows it. `before` is the character before
    the text: a sentence whose last word is there may end with the full stop that the text begins with.
    """
    begin = len(before) if until == "sentence" and before.isalnum() else 0
    match = _PATTERNS[until].search(before[-begin:] + text if begin else text)
    if match is not None and match.end() <= begin:
        match = _PATTERNS[until].search(before[-begin:] + text, begin)
    return None if match is None else match.end() - begin


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


NUM_CONTINUATIONS = 5
"""Continuations that are offered at a time."""
MAX_CONTINUATIONS = 100
"""Continuations of one call at most."""
MAX_BEAM_CHARS = 160
"""Characters of one from a beam search at most: the most likely long texts seldom end by themselves."""
_BEAM_SHARE = 0.4
"""Share of each offer that comes from a beam search: two of five."""
_WIDTH, _MAX_WIDTH = 4, 256
"""Beams of the first search, and of the last one that is tried where samples repeat each other."""
_NO_REPEAT = 8
"""Length of n-grams that occur once in a text of a diverse search."""
_ROWS = 4
"""Samples that are drawn together."""
_BATCHES = 3
"""Batches of samples in which new texts are looked for, before a beam search fills up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ContinuationOptions:
    """Options of continuations. Raises UsageError naming the option, its value and its range."""

    until: str = "word"
    """`word`, `line` or `sentence`."""
    temperature: float = SAMPLE_TEMPERATURE
    """Of the samples: 0 is greedy, 1 the model's own distribution. Beam searches have none."""
    seed: int = 0
    """The same seed gives the same continuations."""

    def __post_init__(self) -> None:
        check_word("until", self.until, tuple(MAX_CHARS))
        Shaping(temperature=self.temperature)
        if self.seed < 0:
            raise UsageError(f"{named('seed')} is {self.seed}; it must be 0 or more.")


class Continuations:
    """Finds continuations of one text, all different, as many as are asked for.

    `take(5)` twice gives the same ten as `take(10)` and `take(5)` after it, in offers of five: the second five are
    other texts. They are the same on every machine.
    """

    def __init__(
        self, generator: Generator, primed: PrimedState, options: ContinuationOptions, *, before: str = ""
    ) -> None:
        """Continue after `primed`, with the model of `generator`. `before` is the last character of the text.

        The END of a document completes every continuation.
        """
        self._stepper, self._vocab, self._end_id = generator.int8_stepper, generator.vocab, generator.config.end_id
        self._banned = undrawable_ids(self._vocab, self._end_id)
        self._primed, self.options, self._before = primed, options, before
        self._until = options.until
        self._seen: set[str] = set()
        self._num_offers = self._num_streams = 0

    def take(self, count: int = NUM_CONTINUATIONS, on_step: Callable[[], object] = lambda: None) -> list[Continuation]:
        """Return `count` more continuations, those of a beam search first; fewer only if the model has no others.

        `on_step` is called before every character, and may raise to stop the work. Raises UsageError for a count out
        of range.
        """
        if not 1 <= count <= MAX_CONTINUATIONS:
            raise UsageError(f"{named('count')} is {count}; it must be between 1 and {MAX_CONTINUATIONS}.")
        # The first search finds the same texts whatever the seed is: the most likely of each first character.
        mode: Mode = "stochastic" if self._num_offers else "diverse"
        found = self._new(self._search(mode, _WIDTH, on_step), round(_BEAM_SHARE * count))
        for _ in range(_BATCHES):
            if len(found) < count:
                found += self._new(self._sample(on_step), count - len(found))
        width = 2 * _WIDTH
        while len(found) < count and width <= _MAX_WIDTH:
            found += self._new(self._search("stochastic", width, on_step), count - len(found))
            width *= 2
        self._num_offers += 1
        return found

    def _new(self, candidates: list[Continuation], most: int) -> list[Continuation]:
        """Return the first `most` candidates that differ from all texts so far, and remember them."""
        new: list[Continuation] = []
        for candidate in candidates:
            key = candidate.text
            if self._until != "line":  # a reader does not see where a line is folded
                key = re.sub(r"\s+", " ", key)
            if len(new) < most and key.strip() and key not in self._seen:
                self._seen.add(key)
                new.append(candidate)
        return new

    def _search(self, mode: Mode, width: int, on_step: Callable[[], object]) -> list[Continuation]:
        """Return what a beam search finds, best first."""
        options = SearchOptions(
            width=width,
            length=min(MAX_CHARS[self._until], MAX_BEAM_CHARS),
            mode=mode,
            seed=self.options.seed + self._num_offers,
            # The most likely long texts say the same words again and again.
            no_repeat=_NO_REPEAT if mode == "diverse" else None,
        )
        search = BeamSearch(
            self._stepper,
            np.zeros(0, np.int64),
            options,
            lambda num_chars: on_step(),
            read_prime=lambda: self._primed,
            stops=() if self._end_id is None else ((self._end_id,),),
            banned=self._banned,
            find_ends=lambda texts: np.array([self._cut(row) for row in texts.tolist()], np.int64),
        )
        for _ in search:
            pass
        found = []
        for beam in search.beams:
            is_complete = beam.ids[-1:] == (self._end_id,) or self._cut(beam.ids) >= 0
            length = len(beam.ids) - beam.stop_length
            found.append(self._continuation(beam.ids[:length], beam.logprobs[:length], mode, is_complete))
        return sorted(found, key=lambda one: -one.logprob)

    def _sample(self, on_step: Callable[[], object]) -> list[Continuation]:
        """Draw the next samples, all together."""
        streams = range(self._num_streams, self._num_streams + _ROWS)
        seeds = [self.options.seed + stream * NUM_SEEDS for stream in streams]
        self._num_streams += _ROWS
        shaping = Shaping(temperature=self.options.temperature, banned=self._banned)
        length = MAX_CHARS[self._until]
        blocks = sample_ids(self._stepper, self._primed, [shaping] * _ROWS, seeds, length=length)
        ids: list[list[int]] = [[] for _ in seeds]
        logprobs: list[list[float]] = [[] for _ in seeds]
        cuts = [-1] * _ROWS
        for block in blocks:
            on_step()
            for row in range(_ROWS):
                for id, logprob in zip(block.ids[row].tolist(), block.logprobs[row].tolist(), strict=True):
                    if cuts[row] < 0:
                        ids[row].append(id)
                        logprobs[row].append(logprob)
                        cuts[row] = 1 if id == self._end_id else self._cut(ids[row])
            if min(cuts) >= 0:
                break
        found = []
        for one, values, cut in zip(ids, logprobs, cuts, strict=True):
            num = len(one) - max(0, cut)
            found.append(self._continuation(one[:num], values[:num], "sample", cut >= 0))
        return found

    def _cut(self, ids: "tuple[int, ...] | list[int]") -> int:
        """Return how many of the last ids do not belong to the word, line or sentence; -1 if it has not ended."""
        text = self._vocab.decode(ids)
        end = end_of(text, self._until, self._before)
        if end is None or REPLACEMENT in text[end:]:
            return -1
        return len(self._vocab.encode(text[end:]))

    def _continuation(
        self,
        ids: "tuple[int, ...] | list[int]",
        logprobs: "tuple[float, ...] | list[float]",
        how: str,
        is_complete: bool,
    ) -> Continuation:
        return Continuation(
            text=self._vocab.decode(ids).replace("\r\n", "\n"),
            logprobs=tuple(logprobs),
            how=how,
            temperature=self.options.temperature if how == "sample" else None,
            is_complete=is_complete,
        )
