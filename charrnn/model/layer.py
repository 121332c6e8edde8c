"""Recurrent layers in torch: the parameters of a cell type, and its equations applied to a window.

Shapes: T time, B batch, I input, H hidden, G blocks, S state vectors, D dilation. Parameters have
the names, shapes and gate order of `torch.nn`, so a saved lstm, gru or rnn layer loads into
`nn.LSTM`, `nn.GRU` or `nn.RNN`.
"""

import math
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from charrnn.model.cell_type_registry import cell_type
from charrnn.model.cell_types import Cell, CellState, LinearCell, Ops
from charrnn.model.device import on_threads, to_device
from charrnn.model.noise import Noise, drop
from charrnn.model.recurrence import FUNCTIONS, FUSED, Scan, recurrent_product, run_library
from charrnn.model.shapes import layer_shapes

TORCH: Ops = Ops(
    sigmoid=torch.sigmoid,
    tanh=torch.tanh,
    relu=torch.relu,
    sqrt=torch.sqrt,
    cos=torch.cos,
    sin=torch.sin,
    # torch's softplus leaves out the logarithm above a threshold, where it still changes some
    # digits of a float64.
    softplus=lambda x: -nn.functional.logsigmoid(-x),
    linear=linear,
    split=lambda x, blocks: x.chunk(blocks, dim=-1),
    cat=lambda parts: torch.cat(tuple(parts), dim=-1),
    fft=lambda re, im: _parts(torch.fft.fft(torch.complex(re, im), norm="ortho")),
    clamp=lambda memory: memory,
)
"""The functions of the equations in torch."""


def _parts(z: Tensor) -> tuple[Tensor, Tensor]:
    return z.real, z.imag


IRNN_SCALE = 0.9
"""Initial recurrent weight of an irnn, as a multiple of the identity: below 1, so that a state that
is carried through a whole text does not grow without bound."""

SMALL_PRODUCT = 1 << 25
"""Steps of at most this many multiplications run on one thread. Several threads wait for each other
at every operation: if another program uses a processor, tanh of 32 * 256 values takes 3 ms instead
of 0.05 ms."""
SMALLEST_OUTPUT_GATE = 1e-6
"""Below this output gate o, tanh(c) is not computed as h / o: the relative rounding error of o is
too large."""


LIBRARY_ON_CPU = ("lstm",)
"""The cell types for which the library is fastest on a CPU. For gru and rnn it steps through time
there, too, but with more operations."""


def uses_library(cell_name: str, device: torch.device) -> bool:
    """Whether the library computes a cell type fastest on a device."""
    if device.type == "cuda":
        return cell_name in FUNCTIONS
    return cell_name in LIBRARY_ON_CPU


class LayerRead(NamedTuple):
    """The results of a layer for a window."""

    outputs: Tensor
    """(T, B, H): the outputs."""
    cells: Tensor | None
    """(T, B, H): the cell values in [-1, 1], if they are kept."""
    state: Tensor
    """(S * D, B, H): the last states."""


class RecurrentLayer(nn.Module):
    """One layer of a cell type: (inputs (T, B, I), state (S * D, B, H)) -> (outputs (T, B, H),
    state (S * D, B, H)).

    `CharRNN.layers` consists of them. It chooses the fastest way to compute a window; the equations
    are in `cell_types`.

    With a dilation D, character t continues from the state after character t - D (Chang 2017). The
    state contains the D latest states, oldest first.
    """

    def __init__(
        self,
        cell_name: str,
        input_size: int,
        hidden_size: int,
        *,
        dilation: int = 1,
        weight_drop: float = 0.0,
        zoneout: float = 0.0,
    ):
        """Allocate the parameters of cell type `cell_name`; `draw_weights` initializes them."""
        super().__init__()
        self.cell_name = cell_name
        self.cell: type[Cell] = cell_type(cell_name)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.dilation = dilation
        self.weight_drop = weight_drop
        self.zoneout = zoneout

        # A permutation is drawn once and not trained.
        extras = self.cell.extras(hidden_size)
        for name, shape in layer_shapes(
            self.cell, input_size=input_size, hidden_size=hidden_size
        ).items():
            if name in extras and extras[name][1] == "permutation":
                self.register_buffer(name, torch.arange(shape[0]))
            else:
                self.register_parameter(name, nn.Parameter(torch.empty(shape)))

    def draw_weights(
        self, generator: torch.Generator, forget_bias: float, initial_weights: str = "orthogonal"
    ) -> None:
        """Draw each block's input weights uniform (Glorot & Bengio 2010) and recurrent weights
        orthogonal (Saxe 2014); or with `initial_weights` "uniform" both as torch.nn does, uniform
        within ±1/√H. torch.nn draws the biases, too, and here they are not drawn.

        Biases start at zero, except the forget gate's at `forget_bias` (Gers 2000; Jozefowicz
        2015). The recurrent weight of an irnn starts at IRNN_SCALE times the identity (Le 2015).
        """
        if initial_weights == "uniform":
            bound = self.hidden_size**-0.5
            for name in ("ih", *self.cell.products):
                nn.init.uniform_(self.weight(name), -bound, bound, generator=generator)
        else:
            self._draw_orthogonal_weights(generator)

        # The biases: an open forget gate lets gradients through from the first step on.
        for name in ("ih", *self.cell.products):
            nn.init.zeros_(self.bias(name))
        if self.cell.forget_block is not None:
            blocks = self.bias("ih").chunk(self.cell.input_blocks)
            nn.init.constant_(blocks[self.cell.forget_block], forget_bias)

        # The other parameters of the cell type.
        for name, (shape, kind) in self.cell.extras(self.hidden_size).items():
            value: Tensor = getattr(self, name)
            with torch.no_grad():
                if kind == "zeros":
                    value.zero_()
                elif kind == "permutation":
                    value.copy_(torch.randperm(shape[0], generator=generator))
                else:
                    bound = math.pi if kind == "angles" else 1.0
                    value.uniform_(-bound, bound, generator=generator)

    def _draw_orthogonal_weights(self, generator: torch.Generator) -> None:
        """Draw input weights uniform and recurrent weights orthogonal, those of an irnn as a
        multiple of the identity."""
        # The blocks are drawn separately, because the bounds of a draw depend on its shape.
        for block in self.weight("ih").chunk(self.cell.input_blocks):
            nn.init.xavier_uniform_(block, generator=generator)
        for name, num_blocks in self.cell.products.items():
            for block in self.weight(name).chunk(num_blocks):
                nn.init.orthogonal_(block, generator=generator)
            if self.cell_name == "irnn":
                with torch.no_grad():
                    nn.init.eye_(self.weight(name)).mul_(IRNN_SCALE)
                    # A constant input then gives a state of the same size, because the sum of
                    # IRNN_SCALE^t is 1 / (1 - IRNN_SCALE).
                    self.weight("ih").mul_(1 - IRNN_SCALE)

    def matrices(self) -> list[nn.Parameter]:
        """List all weights (G*H, N) that consist of blocks of H rows.

        Muon orthogonalises each block of them; biases and vectors are left to another optimizer.
        """
        return [self.get_parameter(f"weight_{name}_l0") for name in ("ih", *self.cell.products)]

    def weight(self, name: str) -> Tensor:
        """Return the weight `ih` (G*H, I), or `hh` or another recurrent weight (G*H, H)."""
        weight: Tensor = getattr(self, f"weight_{name}_l0")
        return weight

    def bias(self, name: str) -> Tensor:
        """Return the bias (G*H,) of `weight(name)`."""
        bias: Tensor = getattr(self, f"bias_{name}_l0")
        return bias

    def extras(self) -> dict[str, Tensor]:
        """Return the arrays of `Cell.extras`."""
        return {name: getattr(self, name) for name in self.cell.extras(self.hidden_size)}

    def forward(
        self,
        inputs: Tensor,
        state: Tensor,
        *,
        embedding: Tensor | None = None,
        noise: Noise | None = None,
        ops: Ops | None = None,
        keeps_cells: bool = False,
    ) -> LayerRead:
        """Read inputs (T, B, I) from a state (S * D, B, H).

        With `noise`, weight-drop and zoneout are drawn from it. Without `noise`, nothing is
        dropped, and zoneout uses its mean. If inputs are ids (T, B), the input products of the V
        characters are computed once and looked up, instead of computed for T * B rows. The vectors
        of the characters are the rows of `embedding` (V, I) or, if it is None, one-hot vectors (V =
        I), whose products are the columns of the weight. With `ops`, the cell's equations are
        computed with these functions, and no faster implementation is used.
        """
        # The weights are dropped once: all characters of a window are read with the same weights.
        weights = {}
        for name in self.cell.products:
            weights[name] = self.weight(name)
            if noise is not None and self.weight_drop > 0:
                mask = noise.for_window(weights[name].shape, share=self.weight_drop)
                weights[name] = drop(weights[name], mask=mask, share=self.weight_drop)

        reading = _Reading(
            layer=self,
            weights=weights,
            embedding=embedding,
            noise=noise,
            ops=ops,
            keeps_cells=keeps_cells,
        )
        if self.dilation == 1:
            return reading.read(inputs, state=state)
        return self._read_interleaved(reading, inputs=inputs, state=state)

    def _read_interleaved(self, reading: "_Reading", inputs: Tensor, state: Tensor) -> LayerRead:
        """Fold the D interleaved sequences of a dilated layer into the batch, and read them
        together: first T // D characters of all sequences, then one more character of some."""
        num_steps, batch_size = inputs.shape[:2]
        rows = (-1, batch_size)
        queue = torch.unflatten(state, 0, (-1, self.dilation))

        # A window has complete rounds of D characters, and an incomplete last round.
        num_last = num_steps % self.dilation
        reads = []
        for piece in torch.split(inputs, [num_steps - num_last, num_last]):
            if len(piece) == 0:
                continue

            # Characters 0, D, … of the piece belong to row 0 of the queue, characters 1, 1 + D, …
            # to row 1, and so on.
            num_rows = min(len(piece), self.dilation)
            folded = torch.unflatten(piece, 0, (-1, num_rows)).flatten(1, 2)
            read = reading.read(folded, state=queue[:, :num_rows].flatten(1, 2))
            reads.append(read)

            # The oldest states were continued: remove them, and append the new states to the queue.
            queue = torch.cat((queue[:, num_rows:], torch.unflatten(read.state, 1, rows)), dim=1)

        # Splitting the folded axis restores the order of the text.
        def unfold(folded: Iterable[Tensor]) -> Tensor:
            return torch.cat([torch.unflatten(values, 1, rows).flatten(0, 1) for values in folded])

        outputs = unfold(read.outputs for read in reads)
        cells = [read.cells for read in reads if read.cells is not None]
        return LayerRead(
            outputs,
            cells=unfold(cells) if cells else None,
            state=queue.flatten(0, 1),
        )


@dataclass(frozen=True, kw_only=True)
class _Reading:
    """One pass of a layer over a window; see `RecurrentLayer.forward`."""

    layer: RecurrentLayer
    weights: Mapping[str, Tensor]
    """The recurrent weights, of which some entries may be dropped."""
    embedding: Tensor | None
    noise: Noise | None
    ops: Ops | None
    keeps_cells: bool

    def read(self, inputs: Tensor, state: Tensor) -> LayerRead:
        """Read inputs from a state (S, B, H) in the fastest way; each time step continues from the
        step before it."""
        # Zoneout, and functions of the caller, change each step of the equations.
        layer = self.layer
        is_changed = self.ops is not None or layer.zoneout > 0

        # One call of oneDNN or cuDNN, which compute the input products, too. The equations follow
        # where they alone know the cell values.
        if not is_changed and uses_library(layer.cell_name, inputs.device):
            library_read = self._run_library(inputs, state=state)
            if library_read.cells is not None or not self.keeps_cells:
                return library_read

        # The recurrence.
        x = self._input_products(inputs, bias=layer.bias("ih"))
        threads: AbstractContextManager[None] = nullcontext()
        is_small = x[0].numel() * layer.hidden_size <= SMALL_PRODUCT
        if is_small and x.device.type == "cpu" and not torch.is_grad_enabled():
            threads = on_threads(1)
        with threads:
            # A loop over the characters with few operations and its own backward pass.
            if not is_changed and layer.cell_name in FUSED:
                arguments = (state[0], self.weights["hh"], layer.bias("hh"))
                function = FUSED[layer.cell_name]
                outputs = function.apply(  # type: ignore[no-untyped-call]
                    x, *(tensor.to(x.dtype) for tensor in arguments)
                )
            # A sum of products along the characters, whose coefficients do not depend on the state,
            # so that they are computed for all steps at once.
            elif not is_changed and issubclass(layer.cell, LinearCell):
                a, b = layer.cell.coefficients(TORCH, x=x.to(state.dtype), extras=layer.extras())
                outputs = Scan.apply(a, b, state[0])  # type: ignore[no-untyped-call]
            # The equations, character by character, which work for every cell type.
            else:
                return self._run_equations(x, state=state)

        # The output is the only state of these cell types.
        cells = layer.cell.value(TORCH, state=(outputs,)) if self.keeps_cells else None
        return LayerRead(outputs, cells=cells, state=outputs[-1:])

    def _input_products(self, inputs: Tensor, bias: Tensor, rows: slice = slice(None)) -> Tensor:
        """Compute the products (T, B, R) of the inputs with some rows of the weight, plus a bias
        (R,). They do not depend on the state, so they are computed for the whole window at once."""
        weight = self.layer.weight("ih")[rows]
        if inputs.is_floating_point():
            return linear(inputs, weight=weight, bias=bias)

        # A table of the products of all characters.
        if self.embedding is None:
            table = weight.t() + bias
        else:
            table = linear(self.embedding, weight=weight, bias=bias)
        return nn.functional.embedding(inputs, table)

    def _run_equations(self, x: Tensor, state: Tensor) -> LayerRead:
        """Apply the cell's equations to the input products x (T, B, X*H), one time step at a
        time."""
        # The recurrent products are the same functions at every step.
        layer = self.layer
        cell = layer.cell
        products = {}
        for name, weight in self.weights.items():
            effective = cell.effective_weight(weight).to(x.dtype)
            products[name] = recurrent_product(
                effective, bias=layer.bias(name).to(x.dtype), shape=x.shape
            )

        def product(name: str, h: Tensor) -> Tensor:
            return products[name](h)

        # Elementwise operations run in the precision of the state: only matrix products gain from
        # bf16.
        x = x.to(state.dtype)
        ops = self.ops or TORCH
        extras = layer.extras()
        current: CellState = tuple(state)
        states = []
        for x_t in x:
            new = cell.step(ops, x=x_t, product=product, state=current, extras=extras)
            if layer.zoneout:
                new = self._zone_out(current, new=new)
                # Zoneout has moved a clamped unit away from its value.
                new = (*new[:-1], ops.clamp(new[-1]))
            current = new
            states.append(current if self.keeps_cells else current[:1])

        # Only the cell values need the memory c of every step.
        stacked = tuple(torch.stack(vectors) for vectors in zip(*states, strict=True))
        cells = cell.value(ops, stacked) if self.keeps_cells else None
        return LayerRead(stacked[0], cells=cells, state=torch.stack(current))

    def _zone_out(self, old: CellState, new: CellState) -> CellState:
        """Keep the old state of each unit with probability `zoneout`; without noise, compute the
        expected state."""
        zoned = []
        for before, after in zip(old, new, strict=True):
            update: Tensor | float = 1 - self.layer.zoneout
            if self.noise is not None:
                # Each state vector has its own mask (Krueger 2017).
                mask = self.noise.for_one_step(after.shape, share=self.layer.zoneout)
                update = to_device(mask, device=after.device, dtype=after.dtype)
            zoned.append(before + update * (after - before))
        return tuple(zoned)

    def _run_library(self, inputs: Tensor, state: Tensor) -> LayerRead:
        """Compute a cell type with oneDNN or cuDNN. Cell values that are kept may still be None."""
        # Libraries read vectors. They are looked up by `embedding`, because the gradient of
        # indexing takes four times as long.
        layer = self.layer
        weight_hh = self.weights["hh"]
        if inputs.is_floating_point():
            vectors = inputs
        elif self.embedding is None:
            vectors = nn.functional.one_hot(inputs, layer.input_size).to(weight_hh.dtype)
        else:
            vectors = nn.functional.embedding(inputs, self.embedding)
        outputs, last = run_library(
            layer.cell_name,
            inputs=vectors,
            state=state,
            weights=[layer.weight("ih"), weight_hh, layer.bias("ih"), layer.bias("hh")],
        )

        # Libraries return only the last c.
        cells = None
        if self.keeps_cells and layer.cell_name == "lstm":
            cells = self._lstm_cells(inputs, state=state, outputs=outputs)
        elif self.keeps_cells:
            cells = layer.cell.value(TORCH, state=(outputs,))
        return LayerRead(outputs, cells=cells, state=last)

    def _lstm_cells(self, inputs: Tensor, state: Tensor, outputs: Tensor) -> Tensor | None:
        """Compute the cell values (T, B, H) of an LSTM from its outputs: libraries return only the
        last c.

        When every h is known, one matrix product computes the output gates o of all steps. Because
        h = o * tanh(c), the cell value tanh(c) is h / o. Returns None where that is not exact: if
        any o is below SMALLEST_OUTPUT_GATE, or if the precision is not fp32.
        """
        layer = self.layer
        rows = slice(-layer.hidden_size, None)
        h_before = torch.cat((state[:1], outputs[:-1].to(state)))
        bias = layer.bias("ih")[rows] + layer.bias("hh")[rows]
        o = linear(h_before, self.weights["hh"][rows])
        o = (o + self._input_products(inputs, bias=bias, rows=rows)).sigmoid_()
        if outputs.dtype != torch.float32 or o.amin() < SMALLEST_OUTPUT_GATE:
            return None
        return o.reciprocal_().mul_(outputs).clamp_(-1, 1)
