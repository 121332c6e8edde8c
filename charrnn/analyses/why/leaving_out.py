"""Read a text without one of its characters, and divide what that changes among the units.

Where a cell type's clock is its state, and it is in all of them, a character is left out by not
reading it: the state after it is the state before it. So the reading without character n is that of
the whole text up to n, and goes its own way from there on. A text and its readings without a
character are rows of one batch, to which rows are added on the way: half of the work of texts that
are read from the beginning.

Shapes: T characters that are read, P texts, R characters of them that are left out, L layers, K
layers that the output layer reads, S state vectors per layer, B rows, H units, V vocabulary.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from charrnn.model.annotations import CharRNN
from charrnn.model.cell_types import Array
from charrnn.model.shapes import Architecture
from charrnn.model.stepper import Stepper
from charrnn.system.arrays import Float64Array, Int64Array
from charrnn.system.lazy import no_grad, torch


class Reader(Protocol):
    """Reads characters of each row with one model, in NumPy or in torch.

    One place is read by a `StepperReader`, before torch is imported; hundreds of places by a
    `NetworkReader`, which reads them side by side.
    """

    window: int
    """How many characters of each row are read at once."""

    @property
    def output_weight(self) -> Float64Array:
        """The weight (V, H) of the output layer."""

    @property
    def output_bias(self) -> Float64Array:
        """The bias (V,) of the output layer."""

    def initial_state(self, num_rows: int) -> Array:
        """Return the initial state (L, S, num_rows, H) of a text."""

    def read(self, ids: Int64Array, state: Array) -> tuple[Sequence[Array], Array]:
        """Map ids (T, B) and a state to what each layer hands to the one above it after the last
        character, L arrays (B, H), and a new state."""


class StepperReader:
    """Reads with a stepper, in NumPy: torch is not imported, and few rows are read in less time."""

    window = 1

    def __init__(self, stepper: Stepper):
        self._stepper = stepper
        output = stepper.products["output"]
        self.output_weight = output.weight.values.astype(np.float64)
        self.output_bias = output.bias.astype(np.float64)
        self.initial_state = stepper.initial_state

    def read(self, ids: Int64Array, state: Array) -> tuple[Sequence[Array], Array]:
        """Read characters of each row, as `Reader.read`."""
        joined: list[Array] = []
        for chars in ids:
            joined, state = self._stepper.read_layers(chars, state)
        return joined, state


class NetworkReader:
    """Reads with a network of torch, of either precision: many rows are read in less time."""

    window = 16

    def __init__(self, network: CharRNN):
        self._network = network
        self.output_weight = network.output.weight.detach().double().numpy()
        self.output_bias = network.output.bias.detach().double().numpy()

    @no_grad
    def initial_state(self, num_rows: int) -> Array:
        """Return the initial state of a text, as `Reader.initial_state`."""
        return self._network.initial_state(num_rows)

    @no_grad
    def read(self, ids: Int64Array, state: Array) -> tuple[Sequence[Array], Array]:
        """Read characters of each row, as `Reader.read`."""
        read, state = self._network.read_documents(torch.from_numpy(ids), state, keeps_joined=True)
        assert read.joined is not None, "it is kept"
        return read.joined[-1].unbind(1), state


class Omissions(NamedTuple):
    """The R characters that are left out, each in a reading of its own."""

    steps: Int64Array
    """(R,): the index of each character in its text, ascending."""
    texts: Int64Array
    """(R,): the index of its text."""

    @classmethod
    def of(cls, indices: Sequence[Int64Array]) -> "Omissions":
        """Leave out the characters with these indices, an array for each text."""
        steps = np.concatenate(indices)
        texts = np.repeat(np.arange(len(indices)), list(map(len, indices)))
        order = np.argsort(steps, kind="stable")
        return cls(steps[order], texts[order])

    @classmethod
    def of_last(cls, num_chars: int, num_left_out: int, num_texts: int = 1) -> "Omissions":
        """Leave out each of the last characters of texts of equal length."""
        return cls.of([np.arange(num_chars - num_left_out, num_chars)] * num_texts)


def read_without(
    reader: Reader,
    ids: Int64Array,
    omissions: Omissions,
    *,
    state: Array | None = None,
    advance: Callable[[int], object] = lambda num_chars: None,
) -> NDArray[Any]:
    """Read P texts of T characters, and for each of R characters its text again without it.

    The readings share what is before the first character that is left out, which makes them half as
    many.

    Args:
        reader: Reads with the model.
        ids: The ids (T, P) of the texts. Something must be left to read without a character.
        omissions: The R characters that are left out.
        state: The state (L, S, P, H) before the texts; by default the initial one.
        advance: Called with the number of characters that were read, all readings together.

    Returns:
        What each layer hands to the one above it after the last character, (L, P + R, H): first of
        the whole texts, then of the readings without a character.
    """
    num_texts = ids.shape[1]
    steps, texts = omissions
    if state is None:
        state = reader.initial_state(num_texts)

    # What stands before all of these characters belongs to all readings.
    begin = int(steps[0]) if len(steps) else len(ids)
    joined: Sequence[Array] = ()
    if begin > 0:
        joined, state = reader.read(ids[:begin], state)
        advance(begin * num_texts)

    # The rows of the whole texts come first. Behind them are those of the readings without a
    # character: as many as have begun.
    text_of_row = np.concatenate((np.arange(num_texts), texts))
    rows = reader.initial_state(len(text_of_row))
    rows[:, :, :num_texts] = state
    num_rows = num_texts
    of_new: Sequence[Array] = [layer[:0] for layer in joined]
    for first in range(begin, len(ids), reader.window):
        window = ids[first : first + reader.window]
        num_begun = num_texts + int(np.searchsorted(steps, first + len(window)))
        new = text_of_row[num_rows:num_begun]
        skipped = steps[num_rows - num_texts : num_begun - num_texts] - first

        # The readings that begin here continue from the whole texts, with a character less.
        new_state = rows[:, :, new]
        of_new = [layer[new] for layer in joined]
        if len(window) > 1 and len(new):
            of_new, new_state = reader.read(_without(window[:, new], skipped), new_state)
        joined, rows[:, :, :num_rows] = reader.read(
            window[:, text_of_row[:num_rows]], rows[:, :, :num_rows]
        )
        advance(num_rows * len(window) + int((len(window) - 1 - skipped).sum()))
        rows[:, :, num_rows:num_begun] = new_state
        num_rows = num_begun

    # The last readings began in the last window, and the rows of the others were read there.
    layers = []
    for read, last in zip(joined, of_new, strict=True):
        layers.append(np.concatenate((np.asarray(read), np.asarray(last))))
    return np.stack(layers)


def _without(window: Int64Array, skipped: Int64Array) -> Int64Array:
    """Return a window (T, B) without one character of each row, (T - 1, B)."""
    numbers = np.arange(len(window) - 1)[:, None]
    return np.take_along_axis(window, numbers + (numbers >= skipped), axis=0)


class ReadLayers(NamedTuple):
    """The layers that the output layer reads."""

    layers: tuple[int, ...]
    """K layers, to each of which a vector belongs."""
    are_units: bool
    """Whether an entry of a vector is the output of a unit. Otherwise it is a mixture of units: of
    a highway's layers, of the outputs that attention reads, or of the LSTM along the depth of a
    grid."""


def layers_read_by_output(architecture: Architecture, *, sums_outputs: bool) -> ReadLayers:
    """Return the layers that the output layer of a network reads."""
    depth = architecture.depth
    layers = range(architecture.num_layers)
    if not (sums_outputs or depth.adds_outputs):
        layers = layers[-1:]
    is_mixed = depth.has_lstm or depth.span > 0 or (depth.has_gates and architecture.num_layers > 1)
    return ReadLayers(tuple(layers), are_units=not is_mixed)


@dataclass(frozen=True)
class OutputParts:
    """The vectors whose sum the output layer reads.

    The output layer reads a sum, and so a logit is a sum over layers and units.
    """

    layers: tuple[int, ...]
    """K layers, to each of which a vector belongs."""
    are_units: bool
    """Whether an entry of a vector is the output of a unit, as `ReadLayers.are_units`."""
    vectors: Float64Array
    """(K, …, H)."""

    @classmethod
    def of(
        cls, joined: NDArray[Any], architecture: Architecture, *, sums_outputs: bool
    ) -> "OutputParts":
        """Divide what the layers hand to each other, (L, …, H), among the layers."""
        depth = architecture.depth
        vectors = joined.astype(np.float64)
        num_layers = len(vectors)
        if depth.adds_outputs:
            # Each layer hands on what it got, and its own outputs. The output layer reads those of
            # a lower layer as often as there are layers above that it reads.
            vectors[1:] -= vectors[:-1].copy()
            if sums_outputs:
                vectors *= np.arange(num_layers, 0, -1).reshape(-1, *[1] * (vectors.ndim - 1))
        layers, are_units = layers_read_by_output(architecture, sums_outputs=sums_outputs)
        return cls(layers, are_units=are_units, vectors=vectors[list(layers)])


@dataclass(frozen=True)
class Prediction:
    """What a model predicts after P texts: with all characters, and without each of R.

    `effects` is the answer, in log-probabilities; `terms` say which unit carries it, for which only
    logits can be added up.
    """

    parts: OutputParts
    """The input of the output layer, (K, P + R, H): first of the whole texts."""
    texts: Int64Array
    """(R,): the index of the text of each character that is left out."""
    weight: Float64Array
    """The weight (V, H) of the output layer."""
    bias: Float64Array
    """The bias (V,) of the output layer."""

    @cached_property
    def logprobs(self) -> Float64Array:
        """The log-probabilities (P + R, V) of the next characters in nats, the unknown symbol among
        them as in `evaluate`."""
        logits = self.parts.vectors.sum(axis=0) @ self.weight.T + self.bias
        logits -= logits.max(axis=-1, keepdims=True)
        return np.asarray(logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True)))

    def effects(self, targets: Int64Array) -> Float64Array:
        """Return by how much each character makes the target of its text likelier, in nats: the
        log-probability with it minus that without it, (R,). The targets are (P,)."""
        of_rows = targets[self.texts]
        without = self.logprobs[np.arange(len(targets), len(self.logprobs)), of_rows]
        return np.asarray(self.logprobs[self.texts, of_rows] - without)

    def terms(self, targets: Int64Array) -> Float64Array:
        """Return what each entry adds to the difference of the logit of the target, in nats: (K, R,
        H). Their sum over K and H is the logit with the character minus that without it. The
        targets are (P,)."""
        vectors = self.parts.vectors
        differences = vectors[:, self.texts] - vectors[:, len(targets) :]
        return np.asarray(differences * self.weight[targets[self.texts]])
