"""Trainers of tests: what they change, compared to the bit."""

import torch


def everything(trainer):
    """A copy of every number that a trainer changes."""
    tensors = {f"weights {name}": value for name, value in trainer.network.state_dict().items()}
    tensors |= {f"averaged {name}": value for name, value in trainer.averaged.state_dict().items()}
    for name, parameter in trainer.network.named_parameters():
        for optimizer in trainer.optimizers:
            tensors |= {
                f"{key} {name}": value for key, value in optimizer.state.get(parameter, {}).items()
            }
    tensors["state"] = trainer.state
    tensors["counters"] = torch.tensor([trainer.step, trainer.cursor])
    return {name: value.detach().clone() for name, value in tensors.items()}


def assert_equal(first, second):
    """To the bit."""
    assert first.keys() == second.keys()
    assert [name for name, value in first.items() if not torch.equal(value, second[name])] == []


def save(trainer):
    """What a run folder would hold: the numbers as they are now, apart from the trainer's own
    memory."""
    tensors, counters = trainer.snapshot()
    model = {name: value.copy() for name, value in trainer.model_tensors().items()}
    return model, {name: value.copy() for name, value in tensors.items()}, counters


def take_steps(trainer, num_steps):
    return [trainer.take_step() for _ in range(num_steps)]
