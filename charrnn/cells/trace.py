"""The value of every cell at every character of a text: traced, streamed, or kept in a temporary
file.

Also how often gates are saturated while a network reads, how much of the memory they keep
(`GateCounter`), and how much the loss of a text rises while one cell is clamped (ablation). Shapes:
N characters, L layers, H units per layer, C = L * H cells, P parts of a text, T and B as in
`model.reading`.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from charrnn.cells.findings import Ablation, AblationEffect, GateUse, Skipped
from charrnn.cells.statistics import draw_blocks
from charrnn.detectors.detector import Detector, why_not_scored
from charrnn.errors import CharRNNError, counted
from charrnn.model.annotations import CharRNN
from charrnn.model.cell_types import Ops
from charrnn.model.reading import MAX_LANES, Segments, cut, lanes_of, read_in_lanes, read_parts
from charrnn.model.shapes import check_finite
from charrnn.statistics.intervals import Float64Array, percentiles
from charrnn.system.display import Displayable
from charrnn.system.lazy import Tensor, inference_mode, torch
from charrnn.system.progress import task
from charrnn.text.batches import release_pages
from charrnn.text.vocab import EncodedText, IdArray

LEFT = 0.1
"""A gate below this is left-saturated: closed."""
RIGHT = 0.9
"""A gate above this is right-saturated: open."""
GATE_NAMES = {"f": "forget", "i": "input", "o": "output", "r": "reset", "z": "update"}
"""The names of the gates by their letters."""
SMALLEST_KEPT = 1e-30
"""Smaller shares of the memory count as this one in the mean of their logarithms: that of 0 is
infinite."""


class GateCounter:
    """Counts over windows at how many characters each gate is saturated, and how much of its memory
    a unit keeps.

    `read` reads a window, `add` counts its gates.
    """

    def __init__(self, network: CharRNN) -> None:
        """Start with no characters."""
        self._network, self._layers = network, network.recurrent_layers()
        self._names = self._layers[0].cell.gates
        shape = (len(self._names), len(self._layers), network.hidden_size)
        self._left, self._right = torch.zeros(2, *shape, dtype=torch.float64)
        self._kept, self._log_kept = torch.zeros(2, *shape[1:], dtype=torch.float64)
        self._num_chars = 0
        self._inputs = torch.empty(0, 0)
        self._calls: list[list[Tensor]] = []

    def read(self, inputs: Tensor, state: Tensor) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
        """Trace a window of ids (T, B), as `CharRNN.trace` does, and keep its gates."""
        self._inputs, self._calls = inputs, [[] for _ in self._layers]
        return self._network.trace(
            inputs, state, {index: _recording(calls) for index, calls in enumerate(self._calls)}
        )

    def add(self, is_text: Tensor) -> None:
        """Count the gates of the window that was read last, at the characters that `is_text` (T, B)
        marks."""
        self._num_chars += int(is_text.sum())
        order = self._order(self._inputs).argsort()
        for index, (layer, calls) in enumerate(zip(self._layers, self._calls, strict=True)):
            for gate, name in enumerate(self._names):
                # A step of a dilated layer computes several characters at once, in the order of the
                # text.
                values = torch.cat(
                    [h.reshape(-1, h.shape[-1]) for h in calls[gate :: len(self._names)]]
                )[order]
                # Counts up to T * B are exact in float32. Padding counts nothing.
                counted = is_text.flatten().to(values.dtype)
                self._left[gate, index] += counted @ (values < LEFT).to(values.dtype)
                self._right[gate, index] += counted @ (values > RIGHT).to(values.dtype)
                if name == layer.cell.keeping_gate:
                    # Zoneout keeps a share of the state before, whatever the gate does.
                    kept = layer.zoneout + (1 - layer.zoneout) * values
                    self._kept[index] += counted.double() @ kept.double()
                    self._log_kept[index] += (
                        counted.double() @ kept.clamp_min_(SMALLEST_KEPT).log_().double()
                    )

    def uses(self) -> tuple[GateUse, ...]:
        """Return how often each gate was saturated: layer by layer, the gates in the order of their
        letters."""
        left, right = ((counts / self._num_chars).tolist() for counts in (self._left, self._right))
        return tuple(
            GateUse(
                layer=layer,
                gate=self._names[gate],
                left=tuple(left[gate][layer]),
                right=tuple(right[gate][layer]),
            )
            for layer in range(len(self._layers))
            for gate in sorted(range(len(self._names)), key=self._names.__getitem__)
        )

    def kept(self) -> tuple[Float64Array, Float64Array] | None:
        """Return the mean (C,) of the gate that keeps each unit's memory and the mean (C,) of its
        logarithm.

        None for a cell type without such a gate. A dilated layer keeps this share from D characters
        before.
        """
        if self._layers[0].cell.keeping_gate is None:
            return None
        mean, mean_log = (
            (sums / self._num_chars).flatten().numpy() for sums in (self._kept, self._log_kept)
        )
        return mean, mean_log

    def _order(self, inputs: Tensor) -> Tensor:
        """Return where in the flattened window each character is, in the order in which the gates
        were computed."""
        end_id = self._network.end_id
        is_end = None if end_id is None else (inputs == end_id).cpu().numpy()
        if is_end is None or not is_end.any():
            return torch.arange(inputs.numel())
        # The network reads documents in pieces; these are the same ones.
        pieces = cut(Segments.of(is_end), is_end.shape[1])
        return torch.cat([torch.from_numpy(piece.positions).flatten() for piece in pieces])


def _recording(calls: list[Tensor]) -> Ops[Tensor]:
    """`TORCH`, with every gate kept in `calls`."""

    def sigmoid(x: Tensor) -> Tensor:
        calls.append(x.sigmoid())
        return calls[-1]

    return replace(torch_ops(), sigmoid=sigmoid)


Float32Array = NDArray[np.float32]
ZEROS = bytes(1 << 20)
"""What the file is filled with where no space can be reserved."""


@dataclass(frozen=True, slots=True, eq=False)
class Trace(Displayable):
    """What a model did while it read a text of N characters."""

    text: str
    """One decoded character per id, as in `EncodedText.text`."""
    ids: IdArray
    """(N,)"""
    cells: Float32Array = field(repr=False)
    """(N, L, H): each cell's value after each character, in [-1, 1]: tanh(c) for cell types with a
    memory c, else h, or tanh(h) where h is not bounded by 1; `CELLS[config.cell].shows` says which.
    """
    logprobs: Float32Array = field(repr=False)
    """(N,): log-probability in nats of each character before it was read; nan where nothing came
    before it."""
    hidden: Float32Array | None = field(default=None, repr=False)
    """(N, L, H): each layer's output h, if it was asked for."""
    guess_ids: NDArray[np.int64] | None = field(default=None, repr=False)
    guess_probs: Float32Array | None = field(default=None, repr=False)
    """(N, K): the ids and probabilities of the K most likely next characters, if they were asked
    for."""

    @property
    def bits(self) -> NDArray[np.float64]:
        """The surprise (N,) of each character, in bits; nan where nothing came before it."""
        return np.asarray(-self.logprobs / np.log(2))

    def to_arrays(
        self, detectors: Sequence[Detector] = (), *, num_chosen_on: int = 0
    ) -> dict[str, NDArray[Any]]:
        """Return the trace and the labels of the detectors by name, as `visualize --export
        cells.npz` saves them.

        `scored` marks the characters after the first `num_chosen_on`. A detector that does not
        apply to the text is left out. docs/formats.md describes the arrays.
        """
        arrays: dict[str, NDArray[Any] | None] = {
            "ids": self.ids,
            "text": np.array(self.text),
            "cells": self.cells,
            "hidden": self.hidden,
            "logprobs": self.logprobs,
            "scored": np.arange(len(self.text)) >= num_chosen_on,
        }
        arrays |= {
            f"labels_{detector.name}": detector.label_documents(self.text) for detector in detectors
        }
        return {name: array for name, array in arrays.items() if array is not None}


def trace_text(
    network: CharRNN, text: EncodedText, *, num_guesses: int = 0, keeps_hidden: bool = False
) -> Trace:
    """Trace a text in float32.

    `num_guesses` is the number of next characters kept after each character, at most V;
    `keeps_hidden` keeps the output of every layer.
    """
    ids, first, num_chars = text.ids, text.first, len(text)
    cells = np.empty((num_chars, len(network.recurrent_layers()), network.hidden_size), np.float32)
    logprobs = np.full(num_chars + 1, np.nan, np.float32)
    num_guesses = min(num_guesses, network.output.out_features)
    guess_ids, guess_probs = (
        np.zeros((num_chars, num_guesses), dtype) for dtype in (np.int64, np.float32)
    )
    hidden = np.empty_like(cells) if keeps_hidden else None

    # From the last character of the context on, if there is one: its logits predict the first
    # character of the text.
    with torch.inference_mode(), task("reading", num_chars) as advance:
        traced = read_in_lanes(network.trace, network.initial_state, ids, max(0, first - 1))
        for positions, (logits, window_cells, window_hidden) in traced:
            is_text = (positions >= first) & (positions < len(ids))
            here = positions[is_text] - first
            cells[here] = window_cells.float().cpu().numpy()[is_text]
            if hidden is not None:
                hidden[here] = window_hidden.float().cpu().numpy()[is_text]
            if num_guesses:
                most_likely = logits.float().softmax(-1).topk(num_guesses, dim=-1)
                guess_ids[here] = most_likely.indices.cpu().numpy()[is_text]
                guess_probs[here] = most_likely.values.cpu().numpy()[is_text]
            has_next = positions < len(ids) - 1
            logprobs[positions[has_next] + 1 - first] = score_next(logits, ids, positions)[has_next]
            advance(int(is_text.sum()))
    guesses = (guess_ids, guess_probs) if num_guesses else (None, None)
    return Trace(text.text, ids[first:], cells, logprobs[:num_chars], hidden, *guesses)


def torch_ops() -> Ops[Tensor]:
    """Return the functions by which the equations of cells compute step by step with torch."""
    from charrnn.model.layer import TORCH  # imports torch

    return TORCH


def score_next(logits: Tensor, ids: IdArray, positions: NDArray[np.int64]) -> Float32Array:
    """Return the log-probabilities (T, B) in nats of the characters after those at positions (T, B)
    in ids (N,).

    logits (T, B, V). After the last character, it is the probability of that character itself.
    """
    targets = torch.from_numpy(ids[np.minimum(positions + 1, len(ids) - 1)].astype(np.int64))
    return np.asarray(
        logits.float().log_softmax(-1).cpu().gather(-1, targets[..., None])[..., 0].numpy()
    )


def stream_cells(
    network: CharRNN, text: EncodedText
) -> Generator[tuple[NDArray[np.int64], Float32Array], None, None]:
    """Yield, window by window, (indices (n,), cells (n, L * H)) of the characters of a text, index
    0 being the first.

    A window holds characters of every lane, so indices are not sorted; each occurs once. Nothing is
    kept. Raises CheckpointError for values that are not finite.
    """
    ids, first = text.ids, text.first
    with torch.inference_mode():
        for positions, (_, cells, _) in read_in_lanes(
            network.trace, network.initial_state, ids, first
        ):
            is_text = positions < len(ids)
            check_finite(cells, "cell values")
            columns = cells.float().cpu().numpy().reshape(*positions.shape, -1)
            yield positions[is_text] - first, columns[is_text]


class Activations:
    """The value of each of C cells at each of the N characters of a text, in half precision.

    They are in a temporary file that is mapped into memory. On POSIX systems it has no name, so
    nothing is left of it when the process ends, however it ends; `close` removes it earlier.
    """

    def __init__(self, network: CharRNN, text: EncodedText, *, counts_gates: bool = True) -> None:
        """Read the text once.

        Without `counts_gates`, `gates` is () and `kept` is None. Raises CharRNNError if there is no
        room for 2 * N * C bytes, CheckpointError for values that are not finite.
        """
        layers = network.recurrent_layers()
        self.text, self.num_layers, self.num_units = text, len(layers), network.hidden_size
        self.dilations = tuple(layer.dilation for layer in layers)
        """(L,): from how many characters back each layer continues, so that its gate keeps the
        memory of that one."""
        self.keeping_gate = layers[0].cell.keeping_gate
        """Letter of the gate that the memory before is multiplied with."""
        self._values: NDArray[np.float16] | None = _map_temporary(self.num_cells, len(text))
        counter = GateCounter(network) if layers[0].cell.gates and counts_gates else None
        self._read(network, counter)
        self.gates = counter.uses() if counter is not None else ()
        """How often the gates of each layer are saturated over the text, layer by layer; () without
        any."""
        self.kept = counter.kept() if counter is not None else None
        """(C,), (C,): the mean of that gate over the text, and of its logarithm; None without such
        a gate."""

    @property
    def values(self) -> NDArray[np.float16]:
        """(C, N): the cell values, as in `Trace.cells`; cell column c is (layer, unit) = divmod(c,
        H)."""
        if self._values is None:
            raise ValueError("these activations are closed")
        return self._values

    @property
    def num_cells(self) -> int:
        """C."""
        return self.num_layers * self.num_units

    def of(self, layer: int, unit: int) -> NDArray[np.float32]:
        """Return the values (N,) of a cell."""
        return np.asarray(self.values[layer * self.num_units + unit], np.float32)

    def close(self) -> None:
        """Remove the file; a second call does nothing. An array from `values` keeps it until it is
        freed itself."""
        self._values = None

    def _read(self, network: CharRNN, counter: GateCounter | None) -> None:
        ids, first, values = self.text.ids, self.text.first, self.values
        read = network.trace if counter is None else counter.read
        with torch.inference_mode(), task("reading", len(self.text)) as advance:
            for positions, (_, cells, _) in read_in_lanes(read, network.initial_state, ids, first):
                is_text = positions < len(ids)
                if counter is not None:
                    counter.add(torch.from_numpy(is_text))
                check_finite(cells, "cell values")
                # (B, C, T): in the order of the file, in which each lane's characters follow each
                # other.
                columns = cells.half().flatten(2).permute(1, 2, 0).contiguous().cpu().numpy()
                for lane, num_chars in enumerate(is_text.sum(axis=0).tolist()):
                    begin = int(positions[0, lane]) - first
                    if num_chars:
                        values[:, begin : begin + num_chars] = columns[lane, :, :num_chars]
                release_pages(values)
                advance(int(is_text.sum()))


def _map_temporary(num_cells: int, num_chars: int) -> NDArray[np.float16]:
    """Map a new temporary file of zeros (C, N). Raises CharRNNError if it cannot be written."""
    num_bytes = 2 * num_cells * num_chars
    try:
        with tempfile.TemporaryFile(
            prefix="charrnn-"
        ) as file:  # It exists as long as it is mapped.
            # All space is taken now: writing to a mapped page without space on the disk would end
            # the process.
            _reserve(file, num_bytes)
            return np.asarray(np.memmap(file, np.float16, "r+", shape=(num_cells, num_chars)))
    except OSError as error:
        raise CharRNNError(
            f"The values of all cells need {counted(num_bytes, 'byte')} in the folder for temporary"
            f" files: {error.strerror or error}.\nSet the environment variable TMPDIR to a folder"
            " with more space, or measure a shorter text."
        ) from error


def _reserve(file: IO[bytes], num_bytes: int) -> None:
    """Make an empty file `num_bytes` long, with space for all of them on the disk. Raises
    OSError."""
    if hasattr(os, "posix_fallocate"):
        try:
            # Not by zeros: where a file system copies on write or compresses, the values need new
            # space.
            os.posix_fallocate(file.fileno(), 0, num_bytes)
            return
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise
    for begin in range(0, num_bytes, len(ZEROS)):
        file.write(ZEROS[: num_bytes - begin])
    file.flush()


WAYS = ("mean", "zero")
"""Values a cell can be clamped at: the mean of its values over the text, or zero."""


def ablate_text(
    network: CharRNN,
    text: EncodedText,
    detectors: Sequence[Detector],
    *,
    layer: int,
    unit: int,
    at: str = "mean",
) -> Ablation:
    """Measure how much the loss rises when one cell is clamped at its mean or at zero.

    The first character is not scored, because the character before it has no label. A detector with
    too few labels is skipped, with the reason. The text must have at least 2 characters and is read
    twice.
    """
    ((value, changes),) = ablate_cells(
        network, text.ids, [text.first], len(text), [(layer, unit)], at
    )
    return Ablation(
        layer=layer, unit=unit, at=at, value=value, **summarize(changes, text, detectors)
    )


def summarize(
    changes: Float64Array, text: EncodedText, detectors: Sequence[Detector]
) -> dict[str, Any]:
    """Return the fields of an `Ablation` that summarize the changes (N - 1,) of the loss of a
    text."""
    change, ci = mean_change(changes, np.ones(len(changes), bool))
    effects, skipped = effects_of(changes, text, detectors)
    return {
        "change": change,
        "ci": ci,
        "num_chars": len(changes),
        "effects": tuple(effects),
        "skipped": tuple(skipped),
    }


def ablate_cells(
    network: CharRNN,
    ids: IdArray,
    begins: Sequence[int],
    num_chars: int,
    cells: Sequence[tuple[int, int]],
    at: str = "mean",
) -> list[tuple[float, Float64Array]]:
    """Clamp a cell (layer, unit) in each part of ids (N,), of `num_chars` characters from `begins`
    (P,) on.

    Returns for each the value that it is clamped at, and by how many nats its clamping raises the
    loss of each character but the first (num_chars - 1,). Several parts are read at once, each of
    them twice.
    """
    num_lanes = lanes_of(num_chars)
    # With documents, the rows of the batch are pieces of them, not lanes.
    num_together = max(1, MAX_LANES // num_lanes) if network.end_id is None else 1
    found: list[tuple[float, Float64Array]] = []
    with task("ablating", 2 * len(begins) * num_chars) as advance:
        for first in range(0, len(begins), num_together):
            here = cells[first : first + num_together]
            starts = np.array(begins[first : first + num_together])
            # Both readings use the cell's equations step by step, so that a cell without influence
            # changes nothing.
            ops = {layer: torch_ops() for layer, _ in here}
            free, moments = score_parts(network, ids, starts, num_chars, ops, advance)
            means = [
                float(of_part[cell]) for of_part, cell in zip(moments.means, here, strict=True)
            ]
            values = means if at == "mean" else [0.0] * len(here)
            for layer in ops:
                memory = network.recurrent_layers()[layer].cell.memory
                clamped = [
                    (part, unit) for part, (at_layer, unit) in enumerate(here) if at_layer == layer
                ]
                rows = [part * num_lanes + lane for part, _ in clamped for lane in range(num_lanes)]
                units = [unit for _, unit in clamped for _ in range(num_lanes)]
                memories = torch.tensor(
                    [memory(values[part]) for part, _ in clamped for _ in range(num_lanes)]
                )
                ops[layer] = replacing(
                    units, memories.to, rows if num_together > 1 else (), len(here) * num_lanes
                )
            held, _ = score_parts(network, ids, starts, num_chars, ops, advance)
            found += zip(values, free - held, strict=True)
    return found


def effects_of(
    changes: Float64Array, text: EncodedText, detectors: Sequence[Detector]
) -> tuple[list[AblationEffect], list[Skipped]]:
    """Average changes (N - 1,) inside and outside the spans of each detector; the others are
    skipped, with reasons."""
    effects, skipped = [], []
    for detector in detectors:
        labels = detector.label_documents(text.text)
        inside = None if labels is None else labels[:-1] > 0
        reason = why_not_scored(inside, detector.absence)
        if reason is not None or inside is None:
            skipped.append(Skipped(detector=detector.name, reason=reason or ""))
            continue
        change_inside, ci_inside = mean_change(changes, inside)
        change_outside, ci_outside = mean_change(changes, ~inside)
        effects.append(
            AblationEffect(
                detector=detector.name,
                change_inside=change_inside,
                ci_inside=ci_inside,
                change_outside=change_outside,
                ci_outside=ci_outside,
                num_inside=int(inside.sum()),
                is_count=labels is not None and labels.dtype != bool,
            )
        )
    return effects, skipped


def replacing(
    units: Sequence[int],
    values: Callable[[Tensor], Tensor | float],
    rows: Sequence[int] = (),
    batch_size: int = -1,
) -> Ops[Tensor]:
    """Return the functions of torch, with the memories (B, H) of some units replaced by `values` of
    all, (B, k).

    With as many `rows` as units, of a batch of `batch_size`, only the memory of one unit in each
    row, by `values` (k,).
    """

    def clamp(memories: Tensor) -> Tensor:
        memories, found = memories.clone(memory_format=torch.contiguous_format), values(memories)
        # A dilated layer folds several steps into the batch: the row of the batch varies fastest.
        memories.view(-1, batch_size if rows else len(memories), memories.shape[-1])[
            :, rows or ..., units
        ] = found
        return memories

    return replace(torch_ops(), clamp=clamp)


@dataclass(frozen=True, slots=True)
class CellMoments:
    """Mean and standard deviation (L, H) of each cell over a text, or (P, L, H) over each of its
    parts."""

    means: Float64Array
    deviations: Float64Array


def score_with(
    network: CharRNN,
    text: EncodedText,
    ops: Mapping[int, Ops[Tensor]],
    advance: Callable[[int], object],
) -> tuple[Float64Array, CellMoments]:
    """Return the log-probabilities (N - 1,) in nats of all characters but the first, and the
    moments of all cells.

    The layers of `ops` compute with these. `advance` is called with the number of characters read
    since its last call.
    """
    scores, moments = score_parts(
        network, text.ids, np.array([text.first]), len(text), ops, advance
    )
    return scores[0], CellMoments(moments.means[0], moments.deviations[0])


@inference_mode
def score_parts(
    network: CharRNN,
    ids: IdArray,
    begins: NDArray[np.int64],
    num_chars: int,
    ops: Mapping[int, Ops[Tensor]],
    advance: Callable[[int], object],
) -> tuple[Float64Array, CellMoments]:
    """Score parts of ids (N,), of `num_chars` characters from `begins` (P,) on, as `score_with`:
    (P, num_chars - 1)."""
    num_parts = len(begins)
    first_of_row = np.repeat(begins, lanes_of(num_chars))
    part_of_row = np.repeat(np.arange(num_parts), lanes_of(num_chars))
    logprobs = np.empty((num_parts, num_chars))
    sums = np.zeros((2, num_parts, len(network.recurrent_layers()), network.hidden_size))

    step = partial(network.trace, ops=ops)
    for positions, (logits, cells, _) in read_parts(
        step, network.initial_state, ids, begins, num_chars
    ):
        indices = positions - first_of_row
        is_part, has_next = indices < num_chars, indices < num_chars - 1
        values = cells.float().cpu().numpy().astype(np.float64)
        values[~is_part] = 0
        values = values.reshape(len(values), num_parts, -1, *values.shape[2:])
        sums += values.sum(axis=(0, 2)), (values**2).sum(axis=(0, 2))
        parts = np.broadcast_to(part_of_row, indices.shape)
        logprobs[parts[has_next], indices[has_next] + 1] = score_next(logits, ids, positions)[
            has_next
        ]
        advance(int(is_part.sum()))
    means, squares = sums / num_chars
    return logprobs[:, 1:], CellMoments(means, np.sqrt(np.maximum(squares - means**2, 0)))


def mean_change(
    changes: Float64Array, where: NDArray[np.bool_]
) -> tuple[float, tuple[float, float]]:
    """Compute the mean of changes (N,) over the characters `where` (N,), at least one, and its 95 %
    interval."""
    block, draws = draw_blocks(len(changes))
    totals, counts = (
        np.bincount(block, weights=parts, minlength=draws.shape[1])
        for parts in (changes * where, where)
    )
    num_drawn = draws @ counts
    # A resample may have drawn none of these characters.
    estimates = (draws @ totals)[num_drawn > 0] / num_drawn[num_drawn > 0]
    return float(totals.sum() / counts.sum()), percentiles(estimates)
