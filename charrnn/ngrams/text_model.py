"""The n-grams of a run's training text as a model: it predicts the next character, generates text,
and can be mixed with networks.

Its recurrent state is the history: the last characters that it has read.

Shapes: T time, B batch, V vocabulary, K characters of the longest context.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from charrnn.errors import DataError, UsageError, install_command, named
from charrnn.generation.generator import Generator
from charrnn.generation.sample_options import NGRAM_ORDER, Clamps
from charrnn.model.annotations import Predictor
from charrnn.model.recurrent_state import RecurrentState
from charrnn.ngrams.contexts import NgramPredictor
from charrnn.ngrams.kneser_ney import fit_ngrams
from charrnn.system.arrays import Float32Array, Float64Array, Int64Array
from charrnn.system.compiling import can_compile
from charrnn.system.lazy import torch
from charrnn.system.process import check_room_for_numba
from charrnn.text.corpus import CorpusPart
from charrnn.text.given_text import GivenText
from charrnn.text.vocab import EncodedText
from charrnn.trained_model import TextModel, TrainedModel

MOST_CHARS_OF_PYTHON = 50_000
"""Characters that are counted without numba, at most: they take some ten seconds."""
NO_CHARACTER = -1
"""The entry of a history before the beginning of the text."""
ROWS_AT_ONCE = 1024
"""Predictions that are computed at once: an alphabet may have thousands of characters."""
NO_CELLS = "N-grams have no cells."
"""The message where a cell is asked for."""


def row_slices(num_rows: int) -> Iterator[slice]:
    """Yield slices of `num_rows` rows, each of rows that are computed at once."""
    for begin in range(0, num_rows, ROWS_AT_ONCE):
        yield slice(begin, begin + ROWS_AT_ONCE)


def ngrams_of(
    model: TrainedModel,
    *,
    order: int = NGRAM_ORDER,
    training: CorpusPart | None = None,
    instead: str = "",
) -> TextNgrams:
    """Count the n-grams of a model's training text, or of `training` where it is read already, of
    up to `order` characters; a text of fewer has no longer ones.

    Raises DataError, with `instead` as the remedy, for a text that is missing or has changed, and
    for a long one without numba; UsageError for an order out of range.
    """
    text = training or model.training_text(instead=instead)
    if len(text) > MOST_CHARS_OF_PYTHON and not can_compile():
        raise DataError(
            f"More than {MOST_CHARS_OF_PYTHON:,} characters are counted with numba, which is"
            f" missing ({install_command()})."
        )
    check_room_for_numba()
    ngrams = fit_ngrams(training=text, order=min(order, len(text)), end_id=model.config.end_id)
    return TextNgrams(model=model, predictor=ngrams.predictor())


class NgramStepper:
    """The n-grams one character at a time; the logits are log-probabilities in float64."""

    precision = changes = "fp32"
    """Nothing is rounded."""

    def __init__(self, predictor: NgramPredictor) -> None:
        self.predictor = predictor
        self.vocab_size = predictor.vocab_size

    def initial_state(self, batch_size: int) -> RecurrentState[Int64Array]:
        """Return the histories (B, K) before a text."""
        shape = (batch_size, self.predictor.longest)
        return RecurrentState(np.full(shape, NO_CHARACTER, np.int64))

    def step(
        self, ids: NDArray[np.integer[Any]], state: RecurrentState[Int64Array]
    ) -> tuple[Float64Array, RecurrentState[Int64Array]]:
        """Map ids (B,) and a state to log-probabilities (B, V) and a new state."""
        history = np.column_stack((state.vectors, ids))[:, 1:]
        return np.log(self.predictor.after(history)), RecurrentState(history)

    def read(
        self, ids: NDArray[np.integer[Any]], state: RecurrentState[Int64Array] | None = None
    ) -> tuple[Float64Array, RecurrentState[Int64Array]]:
        """Read a text (N,), N >= 1, in one row, from the initial state by default. Returns the
        log-probabilities (1, V) after its last character, and the state."""
        if state is None:
            state = self.initial_state(1)
        # Only the last characters have an effect.
        longest = self.predictor.longest
        read = np.concatenate((state.vectors[0], ids))
        history = read[len(read) - longest :].astype(np.int64)[None]
        return np.log(self.predictor.after(history)), RecurrentState(history)

    def check_unit(self, layer: int, unit: int) -> None:
        """Raise UsageError: n-grams have no cells."""
        raise UsageError(f"{NO_CELLS} Leave {named('cell')} out.")

    def values(self, state: RecurrentState[Int64Array]) -> Float32Array:
        """Raise UsageError, as `check_unit` does."""
        raise UsageError(NO_CELLS)


class NgramGenerator(Generator):
    """Generates text with n-grams; options and errors are those of `Generator`, but nothing can be
    clamped."""

    def __init__(self, model: TrainedModel, stepper: NgramStepper, name: str) -> None:
        super().__init__(model.config, vocab=model.vocab, tensors={}, name=name)
        self._ngrams = stepper

    def model_for(self, precision: str, clamps: Clamps) -> NgramStepper:
        if clamps:
            raise UsageError(f"{NO_CELLS} Leave {named('clamps')} out.")
        return self._ngrams


class NgramNetwork:
    """The n-grams, called like a torch module: maps ids (T, B) and a state to log-probabilities (T,
    B, V) and a new state, which has the histories (B, K) as its vectors."""

    def __init__(self, predictor: NgramPredictor, device: torch.device, end_id: int | None) -> None:
        self.predictor = predictor
        self.device = device
        self.end_id = end_id
        self.vocab_size = predictor.vocab_size

    def initial_state(self, batch_size: int) -> RecurrentState[torch.Tensor]:
        """Return the state before a text."""
        # On the device of the network with which they are mixed.
        shape = (batch_size, self.predictor.longest)
        return RecurrentState(torch.full(shape, NO_CHARACTER, device=self.device))

    def __call__(
        self, ids: torch.Tensor, state: RecurrentState[torch.Tensor]
    ) -> tuple[torch.Tensor, RecurrentState[torch.Tensor]]:
        """Predict the character after each of ids (T, B)."""
        # Windows over the characters of the state and the ids.
        longest = self.predictor.longest
        read = torch.cat((state.vectors, ids.T.to(state.vectors)), dim=1)
        windows = sliding_window_view(read.cpu().numpy(), longest, axis=1)[:, 1:]
        histories = windows.swapaxes(0, 1).reshape(-1, longest)

        log_probs = torch.empty((len(histories), self.vocab_size))
        for rows in row_slices(len(histories)):
            probabilities = self.predictor.after(histories[rows])
            log_probs[rows] = torch.from_numpy(np.log(probabilities)).float()
        after = RecurrentState(read[:, read.shape[1] - longest :])
        return log_probs.view(*ids.shape, -1).to(self.device), after


class TextNgrams(TextModel):
    """The n-grams of a training text, made by `Model.ngrams`: it generates text as a `Model` does,
    and can be evaluated, or mixed with networks (`charrnn.mix`).

    Attributes: `model`, whose text was counted; `predictor`; `name`, `config`, `vocab`,
    `generator`.
    """

    def __init__(self, model: TrainedModel, predictor: NgramPredictor) -> None:
        self.model = model
        self.predictor = predictor
        self.name = f"n-grams of {model.name}"
        self.config = model.config
        self.vocab = model.vocab
        self.warnings: Sequence[str] = ()
        self.generator = NgramGenerator(
            model=model, stepper=NgramStepper(predictor), name=self.name
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return TextNgrams, (self.model, self.predictor)

    def __repr__(self) -> str:
        return f"<TextNgrams {self.name}>"

    @cached_property
    def network(self) -> Predictor:
        """The n-grams as a torch module."""
        device = self.model.network.device
        return NgramNetwork(predictor=self.predictor, device=device, end_id=self.config.end_id)

    @property
    def trained_models(self) -> Sequence[TrainedModel]:
        """Nothing: n-grams are no trained model."""
        return ()

    def encode(self, text: GivenText, *, context: str | bytes = "") -> EncodedText:
        """Encode a text and its context, as `Model.encode` does.

        Args:
            text: The text: a string, bytes, the `pathlib.Path` of a file, or a list of these.
            context: What is read before the text. By default nothing.

        Returns:
            An `EncodedText` of N characters.

        Raises:
            DataError: The text is empty, or a file cannot be read.
            UsageError: The text is bytes and the model reads characters.

        Example:
            >>> len(model.ngrams().encode("ab ba"))
            5
        """
        return self.model.encode(text, context=context)
