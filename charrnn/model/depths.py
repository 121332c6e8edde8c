"""The depths, which join the outputs of each layer with the outputs of the layers below, for torch
and NumPy.

`compiled/sampling.py` repeats two depths as machine code, because numba compiles neither classes
nor functions that are passed as arguments, and its loops change arrays in place.
`tests/compiled/test_compiled.py` compares its results with this module.

Shapes: H hidden, E embedding; the leading dimensions are (T, B) in torch and (B,) in NumPy.
"""

from typing import Protocol

from charrnn.model.cell_types import Array


class Links(Protocol):
    """The products with the weights of a depth, in one array library. One instance serves one pass.

    A depth computes with it in torch and in NumPy, where the weights are kept in other ways.
    """

    def gate(self, layer: int, x: Array) -> Array:
        """Compute the gate (…, H) of a layer from x (…, H), if the depth `has_gates`."""

    def climb(self, layer: int, x: Array) -> Array:
        """Feed x (…, H) to the LSTM along depth, and return its output (…, H) at a layer, if the
        depth `has_lstm`."""

    def attend(self, layer: int, y: Array) -> Array:
        """Return the vector (…, H) that the attention head of a layer reads from the last
        `Depth.span` outputs of the layer, and append y (…, H) to these outputs."""


class Depth:
    """Stacked layers, where the next layer reads y, the outputs of this one. Base class of the
    depths."""

    adds_outputs = False
    """Whether a layer hands on the sum of its inputs and its outputs, except for the first."""
    has_gates = False
    """Whether every layer except the first has a weight (H, H) and a bias (H,): `highways.i`, with
    i = layer - 1."""
    has_lstm = False
    """Whether an LSTM runs up the layers: `bottom` (2 * H, E) computes its first state from the
    vector of a character, and the first layer reads the h of this state; `grids.i` are its weights
    at layer i."""
    span = 0
    """Number of last outputs of each layer that the state contains, after the state of the cell; in
    training, these are the outputs after dropout. If it is not 0, every layer has a weight (2 * H,
    H) and a bias (2 * H,): `attentions.i`."""

    @staticmethod
    def dilation(layer: int) -> int:
        """Return the number of characters between a character and the earlier one whose state a
        layer continues."""
        return 1

    @staticmethod
    def join(links: Links, layer: int, x: Array, y: Array) -> Array:
        """Compute the inputs (…, H) of the next layer from the inputs x and the outputs y (…, H) of
        this layer.

        x is (…, H), too, except for layer 0 of a depth without an LSTM, which reads the characters.
        """
        return y


class Residual(Depth):
    """x + y (He 2015)."""

    adds_outputs = True

    @staticmethod
    def join(links: Links, layer: int, x: Array, y: Array) -> Array:
        # The inputs of the first layer are characters, which have no H numbers to add.
        return x + y if layer > 0 else y


class Highway(Depth):
    """t * y + (1 - t) * x, t = sigmoid(W x + b) (Srivastava 2015)."""

    has_gates = True

    @staticmethod
    def join(links: Links, layer: int, x: Array, y: Array) -> Array:
        # x + t (y - x) needs one product less than the formula.
        return x + links.gate(layer, x) * (y - x) if layer > 0 else y


class Dilated(Depth):
    """y, where layer l continues from the character 2^l before (Chang 2017)."""

    @staticmethod
    def dilation(layer: int) -> int:
        return 1 << layer


class Grid(Depth):
    """The output h of an LSTM that reads y, and whose state (h, c) is passed from layer to layer
    (Kalchbrenner 2016).

    The grid has two dimensions, time before depth, and its layers do not share weights. At every
    character the state starts as a product of the character's vector.
    """

    has_lstm = True

    @staticmethod
    def join(links: Links, layer: int, x: Array, y: Array) -> Array:
        # The state of the LSTM already contains x, from the layer below.
        return links.climb(layer, y)


class Attention(Depth):
    """y + sigmoid(W_g y + b_g) * r, where one attention head reads r from the last outputs of the
    layer (Merity 2019: SHA-RNN).

    r is the sum of softmax(k q / sqrt(H)) k over these outputs k, with q = W_q y + b_q. As in the
    paper, only the query is multiplied by a matrix. Before a text the outputs are 0, or learned
    like the other vectors of the state.
    """

    span = 64

    @staticmethod
    def join(links: Links, layer: int, x: Array, y: Array) -> Array:
        # `attend` appends y only after the attention: a character does not attend to itself.
        return y + links.attend(layer, y)


DEPTHS: dict[str, type[Depth]] = {
    "stacked": Depth,
    "residual": Residual,
    "highway": Highway,
    "dilated": Dilated,
    "grid": Grid,
    "attention": Attention,
}
"""The depths by the values of the setting `depth`, which `config.architectures` describes."""
