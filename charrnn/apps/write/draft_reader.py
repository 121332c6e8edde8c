"""Reads a text that changes while it is written, without reading all of it again after every change.

Shapes: N ids, L layers, S state vectors per layer, H units per layer, V vocabulary. Without torch.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from charrnn.generation.distribution import log_softmax
from charrnn.generation.sampling import Ids, PrimedState, compiled_loop, start_ids
from charrnn.model.stepper import Stepper
from charrnn.text.vocab import Vocab

SPACING = 1024
"""Characters between two states that are kept, until there are too many."""
NEAR_SPACING = 64
"""Characters between two states that are kept of the part that was read last."""
MAX_STATES = 512
"""States that are kept of each kind at most; from there on every other one is dropped."""
_BLOCK = 256
"""Characters that are read at a time: compiled code lets no other thread run meanwhile."""


@dataclass(frozen=True, slots=True, eq=False)
class ReadValues:
    """What a model did at consecutive ids of a text: N values each."""

    surprise: NDArray[np.float64]
    """(N,): bits; nan for the first character of a text, unless it begins with the END of a document."""
    cells: NDArray[np.float32]
    """(N, L, H): the value of every cell after the id."""


class DraftReader:
    """Reads the ids of a text up to any place; what was read before is used as far as the text is still the same.

    Of a text of N characters at most 2 * `MAX_STATES` states are kept, so that memory is bounded. The results do not
    depend on what was read before, if the stepper's sums are exact (int8).
    """

    def __init__(self, stepper: Stepper, vocab: Vocab, end_id: int | None = None) -> None:
        """Start with no text. `end_id` is the END of a document, which is read before the text."""
        self._stepper, self._vocab, self._end_id = stepper, vocab, end_id
        self._ids: NDArray[np.int64] = np.zeros(0, np.int64)
        self._spacing = SPACING
        self._states: dict[int, PrimedState] = {}
        self._near: dict[int, PrimedState] = {}
        self.num_read = 0
        """Characters that were read in all, for tests and measurements."""

    def state_after(self, ids: Ids, on_read: Callable[[int], object] = lambda num_chars: None) -> PrimedState:
        """Return the logits (1, V) and the state (L, S, 1, H) after a text (N,): of an empty one after a newline.

        `on_read` is called with the number of characters that were read since its last call, and may raise to stop.
        """
        self._take(ids)
        return self._read_to(len(ids), on_read)

    def values(
        self, ids: Ids, begin: int, end: int, on_read: Callable[[int], object] = lambda num_chars: None
    ) -> ReadValues:
        """Return the surprise and the cells' values of the ids from `begin` to `end` of a text."""
        self._take(ids)
        logits, state = self._read_to(begin, on_read)
        surprise, cells = [], []
        for place in range(begin, end):
            id = int(self._ids[place])
            is_predicted = place > 0 or self._end_id is not None
            surprise.append(-float(log_softmax(logits)[0, id]) / math.log(2) if is_predicted else math.nan)
            logits, state = self._stepper.step(np.array([id]), state)
            cells.append(self._stepper.values(state)[:, 0])
            self._note(place + 1, PrimedState(logits, state))
            if (place + 1 - begin) % NEAR_SPACING == 0:
                on_read(NEAR_SPACING)
        self.num_read += end - begin
        shape = (end - begin, self._stepper.num_layers, self._stepper.hidden_size)
        return ReadValues(np.array(surprise), np.array(cells, np.float32).reshape(shape))

    def num_unread(self, ids: Ids) -> int:
        """Return how many characters have to be read for the state after a text."""
        return len(ids) - self._nearest(min(len(ids), self._num_common(ids)))

    def _num_common(self, ids: Ids) -> int:
        length = min(len(ids), len(self._ids))
        differs = np.flatnonzero(self._ids[:length] != ids[:length])
        return int(differs[0]) if len(differs) else length

    def _take(self, ids: Ids) -> None:
        """Forget the states after the first id that has changed."""
        common = self._num_common(ids)
        for states in (self._states, self._near):
            for place in [place for place in states if place > common]:
                del states[place]
        # What follows is kept where the new text is only a part of the old one, such as up to the cursor.
        if common < len(ids) or common == 0:
            self._ids = np.array(ids, np.int64)

    def _nearest(self, place: int) -> int:
        known = (one for states in (self._states, self._near) for one in states if one <= place)
        return max(known, default=0)

    def _read_to(self, place: int, on_read: Callable[[int], object]) -> PrimedState:
        begin = self._nearest(place)
        primed = self._near.get(begin) or self._states.get(begin) or self._start()
        if begin == place:
            return primed
        read = self._reading_function(place - begin)
        while begin < place:
            size = min(_BLOCK, place - begin, self._spacing - begin % self._spacing)
            primed = read(self._ids[begin : begin + size], primed)
            begin += size
            self.num_read += size
            self._note(begin, primed)
            on_read(size)
        self._near[place] = primed
        return primed

    def _start(self) -> PrimedState:
        """Return what the model knows before the first character."""
        if len(self._ids) == 0 or self._end_id is not None:
            return PrimedState(*self._stepper.read(start_ids(self._vocab, self._end_id)))
        # Nothing is predicted of the first character of a text.
        logits = np.zeros((1, self._stepper.vocab_size), np.float32)
        return PrimedState(logits, self._stepper.initial_state(1))

    def _reading_function(self, num_chars: int) -> Callable[[NDArray[np.int64], PrimedState], PrimedState]:
        compiled = compiled_loop(self._stepper, num_chars, "read", on_warning=lambda message: None)
        if compiled is None:
            return lambda ids, primed: PrimedState(*self._stepper.read(ids, primed.state))
        weights = compiled.pack(self._stepper)
        scratch = compiled.make_scratch(weights, 1)

        def read(ids: NDArray[np.int64], primed: PrimedState) -> PrimedState:
            logits, state = primed.logits.copy(), primed.state.copy()
            compiled.LOOPS["read"](weights, ids, state, logits, scratch)
            return PrimedState(logits, state)

        return read

    def _note(self, place: int, primed: PrimedState) -> None:
        """Keep a state if its place is one of those that are kept."""
        if place % self._spacing == 0:
            self._states[place] = primed
            if len(self._states) > MAX_STATES:
                self._spacing *= 2
                self._states = {one: kept for one, kept in self._states.items() if one % self._spacing == 0}
        if place % NEAR_SPACING == 0:
            self._near.pop(place, None)
            self._near[place] = primed
            while len(self._near) > MAX_STATES // 4:
                del self._near[next(iter(self._near))]
