"""Score all cells of a network for all detectors while it reads a text, with one window of cell
values in memory.

The choosing half selects a cell for each detector, by histograms of every cell's values with the
labels in each bin. The scoring half keeps only the values of the selected cells, and their
statistics are exact. Memory grows with the text by the labels and a few numbers per character and
detector, and does not depend on the number of cells.

Shapes: N characters (n of them in a window), C = L * H cells, D detectors, P probes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from charrnn.cells import statistics
from charrnn.cells.findings import CellFindings, CellScore, Skipped
from charrnn.cells.trace import Float32Array, Trace
from charrnn.detectors.detector import Detector, Labelling, Labels, why_not_scored
from charrnn.detectors.registry import get_detectors
from charrnn.errors import UsageError, check_length
from charrnn.statistics.intervals import Float64Array, percentiles
from charrnn.system.progress import task

MIN_TEXT = 200
"""Characters that a text needs for its halves to be scored."""
Read = Callable[[int, int], Iterable[tuple[NDArray[np.int64], Float32Array]]]
"""Reads text[begin:end]: yields (indices (n,) from 0, cells (n, C)) so that each character occurs
once, in any order. The first windows must be a fair sample of the text, as those from lanes are."""
BASELINE_CHARS = 131_072
"""Characters of each half that the untrained baseline reads, at most: its scores need less
precision."""
SAMPLE_VALUES = 2**24
"""Values that the chance level is measured on: characters, spread evenly over the choosing half,
times cells."""
WINDOW = 8192
"""Characters of a trace that are processed at once."""
LEAST_CONTRAST = 0.1
"""Difference of a cell's mean value inside and outside, or at counts two standard deviations apart,
that can be seen: a colour is a twelfth."""
CELLS_AT_ONCE = 32
"""Cells that are ranked at once: their float64 ranks take twice as much memory as their values."""


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """One detector's labels (N,) of the whole text."""

    name: str
    labels: Labels
    half: int

    @property
    def is_yes_no(self) -> bool:
        """Whether the labels are booleans, not counts."""
        return self.labels.dtype == bool

    def labelling_of(self, part: slice) -> Labelling:
        """Return the labels of a part of the text: those of the whole, because a part may begin
        inside a span."""
        return Labelling(self.name, self.labels[part])

    def scale(self, num_chars: int) -> tuple[Float64Array, float]:
        """Return what histograms sum for the first `num_chars` characters (n,), and its spread; see
        `associations`."""
        labels = self.labels[:num_chars]
        if self.is_yes_no:
            return labels.astype(np.float64), float(labels.sum()) * float((~labels).sum())
        ranks = statistics.average_ranks(labels) - (num_chars + 1) / 2
        return ranks, float((ranks**2).sum())


def choose_targets(text: str, detectors: Sequence[Detector]) -> tuple[list[Target], list[Skipped]]:
    """Label a text; return the detectors with enough labels in both halves, in order, and the
    others with the reason.

    Raises DataError for a text under MIN_TEXT characters.
    """
    num_chars = len(text)
    check_length(num_chars, MIN_TEXT, "scoring cells")
    half = num_chars // 2
    targets, skipped = [], []
    for detector in detectors:
        labelling = detector.labelling(text)
        reason = labelling.why_not_scored()
        if reason is None and labelling.labels is not None:
            labels = labelling.labels
            reason = why_not_scored(labels[:half]) or why_not_scored(labels[half:])
            if reason is None:
                targets.append(Target(detector.name, labels, half))
        if reason is not None:
            skipped.append(Skipped(detector=detector.name, reason=reason))
    return targets, skipped


def label_by_name(
    text: str, names: Sequence[str], detectors: Sequence[str | Detector] | None = None
) -> dict[str, Labels]:
    """Label a text of N characters by those of `detectors` (the built-in ones, if None) that
    `names` lists.

    Returns labels (N,) by name. Raises UsageError if a detector is missing or does not apply to
    this text.
    """
    by_name = {detector.name: detector for detector in get_detectors(detectors)}
    by_detector: dict[str, Labels] = {}
    for name in dict.fromkeys(names):
        labels = by_name[name].labelling(text).labels if name in by_name else None
        if labels is None:
            raise UsageError(
                f"No detector {name!r} applies to this text: give the detectors of the findings."
            )
        by_detector[name] = labels
    return by_detector


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """The score of the cell that follows a target best, and the association of every cell on the
    choosing half."""

    score: CellScore
    first_half: NDArray[np.float32]
    """(C,): associations, 2 * AUC - 1 or Spearman's rho."""


def score_cells(
    text: str,
    read: Read,
    num_units: int,
    detectors: list[Detector],
    read_untrained: Read | None = None,
) -> CellFindings:
    """Find the best cell for each detector, strongest first: chosen on the first half, scored on
    the second.

    `num_units` is H. An AUC is that of polarity * values, with the polarity of the choosing half;
    Spearman's rho keeps its sign. `read_untrained` reads the same text with an untrained baseline,
    for which the same choice is made. A detector with too few labels in one of the halves is
    skipped, with the reason. Raises DataError for a text under MIN_TEXT characters.
    """
    targets, skipped = choose_targets(text, detectors)
    measured = measure(targets, read, num_units, read_untrained)
    num_cells = len(measured[0].first_half) if measured else 0
    return sort_scores([one.score for one in measured], skipped, len(text), num_cells)


def sort_scores(
    scores: Sequence[CellScore], skipped: Sequence[Skipped], num_chars: int, num_cells: int
) -> CellFindings:
    """Return the findings, the strongest score first; `num_cells` counts if there is a score."""
    ordered = tuple(sorted(scores, key=lambda score: -score.strength))
    num_cells = num_cells if scores else 0
    return CellFindings(
        scores=ordered, skipped=tuple(skipped), num_chars=num_chars, num_cells=num_cells
    )


def find_cells(
    trace: Trace,
    detectors: Sequence[str | Detector] | None = None,
    *,
    untrained: Trace | None = None,
) -> CellFindings:
    """Find the best cell of `trace` for each named detector (all, if none is named), strongest
    first.

    The cell is chosen on the first half of the trace and scored on the second; `untrained` is an
    untrained baseline's trace of the same text. Raises UsageError for an unknown detector,
    DataError for a text too short.
    """
    baseline = None if untrained is None else _read_from(untrained)
    return score_cells(
        trace.text, _read_from(trace), trace.cells.shape[2], get_detectors(detectors), baseline
    )


def _read_from(trace: Trace) -> Read:
    cells = trace.cells.reshape(len(trace.cells), trace.cells.shape[1] * trace.cells.shape[2])

    def read(begin: int, end: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        # A window takes every stride-th character, not a segment, so that the first is a fair
        # sample of the text.
        stride = -(-(end - begin) // WINDOW)
        for first in range(stride):
            yield np.arange(first, end - begin, stride), cells[begin + first : end : stride]

    return read


def measure(
    targets: Sequence[Target], read: Read, num_units: int, read_untrained: Read | None = None
) -> list[Measured]:
    """Measure each target, in their order; the result for one does not depend on the others."""
    if not targets:
        return []
    half, num_chars = targets[0].half, len(targets[0].labels)
    num_read = num_chars
    if read_untrained is not None:
        num_read += min(half, BASELINE_CHARS) + min(num_chars - half, BASELINE_CHARS)
    with (
        task("reading, to score the cells", num_read) as on_chars,
        task("scoring", len(targets), unit="detectors") as on_target,
    ):

        def watched(reader: Read) -> Read:
            def read_on(begin: int, end: int) -> Iterable[tuple[NDArray[np.int64], Float32Array]]:
                for indices, cells in reader(begin, end):
                    yield indices, cells
                    on_chars(len(indices))

            return read_on

        choosing = _ChoosingHalf(targets, half)
        choosing.read(watched(read), keeps_moments=True)
        choices = [choosing.choose(index) for index in range(len(targets))]
        values, probed = _read_scoring_half(watched(read), targets, choices, choosing.moments)
        baseline_scores = (
            _score_baseline(watched(read_untrained), targets, half) if read_untrained else {}
        )
        measured = []
        for index, (target, choice) in enumerate(zip(targets, choices, strict=True)):
            on_target(0)
            labels = target.labels[half:]
            is_interior = statistics.interior(target.labels)[half:]
            score = statistics.score_cell(
                target.name, choice, num_units, values[index], labels, is_interior
            )
            p_value, level = choosing.chance(index)
            first_half = choosing.associations(index)
            chosen_on = float(first_half[choice.cell])
            score = replace(
                score,
                chosen_on=statistics.score_from_association(
                    chosen_on, choice.polarity, is_yes_no=target.is_yes_no
                ),
                untrained=baseline_scores.get(index),
                p_value=p_value,
                null_level=(1 + level) / 2 if target.is_yes_no else level,
                probe=probed[index],
            )
            measured.append(Measured(score, first_half))
            on_target(1)
    return measured


class _ChoosingHalf:
    """Histograms, moments and a sample of every cell's values over the first `num_chars` characters
    of a text."""

    def __init__(self, targets: Sequence[Target], num_chars: int) -> None:
        self._targets, self.num_chars, self.num_cells = targets, num_chars, 0
        scaled, spreads = zip(*(target.scale(num_chars) for target in targets), strict=True)
        self._scaled, self._spreads = np.stack(scaled, axis=1), np.array(spreads)
        self._histograms, self.moments = statistics.LabelledHistograms(), statistics.Moments()

    def read(self, read: Read, *, keeps_moments: bool) -> None:
        """Read the characters; `keeps_moments` also keeps what probes and the chance level need."""
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
        is_yes_no = np.array([target.is_yes_no for target in self._targets])
        self._associations = self._histograms.associations(is_yes_no, self._spreads)
        if keeps_moments:
            self._stride = stride
            self._sampled = self._histograms.bin_ranks(sample)
            self._sampled -= self._sampled.mean(axis=0)
            self._norms = np.sqrt((self._sampled**2).sum(axis=0))

    def associations(self, index: int) -> Float32Array:
        """Return the association (C,) of each cell with a target: 2 * AUC - 1, or Spearman's
        rho."""
        return self._associations[:, index].astype(np.float32)

    def choose(self, index: int) -> statistics.Choice:
        """Select the cell with the strongest association, its polarity, and its threshold or line.

        The untrained baseline keeps no moments and takes the strongest cell even if `_visible`
        prefers another.
        """
        associations = self._associations[:, index]
        cell = int(np.abs(associations).argmax())
        if self.moments.num_chars:
            cell = self._visible(index, cell)
        polarity = 1 if associations[cell] >= 0 else -1
        if self._targets[index].is_yes_no:
            return statistics.Choice(
                cell, polarity, threshold=self._histograms.best_threshold(cell, index, polarity)
            )
        line = self.moments.line(cell, index) if self.moments.num_chars else None
        return statistics.Choice(cell, polarity, line=line)

    def _visible(self, index: int, best: int) -> int:
        """Return the strongest cell, or a visible one within its 95 % interval if its own values
        hardly change."""
        target, strengths = self._targets[index], np.abs(self._associations[:, index])
        labels = target.labels[: self.num_chars]
        spread = labels.var() if target.is_yes_no else labels.std() / 2
        contrasts = np.abs(self.moments.covariances(index)) / max(float(spread), 1e-12)
        if contrasts[best] >= LEAST_CONTRAST or contrasts.max() < LEAST_CONTRAST:
            return best
        resampled = statistics.resample_score(self._sampled[:, best], labels[:: self._stride], 1)
        lowest, _ = percentiles(
            np.abs(2 * resampled - 1) if target.is_yes_no else np.abs(resampled)
        )
        is_candidate = (contrasts >= LEAST_CONTRAST) & (strengths >= lowest)
        return int(np.where(is_candidate, strengths, -1).argmax()) if is_candidate.any() else best

    def chance(self, index: int) -> tuple[float, float]:
        """Return the p-value of the choice and the strength in [0, 1] that chance stays below in 95
        %; see `null`."""
        target = self._scaled[:: self._stride, index]
        target = target - target.mean()
        if self._targets[index].is_yes_no:
            # 2 * AUC - 1 is 2 * (sum of centred ranks inside) / pairs, and (target ** 2).sum() is
            # pairs / characters. The ranks are those in the whole choosing half.
            scale = np.full(self.num_cells, 2 / (self.num_chars * max((target**2).sum(), 1e-12)))
        else:
            scale = 1 / np.maximum(self._norms * np.sqrt((target**2).sum()), 1e-12)
        return statistics.best_by_chance(
            self._sampled, target.astype(np.float32), scale.astype(np.float32)
        )


def _raw(targets: Sequence[Target], indices: NDArray[np.int64], first: int = 0) -> Float64Array:
    """Return the labels (n, D) as numbers."""
    return np.stack([target.labels[first + indices] for target in targets], axis=1).astype(
        np.float64
    )


def _read_scoring_half(
    read: Read,
    targets: Sequence[Target],
    choices: list[statistics.Choice],
    moments: statistics.Moments,
) -> tuple[list[Float32Array], list[tuple[tuple[int, float], ...]]]:
    """Read the scoring half: the values (N,) of the selected cells, and each target's probes.

    A probe is (number of cells, AUC or R²).
    """
    half, end = targets[0].half, len(targets[0].labels)
    chosen = [choice.cell for choice in choices]
    kept = np.empty((len(chosen), end - half), np.float32)
    sizes, weights, intercepts = moments.fit(chosen)
    predictions = statistics.LabelledHistograms()
    errors = np.zeros((len(targets), len(sizes)))
    for indices, cells in read(half, end):
        kept[:, indices] = cells[:, chosen].T
        # Target by target, so that float32 sums do not depend on the number of targets.
        by_target = [
            cells @ np.ascontiguousarray(part) for part in np.split(weights, len(targets), axis=1)
        ]
        predicted = np.concatenate(by_target, axis=1) + intercepts.astype(np.float32)
        labels = _raw(targets, indices, half)
        predictions.add(predicted, labels)
        errors += ((predicted.reshape(len(cells), len(targets), -1) - labels[:, :, None]) ** 2).sum(
            axis=0
        )
    predictions.finish()
    scoring_labels = [target.labels[half:] for target in targets]
    is_yes_no = np.array([target.is_yes_no for target in targets])
    pairs = np.array(
        [float((labels > 0).sum()) * float((labels <= 0).sum()) for labels in scoring_labels]
    )
    associations = predictions.associations(np.ones_like(is_yes_no), pairs).reshape(
        len(targets), len(sizes), -1
    )
    probed = []
    for index, labels in enumerate(scoring_labels):
        variation = ((labels - labels.mean()) ** 2).sum() if not is_yes_no[index] else 1.0
        reached = (
            (1 + associations[index, :, index]) / 2
            if is_yes_no[index]
            else 1 - errors[index] / variation
        )
        probed.append(tuple(zip(sizes, reached.tolist(), strict=True)))
    return list(kept), probed


def _score_baseline(read: Read, targets: Sequence[Target], half: int) -> dict[int, float]:
    """Score the untrained baseline's own choice for each target, on as much of the text as it
    reads.

    Returns the AUC or rho by the index of the target, without those for which it reads too few
    labels.
    """
    first = min(half, BASELINE_CHARS)
    second = min(len(targets[0].labels) - half, BASELINE_CHARS)
    scored = [
        index
        for index, target in enumerate(targets)
        if not (
            why_not_scored(target.labels[:first])
            or why_not_scored(target.labels[half : half + second])
        )
    ]
    if not scored:
        return {}
    choosing = _ChoosingHalf([targets[index] for index in scored], first)
    choosing.read(read, keeps_moments=False)
    choices = [choosing.choose(index) for index in range(len(scored))]
    kept = np.empty((len(scored), second), np.float32)
    for indices, cells in read(half, half + second):
        kept[:, indices] = cells[:, [choice.cell for choice in choices]].T
    return {
        index: statistics.measure_score(
            values, targets[index].labels[half : half + second], choice.polarity
        )
        for index, choice, values in zip(scored, choices, kept, strict=True)
    }
