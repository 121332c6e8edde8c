"""Continue a text to the end of a word, a line or a sentence, in several ways.

The module does not use torch. Shapes: B texts, N ids of a text.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import UsageError, check_range, named
from charrnn.generation import sampling
from charrnn.generation.beam import BeamSearch, Ends
from charrnn.generation.generator import Generator
from charrnn.generation.sample_options import (
    NUM_CONTINUATIONS,
    SAMPLE_TEMPERATURE,
    SampleOptions,
    SearchOptions,
    Shaping,
    check_word,
)
from charrnn.generation.sampling import Beginning, PrimedState
from charrnn.generation.special_ids import opening_ids, undrawable_ids
from charrnn.generation.writing import DrawnIds
from charrnn.system.display import Displayable
from charrnn.text.vocab import REPLACEMENT, IdArray, Vocab

MAX_CHARS: dict[str, int] = {"word": 40, "line": 240, "sentence": 240}
"""The places where a continuation can end, each with the maximum length in characters, or in bytes
with the byte alphabet. A longer continuation is cut after a word."""
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
"""The end of a sentence. A full stop after an abbreviation counts as an end, too."""
_PATTERNS = {"word": _WORD, "line": _LINE, "sentence": _SENTENCE}


_LAST_WORD = re.compile(r"(?<=\S)\s+\S*\Z")
"""The last word of several, and the white space before it."""


def without_last_word(text: str) -> str:
    """Return a text without its last word. A text of a single word stays as it is."""
    return _LAST_WORD.sub("", text)


def end_of(text: str, until: str, before: str = "") -> int | None:
    """Return the length of the first word, line or sentence of a text, with the white space before
    it; more than 0.

    Returns None if the word, line or sentence may still continue: only the characters after it show
    that it has ended. `before` is the last character before the text. It matters if the text begins
    with the full stop that ends a sentence.
    """
    # The character before the text matters only if it is part of a word, which a full stop may
    # follow.
    if until != "sentence" or not before.isalnum():
        before = ""
    searched = before + text
    match = _PATTERNS[until].search(searched)
    if match is not None and match.end() <= len(before):
        match = _PATTERNS[until].search(searched, len(before))

    if match is None:
        return None
    return match.end() - len(before)


@dataclass(frozen=True, kw_only=True, slots=True)
class Continuation(Displayable):
    """One way to continue a text to the end of a word, a line or a sentence."""

    text: str
    """The text that is inserted; its lines end with "\\n"."""
    logprobs: tuple[float, ...]
    """The model's log-probability of each id of the text, in nats, at temperature 1."""
    temperature: float | None = None
    """The temperature at which the text was sampled; None if a beam search found it."""
    is_complete: bool = True
    """Whether the text reaches the end of the word, line or sentence; False if it was cut."""

    @property
    def logprob(self) -> float:
        """Log-probability of the text, in nats."""
        return sum(self.logprobs)

    @property
    def nats_per_char(self) -> float:
        """Mean negative log-probability of a character, in nats."""
        return -self.logprob / max(1, len(self.text))


MAX_CONTINUATIONS = 100
"""The maximum number of continuations of one call."""
MAX_BEAM_CHARS = 160
"""The maximum length of a continuation from a beam search: the most likely long texts seldom end by
themselves."""
_BEAM_SHARE = 0.2
"""The share of the continuations that comes from a beam search: only the most likely one of five,
because the texts of several beams differ little."""
_WIDTH = 4
"""Number of beams of the first search."""
_MAX_WIDTH = 256
"""Number of beams of the last search that is tried if samples repeat each other."""
_NO_REPEAT = 8
"""Length of the n-grams that a beam may contain only once: the most likely long texts repeat the
same words again and again."""
_ROWS = 4
"""Number of samples that are drawn together."""
_BATCHES = 3
"""Number of batches of samples before a wider beam search supplies the missing continuations."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ContinuationOptions:
    """Options of continuations. Raises UsageError naming the option, its value and its range."""

    until: str = "word"
    """`word`, `line` or `sentence`."""
    temperature: float = SAMPLE_TEMPERATURE
    """Temperature of the samples: 0 is greedy, 1 the model's own distribution. Beam searches have
    no temperature."""
    seed: int = 0
    """The same seed gives the same continuations."""

    def __post_init__(self) -> None:
        check_word("until", word=self.until, words=tuple(MAX_CHARS))
        Shaping(temperature=self.temperature)
        if self.seed < 0:
            raise UsageError(f"{named('seed')} is {self.seed}; it must be 0 or more.")


class Continuations:
    """Find any number of different continuations of one text.

    A second call of `take` returns other texts. The same calls return the same texts on every
    machine.
    """

    def __init__(
        self,
        generator: Generator,
        primed: PrimedState,
        options: ContinuationOptions,
        *,
        before: str = "",
    ) -> None:
        """Continue a text after which the model of `generator` is in the state `primed`.

        `before` is the last character of the text. The END of a document completes every
        continuation.
        """
        self.options = options
        self._stepper = generator.int8_stepper
        self._vocab = generator.vocab
        self._end_id = generator.config.end_id
        self._banned = undrawable_ids(self._vocab, self._end_id)
        self._primed = primed
        self._before = before
        self._seen: set[str] = set()
        self._num_streams = 0

    def take(
        self, count: int = NUM_CONTINUATIONS, on_step: Callable[[], object] = lambda: None
    ) -> list[Continuation]:
        """Return `count` new continuations, first those that a beam search finds.

        Fewer are returned only if the model has no more. `on_step` is called before every
        character, and may raise an exception to stop the work. Raises UsageError for a count out of
        range.
        """
        check_range("count", value=count, high=MAX_CONTINUATIONS)

        # The most likely text comes first, then samples, which differ the more the less certain the
        # model is.
        continuations = self._new(self._search(_WIDTH, on_step), round(_BEAM_SHARE * count))
        for _ in range(_BATCHES):
            if len(continuations) < count:
                continuations += self._new(self._sample(on_step), count - len(continuations))

        # If samples repeat each other, wider searches supply the missing continuations.
        width = 2 * _WIDTH
        while len(continuations) < count and width <= _MAX_WIDTH:
            continuations += self._new(self._search(width, on_step), count - len(continuations))
            width *= 2
        return continuations

    def _new(self, candidates: list[Continuation], most: int) -> list[Continuation]:
        """Return the first `most` candidates that differ from all texts so far, and remember them
        for later calls."""
        new: list[Continuation] = []
        for candidate in candidates:
            # Texts that differ only in white space count as the same: a screen folds lines.
            key = candidate.text
            if self.options.until != "line":
                key = re.sub(r"\s+", " ", key)

            if len(new) < most and key.strip() and key not in self._seen:
                self._seen.add(key)
                new.append(candidate)
        return new

    def _search(self, width: int, on_step: Callable[[], object]) -> list[Continuation]:
        """Return the continuations that a beam search with `width` beams finds, most likely
        first."""
        options = SearchOptions(
            width=width,
            length=min(MAX_CHARS[self.options.until], MAX_BEAM_CHARS),
            no_repeat=_NO_REPEAT,
        )
        stops: tuple[tuple[int, ...], ...] = ()
        if self._end_id is not None:
            stops = ((self._end_id,),)
        search = BeamSearch(
            self._stepper,
            prime=np.zeros(0, np.int64),
            options=options,
            on_step=lambda num_chars: on_step(),
            read_prime=lambda: self._primed,
            stops=stops,
            banned=self._banned,
            find_ends=self._find_ends,
        )
        for _ in search:
            pass

        continuations = []
        for beam in search.beams:
            # The end of a document completes the text; END itself is a stop, which is cut off.
            cut = self._cut(beam.ids)
            if cut is not None or beam.ids[-1:] == (self._end_id,):
                cut = beam.stop_length
            continuations.append(self._continuation(beam.ids, beam.logprobs, cut=cut))
        return sorted(continuations, key=lambda continuation: -continuation.logprob)

    def _sample(self, on_step: Callable[[], object]) -> list[Continuation]:
        """Draw the next batch of samples."""
        # Each text has its own stream of random numbers, so that it does not depend on the others
        # in the batch.
        streams = range(self._num_streams, self._num_streams + _ROWS)
        seeds = [sampling.seed_of_text(self.options.seed, stream) for stream in streams]
        self._num_streams += _ROWS
        length = MAX_CHARS[self.options.until]
        options = SampleOptions(
            temperature=self.options.temperature,
            length=length,
            on_draw=lambda num_chars: on_step(),
        )
        samples = [_Sample(seed, length=length, find_cut=self._cut_of_sample) for seed in seeds]
        grown = sampling.write_texts(
            Beginning(self._stepper, primed=self._primed, banned=self._banned),
            options=options,
            texts=samples,
            num_chars=length * _ROWS,
            num_rows=_ROWS,
        )
        for _ in grown:
            pass

        continuations = []
        for sample in samples:
            continuation = self._continuation(
                sample.ids,
                sample.logprobs,
                cut=sample.cut,
                temperature=self.options.temperature,
            )
            continuations.append(continuation)
        return continuations

    def _cut(self, ids: Sequence[int]) -> int | None:
        """Return how many of the last ids are behind the end of the word, line or sentence; None if
        it has not ended."""
        # U+FFFD after the end means that the last bytes are an incomplete character.
        text = self._vocab.decode(ids)
        end = end_of(text, until=self.options.until, before=self._before)
        if end is None or REPLACEMENT in text[end:]:
            return None
        return len(self._vocab.encode(text[end:]))

    def _cut_of_sample(self, ids: Sequence[int]) -> int | None:
        """Return the result of `_cut`; END, which is cut off, completes the text, too."""
        if ids[-1] == self._end_id:
            return 1
        return self._cut(ids)

    def _find_ends(self, texts: NDArray[np.int32]) -> Ends:
        """Return which of the texts (B, N) have ended, and how many of the last ids of each are cut
        by `_cut`."""
        cuts = [self._cut(text) for text in texts.tolist()]
        has_ended = np.array([cut is not None for cut in cuts])
        return Ends(has_ended, np.array([cut or 0 for cut in cuts], np.int64))

    def _continuation(
        self,
        ids: Sequence[int],
        logprobs: Sequence[float],
        *,
        cut: int | None,
        temperature: float | None = None,
    ) -> Continuation:
        """Make a continuation without the last `cut` ids, which are behind its end; a `cut` of None
        means that it has not ended."""
        # A text that has not ended loses its last word, which may be incomplete.
        num_ids = len(ids) - (cut or 0)
        if cut is None:
            whole_words = without_last_word(self._vocab.decode(ids))
            while len(self._vocab.decode(ids[:num_ids])) > len(whole_words):
                num_ids -= 1
        return Continuation(
            text=self._vocab.decode(ids[:num_ids]).replace("\r\n", "\n"),
            logprobs=tuple(logprobs[:num_ids]),
            temperature=temperature,
            is_complete=cut is not None,
        )


class _Sample(DrawnIds):
    """A continuation that is being drawn. `cut` is the result of `Continuations._cut` for the
    ids."""

    def __init__(
        self, seed: int, length: int, find_cut: Callable[[Sequence[int]], int | None]
    ) -> None:
        super().__init__(seed, length=length)
        self.cut: int | None = None
        self._find_cut = find_cut

    def add(self, ids: list[int], logprobs: list[float], values: list[float]) -> None:
        """Keep the next ids, up to the first with which the text has ended."""
        for id, logprob, value in zip(ids, logprobs, values, strict=True):
            if self.is_done:
                break
            super().add([id], logprobs=[logprob], values=[value])
            self.cut = self._find_cut(self.ids)
            if self.cut is not None:
                self.num_left = 0


def substitutions(vocab: Vocab, text: str) -> dict[str, str]:
    """Map each unknown character of a text to the text that the model reads instead of it.

    This is the known text that `Vocab.nearest` finds. If there is none, combining marks and
    invisible characters are left out (""), and any other character stays and is read as the unknown
    symbol, or is left out if the alphabet has no such symbol. The byte alphabet has no unknown
    characters: it reads every character as its bytes in UTF-8.
    """
    return {char: _nearest(vocab, char) for char in vocab.unknown_characters(text)}


def read_as_known(vocab: Vocab, text: str) -> IdArray:
    """Encode a text with its `substitutions`."""
    # `str.translate` deletes a character that is mapped to "".
    replaced: dict[str, str | int | None] = {**substitutions(vocab, text)}
    return vocab.encode(text.translate(str.maketrans(replaced)))


def _nearest(vocab: Vocab, character: str) -> str:
    nearest = vocab.nearest(character)
    if nearest or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return nearest

    if vocab.has_unknown_symbol:
        return character
    return ""


def continue_text(generator: Generator, text: str, options: ContinuationOptions) -> Continuations:
    """Read a text and return an object whose `take` finds its continuations.

    The weights are rounded to 8 bits, so that sums are exact and results do not depend on the
    machine. Raises CheckpointError if the weights do not fit.
    """
    stepper = generator.int8_stepper
    vocab = generator.vocab
    end_id = generator.config.end_id

    # An empty text begins like a sample, and every text of documents after the END of one.
    ids = read_as_known(vocab, text).astype(np.int64)
    if len(ids) == 0 or end_id is not None:
        opening = opening_ids(stepper, vocab=vocab, end_id=end_id)
        ids = np.concatenate((opening, ids))
    primed = sampling.prime_model(stepper, ids)
    return Continuations(generator, primed, options=options, before=text[-1:])
