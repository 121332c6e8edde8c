"""Generate text by several models together: each reads the text, and their predictions are mixed.

Shapes: B batch, V vocabulary, M models, N values of all their states.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.config import Config
from charrnn.errors import UsageError, named
from charrnn.generation.distribution import log_softmax
from charrnn.generation.generator import Generator, Variant
from charrnn.generation.options import Clamps, OnCompile, OnWarning, SampleOptions
from charrnn.generation.sampling import Block, compiled_loop
from charrnn.lab.compiled_stepper import CompiledStepper
from charrnn.model.stepper import CharacterModel, Stepper
from charrnn.text.vocab import CommonAlphabet

_Advance = Callable[
    [CharacterModel, NDArray[np.int64], NDArray[np.float32]], tuple[NDArray[np.floating[Any]], NDArray[np.float32]]
]
"""From a model, the ids that its alphabet has for the common one (V,) and its state to its logits and new state."""


class MixedStepper:
    """Several models one character at a time; its logits are the logarithms of the mixed probabilities, in float64."""

    def __init__(
        self, steppers: Sequence[CharacterModel], alphabet: CommonAlphabet, weights: Sequence[float], mode: str
    ) -> None:
        """Mix `steppers` (M) with `weights` (M), all positive with the sum 1, over their common alphabet.

        `mode` is that of `charrnn.mix`.
        """
        self._steppers, self._places, self._is_product = list(steppers), alphabet.places, mode == "product"
        self._weights = np.asarray(weights, np.float64)[:, None, None]
        self.vocab_size, self.precision = len(alphabet.vocab), steppers[0].precision
        self._shapes = [stepper.initial_state(1).shape for stepper in steppers]

    @property
    def changes(self) -> str:
        """What distinguishes it from others of the same models: its precision."""
        return self.precision

    def compile_steps(self, num_chars: int, on_compile: OnCompile, on_warning: OnWarning) -> None:
        """Compile the steps of each model that can be compiled, if that saves time for `num_chars` characters.

        In int8 only, where the logits stay the same. `on_compile` and `on_warning` as in `sampling.compiled_loop`.
        """
        if self.precision != "int8":
            return
        num_steps, messages = num_chars * len(self._steppers), set[str]()  # the same message comes from every model
        for index, stepper in enumerate(self._steppers):
            if isinstance(stepper, Stepper):
                compiled = compiled_loop(stepper, num_steps, "read", on_compile, messages.add)
                if compiled is not None:
                    self._steppers[index] = CompiledStepper(stepper, compiled)
        for message in sorted(messages):
            on_warning(message)

    def initial_state(self, batch_size: int) -> NDArray[np.float32]:
        """Return the initial states of all models as one array (1, 1, B, N)."""
        return self._pack([stepper.initial_state(batch_size) for stepper in self._steppers])

    def step(self, ids: NDArray[np.integer[Any]], state: NDArray[np.float32]) -> tuple[Any, NDArray[np.float32]]:
        """Map ids (B,) and a state (1, 1, B, N) to log-probabilities (B, V), not normalized, and the new state."""
        return self._advance(lambda stepper, places, own: stepper.step(places[ids], own), state)

    def read(
        self, ids: NDArray[np.integer[Any]], state: NDArray[np.float32] | None = None
    ) -> tuple[Any, NDArray[np.float32]]:
        """Read a text (N,), N >= 1, in one row, as `Stepper.read`. Raises ValueError for an empty text."""
        before = self.initial_state(1) if state is None else state
        return self._advance(lambda stepper, places, own: stepper.read(places[ids], own), before)

    def _advance(self, advance: _Advance, state: NDArray[np.float32]) -> tuple[Any, NDArray[np.float32]]:
        """Advance every model from its part of a state, and mix their logits over the common alphabet."""
        scores, states = [], []
        for stepper, places, own in zip(self._steppers, self._places, self._unpack(state), strict=True):
            logits, after = advance(stepper, places, own)
            scores.append(log_softmax(logits[:, places]))
            states.append(after)
        return self._mix(np.stack(scores)), self._pack(states)

    def _mix(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mix log-probabilities (M, B, V)."""
        if self._is_product:
            return np.asarray((self._weights * scores).sum(axis=0))
        return np.asarray(np.logaddexp.reduce(scores + np.log(self._weights), axis=0))

    def _pack(self, states: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        rows = [state.transpose(2, 0, 1, 3).reshape(state.shape[2], -1) for state in states]
        return np.concatenate(rows, axis=1)[None, None]

    def _unpack(self, state: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        ends = itertools.accumulate((prod(shape) for shape in self._shapes), initial=0)
        return [
            state[0, 0, :, begin:end].reshape(-1, shape[0], shape[1], shape[3]).transpose(1, 2, 0, 3)
            for shape, (begin, end) in zip(self._shapes, itertools.pairwise(ends), strict=True)
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

    def model_for(self, precision: str, clamps: Clamps) -> MixedStepper:
        if clamps:
            raise UsageError(f"{named('clamps')} sets a cell of one model, and this is a mixture: leave it out.")
        precision = "fp32" if precision == "fp32" else "int8"
        if precision not in self._mixed:
            models = [one.model_for(precision, {}) for one in self._generators]
            self._mixed[precision] = MixedStepper(models, self._alphabet, self._shares, self._mode)
        return self._mixed[precision]

    def _draw(self, variants: Sequence[Variant], options: SampleOptions) -> Iterator[Block]:
        num_chars = len(options.prime) + options.length * len(variants)
        model = self.model_for(options.precision, options.clamps)
        model.compile_steps(num_chars, options.on_compile, options.on_warning)
        return super()._draw(variants, options)
