"""The depths: how each layer's outputs are joined with those of the layers below, once for torch
and NumPy.

`compiled/sampling.py` repeats two of them as machine code: numba compiles neither classes nor
functions that are passed as arguments, and its loops change arrays in place.
`tests/compiled/test_compiled.py` compares it with these.

Shapes: H hidden, E embedding; the leading dimensions are (T, B) in torch and (B,) in NumPy.
"""

from typing import ClassVar, Protocol

from charrnn.model.cell_types import A


class Links(Protocol[A]):
    """The weights that a depth has of its own, as one library multiplies with them. One instance
    serves one pass."""

    def gate(self, layer: int, x: A) -> A:
        """Compute the gate (…, H) of a layer from x (…, H), where `Depth.has_gates`."""

    def climb(self, layer: int, x: A) -> A:
        """Feed x (…, H) to the LSTM along depth: its output (…, H) at a layer, where
        `Depth.has_lstm`."""

    def attend(self, layer: int, y: A) -> A:
        """Return what a layer's head reads (…, H) in its last `Depth.span` outputs; keep y (…, H)
        with them."""


class Depth:
    """Stacked layers, and base class of the depths: y, the outputs of the layer."""

    has_gates: ClassVar[bool] = False
    """Whether every layer but the first has a weight (H, H) and a bias (H,): `highways.i`, with i =
    layer - 1."""
    has_lstm: ClassVar[bool] = False
    """Whether an LSTM runs up the layers: `bottom` (2 * H, E) computes its first state from a
    character's vector, and the first layer reads that state's h; `grids.i` are its weights at layer
    i."""
    span: ClassVar[int] = 0
    """Outputs of each layer that the state keeps, after that of its cell; in training, as dropout
    left them. If any, every layer has a weight (2 * H, H) and a bias (2 * H,): `attentions.i`."""

    @staticmethod
    def dilation(layer: int) -> int:
        """Return from how many characters back a layer continues."""
        return 1

    @staticmethod
    def join(links: Links[A], layer: int, x: A, y: A) -> A:
        """Compute what the next layer reads, (…, H), from what this layer read, x, and its outputs,
        y (…, H).

        x is (…, H) too, except for layer 0 of a depth without an LSTM: there it is the character
        itself.
        """
        return y


class Residual(Depth):
    """x + y (He 2015)."""

    @staticmethod
    def join(links: Links[A], layer: int, x: A, y: A) -> A:
        # Below the first layer there is a character, which has no H numbers to add.
        joined: A = x + y if layer > 0 else y
        return joined


class Highway(Depth):
    """t * y + (1 - t) * x, t = sigmoid(W x + b) (Srivastava 2015)."""

    has_gates = True

    @staticmethod
    def join(links: Links[A], layer: int, x: A, y: A) -> A:
        # x + t (y - x), with one product less than the formula.
        joined: A = x + links.gate(layer, x) * (y - x) if layer > 0 else y
        return joined


class Dilated(Depth):
    """y, where layer l continues from the character 2^l before (Chang 2017)."""

    @staticmethod
    def dilation(layer: int) -> int:
        return 1 << layer


class Grid(Depth):
    """The output h of an LSTM that reads y, and whose state (h, c) goes from layer to layer
    (Kalchbrenner 2016).

    Two dimensions, time before depth, weights not shared between layers. At every character the
    state starts as a product of the character's vector.
    """

    has_lstm = True

    @staticmethod
    def join(links: Links[A], layer: int, x: A, y: A) -> A:
        # x is in the state of that LSTM already: it is what the layer below left there.
        return links.climb(layer, y)


class Attention(Depth):
    """y + sigmoid(W_g y + b_g) * r, where one head reads r in the last outputs of the layer (Merity
    2019: SHA-RNN).

    r is the sum of softmax(k q / sqrt(H)) k over these outputs k, with q = W_q y + b_q: as in the
    paper, only the query is multiplied by a matrix. Before a text the outputs are 0, or learned as
    the rest of the state.
    """

    span = 64

    @staticmethod
    def join(links: Links[A], layer: int, x: A, y: A) -> A:
        # y is kept after it was used: a character does not attend to itself.
        joined: A = y + links.attend(layer, y)
        return joined


DEPTHS: dict[str, type[Depth]] = {
    "stacked": Depth,
    "residual": Residual,
    "highway": Highway,
    "dilated": Dilated,
    "grid": Grid,
    "attention": Attention,
}
"""Depths by the name that `--depth` takes. `architectures` describes them and says how to add one.
"""
