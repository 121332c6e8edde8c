"""The language model: embedding, recurrent layers, output layer.

Shapes: T time, B batch, V vocabulary, E embedding (V for one-hot vectors), H hidden, L layers, S
state vectors per layer (those of its cell times the largest dilation, and `Depth.span` outputs).
Everything is time-major, and the recurrent state is passed in and returned.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from charrnn.config.settings import Auto, Config
from charrnn.model.cell_types import Ops
from charrnn.model.device import to_device
from charrnn.model.layer import RecurrentLayer
from charrnn.model.noise import Noise
from charrnn.model.reading import Fragments, cut
from charrnn.model.recurrent_state import RecurrentState, reset_rows
from charrnn.model.shapes import check_shapes, input_size_of
from charrnn.model.walk import Architecture

Traced = tuple[Tensor, Tensor, Tensor]
"""Logits (T, B, V), and the cell values and the outputs of all layers (T, B, L, H)."""
LayerOps = Mapping[int, Ops[Tensor]]
"""Layer index to the functions its equations use instead of `layer.TORCH`."""
HIGHWAY_BIAS = -1.0
"""Initial bias of a highway's transform gate: negative, so that it mostly carries (Srivastava
2015)."""


class Read(NamedTuple):
    """What a network computes from a window below its output layer."""

    features: Tensor
    """(T, B, H): what the output layer reads."""
    cells: Tensor | None
    """(T, B, L, H), if they are kept."""
    outputs: Tensor | None
    """(T, B, L, H), with the cells."""


class Predictor(Protocol):
    """What measuring a loss needs of a network: a `CharRNN`, or several that predict together."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""

    @property
    def vocab_size(self) -> int:
        """V."""

    @property
    def end_id(self) -> int | None:
        """The id of END, which resets the state; None without documents."""

    def initial_state(self, batch_size: int) -> Any:
        """Return the state before a text: a `RecurrentState`, or several in one."""

    def __call__(self, ids: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Map ids (T, B) and a state to logits (T, B, V) and the state after the last character."""


class CharRNN(nn.Module):
    """A character-level recurrent language model.

    `depth` chooses how a layer's outputs are joined with what it read (`model.depths`). With
    `sum_outputs` the output layer reads the sum of all layers instead of the last one.

    With `embedding_size: one-hot` there is no embedding: the first layer, or the projection below a
    grid, reads one-hot vectors, so that its product with them is a column of its weight.

    Parameters are named as `torch.nn` names them: `embedding.weight` (V, E),
    `layers.i.weight_ih_l0` (G*H, E or H), `layers.i.weight_hh_l0` (G*H, H), `layers.i.bias_ih_l0`,
    `layers.i.bias_hh_l0` (G*H,), `output.weight` (V, H), `output.bias` (V,); gate order i, f, g, o
    for the LSTM and r, z, n for the GRU; and for a highway `highways.i.weight` (H, H),
    `highways.i.bias` (H,), for a grid `bottom.weight` (2*H, E), `bottom.bias` (2*H,) and `grids.i`
    as `layers.i` of an LSTM, for attention `attentions.i.weight` (2*H, H), first of the query, then
    of the gate, and `attentions.i.bias` (2*H,); a learned initial state is `learned_state` (L, S,
    H).

    Reading END (`Config.end_id`) resets the state of its lane to the initial one, from which END is
    read, so nothing reaches a document from those before it.
    """

    def __init__(self, config: Config, vocab_size: int) -> None:
        """Build the network of a resolved configuration and draw its weights from `config.seed`."""
        super().__init__()

        # The sizes.
        network = Architecture.of(config)
        num_layers = network.num_layers
        hidden_size = network.hidden_size
        input_size = input_size_of(config, vocab_size)

        # What `forward` needs of the configuration. `auto` is allowed here: a network that is not
        # trained needs no dropout.
        self.dropout = _share(config.dropout)
        self.input_dropout = _share(config.input_dropout)
        self.depth = network.depth
        self.sum_outputs = config.sum_outputs
        self.end_id = config.end_id
        self._num_states = network.num_states
        self.kept_outputs = network.kept_outputs

        # How many modules the depth has between the layers.
        num_gates = num_layers - 1 if self.depth.has_gates else 0
        num_heads = num_layers if self.depth.span else 0
        num_grids = num_layers if self.depth.has_lstm else 0

        # The modules of torch. It initializes them from its global generator, which must not move:
        # `_draw_weights` overwrites what it drew. The order of the modules is that of the
        # parameters, which checkpoints and optimizers keep.
        with torch.random.fork_rng(devices=[]):
            self.embedding: nn.Embedding | None = None
            if config.embedding_size != "one-hot":
                self.embedding = nn.Embedding(vocab_size, input_size)
            self.highways = nn.ModuleList(
                nn.Linear(hidden_size, hidden_size) for _ in range(num_gates)
            )
            self.attentions = nn.ModuleList(
                nn.Linear(hidden_size, 2 * hidden_size) for _ in range(num_heads)
            )
            if self.depth.has_lstm:
                self.bottom = nn.Linear(input_size, 2 * hidden_size)
            self.output = nn.Linear(hidden_size, vocab_size)

        # The modules of this package, which only allocate their parameters. Below a grid there is a
        # projection, so that its first layer reads H numbers as all others do.
        self.layers = nn.ModuleList(
            RecurrentLayer(
                config.cell,
                input_size=hidden_size if index > 0 or self.depth.has_lstm else input_size,
                hidden_size=hidden_size,
                dilation=dilation,
                weight_drop=_share(config.weight_drop),
                zoneout=config.zoneout,
            )
            for index, dilation in enumerate(network.dilations)
        )
        self.grids = nn.ModuleList(
            RecurrentLayer("lstm", input_size=hidden_size, hidden_size=hidden_size)
            for _ in range(num_grids)
        )

        # Zeros begin like a state that is not learned.
        self.learned_state: nn.Parameter | None = None
        if config.initial_state == "learned":
            learned = torch.zeros(num_layers, network.num_states, hidden_size)
            self.learned_state = nn.Parameter(learned)
        self._draw_weights(config.seed, config.forget_bias)

    def _draw_weights(self, seed: int, forget_bias: float) -> None:
        """Draw all weights, in an order that must stay: each draw depends on those before it."""
        generator = torch.Generator().manual_seed(seed)

        # Below the layers: the entries of a vector of a character have a mean square of 1 / E.
        if self.embedding is not None:
            nn.init.normal_(
                self.embedding.weight,
                std=self.embedding.embedding_dim**-0.5,
                generator=generator,
            )

        # The layers, and what the depth has between them.
        for layer in self.recurrent_layers():
            layer.draw_weights(generator, forget_bias)
        for highway in self.highways:
            nn.init.xavier_uniform_(highway.get_parameter("weight"), generator=generator)
            nn.init.constant_(highway.get_parameter("bias"), HIGHWAY_BIAS)
        for attention in self.attentions:
            nn.init.xavier_uniform_(attention.get_parameter("weight"), generator=generator)
            nn.init.zeros_(attention.get_parameter("bias"))
        if self.depth.has_lstm:
            nn.init.xavier_uniform_(self.bottom.weight, generator=generator)
            nn.init.zeros_(self.bottom.bias)
        for grid in self.grid_layers():
            grid.draw_weights(generator, forget_bias)

        # Above the layers.
        nn.init.xavier_uniform_(self.output.weight, generator=generator)
        nn.init.zeros_(self.output.bias)

    def recurrent_layers(self) -> list[RecurrentLayer]:
        """List the layers, first to last."""
        return list(self.layers)  # type: ignore[arg-type]  # ModuleList has no element type

    def grid_layers(self) -> list[RecurrentLayer]:
        """List the layers of the LSTM along depth, first to last."""
        return list(self.grids)  # type: ignore[arg-type]

    @property
    def hidden_size(self) -> int:
        """H: units per layer."""
        return self.recurrent_layers()[0].hidden_size

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.output.weight.device

    @property
    def vocab_size(self) -> int:
        """V: characters of the alphabet."""
        return self.output.out_features

    @property
    def num_parameters(self) -> int:
        """Number of trained values."""
        return sum(parameter.numel() for parameter in self.parameters())

    def initial_state(self, batch_size: int) -> RecurrentState[Tensor]:
        """Return the initial state of a text: zero, or the learned one, with gradients."""
        if self.learned_state is None:
            shape = (len(self.layers), self._num_states, batch_size, self.hidden_size)
            return RecurrentState(self.output.weight.new_zeros(shape))
        return RecurrentState(self.learned_state.unsqueeze(2).repeat(1, 1, batch_size, 1))

    def forward(
        self,
        ids: Tensor,
        state: RecurrentState[Tensor],
        noise: Noise | None = None,
        ops: LayerOps | None = None,
    ) -> tuple[Tensor, RecurrentState[Tensor]]:
        """Map ids (T, B) and a state to logits (T, B, V) and the state after the last character.

        With `noise`, embeddings and the outputs of each layer are multiplied by masks (B, E) and
        (B, H), the same for all T characters (variational dropout: Gal & Ghahramani 2016), and the
        layers draw weight-drop and zoneout. Without one, nothing is dropped. Layers in `ops`
        compute their equations with these functions, which can clamp a unit or record gates; the
        others use their fastest implementation.
        """
        read, state = self.read_documents(
            ids,
            state=state,
            noise=noise,
            ops=ops,
        )
        return self.output(read.features), state

    def features(
        self, ids: Tensor, state: RecurrentState[Tensor], ops: LayerOps | None = None
    ) -> tuple[Tensor, Tensor]:
        """Compute what the output layer reads, (T, B, H), and logits (T, B, V). Arguments as for
        `forward`."""
        read, _ = self.read_documents(ids, state=state, ops=ops)
        return read.features, self.output(read.features)

    def trace(
        self, ids: Tensor, state: RecurrentState[Tensor], ops: LayerOps | None = None
    ) -> tuple[Traced, RecurrentState[Tensor]]:
        """Compute what `forward` does, and the cell values and outputs of all layers (T, B, L, H).

        Instead of ids, vectors (T, B, E) can be given, which need not be any character's; none of
        them is an END.
        """
        read, state = self.read_documents(
            ids,
            state=state,
            ops=ops,
            keeps_cells=True,
        )
        assert read.cells is not None and read.outputs is not None, "they are kept"
        return (self.output(read.features), read.cells, read.outputs), state

    def layer_inputs(
        self, ids: Tensor, state: RecurrentState[Tensor], outputs: Tensor
    ) -> list[Tensor]:
        """Compute what each layer reads, (T, B, E) or (T, B, H), from ids (T, B) and all outputs
        (T, B, L, H).

        The state is that before them.
        """
        below = self.vectors(ids)
        links = _Links(self, vectors=below, state=state.vectors)

        # The walk of `read_window`, with outputs that are known instead of computed.
        inputs = []
        for index, output in enumerate(outputs.unbind(2)):
            if links.along_depth is not None:
                below = links.along_depth[0]
            inputs.append(below)
            below = self.depth.join(
                links,
                layer=index,
                x=below,
                y=output,
            )
        return inputs

    def vectors(self, ids: Tensor) -> Tensor:
        """Return the vectors (T, B, E) of characters: embeddings, or one-hot."""
        if self.embedding is None:
            return nn.functional.one_hot(ids, self.output.out_features).to(self.output.weight.dtype)
        vectors: Tensor = self.embedding(ids)
        return vectors

    def read_documents(
        self,
        ids: Tensor,
        state: RecurrentState[Tensor],
        *,
        noise: Noise | None = None,
        ops: LayerOps | None = None,
        keeps_cells: bool = False,
    ) -> tuple[Read, RecurrentState[Tensor]]:
        """Read ids (T, B), where every END resets the state, or vectors (T, B, E).

        Returns what was read and the state. A window is divided into fragments, each of which
        begins with an END, the first character of its document, or with the window. They are read
        in pieces (`model.reading.cut`).
        """
        read_window = partial(self.read_window, noise=noise, ops=ops, keeps_cells=keeps_cells)

        # Most windows have no END, and are read in one piece.
        is_end = self._find_ends(ids)
        if is_end is None:
            if noise is not None and self.end_id is not None:
                # The rows of another process may have an END. It then draws by pieces, and no
                # process may draw from the common generator what another one does not.
                noise.start_piece(torch.arange(ids.shape[1]))
            return read_window(ids, state)

        def indices(values: NDArray[Any]) -> Tensor:
            return to_device(torch.from_numpy(values), ids.device)

        num_steps, num_lanes = is_end.shape
        fragments = Fragments.of(is_end)
        states = self._states_of_fragments(state, fragments=fragments, is_end=is_end)

        # Pieces of equal length are read side by side. Each continues from the rows of its
        # fragments, and leaves its last states there for the next piece.
        reads = []
        positions = []
        for piece in cut(fragments, num_lanes):
            where = indices(piece.positions)
            rows = indices(piece.fragments)
            if noise is not None:
                noise.start_piece(torch.from_numpy(fragments.lanes[piece.fragments]))
            read, last = read_window(
                ids.flatten()[where], states.map(partial(torch.index_select, dim=-2, index=rows))
            )
            reads.append(read)
            positions.append(where.flatten())
            states = states.map(partial(_replace_rows, rows), last)

        # The outputs are in the order of the pieces: sort them into that of the window.
        order = torch.cat(positions).argsort()

        def in_order(parts: Sequence[Tensor | None]) -> Tensor | None:
            pieces = [part.flatten(0, 1) for part in parts if part is not None]
            if not pieces:
                return None
            joined = torch.cat(pieces).index_select(0, order)
            return joined.view(num_steps, num_lanes, *joined.shape[1:])

        features, cells, outputs = map(in_order, zip(*reads, strict=True))
        assert features is not None

        # The state of a lane is that of its last fragment.
        last_of_lanes = indices(fragments.last_of_lanes)
        return (
            Read(
                features,
                cells=cells,
                outputs=outputs,
            ),
            states.map(partial(torch.index_select, dim=-2, index=last_of_lanes)),
        )

    def _states_of_fragments(
        self, state: RecurrentState[Tensor], fragments: Fragments, is_end: NDArray[np.bool_]
    ) -> RecurrentState[Tensor]:
        """Return the state from which each fragment is read, one row each: the initial one where it
        begins with an END, else that of its lane."""
        lanes = to_device(torch.from_numpy(fragments.lanes), self.device)
        begins_with_end = is_end[fragments.begins, fragments.lanes]
        return reset_rows(
            state.map(partial(torch.index_select, dim=-2, index=lanes)),
            initial=self.initial_state(len(fragments.lanes)),
            is_reset=to_device(torch.from_numpy(begins_with_end), self.device),
        )

    def _find_ends(self, ids: Tensor) -> NDArray[np.bool_] | None:
        """Return where ids (T, B) are END, each read from the initial state; None if nowhere."""
        if self.end_id is None or ids.is_floating_point():
            return None
        is_end: NDArray[np.bool_] = ids.eq(self.end_id).cpu().numpy()
        return is_end if is_end.any() else None

    def read_window(
        self,
        ids: Tensor,
        state: RecurrentState[Tensor],
        *,
        noise: Noise | None,
        ops: LayerOps | None,
        keeps_cells: bool,
    ) -> tuple[Read, RecurrentState[Tensor]]:
        """Read ids (T, B), or vectors (T, B, E), on from a state, without a reset."""
        # Below the first layer.
        is_vectors = ids.is_floating_point()
        drops_inputs = noise is not None and self.input_dropout > 0
        # Without input dropout, the first layer looks up its input products in a table of V rows.
        takes_ids = not (is_vectors or drops_inputs or self.depth.has_lstm)
        below = ids
        if not takes_ids and not is_vectors:
            below = _drop(self.vectors(ids), share=self.input_dropout, noise=noise)
        links = _Links(self, vectors=below, state=state.vectors)

        # Up the layers, each of which reads the whole window at once.
        all_cells = []
        all_outputs = []
        joined = []
        new_vectors = []
        layers = zip(self.recurrent_layers(), state.vectors, strict=True)
        for index, (layer, vectors) in enumerate(layers):
            used = vectors[: layer.cell.num_states * layer.dilation]
            if links.along_depth is not None:
                # A separate view for each use, so that gradients add up in the order of the layers.
                below = links.along_depth[0]

            table = None
            if takes_ids and index == 0 and self.embedding is not None:
                table = self.embedding.weight
            found = layer(
                below,
                used,
                embedding=table,
                noise=noise,
                ops=None if ops is None else ops.get(index),
                keeps_cells=keeps_cells,
            )
            all_cells.append(found.cells)
            all_outputs.append(found.outputs)

            dropped = _drop(found.outputs, share=self.dropout, noise=noise)
            below = self.depth.join(
                links,
                layer=index,
                x=below,
                y=dropped,
            )
            joined.append(below)

            # A layer with a smaller dilation than the last one leaves vectors unused.
            rest = vectors[len(used) + self.depth.span :]
            last = found.state.to(vectors.dtype)
            new_vectors.append(torch.cat((last, links.kept[index], rest)))

        # What the output layer reads.
        features = below
        if self.sum_outputs:
            features = sum(joined[1:], start=joined[0])
        read = Read(
            features,
            cells=None,
            outputs=None,
        )
        if keeps_cells:
            read = read._replace(
                cells=torch.stack(all_cells, dim=2),
                outputs=torch.stack(all_outputs, dim=2),
            )
        return read, RecurrentState(torch.stack(new_vectors))


def _replace_rows(rows: Tensor, part: Tensor, new: Tensor) -> Tensor:
    """Return a part of a state in which some rows are those of `new`."""
    return part.index_copy(-2, rows, new.to(part.dtype))


class _Links:
    """The weights of a network's depth in one pass over a window; see `model.depths.Links`."""

    def __init__(self, network: CharRNN, vectors: Tensor, state: Tensor) -> None:
        """Compute the initial state of the LSTM along depth, if there is one, from embeddings (T,
        B, E)."""
        self._network = network
        self.kept = list(state[:, network.kept_outputs])
        """The last outputs (span, B, H) of each layer."""
        self.along_depth: Tensor | None = None
        """State (2, T, B, H) of the LSTM along depth."""
        if network.depth.has_lstm:
            self.along_depth = torch.stack(network.bottom(vectors).chunk(2, dim=-1))

    def gate(self, layer: int, x: Tensor) -> Tensor:
        gate: Tensor = self._network.highways[layer - 1](x).sigmoid()
        return gate

    def climb(self, layer: int, x: Tensor) -> Tensor:
        assert self.along_depth is not None, "this depth has no LSTM"
        grid = self._network.grid_layers()[layer]

        # Along depth there is no time: all T * B characters are rows of one step.
        read = grid(x.flatten(0, 1).unsqueeze(0), self.along_depth.flatten(1, 2))
        along_depth: Tensor = read.state.view(self.along_depth.shape)
        self.along_depth = along_depth
        return along_depth[0]

    def attend(self, layer: int, y: Tensor) -> Tensor:
        query, gate = self._network.attentions[layer](y).chunk(2, dim=-1)
        span = self._network.depth.span

        # The outputs before the window are part of the state; its last ones become that part.
        past = torch.cat((self.kept[layer].to(y.dtype), y))
        self.kept[layer] = past[-span:].to(self.kept[layer].dtype)

        # Blocks of `span` characters: a mask for a whole window would grow with the square of its
        # length, and most of it would be empty.
        reads = []
        for begin in range(0, len(y), span):
            near = past[begin : begin + 2 * span - 1]
            queries = query[begin : begin + span]

            # Character t of these reads the outputs t, …, t + span - 1 of `near`, which are those
            # before it.
            every = torch.ones(
                len(queries),
                len(near),
                dtype=torch.bool,
                device=y.device,
            )
            is_read = every.triu().tril(span - 1)

            # The function of torch wants the batch first. Outputs are keys and values.
            near = near.transpose(0, 1)
            read_near = scaled_dot_product_attention(
                query=queries.transpose(0, 1),
                key=near,
                value=near,
                attn_mask=is_read,
            )
            reads.append(read_near.transpose(0, 1))
        read: Tensor = gate.sigmoid() * torch.cat(reads)
        return read


def _share(share: float | Auto) -> float:
    return 0.0 if share == "auto" else share


def _drop(values: Tensor, share: float, noise: Noise | None) -> Tensor:
    """Drop a `share` of the N in values (T, B, N), the same ones at all T, and scale up the others
    to keep the mean."""
    if noise is None or share == 0:
        return values

    # Scaled up here, so that no other pass over a text has to scale anything down.
    kept = noise.for_rows(values.shape[-1], share)
    return values * to_device(kept / (1 - share), device=values.device, dtype=values.dtype)


def load_network(config: Config, vocab_size: int, tensors: dict[str, Tensor]) -> CharRNN:
    """Build the network of `config` with the saved weights `tensors`.

    Raises CheckpointError, before anything is built, where names or shapes differ.
    """
    check_shapes(config, tensors)
    network = CharRNN(config, vocab_size)
    network.load_state_dict(tensors)
    return network
