"""What a cell does to the prediction of the next character, to first order.

Shapes: n positions, V characters, C = L * H cells, L and H as in `model.network`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from rich.console import RenderableType
from rich.text import Text

from charrnn.analyses.sampled_states import (
    SampledStates,
    characters_of,
    rounded,
    states_of,
)
from charrnn.cells.analysis import CellAnalysis, CellSection
from charrnn.cells.trace import torch_ops
from charrnn.model.annotations import RecurrentLayer
from charrnn.model.cell_types import Ops
from charrnn.system.display import Displayable
from charrnn.system.lazy import Tensor, torch
from charrnn.text.vocab import EncodedText
from charrnn.views.html_page import PagePart
from charrnn.views.theme import quoted_character

NUM_EFFECTS = 6
"""Characters that are shown of those a cell promotes, and of those it suppresses."""
ABOUT_PROMOTED = (
    "change of the log-probability, in nats, if the cell rises by one standard deviation, to first"
    " order"
)
"""What the numbers of promoted and suppressed characters are."""

UNIT_OF_EFFECTS = "log-probability in nats, if the cell rises one standard deviation"
"""The same in a line of a summary."""
NUM_CHARACTERS = 8
"""Promoted characters that are kept, and suppressed ones."""
LEAST_SLOPE = 1e-12
"""Smallest derivative of tanh(c) by c that another quantity than tanh(c) itself is divided by."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CharacterEffect:
    """The mean change of a character's log-probability, in nats, if the cell rises by one standard
    deviation."""

    character: str
    effect: float


@dataclass(frozen=True, kw_only=True, slots=True)
class CellOutputs(Displayable):
    """What the cell `layer`:`unit` does to the prediction of the next character.

    `promoted` and `suppressed` are the characters whose log-probability rises and falls most with
    the cell, to first order: the mean gradient over `num_positions` positions by `quantity`, times
    its standard deviation `spread`. It has the sign of the cell's value.
    """

    layer: int
    unit: int
    quantity: str
    """What the gradient is taken by: tanh(c), or h."""
    spread: float
    num_positions: int
    promoted: tuple[CharacterEffect, ...]
    suppressed: tuple[CharacterEffect, ...]

    def view(self) -> Sequence[RenderableType]:
        """Return the characters that the cell promotes and suppresses."""
        return [
            Text(f"Writes: what it promotes as {self.quantity} rises", style="bold"),
            Text(f"  promotes    {effects_text(self.promoted)}", overflow="fold"),
            Text(f"  suppresses  {effects_text(self.suppressed)}", overflow="fold"),
            Text(ABOUT_PROMOTED, style="dim"),
        ]


def outputs(analysis: CellAnalysis) -> tuple[CellOutputs, ...]:
    """Rank the characters that each of the C cells promotes and suppresses, to first order.

    Raises DataError for a text too short.
    """
    return analysis.kept(
        "outputs",
        analysis.text_key,
        tuple[CellOutputs, ...],
        lambda: rank_characters(states_of(analysis), analysis.text),
    )


def rank_characters(
    states: SampledStates, text: EncodedText, num_characters: int = NUM_CHARACTERS
) -> tuple[CellOutputs, ...]:
    """Find the characters of a text that every cell promotes and suppresses most, to first order.

    The effect of a cell on a character is the mean, over the positions, of the gradient of the
    character's log-probability by the cell, times the cell's standard deviation. The gradient of a
    logit differs from that of the log-probability by a number that all characters of a position
    share. It follows every path to the logits at the same character: for the top layer of a stacked
    LSTM it is that of output weight × output gate, as h = o * tanh(c). Where the cell value is
    tanh(h), the gradient is by h itself. Numbers have four significant digits.
    """
    # The effects (V, L, H). A gradient alone would favour cells that hardly move.
    written = characters_of(text)
    characters = list(written.values())
    gradients = output_gradients(states, list(written)).numpy()
    spreads = quantities(states).std(0, correction=0).numpy()
    effects = gradients * spreads

    # Cell by cell: the characters at either end of the order.
    cells = []
    for layer, recurrent in enumerate(states.network.recurrent_layers()):
        shown = recurrent.cell.shows
        for unit in range(spreads.shape[1]):
            of_cell = effects[:, layer, unit]
            ascending = []
            for place in np.argsort(of_cell, kind="stable").tolist():
                effect = rounded(float(of_cell[place]))
                ascending.append(CharacterEffect(character=characters[place], effect=effect))
            # An effect of 0 promotes nothing and suppresses nothing.
            promoted = [one for one in reversed(ascending) if one.effect > 0]
            suppressed = [one for one in ascending if one.effect < 0]
            found = CellOutputs(
                layer=layer,
                unit=unit,
                quantity="h" if shown == "tanh(h)" else shown,
                spread=rounded(float(spreads[layer, unit])),
                num_positions=len(states),
                promoted=tuple(promoted[:num_characters]),
                suppressed=tuple(suppressed[:num_characters]),
            )
            cells.append(found)
    return tuple(cells)


def quantities(states: SampledStates) -> Tensor:
    """Return what the gradients are taken by, (n, L, H): the cell values or, where these are
    tanh(h), the outputs h."""
    is_output = [layer.cell.shows == "tanh(h)" for layer in states.network.recurrent_layers()]
    return torch.where(torch.tensor(is_output)[:, None], states.outputs, states.values)


def output_gradients(states: SampledStates, ids: list[int]) -> Tensor:
    """Compute the mean gradients (V, L, H) of the log-probabilities of some ids by the `quantities`
    of all cells."""
    network = states.network
    layers = network.recurrent_layers()
    # One shift for all positions: its gradient is the sum of theirs.
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

        # Logits are linear in the features: of many characters, the gradients are those of the H
        # features, weighted.
        if len(ids) <= network.hidden_size:
            of_logits = torch.stack([by_shifts(weight[id] @ mean) for id in ids])
        else:
            of_features = torch.stack([by_shifts(feature) for feature in mean])
            of_logits = torch.einsum("vh,hlk->vlk", weight[ids], of_features)
        return of_logits - by_shifts(shared)


def _shifting(layer: RecurrentLayer, shift: Tensor) -> Ops[Tensor]:
    """Return the functions of torch, with `shift` (H,), which must be zero, added to h, or to
    tanh(c) if there is a c.

    Where tanh(c) is nearly 1 its derivative vanishes, so the shift is added after the tanh. What
    else reads c, as a peephole does, reads a c that is shifted by as much as corresponds.
    """
    has_memory = layer.cell.shows == "tanh(c)"
    # What `clamp` returned and what it was given, by the identity of the former, which stays taken
    # as long as the tensor is kept here.
    shifted: dict[int, tuple[Tensor, Tensor]] = {}
    num_calls = 0

    def clamp(memory: Tensor) -> Tensor:
        nonlocal num_calls
        num_calls += 1
        if not has_memory:
            # With zoneout there is a second call per step, for a memory that moved 1 - zoneout of
            # the way already.
            if layer.zoneout > 0 and num_calls % 2 == 0:
                return memory + layer.zoneout * shift
            return memory + shift

        # By how much c moves if tanh(c) does.
        slope = (1 - memory.detach().tanh() ** 2).clamp(min=LEAST_SLOPE)
        moved = memory + shift / slope
        shifted[id(moved)] = moved, memory
        return moved

    def tanh(x: Tensor) -> Tensor:
        # Only that of a memory is shifted, not that of a candidate.
        if id(x) not in shifted:
            return x.tanh()
        _, memory = shifted[id(x)]
        return memory.tanh() + shift

    return replace(torch_ops(), clamp=clamp, tanh=tanh)


def effects_text(effects: Sequence[CharacterEffect]) -> str:
    """Return the first NUM_EFFECTS characters with their effects."""
    shown = []
    for one in effects[:NUM_EFFECTS]:
        shown.append(f"{quoted_character(one.character)} {one.effect:+.2f}")
    return "  ".join(shown) or "nothing"


def page_parts(outputs: CellOutputs) -> Iterator[PagePart]:
    """Yield what an exported page shows: the effects, from the most promoted to the most suppressed
    character."""
    # Suppressed characters are kept with the strongest first, which is the end of the bars.
    effects = (*outputs.promoted, *reversed(outputs.suppressed))
    yield PagePart(
        title="Characters that it promotes and suppresses",
        about=ABOUT_PROMOTED,
        draw_as="bars",
        content=[(one.character, one.effect) for one in effects],
    )


def summary(found: CellOutputs) -> dict[str, str]:
    """Return the lines of a cell in the summary of its page."""
    return {
        "promotes": effects_text(found.promoted),
        "suppresses": effects_text(found.suppressed),
        "": UNIT_OF_EFFECTS,
    }


SECTION = CellSection(
    "outputs",
    message="measuring what it writes",
    measure=CellAnalysis.outputs_of,
    place=40,
    parts=page_parts,
    measure_all=outputs,
    summary=summary,
)
"""The section of the page of a cell."""
