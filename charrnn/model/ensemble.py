"""Train several networks side by side that predict together, and join them to one network.

Their logits are averaged, which is a product of experts (Hinton 2002): a passage that one network
has learned by heart is unknown to the others. The average is exactly what a single network of M
times the units computes, if its weights are block diagonal and its output weights are the output
weights of the M networks, divided by M. So a checkpoint contains this single network, which every
command reads like any other network.

Shapes: M networks, H units and E entries of the embedding per network, G blocks, T time, B batch, V
vocabulary; the state is as in `model.network`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

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
from charrnn.model.shapes import weight_shapes


def check_ensemble(config: Config) -> None:
    """Raise UsageError if `num_members` does not fit the cell type or the sizes of a resolved
    configuration.

    It is asked when the settings are complete; `can_join` is about the networks that `auto` might
    train.
    """
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
            f"{named('num_members')} is {members}, but networks of the cell type"
            f" {config.cell_type} and the depth {config.depth} do not make up one of"
            f" {config.hidden_size} units. Use {named('num_members', 1)}."
        )


def can_join(config: Config, members: int, size: int) -> bool:
    """Whether networks of `size` units can be joined to a single network with all their units.

    Networks that were trained side by side are saved as one, which every part of the package then
    reads; those that cannot be joined are never trained by `auto`.

    They cannot if the cell permutes units or has a matrix whose rank does not grow with their
    number, if the cell is of another package, whose equations may mix units in other ways, or if
    one attention head reads all units.
    """
    # First check the depth and the origin of the cell type.
    cell = cell_type(config.cell_type)
    if DEPTHS[config.depth].span > 0 or not cell.__module__.startswith("charrnn."):
        return False

    # The other parameters must grow with the number of units along every axis.
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

    def __init__(self, config: Config, vocab_size: int):
        """Build the networks. Raises UsageError for a cell or sizes that cannot be divided among
        them."""
        super().__init__()
        check_ensemble(config)
        self.config = config
        self.vocab_size = vocab_size
        """V: characters of the alphabet."""
        self.end_id = config.end_id
        """The id of END, which resets the state; None without documents."""
        self.members = nn.ModuleList(
            CharRNN(config_of_member(config, index), vocab_size)
            for index in range(config.num_networks)
        )

    @property
    def networks(self) -> list[CharRNN]:
        """The networks, each with its own parameters."""
        return list(self.members)  # type: ignore[arg-type]  # ModuleList has no element type

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.networks[0].device

    def initial_state(self, batch_size: int) -> Tensor:
        """Return the initial states (L, S, B, M * H) of a text."""
        states = [network.initial_state(batch_size) for network in self.networks]
        return torch.cat(states, dim=-1)

    def forward(
        self,
        ids: Tensor,
        state: Tensor,
        noise: Noise | None = None,
        ops: None = None,
    ) -> tuple[Tensor, Tensor]:
        """Map ids (T, B) and a state to the mean logits (T, B, V) and the state after the last
        character.

        With `noise`, each network draws its own masks, and the logits (T, M * B, V) of all networks
        are returned, starting with the first network. Unlike `CharRNN`, it takes no `ops`, because
        `omega` excludes several networks.
        """
        # Each network reads its own part of the state.
        logits = []
        states = []
        states_before = state.chunk(len(self.networks), dim=-1)
        for network, own_before in zip(self.networks, states_before, strict=True):
            own_noise = None if noise is None else noise.another()
            own_logits, own_state = network(
                ids,
                state=own_before,
                noise=own_noise,
            )
            logits.append(own_logits)
            states.append(own_state)

        # In training each network has its own loss: with the loss of the mean, the networks would
        # learn to share the work.
        if noise is None:
            return torch.stack(logits).mean(0), torch.cat(states, dim=-1)
        return torch.cat(logits, dim=1), torch.cat(states, dim=-1)


TrainedNetwork = CharRNN | Ensemble


def networks_of(network: TrainedNetwork) -> list[CharRNN]:
    """Return the networks of an ensemble, or a list with the single network: what reads weights or
    layers then needs no case for each."""
    return network.networks if isinstance(network, Ensemble) else [network]


def build_network(config: Config, vocab_size: int) -> TrainedNetwork:
    """Build a network, or an ensemble of `config.num_members` networks.

    It builds what is trained, with new weights. `network.load_network` builds what was saved, and
    knows no ensemble.
    """
    return CharRNN(config, vocab_size) if config.num_networks == 1 else Ensemble(config, vocab_size)


def numpy_tensors(tensors: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
    """Return copies of tensors as float32 arrays.

    A checkpoint is written from copies, while the next step changes the weights.
    """
    return {
        name: value.detach().float().cpu().contiguous().numpy().copy()
        for name, value in tensors.items()
    }


def tensors_of(network: TrainedNetwork) -> dict[str, NDArray[Any]]:
    """Return copies of the weights of a network, or of the one network that an ensemble is.

    It has the names of `model.safetensors`, also for an ensemble, whose networks have the same
    names otherwise.
    """
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
    """Join a weight or bias of M networks of `size` units to a single array of that shape.

    Its rows (G * H, ...) are G blocks, each of which contains the rows of every network.
    """
    # Divide each array into a block per gate, or into a single block if the rows are not units.
    num_rows = len(parts[0])
    num_blocks = num_rows // size if num_rows % size == 0 else 1
    matrices = [array.reshape(num_blocks, num_rows // num_blocks, -1) for array in parts]
    num_columns = matrices[0].shape[2]
    num_joined_columns = shape[1] if len(shape) == 2 else 1
    joined = np.zeros(
        (num_blocks, len(parts), num_rows // num_blocks, num_joined_columns), parts[0].dtype
    )

    # Zeros remain where units of one network would read units of another network.
    for index, matrix in enumerate(matrices):
        # All networks share the columns of a bias and of one-hot characters; the other columns are
        # units, which each network has for itself.
        begin = 0 if num_columns == num_joined_columns else index * num_columns
        joined[:, index, :, begin : begin + num_columns] = matrix
    return joined.reshape(shape)
