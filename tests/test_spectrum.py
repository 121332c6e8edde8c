"""Recurrent matrices during training: against torch.linalg, and matrices whose spectrum is
known."""

import numpy as np
import pytest
import torch
from effects_networks import H, make_config, make_network, tensors_of

import charrnn.api
from charrnn.analyses.gradients.charts import line_chart
from charrnn.analyses.gradients.spectrum import (
    MAX_NORMS,
    gradient_norms,
    measure_spectrum,
    recurrent_matrices,
)
from charrnn.config.architectures import CELLS
from charrnn.model.cell_types import Unitary
from charrnn.model.layer import TORCH
from charrnn.views.charts import Line

BLOCKS = {"lstm": "ifgo", "peephole": "ifgo", "coupled": "fgo", "gru": "rzn"}
"""The letters of the blocks of W_hh, in the order of `torch.nn`."""


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell != "unitary"])
def test_the_largest_singular_value_is_that_of_torch(cell):
    network = make_network(cell, num_layers=2)
    found = measure_spectrum(
        "run", make_config(cell, num_layers=2), checkpoints=[(7, tensors_of(network))], log=[]
    )
    assert (found.name, found.cell, found.clip_norm, found.steps) == ("run", cell, 1.0, (7,))
    expected = []
    for index, layer in enumerate(network.recurrent_layers()):
        for name, num_blocks in layer.cell.products.items():
            weight = layer.cell.effective_weight(layer.weight(name)).detach()
            for block in weight.chunk(num_blocks):
                largest = torch.linalg.svdvals(block)[0].item()
                expected.append((index, f"W_{name}", pytest.approx(largest, rel=1e-9)))
    assert expected == [
        (one.layer, one.matrix, *one.largest_singular_values) for one in found.matrices
    ]
    if cell in BLOCKS:
        assert "".join(one.gate for one in found.matrices if one.layer == 1) == BLOCKS[cell]


def test_the_matrix_of_a_unitary_cell_is_its_rotation_and_that_of_an_antisymmetric_one_is_skew():
    network = make_network("unitary", num_layers=2)
    places, matrices = zip(
        *recurrent_matrices(make_config("unitary", num_layers=2), tensors_of(network)), strict=True
    )
    assert places == ((0, "U", ""), (1, "U", ""))
    np.testing.assert_allclose(
        matrices[0] @ matrices[0].T, np.eye(H), atol=1e-6
    )  # angles in float32
    layer = network.recurrent_layers()[0]
    extras = {name: getattr(layer, name) for name in layer.cell.extras(H)}
    h = torch.randn(1, H, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    rotated = torch.cat(Unitary.rotate(TORCH, h, extras), dim=-1)
    np.testing.assert_allclose(matrices[0] @ h[0].numpy(), rotated[0].detach().numpy(), atol=1e-5)
    for _, matrix in recurrent_matrices(
        make_config("antisymmetric"), tensors_of(make_network("antisymmetric"))
    ):
        np.testing.assert_array_equal(matrix, -matrix.T)


def test_steps_without_a_finite_norm_are_left_out():
    log = [
        {"event": "step", "step": 1, "grad_norm": 2.5},
        {"event": "step", "step": 2, "grad_norm": None},
        {"event": "validation", "step": 2, "val_nats": 1.0},
        {"event": "step", "step": 3, "grad_norm": 1},
    ]
    assert gradient_norms(log) == ((1, 3), (2.5, 1.0))
    assert gradient_norms([]) == ((), ())


def test_the_norms_of_many_steps_are_grouped():
    many = [
        {"event": "step", "step": step, "grad_norm": float(step % 7)}
        for step in range(1, 2 * MAX_NORMS + 2)
    ]
    steps, norms = gradient_norms(many)
    assert len(steps) == len(norms) <= MAX_NORMS
    assert all(norm == step % 7 for step, norm in zip(steps, norms, strict=True))
    assert min(norms[:-1]) >= 2, "the largest of three consecutive ones"


def test_the_matrices_of_a_run_are_those_of_its_checkpoints(rnn):
    spectrum = charrnn.training_spectrum(rnn.path)
    last = next(charrnn.api.load_steps(rnn.path)).tensors["layers.0.weight_hh_l0"]
    assert spectrum.matrices[0].largest_singular_values[0] == pytest.approx(
        np.linalg.norm(last.astype(float), 2)
    )
    assert len(spectrum.gradient_steps) == len(spectrum.gradient_norms) > 0
    assert len(spectrum.matrices[0].largest_singular_values) == len(spectrum.steps) > 0


def test_a_chart_of_few_steps_names_each():
    chart = line_chart("norms", [Line("run", [[(0.0, 1.0), (2.0, 1.0)]], 0)], [], empty="")
    assert chart.across_ticks(9) == [(0, "0"), (1, "1"), (2, "2")]
