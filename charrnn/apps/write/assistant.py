"""Reads a draft and offers continuations of it: what an editor needs of a model.

Shapes: N characters of a draft. Without torch.
"""

from collections.abc import Callable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from charrnn.apps.write.continuations import ContinuationOptions, Continuations
from charrnn.apps.write.draft_reader import DraftReader
from charrnn.apps.write.known_bytes import known_characters
from charrnn.apps.write.substitution import CachedReading, KnownCharacters, ReadText
from charrnn.generation.generator import Generator
from charrnn.generation.sampling import undrawable_ids

OnRead = Callable[[int], object]
"""Called with the number of characters that were read since its last call; may raise to stop the work."""


def _ignore(num_chars: int) -> None:
    pass


class DraftAssistant:
    """Reads a draft as far as it has changed since the last call, continues it, and gives the values to colour it by.

    Weights are used in 8 bits, whose sums are exact: results do not depend on what was read before, nor on the machine.
    Not for several threads at once.
    """

    def __init__(self, generator: Generator) -> None:
        """Use the model of a generator. Its methods raise CheckpointError if the weights do not fit."""
        self._generator = generator

    @cached_property
    def known(self) -> KnownCharacters:
        """The characters that the model has learned."""
        return known_characters(self._generator.int8_stepper, self._generator.vocab, self._generator.config.end_id)

    @cached_property
    def reader(self) -> DraftReader:
        """The reader, with the states that it keeps."""
        return DraftReader(self._generator.int8_stepper, self._generator.vocab, self._generator.config.end_id)

    def read(self, text: str) -> ReadText:
        """Return a text as the model reads it, with what it does not know replaced."""
        return self._reading.read(text)

    @cached_property
    def _reading(self) -> CachedReading:
        return CachedReading(self.known)

    def continue_text(
        self,
        text: str,
        options: ContinuationOptions,
        *,
        on_read: OnRead = _ignore,
        on_step: Callable[[], object] = lambda: None,
    ) -> Continuations:
        """Read a text and return its continuations, to take as many as are asked for.

        `on_step` is called before each character that is generated, and may raise to stop the work.
        """
        primed = self.reader.state_after(self.read(text).ids, on_read)
        vocab, end_id = self._generator.vocab, self._generator.config.end_id
        return Continuations(
            self._generator.int8_stepper,
            vocab,
            primed,
            options,
            before=text[-1:],
            banned=undrawable_ids(vocab, end_id),
            end_id=end_id,
            on_step=on_step,
        )

    def surprise(self, text: str, begin: int, end: int, *, on_read: OnRead = _ignore) -> NDArray[np.float64]:
        """Return the surprise in bits of the characters from `begin` to `end` of a text.

        It is nan where nothing is predicted: for a first character, and for one that is left out.
        """
        read = self.read(text)
        first, last = read.offsets[[begin, end]].tolist()
        values = self.reader.values(read.ids, first, last, on_read).surprise
        sums = np.concatenate((np.zeros(1), np.cumsum(np.nan_to_num(values))))
        bounds = read.offsets[begin : end + 1] - first
        surprise: NDArray[np.float64] = sums[bounds[1:]] - sums[bounds[:-1]]
        surprise[bounds[1:] == bounds[:-1]] = np.nan
        if first == 0 and len(values) and np.isnan(values[0]):
            surprise[(bounds[:-1] == 0) & (bounds[1:] > 0)] = np.nan
        return surprise

    def cell_values(
        self, text: str, cell: tuple[int, int], begin: int, end: int, *, on_read: OnRead = _ignore
    ) -> NDArray[np.float64]:
        """Return the value of a cell after each of the characters from `begin` to `end` of a text.

        It is nan where a text begins with characters that are left out. Raises UsageError if there is no such cell.
        """
        self._generator.int8_stepper.check_unit(*cell)
        read = self.read(text)
        first, last = read.offsets[[begin, end]].tolist()
        first = max(0, first - 1)
        values = self.reader.values(read.ids, first, last, on_read).cells[:, cell[0], cell[1]]
        places = read.offsets[begin + 1 : end + 1] - 1 - first
        found = np.full(end - begin, np.nan)
        found[places >= 0] = values[places[places >= 0]]
        return found
