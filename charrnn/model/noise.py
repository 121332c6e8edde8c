"""Random masks: dropout, weight-drop and zoneout, the same however many processes train.

Shapes: T time, B batch, N entries, D dilation, R rows of a piece (`model.reading.FragmentPiece`).
"""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

SEED_STEP = 0x9E3779B1
"""Between the seeds of two generators: 2^32 divided by the golden ratio."""


class Noise:
    """Masks that are drawn from a generator in the order in which they are requested.

    They are drawn for all batch rows of the step, and a network that reads some rows gets those of
    its rows: several processes that divide the rows among them use the masks that one process uses.

    A window that is processed in pieces (`model.reading.cut`) requests its masks again in every
    piece and gets the same ones; each row of a piece gets those of its lane.
    """

    def __init__(
        self,
        generator: Generator,
        num_lanes: int,
        own: slice = slice(None),
        number: int = 0,
    ) -> None:
        """Draw for `num_lanes` batch rows, of which the network reads its `own`; it is the network
        of that number."""
        # Whose masks they are.
        self._generator = generator
        self._num_lanes = num_lanes
        self._own = own
        self._num_own = len(range(num_lanes)[own])
        self._number = number
        self._num_others = 0

        # The masks of the window so far, and which of them the present piece requests next.
        self._masks: list[Tensor] = []
        self._next = 0
        self._lanes: Tensor | None = None
        self._generator_of_pieces = generator

    def another(self) -> "Noise":
        """Return noise for another network, whose masks are drawn from the same generator."""
        self._num_others += 1
        return Noise(
            self._generator,
            num_lanes=self._num_lanes,
            own=self._own,
            number=self._num_others,
        )

    def start_piece(self, lanes: Tensor) -> None:
        """Start a piece with one row for each of these lanes (R,) of the network's own."""
        if self._lanes is None and self._num_own < self._num_lanes:
            # How much the pieces draw depends on these lanes; the masks of the window must be those
            # of all processes. So each process and network draws for its pieces from a generator of
            # its own.
            first = range(self._num_lanes)[self._own].start + self._num_lanes * self._number
            # Torch takes the lower 32 bits of a seed; seeds in a row, those of the windows, must
            # not meet.
            seed = (self._generator.initial_seed() + SEED_STEP * (first + 1)) % (1 << 32)
            self._generator_of_pieces = Generator().manual_seed(seed)

        # From the first mask of the window on, again.
        self._next = 0
        self._lanes = lanes

    def for_window(self, shape: Sequence[int], share: float) -> Tensor:
        """Return a mask that is 0 with probability `share`, else 1: the same in every piece of the
        window."""
        if self._next == len(self._masks):
            self._masks.append(
                _draw(
                    shape,
                    share=share,
                    generator=self._generator,
                )
            )
        self._next += 1
        return self._masks[self._next - 1]

    def for_rows(self, size: int, share: float) -> Tensor:
        """Return such a mask (B, size), or in a piece (R, size): with the same row for all rows of
        a lane."""
        mask = self.for_window((self._num_lanes, size), share)[self._own]
        if self._lanes is None:
            return mask
        return mask[self._lanes]

    def for_one_step(self, shape: Sequence[int], share: float) -> Tensor:
        """Draw a mask (D * B, N), or in a piece (R, N), of independent entries, which is not kept.

        A dilated layer folds D sequences of every batch row into the batch: row d * B + b belongs
        to batch row b.
        """
        if self._lanes is not None or self._num_own == self._num_lanes:
            return _draw(shape, share=share, generator=self._generator_of_pieces)

        # For all lanes of the step, of which this process takes its own.
        num_folded = shape[0] // self._num_own
        whole = (num_folded * self._num_lanes, *shape[1:])
        drawn = _draw(whole, share=share, generator=self._generator)
        by_lane = drawn.view(num_folded, self._num_lanes, *shape[1:])
        return by_lane[:, self._own].reshape(*shape)


def _draw(shape: Sequence[int], share: float, generator: Generator) -> Tensor:
    return torch.empty(*shape).bernoulli_(1 - share, generator=generator)
