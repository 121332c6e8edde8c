"""Survey all cells of a network for all detectors while it reads a text, keeping no more than a window of cells.

Part A, the first half of the text, chooses: by histograms of every cell's values with the labels in each bin. Part B
scores: only the chosen cells' values are kept, and their statistics are exact. Memory grows with the text by the labels
and a few numbers per character and detector, never by cells.

Shapes: N characters (n of them in a window), C = L * H cells, D detectors, P probes.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from charrnn.detectors.labels import why_not_scored
from charrnn.detectors.registry import Detector
from charrnn.microscope.histograms import LabelledHistograms
from charrnn.microscope.null import best_by_chance
from charrnn.microscope.probes import Moments
from charrnn.microscope.statistics import Choice, interior, read_strength, score_cell, strength
from charrnn.microscope.targets import Target, choose_targets
from charrnn.records.microscope import CellFindings, CellScore

if TYPE_CHECKING:
    from charrnn.microscope.trace import Trace

Cells = NDArray[np.float32]
Read = Callable[[int, int], Iterable[tuple[NDArray[np.int64], Cells]]]
"""Reads text[begin:end]: yields, in any order, (indices (n,) from 0, cells (n, C)) of each of its characters once;
the first windows stand for all, as those from lanes do."""
Floats = NDArray[np.float64]
TWIN_CHARS = 131_072
"""Characters of each half that the untrained twin reads at the most: it only shows what no training reaches."""
SAMPLE_VALUES = 2**24
"""Numbers that the null is measured on: characters, spread evenly over part A, times cells."""

WINDOW = 8192
"""Characters that are looked at at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """The score of the cell that follows a target best, and how well every cell follows it on the first half."""

    score: CellScore
    first_half: NDArray[np.float32]
    """(C,): 2 * AUC - 1, or Spearman's rho."""


def num_read(num_chars: int, *, has_baseline: bool) -> int:
    """Characters that a survey of so many reads, for a bar: the text's, and the twin's."""
    half = num_chars // 2
    return num_chars + (min(half, TWIN_CHARS) + min(num_chars - half, TWIN_CHARS) if has_baseline else 0)


def survey(
    text: str,
    read: Read,
    num_units: int,
    detectors: list[Detector],
    read_untrained: Read | None = None,
    on_progress: Callable[[int], object] = lambda num_chars: None,
) -> CellFindings:
    """The best cell for each detector, strongest first: chosen on the first half of the text, scored on the second.

    `num_units` is H. AUC is turned by the polarity found on the first half; Spearman's rho keeps its sign.
    `read_untrained` reads the same text with an untrained twin, where the same choice is made. A detector that has too
    little to see in one of the halves is skipped and says why. Raises DataError for a text under MIN_TEXT characters.
    """
    targets, skipped = choose_targets(text, detectors)
    measured = measure(targets, read, num_units, read_untrained, on_progress)
    return CellFindings(
        scores=tuple(sorted((one.score for one in measured), key=lambda score: -score.strength)),
        skipped=tuple(skipped),
        num_chars=len(text),
        num_cells=len(measured[0].first_half) if measured else 0,
    )


def find_cells(trace: "Trace", detectors: list[Detector], untrained: "Trace | None" = None) -> CellFindings:
    """The best cell for each detector, strongest first, as `survey` finds it in the cells of a trace.

    `untrained` is the trace of an untrained twin over the same text. Raises DataError for a text too short.
    """
    twin = None if untrained is None else _read_from(untrained)
    return survey(trace.text, _read_from(trace), trace.cells.shape[2], detectors, twin)


def _read_from(trace: "Trace") -> Read:
    cells = trace.cells.reshape(len(trace.cells), trace.cells.shape[1] * trace.cells.shape[2])

    def read(begin: int, end: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        # Every so manieth character rather than stretches: the first window is to be a fair sample of the text.
        stride = -(-(end - begin) // WINDOW)
        for first in range(stride):
            yield np.arange(first, end - begin, stride), cells[begin + first : end : stride]

    return read


def measure(
    targets: list[Target],
    read: Read,
    num_units: int,
    read_untrained: Read | None = None,
    on_progress: Callable[[int], object] = lambda num_chars: None,
) -> list[Measured]:
    """What `survey` finds for each target, in their order. What is found for one does not depend on the others.

    `on_progress` is also called with 0 between two longer computations.
    """
    if not targets:
        return []

    def watched(reader: Read) -> Read:
        def read_on(begin: int, end: int) -> Iterable[tuple[NDArray[np.int64], Cells]]:
            for indices, cells in reader(begin, end):
                yield indices, cells
                on_progress(len(indices))

        return read_on

    half = targets[0].half
    part_a = _PartA(targets, half)
    part_a.read(watched(read), keeps_moments=True)
    choices = [part_a.choose(index) for index in range(len(targets))]
    values, probed = _read_part_b(watched(read), targets, choices, part_a.moments)
    twin_values: list[float | None] = [None] * len(targets)
    if read_untrained is not None:
        twin_values = _score_twin(watched(read_untrained), targets, half)
    measured = []
    for index, (target, choice) in enumerate(zip(targets, choices, strict=True)):
        on_progress(0)
        labels = target.labels[half:]
        score = score_cell(target.name, choice, num_units, values[index], labels, interior(target.labels)[half:])
        p_value, level = part_a.chance(index)
        first_half = part_a.strengths(index)
        score = replace(
            score,
            chosen_on=read_strength(float(first_half[choice.cell]), choice.polarity, is_yes_no=target.is_yes_no),
            untrained=twin_values[index],
            p_value=p_value,
            null_level=(1 + level) / 2 if target.is_yes_no else level,
            probe=probed[index],
        )
        measured.append(Measured(score, first_half))
    return measured


class _PartA:
    """What the first `num_chars` of a text tell about every cell and every target."""

    def __init__(self, targets: list[Target], num_chars: int) -> None:
        self._targets, self.num_chars, self.num_cells = targets, num_chars, 0
        scaled, spreads = zip(*(target.scale(num_chars) for target in targets), strict=True)
        self._scaled, self._spreads = np.stack(scaled, axis=1), np.array(spreads)
        self._histograms, self.moments = LabelledHistograms(), Moments()

    def read(self, read: Read, *, keeps_moments: bool) -> None:
        """Read it with a network; `keeps_moments` for probes and the null as well as for the choice."""
        stride, sample = 1, np.empty((0, 0), np.float32)
        for indices, cells in read(0, self.num_chars):
            if self.num_cells == 0:
                self.num_cells = cells.shape[1]
                stride = -(-self.num_chars * self.num_cells // SAMPLE_VALUES)
                sample = np.empty((-(-self.num_chars // stride), self.num_cells), np.float32)
            self._histograms.add(cells, self._scaled[indices])
            if keeps_moments:
                self.moments.add(cells, _raw(self._targets, indices))
                is_sampled = indices % stride == 0
                sample[indices[is_sampled] // stride] = cells[is_sampled]
        self._histograms.finish()
        self._strengths = self._histograms.strengths(
            np.array([target.is_yes_no for target in self._targets]), self._spreads
        )
        if keeps_moments:
            self._stride = stride
            self._sampled = self._histograms.bin_ranks(sample)
            self._sampled -= self._sampled.mean(axis=0)
            self._norms = np.sqrt((self._sampled**2).sum(axis=0))

    def strengths(self, index: int) -> NDArray[np.float32]:
        """How well each cell (C,) follows a target: 2 * AUC - 1, or Spearman's rho."""
        return self._strengths[:, index].astype(np.float32)

    def choose(self, index: int) -> Choice:
        """The cell that follows a target best, and how to read it."""
        strengths = self._strengths[:, index]
        cell = int(np.abs(strengths).argmax())
        polarity = 1 if strengths[cell] >= 0 else -1
        if self._targets[index].is_yes_no:
            return Choice(cell, polarity, threshold=self._histograms.best_threshold(cell, index, polarity))
        # A twin keeps no moments, and needs no line.
        line = self.moments.line(cell, index) if self.moments.num_chars else None
        return Choice(cell, polarity, line=line)

    def chance(self, index: int) -> tuple[float, float]:
        """p-value of the choice, and the strength in [0, 1] that chance stays under in 95 %; see `null`."""
        target = self._scaled[:: self._stride, index]
        target = target - target.mean()
        if self._targets[index].is_yes_no:
            # 2 * AUC - 1 is twice the sum of centred ranks inside over the pairs, and (target ** 2).sum() is the pairs
            # over the characters; and the ranks are those in all of part A.
            scale = np.full(self.num_cells, 2 / (self.num_chars * max((target**2).sum(), 1e-12)))
        else:
            scale = 1 / np.maximum(self._norms * np.sqrt((target**2).sum()), 1e-12)
        return best_by_chance(self._sampled, target.astype(np.float32), scale.astype(np.float32))


def _raw(targets: list[Target], indices: NDArray[np.int64], first: int = 0) -> Floats:
    """The labels (n, D) as numbers."""
    return np.stack([target.labels[first + indices] for target in targets], axis=1).astype(np.float64)


def _read_part_b(
    read: Read, targets: list[Target], choices: list[Choice], moments: Moments
) -> tuple[list[Cells], list[tuple[tuple[int, float], ...]]]:
    """The chosen cells' values (N,) on part B, and (number of cells, AUC or R²) of each target's probes."""
    half, end = targets[0].half, len(targets[0].labels)
    chosen = [choice.cell for choice in choices]
    kept = np.empty((len(chosen), end - half), np.float32)
    sizes, weights, intercepts = moments.fit(chosen)
    predictions = LabelledHistograms()
    errors = np.zeros((len(targets), len(sizes)))
    for indices, cells in read(half, end):
        kept[:, indices] = cells[:, chosen].T
        # Target by target, so that sums in float32 do not depend on how many there are.
        by_target = [cells @ np.ascontiguousarray(part) for part in np.split(weights, len(targets), axis=1)]
        predicted = np.concatenate(by_target, axis=1) + intercepts.astype(np.float32)
        labels = _raw(targets, indices, half)
        predictions.add(predicted, labels)
        errors += ((predicted.reshape(len(cells), len(targets), -1) - labels[:, :, None]) ** 2).sum(axis=0)
    predictions.finish()
    part_b = [target.labels[half:] for target in targets]
    is_yes_no = np.array([target.is_yes_no for target in targets])
    pairs = np.array([float((labels > 0).sum()) * float((labels <= 0).sum()) for labels in part_b])
    strengths = predictions.strengths(np.ones_like(is_yes_no), pairs).reshape(len(targets), len(sizes), -1)
    probed = []
    for index, labels in enumerate(part_b):
        variation = ((labels - labels.mean()) ** 2).sum() if not is_yes_no[index] else 1.0
        reached = (1 + strengths[index, :, index]) / 2 if is_yes_no[index] else 1 - errors[index] / variation
        probed.append(tuple(zip(sizes, reached.tolist(), strict=True)))
    return list(kept), probed


def _score_twin(read: Read, targets: list[Target], half: int) -> list[float | None]:
    """AUC or rho of the twin's own choice for each target, on as much of the text as it reads."""
    first = min(half, TWIN_CHARS)
    second = min(len(targets[0].labels) - half, TWIN_CHARS)
    # What it reads may be too short for a detector that the whole text has enough of.
    seen = [
        index
        for index, target in enumerate(targets)
        if not (why_not_scored(target.labels[:first]) or why_not_scored(target.labels[half : half + second]))
    ]
    found: list[float | None] = [None] * len(targets)
    if not seen:
        return found
    part_a = _PartA([targets[index] for index in seen], first)
    part_a.read(read, keeps_moments=False)
    choices = [part_a.choose(index) for index in range(len(seen))]
    kept = np.empty((len(seen), second), np.float32)
    for indices, cells in read(half, half + second):
        kept[:, indices] = cells[:, [choice.cell for choice in choices]].T
    for index, choice, values in zip(seen, choices, kept, strict=True):
        found[index] = strength(values, targets[index].labels[half : half + second], choice.polarity)
    return found
