"""Plan an evidence card: choose what it measures, before anything is measured.

Nothing of a card may be chosen by what it is measured on: the places are chosen by the text and its
labels, all else by the choosing half. `card` measures what was planned.

Shapes: N characters, P pairs, S segments of T characters, L, H as in `model.network`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import cycle
from typing import NamedTuple

import numpy as np

from charrnn.analyses.evidence.property_output import LabelSigns, Output, choose_output, signs_of
from charrnn.analyses.sampled_states import characters_of
from charrnn.cells.records import CellIndex
from charrnn.cells.study import Study
from charrnn.cells.target_labels import Target
from charrnn.detectors.detector import Detector
from charrnn.errors import DataError, named
from charrnn.system.arrays import BoolArray, Int64Array

FREE_SEGMENT = 2_048
"""Characters of a segment that is read freely."""
NUM_FREE_SEGMENTS = (16, 32)
"""Most segments of the choosing half, and of the scoring half, that are read freely."""
MAX_SEGMENT = 256
"""Longest T: characters of a segment that is read with clamped memories. The first quarter of a
segment is not measured, because the effect of the clamps is still spreading there."""
MIN_SEGMENT = 16
"""Shortest T: a shorter segment is left out."""
NUM_CLAMPED_SEGMENTS = 40
"""Most segments that are read with clamped memories, each around a change of the label."""
NUM_PAIRS = 1_000
"""Most pairs of positions whose memories are exchanged."""
NUM_PAIRS_CHOOSING = 256
"""Most pairs of the choosing half by which the followers are put in order."""
NUMS_COMMON = (3, 2, 1)
"""Numbers of last characters that are the same at both positions of a pair. The first number that
leaves MIN_PAIRED positions is used."""
MIN_PAIRED = 50
"""Number of positions on each side that are enough for pairs."""
LAGS = (8, 4, 2, 1, 0)
"""Numbers of characters that are read after an exchange. The first number is used through which at
least half of the labels last."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """What a card about a cell measures: whether its memory tracks the labels of a target."""

    cell: CellIndex
    """(layer, unit)."""
    num_layers: int
    """L."""
    num_units: int
    """H."""
    half: int
    """The index at which the scoring half begins."""
    ids: Int64Array
    """(N,): the ids of the text without its context."""
    signs: LabelSigns
    """(N,): the signs of the labels: 1 inside, -1 outside."""
    output: Output
    """The output that shows the property."""
    shows_property: BoolArray
    """(N,): whether the property shows in the output after each character."""
    free_segments: Int64Array
    """The first positions of the segments that are read freely."""
    free_length: int
    """Characters of a segment that is read freely."""
    is_read: BoolArray
    """(N,): whether each character is read freely, so that the state before it is known."""
    lag: int
    """The characters that are read after an exchange."""
    choosing_pairs: Int64Array
    """(P, 2): pairs of positions of the choosing half, inside and outside."""
    scoring_pairs: Int64Array
    """(P, 2): pairs of the scoring half."""
    segment_length: int
    """T: the characters of a segment that is read with clamps."""
    clamped_segments: Int64Array
    """(S,): the first positions of these segments, in the scoring half."""

    @property
    def num_cells(self) -> int:
        """The number L * H of cells."""
        return self.num_layers * self.num_units

    @property
    def num_skipped(self) -> int:
        """Characters at the beginning of a segment that are not measured. The state before the
        segment is known and needs no warm-up, but the effect of the clamps must spread first."""
        return skipped_of(self.segment_length)


def choose(study: Study, *, target: Target, cell: CellIndex, detector: Detector) -> Plan:
    """Choose the output and the places for a card about a cell and the property of a detector.

    Raises DataError if the documents of the text are too short.
    """
    half = target.half
    text = study.text
    ids = text.ids[text.first :].astype(np.int64)

    # The output that shows on which side of the property the model is.
    signs = signs_of(target.labels)
    declared = []
    for id, character in characters_of(text).items():
        if character in detector.output:
            declared.append(id)
    output = choose_output(ids[:half], signs=signs[:half], declared=declared)
    shows_property = np.isin(ids, output.after) & (signs != 0)

    # The segments that are read freely, of which all states are known.
    free_length = min(FREE_SEGMENT, half)
    free_segments = _free_segments(half, free_length)
    is_read = np.zeros(len(ids), bool)
    is_read[free_segments[:, None] + np.arange(free_length)] = True
    known = KnownPlaces(is_read, is_end=ids == study.network().end_id)

    # Pairs of places whose memories are exchanged.
    lag = _choose_lag(signs, shown=shows_property & is_read, known=known)
    may_be_paired = shows_property & _label_lasts(signs, known, lag)
    choosing_half = np.arange(len(ids)) < half
    choosing_pairs = draw_pairs(ids, signs, may_be_paired & choosing_half, NUM_PAIRS_CHOOSING)
    scoring_pairs = draw_pairs(ids, signs, may_be_paired & ~choosing_half, NUM_PAIRS)

    # The segments that are read with clamped memories.
    segment_length = choose_segment_length(known, half)
    clamped_segments = _clamped_segments(signs, known, half=half, length=segment_length)
    return Plan(
        cell=cell,
        num_layers=study.num_layers,
        num_units=study.num_units,
        half=half,
        ids=ids,
        signs=signs,
        output=output,
        shows_property=shows_property,
        free_segments=free_segments,
        free_length=free_length,
        is_read=is_read,
        lag=lag,
        choosing_pairs=choosing_pairs,
        scoring_pairs=scoring_pairs,
        segment_length=segment_length,
        clamped_segments=clamped_segments,
    )


class KnownPlaces(NamedTuple):
    """The places from which a test can read on with something changed."""

    is_read: BoolArray
    """(N,): whether each character is read freely, so that the state before it is known."""
    is_end: BoolArray
    """(N,): whether each character is an END, which resets the state."""

    def can_read(self, length: int) -> BoolArray:
        """Return for each position (N,) whether `length` characters can be read from it: the state
        before it is known, and no END follows within them.

        A test asks it before a place is chosen, from which it will read on with something changed.
        """
        # An END within the characters would reset the state.
        num_ends = np.cumsum(np.append(0, self.is_end))
        can_read = np.zeros(len(self.is_end), bool)
        last = len(can_read) - length
        can_read[:last] = self.is_read[:last] & (num_ends[length + 1 :] == num_ends[:last])
        return can_read


def _free_segments(half: int, length: int) -> Int64Array:
    """Return the first positions of the segments that are read freely, spread over both halves."""
    begins = []
    for first, most in zip((0, half), NUM_FREE_SEGMENTS, strict=True):
        places = np.linspace(0, half - length, min(most, half // length))
        begins.append(first + places.astype(np.int64))
    return np.concatenate(begins)


def _choose_lag(signs: LabelSigns, *, shown: BoolArray, known: KnownPlaces) -> int:
    """Return the characters that are read after an exchange: the largest number of LAGS through
    which at least half of the labels on either side last, of the characters (N,) that are `shown`.
    """
    for lag in LAGS:
        lasts = shown & _label_lasts(signs, known, lag)
        for sign in (1, -1):
            here = signs == sign
            if 2 * lasts[here].sum() < shown[here].sum():
                break
        else:
            return lag
    return 0


def _label_lasts(signs: LabelSigns, known: KnownPlaces, lag: int) -> BoolArray:
    """Return for each character (N,) whether its label is the same as the labels of the `lag`
    characters before it, and the state before these characters is known."""
    index = np.arange(len(signs))
    changes = np.append(0, np.diff(signs))
    since = index - np.maximum.accumulate(np.where(changes, index, 0))
    is_known = np.zeros(len(index), bool)
    is_known[lag:] = known.can_read(lag)[: len(index) - lag]
    return is_known & (since >= lag)


def draw_pairs(
    ids: Int64Array, signs: LabelSigns, allowed: BoolArray, num_pairs: int
) -> Int64Array:
    """Draw pairs (P, 2) of allowed positions, inside and outside, that read the same last
    characters.

    Exchanging the memories of a pair changes the side, and hardly anything else.
    """
    generator = np.random.default_rng(0)
    inside = generator.permutation(np.flatnonzero(allowed & (signs > 0)))
    outside = generator.permutation(np.flatnonzero(allowed & (signs < 0)))

    # If the last characters differed, the outputs would also differ for other reasons than the
    # label, such as the end of a word. Where too few positions have the same last three characters
    # on both sides, two or one must do.
    for num_common in NUMS_COMMON:
        read = ids.copy()
        for distance in range(1, num_common):
            read[distance:] = read[distance:] * (1 + ids.max()) + ids[:-distance]
        by_read = defaultdict(list)
        for position in outside.tolist():
            by_read[read[position]].append(position)
        paired = [position for position in inside.tolist() if read[position] in by_read]
        if len(paired) >= MIN_PAIRED:
            break

    # Where positions are few, each is in several pairs.
    pairs: dict[tuple[int, int], None] = {}
    for number, position in zip(range(4 * num_pairs), cycle(paired), strict=False):
        others = by_read[read[position]]
        pairs[position, others[number // len(paired) % len(others)]] = None
    return np.array(list(pairs)[:num_pairs], np.int64).reshape(-1, 2)


def choose_segment_length(known: KnownPlaces, half: int) -> int:
    """Return T: less than MAX_SEGMENT in a short text, or one of short documents.

    Raises DataError if none of the segments that are read freely has MIN_SEGMENT characters of a
    document.
    """
    length = min(MAX_SEGMENT, half // 4)
    while not known.can_read(length)[half:].any():
        if length == MIN_SEGMENT:
            raise DataError(
                f"The documents of this text are too short for evidence: give a {named('text')}"
                f" with {MIN_SEGMENT + 1} characters in a row."
            )
        length = max(MIN_SEGMENT, length // 2)
    return length


def skipped_of(segment_length: int) -> int:
    """Return how many characters at the beginning of a segment are not measured."""
    return segment_length // 4


def _clamped_segments(
    signs: LabelSigns, known: KnownPlaces, *, half: int, length: int
) -> Int64Array:
    """Return the first positions (S,) of the segments of a `length` that are read with clamps.
    Segments around a change of the label are preferred, and segments do not overlap."""
    generator = np.random.default_rng(0)
    allowed = known.can_read(length)
    # Only the scoring half: the choosing half has chosen the cell.
    allowed[:half] = False
    changes = np.flatnonzero(np.diff(signs)) - (length + skipped_of(length)) // 2
    changes = changes[changes >= half]
    around = generator.permutation(changes[allowed[changes]])
    others = generator.permutation(np.flatnonzero(allowed))

    chosen: list[int] = []
    # Each choice forbids its neighbourhood, so that the segments are independent samples.
    for begin in np.concatenate((around, others)).tolist():
        if allowed[begin] and len(chosen) < NUM_CLAMPED_SEGMENTS:
            chosen.append(begin)
            allowed[max(0, begin - length) : begin + length] = False
    return np.array(chosen)
