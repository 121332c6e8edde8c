"""Match the cells of several trainings by correlation over one text, beside a null of rotated activations.

The runs read the text side by side, one window at a time, and only sums of products are kept: memory grows with the
number of cells, not with the text. The null needs no further reading, because the covariance of rotated activations
follows from that of the activations.

Shapes: n characters of a window, C and D cells of two runs, H units of a layer, R rotations.
"""

import contextlib
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from charrnn.cells.saved import floats_from_json, floats_to_json
from charrnn.cells.statistics import LEAST_SPREAD
from charrnn.errors import DataError, UsageError, named
from charrnn.files import JSON
from charrnn.lab.matching_records import CellMatch, MatchReport, PairMatch, PropertyMatch

if TYPE_CHECKING:
    from charrnn.cells.analysis import CellAnalysis
    from charrnn.detectors.registry import Detector

NUM_ROTATIONS = 99
"""R: rotations that the null is measured on: the fewest by which a cell can reach p = 0.01."""
NUM_BINS = 20
"""Bins of the histograms of best correlations, from 0 to 1."""
Float64Array = NDArray[np.float64]


class Moments:
    """Sums of products of the cells of several runs, for every pair of runs and of every run with itself.

    Cells are shifted by the means of the first window, so that the sums do not lose precision.
    """

    def __init__(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Sum for these pairs (i, j) of runs, i < j."""
        self._pairs = pairs
        self.num_chars = 0

    def add(self, cells: Sequence[NDArray[np.float32]]) -> None:
        """Add the cells (n, C) of every run at the same characters."""
        if self.num_chars == 0:
            self._origins = [of_run.mean(axis=0) for of_run in cells]
            sizes = [of_run.shape[1] for of_run in cells]
            both = {*self._pairs, *((run, run) for pair in self._pairs for run in pair)}
            self._sums = [np.zeros(size) for size in sizes]
            self._products = {(i, j): np.zeros((sizes[i], sizes[j])) for i, j in both}
        shifted = [of_run - origin for of_run, origin in zip(cells, self._origins, strict=True)]
        self.num_chars += len(shifted[0])
        for sums, of_run in zip(self._sums, shifted, strict=True):
            sums += of_run.sum(axis=0, dtype=np.float64)
        for (i, j), products in self._products.items():
            products += shifted[i].T @ shifted[j]

    def covariance(self, i: int, j: int) -> Float64Array:
        """Return the covariances (C, D) of the cells of run i with those of run j."""
        means = self._sums[i] / self.num_chars, self._sums[j] / self.num_chars
        return np.asarray(self._products[i, j] / self.num_chars - np.outer(*means))

    def inverse_spread(self, run: int) -> Float64Array:
        """Return 1 / standard deviation of every cell (C,) of a run; 0 for one that is constant up to rounding."""
        variance = np.maximum(np.diag(self.covariance(run, run)), 0)
        moves = variance > LEAST_SPREAD**2 * (variance + self._origins[run].astype(np.float64) ** 2)
        return np.where(moves, 1 / np.sqrt(np.where(moves, variance, 1)), 0)

    def correlations(self, i: int, j: int) -> Float64Array:
        """Return Pearson's r (C, D) of the cells of run i with those of run j; 0 for constant cells."""
        scaled = self.covariance(i, j) * np.outer(self.inverse_spread(i), self.inverse_spread(j))
        return np.asarray(scaled.clip(-1, 1))

    def rotated_best(
        self, runs: Sequence[int], j: int, layer_size: int, on_progress: Callable[[int], object]
    ) -> list[Float64Array]:
        """Return the best |r| (R, C) of every cell of each of `runs` with the rotated activations of run j.

        Each layer of run j, of `layer_size` cells, is multiplied by a random orthogonal matrix. `on_progress` is
        called with 0 after every rotation.
        """
        own, across = self.covariance(j, j), [self.covariance(i, j) for i in runs]
        scales = [self.inverse_spread(i) for i in runs]
        generator = np.random.default_rng(0)
        best = [np.zeros((NUM_ROTATIONS, len(scale))) for scale in scales]
        for number in range(NUM_ROTATIONS):
            for begin in range(0, len(own), layer_size):
                here = slice(begin, begin + layer_size)
                rotation = random_rotation(layer_size, generator)
                variances = (rotation * (own[here, here] @ rotation)).sum(axis=0)
                rotation /= np.sqrt(np.maximum(variances, np.finfo(np.float64).tiny))
                for reached, covariances, scale in zip(best, across, scales, strict=True):
                    found = np.abs(covariances[:, here] @ rotation).max(axis=1) * scale
                    reached[number] = np.maximum(reached[number], found)
            on_progress(0)
        return [reached.clip(0, 1) for reached in best]


def random_rotation(size: int, generator: np.random.Generator) -> Float64Array:
    """Draw an orthogonal matrix (size, size), every one equally likely (Stewart 1980)."""
    orthogonal, triangular = np.linalg.qr(generator.standard_normal((size, size)))
    return np.asarray(orthogonal * np.sign(np.diag(triangular)))


def assign_one_to_one(strengths: Float64Array) -> NDArray[np.int64]:
    """Assign each row of strengths (C, D) a column of its own, the strongest pairs first; -1 where none is left.

    Pairs of strength 0 are not assigned. Greedy: at least half the sum of the best assignment.
    """
    num_rows, num_columns = strengths.shape
    assigned = np.full(num_rows, -1)
    is_taken = np.zeros(num_columns, bool)
    remaining = min(num_rows, num_columns)
    for pair in np.argsort(-strengths, axis=None, kind="stable").tolist():
        row, column = divmod(pair, num_columns)
        if remaining == 0 or strengths[row, column] <= 0:
            break
        if assigned[row] < 0 and not is_taken[column]:
            assigned[row], is_taken[column] = column, True
            remaining -= 1
    return assigned


@dataclass(frozen=True, slots=True, eq=False)
class _Matched:
    """What is measured of a pair: for C cells of the one run, columns of the other run's cells."""

    best: NDArray[np.int64]
    correlations: NDArray[np.float32]
    partners: NDArray[np.int64]
    nulls: NDArray[np.float32]
    """(C,): the mean over the rotations."""
    p_values: NDArray[np.float32]
    """(C,): the share of the rotations, and of no rotation, that reach the correlation."""
    levels: NDArray[np.float32]
    """(3,): the median, 95 % and 99 % quantile of the null."""
    null_histogram: NDArray[np.float32]

    @classmethod
    def of(cls, correlations: Float64Array, null: Float64Array) -> "_Matched":
        """Match the rows of correlations (C, D), beside the null (R, C) of the best |r|."""
        strengths = np.abs(correlations)
        best = strengths.argmax(axis=1)
        reached = np.take_along_axis(correlations, best[:, None], axis=1)[:, 0]
        num_above = (null >= np.abs(reached) * (1 - 1e-9)).sum(axis=0)
        return cls(
            best,
            reached.astype(np.float32),
            assign_one_to_one(strengths),
            null.mean(axis=0).astype(np.float32),
            ((1 + num_above) / (1 + len(null))).astype(np.float32),
            np.quantile(null, [0.5, 0.95, 0.99]).astype(np.float32),
            _histogram(null),
        )

    def to_json(self) -> JSON:
        """Return it as one object."""
        floats = {name: floats_to_json(getattr(self, name)) for name in _FLOATS}
        return {**floats, "best": self.best.tolist(), "partners": self.partners.tolist()}

    @classmethod
    def from_json(cls, value: JSON, num_cells: int, num_others: int) -> "_Matched | None":
        """Return the matches of `num_cells` with `num_others` cells; None if `value` is anything else."""
        if not isinstance(value, Mapping) or value.keys() != {*_FLOATS, "best", "partners"}:
            return None
        sizes = {
            "correlations": num_cells,
            "nulls": num_cells,
            "p_values": num_cells,
            "levels": 3,
            "null_histogram": NUM_BINS,
        }
        floats = {name: floats_from_json(value[name], size) for name, size in sizes.items()}
        columns = {name: _columns_from_json(value[name], num_cells, num_others) for name in ("best", "partners")}
        found: dict[str, Any] = floats | columns
        if any(array is None for array in found.values()) or (found["best"] < 0).any():
            return None
        return cls(**found)


_FLOATS = ("correlations", "nulls", "p_values", "levels", "null_histogram")


def match_cells(
    studies: "Sequence[CellAnalysis]",
    names: Sequence[str],
    detectors: "Sequence[str | Detector] | None" = None,
    on_progress: Callable[[int], object] = lambda num_chars: None,
) -> MatchReport:
    """Match the cells of every run with those of every later one, and list the best cell for each detector by run.

    The runs read the same text, each in its own alphabet. Correlations and findings are looked up in the studies'
    caches. `on_progress` is called with the number of characters read by any of the runs since its last call. Raises
    UsageError for fewer than two runs and for an unknown detector, DataError for a text too short and for one that
    does not have the same number of characters in all alphabets.
    """
    if len(studies) < 2:
        raise UsageError(f"Matching cells takes at least two runs, not {len(studies)}: name another run.")
    for study, name in zip(studies, names, strict=True):
        if len(study.text) != len(studies[0].text):
            raise DataError(
                f"{names[0]} reads the text as {len(studies[0].text):,} characters and {name} as {len(study.text):,}, "
                f"because one of them reads bytes.\nCompare runs of one alphabet, or give a {named('text')} of ASCII."
            )
    findings = [study.findings(detectors, on_progress=on_progress) for study in studies]
    places = list(combinations(range(len(studies)), 2))
    matched = _match_all(studies, places, on_progress)
    pairs = tuple(
        _pair(matched[i, j], (names[i], names[j]), (studies[i].num_units, studies[j].num_units)) for i, j in places
    )
    by_run = [{score.detector: score for score in found.scores} for found in findings]
    detected = dict.fromkeys(name for scores in by_run for name in scores)
    properties = [_property(name, [scores.get(name) for scores in by_run], pairs) for name in detected]
    return MatchReport(
        names=tuple(names),
        num_chars=len(studies[0].text),
        num_rotations=NUM_ROTATIONS,
        pairs=pairs,
        properties=tuple(sorted(properties, key=_order)),
    )


def _match_all(
    studies: "Sequence[CellAnalysis]", places: Sequence[tuple[int, int]], on_progress: Callable[[int], object]
) -> dict[tuple[int, int], _Matched]:
    """Look up every pair, and measure those that are missing in one pass over the text."""
    matched = {}
    for i, j in places:
        sizes = [study.num_layers * study.num_units for study in (studies[i], studies[j])]
        key = _key(studies[i], studies[j])
        known = None if key is None else _Matched.from_json(studies[i].cache.get("match", key), sizes[0], sizes[1])
        if known is not None:
            matched[i, j] = known
    missing = [pair for pair in places if pair not in matched]
    if not missing:
        return matched
    runs = sorted({run for pair in missing for run in pair})
    moments = Moments([(runs.index(i), runs.index(j)) for i, j in missing])
    with contextlib.closing(read_together([studies[run] for run in runs])) as windows:
        for cells in windows:
            moments.add(cells)
            on_progress(len(cells[0]) * len(runs))
    for j in sorted({j for _, j in missing}):
        others = [i for i, other in missing if other == j]
        places_of = [runs.index(i) for i in others]
        nulls = moments.rotated_best(places_of, runs.index(j), studies[j].num_units, on_progress)
        for i, place, null in zip(others, places_of, nulls, strict=True):
            matched[i, j] = found = _Matched.of(moments.correlations(place, runs.index(j)), null)
            if (key := _key(studies[i], studies[j])) is not None:
                studies[i].cache.put("match", key, found.to_json())
    for i in {i for i, _ in missing}:
        studies[i].cache.save()
    return matched


def read_together(studies: "Sequence[CellAnalysis]") -> Generator[list[NDArray[np.float32]], None, None]:
    """Yield, window by window, the cells (n, C) of every study at the same characters.

    All texts must have the same number of characters: then they are read in the same lanes.
    """
    import torch

    from charrnn.cells.trace import stream_cells

    with contextlib.ExitStack() as stack:
        # Every reader restores the mode that it found when it began. They do not end in the reverse order of their
        # beginning, so the last one would leave inference mode on.
        stack.enter_context(torch.inference_mode())
        readers = [
            stack.enter_context(contextlib.closing(stream_cells(study.network(), study.text))) for study in studies
        ]
        for windows in zip(*readers, strict=True):
            first = windows[0][0]
            assert all(np.array_equal(indices, first) for indices, _ in windows[1:]), "the windows are not in step"
            yield [cells for _, cells in windows]


def _key(study: "CellAnalysis", other: "CellAnalysis") -> "dict[str, JSON] | None":
    """Return what a match is cached by; None if one of the models belongs to no run."""
    if not study.cache.identity or not other.cache.identity:
        return None
    return {
        **study.text_key,
        "other": other.cache.identity,
        "other_text": other.text_key,
        "num_rotations": NUM_ROTATIONS,
    }


def _pair(found: _Matched, names: tuple[str, str], num_units: tuple[int, int]) -> PairMatch:
    median, null_95, null_99 = map(float, found.levels)
    partners = [None if column < 0 else divmod(column, num_units[1]) for column in found.partners.tolist()]
    return PairMatch(
        name=names[0],
        other=names[1],
        matches=tuple(
            CellMatch(
                layer=cell // num_units[0],
                unit=cell % num_units[0],
                other_layer=best // num_units[1],
                other_unit=best % num_units[1],
                correlation=float(found.correlations[cell]),
                null=float(found.nulls[cell]),
                p_value=float(found.p_values[cell]),
                partner=partners[cell],
            )
            for cell, best in enumerate(found.best.tolist())
        ),
        null_median=median,
        null_95=null_95,
        null_99=null_99,
        histogram=tuple(map(float, _histogram(np.abs(found.correlations)))),
        null_histogram=tuple(map(float, found.null_histogram)),
    )


def _property(detector: str, scores: "Sequence[Any]", pairs: Sequence[PairMatch]) -> PropertyMatch:
    """Compose the row of a detector; `pairs` begin with those of the first run."""
    first = scores[0]
    is_same = [first is not None]
    for pair, score in zip(pairs, scores[1:], strict=False):
        is_same.append(False)
        if first is not None and score is not None:
            match = next(one for one in pair.matches if (one.layer, one.unit) == (first.layer, first.unit))
            is_same[-1] = match.is_shared and (match.other_layer, match.other_unit) == (score.layer, score.unit)
    return PropertyMatch(detector=detector, scores=tuple(scores), is_same=tuple(is_same))


def _order(found: PropertyMatch) -> tuple[int, float]:
    """Return the key that sorts properties: found in most runs first, then by the mean strength."""
    strengths = [score.strength for score in found.scores if score is not None]
    return -found.num_found, -sum(strengths) / len(strengths)


def _histogram(values: NDArray[Any]) -> NDArray[np.float32]:
    """Return the share of values in [0, 1] that are in each bin."""
    counts, _ = np.histogram(values, bins=NUM_BINS, range=(0, 1))
    return (counts / values.size).astype(np.float32)


def _columns_from_json(value: JSON, size: int, num_columns: int) -> "NDArray[np.int64] | None":
    """Return columns (size,), -1 for none; None if `value` is anything else."""
    if not isinstance(value, list) or len(value) != size:
        return None
    if not all(type(column) is int and -1 <= column < num_columns for column in value):
        return None
    return np.array(value, np.int64)
