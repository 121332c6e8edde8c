"""Measure an evidence card: everything is chosen on the choosing half and measured on the other.

Shapes: N characters, P pairs, S segments of T characters, C conditions, L, H as in `model.network`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import cycle
from typing import NamedTuple

import numpy as np

from charrnn.analyses.evidence.property_output import (
    LabelSigns,
    Output,
    choose_output,
    resample_differences,
    signs_of,
)
from charrnn.analyses.evidence.readings import (
    FreeReading,
    PatchingBatch,
    read_clamped,
    read_freely,
)
from charrnn.analyses.evidence.results import (
    EvidenceCard,
    Interchange,
    Mistakes,
    Necessity,
    Sufficiency,
    carrying,
)
from charrnn.analyses.sampled_states import characters_of
from charrnn.cells.findings import CellIndex, CellScore
from charrnn.cells.scores import Measured
from charrnn.cells.study import Study
from charrnn.cells.target_labels import Target
from charrnn.detectors.detector import Detector
from charrnn.errors import DataError, named
from charrnn.statistics.intervals import (
    MIN_BLOCKS,
    BlockSums,
    Interval,
    draw_blocks,
    draw_counts,
    percentiles,
)
from charrnn.system.arrays import BoolArray, Float64Array, Int64Array
from charrnn.system.lazy import Tensor, torch

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
NUM_RANKING_SEGMENTS = 6
"""Segments that are also read with every other cell, and every direction, clamped: on them the cell
is ranked."""
NUM_OTHERS = 99
"""Number of other cells, and of random directions, with which the cell is compared."""
NUMS_FREE = (0, 1, 2, 3, 4, 6, 8, 16, 32, 64)
"""Numbers of followers that stay free while all other followers are clamped at their means."""
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


class Threshold(NamedTuple):
    """What parts the values inside a property from those outside."""

    middle: float
    """The number halfway between the means inside and outside."""
    polarity: float
    """1 if the values inside are larger, -1 if they are smaller."""


@dataclass(frozen=True)
class Choosing:
    """What is chosen for a card about `cell` (layer, unit), whose memory may track the labels of
    `target`: the places by the text and its labels, all else by values of the choosing half.

    Nothing of a card may be chosen by what it is measured on: all choices are here, and `Scoring`
    measures.
    """

    study: Study
    target: Target
    measured: Measured
    cell: CellIndex
    detector: Detector

    @cached_property
    def ids(self) -> Int64Array:
        """The ids (N,) of the text without its context."""
        text = self.study.text
        return text.ids[text.first :].astype(np.int64)

    @cached_property
    def signs(self) -> LabelSigns:
        """The signs (N,) of the labels: 1 inside, -1 outside."""
        return signs_of(self.target.labels)

    @cached_property
    def output(self) -> Output:
        """The output that shows the property."""
        half = self.target.half
        declared = []
        for id, character in characters_of(self.study.text).items():
            if character in self.detector.output:
                declared.append(id)
        return choose_output(self.ids[:half], signs=self.signs[:half], declared=declared)

    @cached_property
    def shows_property(self) -> BoolArray:
        """Whether the property shows in the output after each character (N,)."""
        return np.asarray(np.isin(self.ids, self.output.after) & (self.signs != 0))

    @cached_property
    def free_length(self) -> int:
        """Characters of a segment that is read freely."""
        return min(FREE_SEGMENT, self.target.half)

    @cached_property
    def free_segments(self) -> Int64Array:
        """The first positions of the segments that are read freely."""
        half = self.target.half
        begins = []
        for first, most in zip((0, half), NUM_FREE_SEGMENTS, strict=True):
            places = np.linspace(0, half - self.free_length, min(most, half // self.free_length))
            begins.append(first + places.astype(np.int64))
        return np.concatenate(begins)

    @cached_property
    def is_read(self) -> BoolArray:
        """Whether each character (N,) is read freely, so that the state before it is known."""
        is_read = np.zeros(len(self.ids), bool)
        is_read[self.free_segments[:, None] + np.arange(self.free_length)] = True
        return is_read

    def can_read(self, length: int) -> BoolArray:
        """Return for each position (N,) whether `length` characters can be read from it: the state
        before it is known, and no END follows within them.

        A test asks it before a place is chosen, from which it will read on with something changed.
        """
        # An END within the characters would reset the state.
        num_ends = np.cumsum(np.append(0, self.ids == self.study.network().end_id))
        can_read = np.zeros(len(self.ids), bool)
        last = len(can_read) - length
        can_read[:last] = self.is_read[:last] & (num_ends[length + 1 :] == num_ends[:last])
        return can_read

    @cached_property
    def lag(self) -> int:
        """The characters that are read after an exchange."""
        shown = self.shows_property & self.is_read
        for lag in LAGS:
            lasts = shown & self._label_lasts(lag)
            for sign in (1, -1):
                here = self.signs == sign
                if 2 * lasts[here].sum() < shown[here].sum():
                    break
            else:
                return lag
        return 0

    def _label_lasts(self, lag: int) -> BoolArray:
        """Return for each character (N,) whether its label is the same as the labels of the `lag`
        characters before it, and the state before these characters is known."""
        index = np.arange(len(self.signs))
        changes = np.append(0, np.diff(self.signs))
        since = index - np.maximum.accumulate(np.where(changes, index, 0))
        is_known = np.zeros(len(index), bool)
        is_known[lag:] = self.can_read(lag)[: len(index) - lag]
        return is_known & (since >= lag)

    def pairs(self, part: slice, num_pairs: int) -> Int64Array:
        """Draw pairs (P, 2) of positions of a part of the text, inside and outside, that read the
        same last characters."""
        generator = np.random.default_rng(0)
        allowed = np.zeros(len(self.ids), bool)
        allowed[part] = (self.shows_property & self._label_lasts(self.lag))[part]
        inside = generator.permutation(np.flatnonzero(allowed & (self.signs > 0)))
        outside = generator.permutation(np.flatnonzero(allowed & (self.signs < 0)))

        # If the last characters differed, the outputs would also differ for other reasons than the
        # label, such as the end of a word. Where too few positions have the same last three
        # characters on both sides, two or one must do.
        for num_common in NUMS_COMMON:
            read = self.ids.copy()
            for distance in range(1, num_common):
                read[distance:] = read[distance:] * (1 + self.ids.max()) + self.ids[:-distance]
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

    @cached_property
    def choosing_pairs(self) -> Int64Array:
        """Pairs of the choosing half."""
        return self.pairs(slice(self.target.half), NUM_PAIRS_CHOOSING)

    @cached_property
    def scoring_pairs(self) -> Int64Array:
        """Pairs of the scoring half."""
        return self.pairs(slice(self.target.half, None), NUM_PAIRS)

    @cached_property
    def segment_length(self) -> int:
        """T: less than MAX_SEGMENT in a short text, or one of short documents.

        Raises DataError if none of the segments that are read freely has MIN_SEGMENT characters of
        a document.
        """
        length = min(MAX_SEGMENT, self.target.half // 4)
        while not self.can_read(length)[self.target.half :].any():
            if length == MIN_SEGMENT:
                raise DataError(
                    f"The documents of this text are too short for evidence: give a {named('text')}"
                    f" with {MIN_SEGMENT + 1} characters in a row."
                )
            length = max(MIN_SEGMENT, length // 2)
        return length

    @cached_property
    def num_skipped(self) -> int:
        """Characters at the beginning of a segment that are not measured. The state before the
        segment is known and needs no warm-up, but the effect of the clamps must spread first."""
        return self.segment_length // 4

    @cached_property
    def clamped_segments(self) -> Int64Array:
        """The first positions (S,) of the segments that are read with clamps. Segments around a
        change of the label are preferred, and segments do not overlap."""
        half = self.target.half
        generator = np.random.default_rng(0)
        allowed = self.can_read(self.segment_length)
        # Only the scoring half: the choosing half has chosen the cell.
        allowed[:half] = False
        changes = (
            np.flatnonzero(np.diff(self.signs)) - (self.segment_length + self.num_skipped) // 2
        )
        changes = changes[changes >= half]
        around = generator.permutation(changes[allowed[changes]])
        others = generator.permutation(np.flatnonzero(allowed))

        chosen: list[int] = []
        # Each choice forbids its neighbourhood, so that the segments are independent samples.
        for begin in np.concatenate((around, others)).tolist():
            if allowed[begin] and len(chosen) < NUM_CLAMPED_SEGMENTS:
                chosen.append(begin)
                allowed[max(0, begin - self.segment_length) : begin + self.segment_length] = False
        return np.array(chosen)

    @cached_property
    def reading(self) -> FreeReading:
        """The free reading, with the states from which all other readings start."""
        pairs = np.concatenate((self.choosing_pairs, self.scoring_pairs)).ravel() - self.lag
        return read_freely(
            self.study.network(),
            self.study.text,
            begins=self.free_segments,
            length=self.free_length,
            half=self.target.half,
            cell=self.cell,
            output=self.output,
            wanted=np.concatenate((pairs, self.clamped_segments)),
            known=self.study.known_states,
        )

    @cached_property
    def followers(self) -> list[CellIndex]:
        """The cells that follow the property better than chance and than the untrained network. The
        cell of the claim comes first, then the cells in the order in which their exchange moves the
        output on the choosing half, the largest first.

        The test of sufficiency holds all of them but a few.
        """
        score = self.measured.score
        level = max(score.strength_of(score.untrained), score.strength_of(score.null_level))

        # The effect of an exchange is measured where the cell was chosen.
        pairs = self.choosing_pairs
        moved = np.zeros(self.study.num_cells)
        if len(pairs):
            batch = PatchingBatch(self.reading, pairs, lag=self.lag)
            attributions = batch.attributions(batch.partners).reshape(2, len(pairs), -1)
            moved = (attributions[1] - attributions[0]).mean(0)
        order = np.argsort(-moved, kind="stable")
        follows = np.abs(self.measured.on_choosing_half) > level
        chosen = order[follows[order]].tolist()
        followers = [divmod(cell, self.study.num_units) for cell in chosen]
        return [self.cell, *(cell for cell in followers if cell != self.cell)]

    def threshold(self, values: Float64Array, where: BoolArray) -> Threshold:
        """Return the number that parts the values (N,) inside a property from those outside: over
        the places of the choosing half that are among `where`."""
        half = self.target.half
        chosen = (self.shows_property & self.is_read & where)[:half]
        signs = self.signs[:half]
        inside = _mean(values[:half][chosen & (signs > 0)])
        outside = _mean(values[:half][chosen & (signs < 0)])
        return Threshold((inside + outside) / 2, polarity=float(np.sign(inside - outside)))


class Scoring(Choosing):
    """The measurements of a card, on the scoring half, of what was chosen on the other.

    `evidence` makes one of a `Choosing`, and asks it for the `card`.
    """

    def card(self) -> EvidenceCard:
        """Measure a card."""
        written = characters_of(self.study.text)
        output = self.output
        return EvidenceCard(
            layer=self.cell[0],
            unit=self.cell[1],
            detector=self.target.name,
            looks_for=self.detector.looks_for,
            output=tuple(written[id] for id in output.ids.tolist()),
            output_sign=output.sign,
            output_after=tuple(written[id] for id in output.after.tolist()),
            num_chars=len(self.ids),
            num_cells=self.study.num_cells,
            tracks=self.score(),
            necessary=self.necessity(),
            sufficient=self.sufficiency(),
            interchange=self.interchange(),
            fooled=self.mistakes(),
        )

    def score(self) -> CellScore:
        """Return the score of the cell."""
        best = self.measured.score
        if (best.layer, best.unit) == self.cell:
            return best
        # Any other cell is read once more.
        page = self.study.page(*self.cell, detectors=[self.detector])
        return page.scores[0]

    def _mask(self, *cells: list[CellIndex]) -> Tensor:
        """Return (C, L, H): whether each cell is among the cells of each condition."""
        mask = torch.zeros(
            len(cells),
            self.study.num_layers,
            self.study.num_units,
            dtype=torch.bool,
        )
        for condition, chosen in enumerate(cells):
            for layer, unit in chosen:
                mask[condition, layer, unit] = True
        return mask

    def necessity(self) -> Necessity:
        """Clamp the cell at its mean, on all segments, and on some of them other cells and random
        directions, too."""
        study = self.study
        layer, unit = self.cell
        generator = np.random.default_rng(0)
        own = layer * study.num_units + unit
        others = np.delete(np.arange(study.num_cells), own)
        others = generator.permutation(others)[:NUM_OTHERS]

        # A direction of standardised memories, scaled so that the part that is taken away has the
        # same standard deviation as one cell, 1.
        drawn = torch.from_numpy(generator.normal(size=(NUM_OTHERS, study.num_units)))
        drawn /= drawn.norm(dim=1, keepdim=True)
        here = slice(layer * study.num_units, (layer + 1) * study.num_units)
        correlations = self.reading.correlations[here, here]
        spreads = torch.einsum("ch,hk,ck->c", drawn, correlations, drawn).sqrt()

        # Nothing is clamped in the first condition, and no cell in those of the directions.
        conditions = [[], [self.cell]]
        for other in others.tolist():
            conditions.append([divmod(other, study.num_units)])
        conditions += [[]] * NUM_OTHERS
        directions = self.reading.means.new_zeros(len(conditions), study.num_units)
        directions[-NUM_OTHERS:] = drawn / spreads.sqrt()[:, None]
        read = partial(
            read_clamped,
            self.reading,
            length=self.segment_length,
            num_skipped=self.num_skipped,
            layer=layer,
        )
        losses, positions = read(
            begins=self.clamped_segments[:NUM_RANKING_SEGMENTS],
            is_clamped=self._mask(*conditions),
            directions=directions,
        )
        rises = losses[1:] - losses[0]
        signs = self.signs[positions]
        inside = [_mean(rise[signs > 0]) for rise in rises]
        of_cells = inside[1 : 1 + len(others)]
        of_directions = inside[1 + len(others) :]

        # The rise itself, and its interval, need more characters than a rank.
        losses, positions = read(
            begins=self.clamped_segments, is_clamped=self._mask([], [self.cell])
        )
        rise = losses[1] - losses[0]
        is_inside = self.signs[positions] > 0
        is_outside = self.signs[positions] < 0
        return Necessity(
            inside=_mean(rise[is_inside]),
            ci_inside=self._interval(rise[is_inside], positions[is_inside]),
            outside=_mean(rise[is_outside]),
            ci_outside=self._interval(rise[is_outside], positions[is_outside]),
            num_chars=len(rise),
            cells=tuple(of_cells),
            directions=tuple(of_directions),
            ranked=inside[0],
            rank=1 + sum(rise >= inside[0] for rise in of_cells),
            rank_among_directions=1 + sum(rise >= inside[0] for rise in of_directions),
            num_ranked_chars=rises.shape[1],
            windows=tuple(self.clamped_segments.tolist()),
        )

    def sufficiency(self) -> Sufficiency:
        """Clamp all followers but the first k, for each k of NUMS_FREE."""
        followers = self.followers
        nums_free = [k for k in NUMS_FREE if k <= len(followers)]
        conditions = [followers[k:] for k in nums_free]
        odds, positions = read_clamped(
            self.reading,
            begins=self.clamped_segments,
            length=self.segment_length,
            num_skipped=self.num_skipped,
            is_clamped=self._mask([], *conditions),
            output=self.output,
        )
        chosen = self.shows_property[positions]
        positions = positions[chosen]
        signs = self.signs[positions]
        codes = self.ids[positions]

        # Whole blocks of the text are drawn, as for every interval, of those that have a place. In
        # the first draw all are drawn once, which gives the effects themselves.
        blocks = draw_blocks(len(self.ids) - self.target.half).blocks
        filled, places = np.unique(blocks[positions - self.target.half], return_inverse=True)
        num_blocks = len(filled)
        draws = np.ones((1, num_blocks))
        if num_blocks >= MIN_BLOCKS:
            draws = np.concatenate((draws, draw_counts(num_blocks)))
        resampled = resample_differences(
            odds[:, chosen], signs=signs, codes=codes, blocks=places, draws=draws
        )
        whole, *others = resampled[:, 0].tolist()
        resampled = resampled[:, 1:]

        # Each share with its interval, from the resamples in which there is an effect. Shares of an
        # effect that may be 0 are noise.
        ci = None
        curve = []
        intervals = []
        if num_blocks >= MIN_BLOCKS:
            ci = percentiles(resampled[0], num_blocks)
        if ci is not None and ci[0] > 0:
            has_effect = resampled[0] > 0
            for num_free, effect, estimates in zip(nums_free, others, resampled[1:], strict=True):
                curve.append((num_free, effect / whole))
                shares = estimates[has_effect] / resampled[0, has_effect]
                intervals.append(percentiles(shares, num_blocks))
        return Sufficiency(
            followers=tuple(followers),
            effect=whole,
            ci=ci,
            num_places=len(positions),
            curve=tuple(curve),
            intervals=tuple(intervals),
            windows=tuple(self.clamped_segments.tolist()),
            num_carrying=carrying(curve),
        )

    def interchange(self) -> Interchange | None:
        """Exchange the memory of the cell at pairs of positions."""
        # One cell alone leaves no other cell to compare it with.
        pairs = self.scoring_pairs
        if not len(pairs) or self.study.num_cells == 1:
            return None

        # Only pairs whose outputs differ in the direction of their labels have a middle to cross.
        batch = PatchingBatch(self.reading, pairs, lag=self.lag)
        partners = batch.partners
        # How far each output is from that of its partner, which is on the other side.
        distances = batch.outputs[partners] - batch.outputs
        is_inside = np.arange(len(partners)) < len(pairs)
        differs = np.where(is_inside, distances < 0, distances > 0)
        if not differs.any():
            return None

        def crosses(sources: Int64Array, cells: Tensor) -> Float64Array:
            """Return for each output 1 if it crosses the middle between both of its pair, else
            0."""
            moved = (
                batch.patched(sources, cells=cells) - (batch.outputs + batch.outputs[partners]) / 2
            )
            return np.asarray((moved * distances > 0)[differs], np.float64)

        # Two comparisons show what happens by chance: another cell is exchanged in each row, or the
        # cell is exchanged with a position that has the same label.
        mask = self._mask([self.cell])
        generator = np.random.default_rng(0)
        drawn = generator.integers(self.study.num_cells - 1, size=len(partners))
        drawn[drawn >= mask.flatten().nonzero().item()] += 1
        others = torch.zeros(len(partners), self.study.num_cells, dtype=torch.bool)
        others[torch.arange(len(partners)), drawn] = True
        equal = np.roll(partners.reshape(2, -1)[::-1], 1, axis=1).ravel()
        by_cell = crosses(partners, mask)
        by_others = crosses(partners, others.view(-1, *mask.shape[1:]))
        by_equal = crosses(equal, mask)

        positions = pairs.T.ravel()[differs]
        return Interchange(
            accuracy=float(by_cell.mean()),
            other_cells=float(by_others.mean()),
            equal_labels=float(by_equal.mean()),
            above_other_cells=self._interval(by_cell - by_others, positions),
            above_equal_labels=self._interval(by_cell - by_equal, positions),
            num_pairs=int(differs.sum()) // 2,
            num_drawn=len(pairs),
            lag=self.lag,
            pairs=tuple(map(tuple, pairs.tolist())),
        )

    def _interval(self, values: Float64Array, positions: Int64Array) -> Interval | None:
        """Return the 95 % interval of the mean of values (n,) at positions of the scoring half.
        None if the positions are in too few of its blocks."""
        # Values of one passage are alike, so whole blocks of the text are drawn.
        blocks, draws = draw_blocks(len(self.ids) - self.target.half)
        sums = BlockSums.zeros(draws.shape[1])
        sums.add(values, blocks[positions - self.target.half])
        interval = sums.interval()
        if interval is None:
            return None
        # A difference of 0 is 1e-18 on some processors, which would count as above 0.
        low, high = interval
        return round(low, 9), round(high, 9)

    def mistakes(self) -> Mistakes:
        """Find the positions of the scoring half where the cell is on the wrong side."""
        half = self.target.half
        reading = self.reading
        is_first = np.arange(len(self.ids)) < half

        # The thresholds of the value, and of the output after each character, were chosen.
        shown = self.shows_property
        middle, polarity = self.threshold(reading.values, where=shown)
        signed = self.signs * polarity * (reading.values - middle)
        output_middle = np.zeros(len(self.ids))
        for id in self.output.after.tolist():
            here = self.ids == id
            output_middle[here] = self.threshold(reading.odds, where=here).middle
        is_output_wrong = self.signs * (reading.odds - output_middle) < 0

        places = shown & self.is_read & ~is_first
        is_wrong = signed < 0
        wrong = np.flatnonzero(places & is_wrong)
        return Mistakes(
            num_places=int(places.sum()),
            num_wrong=len(wrong),
            ci_wrong=self._interval(is_wrong[places].astype(np.float64), np.flatnonzero(places)),
            num_output_wrong=int(is_output_wrong[wrong].sum()),
            threshold=middle,
        )


def _mean(values: Float64Array) -> float:
    """Compute the mean of the values, or 0 if there are none: a part of a text may lack a side."""
    return float(values.sum() / max(1, len(values)))
