"""The step of a training, and all numbers that it changes.

`Trainer.take_step` is the step: it reads the next window of the text (`_next_window`), computes
the loss and the clipped gradient (`_compute_gradients`), takes an optimizer step with it, and
averages the weights.

Shapes: T window length, B batch rows, V vocabulary; state as in `model.network`.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy

from charrnn.config.settings import Config, resolved
from charrnn.errors import CheckpointError, NonFiniteError, named
from charrnn.model.device import autocast, exact_arithmetic, keep_freed_memory, to_device
from charrnn.model.ensemble import build_network, networks_of, numpy_tensors, tensors_of
from charrnn.model.noise import Noise
from charrnn.runs.checkpoint import Tensors
from charrnn.system.spinning import limit_loaded_torch
from charrnn.text.batches import BatchRows
from charrnn.text.vocab import IdArray
from charrnn.training.omega import Omega
from charrnn.training.optim import (
    learning_rate_at,
    loss_scales,
    make_optimizers,
    update_average,
)

STEPS_PER_SEED = 1_000_003
"""Steps after which the random numbers of a run are those of a run with the next seed. Few runs
have so many."""


@dataclass(frozen=True)
class StepResult:
    """Mean loss of the step in nats per character, the gradient's norm before clipping, the
    learning rate.

    The step event has these figures.

    For an ensemble: the mean of its networks' losses, and their largest norm.
    """

    train_nats: float
    grad_norm: float
    learning_rate: float


class Window(NamedTuple):
    """What a step reads, apart from the weights and the recurrent state, on the device."""

    ids: Tensor
    """(T, B): the characters that the network reads, in a column for every batch row."""
    targets: Tensor
    """(T, B): for each of them the character after it, which is to be predicted."""
    is_reset: Tensor
    """(B,): the batch rows that forget what they have read; empty if the text has document ends
    (`end_id`), where the network itself resets."""
    noise: Noise
    """The masks of what is dropped."""


class AllRows:
    """The batch rows that a trainer computes: all of them, so there are no others to add.

    `several_processes.SomeRows` is a part of the rows, and gets what is computed of the others.
    """

    @property
    def num_parts(self) -> int:
        """How many trainers compute a part of the batch each."""
        return 1

    def slice_of(self, batch_size: int) -> slice:
        """Return the place of the rows in a batch of that size."""
        return slice(0, batch_size)

    def add_others(self, tensors: Sequence[Tensor]) -> None:
        """Add to each of the tensors what was computed of the other rows of the batch."""

    def join(self, state: Tensor, batch_size: int) -> Tensor:
        """Return the state of the whole batch; `state` is that of these rows."""
        return state


ALL_ROWS = AllRows()
"""What a trainer computes by default."""


class Trainer:
    """Network, optimizers, averaged weights, recurrent state and position in the text.

    It writes no files and has no events, which are those of `TrainingSession`: use it alone to
    measure how fast a step is, or to train without a run.

    `model_tensors` and `snapshot` together return all of it, and `restore` takes it back, so a
    restored trainer takes bit-identical steps on a CPU. A snapshot contains no random generator:
    whatever is random in step n is drawn from (seed, n).
    """

    def __init__(
        self,
        config: Config,
        batches: BatchRows,
        vocab_size: int,
        device: torch.device,
        learned_after: IdArray | None = None,
        *,
        own_rows: AllRows = ALL_ROWS,
    ):
        """Build a network with the weights of `config.seed`.

        It learns to predict every character, or only those that follow an id of `learned_after`.
        `own_rows` are the batch rows that this trainer computes.
        """
        assert config.steps is not None, "config.steps must be set (by `plan_steps`)"

        # Settings of torch, which make every step faster.
        keep_freed_memory()
        limit_loaded_torch()

        # What training reads, and where it computes.
        self.config = config
        self.batches = batches
        self.device = device
        self.own_rows = own_rows
        self.rows = own_rows.slice_of(batches.batch_size)
        self._learned_after: Tensor | None = None
        if learned_after is not None:
            self._learned_after = torch.from_numpy(learned_after.astype(np.int64)).to(device)

        # The network that learns: a `CharRNN`, or an `Ensemble` of several that learn side by side.
        # And a network with the average of its weights, which is validated, saved and sampled from.
        # Without averaging, both are the same object.
        self.network = build_network(config, vocab_size=vocab_size).to(device)
        self.averaged = self.network
        if config.weight_average > 0:
            self.averaged = copy.deepcopy(self.network)

        # For the regulariser Ω (`training.omega`), which is for a single network, the layers record
        # what they read. A separate averaged network, which was copied above, does not.
        self._networks = networks_of(self.network)
        self._omega: Omega | None = None
        if config.omega > 0:
            self._omega = Omega(self._networks[0].recurrent_layers(), factor=config.omega)

        self.optimizers = make_optimizers(self.network, config=config)

        # Lists, because walking through the modules at every step takes a small model's step 3 %
        # longer.
        self._weights: list[Tensor] = list(self.network.parameters())
        self._weights_of_networks = [list(network.parameters()) for network in self._networks]
        """The weights of each network of an ensemble: their gradients are clipped together."""
        self._averages: list[Tensor] = list(self.averaged.parameters())
        """The averages of all weights."""

        # Where training is: every batch row reads its own part of the text, from its beginning. The
        # state is in memory of its own, also if the network learns its initial state.
        self.state = self._initial_state().detach()
        self.step = 0
        self.cursor = 0

    def take_step(self) -> StepResult:
        """Train on the next window of every batch row (truncated BPTT with carried state; Williams
        & Peng 1990).

        Raises NonFiniteError, with nothing changed, if the loss or the gradient is not finite.
        """
        # On CUDA, the flags of torch for exact arithmetic cover the backward pass and the
        # optimizers, too.
        with exact_arithmetic(self.device):
            # The schedule of the learning rate counts steps from 0, the optimizers from 1.
            learning_rate = learning_rate_at(self.step, self.config)

            # The gradient of the next window. In fp16 it may overflow; then it is computed again
            # with a smaller factor of the loss; in all other precisions there is one factor, 1.
            # Until the gradient is finite nothing changes, neither weights nor state nor position,
            # so the session can go back to its latest checkpoint.
            for scale in loss_scales(self.config):
                state, loss_and_norm = self._compute_gradients(self._next_window(), scale=scale)
                # One copy to main memory for both, because the CPU waits for it until the device
                # has computed everything.
                train_nats, norm = loss_and_norm.tolist()
                if math.isfinite(train_nats) and math.isfinite(norm):
                    break
            else:
                # No factor gives a finite gradient.
                raise NonFiniteError(
                    f"Step {self.step + 1}: loss {train_nats}, gradient norm {norm}. The learning"
                    f" rate was {learning_rate:.2g} there."
                )

            # The step itself: the optimizers use the gradient in every weight's `grad`.
            self.step += 1
            for optimizer in self.optimizers:
                optimizer.step(optimizer.rate_scale * learning_rate, self.step)

            # The next window continues where this window ends, with its state.
            self.state = state
            self.cursor += self._window_length

            # The exponential moving average of each weight over the steps, the latest with most
            # weight (Polyak & Juditsky 1992).
            if self.averaged is not self.network:
                update_average(
                    self._averages,
                    weights=self._weights,
                    decay=self.config.weight_average,
                    step=self.step,
                )
        return StepResult(train_nats, grad_norm=norm, learning_rate=learning_rate)

    def _next_window(self) -> Window:
        """Return the window that the next step reads."""
        ids, targets = self.batches.window(self.cursor, length=self._window_length, rows=self.rows)

        # Random numbers are drawn for the whole batch, whichever of its rows are computed here.
        # torch uses the lower 32 bits of a seed.
        seed = (self.config.seed * STEPS_PER_SEED + self.step) % 2**32
        generator = Generator().manual_seed(seed)
        # Some rows forget what they have read, so that the network learns the start of a text.
        is_reset = torch.zeros(0)
        if self.config.end_id is None:  # With documents, the network resets the state itself.
            drawn = torch.rand(self.batches.batch_size, generator=generator)[self.rows]
            is_reset = drawn < self.config.reset_probability
        return Window(
            ids=to_device(torch.from_numpy(ids), device=self.device),
            targets=to_device(torch.from_numpy(targets), device=self.device),
            is_reset=to_device(is_reset, device=self.device),
            noise=Noise(generator, batch_size=self.batches.batch_size, own=self.rows),
        )

    def _compute_gradients(self, window: Window, scale: float) -> tuple[Tensor, Tensor]:
        """Compute the clipped gradient of the mean loss over a window into every weight's `grad`;
        `scale` is the factor of the loss in fp16.

        Return the state after the window, and (2,): the mean loss in nats per character, and the
        gradient's norm before clipping, as in `StepResult`.
        """
        state = self.state
        if self.config.end_id is None:
            state = torch.where(window.is_reset[:, None], self._initial_state(), state)

        # Forward.
        with autocast(self.device, self.config.precision):
            logits, state = self.network(window.ids, state, window.noise)
        loss = self._loss(logits, window=window)

        # Backward, in fp16 from a multiple of the loss, because small gradients would become 0.
        # Old gradients are dropped, not zeroed: zeros would cost a pass over all weights.
        for weight in self._weights:
            weight.grad = None
        (scale * loss).backward()  # type: ignore[no-untyped-call]

        # Undo the factor of the loss, give unused weights a gradient of zero, and add the gradient
        # of Ω.
        for weight in self._weights:
            if weight.grad is None:  # a learned state, in a window in which no document begins
                weight.grad = torch.zeros_like(weight)
            if scale != 1:
                weight.grad.mul_(1 / scale)
        if self._omega is not None:
            self._omega.add_gradients(len(window.ids) * self.batches.batch_size)

        # Add those of the other batch rows, if some are computed elsewhere.
        mean_loss = loss.detach() / len(self._networks)
        gradients = [weight.grad for weight in self._weights if weight.grad is not None]
        self.own_rows.add_others([*gradients, mean_loss])

        # Clipping (Pascanu 2013): an exploding gradient keeps its direction. Each network of an
        # ensemble is clipped on its own, so that none slows the rest.
        norms = [
            nn.utils.clip_grad_norm_(weights, self.config.clip_norm, foreach=True)
            for weights in self._weights_of_networks
        ]
        loss_and_norm = torch.stack((mean_loss, torch.stack(norms).amax()))
        return state.detach(), loss_and_norm

    def _loss(self, logits: Tensor, window: Window) -> Tensor:
        """Compute the mean loss over the learned characters of a window, or the part of it of the
        batch rows that are computed here.

        The loss of an ensemble is the sum of the losses of its networks, each of which learns as if
        it were alone.
        """
        num_targets = len(window.ids) * self.batches.batch_size
        # The logits of an ensemble of M networks are (T, M * B, V), so the targets of the batch
        # rows repeat for each network.
        logits = logits.float().flatten(0, 1)
        targets = window.targets.repeat(1, len(self._networks)).flatten()
        if self._learned_after is not None:
            is_learned = torch.isin(window.ids, self._learned_after)
            # How many characters are learned in other rows is not known here: the mean over the own
            # rows counts as much as that over the others.
            num_targets = max(1, int(is_learned.sum())) * self.own_rows.num_parts
            is_learned = is_learned.repeat(1, len(self._networks)).flatten()
            logits = logits[is_learned]
            targets = targets[is_learned]
        return cross_entropy(logits, targets, reduction="sum") / num_targets

    def _initial_state(self) -> Tensor:
        return self.network.initial_state(self.rows.stop - self.rows.start)

    @property
    def _window_length(self) -> int:
        """T."""
        return resolved(self.config.bptt_length)

    def _tensors(self) -> dict[str, Tensor]:
        """Return the weights, the moments of all optimizers and the averages of an ensemble, under
        their names in a checkpoint."""
        is_averaged = self.averaged is not self.network
        is_ensemble = len(self._networks) > 1
        tensors = {f"weights/{name}": value for name, value in self.network.state_dict().items()}

        # The averages of a single network are in the model file. Those of an ensemble must be saved
        # here, because that file has one network, into which they are joined.
        if is_ensemble and is_averaged:
            tensors |= {
                f"averages/{name}": value for name, value in self.averaged.state_dict().items()
            }

        names: dict[Tensor, str] = {
            weight: name for name, weight in self.network.named_parameters()
        }
        for optimizer in self.optimizers:
            for weight, moments in optimizer.state.items():
                tensors |= {f"{moment}/{names[weight]}": value for moment, value in moments.items()}
        return tensors

    def start_with(self, model: Tensors) -> None:
        """Copy another run's `model_tensors`, whose shapes fit, before the first step.

        It is for a new run of other weights; `restore` takes back everything of the same run.
        """
        _copy_all(self.network.state_dict(), saved=model)
        _copy_all(self.averaged.state_dict(), saved=model)
        self.state = self._initial_state().detach()

    def model_tensors(self) -> dict[str, NDArray[Any]]:
        """Return the weights to generate with: the averaged weights if averaging is on.

        They are the model: everything but training uses these, not the weights of the last step.
        """
        return tensors_of(self.averaged)

    def snapshot(self) -> tuple[dict[str, NDArray[Any]], dict[str, int]]:
        """Return what training needs to continue, apart from `model_tensors`: (tensors, {"step",
        "cursor"}), with the states of all batch rows."""
        state = self.own_rows.join(self.state, batch_size=self.batches.batch_size)
        tensors = numpy_tensors({**self._tensors(), "state": state})
        return tensors, {"step": self.step, "cursor": self.cursor}

    def restore(
        self,
        model: Tensors,
        training: Tensors,
        counters: Mapping[str, object],
    ) -> None:
        """Copy the tensors and counters that `model_tensors` and `snapshot` returned. Raises
        CheckpointError if they are from another configuration; the trainer cannot be used after
        that."""
        # The position of training. The text is read in a circle, so any number is a valid position
        # that has room to grow in 64 bits.
        position: list[Any] = [counters.get("step"), counters.get("cursor")]
        if not all(isinstance(count, int) and 0 <= count < 1 << 62 for count in position):
            raise CheckpointError(
                "the checkpoint is damaged: its training.json does not say at which step, and where"
                " in the text, the training stopped\nrestore it from a copy, or start from the"
                f" weights: {named('init_from', 'RUN')}"
            )

        # The manifest has verified all files of the checkpoint. A tensor can be missing only if
        # config.yaml belongs to another run.
        try:
            _copy_all(self._tensors(), saved=training)
            _copy(self.state, training["state"][..., self.rows, :].copy())

            # The averages of a single network are in the model file; those of an ensemble were
            # copied above.
            if len(self._networks) == 1 and self.averaged is not self.network:
                _copy_all(self.averaged.state_dict(), saved=model)
        except (KeyError, RuntimeError) as error:
            raise CheckpointError(
                f"The saved training state does not fit config.yaml: {error}"
            ) from error

        self.step, self.cursor = position


@torch.no_grad()
def _copy(value: Tensor, saved: NDArray[Any]) -> None:
    """Overwrite a tensor with a saved tensor. Raises RuntimeError for another size."""
    # In place: optimizers and averages hold these very tensors. `view_as` raises the error for
    # another size, where `copy_` alone would repeat a tensor that is too short.
    value.copy_(torch.from_numpy(saved).view_as(value))


def _copy_all(values: Mapping[str, Tensor], saved: Tensors) -> None:
    """Overwrite tensors with the saved tensors of the same names."""
    for name, value in values.items():
        _copy(value, saved[name])
