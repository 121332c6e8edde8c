"""What a cell does to the prediction of the next character: to first order, and measured with the cell clamped.

Shapes: n positions, V characters, L and H as in `model.network`, B lanes, T time.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charrnn.cells.ablation import clamping
from charrnn.cells.sampled_states import SampledStates, characters_of
from charrnn.errors import DataError, named
from charrnn.lab.cell_effects_records import CellOutputs, CharacterEffect, ClampedCharacter, ClampedPrediction
from charrnn.lab.effects_json import rounded
from charrnn.model.cells import Ops
from charrnn.model.layer import TORCH, RecurrentLayer
from charrnn.model.network import CharRNN
from charrnn.model.reading import read_in_lanes
from charrnn.text.encoded import EncodedText

NUM_CHARACTERS = 8
"""Promoted characters that are kept, and suppressed ones."""
LOW, HIGH = 0.02, 0.98
"""Quantiles of a cell's values at which it is clamped."""
CHARS_CLAMPED = 8_192
"""Characters that are predicted with the cell clamped, at most."""
LEAST_SLOPE = 1e-12
"""Smallest derivative of tanh(c) by c that another quantity than tanh(c) itself is divided by."""


def rank_characters(
    states: SampledStates, text: EncodedText, num_characters: int = NUM_CHARACTERS
) -> tuple[CellOutputs, ...]:
    """Find the characters of a text that every cell promotes and suppresses most, to first order.

    The effect of a cell on a character is the mean, over the positions, of the gradient of the character's
    log-probability by the cell, times the cell's standard deviation. The gradient of a logit differs from that of the
    log-probability by a number that all characters of a position share. It follows every path to the logits at the
    same character: for the top layer of a stacked LSTM it is that of output weight × output gate, as h = o * tanh(c).
    Where the cell value is tanh(h), the gradient is by h itself. Numbers have four significant digits.
    """
    written = characters_of(text)
    names = list(written.values())
    gradients = output_gradients(states, list(written)).numpy()
    spreads = quantities(states).std(0, correction=0).numpy()
    found = []
    for layer, recurrent in enumerate(states.network.recurrent_layers()):
        for unit in range(spreads.shape[1]):
            effects = gradients[:, layer, unit] * spreads[layer, unit]
            order = np.argsort(effects, kind="stable")
            ranked = [(names[place], rounded(float(effects[place]))) for place in order]
            found.append(
                CellOutputs(
                    layer=layer,
                    unit=unit,
                    quantity=_quantity(recurrent),
                    spread=rounded(float(spreads[layer, unit])),
                    num_positions=len(states),
                    promoted=_effects([pair for pair in ranked[::-1] if pair[1] > 0][:num_characters]),
                    suppressed=_effects([pair for pair in ranked if pair[1] < 0][:num_characters]),
                )
            )
    return tuple(found)


def quantities(states: SampledStates) -> Tensor:
    """Return what the gradients are taken by, (n, L, H): the cell values or, where these are tanh(h), the outputs h."""
    layers = states.network.recurrent_layers()
    parts = [
        (states.outputs if layer.cell.shows == "tanh(h)" else states.values)[:, index]
        for index, layer in enumerate(layers)
    ]
    return torch.stack(parts, dim=1)


def output_gradients(states: SampledStates, ids: list[int]) -> Tensor:
    """Compute the mean gradients (V, L, H) of the log-probabilities of some ids by the `quantities` of all cells."""
    network = states.network
    layers = network.recurrent_layers()
    # One shift for all positions: its gradient is the sum of theirs.
    shifts = [states.before.new_zeros(network.hidden_size).requires_grad_() for _ in layers]
    ops = {index: _shifting(layer, shift) for index, (layer, shift) in enumerate(zip(layers, shifts, strict=True))}
    weight = network.output.weight.detach()
    with torch.enable_grad():
        features, _ = network.features(states.ids, states.before, ops=ops)
        mean = features[0].mean(0)
        shared = network.output(features[0]).logsumexp(-1).mean()

        def by_shifts(total: Tensor) -> Tensor:
            return torch.stack(torch.autograd.grad(total, shifts, retain_graph=True))

        # Logits are linear in the features: of many characters, the gradients are those of the H features, weighted.
        if len(ids) <= network.hidden_size:
            of_logits = torch.stack([by_shifts(weight[id] @ mean) for id in ids])
        else:
            of_logits = torch.einsum("vh,hlk->vlk", weight[ids], torch.stack([by_shifts(one) for one in mean]))
        return of_logits - by_shifts(shared)


def _shifting(layer: RecurrentLayer, shift: Tensor) -> Ops[Tensor]:
    """`TORCH`, with `shift` (H,) added to h, or to tanh(c) of a cell type with a memory c. It must be zero.

    Where tanh(c) is nearly 1 its derivative vanishes, so the shift is added after the tanh. What else reads c, as a
    peephole does, reads a c that is shifted by as much as corresponds.
    """
    has_memory = layer.cell.shows == "tanh(c)"
    shifted: dict[int, tuple[Tensor, Tensor]] = {}
    num_calls = 0

    def clamp(memory: Tensor) -> Tensor:
        nonlocal num_calls
        num_calls += 1
        if not has_memory:
            # With zoneout there is a second call per step, for a memory that moved 1 - zoneout of the way already.
            is_second = layer.zoneout > 0 and num_calls % 2 == 0
            return memory + (layer.zoneout if is_second else 1) * shift
        slope = (1 - memory.detach().tanh() ** 2).clamp(min=LEAST_SLOPE)
        moved = memory + shift / slope
        shifted[id(moved)] = moved, memory
        return moved

    def tanh(x: Tensor) -> Tensor:
        found = shifted.get(id(x))
        return x.tanh() if found is None else found[1].tanh() + shift

    return replace(TORCH, clamp=clamp, tanh=tanh)


@torch.inference_mode()
def measure_clamped(
    network: CharRNN,
    text: EncodedText,
    layer: int,
    unit: int,
    low: float,
    high: float,
    on_progress: Callable[[int], object] = lambda num_chars: None,
) -> ClampedPrediction:
    """Measure how the predictions in a text change while a cell is clamped at the values `low` and `high`.

    The text is read three times, as for an ablation (`cells.ablation`); `on_progress` is called with the number of
    characters read since its last call. Raises DataError for a text under 2 characters.
    """
    if len(text) < 2:
        raise DataError(f"The text has 1 character; clamping a cell needs at least 2. Give a longer {named('text')}.")
    cell = network.recurrent_layers()[layer].cell
    ways = [{layer: TORCH}, *({layer: clamping(unit, cell.memory(value))} for value in (low, high))]
    num_chars = len(text) - 1
    size = network.output.out_features
    probabilities, losses, divergences = np.zeros((3, size)), np.zeros(3), np.zeros(3)

    def step(inputs: Tensor, state: Tensor) -> tuple[list[Tensor], Tensor]:
        # The three readings share a tensor for their states: (L, 3 S, B, H).
        read = [network(inputs, part, ops=ops) for part, ops in zip(state.chunk(3, dim=1), ways, strict=True)]
        logprobs = [logits.double().log_softmax(-1) for logits, _ in read]
        return logprobs, torch.cat([part for _, part in read], dim=1)

    def initial_state(num_lanes: int) -> Tensor:
        return network.initial_state(num_lanes).repeat(1, 3, 1, 1)

    for positions, logprobs in read_in_lanes(step, initial_state, text.ids, text.first):
        is_scored = torch.from_numpy(positions < len(text.ids) - 1)
        following = torch.from_numpy(text.ids[np.minimum(positions + 1, len(text.ids) - 1)].astype(np.int64))
        free = logprobs[0][is_scored]
        for way, one in enumerate(logprobs):
            scored = one[is_scored]
            probabilities[way] += scored.exp().sum(0).numpy()
            losses[way] -= float(scored.gather(-1, following[is_scored][:, None]).sum())
            divergences[way] += float((free.exp() * (free - scored)).sum())
        on_progress(int((positions < len(text.ids)).sum()))
    probabilities, losses, divergences = probabilities / num_chars, losses / num_chars, divergences / num_chars
    written = characters_of(text)
    most = sorted(written, key=lambda id: -abs(probabilities[2, id] - probabilities[1, id]))[:NUM_CHARACTERS]
    return ClampedPrediction(
        low=low,
        high=high,
        num_chars=num_chars,
        loss_free=float(losses[0]),
        loss_low=float(losses[1]),
        loss_high=float(losses[2]),
        divergence_low=float(divergences[1]),
        divergence_high=float(divergences[2]),
        characters=tuple(
            ClampedCharacter(character=written[id], free=free, low=at_low, high=at_high)
            for id, (free, at_low, at_high) in zip(most, probabilities[:, most].T.tolist(), strict=True)
        ),
    )


def percentiles(values: NDArray[np.float32]) -> tuple[float, float]:
    """Return the 2nd and the 98th percentile of a cell's values (N,)."""
    low, high = np.quantile(values, [LOW, HIGH]).tolist()
    return low, high


def _quantity(layer: RecurrentLayer) -> str:
    return "h" if layer.cell.shows == "tanh(h)" else layer.cell.shows


def _effects(ranked: list[tuple[str, float]]) -> tuple[CharacterEffect, ...]:
    return tuple(CharacterEffect(character=character, effect=effect) for character, effect in ranked)
