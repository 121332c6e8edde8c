"""Read a text without one of its characters, and divide what that changes among the units.

Where a cell type's clock is its state, and it is in all of them, a character is left out by not
reading it: the state after it is the state before it. So the reading without character n is that of
the whole text up to n, and goes its own way from there on. A text and its N readings without a
character are rows of one batch, to which a row is added at each character: half of the work of N
texts that are read from the beginning.

Shapes: T characters that are read, N of them left out one by one, P texts, L layers, K layers that
the output layer reads, S state vectors per layer, H units, V vocabulary.
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
    """Reads a character of each row with one model, in NumPy or in torch.

    One place is read by a `StepperReader`, before torch is imported; hundreds of places by a
    `NetworkReader`, which reads them side by side.
    """

    @property
    def output_weight(self) -> Float64Array:
        """The weight (V, H) of the output layer."""

    @property
    def output_bias(self) -> Float64Array:
        """The bias (V,) of the output layer."""

    def initial_state(self, num_rows: int) -> Array:
        """Return the initial state (L, S, num_rows, H) of a text."""

    def read(self, ids: Int64Array, state: Array) -> tuple[Sequence[Array], Array]:
        """Map ids (B,) and a state to what each layer hands to the one above it, L arrays (B, H),
        and a new state."""


class StepperReader:
    """Reads with a stepper, in NumPy: torch is not imported, and few rows are read in less time."""

    def __init__(self, stepper: Stepper):
        self._stepper = stepper
        output = stepper.products["output"]
        self.output_weight = output.weight.values.astype(np.float64)
        self.output_bias = output.bias.astype(np.float64)
        self.initial_state = stepper.initial_state

    def read(self, ids: Int64Array, state: Array) -> tuple[Sequence[Array], Array]:
        """Read a character of each row, as `Reader.read`."""
        return self._stepper.read_layers(ids, state)


class NetworkReader:
    """Reads with a network of torch, of either precision: many rows are read in less time."""

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
        """Read a character of each row, as `Reader.read`."""
        window = torch.from_numpy(ids[None])
        read, state = self._network.read_documents(window, state, keeps_joined=True)
        assert read.joined is not None, "it is kept"
        return read.joined[0].unbind(1), state


def read_without(
    reader: Reader,
    ids: Int64Array,
    num_left_out: int,
    *,
    state: Array | None = None,
    advance: Callable[[int], object] = lambda num_rows: None,
) -> NDArray[Any]:
    """Read P texts of T characters, and each of them again without each of its last N characters.

    The readings share what is before the first character that is left out, which makes them half as
    many.

    Args:
        reader: Reads with the model.
        ids: The ids (T, P) of the texts.
        num_left_out: N, from 1 to T; below T if there is nothing else that is read.
        state: The state (L, S, P, H) before the texts; by default the initial one.
        advance: Called with the number of characters that were read, all rows together.

    Returns:
        What each layer hands to the one above it after the last character, (L, N + 1, P, H): first
        with all characters, then without the first of the N, without the second, and so on.
    """
    num_texts = ids.shape[1]
    if state is None:
        state = reader.initial_state(num_texts)
    joined: Sequence[Array] = ()
    whole: Sequence[Array] = ()

    # What stands before the N characters belongs to all readings.
    begin = len(ids) - num_left_out
    for chars in ids[:begin]:
        joined, state = reader.read(chars, state)
        advance(num_texts)

    # The rows of the whole texts come first. Behind them are those of the readings without the
    # first of the N characters, without the second, and so on: as many as have begun.
    rows = reader.initial_state((num_left_out + 1) * num_texts)
    rows[:, :, :num_texts] = state
    for number, chars in enumerate(ids[begin:], start=1):
        num_rows = number * num_texts
        whole = [layer[:num_texts] for layer in joined]
        rows[:, :, num_rows : num_rows + num_texts] = rows[:, :, :num_texts]
        joined, rows[:, :, :num_rows] = reader.read(np.tile(chars, number), rows[:, :, :num_rows])
        advance(num_rows)

    # The readings without the last character ended with the character before it.
    layers = []
    for read, before in zip(joined, whole, strict=True):
        layers.append(np.concatenate((np.asarray(read), np.asarray(before))))
    return np.stack(layers).reshape(len(layers), num_left_out + 1, num_texts, -1)


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
    """What a model predicts after P texts: with all characters, and without each of N.

    `effects` is the answer, in log-probabilities; `terms` say which unit carries it, for which only
    logits can be added up.
    """

    parts: OutputParts
    """The input of the output layer, (K, N + 1, P, H)."""
    weight: Float64Array
    """The weight (V, H) of the output layer."""
    bias: Float64Array
    """The bias (V,) of the output layer."""

    @cached_property
    def logprobs(self) -> Float64Array:
        """The log-probabilities (N + 1, P, V) of the next characters in nats, the unknown symbol
        among them as in `evaluate`."""
        logits = self.parts.vectors.sum(axis=0) @ self.weight.T + self.bias
        logits -= logits.max(axis=-1, keepdims=True)
        return np.asarray(logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True)))

    def effects(self, targets: Int64Array) -> Float64Array:
        """Return by how much each character makes the targets (P,) likelier, in nats: the
        log-probability with it minus that without it, (N, P)."""
        logprobs = np.take_along_axis(self.logprobs, targets[None, :, None], axis=-1)[..., 0]
        return np.asarray(logprobs[0] - logprobs[1:])

    def terms(self, targets: Int64Array) -> Float64Array:
        """Return what each entry adds to the difference of the logits of the targets (P,), in nats:
        (K, N, P, H). Their sum over K and H is the logit with the character minus that without
        it."""
        vectors = self.parts.vectors
        return (vectors[:, :1] - vectors[:, 1:]) * self.weight[targets]
