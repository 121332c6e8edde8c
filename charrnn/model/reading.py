"""Read a long text in parallel lanes, and a window of documents in pieces of equal length.

The values of cells are those of a single pass over the text: each lane begins with a state of this
pass, which `find_states` computes. For a loss, which is a mean over many characters, less is
enough: each lane is warmed up on the `WARM_UP` characters before it, so its state differs from the
state of a single pass if the network remembers characters that are further back.

A fragment is a part of a window that one lane reads without a reset: from END, or from the start of
the window, to the next END. Each fragment is cut into pieces of MAX_PIECE characters and, at its
end, smaller powers of two, and all pieces of the same size and number are read together. Nothing is
padded, short documents are read in few wide steps, and a window takes at most about T + MAX_PIECE
sequential steps.

Shapes: T time, B batch (lanes), N fragments, R rows of a piece.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from charrnn.system.arrays import BoolArray, Int64Array
from charrnn.system.lazy import Tensor, no_grad, torch
from charrnn.text.vocab import IdArray

WARM_UP = 512
"""Number of characters that are read from the initial state, before those that count, to warm up a
state. With the included models, the mean loss of 60,000 characters differs from that of a single
pass by at most 2e-5 nats, the loss of a character by at most 0.13; more for linear cells whose
state grows (benchmarks/LOG.md, 2026-11-25). The value of a single cell may differ by 0.01."""
WINDOW = 256
"""T: the number of characters of each lane that are read at once."""
MAX_LANES = 32
"""The maximum of B, the number of lanes. A text under 8 * WARM_UP characters is read in one lane,
which is exact if its context has at most WARM_UP characters."""

INTERVAL = WARM_UP
"""Number of characters between the states that `find_states` keeps."""
SAME_STATE = 1e-5
"""Two states are the same if no entry differs by more than this number, for entries above 1 times
the entry. Rounding makes a difference of 1e-6, so with a smaller number no state would be the same,
and the text would be read character after character."""

SEGMENT_LENGTH = 8192
"""Length of the segments in which a part of a long text is read: 16 times the warm-up."""

Output = TypeVar("Output")
Step = Callable[[Tensor, Any], tuple[Output, Any]]
InitialState = Callable[[int], Any]
KnownStates = Tensor
"""The states of a single pass over a text before the characters 0, INTERVAL, 2 * INTERVAL, and so
on: a batch row for each of these characters."""
Indices = NDArray[np.int64]


@no_grad
def find_states(
    step: Step[object],
    initial_state: InitialState,
    ids: IdArray,
    *,
    advance: Callable[[int], object],
) -> KnownStates:
    """Compute the states of a single pass over ids (N,); `step` is that of `read_segments`.

    It is paid once, for a text that is read several times in parts: `read_segments` takes what it
    returns as `known`. `advance` is called with the number of characters that were read for the
    first time.

    Several readers begin side by side, each at the beginning of a lane and in the initial state.
    Behind the end of its lane, a reader replaces the states of the next lane, until it comes to a
    state that is already the same: the sooner, the less the network remembers. All states are those
    of a single pass when every reader has stopped, because the reader of the first lane replaces
    all that differ from its own.
    """
    # An interval has the number of the state before it. The readers keep their distance, because
    # they all read an interval at a time.
    num_intervals = max(1, -(-len(ids) // INTERVAL))
    lane_length = -(-num_intervals // lanes_of(len(ids)))
    readers = np.arange(0, num_intervals, lane_length)
    states: Tensor = initial_state(num_intervals).clone()
    is_known = np.zeros(num_intervals, np.bool_)
    is_known[0] = True

    while True:
        # No state is needed after the last interval.
        readers = readers[readers < num_intervals - 1]
        if not len(readers):
            return states
        positions = readers * INTERVAL + np.arange(INTERVAL)[:, None]
        inputs = torch.from_numpy(ids[positions].astype(np.int64)).to(states.device)
        _, reached = step(inputs, states[..., readers, :])

        readers = readers + 1
        is_same = _is_same(states[..., readers, :], reached) & is_known[readers]
        states[..., readers, :] = reached
        advance(INTERVAL * int((~is_known[readers]).sum()))
        is_known[readers] = True
        readers = readers[~is_same]


def _is_same(before: Tensor, after: Tensor) -> BoolArray:
    """Return for each row (B,) whether both states are the same up to rounding."""
    bound = SAME_STATE * before.abs().clamp(min=1)
    is_near = (after - before).abs() <= bound
    return np.asarray(is_near.transpose(-1, -2).flatten(0, -2).all(dim=0).cpu())


def lanes_of(num_chars: int) -> int:
    """Return the number of lanes in which a text is read."""
    return max(1, min(MAX_LANES, num_chars // (4 * WARM_UP)))


class Segments(NamedTuple):
    """Segments of equal length that are spread evenly over a text, or the whole text as one.

    A long text is measured on some parts of it: all models then read the same ones.
    """

    starts: Int64Array
    """Index of the first character of each segment, ascending."""
    length: int

    @classmethod
    def of(cls, num_ids: int, first: int, max_chars: int | None = None) -> Segments:
        """Return the segments with at most `max_chars` of the characters from index `first` on: the
        same at every call."""
        num_chars = num_ids - first
        if max_chars is None or num_chars <= max_chars:
            return cls(np.array([first]), num_chars)

        # The multiplication comes before the division, so that rounding errors do not add up along
        # the text.
        number = num_segments_of(max_chars)
        starts = first + np.arange(number, dtype=np.int64) * num_chars // number
        return cls(starts, max_chars // number)

    @property
    def num_chars(self) -> int:
        """M: the characters of all segments."""
        return len(self.starts) * self.length

    @property
    def positions(self) -> Int64Array:
        """The ascending indices (M,) of the characters."""
        return (self.starts[:, None] + np.arange(self.length)).ravel()

    def ranks(self, positions: Int64Array) -> Int64Array:
        """Return the index of each position in `positions`."""
        # The characters of all segments before, and of its own segment before the position.
        segment = np.searchsorted(self.starts, positions, side="right") - 1
        return segment * self.length + positions - self.starts[segment]


def num_segments_of(max_chars: int) -> int:
    """Return the number of segments that have at most `max_chars` characters together."""
    # If `max_chars` is small, segments are shorter than SEGMENT_LENGTH, so that they fill the
    # lanes.
    return max(1, max_chars // SEGMENT_LENGTH, min(MAX_LANES, max_chars // (4 * WARM_UP)))


def read_segments(
    step: Step[Output],
    initial_state: InitialState,
    ids: IdArray,
    segments: Segments,
    known: KnownStates | None = None,
) -> Iterator[tuple[Indices, Output]]:
    """Yield the output of `step` for every character of some segments of ids (N,).

    It reads a text of any length in batch rows: use it for everything that is computed at each
    character. `step` decides what that is. `step` maps (ids (T, B), state) to (output, state).
    Yields (positions (T, B), output): positions[t, b] is the index of the character in `ids`; an
    index >= N is padding, which only a single segment has. Characters before a segment are only
    context. With the `known` states of these ids, the outputs are those of a single pass; without
    them, each lane begins with a warm-up.
    """
    # A single segment is divided into lanes. Their length is rounded up, so the last lanes may
    # continue beyond its end.
    starts, length = segments
    if len(starts) == 1:
        num_lanes = lanes_of(length)
        length = -(-length // num_lanes)
        starts = starts + length * np.arange(num_lanes)

    # At most MAX_LANES are read at once, so that the memory is bounded.
    for begin in range(0, len(starts), MAX_LANES):
        lanes = starts[begin : begin + MAX_LANES]
        yield from _read_from(
            step, initial_state, ids=ids, starts=lanes, length=length, known=known
        )


def _read_from(
    step: Step[Output],
    initial_state: InitialState,
    ids: IdArray,
    starts: Indices,
    length: int,
    known: KnownStates | None,
) -> Iterator[tuple[Indices, Output]]:
    """Read `length` characters in each of B lanes from `starts` (B,) on.

    Each lane begins with the last of the `known` states before it, or without them with a warm-up.
    """
    # The characters from which on each lane reads, so that its state is right at its start.
    if known is None:
        origins = np.maximum(0, starts - WARM_UP)
        at_origins = initial_state(len(starts))
    else:
        origins = starts // INTERVAL * INTERVAL
        # The last lanes may begin beyond the text.
        origins = np.minimum(origins, max(0, len(ids) - 1) // INTERVAL * INTERVAL)
        at_origins = known[..., origins // INTERVAL, :]
    # Times count from the first scored character, so those of the origins are negative.
    origin_times = origins - starts

    # A window ends where the state of a lane is put in, where the lanes start, and after WINDOW
    # characters.
    cuts = sorted({*origin_times.tolist(), *range(0, length, WINDOW), length})
    state = at_origins
    for begin, end in pairwise(cuts):
        is_origin = origin_times == begin
        if is_origin.any():
            is_reset = torch.from_numpy(is_origin).to(state.device)[:, None]
            state = torch.where(is_reset, at_origins, state)

        # Positions before and after the text read any character: the state of the origin removes
        # the effect of those before it, and the caller leaves out those after it.
        positions = starts + np.arange(begin, end)[:, None]
        inputs = ids[positions.clip(0, len(ids) - 1)].astype(np.int64)
        output, state = step(torch.from_numpy(inputs).to(state.device), state)

        if begin >= 0:
            yield positions, output


MAX_PIECE = 64
"""Maximum length of a piece, a power of two."""


@dataclass(frozen=True, eq=False)
class Fragments:
    """The fragments of a window, lane by lane, in the order of the text.

    Only a model of documents needs them: without an END, a window is one fragment for each lane.
    """

    lanes: Indices
    """(N,): the lane of each fragment."""
    begins: Indices
    """(N,): the first time step of each fragment."""
    ends: Indices
    """(N,): the time step after each fragment."""

    @classmethod
    def of(cls, is_end: BoolArray) -> Fragments:
        """Divide a window in which is_end (T, B) marks the ENDs."""
        # The mask is transposed, so that `nonzero` returns the fragments in the order of the lanes.
        starts = is_end.T.copy()
        starts[:, 0] = True
        lanes, begins = np.nonzero(starts)

        # A fragment ends where the next fragment begins. The last fragment of a lane ends with the
        # window; it is followed by the first fragment of the next lane, which begins at step 0.
        ends = np.append(begins[1:], 0)
        ends[ends == 0] = len(is_end)
        return cls(lanes=lanes, begins=begins, ends=ends)

    @property
    def last_of_lanes(self) -> Indices:
        """The number (B,) of the last fragment of each lane."""
        return np.flatnonzero(np.append(np.diff(self.lanes), 1))


class FragmentPiece(NamedTuple):
    """The pieces of R fragments that are read together. Each continues the previous piece of its
    fragment."""

    fragments: Indices
    """(R,): the number of each fragment."""
    positions: Indices
    """(length, R): the position of each character in the flattened window (T * B)."""


def cut(fragments: Fragments, num_lanes: int) -> list[FragmentPiece]:
    """Cut fragments into pieces, in the order in which they must be read.

    Fragments of any lengths are read in few batches by it.
    """
    # A fragment has pieces of MAX_PIECE characters, and one piece for each bit of the remainder.
    lengths = fragments.ends - fragments.begins
    num_whole, remainders = np.divmod(lengths, MAX_PIECE)
    powers = [MAX_PIECE >> shift for shift in range(1, MAX_PIECE.bit_length())]
    sizes = [(MAX_PIECE, num_whole > number) for number in range(int(num_whole.max()))]
    sizes += [(power, (remainders & power) > 0) for power in powers]

    # The longest pieces come first. The next piece of a fragment begins after `num_cut` characters.
    pieces = []
    num_cut = np.zeros_like(lengths)
    for size, has_piece in sizes:
        numbers = np.flatnonzero(has_piece)
        if len(numbers):
            times = (fragments.begins + num_cut)[numbers] + np.arange(size)[:, None]
            positions = times * num_lanes + fragments.lanes[numbers]
            pieces.append(FragmentPiece(fragments=numbers, positions=positions))
            num_cut[numbers] += size
    return pieces
