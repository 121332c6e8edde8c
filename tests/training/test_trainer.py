"""The trainer: one step equals the formulas, a restored one is the same to the bit. T window, B
rows, V vocabulary."""

import numpy as np
import pytest
import torch
from hand_built import small_config
from torch.nn.functional import cross_entropy
from trainers import assert_equal, everything, save, take_steps

import charrnn
from charrnn.errors import NonFiniteError
from charrnn.text.batches import BatchRows
from charrnn.training.optim import learning_rate_at
from charrnn.training.trainer import Trainer

V, B, T = 9, 7, 6
CPU = torch.device("cpu")


def make_trainer(cell_type="lstm", **changes):
    ids = np.random.default_rng(1).integers(0, V, 300).astype(np.uint16)
    return Trainer(small_config(cell_type=cell_type, **changes), BatchRows(ids, B), V, CPU)


@pytest.mark.parametrize(
    "cell, num_before, weight_average", [("lstm", 7, 0.9), ("gru", 1, 0.0), ("rnn", 0, 0.9)]
)
def test_a_restored_trainer_takes_the_same_steps_to_the_bit(cell, num_before, weight_average):
    trainer = make_trainer(cell, weight_average=weight_average)
    take_steps(trainer, num_before)
    saved = save(trainer)
    restored = make_trainer(cell, weight_average=weight_average, seed=0)
    with torch.no_grad():
        for parameter in (*restored.network.parameters(), *restored.averaged.parameters()):
            parameter.fill_(0.5)  # nothing may be right merely because the same seed drew it
    restored.restore(*saved)
    assert_equal(everything(restored), everything(trainer))
    expected = take_steps(trainer, 5)
    assert (
        trainer.snapshot()[1]
        == {"step": num_before + 5, "cursor": (num_before + 5) * T}
        != saved[2]
    )
    assert take_steps(restored, 5) == expected
    assert_equal(everything(restored), everything(trainer))
    assert len({result.train_nats for result in expected}) == 5
    trainer.restore(*saved)
    assert take_steps(trainer, 5) == expected, "a trainer can go back"


def expected_loss(trainer, state):
    """Mean loss of the trainer's next window, read from `state`, nothing dropped."""
    inputs, targets = trainer.batches.window(trainer.cursor, T)
    with torch.no_grad():
        logits, _ = trainer.network(torch.from_numpy(inputs), state)
    return cross_entropy(logits.flatten(0, 1), torch.from_numpy(targets).flatten()).item()


@pytest.mark.parametrize("reset", [0.0, 1.0])
def test_a_step_reads_the_next_window_from_the_carried_state_or_from_zero(reset):
    trainer = make_trainer(dropout=0.0, input_dropout=0.0, reset_probability=reset)
    for step in range(3):
        assert (trainer.step, trainer.cursor) == (step, step * T)
        zero = torch.zeros_like(trainer.state)
        losses = {0.0: expected_loss(trainer, trainer.state), 1.0: expected_loss(trainer, zero)}
        result = trainer.take_step()
        # Float32 sums of some 40 losses near 2: relative 1e-6.
        assert result.train_nats == pytest.approx(losses[reset], rel=1e-6)
        if step:
            assert losses[0.0] != pytest.approx(losses[1.0], rel=1e-5), (
                "else the state would not matter here"
            )
        assert result.learning_rate == learning_rate_at(step, trainer.config)
    assert not trainer.state.requires_grad


def test_only_what_follows_the_given_characters_is_learned():
    ids = np.random.default_rng(1).integers(0, V, 300).astype(np.uint16)
    config = small_config(cell_type="lstm", dropout=0.0, input_dropout=0.0, reset_probability=0.0)
    after = np.array([3, 5], dtype=np.uint16)
    trainer = Trainer(config, BatchRows(ids, B), V, CPU, learned_after=after)
    inputs, targets = map(torch.from_numpy, trainer.batches.window(0, T))
    with torch.no_grad():
        logits, _ = trainer.network(inputs, trainer.state)
    is_learned = (inputs == 3) | (inputs == 5)
    expected = cross_entropy(logits[is_learned], targets[is_learned]).item()
    assert 1 < is_learned.sum() < T * B
    # Float32 sums of some ten losses near 2: relative 1e-6.
    assert trainer.take_step().train_nats == pytest.approx(expected, rel=1e-6)


def test_the_gradient_is_clipped_and_its_norm_told_from_before():
    trainer = make_trainer(clip_norm=0.01)
    result = trainer.take_step()
    gradients = [
        parameter.grad for parameter in trainer.network.parameters() if parameter.grad is not None
    ]
    assert len(gradients) == len(list(trainer.network.parameters()))
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm().item()
    assert result.grad_norm > 0.1
    assert norm == pytest.approx(
        0.01, rel=1e-3
    )  # clip_grad_norm_ divides by norm + 1e-6, and float32 rounds


@pytest.mark.parametrize("fault, num_before", [("loss nan", 2), ("gradient norm inf", 0)])
def test_a_step_that_is_not_finite_is_refused_before_anything_changed(fault, num_before):
    trainer = make_trainer(reset_probability=0.0, dropout=0.0)
    take_steps(trainer, num_before)
    with torch.no_grad():
        if fault == "loss nan":
            trainer.state.fill_(torch.nan)
        else:  # The square of the gradient's norm is beyond float32.
            trainer.network.output.weight.mul_(1e25)
    before = everything(trainer)
    with pytest.raises(
        NonFiniteError, match=rf"^Step {num_before + 1}: .*{fault}.* The learning rate was 0"
    ) as caught:
        trainer.take_step()
    assert caught.value.exit_code == 5
    for name, value in everything(trainer).items():
        torch.testing.assert_close(value, before[name], rtol=0.0, atol=0.0, equal_nan=True)


def test_a_new_run_begins_in_the_learned_state_of_the_old_one():
    trainer = make_trainer(initial_state="learned")
    model = trainer.model_tensors()
    model["learned_state"][:] = 0.5
    trainer.start_with(model)
    assert bool((trainer.state == 0.5).all())


def test_a_window_in_which_no_document_begins_leaves_the_learned_state():
    trainer = make_trainer(initial_state="learned", documents="lines")
    trainer.batches = BatchRows(np.full(300, 2, np.uint16), B)  # END is 1
    take_steps(trainer, 2)
    assert not trainer.model_tensors()["learned_state"].any(), "as it was drawn: zero"


def test_a_gradient_that_overflows_fp16_is_computed_again_with_a_smaller_scale(monkeypatch):
    tried = []

    compute = Trainer._compute_gradients

    def watch(self, window, scale):
        tried.append(scale)
        return compute(self, window, scale)

    monkeypatch.setattr(Trainer, "_compute_gradients", watch)
    expected, trainer = make_trainer(precision="fp16"), make_trainer(precision="fp16")
    expected.take_step()
    assert tried == [32.0], "the largest power of two up to B * T = 42"
    tried.clear()
    # In fp16 the largest number is 65,504: a scaled loss of about 2.2 nats is beyond it at once.
    monkeypatch.setattr("charrnn.training.trainer.loss_scales", lambda config: (2.0**40, 32.0))
    trainer.take_step()
    assert tried == [2.0**40, 32.0]
    assert_equal(everything(trainer), everything(expected))
    before = everything(trainer)
    monkeypatch.setattr("charrnn.training.trainer.loss_scales", lambda config: (2.0**50, 2.0**40))
    with pytest.raises(NonFiniteError):
        trainer.take_step()
    assert_equal(everything(trainer), before)


def test_a_newline_and_a_blank_can_be_learned_after(tmp_path, command):
    (tmp_path / "text.txt").write_text("a b\n" * 900, encoding="utf-8")
    line = ("train", tmp_path / "text.txt", "--steps", 1, "--hidden-size", 4)
    for typed, characters in ((r"\n", "\n"), (" ", " ")):
        run = tmp_path / f"run-{ord(characters)}"
        ran = command(*line, "--set", f"learned_after={typed}", "--out", run)
        assert ran.code == 0, ran.err
        assert charrnn.load(run).config.learned_after == characters
        assert command("train --resume", run, "--steps", 2).code == 0
    refused = command(*line, "--set", r"learned_after=\q")
    assert refused.code == 2 and r"\q has no meaning" in refused.err
