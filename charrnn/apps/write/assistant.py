"""Reads a draft and offers continuations of it: what an editor needs of a model. Without torch.

What was read before is used as far as the text is still the same. Shapes: N ids of a draft, L layers,
S state vectors per layer, H units per layer, V vocabulary.
"""

import unicodedata
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from charrnn.api import Model
from charrnn.apps.write.continuations import NUM_CONTINUATIONS, Continuation, ContinuationOptions, Continuations
from charrnn.display import RecordList
from charrnn.extensions import ModelMethod
from charrnn.generation.generator import fresh_seed
from charrnn.generation.options import SAMPLE_TEMPERATURE
from charrnn.generation.sampling import Ids, PrimedState, compiled_loop, start_ids
from charrnn.model.stepper import Stepper
from charrnn.text.vocab import IdArray, Vocab


def substitutions(vocab: Vocab, text: str) -> dict[str, str]:
    """Return what each unknown character of a text is read as: what `Vocab.nearest` finds.

    Combining marks and invisible characters are left out (""). Another character for which there is none stays as it
    is, which is the unknown symbol, or is left out where the alphabet has none. Of the byte alphabet every character is
    known: it is read as its bytes in UTF-8.
    """
    return {char: _nearest(vocab, char) for char in vocab.unknown_characters(text)}


def read_as_known(vocab: Vocab, text: str) -> IdArray:
    """Encode a text with its `substitutions`."""
    return vocab.encode(text.translate({ord(char): other for char, other in substitutions(vocab, text).items()}))


def _nearest(vocab: Vocab, character: str) -> str:
    nearest = vocab.nearest(character)
    if nearest or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return nearest
    return character if vocab.has_unknown_symbol else ""


SPACING = 512
"""Characters between two states that are kept."""
_BLOCK = 256
"""Characters that are read at a time: compiled code lets no other thread run meanwhile."""


OnRead = Callable[[int], object]
"""Called with the number of characters that were read since its last call; may raise to stop the work."""


class DraftReader:
    """Reads the ids of a text up to any place; what was read before is used as far as the text is still the same.

    A state for every `SPACING` ids is kept, the last one, and those where a change began. The results do not depend on
    what was read before, if the stepper's sums are exact (int8).
    """

    def __init__(self, stepper: Stepper, vocab: Vocab, end_id: int | None = None) -> None:
        """Start with no text. `end_id` is the END of a document, which is read before the text."""
        self._stepper, self._vocab, self._end_id = stepper, vocab, end_id
        self._ids: NDArray[np.int64] = np.zeros(0, np.int64)
        self._states: dict[int, PrimedState] = {}
        self._last: dict[int, PrimedState] = {}

    def state_after(self, ids: Ids, on_read: OnRead = lambda num_chars: None) -> PrimedState:
        """Return the logits (1, V) and the state (L, S, 1, H) after a text (N,): of an empty one after a newline."""
        return self._read_to(self._take(ids), len(ids), on_read)

    def values(self, ids: Ids, begin: int, end: int) -> list[NDArray[np.float32]]:
        """Return the values (L, H) of the cells after each id from `begin` to `end` of a text."""
        text = self._take(ids)
        _, state = self._read_to(text, begin, lambda num_chars: None)
        cells = []
        for place in range(begin, end):
            logits, state = self._stepper.step(text[place : place + 1], state)
            cells.append(self._stepper.values(state)[:, 0])
            self._note(text, place + 1, PrimedState(logits, state))
        return cells

    def _take(self, ids: Ids) -> NDArray[np.int64]:
        """Forget the states after the first id that has changed, and return the text, which may go on after `ids`."""
        length = min(len(ids), len(self._ids))
        differs = np.flatnonzero(self._ids[:length] != ids[:length])
        common = int(differs[0]) if len(differs) else length
        # All is kept where the new text is only a part of the old one, such as up to the cursor.
        if common < len(ids) or common == 0:
            known = (self._states | self._last).items()
            self._states, self._last = {place: state for place, state in known if place <= common}, {}
            self._ids = np.array(ids, np.int64)
        return self._ids

    def _read_to(self, text: NDArray[np.int64], place: int, on_read: OnRead) -> PrimedState:
        states = self._states | self._last
        begin = max((known for known in states if known <= place), default=0)
        primed = states.get(begin) or self._start(text)
        if begin == place:
            return primed
        read = self._reading_function(place - begin)
        while begin < place:
            size = min(_BLOCK, place - begin, SPACING - begin % SPACING)
            primed = read(text[begin : begin + size], primed)
            begin += size
            self._note(text, begin, primed)
            on_read(size)
        return primed

    def _start(self, text: NDArray[np.int64]) -> PrimedState:
        """Return what the model knows before the first character."""
        if len(text) == 0 or self._end_id is not None:
            return PrimedState(*self._stepper.read(start_ids(self._vocab, self._end_id)))
        # Nothing is predicted of the first character of a text.
        logits = np.zeros((1, self._stepper.vocab_size), np.float32)
        return PrimedState(logits, self._stepper.initial_state(1))

    def _reading_function(self, num_chars: int) -> Callable[[NDArray[np.int64], PrimedState], PrimedState]:
        compiled = compiled_loop(self._stepper, num_chars, "read")
        if compiled is None:
            return lambda ids, primed: PrimedState(*self._stepper.read(ids, primed.state))
        weights = compiled.pack(self._stepper)
        scratch = compiled.make_scratch(weights, 1)

        def read(ids: NDArray[np.int64], primed: PrimedState) -> PrimedState:
            logits, state = primed.logits.copy(), primed.state.copy()
            compiled.LOOPS["read"](weights, ids, state, logits, scratch)
            return PrimedState(logits, state)

        return read

    def _note(self, text: NDArray[np.int64], place: int, primed: PrimedState) -> None:
        """Keep a state, unless another text was read meanwhile."""
        if text is self._ids:
            self._last = {place: primed}
            if place % SPACING == 0:
                self._states[place] = primed


_readers: WeakKeyDictionary[Any, DraftReader] = WeakKeyDictionary()
"""The reader of each model."""


def reader_of(model: Model) -> DraftReader:
    """Return what reads drafts for a model: always the same reader, which knows what was read before.

    Weights are used in 8 bits, whose sums are exact: results do not depend on what was read before, nor on the machine.
    Not for several threads at once. Raises CheckpointError if the weights do not fit.
    """
    if model not in _readers:
        generator = model.generator
        _readers[model] = DraftReader(generator.int8_stepper, generator.vocab, generator.config.end_id)
    return _readers[model]


def continue_text(
    model: Model, text: str, options: ContinuationOptions, *, on_read: OnRead = lambda num_chars: None
) -> Continuations:
    """Read a text and return its continuations, to take as many as are asked for."""
    primed = reader_of(model).state_after(read_as_known(model.vocab, text), on_read)
    return Continuations(model.generator, primed, options, before=text[-1:])


def continuations(
    model: Model,
    text: str,
    *,
    count: int = NUM_CONTINUATIONS,
    until: str = "word",
    temperature: float = SAMPLE_TEMPERATURE,
    seed: int | None = None,
) -> list[Continuation]:
    """Return `count` different continuations of a text to the end of a `word`, a `line` or a `sentence`.

    Two of five come from a beam search, the others are samples. Characters that the model does not know are read as
    `substitutions` says. Fewer are returned only if there are no others. Without a seed a new one is drawn.
    Raises UsageError for an option out of range.
    """
    options = ContinuationOptions(until=until, temperature=temperature, seed=fresh_seed() if seed is None else seed)
    return RecordList(continue_text(model, text, options).take(count))


EXTENSIONS = (ModelMethod(name="continuations", function=continuations),)
"""The method `Model.continuations`."""
