"""The language model: embedding, recurrent layers, output layer.

Shapes: T time, B batch, V vocabulary, E embedding (V for one-hot vectors), H hidden, L layers, S
state vectors per layer (those of its cell times the largest dilation, `Depth.span` outputs, one for
n-grams). Everything is time-major, and the recurrent state is one explicit tensor (L, S, B, H).
"""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from charrnn.config.settings import Config
from charrnn.model.cell_types import Ops
from charrnn.model.device import to_device
from charrnn.model.layer import Noise, RecurrentLayer
from charrnn.model.ngram_table import NUM_BEFORE, rows_of
from charrnn.model.reading import Segments, cut
from charrnn.model.shapes import check_shapes, input_size_of
from charrnn.model.walk import Architecture

Traced = tuple[Tensor, Tensor, Tensor]
"""Logits (T, B, V), and the cell values and the outputs of all layers (T, B, L, H)."""
LayerOps = Mapping[int, Ops[Tensor]]
"""Layer index to the functions its equations use instead of `layer.TORCH`."""
HIGHWAY_BIAS = -1.0
"""Initial bias of a highway's transform gate: negative, so that it mostly carries (Srivastava
2015)."""


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

    def initial_state(self, batch_size: int) -> Tensor:
        """Return the state before a text, whose axis 2 is that of the lanes."""

    def __call__(self, ids: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
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
    H), the table of n-grams `ngrams.weight` (R, V).

    Reading END (`Config.end_id`) resets the state of its lane to the initial one, from which END is
    read, so nothing reaches a document from those before it.
    """

    def __init__(self, config: Config, vocab_size: int) -> None:
        """Build the network of a resolved configuration and draw its weights from `config.seed`."""
        super().__init__()
        network = Architecture.of(config)
        num_layers, hidden_size, input_size = (
            network.num_layers,
            network.hidden_size,
            input_size_of(config, vocab_size),
        )
        # `auto` is allowed here: a network that is not trained needs no dropout.
        self.dropout, self.input_dropout, weight_drop = (
            0.0 if share == "auto" else share
            for share in (config.dropout, config.input_dropout, config.weight_drop)
        )
        self.depth = network.depth
        self.sum_outputs = config.sum_outputs
        self.end_id = config.end_id
        # torch initializes modules from its global generator; `_draw_weights` overwrites that.
        with torch.random.fork_rng(devices=[]):
            self.embedding = (
                None if config.embedding_size == "one-hot" else nn.Embedding(vocab_size, input_size)
            )
            self.highways = nn.ModuleList(
                nn.Linear(hidden_size, hidden_size)
                for _ in range(num_layers - 1 if self.depth.has_gates else 0)
            )
            self.attentions = nn.ModuleList(
                nn.Linear(hidden_size, 2 * hidden_size)
                for _ in range(num_layers if self.depth.span else 0)
            )
            if self.depth.has_lstm:
                self.bottom = nn.Linear(input_size, 2 * hidden_size)
            self.output = nn.Linear(hidden_size, vocab_size)
            self.ngrams = (
                nn.Embedding(network.ngram_rows, vocab_size) if network.ngram_rows else None
            )
        self.layers = nn.ModuleList(
            RecurrentLayer(
                config.cell,
                hidden_size if index > 0 or self.depth.has_lstm else input_size,
                hidden_size,
                dilation=network.dilations[index],
                weight_drop=weight_drop,
                zoneout=config.zoneout,
            )
            for index in range(num_layers)
        )
        self.grids = nn.ModuleList(
            RecurrentLayer("lstm", hidden_size, hidden_size)
            for _ in range(num_layers if self.depth.has_lstm else 0)
        )
        self._num_states, self.kept_outputs = network.num_states, network.kept_outputs
        self.learned_state: nn.Parameter | None = None
        if config.initial_state == "learned":
            self.learned_state = nn.Parameter(
                torch.zeros(num_layers, self._num_states, hidden_size)
            )
        self._draw_weights(config.seed, config.forget_bias)

    def _draw_weights(self, seed: int, forget_bias: float) -> None:
        generator = torch.Generator().manual_seed(seed)
        if self.embedding is not None:
            nn.init.normal_(
                self.embedding.weight, std=self.embedding.embedding_dim**-0.5, generator=generator
            )
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
        nn.init.xavier_uniform_(self.output.weight, generator=generator)
        nn.init.zeros_(self.output.bias)
        if self.ngrams is not None:
            nn.init.zeros_(self.ngrams.weight)

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

    def initial_state(self, batch_size: int) -> Tensor:
        """Return the initial state (L, S, B, H) of a text: zero, or the learned one, with
        gradients."""
        if self.learned_state is not None:
            return self.learned_state.unsqueeze(2).repeat(1, 1, batch_size, 1)
        return self.output.weight.new_zeros(
            len(self.layers), self._num_states, batch_size, self.hidden_size
        )

    def forward(
        self, ids: Tensor, state: Tensor, noise: Noise | None = None, ops: LayerOps | None = None
    ) -> tuple[Tensor, Tensor]:
        """Map ids (T, B) and a state (L, S, B, H) to logits (T, B, V) and the state after the last
        character.

        With `noise`, embeddings and the outputs of each layer are multiplied by masks (B, E) and
        (B, H), the same for all T characters (variational dropout: Gal & Ghahramani 2016), the
        layers draw weight-drop and zoneout, and the rows of `model.ngram_table` are left out for a
        `dropout` of the characters, so that what they have by heart hides no character from the
        network. Without one, nothing is dropped. Layers in `ops` compute their equations with these
        functions, which can clamp a unit or record gates; the others use their fastest
        implementation.
        """
        scale: Tensor | float = 1.0
        if noise is not None and self.ngrams is not None:
            scale = to_device(
                noise.for_characters(len(ids), self.dropout) / (1 - self.dropout), ids.device
            )
        read, state = self._read(ids, state, noise, ops or {}, want_cells=False)
        return self._logits(*read, scale=scale), state

    def features(
        self, ids: Tensor, state: Tensor, ops: LayerOps | None = None
    ) -> tuple[Tensor, Tensor]:
        """Compute what the output layer reads, (T, B, H), and logits (T, B, V). Arguments as for
        `forward`."""
        (features, *rows), _ = self._read(ids, state, None, ops or {}, want_cells=False)
        return features, self._logits(features, *rows)

    def _logits(
        self, features: Tensor, rows: Tensor | None = None, *, scale: Tensor | float = 1.0
    ) -> Tensor:
        """Compute logits (T, B, V) from (T, B, H) and the rows (T, B, N) of `model.ngram_table`, if
        there are any.

        What the rows add is multiplied by `scale` (T, B, 1).
        """
        logits: Tensor = self.output(features)
        return (
            logits
            if rows is None or self.ngrams is None
            else logits + self.ngrams(rows).sum(-2) * scale
        )

    def _ngram_rows(self, ids: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows (T, B, N) of ids (T, B) after the characters `before` (B, H), and these
        after the ids."""
        assert self.ngrams is not None
        read = torch.cat((before[:, :NUM_BEFORE].T.long(), ids + 1))
        shifted = [read[place : len(ids) + place] for place in range(NUM_BEFORE + 1)]
        rows = torch.stack(rows_of(shifted, self.ngrams.num_embeddings), dim=-1)
        return rows, torch.cat(
            (read[-NUM_BEFORE:].T.to(before.dtype), before[:, NUM_BEFORE:]), dim=1
        )

    def trace(
        self, ids: Tensor, state: Tensor, ops: LayerOps | None = None
    ) -> tuple[Traced, Tensor]:
        """Compute what `forward` does, and the cell values and outputs of all layers (T, B, L, H).

        Instead of ids, vectors (T, B, E) can be given, which need not be any character's; none of
        them is an END.
        """
        (top, cells, hidden, *rows), state = self._read(
            ids, state, None, ops or {}, want_cells=True
        )
        return (self._logits(top, *rows), cells, hidden), state

    def layer_inputs(self, ids: Tensor, state: Tensor, outputs: Tensor) -> list[Tensor]:
        """Compute what each layer reads, (T, B, E) or (T, B, H), from ids (T, B) and all outputs
        (T, B, L, H).

        The state (L, S, B, H) is that before them.
        """
        below = self.vectors(ids)
        links, inputs = _Links(self, below, state), []
        for index, output in enumerate(outputs.unbind(2)):
            below = below if links.along_depth is None else links.along_depth[0]
            inputs.append(below)
            below = self.depth.join(links, index, below, output)
        return inputs

    def _read(
        self, ids: Tensor, state: Tensor, noise: Noise | None, ops: LayerOps, *, want_cells: bool
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return the input (T, B, H) of the output layer, if `want_cells` also what `trace`
        returns, and the state.

        The last tensor is the rows (T, B, N) of `model.ngram_table`, if the model has them and
        reads ids.

        The segments between two ENDs are read from the initial state, cut into pieces
        (`model.reading.cut`).
        """
        is_end = np.zeros((0, 0), bool)
        if self.end_id is not None and not ids.is_floating_point():
            is_end = (ids == self.end_id).cpu().numpy()
        if not is_end.any():
            if (
                noise is not None and self.end_id is not None
            ):  # The rows of another process may have one.
                noise.start_piece(torch.arange(ids.shape[1]))
            return self._read_on(ids, state, noise, ops, want_cells=want_cells)
        num_steps, num_lanes = is_end.shape
        segments = Segments.of(is_end)
        lanes = to_device(torch.from_numpy(segments.lanes), ids.device)
        is_reset = to_device(torch.from_numpy(is_end[segments.begins, segments.lanes]), ids.device)
        states = torch.where(
            is_reset[:, None], self.initial_state(len(lanes)), state.index_select(2, lanes)
        )
        parts, positions = [], []
        for piece in cut(segments, num_lanes):
            where = to_device(torch.from_numpy(piece.positions), ids.device)
            rows = to_device(torch.from_numpy(piece.segments), ids.device)
            if noise is not None:
                noise.start_piece(torch.from_numpy(segments.lanes[piece.segments]))
            outputs, last = self._read_on(
                ids.flatten()[where],
                states.index_select(2, rows),
                noise,
                ops,
                want_cells=want_cells,
            )
            parts.append([output.flatten(0, 1) for output in outputs])
            positions.append(where.flatten())
            states = states.index_copy(2, rows, last.to(states.dtype))
        # The place of every character among the outputs of all pieces.
        order = torch.cat(positions).argsort()
        read = tuple(
            torch.cat(some).index_select(0, order).view(num_steps, num_lanes, *some[0].shape[1:])
            for some in zip(*parts, strict=True)
        )
        return read, states.index_select(
            2, to_device(torch.from_numpy(segments.last_of_lanes), ids.device)
        )

    def vectors(self, ids: Tensor) -> Tensor:
        """Return the vectors (T, B, E) of characters: embeddings, or one-hot."""
        if self.embedding is None:
            return nn.functional.one_hot(ids, self.output.out_features).to(self.output.weight.dtype)
        vectors: Tensor = self.embedding(ids)
        return vectors

    def _read_on(
        self, ids: Tensor, state: Tensor, noise: Noise | None, ops: LayerOps, *, want_cells: bool
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """Do the same for ids, or vectors (T, B, E), that are read on from the state, without a
        reset."""
        all_cells, all_hidden, new_state, joined = [], [], [], []
        # Without input dropout, the first layer looks up its input products in a table of V rows.
        is_vectors = ids.is_floating_point()
        takes_ids = (
            not is_vectors
            and not self.depth.has_lstm
            and (noise is None or self.input_dropout == 0)
        )
        below = (
            ids if takes_ids or is_vectors else _drop(self.vectors(ids), self.input_dropout, noise)
        )
        links = _Links(self, below, state)
        for index, (layer, layer_state) in enumerate(
            zip(self.recurrent_layers(), state, strict=True)
        ):
            used = layer_state[: layer.cell.num_states * layer.dilation]
            if links.along_depth is not None:
                # A separate view for each use: gradients then add up in the same order as in
                # released versions.
                below = links.along_depth[0]
            table = (
                self.embedding.weight
                if takes_ids and index == 0 and self.embedding is not None
                else None
            )
            if want_cells:
                outputs, cells, last = layer.trace(below, used, table, ops.get(index))
                all_cells.append(cells)
            else:
                outputs, last = layer(below, used, table, noise, ops.get(index))
            all_hidden.append(outputs)
            below = self.depth.join(links, index, below, _drop(outputs, self.dropout, noise))
            joined.append(below)
            rest = layer_state[len(used) + self.depth.span :]
            new_state.append(torch.cat((last.to(state.dtype), links.kept[index], rest)))
        top = sum(joined[1:], start=joined[0]) if self.sum_outputs else below
        read = (
            (top, torch.stack(all_cells, dim=2), torch.stack(all_hidden, dim=2))
            if want_cells
            else (top,)
        )
        if self.ngrams is not None and not is_vectors:
            rows, latest = self._ngram_rows(ids, state[0, -1])
            new_state[0] = torch.cat((new_state[0][:-1], latest[None]))
            read = (*read, rows)
        return read, torch.stack(new_state)


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
        _, state = self._network.grid_layers()[layer](
            x.flatten(0, 1).unsqueeze(0), self.along_depth.flatten(1, 2)
        )
        self.along_depth = state.view(self.along_depth.shape)
        return self.along_depth[0]

    def attend(self, layer: int, y: Tensor) -> Tensor:
        query, gate = self._network.attentions[layer](y).chunk(2, dim=-1)
        past, span = torch.cat((self.kept[layer].to(y.dtype), y)), self._network.depth.span
        self.kept[layer] = past[-span:].to(self.kept[layer].dtype)
        reads = []
        for begin in range(0, len(y), span):
            near, queries = past[begin : begin + 2 * span - 1], query[begin : begin + span]
            # Character t of these reads the outputs t, …, t + span - 1 of `near`, which are those
            # before it.
            is_read = (
                torch.ones(len(queries), len(near), dtype=torch.bool, device=y.device)
                .triu()
                .tril(span - 1)
            )
            near, queries = near.transpose(0, 1), queries.transpose(0, 1)
            reads.append(
                scaled_dot_product_attention(queries, near, near, attn_mask=is_read).transpose(0, 1)
            )
        read: Tensor = gate.sigmoid() * torch.cat(reads)
        return read


def _drop(values: Tensor, share: float, noise: Noise | None) -> Tensor:
    """Drop a `share` of the N in values (T, B, N), the same ones at all T, and scale up the others
    to keep the mean."""
    if noise is None or share == 0:
        return values
    kept = noise.for_rows(values.shape[-1], share)
    return values * to_device(kept / (1 - share), values.device, values.dtype)


def load_network(config: Config, vocab_size: int, tensors: dict[str, Tensor]) -> CharRNN:
    """Build the network of `config` with the saved weights `tensors`.

    Raises CheckpointError, before anything is built, where names or shapes differ.
    """
    check_shapes(config, tensors)
    network = CharRNN(config, vocab_size)
    network.load_state_dict(tensors)
    return network
