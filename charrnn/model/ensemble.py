"""Several networks that are trained side by side and predict together, and the one network that
they are.

Their logits are averaged, a product of experts (Hinton 2002): what one of them learned by heart,
the others do not know. A network of M times the units computes just that, if its weights are block
diagonal and its output weights are those of the M networks, divided by M. So a model file contains
that network, which every command reads as any other.

Shapes: M networks, H and E the units and the embedding of one, G blocks, T time, B batch, V
vocabulary; state as in `model.network`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from charrnn.config.settings import Config, config_of_member, resolved
from charrnn.errors import UsageError, named
from charrnn.model.cell_type_registry import cell_type
from charrnn.model.depths import DEPTHS
from charrnn.model.network import CharRNN
from charrnn.model.noise import Noise
from charrnn.model.recurrent_state import RecurrentState
from charrnn.model.shapes import weight_shapes


def check_ensemble(config: Config) -> None:
    """Raise UsageError if `num_members` does not fit the cell or the sizes of a configuration that
    is resolved."""
    members = config.num_networks
    for name in ("hidden_size", "embedding_size"):
        size = getattr(config, name)
        if size != "one-hot" and resolved(size) % members:
            raise UsageError(
                f"{named(name)} is {size}; {named('num_members', members)} needs a multiple of"
                f" {members}."
            )
    if members > 1 and not can_join(
        config,
        members=members,
        size=resolved(config.hidden_size) // members,
    ):
        raise UsageError(
            f"{named('num_members')} is {members}, but networks of the cell {config.cell} and the"
            f" depth {config.depth} do not make up one of {config.hidden_size} units. Use"
            f" {named('num_members', 1)}."
        )


def can_join(config: Config, members: int, size: int) -> bool:
    """Return whether networks of `size` units side by side are one network of all their units.

    Not if the cell permutes units or has a matrix whose rank does not grow with them, nor for a
    cell of another package, whose equations may mix units in other ways, nor with one attention
    head for all units.
    """
    # What is known without looking at the weights.
    cell = cell_type(config.cell)
    if DEPTHS[config.depth].span > 0 or not cell.__module__.startswith("charrnn."):
        return False

    # Further parameters must grow with the units along every axis.
    of_one = cell.extras(size)
    for name, (shape, kind) in cell.extras(members * size).items():
        joined_shape = tuple(members * length for length in of_one[name][0])
        if kind == "permutation" or shape != joined_shape:
            return False
    return True


class Ensemble(nn.Module):
    """M networks of one configuration with weights of different seeds.

    Their states are side by side: (L, S, B, M * H).
    """

    def __init__(self, config: Config, vocab_size: int) -> None:
        """Build the networks. Raises UsageError for a cell or sizes that cannot be divided among
        them."""
        super().__init__()
        check_ensemble(config)
        self.config = config
        self.members = nn.ModuleList(
            CharRNN(config_of_member(config, index), vocab_size)
            for index in range(config.num_networks)
        )

    @property
    def networks(self) -> list[CharRNN]:
        """The networks, each with parameters of its own."""
        return list(self.members)  # type: ignore[arg-type]  # ModuleList has no element type

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.networks[0].device

    @property
    def vocab_size(self) -> int:
        """V: characters of the alphabet."""
        return self.networks[0].vocab_size

    @property
    def end_id(self) -> int | None:
        """The id of END, which resets the state; None without documents."""
        return self.networks[0].end_id

    def initial_state(self, batch_size: int) -> RecurrentState[Tensor]:
        """Return the initial states (L, S, B, M * H) of a text."""
        return _side_by_side([network.initial_state(batch_size) for network in self.networks])

    def forward(
        self,
        ids: Tensor,
        state: RecurrentState[Tensor],
        noise: Noise | None = None,
        ops: None = None,
    ) -> tuple[Tensor, RecurrentState[Tensor]]:
        """Map ids (T, B) and a state to the mean logits (T, B, V) and the state after the last
        character.

        With `noise`, each network draws masks of its own, and the logits of all are returned, (T, M
        * B, V): those of the first network first. It takes no `ops`, as a network does: `omega` is
        refused with several.
        """
        # Each network reads its own part of the state.
        logits = []
        states = []
        parts = state.vectors.chunk(len(self.networks), dim=-1)
        for network, vectors in zip(self.networks, parts, strict=True):
            own_noise = None if noise is None else noise.another()
            own_logits, own_state = network(
                ids,
                state=RecurrentState(vectors),
                noise=own_noise,
            )
            logits.append(own_logits)
            states.append(own_state)

        # In training each network has a loss of its own, else they would learn to share the work.
        if noise is None:
            return torch.stack(logits).mean(0), _side_by_side(states)
        return torch.cat(logits, dim=1), _side_by_side(states)


def _side_by_side(states: Sequence[RecurrentState[Tensor]]) -> RecurrentState[Tensor]:
    """Join the states of networks that read the same text."""
    return RecurrentState(torch.cat([state.vectors for state in states], dim=-1))


TrainedNetwork: TypeAlias = CharRNN | Ensemble


def networks_of(network: TrainedNetwork) -> list[CharRNN]:
    """Return the networks of an ensemble, or the network that is alone."""
    return network.networks if isinstance(network, Ensemble) else [network]


def build_network(config: Config, vocab_size: int) -> TrainedNetwork:
    """Build what `config.num_members` asks for."""
    return CharRNN(config, vocab_size) if config.num_networks == 1 else Ensemble(config, vocab_size)


def numpy_tensors(tensors: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
    """Return copies of tensors as float32 arrays."""
    return {
        name: value.detach().float().cpu().contiguous().numpy().copy()
        for name, value in tensors.items()
    }


def tensors_of(network: TrainedNetwork) -> dict[str, NDArray[Any]]:
    """Return copies of the weights of a network, or of the one network that an ensemble is."""
    if not isinstance(network, Ensemble):
        return numpy_tensors(network.state_dict())

    size = network.networks[0].hidden_size
    members = [numpy_tensors(member.state_dict()) for member in network.networks]
    joined = {}
    for name, shape in weight_shapes(network.config, network.vocab_size).items():
        parts = [member[name] for member in members]
        if name == "output.weight":
            joined[name] = np.concatenate(parts, axis=1) / np.float32(len(parts))
        elif name == "output.bias":
            joined[name] = np.mean(parts, axis=0)
        elif len(parts[0]) == shape[0]:  # an embedding (V, E), a learned state (L, S, H)
            joined[name] = np.concatenate(parts, axis=-1)
        else:
            joined[name] = _join_rows(parts, shape=shape, size=size)
    return joined


def _join_rows(parts: Sequence[NDArray[Any]], shape: tuple[int, ...], size: int) -> NDArray[Any]:
    """Join a weight or bias of M networks of `size` units to one of that shape.

    Its rows (G * H, ...) are G blocks, each of which has the rows of every network.
    """
    # The blocks of each: one per gate, or one in all where the rows are not units.
    num_rows = len(parts[0])
    num_blocks = num_rows // size if num_rows % size == 0 else 1
    matrices = [part.reshape(num_blocks, num_rows // num_blocks, -1) for part in parts]
    num_columns = matrices[0].shape[2]
    num_joined_columns = shape[1] if len(shape) == 2 else 1
    joined = np.zeros(
        (num_blocks, len(parts), num_rows // num_blocks, num_joined_columns), parts[0].dtype
    )

    # Zeros stay where units of one network would read those of another.
    for index, matrix in enumerate(matrices):
        # All networks read the columns of a bias and of one-hot characters, and each reads units of
        # its own.
        begin = 0 if num_columns == num_joined_columns else index * num_columns
        joined[:, index, :, begin : begin + num_columns] = matrix
    return joined.reshape(shape)
