"""Several networks that predict together, in torch: what `generation.mixture` is in NumPy, for measuring losses.

Shapes: T time, B batch, V vocabulary, N values of all states, M networks.
"""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from charrnn.model.network import CharRNN
from charrnn.text.vocab import CommonAlphabet


class MixedNetwork(nn.Module):
    """Maps ids (T, B) and a state (1, 1, B, N) to the logarithms of mixed probabilities (T, B, V), and a new state.

    Ids and probabilities are those of the common alphabet: those of each network are normalized over its characters.
    """

    def __init__(
        self, networks: Sequence[CharRNN], alphabet: CommonAlphabet, weights: Sequence[float], mode: str
    ) -> None:
        """Mix `networks` (M) with `weights` (M), all positive with the sum 1. `mode` is that of `charrnn.mix`."""
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self._own = list(networks)
        self._is_product, self._weights = mode == "product", [float(weight) for weight in weights]
        self.vocab_size = len(alphabet.vocab)
        for index, places in enumerate(alphabet.places):
            self.register_buffer(f"places_{index}", torch.from_numpy(places))
        end = networks[0].end_id
        self.end_id = None if end is None else alphabet.places[0].tolist().index(end)
        self._shapes = [tuple(network.initial_state(1).shape) for network in networks]

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return self._own[0].device

    def initial_state(self, batch_size: int) -> Tensor:
        """Return the initial states of all networks as one tensor (1, 1, B, N)."""
        return self._pack([network.initial_state(batch_size) for network in self._own])

    def forward(self, ids: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Read ids (T, B) with every network, and mix what they predict, in float32."""
        scores, states = [], []
        for index, (network, own) in enumerate(zip(self._own, self._unpack(state), strict=True)):
            places = self.get_buffer(f"places_{index}")
            logits, after = network(places[ids], own)
            scores.append(logits.float()[..., places].log_softmax(-1))
            states.append(after)
        if self._is_product:
            mixed = sum(
                (weight * one for weight, one in zip(self._weights[1:], scores[1:], strict=True)),
                start=self._weights[0] * scores[0],
            )
        else:
            logs = torch.tensor(self._weights, device=ids.device, dtype=torch.float64).log().float()
            mixed = (torch.stack(scores, -1) + logs).logsumexp(-1)
        return mixed, self._pack(states)

    def _pack(self, states: Sequence[Tensor]) -> Tensor:
        return torch.cat([state.movedim(2, 0).flatten(1) for state in states], dim=1)[None, None]

    def _unpack(self, state: Tensor) -> list[Tensor]:
        parts = torch.split(state[0, 0], [prod(shape) for shape in self._shapes], dim=1)
        return [
            part.reshape(-1, shape[0], shape[1], shape[3]).movedim(0, 2).contiguous()
            for part, shape in zip(parts, self._shapes, strict=True)
        ]
