"""The choosing half: select the cell that follows each target best, and measure the score that the
best cell reaches by chance.

Nothing of the scoring half is read here.

Shapes: N characters of the half (n of them in a window), C cells, D targets, M sampled characters.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from charrnn.cells.target_labels import Target
from charrnn.cells.trace import ReadWindows
from charrnn.statistics.agreement import association_from_auc, resample_score
from charrnn.statistics.chance import Chance, best_by_chance
from charrnn.statistics.histograms import LabelledHistograms
from charrnn.statistics.intervals import interval_of
from charrnn.statistics.moments import TargetMoments
from charrnn.system.arrays import Float32Array, Float64Array, Int64Array

SAMPLE_VALUES = 2**24
"""Values that the chance level is measured on: characters, spread evenly over the choosing half,
times cells."""
LEAST_CONTRAST = 0.1
"""Difference of a cell's mean value inside and outside, or at counts two standard deviations apart,
that can be seen: a colour is a twelfth."""
TINY = 1e-12
"""Keeps a divisor above 0."""


@dataclass(frozen=True)
class Choice:
    """The cell that the choosing half selects for a target, and how its values map to labels.

    The scoring half is measured for this cell alone, with the polarity and the line that were found
    here.
    """

    cell: int
    polarity: int
    threshold: float | None = None
    """For yes/no labels: values from here on (polarity 1) or below it (-1) are classified as
    inside."""
    line: tuple[float, float] | None = None
    """For counts: slope and intercept of the straight line from the cell's value to the count."""


class Associations:
    """The association of every cell with every target over the first `num_chars` characters of a
    text, from histograms of 512 bins.

    It takes the cells window by window and keeps none; `ChoosingHalf` keeps some of them for
    intervals and chance.
    """

    def __init__(self, targets: Sequence[Target], num_chars: int):
        self._targets = targets
        self.ranks = np.stack([target.ranks(num_chars) for target in targets], axis=1)
        """(N, D): 0 or 1 for a yes/no label, or the centred rank of a count."""
        self.histograms = LabelledHistograms()

    def add(self, indices: Int64Array, cells: Float32Array) -> None:
        """Count the cells (n, C) at characters (n,)."""
        self.histograms.add(cells, self.ranks[indices])

    def finish(self) -> list[Float64Array]:
        """Return the associations (C,) of each target, after all characters were added."""
        # Of the labels, each formula needs only a sum: the pairs inside and outside, or the
        # squares.
        self.histograms.finish()
        associations = []
        for index, target in enumerate(self._targets):
            ranks = self.ranks[:, index]
            if target.is_yes_no:
                num_inside = float(ranks.sum())
                pairs = num_inside * (len(ranks) - num_inside)
                associations.append(self.histograms.auc_associations(index, pairs))
            else:
                variation = float((ranks**2).sum())
                associations.append(self.histograms.rank_correlations(index, variation))
        return associations


def strongest(associations: Float64Array) -> Choice:
    """Return the cell with the strongest association (C,), and its polarity."""
    cell = int(np.abs(associations).argmax())
    return Choice(cell, polarity_of(associations[cell]))


def polarity_of(association: float) -> int:
    """Return -1 for a cell that is low inside, 1 for any other cell.

    An AUC below 0.5 and a negative correlation are as good as the others, with the cell turned
    round.
    """
    return 1 if association >= 0 else -1


@dataclass(frozen=True, eq=False, kw_only=True)
class ChoosingHalf:
    """What `read_choosing_half` has read of the choosing half of a text, by which a cell is chosen
    for each target.

    Whatever is chosen on text must not be measured on the same text: all choices are made here, and
    `scores` measures on the other half.
    """

    targets: Sequence[Target]
    num_chars: int
    """N."""
    counted: Associations
    """The histograms of all characters, with the ranks of the labels."""
    sums: TargetMoments
    """The sums of all characters, for means and lines."""
    association_lists: Sequence[Float64Array]
    """The association (C,) of each cell with each target."""
    sampled: Float32Array
    """(M, C): centred ranks in the whole half of the values at every `stride`-th character."""
    norms: Float32Array
    """(C,): the norm of each column of `sampled`."""
    stride: int

    def associations(self, index: int) -> Float32Array:
        """Return the association (C,) of each cell with a target."""
        return self.association_lists[index].astype(np.float32)

    def choose(self, index: int) -> Choice:
        """Select the cell for a target, its polarity, and its threshold or line."""
        associations = self.association_lists[index]
        cell = self._visible(index, strongest(associations).cell)
        polarity = polarity_of(associations[cell])
        if self.targets[index].is_yes_no:
            threshold = self.counted.histograms.best_threshold(cell, label=index, polarity=polarity)
            return Choice(cell, polarity=polarity, threshold=threshold)
        return Choice(cell, polarity=polarity, line=self.sums.line(cell, index))

    def _visible(self, index: int, best: int) -> int:
        """Return the strongest cell. If its values hardly change, return a visible cell within its
        95 % interval instead."""
        target = self.targets[index]
        strengths = np.abs(self.association_lists[index])
        labels = target.labels[: self.num_chars]

        # The difference of a cell's means inside and outside is its covariance with the label over
        # the label's variance. For a count it is the difference of a line two standard deviations
        # apart.
        spread = labels.var()
        if not target.is_yes_no:
            spread = labels.std() / 2
        contrasts = np.abs(self.sums.covariances(index)) / max(float(spread), TINY)
        if contrasts[best] >= LEAST_CONTRAST or contrasts.max() < LEAST_CONTRAST:
            return best

        # The best cell cannot be seen in colours, and another cell can: take the other cell if it
        # is as good up to chance.
        resampled = resample_score(self.sampled[:, best], labels=labels[:: self.stride], polarity=1)
        if target.is_yes_no:
            resampled = association_from_auc(resampled)
        lowest, _ = interval_of(np.abs(resampled), len(self.sampled))
        is_candidate = (contrasts >= LEAST_CONTRAST) & (strengths >= lowest)
        if not is_candidate.any():
            return best
        return int(np.where(is_candidate, strengths, -1).argmax())

    def chance(self, index: int) -> Chance:
        """Return the strength that the strongest cell of a target reaches by chance.

        It belongs to the strongest cell, even where `choose` takes a visible cell in its place.
        """
        # `scale` turns a product of the sampled ranks and the target into an association.
        target = self.counted.ranks[:: self.stride, index]
        target = target - target.mean()
        variation = (target**2).sum()
        if self.targets[index].is_yes_no:
            # 2 * AUC - 1 is 2 * (sum of centred ranks inside) / pairs, and the variation is pairs /
            # characters. The ranks are ranks in the whole choosing half.
            scale = np.full(len(self.norms), 2 / (self.num_chars * max(variation, TINY)))
        else:
            scale = 1 / np.maximum(self.norms * np.sqrt(variation), TINY)
        return best_by_chance(
            self.sampled, target=target.astype(np.float32), scale=scale.astype(np.float32)
        )


def read_choosing_half(targets: Sequence[Target], read: ReadWindows) -> ChoosingHalf:
    """Read the choosing half of a text: histograms and sums of all its characters, and the cells at
    some of them.

    It is the first of the two readings by which a text is scored. All targets label the same text.
    """
    num_chars = targets[0].half
    counted = Associations(targets, num_chars)
    sums = TargetMoments()

    # Histograms and sums count all characters. Shifted labels need the values themselves, so a
    # sample of them is kept: every stride-th character, as many as fit.
    sample = np.empty((0, 0), np.float32)
    stride = 1
    for indices, cells in read(0, num_chars):
        if not sample.size:
            num_cells = cells.shape[1]
            stride = -(-num_chars * num_cells // SAMPLE_VALUES)
            num_sampled = -(-num_chars // stride)
            sample = np.empty((num_sampled, num_cells), np.float32)
        counted.add(indices, cells)
        labels = np.stack([target.labels[indices] for target in targets], axis=1)
        sums.add(cells, labels.astype(np.float64))

        is_sampled = indices % stride == 0
        sample[indices[is_sampled] // stride] = cells[is_sampled]

    # The histograms of the whole half give the ranks, because sorting the sample of every cell
    # takes longer.
    association_lists = counted.finish()
    sampled = counted.histograms.bin_ranks(sample)
    sampled -= sampled.mean(axis=0)
    return ChoosingHalf(
        targets=targets,
        num_chars=num_chars,
        counted=counted,
        sums=sums,
        association_lists=association_lists,
        sampled=sampled,
        norms=np.sqrt((sampled**2).sum(axis=0)),
        stride=stride,
    )
