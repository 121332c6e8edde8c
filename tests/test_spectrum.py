"""Recurrent matrices during training: against torch.linalg, and matrices whose spectrum is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Ran, TrainedRun
from rich.cells import cell_len

import charrnn.api
from charrnn.architectures import CELLS
from charrnn.config import Config
from charrnn.lab.spectrum import MAX_NORMS, gradient_norms, measure_spectrum, recurrent_matrices
from charrnn.model.cells import Unitary
from charrnn.model.layer import TORCH
from charrnn.model.network import CharRNN

Command = Callable[..., Ran]
V, H = 5, 6
BLOCKS = {"lstm": "ifgo", "peephole": "ifgo", "coupled": "fgo", "gru": "rzn"}
"""The letters of the blocks of W_hh, in the order of `torch.nn`."""


def network_of(cell: str, depth: str = "stacked") -> tuple[Config, CharRNN]:
    config = Config(cell=cell, depth=depth, num_layers=2, hidden_size=H, embedding_size=3, dropout=0.0)
    network = CharRNN(config, V)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=generator))
    return config, network


def tensors_of(network: CharRNN) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in network.state_dict().items()}


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell != "unitary"])
def test_the_largest_singular_value_is_that_of_torch(cell: str) -> None:
    config, network = network_of(cell)
    network.double()
    found = measure_spectrum("run", config, [(7, tensors_of(network))], [])
    assert found.steps == (7,) and (found.name, found.cell, found.clip_norm) == ("run", cell, 1.0)
    expected = {}
    for index, layer in enumerate(network.recurrent_layers()):
        for name, num_blocks in layer.cell.products.items():
            whole = layer.cell.effective_weight(layer.weight(name)).detach().double()
            for number, block in enumerate(whole.chunk(num_blocks)):
                sizes = torch.linalg.svdvals(block)[0].item(), torch.linalg.eigvals(block).abs().max().item()
                expected[index, f"W_{name}", number] = sizes
    assert len(found.matrices) == len(expected)
    for one, ((layer_index, matrix, _), sizes) in zip(found.matrices, expected.items(), strict=True):
        assert (one.layer, one.matrix) == (layer_index, matrix)
        assert (*one.largest_singular_values, *one.spectral_radii) == pytest.approx(sizes, rel=1e-9)
    if cell in BLOCKS:
        assert "".join(one.gate for one in found.matrices if one.layer == 1) == BLOCKS[cell]


def test_the_matrix_of_a_unitary_cell_is_its_rotation() -> None:
    config, network = network_of("unitary")
    places, matrices = zip(*recurrent_matrices(config, tensors_of(network)), strict=True)
    assert places == ((0, "U", ""), (1, "U", ""))
    np.testing.assert_allclose(matrices[0] @ matrices[0].T, np.eye(H), atol=1e-6)  # weights in float32
    layer = network.recurrent_layers()[0]
    extras = {name: getattr(layer, name) for name in layer.cell.extras(H)}
    h = torch.randn(1, H, generator=torch.Generator().manual_seed(1))
    rotated = torch.cat(Unitary.rotate(TORCH, h, extras), dim=-1)
    np.testing.assert_allclose(matrices[0] @ h[0].numpy(), rotated[0].detach().numpy(), atol=1e-5)


def test_an_antisymmetric_matrix_has_imaginary_eigenvalues() -> None:
    config, network = network_of("antisymmetric")
    for _, matrix in recurrent_matrices(config, tensors_of(network)):
        np.testing.assert_array_equal(matrix, -matrix.T)


def test_steps_without_a_finite_norm_are_left_out_and_many_are_grouped() -> None:
    log = [
        {"event": "step", "step": 1, "grad_norm": 2.5},
        {"event": "step", "step": 2, "grad_norm": None},
        {"event": "validation", "step": 2, "val_nats": 1.0},
        {"event": "step", "step": 3, "grad_norm": 1},
    ]
    assert gradient_norms(log) == ((1, 3), (2.5, 1.0))
    many = [{"event": "step", "step": step, "grad_norm": float(step % 7)} for step in range(1, 2 * MAX_NORMS + 2)]
    steps, norms = gradient_norms(many)
    assert len(steps) == len(norms) <= MAX_NORMS
    assert all(norm == step % 7 for step, norm in zip(steps, norms, strict=True))
    assert min(norms[:-1]) >= 2, "the largest of three consecutive ones"
    assert gradient_norms([]) == ((), ())


def test_visualize_draws_the_matrices_of_runs(command: Command, lab: Path, rnn: TrainedRun) -> None:
    options = ("visualize", lab, "--spectrum", "--with", rnn.path)
    one, two = json.loads(command(*options, "--json").out)
    assert (one["cell"], two["cell"]) == ("lstm", "rnn")
    assert [matrix["gate"] for matrix in one["matrices"]] == [*"ifgo"] * (len(one["matrices"]) // 4)
    assert len(two["matrices"][0]["spectral_radii"]) == len(two["steps"]) > 0
    assert len(one["gradient_steps"]) == len(one["gradient_norms"]) > 0
    spectrum = charrnn.training_spectrum(rnn.path)
    assert two == json.loads(json.dumps(spectrum.to_json()))
    last = next(charrnn.api.load_steps(rnn.path)).tensors["layers.0.weight_hh_l0"]
    assert spectrum.matrices[0].largest_singular_values[0] == pytest.approx(np.linalg.norm(last.astype(float), 2))
    ran = command(*options)
    assert ran.code == 0 and "Norm of the gradient" in ran.out and "W_hh o" in ran.out and "clipped at 1" in ran.out
    assert max(map(cell_len, ran.out.splitlines())) <= 80
    ran = command(*options, "--export", "spectrum.svg")
    assert ran.code == 0 and Path("spectrum.svg").read_text(encoding="utf-8").count("Largest singular value") == 1


def test_the_spectrum_needs_no_text(command: Command, lab: Path) -> None:
    ran = command("visualize", lab, "--spectrum", "--text", "any.txt")
    assert (ran.code, ran.err) == (2, "error: --text does not apply to --spectrum: leave out one of them.\n")
    ran = command("visualize", lab, "--spectrum", "--gates")
    assert ran.code == 2 and "are different pictures" in ran.err
    ran = command("visualize", lab, "--spectrum", "--with", "missing")
    assert ran.code == 4 and ran.err.startswith("error: no run 'missing'"), ran.err
