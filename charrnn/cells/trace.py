"""The value of every cell at every character of a text, traced or streamed.

Shapes: N characters, L layers, H units per layer, K guesses, T and B as in `model.reading`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from charrnn.cells.known_cells import known_polarity
from charrnn.cells.records import ColouredText
from charrnn.detectors.detector import Detector
from charrnn.model.annotations import CharRNN
from charrnn.model.cell_types import Ops
from charrnn.model.reading import INTERVAL, KnownStates, Segments, find_states, read_segments
from charrnn.model.shapes import check_finite
from charrnn.model_texts import TextOrIds, encode
from charrnn.system.arrays import Float32Array, Float64Array, Int64Array
from charrnn.system.display import Displayable
from charrnn.system.lazy import torch
from charrnn.system.progress import task
from charrnn.text.vocab import EncodedText, IdArray, Vocab
from charrnn.trained_model import TrainedModel

Windows = Iterator[tuple[Int64Array, Float32Array]]
"""The values of all cells in a part of a text, window by window: (indices (n,) from 0, values (n,
C)), so that each character of the part occurs once, in any order. The first windows must be a fair
sample of the part, as windows of lanes are."""

ReadWindows = Callable[[int, int], Windows]
"""A function that reads text[begin:end] in windows, such as `Study.windows`."""


def read_columns(read: ReadWindows, columns: Sequence[int], part: slice) -> Float32Array:
    """Read the values (c, n) of some cells, by their numbers, at the characters of a part of a
    text.

    It keeps the values of a few cells in memory, where `read_windows` yields those of all cells and
    keeps none.
    """
    values = np.empty((len(columns), part.stop - part.start), np.float32)
    for indices, cells in read(part.start, part.stop):
        values[:, indices] = cells[:, columns].T
    return values


@dataclass(frozen=True, eq=False)
class Trace(Displayable):
    """The cells and predictions of a model while it read a text of N characters.

    `Model.trace` returns it, for everything that wants the numbers themselves: plots, statistics,
    probes. It is all in memory, 4 bytes for each cell and character; a `Study` reads a longer text
    in windows.
    """

    text: str
    """A decoded character for each id, as in `EncodedText.text`."""
    ids: IdArray
    """(N,)"""
    cells: Float32Array = field(repr=False)
    """(N, L, H): each cell's value after each character, in [-1, 1]: tanh(c) for cell types with a
    memory c, else h, or tanh(h) where h is not bounded by 1; `CELLS[cell_type].shows` says which.
    """
    logprobs: Float32Array = field(repr=False)
    """(N,): log-probability in nats of each character before it was read; nan where nothing came
    before it."""
    hidden: Float32Array | None = field(default=None, repr=False)
    """(N, L, H): each layer's output h, if it was asked for."""
    guess_ids: Int64Array | None = field(default=None, repr=False)
    """(N, K): the ids of the K most likely next characters, if they were asked for."""
    guess_probs: Float32Array | None = field(default=None, repr=False)
    """(N, K): their probabilities."""

    @property
    def bits(self) -> Float64Array:
        """The surprise (N,) of each character, in bits; nan where nothing came before it.

        It shows where the model did not expect the text, in the unit of bits per character;
        `logprobs` has the same in nats, with the other sign.
        """
        return np.asarray(-self.logprobs / np.log(2))

    def to_arrays(
        self, detectors: Sequence[Detector] = (), *, num_chosen_on: int = 0
    ) -> dict[str, NDArray[np.generic]]:
        """Return the trace and the labels of detectors as arrays.

        It hands a trace to another program: `numpy.savez` stores what it returns.
        `visualize --export cells.npz` saves the same. docs/look-up/formats.md describes the arrays.

        Args:
            detectors: The detectors whose labels are added. One that does not apply to the text is
                left out.
            num_chosen_on: The number of characters at the beginning on which cells were chosen:
                `scored` marks those after them.

        Returns:
            The arrays by name: `ids` (N,), `text`, `cells` (N, L, H), `hidden` (N, L, H) if it was
            kept, `logprobs` (N,) in nats, `scored` (N,), and `labels_NAME` (N,) for each detector.

        Example:
            >>> model = charrnn.load("prose")
            >>> arrays = model.trace("What is the king to me?").to_arrays()
            >>> arrays["cells"].shape
            (23, 1, 384)
        """
        arrays: dict[str, NDArray[np.generic] | None] = {
            "ids": self.ids,
            "text": np.array(self.text),
            "cells": self.cells,
            "hidden": self.hidden,
            "logprobs": self.logprobs,
            "scored": np.arange(len(self.text)) >= num_chosen_on,
        }
        for detector in detectors:
            arrays[f"labels_{detector.name}"] = detector.labels_of(self.text)
        return {name: array for name, array in arrays.items() if array is not None}


def states_of_text(network: CharRNN, text: EncodedText) -> KnownStates:
    """Return the states of a single pass of a network over a text and its context, from which parts
    of the text are then read as in that pass, side by side.

    It costs one reading of the text, and is worth it where the text is read more than once.
    """
    # No state is needed behind the last of them.
    num_read = (len(text.ids) - 1) // INTERVAL * INTERVAL
    with task("reading ahead", total=num_read) as advance:
        return find_states(network, network.initial_state, ids=text.ids, advance=advance)


def trace_of(
    model: TrainedModel,
    text: TextOrIds,
    *,
    context: str | bytes = "",
    network: CharRNN | None = None,
    num_guesses: int = 0,
    keeps_hidden: bool = False,
) -> Trace:
    """Compute the value of every cell of a model at every character of a text; `Model.trace` says
    what it takes."""
    encoded = encode(model, text, context=context)
    found = trace_text(
        network or model.network, text=encoded, num_guesses=num_guesses, keeps_hidden=keeps_hidden
    )
    # An unknown character costs as much as in `evaluate`.
    return replace(found, logprobs=found.logprobs - model.vocab.escapes(found.ids))


def guesses_of(
    trace: Trace, vocab: Vocab, part: slice = slice(None)
) -> list[list[tuple[str, float]]]:
    """Return the most likely next characters after each character of a trace, with their
    probabilities; `Model.guesses` says what it takes."""
    if trace.guess_ids is None or trace.guess_probs is None:
        return []

    # Lists at once: reading single elements of an array is many times slower.
    all_ids = trace.guess_ids[part].tolist()
    all_probs = trace.guess_probs[part].tolist()
    guesses = []
    for ids, probs in zip(all_ids, all_probs, strict=True):
        characters = map(vocab.character, ids)
        guesses.append(list(zip(characters, probs, strict=True)))
    return guesses


def coloured_text(
    model: TrainedModel, trace: Trace, *, layer: int, unit: int, part: slice
) -> ColouredText:
    """Return a part of a trace with the value of a cell at each character, in the colours in which
    pictures of the model show the cell. Raises UsageError if there is no such cell."""
    model.stepper.check_unit(layer, unit)
    return ColouredText(
        text=trace.text[part],
        values=tuple(trace.cells[part, layer, unit].tolist()),
        guesses=tuple(map(tuple, guesses_of(trace, model.vocab, part))),
        polarity=known_polarity(model.cache, layer=layer, unit=unit),
    )


def trace_text(
    network: CharRNN,
    text: EncodedText,
    *,
    num_guesses: int = 0,
    keeps_hidden: bool = False,
) -> Trace:
    """Trace a text in float32, as a single pass from the beginning of its context.

    `trace_of` encodes the text and calls it. It keeps all values; `read_windows` is for a text
    whose values do not fit into memory. `num_guesses` is the number of next characters kept after
    each character, at most V; `keeps_hidden` keeps the output of every layer.
    """
    ids = text.ids
    first = text.first
    num_chars = len(text)

    # Lanes are read side by side, so each window fills indices all over these arrays.
    num_guesses = min(num_guesses, network.vocab_size)
    cells = np.empty((num_chars, len(network.recurrent_layers()), network.hidden_size), np.float32)
    hidden = None
    if keeps_hidden:
        hidden = np.empty_like(cells)
    guess_ids = np.zeros((num_chars, num_guesses), np.int64)
    guess_probs = np.zeros((num_chars, num_guesses), np.float32)
    # One more, for the character that the last character predicts.
    logprobs = np.full(num_chars + 1, np.nan, np.float32)

    # From the last character of the context on, if there is one: its logits predict the first
    # character of the text.
    known = states_of_text(network, text)
    segments = Segments.of(len(ids), first=max(0, first - 1))
    with torch.inference_mode(), task("reading", total=num_chars) as advance:
        traced = read_segments(
            network.trace, network.initial_state, ids=ids, segments=segments, known=known
        )
        for positions, (logits, window_cells, window_hidden) in traced:
            # Without the context, and without the padding at the end of the last lane.
            is_text = (positions >= first) & (positions < len(ids))
            indices = positions[is_text] - first
            cells[indices] = window_cells.float().cpu().numpy()[is_text]
            if hidden is not None:
                hidden[indices] = window_hidden.float().cpu().numpy()[is_text]
            if num_guesses:
                most_likely = logits.float().softmax(-1).topk(num_guesses, dim=-1)
                guess_ids[indices] = most_likely.indices.cpu().numpy()[is_text]
                guess_probs[indices] = most_likely.values.cpu().numpy()[is_text]

            # Each character predicts the next, and so does the character of the context before the
            # text. The last one has no next character.
            next_ids = ids[np.minimum(positions + 1, len(ids) - 1)].astype(np.int64)
            targets = torch.from_numpy(next_ids)[..., None]
            scores = logits.float().log_softmax(-1).cpu().gather(-1, targets)[..., 0].numpy()
            has_next = positions < len(ids) - 1
            logprobs[positions[has_next] + 1 - first] = scores[has_next]
            advance(int(is_text.sum()))

    return Trace(
        text=text.text,
        ids=ids[first:],
        cells=cells,
        logprobs=logprobs[:num_chars],
        hidden=hidden,
        guess_ids=guess_ids if num_guesses else None,
        guess_probs=guess_probs if num_guesses else None,
    )


def torch_ops() -> Ops:
    """Return the functions by which the equations of cells compute step by step with torch.

    A caller changes some of them (`model.interventions`) and gives them to a network.
    """
    from charrnn.model.layer import TORCH  # imports torch

    return TORCH


def read_windows(
    network: CharRNN,
    text: EncodedText,
    begin: int,
    end: int,
    *,
    known: KnownStates | None = None,
) -> Windows:
    """Read the characters [begin, end) of a text, and yield, window by window, (indices (n,), cells
    (n, L * H)), index 0 being the character `begin`.

    `trace_text` returns all values as one array. A window holds characters of every lane, so
    indices are not sorted; each occurs once. Nothing is kept. With the `known` states of the text
    the values are those of a single pass, without them those after a warm-up. Raises
    CheckpointError for values that are not finite.
    """
    part = text.part(begin, end)
    segments = Segments.of(len(part.ids), first=part.first)
    read = read_segments(
        network.trace, network.initial_state, ids=part.ids, segments=segments, known=known
    )
    with torch.inference_mode(), task("reading", total=len(part)) as advance:
        for positions, (_, cells, _) in read:
            check_finite(cells, what="cell values")
            columns = cells.float().cpu().numpy().reshape(*positions.shape, -1)

            # Without the padding at the end of the last lane.
            is_text = positions < len(part.ids)
            indices = positions[is_text] - part.first
            yield indices, columns[is_text]
            advance(len(indices))
