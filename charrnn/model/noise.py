"""Draw random masks for dropout, weight-drop and zoneout, independently of the number of processes.

Shapes: T time, B batch, N entries, D dilation, R rows of a piece (`model.reading.FragmentPiece`).
"""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from charrnn.model.device import to_device

SEED_STEP = 0x9E3779B1
"""Difference between the seeds of two generators: 2^32 divided by the golden ratio."""


class Noise:
    """Masks that are drawn from a generator in the order in which they are requested.

    `Trainer` makes one for each step. Whoever reads a text without training gives a network none,
    and nothing is dropped.

    They are drawn for all batch rows of the step, and a network that reads some of the rows gets
    the masks of these rows. So several processes that divide the rows among them use the same masks
    as a single process.

    A window that is processed in pieces (`model.reading.cut`) requests its masks again in every
    piece, and gets the same masks; each row of a piece gets the masks of its lane.
    """

    def __init__(
        self,
        generator: Generator,
        batch_size: int,
        own: slice = slice(None),
    ):
        """Draw for `batch_size` batch rows, of which this process reads the rows `own`."""
        # The rows to which the masks belong.
        self._generator = generator
        self._batch_size = batch_size
        self._own = own
        self._num_own = len(range(batch_size)[own])

        # The masks of the window so far, and the index of the mask that the current piece requests
        # next.
        self._masks: list[Tensor] = []
        self._next = 0
        self._lanes: Tensor | None = None
        self._generator_of_pieces = generator

    def another(self) -> "Noise":
        """Return noise for another network, whose masks are drawn from the same generator."""
        return Noise(self._generator, batch_size=self._batch_size, own=self._own)

    def start_piece(self, lanes: Tensor) -> None:
        """Start a piece whose R rows belong to these lanes (R,) of this process."""
        if self._lanes is None and self._num_own < self._batch_size:
            # The number of draws of the pieces depends on these lanes, but the masks of the window
            # must be the same in all processes. So each process draws the masks of its pieces from
            # its own generator.
            first = range(self._batch_size)[self._own].start
            # torch uses the lower 32 bits of a seed. The seeds must differ from the seeds of the
            # windows, which are consecutive numbers.
            seed = (self._generator.initial_seed() + SEED_STEP * (first + 1)) % (1 << 32)
            self._generator_of_pieces = Generator().manual_seed(seed)

        # The piece requests the masks again, from the first mask of the window on.
        self._next = 0
        self._lanes = lanes

    def for_window(self, shape: Sequence[int], share: float) -> Tensor:
        """Return a mask that is 0 with probability `share`, else 1: the same in every piece of the
        window."""
        if self._next == len(self._masks):
            self._masks.append(
                draw_mask(
                    shape,
                    share=share,
                    generator=self._generator,
                )
            )
        self._next += 1
        return self._masks[self._next - 1]

    def for_rows(self, size: int, share: float) -> Tensor:
        """Return a mask (B, size) like `for_window`. In a piece it is (R, size), and all rows of a
        lane are the same."""
        mask = self.for_window((self._batch_size, size), share)[self._own]
        if self._lanes is None:
            return mask
        return mask[self._lanes]

    def for_one_step(self, shape: Sequence[int], share: float) -> Tensor:
        """Draw a mask (D * B, N), or in a piece (R, N), of independent entries. It is not stored.

        A dilated layer folds D sequences of every batch row into the batch: row d * B + b belongs
        to batch row b.
        """
        if self._lanes is not None or self._num_own == self._batch_size:
            return draw_mask(shape, share=share, generator=self._generator_of_pieces)

        # Draw the masks of all lanes of the step, and take those of this process.
        num_folded = shape[0] // self._num_own
        whole = (num_folded * self._batch_size, *shape[1:])
        drawn = draw_mask(whole, share=share, generator=self._generator)
        by_lane = drawn.view(num_folded, self._batch_size, *shape[1:])
        return by_lane[:, self._own].reshape(*shape)


def draw_mask(shape: Sequence[int], share: float, generator: Generator) -> Tensor:
    """Draw a mask of independent entries, which are 0 with probability `share`, else 1."""
    return torch.empty(*shape).bernoulli_(1 - share, generator=generator)


def drop(values: Tensor, mask: Tensor, share: float) -> Tensor:
    """Multiply values by a mask that drops a `share` of them, and scale up the others to keep the
    mean, so that nothing has to be scaled down after the training."""
    return values * to_device(mask / (1 - share), device=values.device, dtype=values.dtype)
