"""Every cell's value at every character of a text.

Shapes: N characters, L layers, H units per layer, T and B as in `model.reading`.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charrnn.cells.finite import check_finite
from charrnn.cells.records import SurpriseText
from charrnn.detectors.detector import Detector
from charrnn.display import Displayable
from charrnn.model.network import CharRNN
from charrnn.model.reading import read_in_lanes
from charrnn.text.encoded import EncodedText
from charrnn.text.vocab import IdArray

Float32Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Trace(Displayable):
    """What a model did while it read a text of N characters."""

    text: str
    """One decoded character per id, as in `EncodedText.text`."""
    ids: IdArray
    """(N,)"""
    cells: Float32Array = field(repr=False)
    """(N, L, H): each cell's value after each character, in [-1, 1]: tanh(c) for cell types with a memory c, else h, or
    tanh(h) where h is not bounded by 1; `CELLS[config.cell].shows` says which."""
    logprobs: Float32Array = field(repr=False)
    """(N,): log-probability in nats of each character before it was read; nan where nothing came before it."""
    hidden: Float32Array | None = field(default=None, repr=False)
    """(N, L, H): each layer's output h, if it was asked for."""
    guess_ids: NDArray[np.int64] | None = field(default=None, repr=False)
    guess_probs: Float32Array | None = field(default=None, repr=False)
    """(N, K): the ids and probabilities of the K most likely next characters, if they were asked for."""

    @property
    def bits(self) -> NDArray[np.float64]:
        """The surprise (N,) of each character, in bits; nan where nothing came before it."""
        return np.asarray(-self.logprobs / np.log(2))

    def displayed(self) -> SurpriseText:
        """Return the text with the surprise of each character, which is what a notebook shows of a trace."""
        return SurpriseText(text=self.text, bits=tuple(self.bits.tolist()))

    def to_arrays(self, detectors: Sequence[Detector] = (), *, num_chosen_on: int = 0) -> dict[str, NDArray[Any]]:
        """Return the trace and the labels of the detectors by name, as `visualize --export cells.npz` saves them.

        `scored` marks the characters after the first `num_chosen_on`. A detector that does not apply to the text is
        left out. docs/formats.md describes the arrays.
        """
        arrays: dict[str, NDArray[Any] | None] = {
            "ids": self.ids,
            "text": np.array(self.text),
            "cells": self.cells,
            "hidden": self.hidden,
            "logprobs": self.logprobs,
            "scored": np.arange(len(self.text)) >= num_chosen_on,
        }
        arrays |= {f"labels_{detector.name}": detector.label_documents(self.text) for detector in detectors}
        return {name: array for name, array in arrays.items() if array is not None}


def trace_text(
    network: CharRNN,
    text: EncodedText,
    on_progress: Callable[[int], object] = lambda num_chars: None,
    *,
    num_guesses: int = 0,
    keeps_hidden: bool = False,
) -> Trace:
    """Trace a text in float32.

    `on_progress` is called with the number of characters read since its last call. `num_guesses` is the number of next
    characters kept after each character, at most V; `keeps_hidden` keeps the output of every layer.
    """
    ids, first, num_chars = text.ids, text.first, len(text)
    layers = network.recurrent_layers()
    cells = np.empty((num_chars, len(layers), network.hidden_size), np.float32)
    logprobs = np.full(num_chars + 1, np.nan, np.float32)
    num_guesses = min(num_guesses, network.output.out_features)
    guess_ids, guess_probs = (
        np.zeros((num_chars, num_guesses), np.int64),
        np.zeros((num_chars, num_guesses), np.float32),
    )
    hidden = np.empty_like(cells) if keeps_hidden else None

    def step(inputs: Tensor, state: Tensor) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
        logits, window_cells, window_hidden, state = network.trace(inputs, state)
        return (logits, window_cells, window_hidden), state

    # From the last character of the context on, if there is one: its logits predict the first character of the text.
    begin = max(0, first - 1)
    with torch.inference_mode():
        for positions, (logits, window_cells, window_hidden) in read_in_lanes(step, network.initial_state, ids, begin):
            is_text = (positions >= first) & (positions < len(ids))
            here = positions[is_text] - first
            cells[here] = window_cells.float().cpu().numpy()[is_text]
            if hidden is not None:
                hidden[here] = window_hidden.float().cpu().numpy()[is_text]
            if num_guesses:
                most_likely = logits.float().softmax(-1).topk(num_guesses, dim=-1)
                guess_ids[here] = most_likely.indices.cpu().numpy()[is_text]
                guess_probs[here] = most_likely.values.cpu().numpy()[is_text]
            following, scores = score_following(logits, ids, positions)
            logprobs[following - first] = scores
            on_progress(int(is_text.sum()))
    guesses = (guess_ids, guess_probs) if num_guesses else (None, None)
    return Trace(text.text, ids[first:], cells, logprobs[:num_chars], hidden, *guesses)


def score_following(
    logits: Tensor, ids: IdArray, positions: NDArray[np.int64]
) -> tuple[NDArray[np.int64], Float32Array]:
    """Return the positions (M,) in ids (N,) of the characters that follow those at positions (T, B), where there is
    one, and their log-probabilities (M,) in nats under logits (T, B, V)."""
    has_next = positions < len(ids) - 1
    targets = torch.from_numpy(ids[np.minimum(positions + 1, len(ids) - 1)].astype(np.int64))
    scores = logits.float().log_softmax(-1).cpu().gather(-1, targets[..., None])[..., 0].numpy()
    return positions[has_next] + 1, scores[has_next]


def stream_cells(network: CharRNN, text: EncodedText) -> Generator[tuple[NDArray[np.int64], Float32Array], None, None]:
    """Yield, window by window, (indices (n,), cells (n, L * H)) of the characters of a text, index 0 being the first.

    A window holds characters of every lane, so indices are not sorted; each occurs once. Nothing is kept.
    Raises CheckpointError for values that are not finite.
    """
    ids, first = text.ids, text.first

    def step(inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        _, cells, _, state = network.trace(inputs, state)
        return cells, state

    with torch.inference_mode():
        for positions, cells in read_in_lanes(step, network.initial_state, ids, first):
            is_text = positions < len(ids)
            check_finite(cells, "cell values")
            columns = cells.float().cpu().numpy().reshape(*positions.shape, -1)
            yield positions[is_text] - first, columns[is_text]
