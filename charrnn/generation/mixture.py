"""Generate text by several models together: each reads the text, and their predictions are mixed.

Shapes: B batch, V vocabulary, M models, N values of all their states.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.config import Config
from charrnn.errors import UsageError, named
from charrnn.generation.distribution import log_softmax
from charrnn.generation.generator import Generator
from charrnn.generation.options import Clamps
from charrnn.model.stepper import CharacterModel
from charrnn.text.common import CommonAlphabet


class MixedStepper:
    """Several models one character at a time; its logits are the logarithms of the mixed probabilities, in float64."""

    def __init__(
        self, steppers: Sequence[CharacterModel], alphabet: CommonAlphabet, weights: Sequence[float], mode: str
    ) -> None:
        """Mix `steppers` (M) with `weights` (M), all positive with the sum 1, over their common alphabet.

        `mode` is that of `charrnn.mix`.
        """
        self._steppers, self._places, self._is_product = steppers, alphabet.places, mode == "product"
        self._weights = np.asarray(weights, np.float64)[:, None, None]
        self.vocab_size, self.precision = len(alphabet.vocab), steppers[0].precision
        self._shapes = [stepper.initial_state(1).shape for stepper in steppers]

    @property
    def changes(self) -> str:
        """What distinguishes it from others of the same models: its precision."""
        return self.precision

    def initial_state(self, batch_size: int) -> NDArray[np.float32]:
        """Return the initial states of all models as one array (1, 1, B, N)."""
        return self._pack([stepper.initial_state(batch_size) for stepper in self._steppers])

    def step(self, ids: NDArray[np.integer[Any]], state: NDArray[np.float32]) -> tuple[Any, NDArray[np.float32]]:
        """Map ids (B,) and a state (1, 1, B, N) to log-probabilities (B, V), not normalized, and the new state."""
        scores, states = [], []
        for stepper, places, own in zip(self._steppers, self._places, self._unpack(state), strict=True):
            logits, after = stepper.step(places[ids], own)
            scores.append(log_softmax(logits[:, places]))
            states.append(after)
        return self._mix(np.stack(scores)), self._pack(states)

    def read(
        self, ids: NDArray[np.integer[Any]], state: NDArray[np.float32] | None = None
    ) -> tuple[Any, NDArray[np.float32]]:
        """Read a text (N,), N >= 1, in one row, as `Stepper.read`. Raises ValueError for an empty text."""
        scores, states = [], []
        before = self._unpack(self.initial_state(1) if state is None else state)
        for stepper, places, own in zip(self._steppers, self._places, before, strict=True):
            logits, after = stepper.read(places[ids], own)
            scores.append(log_softmax(logits[:, places]))
            states.append(after)
        return self._mix(np.stack(scores)), self._pack(states)

    def _mix(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mix log-probabilities (M, B, V)."""
        if self._is_product:
            return np.asarray((self._weights * scores).sum(axis=0))
        return np.asarray(np.logaddexp.reduce(scores + np.log(self._weights), axis=0))

    def _pack(self, states: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        rows = [np.moveaxis(state, 2, 0).reshape(state.shape[2], -1) for state in states]
        return np.concatenate(rows, axis=1)[None, None]

    def _unpack(self, state: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        ends = np.cumsum([np.prod(shape) for shape in self._shapes])
        parts = np.split(state[0, 0], ends[:-1], axis=1)
        return [
            np.moveaxis(part.reshape(-1, shape[0], shape[1], shape[3]), 0, 2)
            for part, shape in zip(parts, self._shapes, strict=True)
        ]


class MixedGenerator(Generator):
    """Generates text with several models; options and errors are those of `Generator`, but no cell can be clamped."""

    def __init__(
        self,
        config: Config,
        generators: Sequence[Generator],
        alphabet: CommonAlphabet,
        weights: Sequence[float],
        mode: str,
        name: str,
    ) -> None:
        """Take the generators of the models; `config` says what the mixture's texts are, as for one model."""
        super().__init__(config, alphabet.vocab, {}, name)
        self._generators, self._alphabet, self._shares, self._mode = generators, alphabet, weights, mode
        self._mixed: dict[str, MixedStepper] = {}

    def model_for(self, precision: str, clamps: Clamps) -> CharacterModel:
        if clamps:
            raise UsageError(f"{named('clamps')} sets a cell of one model, and this is a mixture: leave it out.")
        precision = "fp32" if precision == "fp32" else "int8"
        if precision not in self._mixed:
            models = [one.model_for(precision, {}) for one in self._generators]
            self._mixed[precision] = MixedStepper(models, self._alphabet, self._shares, self._mode)
        return self._mixed[precision]
