"""Every cell against the equations of docs/understand/equations.md, and every depth against naive ones. T time, B batch, H hidden, L layers, V
vocabulary, I input.

Tests `model.layer`, too.
"""

import itertools
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from effects_networks import H, V, make_config, make_network, tensors_of
from equations import equations_of
from random_networks import in_numpy, random_state

from charrnn.config.architectures import DEPTH_DESCRIPTIONS
from charrnn.model.cell_types import CELLS
from charrnn.model.layer import IRNN_SCALE, TORCH, RecurrentLayer
from charrnn.model.network import HIGHWAY_BIAS, CharRNN
from charrnn.model.noise import Noise
from charrnn.model.stepper import Stepper

T, B, I, L = 13, 3, 4, 3  # noqa: E741
RECENT = ["mingru", "minlstm", "mogrifier", "rglru", "slstm"]
ALL = [*CELLS]
# Each cell with two depths: they meet only in the products and in the queue of states.
ARCHITECTURES = [
    *zip(ALL, itertools.cycle(DEPTH_DESCRIPTIONS), strict=False),
    *zip(ALL, itertools.islice(itertools.cycle(DEPTH_DESCRIPTIONS), 3, None), strict=False),
]
OPTIONS = [{}, {"sum_outputs": True}, {"zoneout": 0.4}]

# Both sides are sums of a dozen float64 terms in another order: they differ by some 1e-16 per step,
# and grow little.
EXACT = {"rtol": 1e-10, "atol": 1e-10}


def make_layer(cell, **noise):
    layer = RecurrentLayer(cell, I, H, **noise).double()
    layer.draw_weights(torch.Generator().manual_seed(0), 1.0)
    return layer


def make_inputs(network):
    ids = torch.randint(0, V, (T, B), generator=torch.Generator().manual_seed(3))
    state = random_state(network, B)
    # h is within [-1, 1] in most cells, and shown as it is.
    return ids, (0.4 * state).clamp(-1, 1)


def symbols_of(layer):
    """Return what the names of the page mean for a layer. The rows of a gate have its letter; a
    bias is the sum of those of both products, `b_in` and `b_hn` are the two of n."""
    w = tensors_of(layer)
    symbols = {
        "σ": lambda a: 1 / (1 + np.exp(-a)),
        "tanh": np.tanh,
        "relu": lambda a: np.maximum(a, 0),
        "exp": np.exp,
        "sqrt": np.sqrt,
        "γ": 1,
        "ε": 0.5,
        "I": np.eye(H),
    }
    for name in ("ih", *layer.cell.products):
        weight, bias = w[f"weight_{name}_l0"], w[f"bias_{name}_l0"]
        num_blocks = len(bias) // H
        letters = layer.cell.block_letters[:num_blocks]
        if num_blocks == 1:
            letters = "m" if name == "mh" else [""]
        blocks = zip(letters, np.split(weight, num_blocks), np.split(bias, num_blocks), strict=True)
        for letter, rows, biases in blocks:
            matrix = "W" if name in ("ih", "xh") else "U"
            side = "i" if name == "ih" else "h"
            symbols[f"{matrix}_{letter}".rstrip("_")] = rows
            both = f"b_{letter}".rstrip("_")
            symbols[both] = symbols.get(both, 0) + biases
            symbols[f"b_{side}{letter or 'h'}"] = biases

    # The other parameters.
    if layer.cell_name == "peephole":
        symbols |= {f"p_{gate}": w[f"weight_c{gate}"] for gate in "ifo"}
    elif layer.cell_name == "mogrifier":
        symbols |= {
            name: 0.1 * w[f"left_{name.lower()}"] @ w[f"right_{name.lower()}"] for name in "QR"
        }
    elif layer.cell_name == "rglru":
        symbols["Λ"] = 6.66 + 2.33 * w["decay"]
    elif layer.cell_name == "unitary":
        symbols |= unitary_symbols(w)
    return symbols


def unitary_symbols(w):
    """Return the matrices of the page for a unitary layer, each as a dense one (H/2, H/2)."""
    n = H // 2
    symbols = {f"D_{k}": np.diag(np.exp(1j * w[f"angle_{k}"])) for k in (1, 2, 3)}
    for k in (1, 2):
        v = w[f"reflection_{k}"][0] + 1j * w[f"reflection_{k}"][1]
        symbols[f"R_{k}"] = np.eye(n) - 2 * np.outer(v, v.conj()) / np.vdot(v, v)
    fourier = np.exp(-2j * math.pi * np.outer(range(n), range(n)) / n) / math.sqrt(n)
    return symbols | {
        "F": fourier,
        "F_inverse": fourier.conj().T,
        "P": np.eye(n)[w["permutation"].astype(int)],
        "β": w["modrelu_bias"],
        "W": in_complex(w["weight_ih_l0"]),
        "b": in_complex(w["bias_ih_l0"]),
    }


def in_complex(parts):
    """Join H real parts and imaginary parts, in this order, to H/2 complex numbers."""
    return parts[: H // 2] + 1j * parts[H // 2 :]


def step_by_the_page(layer, x, state):
    """Compute the equations of docs/understand/equations.md for one character; x (I,), state num_states x
    (H,)."""
    names = symbols_of(layer) | {"x_t": x, "h_before": state[0], "c_before": state[-1]}
    if layer.cell_name == "unitary":
        names["h_before"] = in_complex(state[0])
    if layer.cell_name == "slstm":
        names["n_before"] = np.exp(state[1])
    exec(equations_of(layer.cell_name), names)
    if layer.cell_name == "unitary":
        return [np.append(names["h_t"].real, names["h_t"].imag)]
    if layer.cell_name == "slstm":
        return [names["h_t"], np.log(names["n_t"]), names["c_t"]]
    if len(state) == 1:
        return [names["h_t"]]
    return [names["h_t"], names["c_t"]]


@pytest.mark.parametrize("cell", ALL)
def test_a_layer_computes_the_equations_of_the_page(cell):
    layer, generator = make_layer(cell), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(
                0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            )
    inputs = torch.randn(3, 2, I, generator=generator, dtype=torch.float64)
    state = 0.5 * torch.randn(layer.cell.num_states, 2, H, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        outputs, cells, last = layer(inputs, state, keeps_cells=True)
    for row in range(2):
        current = state[:, row].numpy()
        for t in range(3):
            current = step_by_the_page(layer, inputs[t, row].numpy(), current)
            np.testing.assert_allclose(outputs[t, row].numpy(), current[0], **EXACT)
            shown = {
                "h": current[0],
                "tanh(h)": np.tanh(current[0]),
                "tanh(c)": np.tanh(current[-1]),
            }
            np.testing.assert_allclose(cells[t, row].numpy(), shown[layer.cell.shows], **EXACT)
        np.testing.assert_allclose(last[:, row].numpy(), current, **EXACT)


@pytest.mark.parametrize("cell, depth", ARCHITECTURES)
def test_pieces_are_the_whole_and_the_trace_is_the_forward_pass(cell, depth):
    network = make_network(cell, depth)
    ids, state = make_inputs(network)
    with torch.no_grad():
        logits, last = network(ids, state)
        (traced, cells, hidden), traced_last = network.trace(ids, state)
        for cuts in ((0, 1, 4, 11, T), tuple(range(T + 1))):
            current, pieces = state, []
            for begin, end in pairwise(cuts):
                piece, current = network(ids[begin:end], current)
                pieces.append(piece)
            torch.testing.assert_close(torch.cat(pieces), logits, **EXACT)
            torch.testing.assert_close(current, last, **EXACT)
    torch.testing.assert_close(traced, logits, **EXACT)
    torch.testing.assert_close(traced_last, last, **EXACT)
    assert cells.shape == hidden.shape == (T, B, L, H) and cells.abs().max() <= 1


@pytest.mark.parametrize(
    "cell, depth, options",
    [(*architecture, OPTIONS[index % 3]) for index, architecture in enumerate(ARCHITECTURES)],
    ids=str,
)
def test_the_stepper_computes_what_the_network_computes(cell, depth, options):
    network = make_network(cell, depth, **options)
    ids, state = make_inputs(network)
    stepper = Stepper(make_config(cell, depth, **options), tensors_of(network))
    with torch.no_grad():
        expected, _ = network(ids, state)
    current = in_numpy(state)
    assert stepper.initial_state(B).shape == current.shape
    for t in range(T):
        before = current.copy()
        logits, new = stepper.step(ids[t].numpy(), current)
        assert np.array_equal(current, before), "the old state is left as it was"
        current = new
        # float32 against float64; an irnn's values grow to some hundreds.
        scale = max(1.0, float(expected[t].abs().max()))
        np.testing.assert_allclose(logits, expected[t].numpy(), rtol=0, atol=2e-5 * scale)


@pytest.mark.parametrize("length", [1, 64, 65, 140])
def test_attention_reads_a_window_as_its_characters(length):
    network = make_network("gru", "attention")
    ids = torch.randint(0, V, (length, B), generator=torch.Generator().manual_seed(4))
    state, one_by_one = network.initial_state(B), []
    with torch.no_grad():
        logits, last = network(ids, state)
        for char in ids:
            found, state = network(char[None], state)
            one_by_one.append(found)
    torch.testing.assert_close(torch.cat(one_by_one), logits, **EXACT)
    torch.testing.assert_close(state, last, **EXACT)


@pytest.mark.parametrize("depth", DEPTH_DESCRIPTIONS)
def test_layers_are_joined_as_the_depth_says(depth):
    network = make_network("gru", depth, num_layers=2, sum_outputs=depth == "residual")
    ids, state = make_inputs(network)
    first, second = network.recurrent_layers()
    vectors = state
    with torch.no_grad():
        if depth not in ("grid", "attention"):
            below = first(network.embedding(ids), vectors[0, :1]).outputs
            y = second(below, vectors[1]).outputs
        if depth == "residual":
            top = below + (below + y)
        elif depth == "grid":
            along = network.bottom(network.embedding(ids)).chunk(2, dim=-1)
            for index, (layer, grid) in enumerate(
                zip((first, second), network.grid_layers(), strict=True)
            ):
                y = layer(along[0], vectors[index]).outputs
                gates = (
                    y @ grid.weight("ih").T
                    + grid.bias("ih")
                    + along[0] @ grid.weight("hh").T
                    + grid.bias("hh")
                )
                i, f, g, o = gates.chunk(4, dim=-1)
                c = f.sigmoid() * along[1] + i.sigmoid() * g.tanh()
                along = (o.sigmoid() * c.tanh(), c)
            top = along[0]
        elif depth == "highway":
            gate = torch.sigmoid(below @ network.highways[0].weight.T + network.highways[0].bias)
            top = gate * y + (1 - gate) * below
        elif depth in ("stacked", "dilated"):
            top = y
        elif depth == "attention":
            top = network.embedding(ids)
            for index, layer in enumerate((first, second)):
                y = layer(top, vectors[index, :1]).outputs
                past, joined = torch.cat((vectors[index, 1:], y)), []
                for t, (query, gate) in enumerate(
                    one.chunk(2, dim=-1) for one in network.attentions[index](y)
                ):
                    near = past[t : t + 64]
                    weights = ((near * query).sum(-1) / near.shape[-1] ** 0.5).softmax(0)
                    joined.append(y[t] + gate.sigmoid() * (weights[..., None] * near).sum(0))
                top = torch.stack(joined)
        else:
            raise NotImplementedError(f"no formula of {depth}: add a branch")
        torch.testing.assert_close(network(ids, state)[0], network.output(top), **EXACT)
    drawn = CharRNN(make_config("gru", depth), V).highways
    assert all(bool((one.get_parameter("bias") == HIGHWAY_BIAS).all()) for one in drawn)
    assert len(network.highways) == (depth == "highway") and len(network.grids) == 2 * (
        depth == "grid"
    )
    assert [layer.dilation for layer in (first, second)] == (
        [1, 2] if depth == "dilated" else [1, 1]
    )


@pytest.mark.parametrize("cell", RECENT)
def test_a_window_is_read_as_its_characters_are_and_so_are_its_gradients(cell):
    layer, generator = make_layer(cell), torch.Generator().manual_seed(1)
    inputs = torch.randn(T, B, I, generator=generator, dtype=torch.float64)
    state = torch.randn(
        layer.cell.num_states, B, H, generator=generator, dtype=torch.float64, requires_grad=True
    )
    found = []
    for ops in (None, TORCH):
        outputs, _, last = layer(inputs, state, ops=ops)
        loss = (outputs * torch.arange(T * B * H).view(T, B, H)).sum() + last.sum()
        found.append((outputs, last, *torch.autograd.grad(loss, [*layer.parameters(), state])))
    torch.testing.assert_close(*found, **EXACT)


@pytest.mark.parametrize("initial_state", ["zero", "learned"])
def test_a_text_starts_from_zero_or_from_what_was_learned(initial_state):
    network = make_network("mlstm", "dilated", initial_state=initial_state)
    stepper = Stepper(
        make_config("mlstm", "dilated", initial_state=initial_state), tensors_of(network)
    )
    start = network.initial_state(B)
    assert start.shape == (L, 2 * 4, B, H)
    assert bool(start.any()) == (initial_state == "learned")
    np.testing.assert_array_equal(stepper.initial_state(B), in_numpy(start))
    ids, _ = make_inputs(network)
    logits, _ = network(ids, start)
    weights = torch.randn(
        logits.shape, generator=torch.Generator().manual_seed(6), dtype=torch.float64
    )
    (logits * weights).sum().backward()
    if initial_state == "learned":
        # Layer l continues 2^l sequences, of h and c each; there is room for 4.
        reached = network.learned_state.grad.ne(0).any(dim=-1)
        assert reached.tolist() == [[True] * n + [False] * (8 - n) for n in (2, 4, 8)]


@pytest.mark.parametrize("cell", ALL)
def test_zoneout_keeps_old_states_and_takes_the_mean_without_noise(cell):
    layer, plain = make_layer(cell, zoneout=0.3), make_layer(cell)
    inputs = torch.randn(1, 400, I, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    generator = torch.Generator().manual_seed(2)
    state = 0.5 * torch.randn(
        layer.cell.num_states, 400, H, generator=generator, dtype=torch.float64
    )
    with torch.no_grad():
        new = plain(inputs, state).state
        mean = layer(inputs, state).state
        noise = Noise(torch.Generator().manual_seed(3), 400)
        noisy = layer(inputs, state, noise=noise).state
    torch.testing.assert_close(mean, state + 0.7 * (new - state), **EXACT)
    is_old = (noisy - state).abs() < 1e-12
    assert torch.all(is_old | ((noisy - new).abs() < 1e-12)), (
        "each unit is either the old one or the new one"
    )
    # 2400 coins (twice as many with a c): the share of old ones is 0.3 within 6 standard deviations
    # of 0.0094.
    assert abs(is_old.double().mean().item() - 0.3) < 0.06


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("cell", [cell for cell in CELLS if CELLS[cell].products])
def test_weight_drop_drops_the_same_recurrent_weights_for_a_whole_window(cell, dilation):
    layer, masked = (
        make_layer(cell, dilation=dilation, weight_drop=0.5),
        make_layer(cell, dilation=dilation),
    )
    inputs = torch.randn(T, 2, I, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    state = torch.zeros(dilation * layer.cell.num_states, 2, H, dtype=torch.float64)
    with torch.no_grad():
        quiet = masked(inputs, state)[0]
        noisy = layer(inputs, state, noise=Noise(torch.Generator().manual_seed(3), 2))[0]
        noise = torch.Generator().manual_seed(3)
        for name in layer.cell.products:
            weight = masked.weight(name)
            weight.mul_(2 * torch.empty(weight.shape).bernoulli_(0.5, generator=noise).double())
    torch.testing.assert_close(noisy, masked(inputs, state)[0], **EXACT)
    torch.testing.assert_close(quiet, layer(inputs, state)[0], **EXACT)
    assert not torch.allclose(noisy, quiet)


REFERENCES = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}


@pytest.mark.parametrize("cell", REFERENCES)
def test_the_tensors_of_a_network_load_into_a_stacked_layer_of_torch_nn(cell):
    network = make_network(cell)
    weights = {
        name.split(".")[2].replace("l0", f"l{name.split('.')[1]}"): value
        for name, value in network.state_dict().items()
        if name.startswith("layers.")
    }
    reference = REFERENCES[cell](I, H, num_layers=L).double()
    reference.load_state_dict(weights)
    ids, state = make_inputs(network)
    vectors = state
    first = tuple(vectors.transpose(0, 1)) if cell == "lstm" else vectors[:, 0]
    outputs, last = reference(network.embedding(ids), first)
    logits, found = network(ids, state)
    torch.testing.assert_close(logits, network.output(outputs), **EXACT)
    torch.testing.assert_close(
        found.transpose(0, 1), torch.stack(last) if cell == "lstm" else last[None], **EXACT
    )


@pytest.mark.parametrize("smallest_gate", [1.0, 1e-8])
@torch.no_grad()
def test_the_cells_of_an_lstm_in_float32_are_those_in_float64(smallest_gate):
    """They are outputs divided by the output gate, unless that is too small."""
    network = make_network("lstm")
    for layer in network.recurrent_layers():
        layer.bias("ih")[-1] += math.log(smallest_gate)
    ids, state = make_inputs(network)
    exact = network.trace(ids, state)[0][1]
    # A relative error of 6e-8 of the output, divided by the gate, over 13 steps.
    torch.testing.assert_close(
        network.float().trace(ids, state.float())[0][1].double(),
        exact,
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize("cell", ALL)
def test_blocks_start_orthogonal_or_within_glorots_bound_and_the_forget_gate_open(cell):
    layer = RecurrentLayer(cell, 8, 16)
    layer.draw_weights(torch.Generator().manual_seed(0), 0.7)
    num_blocks, bound = (
        layer.cell.input_blocks,
        math.sqrt(6 / (8 + 16)) * (1 - IRNN_SCALE if cell == "irnn" else 1),
    )
    for block in layer.weight("ih").detach().chunk(num_blocks):
        # The largest of 128 uniform numbers is under 0.9 of the bound once in a million draws.
        assert 0.9 * bound < block.abs().max() <= bound
    for name, num_blocks_of in layer.cell.products.items():
        for block in layer.weight(name).detach().chunk(num_blocks_of):
            expected = torch.eye(16) * (IRNN_SCALE**2 if cell == "irnn" else 1)
            torch.testing.assert_close(block @ block.T, expected, rtol=0.0, atol=1e-5)
        assert not layer.bias(name).any(), (
            "torch.nn adds two biases: one of them carries the forget bias"
        )
    for index, bias in enumerate(layer.bias("ih").chunk(num_blocks)):
        torch.testing.assert_close(
            bias, torch.full((16,), 0.7 if index == layer.cell.forget_block else 0.0)
        )


@pytest.mark.parametrize("cell", ALL)
def test_uniform_weights_are_within_the_bound_of_torch(cell):
    layer = RecurrentLayer(cell, 8, 16)
    layer.draw_weights(torch.Generator().manual_seed(0), 0.7, "uniform")
    for matrix in layer.matrices():
        # 1 / √H; see above.
        assert 0.9 * 0.25 < matrix.abs().max() <= 0.25
