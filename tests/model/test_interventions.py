"""Interventions: what is held, exchanged and recorded, in torch and in NumPy. B batch, H hidden."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from charrnn.model.interventions import exchange, hold, record, record_layers, remove
from charrnn.model.layer import TORCH
from charrnn.model.portable_math import NUMPY


@pytest.mark.parametrize("ops", [TORCH, NUMPY], ids=["torch", "numpy"])
def test_held_units_have_the_values_and_the_memory_is_not_changed(ops):
    memory = np.arange(8, dtype=np.float32).reshape(2, 4)
    passed = torch.from_numpy(memory.copy()) if ops is TORCH else memory.copy()
    doubled = hold(ops, [3, 0], values=lambda values: 2 * values)
    twice = hold(doubled, [1], values=lambda _: -1.0)
    assert twice.clamp(passed).tolist() == [[0, -1, 2, 6], [8, -1, 6, 14]]
    assert passed.tolist() == memory.tolist()


def test_exchanged_memories_come_in_their_order():
    held = torch.tensor([[True, False], [False, False]])
    others = [torch.full((2, 2), 7.0), torch.full((2, 2), 8.0)]
    ops = exchange(TORCH, is_exchanged=held, memories=others)
    assert ops.clamp(torch.zeros(2, 2)).tolist() == [[7, 0], [0, 0]]
    assert ops.clamp(torch.ones(2, 2)).tolist() == [[8, 1], [1, 1]]


def test_a_direction_is_removed_about_the_mean_in_standard_deviations():
    means = torch.tensor([1.0, 2.0, 3.0])
    deviations = torch.tensor([1.0, 0.5, 4.0])
    # The whole of the first direction, half of the second one, nothing of the third.
    directions = torch.tensor([[0.6, 0.8, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 0.0]])
    scores = torch.tensor([[0.6, 0.8, 5.0], [1.0, 1.0, 5.0], [1.0, 1.0, 5.0]])
    ops = remove(TORCH, directions, means=means, deviations=deviations)
    left = (ops.clamp(means + scores * deviations) - means) / deviations
    expected = torch.tensor([[0.0, 0.0, 5.0], [0.5, 0.5, 5.0], [1.0, 1.0, 5.0]])
    torch.testing.assert_close(left, expected)


def test_a_record_has_arguments_and_results_of_one_function():
    kept = []
    ops = record(NUMPY, "tanh", keep=lambda value, result: kept.append((value, result)))
    assert ops.sigmoid is NUMPY.sigmoid
    value = np.float32([0.5])
    result = ops.tanh(value)
    assert kept == [(value, result)] and result == np.tanh(value)


def test_each_layer_records_what_passes_after_other_interventions():
    results = [[], []]
    ops = record_layers(replace(TORCH, clamp=torch.neg), "clamp", results=results)
    ops[1].clamp(torch.ones(1))
    assert results == [[], [-torch.ones(1)]]
