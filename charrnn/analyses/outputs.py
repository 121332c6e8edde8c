"""The effect of a cell on the prediction of the next character, to first order.

Shapes: n positions, V characters, C = L * H cells, L and H as in `model.network`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import cycle

import numpy as np

from charrnn.analyses.sampled_states import (
    SampledStates,
    characters_of,
    rounded,
    states_of,
)
from charrnn.cells.study import CellSection, Study
from charrnn.cells.trace import torch_ops
from charrnn.model.annotations import RecurrentLayer
from charrnn.model.cell_types import Ops
from charrnn.system.display import Displayable
from charrnn.system.lazy import Tensor, torch
from charrnn.text.vocab import EncodedText
from charrnn.views.cell_page import Part
from charrnn.views.theme import quoted_character

NUM_EFFECTS = 6
"""Promoted characters that are shown, and suppressed characters, at most."""
ABOUT_PROMOTED = (
    "change of the log-probability, in nats, if the cell rises by one standard deviation, to first"
    " order"
)
"""The meaning of the numbers of promoted and suppressed characters."""

NUM_CHARACTERS = 8
"""Promoted characters that a result has, and suppressed characters, at most."""
LEAST_SLOPE = 1e-12
"""The least derivative of tanh(c) by c that a shift is divided by."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CharacterEffect:
    """The mean change of a character's log-probability, in nats, if the cell rises by one standard
    deviation."""

    character: str
    """The character."""
    effect: float
    """The change, in nats."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CellOutputs(Displayable):
    """The effect of a cell on the prediction of the next character.

    It is to first order: the mean gradient of the log-probability by `quantity`, times the standard
    deviation of that. It has the sign of the cell's value.
    """

    layer: int
    """The layer of the cell, from 0."""
    unit: int
    """The unit of the cell in its layer, from 0."""
    quantity: str
    """The quantity by which the gradient is taken: tanh(c), or h."""
    spread: float
    """The standard deviation of the quantity."""
    num_positions: int
    """Positions of the text over which the gradient is averaged."""
    promoted: tuple[CharacterEffect, ...]
    """The characters whose log-probability rises most, the largest effect first."""
    suppressed: tuple[CharacterEffect, ...]
    """The characters whose log-probability falls most, the largest effect first."""

    def parts(self) -> Iterator[Part]:
        """Yield the characters that the cell promotes and suppresses."""
        rows = []
        for name, effects in (("promotes", self.promoted), ("suppresses", self.suppressed)):
            pairs = [(quoted_character(effect.character), effect.effect) for effect in effects]
            # A cell that nothing reads has no effect.
            if pairs:
                rows.append((name, pairs[:NUM_EFFECTS]))
        yield Part(
            title=f"What it promotes as {self.quantity} rises",
            draw_as="rows",
            content=rows,
            about=ABOUT_PROMOTED,
        )


def outputs(study: Study) -> tuple[CellOutputs, ...]:
    """Rank the characters that each of the C cells promotes and suppresses, to first order.

    Raises DataError for a text too short.
    """
    return study.cached(
        "outputs",
        study.text_key,
        result=tuple[CellOutputs, ...],
        compute=lambda: rank_characters(states_of(study), study.text),
    )


def outputs_of(study: Study, layer: int, unit: int) -> CellOutputs:
    """Return the result of `outputs` for a cell."""
    return outputs(study)[layer * study.num_units + unit]


def rank_characters(states: SampledStates, text: EncodedText) -> tuple[CellOutputs, ...]:
    """Find the characters of a text that every cell promotes and suppresses most, to first order.

    The effect of a cell on a character is the mean, over the positions, of the gradient of the
    character's log-probability by the cell, times the cell's standard deviation. The gradient of a
    logit differs from the gradient of the log-probability by a number that all characters of a
    position share. The gradient follows every path to the logits at the same character: for the top
    layer of a stacked LSTM it is output weight × output gate, as h = o * tanh(c). Where the cell
    value is tanh(h), the gradient is by h itself. Numbers have four significant digits.
    """
    # The effects (V, L, H). A gradient alone would favour cells that hardly change.
    written = characters_of(text)
    characters = list(written.values())
    gradients = output_gradients(states, list(written)).numpy()
    spreads = quantities(states).std(0, correction=0).numpy()
    effects = gradients * spreads

    # For each cell, the characters at either end of the order.
    cells = []
    for layer, recurrent in enumerate(states.network.recurrent_layers()):
        quantity = recurrent.cell.shows
        for unit in range(spreads.shape[1]):
            cell_effects = effects[:, layer, unit]
            ascending = []
            for index in np.argsort(cell_effects, kind="stable").tolist():
                effect = rounded(float(cell_effects[index]))
                ascending.append(CharacterEffect(character=characters[index], effect=effect))
            # An effect of 0 promotes nothing and suppresses nothing.
            promoted = [effect for effect in reversed(ascending) if effect.effect > 0]
            suppressed = [effect for effect in ascending if effect.effect < 0]
            cell_outputs = CellOutputs(
                layer=layer,
                unit=unit,
                quantity="h" if quantity == "tanh(h)" else quantity,
                spread=rounded(float(spreads[layer, unit])),
                num_positions=len(states),
                promoted=tuple(promoted[:NUM_CHARACTERS]),
                suppressed=tuple(suppressed[:NUM_CHARACTERS]),
            )
            cells.append(cell_outputs)
    return tuple(cells)


def quantities(states: SampledStates) -> Tensor:
    """Return the quantities (n, L, H) by which the gradients are taken: the cell values or, where
    these are tanh(h), the outputs h."""
    is_output = [layer.cell.shows == "tanh(h)" for layer in states.network.recurrent_layers()]
    return torch.where(torch.tensor(is_output)[:, None], states.outputs, states.values)


def output_gradients(states: SampledStates, ids: list[int]) -> Tensor:
    """Compute the mean gradients (V, L, H) of the log-probabilities of some ids by the `quantities`
    of all cells."""
    network = states.network
    layers = network.recurrent_layers()
    # All positions share one shift: its gradient is the sum of their gradients.
    zeros = states.before.vectors.new_zeros(network.hidden_size)
    shifts = [zeros.clone().requires_grad_() for _ in layers]
    ops = dict(enumerate(map(_shifting, layers, shifts)))
    weight = network.output.weight.detach()
    with torch.enable_grad():
        features, logits = network.features(states.ids, state=states.before, ops=ops)
        mean = features[0].mean(0)
        shared = logits[0].logsumexp(-1).mean()

        def by_shifts(total: Tensor) -> Tensor:
            return torch.stack(torch.autograd.grad(total, shifts, retain_graph=True))

        # Logits are linear in the features: the gradients of many characters are weighted sums of
        # the gradients of the H features.
        if len(ids) <= network.hidden_size:
            of_logits = torch.stack([by_shifts(weight[id] @ mean) for id in ids])
        else:
            of_features = torch.stack([by_shifts(feature) for feature in mean])
            of_logits = torch.einsum("vh,hlk->vlk", weight[ids], of_features)
        return of_logits - by_shifts(shared)


def _shifting(layer: RecurrentLayer, shift: Tensor) -> Ops[Tensor]:
    """Return the functions of torch, with `shift` (H,), which must be zero, added to h, or to
    tanh(c) if there is a c.

    Where tanh(c) is nearly 1 its derivative vanishes, so the shift is added after the tanh. All
    other readers of c, such as a peephole, read a c that is shifted by the corresponding amount.
    """
    # With zoneout a memory passes twice in a step: new, and interpolated with the memory before,
    # when 1 - zoneout of the shift was already added.
    shares = cycle([1.0, layer.zoneout] if layer.zoneout else [1.0])
    if layer.cell.shows != "tanh(c)":
        return replace(torch_ops(), clamp=lambda memory: memory + next(shares) * shift)

    # A cell takes the tanh of its memory right after it has passed.
    memory = moved = shift

    def clamp(passed: Tensor) -> Tensor:
        nonlocal memory, moved
        # A shift of tanh(c) is a shift of c divided by the slope.
        slope = (1 - passed.detach().tanh() ** 2).clamp(min=LEAST_SLOPE)
        memory = passed
        moved = memory + shift / slope
        return moved

    def tanh(x: Tensor) -> Tensor:
        # Only the tanh of a memory is shifted, not the tanh of a candidate.
        if x is moved:
            return memory.tanh() + shift
        return x.tanh()

    return replace(torch_ops(), clamp=clamp, tanh=tanh)


SECTION = CellSection(
    "outputs",
    message="measuring what it writes",
    measure=outputs_of,
    place=40,
    measure_all=outputs,
)
"""The section of the page of a cell."""
