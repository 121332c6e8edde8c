"""The language model: embedding, recurrent layers, output layer.

Shapes: T time, B batch, V vocabulary, E embedding (V for one-hot vectors), H hidden, L layers, S
state vectors per layer (the number of states of its cell times the largest dilation, plus
`Depth.span` outputs). Everything is time-major, and the recurrent state is passed in and returned.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from charrnn.config.settings import Auto, Config
from charrnn.model.cell_types import Array, Ops
from charrnn.model.device import to_device
from charrnn.model.layer import RecurrentLayer
from charrnn.model.noise import Noise, drop
from charrnn.model.reading import Fragments, cut
from charrnn.model.shapes import Architecture, check_shapes, input_size_of
from charrnn.system.arrays import BoolArray

Traced = tuple[Tensor, Tensor, Tensor]
"""Logits (T, B, V), and the cell values and the outputs of all layers (T, B, L, H)."""
LayerOps = Mapping[int, Ops]
"""Functions that the equations of a layer use instead of `layer.TORCH`, by the index of the
layer."""
HIGHWAY_BIAS = -1.0
"""Initial bias of a highway's transform gate: negative, so that at first the gate mostly carries
its input through (Srivastava 2015)."""


class WindowReading(NamedTuple):
    """The results of the layers for a window, before the output layer."""

    features: Tensor
    """(T, B, H): the input of the output layer."""
    cells: Tensor | None = None
    """(T, B, L, H): the cell values of all layers, if they are kept."""
    outputs: Tensor | None = None
    """(T, B, L, H): the outputs of all layers, if the cells are kept."""
    joined: Tensor | None = None
    """(T, B, L, H): what each layer hands to the one above it, if that is kept. `features` are the
    last of them, or with `sum_outputs` their sum."""


class CharRNN(nn.Module):
    """A character-level recurrent language model.

    `Model.network` is one. It trains, and reads many texts side by side; `stepper.Stepper` reads
    one character at a time without torch, and is faster at that.

    The setting `depth` determines how the outputs of a layer are joined with its inputs
    (`model.depths`). With `sum_outputs` the output layer reads the sum of all layers instead of the
    last layer.

    With `embedding_size: one-hot` there is no embedding: the first layer, or the projection below a
    grid, reads one-hot vectors, so its input product is a column of its weight.

    Parameters are named as `torch.nn` names them: `embedding.weight` (V, E),
    `layers.i.weight_ih_l0` (G*H, E or H), `layers.i.weight_hh_l0` (G*H, H), `layers.i.bias_ih_l0`,
    `layers.i.bias_hh_l0` (G*H,), `output.weight` (V, H), `output.bias` (V,). The gates are in the
    order i, f, g, o in an LSTM and r, z, n in a GRU. Depths and settings add these parameters:

    - a highway: `highways.i.weight` (H, H) and `highways.i.bias` (H,);
    - a grid: `bottom.weight` (2*H, E), `bottom.bias` (2*H,), and `grids.i` with the parameters of
      an LSTM in `layers.i`;
    - attention: `attentions.i.weight` (2*H, H), first the query, then the gate, and
      `attentions.i.bias` (2*H,);
    - a learned initial state: `learned_state` (L, S, H).

    Before END (`Config.end_id`) is read, the state of its lane is reset to the initial state, so
    that a document does not depend on the documents before it.
    """

    def __init__(self, config: Config, vocab_size: int):
        """Build the network of a resolved configuration and draw its weights from `config.seed`."""
        super().__init__()

        # The sizes.
        architecture = Architecture(config)
        num_layers = architecture.num_layers
        hidden_size = architecture.hidden_size
        self.hidden_size = hidden_size
        """H: units per layer."""
        self.vocab_size = vocab_size
        """V: characters of the alphabet."""
        input_size = input_size_of(config, vocab_size)

        # The settings that `forward` uses. A dropout of `auto` is allowed here: a network that is
        # not trained needs none.
        self.dropout = _share(config.dropout)
        self.input_dropout = _share(config.input_dropout)
        self.depth = architecture.depth
        self.sum_outputs = config.sum_outputs
        self.end_id = config.end_id
        self._num_states = architecture.num_states
        self.kept_outputs = architecture.kept_outputs

        # The number of modules that the depth has between the layers.
        num_gates = num_layers - 1 if self.depth.has_gates else 0
        num_heads = num_layers if self.depth.span else 0
        num_grids = num_layers if self.depth.has_lstm else 0

        # The modules of torch. torch initializes them from its global generator, whose state must
        # not change; `_draw_weights` overwrites the weights. The order of the modules determines
        # the order of the parameters, on which checkpoints and optimizers rely.
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
        # projection, so that all its layers read H numbers.
        self.layers = nn.ModuleList(
            RecurrentLayer(
                config.cell_type,
                input_size=hidden_size if index > 0 or self.depth.has_lstm else input_size,
                hidden_size=hidden_size,
                dilation=dilation,
                weight_drop=_share(config.weight_drop),
                zoneout=config.zoneout,
            )
            for index, dilation in enumerate(architecture.dilations)
        )
        self.grids = nn.ModuleList(
            RecurrentLayer("lstm", input_size=hidden_size, hidden_size=hidden_size)
            for _ in range(num_grids)
        )

        # A learned state starts with zeros, like a state that is not learned.
        self.learned_state: nn.Parameter | None = None
        if config.initial_state == "learned":
            learned = torch.zeros(num_layers, architecture.num_states, hidden_size)
            self.learned_state = nn.Parameter(learned)
        self._draw_weights(config.seed, config.forget_bias, initial_weights=config.initial_weights)

    def _draw_weights(self, seed: int, forget_bias: float, initial_weights: str) -> None:
        """Draw all weights. The order must not change, because each draw depends on the draws
        before it."""
        generator = torch.Generator().manual_seed(seed)

        # The embedding: its entries have a mean square of 1 / E.
        if self.embedding is not None:
            nn.init.normal_(
                self.embedding.weight,
                std=self.embedding.embedding_dim**-0.5,
                generator=generator,
            )

        # The layers, and the modules of the depth between them.
        for layer in self.recurrent_layers():
            layer.draw_weights(generator, forget_bias, initial_weights=initial_weights)
        for highway in self.highways:
            _draw_map(highway, generator, bias=HIGHWAY_BIAS)
        for attention in self.attentions:
            _draw_map(attention, generator)
        if self.depth.has_lstm:
            _draw_map(self.bottom, generator)
        for grid in self.grid_layers():
            grid.draw_weights(generator, forget_bias)
        _draw_map(self.output, generator)

    def recurrent_layers(self) -> list[RecurrentLayer]:
        """List the layers, first to last.

        It leaves out the LSTM along depth of a grid, whose layers are `grid_layers`.
        """
        return list(self.layers)  # type: ignore[arg-type]  # ModuleList has no element type

    def grid_layers(self) -> list[RecurrentLayer]:
        """List the layers of the LSTM along depth, first to last."""
        return list(self.grids)  # type: ignore[arg-type]

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.output.weight.device

    def initial_state(self, batch_size: int) -> Tensor:
        """Return the initial state of a text: zero, or the learned state, with gradients."""
        if self.learned_state is None:
            shape = (len(self.layers), self._num_states, batch_size, self.hidden_size)
            return self.output.weight.new_zeros(shape)
        return self.learned_state.unsqueeze(2).repeat(1, 1, batch_size, 1)

    def forward(
        self,
        ids: Tensor,
        state: Tensor,
        noise: Noise | None = None,
        ops: LayerOps | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Map ids (T, B) and a state to logits (T, B, V) and the state after the last character.

        It is what training needs; `trace` returns the cells as well.

        With `noise`, embeddings and the outputs of each layer are multiplied by masks (B, E) and
        (B, H), the same for all T characters (variational dropout: Gal & Ghahramani 2016), and the
        layers draw weight-drop and zoneout. Without `noise`, nothing is dropped. Layers in `ops`
        compute their equations with these functions, which can clamp a unit or record gates; the
        other layers use their fastest implementation.
        """
        read, state = self.read_documents(
            ids,
            state=state,
            noise=noise,
            ops=ops,
        )
        return self.output(read.features), state

    def trace(
        self, ids: Tensor, state: Tensor, ops: LayerOps | None = None
    ) -> tuple[Traced, Tensor]:
        """Compute the results of `forward`, and the cell values and outputs of all layers (T, B, L,
        H).

        An analysis of cells calls it window by window; `Model.trace` reads a whole text.

        Instead of ids, any vectors (T, B, E) can be given; none of them counts as END.
        """
        read, state = self.read_documents(
            ids,
            state=state,
            ops=ops,
            keeps_cells=True,
        )
        assert read.cells is not None and read.outputs is not None, "they are kept"
        return (self.output(read.features), read.cells, read.outputs), state

    def vectors(self, ids: Tensor) -> Tensor:
        """Return the vectors (T, B, E) of characters: embeddings, or one-hot.

        A caller that replaces or mixes characters gives changed vectors to `trace`.
        """
        if self.embedding is None:
            return nn.functional.one_hot(ids, self.vocab_size).to(self.output.weight.dtype)
        vectors: Tensor = self.embedding(ids)
        return vectors

    def read_documents(
        self,
        ids: Tensor,
        state: Tensor,
        *,
        noise: Noise | None = None,
        ops: LayerOps | None = None,
        keeps_cells: bool = False,
        keeps_joined: bool = False,
    ) -> tuple[WindowReading, Tensor]:
        """Read ids (T, B), where every END resets the state, or vectors (T, B, E).

        Call it where less than logits is needed, or more than `trace` returns. Ids may have ENDs,
        unlike those of `read_window`.

        Returns the results of the layers and the new state. A window is divided into fragments,
        each of which begins with an END, the first character of its document, or with the window.
        Fragments are read in pieces (`model.reading.cut`).
        """
        read_window = partial(
            self.read_window,
            noise=noise,
            ops=ops,
            keeps_cells=keeps_cells,
            keeps_joined=keeps_joined,
        )

        # Most windows have no END, and are read in one piece.
        is_end = self._find_ends(ids)
        if is_end is None:
            if noise is not None and self.end_id is not None:
                # The rows of another process may have an END. That process draws its noise by
                # pieces, and all processes must draw the same numbers from the common generator.
                noise.start_piece(torch.arange(ids.shape[1]))
            return read_window(ids, state)

        def indices(values: NDArray[Any]) -> Tensor:
            return to_device(torch.from_numpy(values), device=ids.device)

        num_steps, num_lanes = is_end.shape
        fragments = Fragments.of(is_end)
        states = self._states_of_fragments(state, fragments=fragments, is_end=is_end)

        # Pieces of equal length are read side by side. Each piece continues from the states of its
        # fragments, and replaces them by its last states for the next piece.
        reads = []
        positions = []
        for piece in cut(fragments, num_lanes):
            piece_positions = indices(piece.positions)
            rows = indices(piece.fragments)
            if noise is not None:
                noise.start_piece(torch.from_numpy(fragments.lanes[piece.fragments]))
            read, last = read_window(
                ids.flatten()[piece_positions],
                states.index_select(-2, rows),
            )
            reads.append(read)
            positions.append(piece_positions.flatten())
            states = states.index_copy(-2, rows, last.to(states.dtype))

        # The results are in the order of the pieces: sort them into the order of the window.
        order = torch.cat(positions).argsort()

        def in_order(values: Sequence[Tensor | None]) -> Tensor | None:
            pieces = [value.flatten(0, 1) for value in values if value is not None]
            if not pieces:
                return None
            joined = torch.cat(pieces).index_select(0, order)
            return joined.view(num_steps, num_lanes, *joined.shape[1:])

        features, cells, outputs, all_joined = map(in_order, zip(*reads, strict=True))
        assert features is not None

        # The state of a lane is the state of its last fragment.
        last_of_lanes = indices(fragments.last_of_lanes)
        return (
            WindowReading(
                features,
                cells=cells,
                outputs=outputs,
                joined=all_joined,
            ),
            states.index_select(-2, last_of_lanes),
        )

    def _states_of_fragments(
        self, state: Tensor, fragments: Fragments, is_end: BoolArray
    ) -> Tensor:
        """Return the states from which the fragments are read, one row for each: the initial state
        if the fragment begins with an END, else the state of its lane."""
        lanes = to_device(torch.from_numpy(fragments.lanes), device=self.device)
        begins_with_end = torch.from_numpy(is_end[fragments.begins, fragments.lanes])
        is_reset = to_device(begins_with_end, device=self.device)[:, None]
        # `where` is used instead of a product with the mask, which would not reset infinite states.
        initial = self.initial_state(len(lanes))
        return torch.where(is_reset, initial, state.index_select(-2, lanes))

    def _find_ends(self, ids: Tensor) -> BoolArray | None:
        """Return a mask of the ids (T, B) that are END; None if there is no END."""
        if self.end_id is None or ids.is_floating_point():
            return None
        is_end: BoolArray = ids.eq(self.end_id).cpu().numpy()
        return is_end if is_end.any() else None

    def read_window(
        self,
        ids: Tensor,
        state: Tensor,
        *,
        noise: Noise | None,
        ops: LayerOps | None,
        keeps_cells: bool,
        keeps_joined: bool,
    ) -> tuple[WindowReading, Tensor]:
        """Read ids (T, B), or vectors (T, B, E), from a state without resetting it.

        All batch rows continue their own text in it. `read_documents` calls it for each piece of
        documents.
        """
        # Prepare the inputs of the first layer.
        is_vectors = ids.is_floating_point()
        drops_inputs = noise is not None and self.input_dropout > 0
        # Without input dropout, the first layer looks up its input products in a table of V rows.
        takes_ids = not (is_vectors or drops_inputs or self.depth.has_lstm)
        below = ids
        if not takes_ids and not is_vectors:
            below = _drop(self.vectors(ids), share=self.input_dropout, noise=noise)
        links = _Links(self, vectors=below, state=state)

        # Go up the layers, each of which reads the whole window at once.
        all_cells = []
        all_outputs = []
        joined: list[Tensor] = []
        new_vectors = []
        layers = zip(self.recurrent_layers(), state, strict=True)
        for index, (layer, vectors) in enumerate(layers):
            layer_state = vectors[: layer.cell.num_states * layer.dilation]
            if links.along_depth is not None:
                # Each layer gets its own view, so that gradients add up in the order of the layers.
                below = links.along_depth[0]

            table = None
            if takes_ids and index == 0 and self.embedding is not None:
                table = self.embedding.weight
            layer_read = layer(
                below,
                layer_state,
                embedding=table,
                noise=noise,
                ops=None if ops is None else ops.get(index),
                keeps_cells=keeps_cells,
            )
            all_cells.append(layer_read.cells)
            all_outputs.append(layer_read.outputs)

            dropped = _drop(layer_read.outputs, share=self.dropout, noise=noise)
            below = self.depth.join(
                links,
                layer=index,
                x=below,
                y=dropped,
            )
            joined.append(below)

            # A layer with a smaller dilation than the last layer leaves vectors unused.
            unused = vectors[len(layer_state) + self.depth.span :]
            last = layer_read.state.to(vectors.dtype)
            new_vectors.append(torch.cat((last, links.kept[index], unused)))

        # Compute the input of the output layer.
        features = below
        if self.sum_outputs:
            features = sum(joined[1:], start=joined[0])

        # What studies of cells look at.
        read = WindowReading(features)
        if keeps_cells:
            read = read._replace(
                cells=torch.stack(all_cells, dim=2), outputs=torch.stack(all_outputs, dim=2)
            )
        if keeps_joined:
            read = read._replace(joined=torch.stack(joined, dim=2))
        return read, torch.stack(new_vectors)


class _Links:
    """The weights of a network's depth in one pass over a window; see `model.depths.Links`."""

    def __init__(self, network: CharRNN, vectors: Tensor, state: Tensor):
        """Compute the initial state of the LSTM along depth, if the depth has one, from embeddings
        (T, B, E)."""
        self._network = network
        self.kept = list(state[:, network.kept_outputs])
        """The last outputs (span, B, H) of each layer."""
        self.along_depth: Tensor | None = None
        """The state (2, T, B, H) of the LSTM along depth."""
        if network.depth.has_lstm:
            self.along_depth = torch.stack(network.bottom(vectors).chunk(2, dim=-1))

    def gate(self, layer: int, x: Array) -> Array:
        return self._network.highways[layer - 1](x).sigmoid()

    def climb(self, layer: int, x: Array) -> Array:
        assert self.along_depth is not None, "this depth has no LSTM"
        grid = self._network.grid_layers()[layer]

        # Along depth there is no time: all T * B characters are batch rows of one step.
        read = grid(x.flatten(0, 1).unsqueeze(0), self.along_depth.flatten(1, 2))
        self.along_depth = read.state.view(self.along_depth.shape)
        return self.along_depth[0]

    def attend(self, layer: int, y: Array) -> Array:
        query, gate = self._network.attentions[layer](y).chunk(2, dim=-1)
        span = self._network.depth.span

        # The outputs before the window are part of the state; the last outputs of the window
        # replace them.
        past = torch.cat((self.kept[layer].to(y.dtype), y))
        self.kept[layer] = past[-span:].to(self.kept[layer].dtype)

        # The window is read in blocks of `span` characters: a mask for the whole window would grow
        # with the square of its length, and most of it would be empty.
        reads = []
        for begin in range(0, len(y), span):
            near = past[begin : begin + 2 * span - 1]
            queries = query[begin : begin + span]

            # Character t of the block reads the outputs t, …, t + span - 1 of `near`, which are the
            # `span` outputs before it.
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
        return gate.sigmoid() * torch.cat(reads)


def _draw_map(module: nn.Module, generator: torch.Generator, bias: float = 0.0) -> None:
    """Draw the weight of a linear map uniform; each entry of its bias is `bias`."""
    nn.init.xavier_uniform_(module.get_parameter("weight"), generator=generator)
    nn.init.constant_(module.get_parameter("bias"), bias)


def _share(share: float | Auto) -> float:
    return 0.0 if share == "auto" else share


def _drop(values: Tensor, share: float, noise: Noise | None) -> Tensor:
    """Drop a `share` of the N entries of values (T, B, N), the same at all T."""
    if noise is None or share == 0:
        return values
    return drop(values, mask=noise.for_rows(values.shape[-1], share), share=share)


def load_network(config: Config, vocab_size: int, tensors: dict[str, Tensor]) -> CharRNN:
    """Build the network of `config` with the saved weights `tensors`.

    `build_network` draws new weights.

    Raises CheckpointError, before anything is built, if names or shapes differ.
    """
    check_shapes(config, tensors)
    network = CharRNN(config, vocab_size)
    network.load_state_dict(tensors)
    return network
