"""A model and the counts of its training text, which predict together.

The network reads the text as it does alone. The state has the last characters, too, after which the
counts predict; `counts.mixing_powers` mixes both predictions.

Shapes: T time, B batch, V vocabulary, K characters of the longest context.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from charrnn.counts.mixing_powers import MixingPowers, Predictions
from charrnn.evaluation.log_probability import ProbabilityMethods
from charrnn.generation.generator import Generator
from charrnn.generation.sample_options import Clamps
from charrnn.generation.sampling import PrimedState, read_blocks
from charrnn.model.recurrent_state import RecurrentState
from charrnn.model.stepper import Stepper
from charrnn.system.compiling import can_compile
from charrnn.system.lazy import LazyModule, torch
from charrnn.text.given_text import GivenText
from charrnn.text.vocab import EncodedText

if TYPE_CHECKING:
    from charrnn.counts import compiled_mixing
    from charrnn.counts.contexts import NgramPredictor
    from charrnn.model.annotations import Predictor
    from charrnn.text.corpus import CorpusPart
    from charrnn.trained_model import TrainedModel
else:
    # It needs numba.
    compiled_mixing = LazyModule("charrnn.counts.compiled_mixing")

NO_CHARACTER = -1
"""The entry of a history before the beginning of the text."""
ROWS_AT_ONCE = 1024
"""Predictions that are computed at once: an alphabet may have thousands of characters."""

Float64Array = NDArray[np.float64]


class CountedState(NamedTuple):
    """The state of a network, and the last characters that it read."""

    network: Any
    """The state of the network alone."""
    history: Any
    """(B, K): the last characters as ids, the oldest first, NO_CHARACTER before the text."""

    def map(self, function: Callable[..., Any], *others: CountedState) -> CountedState:
        """Map the state of the network and the history as `RecurrentState.map` does; axis -2 of the
        history has the batch rows, too."""
        network = self.network.map(function, *(other.network for other in others))
        history = function(self.history, *(other.history for other in others))
        return CountedState(network=network, history=history)

    @property
    def device(self) -> Any:
        """The device of the arrays."""
        return self.network.device

    @property
    def num_bytes(self) -> int:
        """Bytes of the state of the network; the history is small beside it."""
        return int(self.network.num_bytes)


class Counts(NamedTuple):
    """The counts of a training text, and the powers that mix them with the network that learned
    it."""

    predictor: NgramPredictor
    powers: MixingPowers
    is_used: bool = True
    """Whether both predict the validation text better than the network alone, so that the counts
    are used where nobody asks for them."""

    def mix(self, logits: NDArray[Any], histories: NDArray[np.int64]) -> Float64Array:
        """Mix the logits (B, V) of a network with the predictions of the counts after histories (B,
        K). Returns logits (B, V)."""
        return self.powers.mix(self.predictions(logits, histories))

    def predictions(self, logits: NDArray[Any], histories: NDArray[np.int64]) -> Predictions:
        """Return the predictions by a network with the logits (B, V), and by the counts after
        histories (B, K)."""
        predicted = self.predictor.after(histories)
        return Predictions.of(
            logits, counts=predicted, histories=histories, end_id=self.predictor.end_id
        )

    def mix_many(self, logits: NDArray[np.float32], histories: NDArray[np.int64]) -> Float64Array:
        """Return the logits (M, V) of `mix` for many predictions. A compiled loop computes them if
        numba is installed."""
        if can_compile():
            counts = compiled_mixing.LoopCounts(self.predictor, self.powers.values)
            return compiled_mixing.mix_rows(counts, logits, histories=histories)
        mixed = np.empty(logits.shape)
        for rows in row_slices(len(mixed)):
            mixed[rows] = self.mix(logits[rows], histories=histories[rows])
        return mixed


class CountedStepper:
    """A network and counts, one character at a time, with logits in float64."""

    compiled_loops: Mapping[str, str] = {"write": "write with counts"}
    """The network alone reads a prime, with its own loop."""

    def __init__(self, network: Stepper, counts: Counts) -> None:
        self.network = network
        self.counts = counts
        self.vocab_size = network.vocab_size
        self.precision = network.precision
        self.changes = f"{network.changes} with counts"

    def initial_state(self, batch_size: int) -> CountedState:
        """Return the state before a text."""
        history = np.full((batch_size, self.counts.predictor.longest), NO_CHARACTER, np.int64)
        return CountedState(network=self.network.initial_state(batch_size), history=history)

    def step(
        self, ids: NDArray[np.integer[Any]], state: CountedState
    ) -> tuple[Float64Array, CountedState]:
        """Map ids (B,) and a state to logits (B, V) and a new state."""
        logits, network = self.network.step(ids, state.network)
        history = np.column_stack((state.history, ids))[:, 1:]
        mixed = self.counts.mix(logits, history)
        return mixed, CountedState(network=network, history=history)

    def read(
        self, ids: NDArray[np.integer[Any]], state: CountedState | None = None
    ) -> tuple[Float64Array, CountedState]:
        """Read a text (N,), N >= 1, in one row, from the initial state by default. Returns
        logits (1, V) after its last character, and the state."""
        if state is None:
            state = self.initial_state(1)

        # Only the last prediction is mixed.
        nothing = np.zeros((1, self.vocab_size), np.float32)
        before = PrimedState(logits=nothing, state=state.network)
        [primed] = read_blocks(self.network, [np.asarray(ids, np.int64)], primed=before)
        longest = state.history.shape[1]
        read = np.concatenate((state.history[0], ids))
        history = read[len(read) - longest :].astype(np.int64)[None]
        mixed = self.counts.mix(primed.logits, history)
        return mixed, CountedState(network=primed.state, history=history)

    def check_unit(self, layer: int, unit: int) -> None:
        """Raise UsageError if the network has no such cell."""
        self.network.check_unit(layer, unit)

    def values(self, state: CountedState) -> NDArray[np.float32]:
        """Compute the cell values (L, B, H) of the network from a state."""
        return self.network.values(state.network)


class CountedGenerator(Generator):
    """Generates text with a network and counts; options and errors are those of `Generator`."""

    def __init__(self, model: TrainedModel, counts: Counts) -> None:
        super().__init__(model.config, vocab=model.vocab, tensors=model.tensors, name=model.name)
        self._network = model.generator
        self._counts = counts

    def model_for(self, precision: str, clamps: Clamps) -> CountedStepper:
        network = self._network.model_for(precision, clamps)
        assert isinstance(network, Stepper), "a model that was counted is one network"
        return CountedStepper(network, counts=self._counts)


class CountsNetwork:
    """The counts alone, called like a torch module: maps ids (T, B) and a state to
    log-probabilities (T, B, V) and a new state, which has the histories (B, K) as its vectors."""

    def __init__(self, predictor: NgramPredictor, device: torch.device, end_id: int | None) -> None:
        self.predictor = predictor
        self.device = device
        self.end_id = end_id
        self.vocab_size = predictor.vocab_size

    def initial_state(self, batch_size: int) -> RecurrentState[torch.Tensor]:
        """Return the state before a text."""
        # On the device of the network, because the rows of both states are reset together.
        history = torch.full((batch_size, self.predictor.longest), NO_CHARACTER, dtype=torch.int64)
        return RecurrentState(history.to(self.device))

    def __call__(
        self, ids: torch.Tensor, state: RecurrentState[torch.Tensor]
    ) -> tuple[torch.Tensor, RecurrentState[torch.Tensor]]:
        """Predict the character after each of ids (T, B)."""
        histories, after = self.histories(ids, state)
        log_probs = torch.empty((len(histories), self.vocab_size))
        for rows in row_slices(len(histories)):
            probabilities = self.predictor.after(histories[rows])
            log_probs[rows] = torch.from_numpy(np.log(probabilities))
        return log_probs.view(*ids.shape, -1).to(self.device), after

    def histories(
        self, ids: torch.Tensor, state: RecurrentState[torch.Tensor]
    ) -> tuple[NDArray[np.int64], RecurrentState[torch.Tensor]]:
        """Return the history (T * B, K) after each of ids (T, B), and the state after the last."""
        # Windows over the characters of the state and the ids.
        longest = self.predictor.longest
        read = torch.cat((state.vectors, ids.T.to(state.vectors)), dim=1)
        windows = sliding_window_view(read.cpu().numpy(), longest, axis=1)[:, 1:]
        histories = windows.swapaxes(0, 1).reshape(-1, longest)
        return histories, RecurrentState(read[:, read.shape[1] - longest :])


class CountedNetwork:
    """Maps ids (T, B) and a state to the logits (T, B, V) of a network and counts together, and a
    new state."""

    def __init__(self, network: Predictor, counts: Counts) -> None:
        self.network = network
        self.counts = counts
        self.alone = CountsNetwork(counts.predictor, network.device, end_id=network.end_id)
        self.device: torch.device = network.device
        self.end_id = network.end_id
        self.vocab_size = network.vocab_size

    def initial_state(self, batch_size: int) -> CountedState:
        """Return the state before a text."""
        network = self.network.initial_state(batch_size)
        history = self.alone.initial_state(batch_size).vectors
        return CountedState(network=network, history=history)

    def __call__(self, ids: torch.Tensor, state: CountedState) -> tuple[torch.Tensor, CountedState]:
        """Read ids (T, B) with the network, and mix its predictions with the counts."""
        logits, network = self.network(ids, state.network)
        histories, after = self.alone.histories(ids, RecurrentState(state.history))
        by_network = logits.flatten(0, 1).float().cpu().numpy()
        rows = torch.from_numpy(self.counts.mix_many(by_network, histories=histories))
        mixed = rows.float().view_as(logits).to(self.device)
        return mixed, CountedState(network=network, history=after.vectors)


def row_slices(num_rows: int) -> Iterator[slice]:
    """Yield slices of `num_rows` rows, each of rows that are computed at once."""
    for begin in range(0, num_rows, ROWS_AT_ONCE):
        yield slice(begin, begin + ROWS_AT_ONCE)


class CountedModel(ProbabilityMethods):
    """A model and the counts of its training text, made by `Model.with_counts`: generates text as a
    `Model`, and can be evaluated.

    Attributes: `model`, the network alone; `counts`; `name`, `config`, `vocab`, `generator`.
    """

    writer = "network and counts"

    def __init__(self, model: TrainedModel, counts: Counts) -> None:
        self.model = model
        self.counts = counts
        self.name = model.name
        self.config = model.config
        self.vocab = model.vocab
        self.warnings = model.warnings
        self.generator = CountedGenerator(model, counts=counts)

    def __reduce__(self) -> tuple[Any, ...]:
        return CountedModel, (self.model, self.counts)

    def __repr__(self) -> str:
        return f"<CountedModel {self.name}>"

    @property
    def network(self) -> CountedNetwork:
        """The network and the counts as one torch module."""
        return self._network

    @cached_property
    def _network(self) -> CountedNetwork:
        return CountedNetwork(self.model.network, counts=self.counts)

    @property
    def trained_models(self) -> Sequence[TrainedModel]:
        """The network alone."""
        return (self.model,)

    def origin(self) -> dict[str, Any]:
        """Return the origin of the model, and that it predicts with counts, for JSON.

        Returns:
            A dictionary, which `json.dumps` takes.

        Example:
            >>> charrnn.load("counted").with_counts().origin()
            {'writer': 'network and counts'}
        """
        return {**self.model.origin(), "writer": self.writer}

    def encode(self, text: GivenText, *, context: str | bytes = "") -> EncodedText:
        """Encode a text and its context, as `Model.encode` does.

        Args:
            text: The text: a string, bytes, the `pathlib.Path` of a file, or a list of these.
            context: What the model reads before the text. By default nothing.

        Returns:
            An `EncodedText` of N characters.

        Raises:
            DataError: The text is empty, or a file cannot be read.
            UsageError: The text is bytes and the model reads characters.

        Example:
            >>> len(charrnn.load("counted").with_counts().encode("molu tarn"))
            9
        """
        return self.model.encode(text, context=context)

    def held_out(self, part: str = "validation") -> CorpusPart:
        """Return a held-out part of the text of the run, as `Model.held_out` does.

        Args:
            part: `validation` or `test`.

        Returns:
            A `CorpusPart`, of which a slice is text.

        Raises:
            DataError: The text is missing or has changed.
            UsageError: The run has no such part.

        Example:
            >>> together = charrnn.load("counted").with_counts()
            >>> charrnn.evaluate(together, together.held_out()).bpc
        """
        return self.model.held_out(part)
