"""Reads a draft and offers continuations of it, to the end of a word, a line or a sentence. Without
torch.

It is what an editor needs of a model. What was read before is used as far as the text is still the
same. Shapes: N ids of a draft, L layers, S state vectors per layer, H units per layer, V
vocabulary.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from charrnn.api import Model
from charrnn.errors import UsageError, check_range, named
from charrnn.generation import sampling
from charrnn.generation.beam import BeamSearch, Ends
from charrnn.generation.generator import Generator, fresh_seed
from charrnn.generation.sample_options import (
    SAMPLE_TEMPERATURE,
    SearchOptions,
    Shaping,
    check_word,
)
from charrnn.generation.sampling import Ids, PrimedState
from charrnn.model.stepper import Stepper
from charrnn.system.display import Displayable, RecordList
from charrnn.text.vocab import REPLACEMENT, IdArray, Vocab

MAX_CHARS: dict[str, int] = {"word": 40, "line": 240, "sentence": 240}
"""Where a continuation can end, and its characters at most (of bytes, with the byte alphabet): a
longer one is cut after a word."""
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


_LAST_WORD = re.compile(r"(?<=\S)\s+\S*\Z")
"""The last word of several, and the white space before it."""


def without_last_word(text: str) -> str:
    """Return a text of several words without the last one. A single word stays as it is."""
    return _LAST_WORD.sub("", text)


def end_of(text: str, until: str, before: str = "") -> int | None:
    """Return the length of the first word, line or sentence of a text, with the white space before
    it; more than 0.

    None while it may still go on: whether it has ended is known from what follows it. `before` is
    the character before the text: a sentence whose last word is there may end with the full stop
    that the text begins with.
    """
    # The character before only matters where a full stop may follow its word.
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
    """As it is inserted: lines end with "\\n"."""
    logprobs: tuple[float, ...]
    """The model's log-probability of each id of the text, in nats, at temperature 1."""
    temperature: float | None = None
    """That at which it was drawn; None if a beam search found it."""
    is_complete: bool = True
    """Whether it reaches the end that was asked for, or was cut after a word."""

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
"""Characters of one from a beam search at most: the most likely long texts seldom end by
themselves."""
_BEAM_SHARE = 0.2
"""Share of each offer that comes from a beam search: one of five, the most likely one. The texts of
several beams differ little."""
_WIDTH = 4
"""Beams of the first search."""
_MAX_WIDTH = 256
"""Beams of the last search that is tried where samples repeat each other."""
_NO_REPEAT = 8
"""Length of n-grams that occur once in the text of a beam: the most likely long texts say the same
words again and again."""
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
        check_word("until", word=self.until, words=tuple(MAX_CHARS))
        Shaping(temperature=self.temperature)
        if self.seed < 0:
            raise UsageError(f"{named('seed')} is {self.seed}; it must be 0 or more.")


class Continuations:
    """Finds continuations of one text, all different, as many as are asked for.

    A second `take` gives other texts; the same calls give the same texts on every machine.
    """

    def __init__(
        self,
        generator: Generator,
        primed: PrimedState,
        options: ContinuationOptions,
        *,
        before: str = "",
    ) -> None:
        """Continue after `primed`, with the model of `generator`. `before` is the last character of
        the text.

        The END of a document completes every continuation.
        """
        self.options = options
        self._stepper = generator.int8_stepper
        self._vocab = generator.vocab
        self._end_id = generator.config.end_id
        self._banned = sampling.undrawable_ids(self._vocab, self._end_id)
        self._primed = primed
        self._before = before
        self._seen: set[str] = set()
        self._num_streams = 0

    def take(
        self, count: int = NUM_CONTINUATIONS, on_step: Callable[[], object] = lambda: None
    ) -> list[Continuation]:
        """Return `count` more continuations, those of a beam search first; fewer only if the model
        has no others.

        `on_step` is called before every character, and may raise to stop the work. Raises
        UsageError for a count out of range.
        """
        check_range("count", value=count, high=MAX_CONTINUATIONS)

        # The most likely text, then samples: as different as the model is unsure.
        found = self._new(self._search(_WIDTH, on_step), round(_BEAM_SHARE * count))
        for _ in range(_BATCHES):
            if len(found) < count:
                found += self._new(self._sample(on_step), count - len(found))

        # Where samples repeat each other, wider searches fill up.
        width = 2 * _WIDTH
        while len(found) < count and width <= _MAX_WIDTH:
            found += self._new(self._search(width, on_step), count - len(found))
            width *= 2
        return found

    def _new(self, candidates: list[Continuation], most: int) -> list[Continuation]:
        """Return the first `most` candidates that differ from all texts so far, and remember
        them."""
        # What was seen is kept from call to call: a second `take` offers others.
        new: list[Continuation] = []
        for candidate in candidates:
            # A reader does not see where a line is folded.
            key = candidate.text
            if self.options.until != "line":
                key = re.sub(r"\s+", " ", key)

            if len(new) < most and key.strip() and key not in self._seen:
                self._seen.add(key)
                new.append(candidate)
        return new

    def _search(self, width: int, on_step: Callable[[], object]) -> list[Continuation]:
        """Return what a beam search finds, best first."""
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

        found = []
        for beam in search.beams:
            # A document that ends completes the text; END itself is a stop, which is cut off.
            cut = self._cut(beam.ids)
            if cut is not None or beam.ids[-1:] == (self._end_id,):
                cut = beam.stop_length
            found.append(self._continuation(beam.ids, beam.logprobs, cut=cut))
        return sorted(found, key=lambda one: -one.logprob)

    def _sample(self, on_step: Callable[[], object]) -> list[Continuation]:
        """Draw the next samples, all together."""
        # Random numbers of their own for each text, whatever was drawn together.
        streams = range(self._num_streams, self._num_streams + _ROWS)
        seeds = [sampling.seed_of_text(self.options.seed, stream) for stream in streams]
        self._num_streams += _ROWS
        blocks = sampling.sample_ids(
            self._stepper,
            primed=self._primed,
            shapings=[Shaping(temperature=self.options.temperature)] * _ROWS,
            seeds=seeds,
            length=MAX_CHARS[self.options.until],
            banned=self._banned,
        )

        # All are drawn until the last one has ended: what one draws after its end is dropped.
        samples = [_Sample() for _ in seeds]
        for block in blocks:
            on_step()
            for row, sample in enumerate(samples):
                ids = block.ids[row].tolist()
                for id, logprob in zip(ids, block.logprobs[row].tolist(), strict=True):
                    if sample.cut is not None:
                        break
                    sample.ids.append(id)
                    sample.logprobs.append(logprob)
                    if id == self._end_id:
                        sample.cut = 1
                    else:
                        sample.cut = self._cut(sample.ids)
            if all(sample.cut is not None for sample in samples):
                break

        found = []
        for sample in samples:
            one = self._continuation(
                sample.ids,
                sample.logprobs,
                cut=sample.cut,
                temperature=self.options.temperature,
            )
            found.append(one)
        return found

    def _cut(self, ids: Sequence[int]) -> int | None:
        """Return how many of the last ids do not belong to the word, line or sentence; None if it
        has not ended."""
        # U+FFFD after the end: the last bytes are the first ones of a character.
        text = self._vocab.decode(ids)
        end = end_of(text, until=self.options.until, before=self._before)
        if end is None or REPLACEMENT in text[end:]:
            return None
        return len(self._vocab.encode(text[end:]))

    def _find_ends(self, texts: NDArray[np.int32]) -> Ends:
        """Return which of the texts (B, N) have ended, and how many ids are cut: `_cut`."""
        # One by one: each end depends on the text before it.
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
        """Make a continuation without the last `cut` ids; None if it has not ended."""
        # What follows the end decided that it is one, and is not part of it. Without an end, the
        # last word may be a part of a word.
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


@dataclass
class _Sample:
    """A continuation that is being drawn."""

    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    cut: int | None = None
    """What `Continuations._cut` returns for the ids."""


def substitutions(vocab: Vocab, text: str) -> dict[str, str]:
    """Return what each unknown character of a text is read as: what `Vocab.nearest` finds.

    Combining marks and invisible characters are left out (""). Another character for which there is
    none stays as it is, which is the unknown symbol, or is left out where the alphabet has none. Of
    the byte alphabet every character is known: it is read as its bytes in UTF-8.
    """
    return {char: _nearest(vocab, char) for char in vocab.unknown_characters(text)}


def read_as_known(vocab: Vocab, text: str) -> IdArray:
    """Encode a text with its `substitutions`."""
    # "" deletes a character in `str.translate`.
    replaced: dict[str, str | int | None] = {**substitutions(vocab, text)}
    return vocab.encode(text.translate(str.maketrans(replaced)))


def _nearest(vocab: Vocab, character: str) -> str:
    nearest = vocab.nearest(character)
    if nearest or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return nearest

    if vocab.has_unknown_symbol:
        return character
    return ""


SPACING = 512
"""Characters between two states that are kept."""
_BLOCK = 256
"""Characters that are read at a time: compiled code lets no other thread run meanwhile."""


OnRead = Callable[[int], object]
"""Called with the number of characters that were read since its last call; may raise to stop the
work."""


class DraftReader:
    """Reads the ids of a text up to any place; what was read before is used as far as the text is
    still the same.

    A state for every `SPACING` ids is kept, the last one, and those where a change began. The
    results do not depend on what was read before, if the stepper's sums are exact (int8).
    """

    def __init__(self, stepper: Stepper, vocab: Vocab, end_id: int | None = None) -> None:
        """Start with no text. `end_id` is the END of a document, which is read before the text."""
        self._stepper = stepper
        self._vocab = vocab
        self._end_id = end_id
        self._ids: NDArray[np.int64] = np.zeros(0, np.int64)
        self._states: dict[int, PrimedState] = {}
        self._last: dict[int, PrimedState] = {}

    def state_after(self, ids: Ids, on_read: OnRead = lambda num_chars: None) -> PrimedState:
        """Return the logits (1, V) and the state (L, S, 1, H) after a text (N,): of an empty one
        as a sample begins."""
        # An END resets the state: what is before it makes no difference.
        ends = np.flatnonzero(ids == self._end_id)
        if len(ends):
            ids = ids[ends[-1] + 1 :]
        text = self._take(ids)
        place = len(ids)

        # The state that is kept nearest before the place.
        states = self._states | self._last
        begin = max((known for known in states if known <= place), default=0)
        primed = states.get(begin) or self._start(text)
        if begin == place:
            return primed

        # In blocks that end where a state is kept.
        size = min(_BLOCK, SPACING)
        blocks = np.split(text[begin:place], range(size - begin % size, place - begin, size))
        results = sampling.read_blocks(self._stepper, blocks=blocks, primed=primed)
        for block in blocks:
            primed = next(results)
            begin += len(block)
            if text is self._ids:  # no other text was read meanwhile
                self._last = {begin: primed}
                if begin % SPACING == 0:
                    self._states[begin] = primed
            on_read(len(block))
        return primed

    def _take(self, ids: Ids) -> NDArray[np.int64]:
        """Forget the states after the first id that has changed, and return the text, which may go
        on after `ids`."""
        # Only the first difference counts: a state depends on all ids before it.
        length = min(len(ids), len(self._ids))
        common = length
        differs = np.flatnonzero(self._ids[:length] != ids[:length])
        if len(differs):
            common = int(differs[0])

        # All is kept where the new text is only a part of the old one, such as up to the cursor.
        if common < len(ids) or common == 0:
            known = self._states | self._last
            self._states = {place: known[place] for place in known if place <= common}
            self._last = {}
            self._ids = np.array(ids, np.int64)
        return self._ids

    def _start(self, text: NDArray[np.int64]) -> PrimedState:
        """Return what the model knows before the first character."""
        if len(text) == 0 or self._end_id is not None:
            opening = sampling.opening_ids(self._stepper, vocab=self._vocab, end_id=self._end_id)
            return sampling.prime_model(self._stepper, opening)
        return sampling.unprimed(self._stepper)


_readers: WeakKeyDictionary[Any, DraftReader] = WeakKeyDictionary()
"""The reader of each model."""


def reader_of(model: Model) -> DraftReader:
    """Return what reads drafts for a model: always the same reader, which knows what was read
    before.

    Weights are used in 8 bits, whose sums are exact: results do not depend on what was read before,
    nor on the machine. Not for several threads at once. Raises CheckpointError if the weights do
    not fit.
    """
    # One for each model: what one draft was read for serves the next key.
    if model not in _readers:
        generator = model.generator
        _readers[model] = DraftReader(
            generator.int8_stepper, vocab=generator.vocab, end_id=generator.config.end_id
        )
    return _readers[model]


def continue_text(
    model: Model,
    text: str,
    options: ContinuationOptions,
    *,
    on_read: OnRead = lambda num_chars: None,
) -> Continuations:
    """Read a text and return its continuations, to take as many as are asked for."""
    primed = reader_of(model).state_after(read_as_known(model.vocab, text), on_read)
    return Continuations(model.generator, primed, options=options, before=text[-1:])


def continuations(
    model: Model,
    text: str,
    *,
    count: int = NUM_CONTINUATIONS,
    until: str = "word",
    temperature: float = SAMPLE_TEMPERATURE,
    seed: int | None = None,
) -> list[Continuation]:
    """Return `count` different continuations of a text to the end of a `word`, a `line` or a
    `sentence`.

    One of five comes from a beam search, the others are samples. Characters that the model does not
    know are read as `substitutions` says. Fewer are returned only if there are no others. Without a
    seed a new one is drawn. Raises UsageError for an option out of range.

    >>> for found in model.continuations("What is the ", until="word", seed=1):
    ...     print(found.text)
    """
    options = ContinuationOptions(
        until=until, temperature=temperature, seed=fresh_seed() if seed is None else seed
    )
    return RecordList(continue_text(model, text=text, options=options).take(count))
