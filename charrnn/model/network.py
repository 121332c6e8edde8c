"""The character model: embedding, stacked recurrent layers, output.

Shapes: T time, B batch, V vocabulary, E embedding, H hidden, L layers, S state vectors per layer (2 for an LSTM: h and
c; else 1: h). Everything is time-major, and the recurrent state is one explicit tensor (L, S, B, H).
"""

import torch
from torch import Generator, Tensor, nn

from charrnn.config import Config, resolved
from charrnn.model.cells import CELL_TYPES, RecurrentLayer


class CharRNN(nn.Module):
    """A character-level recurrent language model.

    Parameters are named as `torch.nn` names them: `embedding.weight` (V, E), `layers.i.weight_ih_l0` (G*H, E or H),
    `layers.i.weight_hh_l0` (G*H, H), `layers.i.bias_ih_l0`, `layers.i.bias_hh_l0` (G*H,), `output.weight` (V, H),
    `output.bias` (V,); gate order i, f, g, o for the LSTM and r, z, n for the GRU.
    """

    def __init__(self, config: Config, vocab_size: int) -> None:
        """Build the network of a resolved configuration and draw its weights from `config.seed`."""
        super().__init__()
        hidden_size, embedding_size = resolved(config.hidden_size), resolved(config.embedding_size)
        self.dropout = float(config.dropout)
        cell = CELL_TYPES[config.cell]
        # Without their own drawing, which would take numbers from torch's global generator.
        self.embedding: nn.Embedding = nn.utils.skip_init(nn.Embedding, vocab_size, embedding_size)  # type: ignore[no-untyped-call]
        self.layers = nn.ModuleList(
            cell(embedding_size if index == 0 else hidden_size, hidden_size)
            for index in range(resolved(config.num_layers))
        )
        self.output: nn.Linear = nn.utils.skip_init(nn.Linear, hidden_size, vocab_size)  # type: ignore[no-untyped-call]
        self._draw_weights(config.seed, config.forget_bias)

    def _draw_weights(self, seed: int, forget_bias: float) -> None:
        generator = torch.Generator().manual_seed(seed)
        nn.init.normal_(self.embedding.weight, std=self.embedding.embedding_dim**-0.5, generator=generator)
        for layer in self.recurrent_layers():
            layer.draw_weights(generator, forget_bias)
        nn.init.xavier_uniform_(self.output.weight, generator=generator)
        nn.init.zeros_(self.output.bias)

    def recurrent_layers(self) -> list[RecurrentLayer]:
        """The layers, first to last."""
        return list(self.layers)  # type: ignore[arg-type]  # ModuleList forgets what it holds

    @property
    def hidden_size(self) -> int:
        """H."""
        return self.recurrent_layers()[0].hidden_size

    @property
    def num_parameters(self) -> int:
        """How many numbers are learned."""
        return sum(parameter.numel() for parameter in self.parameters())

    def initial_state(self, batch_size: int) -> Tensor:
        """The zero state (L, S, B, H)."""
        layers = self.recurrent_layers()
        weight = self.output.weight
        return weight.new_zeros(len(layers), layers[0].num_states, batch_size, self.hidden_size)

    def forward(self, ids: Tensor, state: Tensor, dropout: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Map ids (T, B) and a state (L, S, B, H) to logits (T, B, V) and the state after the last character.

        With a `dropout` generator, each layer's output is multiplied by a mask (B, H) that stays the same for all T
        characters (variational dropout: Gal & Ghahramani 2016); without one, nothing is dropped.
        """
        inputs = self.embedding(ids)
        new_state = []
        for layer, layer_state in zip(self.recurrent_layers(), state, strict=True):
            inputs, last = layer(inputs, layer_state)
            new_state.append(last)
            if dropout is not None and self.dropout > 0:
                inputs = inputs * self._mask(inputs, dropout)
        return self.output(inputs), torch.stack(new_state).to(state.dtype)

    def trace(self, ids: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Like `forward`, with what is inside: logits (T, B, V), cells and hidden (T, B, L, H), and the last state."""
        inputs = self.embedding(ids)
        all_cells, all_hidden, new_state = [], [], []
        for layer, layer_state in zip(self.recurrent_layers(), state, strict=True):
            inputs, cells, last = layer.trace(inputs, layer_state)
            all_cells.append(cells)
            all_hidden.append(inputs)
            new_state.append(last)
        state = torch.stack(new_state).to(state.dtype)
        return self.output(inputs), torch.stack(all_cells, dim=2), torch.stack(all_hidden, dim=2), state

    def _mask(self, inputs: Tensor, generator: Generator) -> Tensor:
        kept = torch.empty(inputs.shape[1:]).bernoulli_(1 - self.dropout, generator=generator)
        return (kept / (1 - self.dropout)).to(inputs)


def load_network(config: Config, vocab_size: int, tensors: dict[str, Tensor]) -> CharRNN:
    """Build the network of `config` with the saved weights `tensors`.

    Raises RuntimeError (from torch) where names or shapes differ; what is loaded was verified before.
    """
    network = CharRNN(config, vocab_size)
    network.load_state_dict(tensors)
    return network
