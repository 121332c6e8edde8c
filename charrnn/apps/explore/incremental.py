"""Reads a text one character at a time, with the model's state after each, so that the last can be deleted.

Shapes: N ids, L layers, S state vectors per layer, H units per layer, V vocabulary. Without torch.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from charrnn.generation.distribution import next_char_probs
from charrnn.generation.options import Shaping
from charrnn.model.stepper import Stepper
from charrnn.text.encoded import decode_each
from charrnn.text.vocab import Vocab

Float32Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class _Character:
    """One character that was read, and the model after each of its ids."""

    text: str
    """One decoded character per id: several for a character of several bytes."""
    cells: list[Float32Array]
    """(L, H) for each id."""
    state: Float32Array
    """(L, S, 1, H)"""
    logits: Float32Array
    """(1, V)"""


class IncrementalReader:
    """Reads a text that grows, from the initial state: the values of all cells, and the next characters, are known."""

    def __init__(self, stepper: Stepper, vocab: Vocab, end_id: int | None = None) -> None:
        """Start a text, or after `end_id`, the END of a document, the next document."""
        self._stepper, self._vocab = stepper, vocab
        self._start = stepper.initial_state(1)
        if end_id is not None:
            _, self._start = stepper.step(np.array([end_id]), self._start)
        self._characters: list[_Character] = []

    def __len__(self) -> int:
        """Return the number of characters that were read: of bytes, fewer than N."""
        return len(self._characters)

    @property
    def text(self) -> str:
        """One decoded character per id (N), as in a `Trace`."""
        return "".join(one.text for one in self._characters)

    def read(self, character: str) -> None:
        """Let the model read one more character."""
        state = self._characters[-1].state if self._characters else self._start
        ids = self._vocab.encode(character)
        logits = np.zeros((1, self._stepper.vocab_size), np.float32)
        cells = []
        for char in ids:
            logits, state = self._stepper.step(np.array([char]), state)
            cells.append(self._stepper.values(state)[:, 0])
        self._characters.append(_Character(decode_each(self._vocab, ids), cells, state, logits))

    def delete_last(self) -> None:
        """Delete the last character, if there is one: the model is as it was before."""
        del self._characters[-1:]

    def values(self, layer: int, unit: int) -> Float32Array:
        """Return the value of a cell after each id (N,)."""
        return np.array([cells[layer, unit] for one in self._characters for cells in one.cells], np.float32)

    def guesses(self, index: int, top: int) -> list[tuple[int, float]]:
        """Return the `top` most likely ids after id `index` and their probabilities, most likely first.

        The list is empty inside a character of several bytes, where nothing is predicted.
        """
        end = 0
        for one in self._characters:
            end += len(one.cells)
            if end == index + 1:
                probs = next_char_probs(one.logits, Shaping())[0]
                return [(int(char), float(probs[char])) for char in np.argsort(-probs, kind="stable")[:top]]
        return []
