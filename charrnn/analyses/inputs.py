"""What sets the value of a cell: the cells that drive its gates, and the characters before it.

Shapes: n positions, k lags, C = L * H cells, L, H, S and E as in `model.network`, G gate blocks.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.analyses.numbers import block_letters
from charrnn.analyses.sampled_states import (
    SampledStates,
    characters_of,
    read_before,
    rounded,
    states_of,
)
from charrnn.cells.findings import CellIndex, CellPassage
from charrnn.cells.study import CellSection, Study
from charrnn.cells.trace import torch_ops
from charrnn.errors import check_length
from charrnn.model.annotations import CharRNN, RecurrentLayer
from charrnn.model.cell_type_registry import products_of_outputs
from charrnn.model.cell_types import Antisymmetric, Mlstm
from charrnn.model.reading import WARM_UP
from charrnn.model.recurrent_state import RecurrentState, reset_rows
from charrnn.system.arrays import Float32Array, Int64Array
from charrnn.system.display import Displayable
from charrnn.system.lazy import Tensor, no_grad, torch
from charrnn.text.vocab import EncodedText, IdArray
from charrnn.views.cell_page import Part
from charrnn.views.theme import quoted_character

LEAST_EFFECT = 0.01
"""Share of a cell's range that erasing some character must change its value by; else the cell is
saturated."""
LAGS = (0, 1, 2, 4, 8, 16, 23)
"""Distances from the strong positions for which mean effects are shown."""
ABOUT_DRIVERS = (
    "weight × standard deviation of the driver's output: how far it moves the gate before the"
    " sigmoid or tanh"
)
"""The meaning of the numbers of drivers."""
ABOUT_EARLIER = (
    "erased: the value minus that with the character's vector replaced by the mean vector of the"
    " text"
)
"""The meaning of the numbers of the earlier characters."""
ABOUT_STRONGEST = (
    "coloured by the effect of erasing each character, of which the largest has the full colour"
    " (blue: it raises the value)"
)
"""The meaning of the colours of the strong positions."""
NUM_DRIVERS_SHOWN = 4
"""Drivers of a gate that are shown: more do not fit a line of 80 columns."""

NUM_DRIVERS = 5
"""Drivers of each gate that are kept."""
NUM_STRONG = 32
"""Strong positions, before which characters are erased: half where the cell is highest, half where
it is lowest."""
NUM_LAGS = 24
"""Last characters up to a strong position, each of which is erased alone."""
DIFFERENT = 8
"""Characters up to a strong position that differ from the characters up to any other."""
SPACING = 64
"""The least number of characters between two strong positions."""
NUM_CHARACTERS = 12
"""Characters that are reported, and passages from either end of the values."""
NUM_SHOWN = 3
"""Passages that are kept from either end of the values."""
MIN_COUNT = 3
"""Occurrences before the positions that a character needs to be reported."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Driver:
    """A cell whose output drives a gate, or the candidate, of another cell."""

    gate: str
    """The letter of the block of rows (f, i, o, g, …); "" for a cell type without gates."""
    layer: int
    """The layer of the driver, from 0."""
    unit: int
    """The unit of the driver in its layer, from 0."""
    weight: float
    """What the output h of the driver is multiplied by."""
    strength: float
    """The weight times the standard deviation of h: how far the driver moves the pre-activation."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ErasedCharacter:
    """A character before a position, and the value of the cell there minus the value with the
    character erased."""

    character: str
    """The character."""
    measured: float
    """The value of the cell minus its value with the character erased."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InputPassage:
    """The characters up to and including a position at which the cell is strong, with their
    effects."""

    position: int
    """The index in the text."""
    value: float
    """The cell's value after the last character."""
    characters: tuple[ErasedCharacter, ...]
    """The characters and their effects, in the order of the text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CharacterInput:
    """The mean effect of a character before the strong positions of a cell on its value there."""

    character: str
    """The character."""
    count: int
    """How often it occurs before these positions."""
    measured: float
    """The mean effect on the cell's value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EarlierCharacters:
    """Which of the last characters set a cell's value, at positions where it is strong."""

    num_positions: int
    """Positions at which the cell is strong."""
    measured_by_lag: tuple[float, ...]
    """Entry k is the mean absolute effect of erasing the character k before the position (0: the
    character at the position)."""
    characters: tuple[CharacterInput, ...]
    """Those with the largest measured effects, positive or negative."""
    passages: tuple[InputPassage, ...] = field(repr=False)
    """Where the cell is highest, and where it is lowest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CellInputs(Displayable):
    """What sets the value of a cell: the cells that drive it, and the characters before."""

    layer: int
    """The layer of the cell, from 0."""
    unit: int
    """The unit of the cell in its layer, from 0."""
    num_positions: int
    """Positions of the text over which standard deviations were computed."""
    drivers: tuple[Driver, ...]
    """The strongest drivers of each gate, in the order of the gates, strongest first."""
    earlier: EarlierCharacters | None = None
    """The effects of earlier characters; None unless they were asked for."""

    def parts(self) -> Iterator[Part]:
        """Yield the cells that drive the cell and, if measured, the earlier characters that set
        its value."""
        rows = []
        for gate, drivers in groupby(self.drivers, key=lambda driver: driver.gate):
            # More do not fit a line.
            shown = islice(drivers, NUM_DRIVERS_SHOWN)
            pairs = [(f"{driver.layer}:{driver.unit}", driver.strength) for driver in shown]
            rows.append((gate or "all", pairs))
        yield Part(
            title=f"Cells that drive its gates, over {self.num_positions:,} positions",
            draw_as="rows",
            content=rows,
            about=ABOUT_DRIVERS,
        )
        if self.earlier is not None:
            yield from _earlier_parts(self.earlier)


def inputs(study: Study) -> tuple[CellInputs, ...]:
    """Rank the cells that drive each of the C cells, gate by gate. Raises DataError for a text too
    short."""
    return study.cached(
        "inputs",
        study.text_key,
        result=tuple[CellInputs, ...],
        compute=lambda: rank_drivers(states_of(study)),
    )


def inputs_of(study: Study, layer: int, unit: int) -> CellInputs:
    """Return the drivers of a cell, and which of the earlier characters set its value.

    Raises DataError for a text too short.
    """

    def measure() -> CellInputs:
        # The drivers of all cells are ranked together and kept; the erasing is for this cell only.
        values = study.activations.of(layer, unit)
        earlier = measure_earlier(
            study.network(), text=study.text, values=values, layer=layer, unit=unit
        )
        return replace(inputs(study)[layer * study.num_units + unit], earlier=earlier)

    return study.cached(
        "inputs of", study.cell_key(layer, unit), result=CellInputs, compute=measure
    )


@no_grad
def rank_drivers(states: SampledStates, num_drivers: int = NUM_DRIVERS) -> tuple[CellInputs, ...]:
    """Rank the drivers of every cell, gate by gate, by weight × standard deviation of the driver's
    output.

    A cell is driven through the recurrent weights by the cells of its layer, itself included, one
    character (in a dilated layer D) before; and through the input weights by the cells below at the
    same character, as far as their outputs reach the layer without passing through a layer in
    between: in a stack the cells of the layer below, in a residual network of all layers below.
    Numbers have four significant digits. The peephole weights of a cell are not counted.
    """
    # Layer by layer: the gates of all units of a layer have the same drivers, and each its weights.
    num_layers, num_units = states.values.shape[1:]
    cells: list[CellInputs] = []
    for layer in range(num_layers):
        of_units: list[list[Driver]] = [[] for _ in range(num_units)]
        for gate in _driven_gates(states, layer):
            # How far each driver moves the pre-activation, with the sign of the weight.
            strengths = gate.weights * gate.spreads
            num_kept = min(num_drivers, strengths.shape[1])
            columns = strengths.abs().topk(num_kept, dim=1).indices
            for unit, of_unit in enumerate(columns.tolist()):
                for column in of_unit:
                    driver = Driver(
                        gate=gate.letter,
                        layer=gate.layers[column // num_units],
                        unit=column % num_units,
                        weight=rounded(float(gate.weights[unit, column])),
                        strength=rounded(float(strengths[unit, column])),
                    )
                    of_units[unit].append(driver)
        for unit, drivers in enumerate(of_units):
            cell = CellInputs(
                layer=layer, unit=unit, num_positions=len(states), drivers=tuple(drivers)
            )
            cells.append(cell)
    return tuple(cells)


class _DrivenGate(NamedTuple):
    """All drivers of a gate of a layer: the cells of M layers."""

    letter: str
    layers: list[int]
    """(M,): the layer itself, then the layers below that reach it."""
    weights: Tensor
    """(H, M * H): the slopes of each unit's pre-activation along each driver's output."""
    spreads: Tensor
    """(M * H,): the standard deviation of each driver's output."""


def _driven_gates(states: SampledStates, layer: int) -> Iterator[_DrivenGate]:
    """Yield the drivers of each gate of a layer."""
    # How much the cells of each driving layer vary: the cells of this layer a character before.
    recurrent_layer = states.network.recurrent_layers()[layer]
    below = _paths_from_below(states, layer)
    spreads = [states.previous_outputs(layer).std(0, correction=0)]
    spreads += [states.outputs[:, source].std(0, correction=0) for source in below]

    # A gate may lack recurrent weights, as in an mlstm, and a gate of another package's cell may
    # lack input weights.
    by_input: dict[str, Tensor] = {}
    if below:
        blocks = recurrent_layer.weight("ih").chunk(recurrent_layer.cell.input_blocks)
        by_input = dict(zip(_gates(recurrent_layer), blocks, strict=False))
    by_recurrence = recurrent_weights(recurrent_layer)
    num_units = recurrent_layer.hidden_size
    no_weights = states.outputs.new_zeros(num_units, num_units)
    for letter in dict.fromkeys((*by_recurrence, *by_input)):
        layers = [layer]
        weights = [by_recurrence.get(letter, no_weights)]
        if letter in by_input:
            layers += below
            weights += [by_input[letter] @ path for path in below.values()]
        yield _DrivenGate(
            letter=letter,
            layers=layers,
            weights=torch.cat(weights, dim=1),
            spreads=torch.cat(spreads[: len(layers)]),
        )


def recurrent_weights(layer: RecurrentLayer) -> dict[str, Tensor]:
    """Return for each gate the matrix (H, H) that multiplies the layer's last outputs in its
    pre-activation.

    The matrix of an antisymmetric cell drives both of its gates. What the matrices of an mlstm and
    of a mogrifier multiply depends on the character, and a unitary cell rotates its outputs: they
    have none. Of a cell of another package, the matrices are left out that multiply anything else.
    """
    # The only matrix of an mlstm that multiplies the last outputs is in no pre-activation.
    cell = layer.cell
    gates = _gates(layer)
    if cell is Mlstm:
        return {}
    if cell is Antisymmetric:
        weight = cell.effective_weight(layer.weight("hh"))
        weight.diagonal().sub_(Antisymmetric.DAMPING)
        return dict.fromkeys(gates, weight)

    # All other cells have a block of rows for each gate; a second matrix has gates of its own.
    weights: dict[str, Tensor] = {}
    for name in products_of_outputs(cell):
        num_blocks = cell.products[name]
        letters = gates[:num_blocks]
        if name != "hh":
            letters = [f"{name}{block}" for block in range(num_blocks)]
        blocks = cell.effective_weight(layer.weight(name)).chunk(num_blocks)
        weights |= dict(zip(letters, blocks, strict=True))
    return weights


def _gates(layer: RecurrentLayer) -> list[str]:
    """Return the letters of the gates; "" for the only gate, and numbers for the blocks of another
    package's cell."""
    num_blocks = max(layer.cell.input_blocks, layer.cell.products.get("hh", 1))
    return block_letters(layer.cell, num_blocks)


def _paths_from_below(states: SampledStates, layer: int) -> dict[int, Tensor]:
    """Compute how a layer's input depends on the outputs of each layer below, as mean derivatives
    (I, H) by layer.

    The outputs of the layers in between are fixed, so a layer that reaches the layer only through
    them is left out.
    """
    paths: dict[int, Tensor] = {}
    with torch.enable_grad():
        for source in range(layer):
            # One shift for all positions: its gradient is the sum of all gradients.
            shift = states.outputs.new_zeros(states.network.hidden_size).requires_grad_()
            outputs = states.outputs.clone()
            outputs[:, source] += shift
            inputs = states.network.layer_inputs(
                states.ids, state=states.before, outputs=outputs[None]
            )
            mean = inputs[layer][0].mean(0)
            # Nothing of the source reaches this layer.
            if not mean.requires_grad:
                continue

            # Row by row of the input: autograd differentiates a single number at a time.
            slopes = [torch.autograd.grad(entry, shift, retain_graph=True)[0] for entry in mean]
            path = torch.stack(slopes)
            if path.any():
                paths[source] = path
    return paths


def measure_earlier(
    network: CharRNN, text: EncodedText, values: Float32Array, layer: int, unit: int
) -> EarlierCharacters:
    """Find which of the last NUM_LAGS characters set a cell's value where it is strongest, and
    verify it by erasing.

    values (N,) are the cell's values over the text. At up to NUM_STRONG positions, half of them
    where the cell is highest and half where it is lowest, each character is erased: its vector is
    replaced by the mean vector of the text's characters. Reading END resets the state; an erased
    END still does. The layers start in the state after up to 512 characters before the NUM_LAGS
    characters. Raises DataError for a text too short.
    """
    check_length(len(text), least=2, what="what sets the value of a cell")

    # Where the cell is strong. In a short text, half of the characters are erased.
    num_lags = min(NUM_LAGS, (len(text.ids) + 1) // 2)
    indices = strong_positions(
        values, ids=text.ids[text.first :], earliest=max(0, num_lags - 1 - text.first)
    )

    # The characters to erase. All positions are read side by side, so they warm up alike.
    positions = indices + text.first
    warm_up = min(WARM_UP, int(positions.min()) - num_lags + 1)
    ids, state = read_before(
        network, ids=text.ids, positions=positions, length=num_lags, warm_up=warm_up
    )
    effects = erase(network, ids, mean=mean_vector(network, text), state=state, cell=(layer, unit))
    return _summarize(
        text, values=values, indices=indices, ids=ids.numpy(), effects=effects.numpy()
    )


def strong_positions(values: Float32Array, ids: IdArray, earliest: int) -> Int64Array:
    """Return up to NUM_STRONG indices of values (N,), from `earliest` on: the highest first, then
    the lowest.

    They are at least SPACING characters apart, or less in a text too short for that, and the last
    DIFFERENT of the ids (N,) are different at each of them: a text may repeat itself.
    """
    # Each position takes up to twice the spacing from the other positions.
    spacing = max(1, min(SPACING, (len(values) - earliest) // (2 * NUM_STRONG)))
    is_free = np.zeros(len(values), bool)
    is_free[earliest:] = True
    indices: list[int] = []
    texts_before: set[bytes] = set()
    # The highest values first: they have the choice.
    for sign in (-1, 1):
        end = len(indices) + NUM_STRONG // 2
        for index in np.argsort(sign * values, kind="stable").tolist():
            if len(indices) == end:
                break

            # Neither near a chosen position nor after the same characters.
            before = ids[max(0, index - DIFFERENT + 1) : index + 1].tobytes()
            if is_free[index] and before not in texts_before:
                indices.append(index)
                texts_before.add(before)
                is_free[max(0, index - spacing + 1) : index + spacing] = False
    return np.array(indices, np.int64)


@no_grad
def mean_vector(network: CharRNN, text: EncodedText) -> Tensor:
    """Compute the mean vector (E,) of the characters of a text."""
    # By how often each character occurs: the text may be too long for all of its vectors.
    counts = np.bincount(
        text.ids[text.first :].astype(np.int64), minlength=network.output.out_features
    )
    vectors = network.vectors(torch.arange(len(counts))[None])[0]
    return torch.from_numpy(counts / counts.sum()).to(vectors.dtype) @ vectors


@no_grad
def erase(
    network: CharRNN,
    ids: Tensor,
    *,
    mean: Tensor,
    state: RecurrentState[Tensor],
    cell: CellIndex,
) -> Tensor:
    """Compute how the value of a cell (layer, unit) changes with each character: the value minus
    the value with the vector of an id replaced by `mean` (E,), for each id: (k, n).

    The value is measured after the last of the ids (k, n), which are read from a `state` of n rows.
    """
    num_steps, num_lanes = ids.shape
    layer, unit = cell
    # With functions of its own, every layer takes the equations step by step: the faster
    # implementations do not return the memory of an LSTM.
    ops = dict.fromkeys(range(len(network.layers)), torch_ops())
    for step, vectors in enumerate(network.vectors(ids)):
        # Groups of n lanes: in the first group nothing is erased, in the next the first character,
        # … in the last the character of this step. The last group begins as a copy of the first.
        state = state.map(lambda rows: torch.cat((rows, rows[..., :num_lanes, :]), dim=-2))
        read = torch.cat((vectors.repeat(step + 1, 1), mean.expand(num_lanes, -1)))
        if network.end_id is not None:
            is_end = (ids[step] == network.end_id).repeat(step + 2)
            state = reset_rows(state, initial=network.initial_state(len(is_end)), is_reset=is_end)
        (_, values, _), state = network.trace(read[None], state, ops=ops)

    # The other groups are compared with the first group, in which nothing is erased.
    by_group = values[0, :, layer, unit].view(num_steps + 1, num_lanes)
    return by_group[0] - by_group[1:]


def _summarize(
    text: EncodedText,
    values: Float32Array,
    indices: Int64Array,
    ids: Int64Array,
    effects: NDArray[Any],
) -> EarlierCharacters:
    """Collect the effects (k, n) of the ids (k, n) before the strong positions (n,)."""
    # The mean effect of each character that occurs often enough.
    written = characters_of(text)
    means = []
    for id in dict.fromkeys(ids.ravel().tolist()):
        of_id = effects[ids == id]
        if id in written and len(of_id) >= MIN_COUNT:
            mean = float(of_id.mean())
            means.append(CharacterInput(character=written[id], count=len(of_id), measured=mean))
    means.sort(key=lambda effect: -abs(effect.measured))

    # The passages at either end of the values; no passage is at both.
    strong = values[indices]
    num_high = (len(indices) + 1) // 2
    num_low = len(indices) - num_high
    columns = np.argsort(-strong, kind="stable")[: min(NUM_SHOWN, num_high)].tolist()
    lowest = np.argsort(strong, kind="stable").tolist()
    low_columns = [column for column in lowest if column not in columns]
    columns += low_columns[: min(NUM_SHOWN, num_low)]

    # Each with the effect of every character before it.
    passages = []
    for column in columns:
        characters = []
        for id, effect in zip(ids[:, column].tolist(), effects[:, column].tolist(), strict=True):
            # A context may have characters that the text does not have.
            character = written.get(id, "\ufffd")
            characters.append(ErasedCharacter(character=character, measured=effect))
        passage = InputPassage(
            position=int(indices[column]),
            value=float(strong[column]),
            characters=tuple(characters),
        )
        passages.append(passage)
    return EarlierCharacters(
        num_positions=len(indices),
        measured_by_lag=tuple(np.abs(effects).mean(1)[::-1].tolist()),
        characters=tuple(means[:NUM_CHARACTERS]),
        passages=tuple(passages),
    )


def _earlier_parts(earlier: EarlierCharacters) -> Iterator[Part]:
    # A cell that erasing hardly moves would be drawn as noise. The state before a text is 0.
    effects = list(earlier.measured_by_lag)
    values = [0.0]
    for passage in earlier.passages:
        values.append(passage.value)
        effects += [abs(character.measured) for character in passage.characters]
    effects += [abs(character.measured) for character in earlier.characters]
    largest = max(effects, default=0.0)
    title = "Set by the last characters"
    if largest < LEAST_EFFECT * (max(values) - min(values)):
        most = math.ceil(1000 * largest) / 1000
        saturated = f"saturated: erasing one character changes it by at most {most:.3f}"
        yield Part(title=title, draw_as="text", content=[saturated])
        return

    # The characters that matter most when they are erased, and how far back characters matter.
    by_character = []
    for effect in earlier.characters:
        by_character.append((quoted_character(effect.character), effect.measured))
    lags = [lag for lag in LAGS if lag < len(earlier.measured_by_lag)]
    by_lag = [(f"{lag}", earlier.measured_by_lag[lag]) for lag in lags]
    yield Part(
        title=f"{title}, erased one by one at {earlier.num_positions:,} strong positions",
        draw_as="rows",
        content=[("character", by_character), ("characters back", by_lag)],
        about=ABOUT_EARLIER,
    )
    yield Part(
        title="Where it is strongest",
        draw_as="passages",
        content=[_passage_of(passage, largest or 1.0) for passage in earlier.passages],
        about=ABOUT_STRONGEST,
    )


def _passage_of(passage: InputPassage, largest: float) -> CellPassage:
    """Return a passage with the effects of its characters as values: `largest` is a full colour."""
    # A character that a context alone has is shown as its mark, which may be longer.
    text = ""
    values: list[float] = []
    for erased in passage.characters:
        text += erased.character
        values += [erased.measured / largest] * len(erased.character)
    begin = passage.position + 1 - len(text)
    return CellPassage(
        kind="at",
        rank=passage.position,
        value=passage.value,
        index=passage.position,
        begin=begin,
        line=0,
        text=text,
        values=tuple(values),
    )


SECTION = CellSection(
    "inputs",
    message="measuring what sets it",
    measure=inputs_of,
    place=30,
    measure_all=inputs,
)
"""The section of the page of a cell."""
