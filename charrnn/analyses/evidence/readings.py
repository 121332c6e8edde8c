"""Read segments of a text with the memories of some cells clamped at their means or exchanged.

A memory is the vector that a cell passes through `ops.clamp`: c where there is one, else h.
Segments are read from the state of the free network at their beginning.

Shapes: N characters, S segments of T characters, C conditions, R rows, L, H, V as in
`model.network`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise, repeat

import numpy as np

from charrnn.analyses.evidence.property_output import Output
from charrnn.cells.records import CellIndex
from charrnn.cells.trace import torch_ops
from charrnn.model.annotations import CharRNN
from charrnn.model.cell_types import Ops
from charrnn.model.interventions import exchange, record_layers, remove
from charrnn.model.reading import MAX_LANES, KnownStates, Segments, read_segments
from charrnn.statistics.moments import Moments
from charrnn.system.arrays import Float64Array, Int64Array
from charrnn.system.lazy import Tensor, no_grad, torch
from charrnn.system.progress import task
from charrnn.text.vocab import EncodedText


@dataclass(frozen=True, eq=False)
class FreeReading:
    """The values and outputs of a network while it reads segments of a text of N characters; nan
    elsewhere.

    All other readings start from its states and are compared with its outputs.
    """

    values: Float64Array
    """(N,): the value of the cell."""
    odds: Float64Array
    """(N,): the output after each character."""
    means: Tensor
    """(L, H): the means of all memories over the choosing half."""
    deviations: Tensor
    """(L, H): their standard deviations; 1 for a constant memory."""
    correlations: Tensor
    """(L * H, L * H): their correlations."""
    states: dict[int, Tensor]
    """The state before each wanted position."""
    network: CharRNN
    """The network."""
    text: EncodedText
    """The text, of which it read segments."""
    output: Output
    """The output."""

    def ids_at(self, begins: Int64Array, length: int) -> Tensor:
        """Return the ids (length, R) from R positions on."""
        positions = self.text.first + begins[:, None] + np.arange(length)
        return torch.from_numpy(self.text.ids[positions].astype(np.int64)).T

    def states_at(self, positions: Int64Array) -> Tensor:
        """Return the state before each of R positions, as rows."""
        states = [self.states[position] for position in positions.tolist()]
        return torch.cat(states, dim=-2)


@no_grad
def read_freely(
    network: CharRNN,
    text: EncodedText,
    *,
    begins: Int64Array,
    length: int,
    half: int,
    cell: CellIndex,
    output: Output,
    wanted: Int64Array,
    known: KnownStates,
) -> FreeReading:
    """Read segments of `length` characters, which begin at `begins` (S,), side by side, from the
    `known` states of a single pass over the text.

    It comes first, and nothing in the network is changed; `read_clamped` and `PatchingBatch` change
    memories.

    The statistics of the memories are computed over the first `half` characters.
    """
    layer, unit = cell
    num_chars = len(text)
    # The last lane of a segment may go on beyond its end, and so beyond the end of the text.
    values = np.full(num_chars + MAX_LANES, np.nan)
    odds = values.copy()
    is_wanted = np.zeros(len(values), bool)
    is_wanted[wanted] = True
    states: dict[int, Tensor] = {}
    memories: list[list[Tensor]] = [[] for _ in network.recurrent_layers()]
    recorders = record_layers(torch_ops(), name="clamp", results=memories)
    moments = Moments()

    # One character at a time: the state before it, and after it the outputs and values (R,) and the
    # memories (R, L, H).
    def step(window: Tensor, state: Tensor) -> tuple[list[tuple[Tensor, ...]], Tensor]:
        steps: list[tuple[Tensor, ...]] = []
        for chars in window:
            for of_layer in memories:
                of_layer.clear()
            before = state
            (logits, cells, _), state = network.trace(chars[None], state, ops=recorders)
            # With zoneout a memory passes twice; the last is the memory that the cell keeps.
            latest = torch.stack([of_layer[-1] for of_layer in memories], dim=1)
            steps.append((before, output.odds(logits[0]), cells[0, :, layer, unit], latest))
        return steps, state

    ids = text.ids
    first = text.first
    with task("reading", total=len(begins) * length) as advance:
        windows = read_segments(
            step,
            network.initial_state,
            ids=ids,
            segments=Segments(begins + first, length),
            known=known,
        )
        for positions, steps in windows:
            in_choosing_half = []
            for indices, read in zip(positions - first, steps, strict=True):
                before, of_output, of_cell, latest = read
                values[indices] = of_cell.numpy()
                odds[indices] = of_output.numpy()
                states |= _states_of_rows(before, indices, np.flatnonzero(is_wanted[indices]))
                in_choosing_half.append(latest[indices < half].flatten(1))

            # The products of a window at once: their matrix is larger than the vectors of a step.
            chosen = torch.cat(in_choosing_half).numpy()
            if len(chosen):  # a window may lie behind the half
                moments.add_cells(chosen)
            advance(positions.size)

    weight = network.output.weight
    shape = (len(memories), network.hidden_size)
    return FreeReading(
        values=values[:num_chars],
        odds=odds[:num_chars],
        means=torch.from_numpy(moments.means).to(weight).view(shape),
        deviations=torch.from_numpy(moments.scales).to(weight).view(shape),
        correlations=torch.from_numpy(moments.correlations()),
        states=states,
        network=network,
        text=text,
        output=output,
    )


def _states_of_rows(states: Tensor, positions: Int64Array, rows: Int64Array) -> dict[int, Tensor]:
    """Return some rows of the states before characters, by the positions of these."""
    # Copies, so that the other rows can be freed.
    return {int(positions[row]): states[..., row : row + 1, :].clone() for row in rows.tolist()}


@no_grad
def read_clamped(
    reading: FreeReading,
    *,
    begins: Int64Array,
    length: int,
    num_skipped: int,
    is_clamped: Tensor,
    directions: Tensor | None = None,
    layer: int = 0,
    output: Output | None = None,
) -> tuple[Float64Array, Int64Array]:
    """Read segments, which begin at `begins` (S,), with memories held at their means in each of C
    conditions.

    It asks what a cell is needed for, over whole segments; `PatchingBatch` changes a memory at one
    character. `is_clamped` (C, L, H) says of which cells, and `directions` (C, H) along which
    direction of the memories of `layer`. Returns the log odds of `output`, or without an output the
    loss of the next character in nats, (C, S * T'), for the T' characters of each segment after the
    first `num_skipped`; and their positions (S * T',).
    """
    num_conditions = len(is_clamped)
    ids = reading.ids_at(begins, length=length + 1)

    # The rows of a segment follow each other, one for each condition.
    ids = ids.repeat_interleave(num_conditions, dim=1)
    state = reading.states_at(begins).repeat_interleave(num_conditions, dim=-2)
    ops = {}
    for index, means in enumerate(reading.means):
        held = is_clamped[:, index].repeat(len(begins), 1)
        ops[index] = exchange(torch_ops(), is_exchanged=held, memories=repeat(means))
    if directions is not None:
        ops[layer] = remove(
            ops[layer],
            directions.repeat(len(begins), 1),
            means=reading.means[layer],
            deviations=reading.deviations[layer],
        )
    steps = []
    with task("ablating", total=ids[:-1].numel()) as advance:
        for chars, following in pairwise(ids):
            logits, state = reading.network(chars[None], state, ops=ops)
            if output is None:
                loss = torch.nn.functional.cross_entropy(logits[0], following, reduction="none")
                steps.append(loss.double())
            else:
                steps.append(output.odds(logits[0]))
            advance(len(chars))
    results = torch.stack(steps[num_skipped:]).numpy().reshape(-1, len(begins), num_conditions)
    positions = begins[:, None] + np.arange(num_skipped, length)
    results = np.ascontiguousarray(results.transpose(2, 1, 0))
    return results.reshape(num_conditions, -1), positions.ravel()


@dataclass(frozen=True, eq=False, kw_only=True)
class PatchingBatch:
    """R passages that are read side by side with memories exchanged (activation patching): their
    last lag + 1 characters, from the state of the free network before them.

    It asks whether a memory is enough to move the output; `read_clamped` asks what is lost without
    it.
    """

    reading: FreeReading
    partners: Int64Array
    """(R,): the row of the other position of the pair of each row."""
    ids: Tensor
    """(lag + 1, R): the characters."""
    state: Tensor
    """The state before them."""
    memories: list[list[Tensor]]
    """By layer the memories that pass `clamp` at the first of these characters."""
    outputs: Float64Array
    """(R,): the output after each passage, with nothing exchanged."""

    @no_grad
    def patched(self, sources: Int64Array, cells: Tensor) -> Float64Array:
        """Compute the output (R,) with the memories that `cells` (R, L, H) marks taken, at the
        first character, from the rows `sources`.

        Each set of cells takes a reading of its own; `attributions` estimates all cells from one.
        """
        ops = {}
        for layer, recorded in enumerate(self.memories):
            taken = [memory[sources] for memory in recorded]
            ops[layer] = exchange(torch_ops(), is_exchanged=cells[:, layer], memories=taken)
        return read_odds(self.reading, self.ids, state=self.state, ops=ops).numpy()

    def attributions(self, sources: Int64Array) -> Float64Array:
        """Compute, to first order, how far the output moves if a memory is taken from the rows
        `sources`, (R, L, H): attribution patching (Syed et al. 2023).

        It puts hundreds of cells into an order, of which the first are then measured by `patched`.
        """
        latest = [recorded[-1] for recorded in self.memories]
        shifts = [torch.zeros_like(memory).requires_grad_() for memory in latest]
        ops = {}
        for layer, shift in enumerate(shifts):
            ops[layer] = replace(torch_ops(), clamp=shift.__add__)
        with torch.enable_grad():
            odds = read_odds(self.reading, self.ids, state=self.state, ops=ops)
            gradients = torch.autograd.grad(odds.sum(), shifts)
        # The derivative by a shift, times the shift of an exchange.
        moved = []
        for gradient, memory in zip(gradients, latest, strict=True):
            moved.append(gradient * (memory[sources] - memory))
        return torch.stack(moved, dim=1).double().numpy()


def read_odds(reading: FreeReading, ids: Tensor, *, state: Tensor, ops: dict[int, Ops]) -> Tensor:
    """Read characters (T, R) from a state, and compute the output (R,) after them; the layers
    compute with `ops` at the first character."""
    logits, state = reading.network(ids[:1], state, ops=ops)
    if len(ids) > 1:
        logits, _ = reading.network(ids[1:], state)
    return reading.output.odds(logits[-1])


def read_batch(reading: FreeReading, pairs: Int64Array, *, lag: int) -> PatchingBatch:
    """Read the passages that end at pairs (P, 2) of positions, with nothing exchanged: R = 2 * P,
    those at the first positions of all pairs first."""
    begins = pairs.T.ravel() - lag
    ids = reading.ids_at(begins, length=lag + 1)
    state = reading.states_at(begins)
    memories: list[list[Tensor]] = [[] for _ in reading.network.recurrent_layers()]
    with torch.no_grad():
        ops = record_layers(torch_ops(), name="clamp", results=memories)
        outputs = read_odds(reading, ids, state=state, ops=ops).numpy()
    return PatchingBatch(
        reading=reading,
        partners=np.roll(np.arange(pairs.size), len(pairs)),
        ids=ids,
        state=state,
        memories=memories,
        outputs=outputs,
    )
