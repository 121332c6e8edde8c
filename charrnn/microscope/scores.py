"""How well each cell follows each detector, measured on text that the cell was not chosen on.

Shapes: N characters, C = L * H cells. The first half of a text chooses the cell, the second half scores it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import DataError
from charrnn.microscope.detectors import Detector, Labels, why_not_scored
from charrnn.microscope.trace import Trace
from charrnn.records import CellFindings, CellScore, Skipped

Floats = NDArray[np.float64]
NUM_RESAMPLES = 200
BLOCK_LENGTH = 500
"""Characters per block of the bootstrap: neighbouring characters are not independent, blocks nearly are."""
MIN_TEXT = 200
"""Fewer characters than this cannot be cut into halves worth scoring."""


def average_ranks(values: NDArray[Any]) -> Floats:
    """Ranks 1..N along the first axis of (N, C); equal values share the mean of their ranks."""
    columns = values.reshape(len(values), -1)
    ranks = np.empty(columns.shape, np.float64)
    for column in range(columns.shape[1]):
        _, group, sizes = np.unique(columns[:, column], return_inverse=True, return_counts=True)
        ranks[:, column] = (np.cumsum(sizes) - (sizes - 1) / 2)[group]
    return ranks.reshape(values.shape)


def auc(ranks: Floats, is_inside: NDArray[np.bool_]) -> Floats:
    """Area under the ROC curve of each column of ranks (N, C) for labels (N,): Mann & Whitney's U over its maximum."""
    num_inside = int(is_inside.sum())
    num_outside = len(is_inside) - num_inside
    u = is_inside.astype(np.float64) @ ranks - num_inside * (num_inside + 1) / 2
    return np.asarray(u / (num_inside * num_outside))


def spearman(ranks: Floats, counts: NDArray[Any]) -> Floats:
    """Spearman's rank correlation of each column of ranks (N, C) with counts (N,); 0 for a column that is constant."""
    target = average_ranks(counts)
    target -= target.mean()
    centred = ranks - ranks.mean(axis=0)
    norms = np.sqrt((centred**2).sum(axis=0) * (target**2).sum())
    return np.asarray(np.divide(target @ centred, norms, out=np.zeros(norms.shape), where=norms > 0))


@dataclass(frozen=True, slots=True)
class _Choice:
    """The best cell of one half, and what it reaches on the other."""

    cell: int
    polarity: int
    value: float
    ranks: Floats


def _measure(ranks: Floats, labels: Labels) -> Floats:
    """Signed strength in [-1, 1] of each column: 2 * AUC - 1 for yes/no labels, Spearman's rho for counts."""
    return 2 * auc(ranks, labels) - 1 if labels.dtype == bool else spearman(ranks, labels)


def _choose(first: Floats, second: NDArray[np.float32], labels: tuple[Labels, Labels]) -> _Choice:
    """Choose by the ranks of the first half (N, C), score on the cell values of the second half (N, C)."""
    strengths = _measure(first, labels[0])
    cell = int(np.abs(strengths).argmax())
    polarity = 1 if strengths[cell] >= 0 else -1
    ranks = average_ranks(second[:, cell : cell + 1])
    return _Choice(cell, polarity, float(_measure(ranks, labels[1])[0]), ranks[:, 0])


def find_cells(trace: Trace, detectors: list[Detector], untrained: Trace | None = None) -> CellFindings:
    """The best cell for each detector, strongest first: chosen on the first half of the text, scored on the second.

    AUC is turned by the polarity found on the first half; Spearman's rho keeps its sign. `untrained` is the trace of
    an untrained twin over the same text, where the same choice is made. A detector that has too little to see in one
    of the halves is skipped and says why. Raises DataError for a text under MIN_TEXT characters.
    """
    num_chars = len(trace.text)
    if num_chars < MIN_TEXT:
        raise DataError(
            f"The text has {num_chars} characters; scoring cells needs at least {MIN_TEXT}. Give a longer --text."
        )
    half = num_chars // 2
    num_units = trace.cells.shape[2]
    cells = trace.cells.reshape(num_chars, -1)
    ranks = average_ranks(cells[:half])
    twin_cells = untrained.cells.reshape(num_chars, -1) if untrained is not None else None
    twin_ranks = average_ranks(twin_cells[:half]) if twin_cells is not None else None
    scores, skipped = [], []
    for detector in detectors:
        labels = detector.label(trace.text)
        reason = why_not_scored(labels, detector.absence)
        if reason is None and labels is not None:
            reason = why_not_scored(labels[:half]) or why_not_scored(labels[half:])
        if reason is not None or labels is None:
            skipped.append(Skipped(detector=detector.name, reason=reason or ""))
            continue
        halves = (labels[:half], labels[half:])
        choice = _choose(ranks, cells[half:], halves)
        is_yes_no = labels.dtype == bool
        low, high = _interval(choice.ranks, halves[1], choice.polarity)
        twin = (
            _choose(twin_ranks, twin_cells[half:], halves)
            if twin_ranks is not None and twin_cells is not None
            else None
        )
        scores.append(
            CellScore(
                detector=detector.name,
                layer=choice.cell // num_units,
                unit=choice.cell % num_units,
                polarity=choice.polarity,
                num_positive=int((halves[1] > 0).sum()),
                auc=(1 + choice.polarity * choice.value) / 2 if is_yes_no else None,
                spearman=None if is_yes_no else choice.value,
                ci_low=low,
                ci_high=high,
                untrained=None if twin is None else (1 + twin.polarity * twin.value) / 2 if is_yes_no else twin.value,
            )
        )
    scores.sort(key=lambda score: -score.strength)
    return CellFindings(
        scores=tuple(scores),
        skipped=tuple(skipped),
        num_chars=num_chars,
        num_cells=trace.cells.shape[1] * num_units,
    )


def draw_blocks(num_chars: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The block each character belongs to (N,), and how often each resample draws each block (NUM_RESAMPLES, blocks).

    The generator is seeded: the same text gives the same intervals.
    """
    num_blocks = max(2, num_chars // BLOCK_LENGTH)
    block = np.arange(num_chars) * num_blocks // num_chars
    generator = np.random.default_rng(0)
    return block, generator.multinomial(num_blocks, np.full(num_blocks, 1 / num_blocks), size=NUM_RESAMPLES)


def percentiles(estimates: Any) -> tuple[float, float]:
    """The 95 % interval of resampled estimates."""
    low, high = np.quantile(np.asarray(estimates), [0.025, 0.975])
    return float(low), float(high)


def _interval(ranks: Floats, labels: Labels, polarity: int) -> tuple[float, float]:
    """95 % interval of a cell's AUC or rho by resampling blocks of BLOCK_LENGTH characters (Künsch 1989).

    ranks (N,), labels (N,).
    """
    block, draws = draw_blocks(len(ranks))
    if labels.dtype == bool:
        values, group = np.unique(ranks, return_inverse=True)
        estimates = [_weighted_auc(group, len(values), labels, weights[block]) for weights in draws]
        estimates = [value if polarity > 0 else 1 - value for value in estimates]
    else:
        target = average_ranks(labels)
        estimates = [_weighted_correlation(ranks, target, weights[block]) for weights in draws]
    return percentiles(estimates)


def _weighted_auc(group: NDArray[np.intp], num_groups: int, labels: Labels, weights: NDArray[Any]) -> float:
    inside = np.bincount(group, weights=weights * labels, minlength=num_groups)
    outside = np.bincount(group, weights=weights * ~labels, minlength=num_groups)
    total = inside.sum() * outside.sum()
    below = np.cumsum(outside) - outside / 2
    return float(inside @ below / total) if total else 0.5


def _weighted_correlation(x: Floats, y: Floats, weights: NDArray[Any]) -> float:
    weights = weights / weights.sum()
    x, y = x - weights @ x, y - weights @ y
    norm = np.sqrt((weights @ x**2) * (weights @ y**2))
    return float(weights @ (x * y) / norm) if norm else 0.0
