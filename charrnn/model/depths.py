"""The depths, which join the outputs of each layer with the outputs of the layers below, for torch
and NumPy.

`compiled/network.py` repeats two depths as machine code, because numba compiles neither classes
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
    """Stacked layers, the base class of the depths (Graves, Mohamed & Hinton 2013).

    Each layer reads the outputs of the layer below.

        v_t = y_t

    In the equations of a depth, x_t is what a layer reads, y_t is what its cell puts out, after
    dropout, and v_t is what it passes on to the next layer, or from the last one to the output
    layer. Layers are numbered from l = 0.
    """

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
    """A sum of what a layer reads and what it puts out (He et al. 2015).

    A gradient reaches the lowest layer through no weight. The first layer reads a character, and
    passes on y_t.

        v_t = x_t + y_t
    """

    adds_outputs = True

    @staticmethod
    def join(links: Links, layer: int, x: Array, y: Array) -> Array:
        # The inputs of the first layer are characters, which have no H numbers to add.
        return x + y if layer > 0 else y


class Highway(Depth):
    """A gate between input and output of a layer (Srivastava, Greff & Schmidhuber 2015).

    Each layer but the first has a gate T of its input, which chooses between input and output. The
    first layer passes on y_t.

        T_t = σ(W_T x_t + b_T)
        v_t = T_t ⊙ y_t + (1 - T_t) ⊙ x_t

    b_T starts at -1, so that at first a layer mostly passes on what it has read.
    """

    has_gates = True

    @staticmethod
    def join(links: Links, layer: int, x: Array, y: Array) -> Array:
        # x + t (y - x) needs one product less than the formula.
        return x + links.gate(layer, x) * (y - x) if layer > 0 else y


class Dilated(Depth):
    """Stacked layers that work at different speeds (Chang et al. 2017).

    Layer l continues from its state 2^l characters before: all equations of its cell have t-2^l in
    place of t-1.

        v_t = y_t
    """

    @staticmethod
    def dilation(layer: int) -> int:
        return 1 << layer


class Grid(Depth):
    """An LSTM that runs up the layers at every character (Kalchbrenner, Danihelka & Graves 2016).

    It carries a memory past the layers. Its state (s, m) starts anew at every character, from the
    vector e_t of the character. Layer l reads s^l, and its output y_t is the input of this LSTM's
    next step, whose output is passed on.

        s^0_t = W_s e_t + b_s
        m^0_t = W_m e_t + b_m
        x_t = s^l_t

        i_t = σ(W_i y_t + U_i s^l_t + b_i)
        f_t = σ(W_f y_t + U_f s^l_t + b_f)
        g_t = tanh(W_g y_t + U_g s^l_t + b_g)
        o_t = σ(W_o y_t + U_o s^l_t + b_o)

        m^(l+1)_t = f_t ⊙ m^l_t + i_t ⊙ g_t
        s^(l+1)_t = o_t ⊙ tanh(m^(l+1)_t)
        v_t = s^(l+1)_t

    W_s and W_m are the halves of `bottom.weight`. Every layer has other weights W, U and b in
    `grids`. The bias b_f starts as the one of every forget gate.
    """

    has_lstm = True

    @staticmethod
    def join(links: Links, layer: int, x: Array, y: Array) -> Array:
        # The state of the LSTM already contains x, from the layer below.
        return links.climb(layer, y)


class Attention(Depth):
    """Stacked layers that look back, by one attention head each (SHA-RNN of Merity 2019).

    Each layer adds what it finds in its own last 64 outputs. The query q says what it looks for.
    Each earlier output y_j has a weight w_j, the larger the more it resembles the query, and r is
    their weighted sum. The gate s says how much of it is added.

        q_t = W_q y_t + b_q
        s_t = σ(W_s y_t + b_s)

        w_j = exp(y_j·q_t / √H) / Σ_k exp(y_k·q_t / √H)      j, k = t-64 … t-1
        r_t = Σ_j w_j y_j
        v_t = y_t + s_t ⊙ r_t

    y_j·q_t is the sum of the products of both vectors' numbers. As in the paper, only the query is
    multiplied by a matrix. A character does not attend to itself. Before a text the outputs are 0,
    or learned like the other vectors of the state, and have a weight like all others.
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
