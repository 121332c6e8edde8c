"""`visualize --same`: match the cells of several trainings by correlation over one text, beside a
null.

The runs read the text side by side, window by window, and only sums of products are kept: memory
grows with the number of cells, not with the text. The null needs no further reading, because the
covariance of rotated activations follows from the covariance of the activations.

Shapes: n characters of a window, C and D cells of two runs, H units of a layer, R rotations.
"""

import contextlib
import statistics
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, combinations
from string import ascii_uppercase
from typing import Any

import numpy as np
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from charrnn.cells.findings import CellScore
from charrnn.cells.study import Study
from charrnn.cells.trace import stream_cells
from charrnn.cli.analyses import DETECTOR_OPTIONS, SINGLE_CELLS, Analysis, Shown, Subject
from charrnn.cli.arguments import load_models
from charrnn.config.options import option
from charrnn.detectors.detector import Detector
from charrnn.errors import DataError, UsageError, counted, named
from charrnn.evaluation.comparison import distinct_names
from charrnn.statistics.moments import Moments
from charrnn.system.arrays import Float32Array, Float64Array
from charrnn.system.display import Displayable
from charrnn.system.files import JSON
from charrnn.system.lazy import torch
from charrnn.system.progress import task
from charrnn.text.given_text import GivenText, whole_text
from charrnn.trained_model import TrainedModel
from charrnn.views.tables import (
    MEANINGS,
    Columns,
    plain_table,
    records_table,
    score_mark,
    score_number,
)
from charrnn.views.theme import all_visible

MAX_UNKNOWN = 0.01
"""The largest share of unknown characters in a text over which the cells of several models are
matched."""

LARGE_EXCESS = 0.5
"""Excess correlation above which Gurnee et al. call a neuron universal."""
SHARED = 0.01
"""Largest p-value of a cell that another run has as well."""
NEAR = 0.8
"""Share of the strength of a score, 2 AUC - 1 or |ρ|, that the same cell of another run has at
least. A fifth may be missing, because the best of all cells reaches as much by chance: AUC 0.60 for
the quotations of the included model."""
NUM_ROTATIONS = 99
"""R: rotations that the null is measured on. With fewer, no cell can reach p = 0.01."""
SAME_MARK = "="
"""Follows a cell that correlates best with the cell of the first run."""
ABOUT_PAIRS = (
    "null: the best |r| with the other run's activations, each layer rotated at random; p: the"
    " cells whose best |r| is above 95 and 99 % of their own null; excess: those that exceed it by"
    f" {LARGE_EXCESS:g}"
)
"""The columns of the table of pairs, in short."""
ABOUT_PROPERTIES = (
    "score: AUC, or |ρ| of a count; found: the runs whose score is beyond chance and at least"
    f" {NEAR:.0%} as far from it as the best one; {SAME_MARK}: a cell as near that correlates"
    " best with the first run's; "
    + "; ".join(f"{mark}: {meaning}" for mark, meaning in MEANINGS.items())
)
"""The marks of the table of properties, in short."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CellMatch:
    """The cell of another run that correlates best with a cell."""

    layer: int
    """The layer of the cell, from 0."""
    unit: int
    """The unit of the cell in its layer, from 0."""
    other_layer: int
    """The layer of the cell of the other run, from 0."""
    other_unit: int
    """The unit of the cell of the other run in its layer, from 0."""
    correlation: float
    """Pearson's r over the text, with its sign; 0 for a cell that is constant."""
    null: float
    """The best |r| with the other run's rotated activations, averaged over the rotations."""
    p_value: float
    """Share of the rotations for which the best |r| is at least as large; the match itself counts
    as a rotation."""

    @property
    def is_shared(self) -> bool:
        """Whether the other run has the cell as well: p is at most SHARED."""
        return self.p_value <= SHARED

    @property
    def excess(self) -> float:
        """How far |r| exceeds the null: the excess correlation of Gurnee et al. 2024."""
        return abs(self.correlation) - self.null


@dataclass(frozen=True, kw_only=True, slots=True)
class PairMatch(Displayable):
    """The cells of a run, each with the cell of another run that correlates best with it.

    The null is the null of Gurnee et al. 2024, "Universal neurons in GPT2 language models": the
    best |r| with the other run's activations after a rotation, which keeps the information of each
    layer and mixes its cells.
    """

    name: str = ""
    """The name of the run."""
    other: str = ""
    """The name of the other run."""
    matches: tuple[CellMatch, ...] = field(repr=False)
    """In the order of the cells."""
    null_median: float
    """The median of the best |r| of all cells under all rotations."""
    _DERIVED = ("median", "share_95", "share_99", "share_excess")

    @property
    def median(self) -> float:
        """The median of the best |r|."""
        return statistics.median(abs(match.correlation) for match in self.matches)

    @property
    def share_95(self) -> float:
        """The share of the cells whose best |r| is above 95 % of their null: p at most 0.05."""
        # In float32, the precision of a file, a p of 5 / 100 is above 0.05.
        return statistics.fmean(match.p_value <= 0.05 + 1e-6 for match in self.matches)

    @property
    def share_99(self) -> float:
        """The share of the cells whose best |r| is above 99 % of their null: cells that the other
        run has as well."""
        return statistics.fmean(match.is_shared for match in self.matches)

    @property
    def share_excess(self) -> float:
        """The share of the cells whose excess correlation is above LARGE_EXCESS."""
        return statistics.fmean(match.excess > LARGE_EXCESS for match in self.matches)


PAIR_COLUMNS: Columns = {
    "runs": "{name} in {other}",
    "cells": lambda pair: f"{len(pair.matches):,}",
    # The null stands beside the median that it is compared with.
    "median |r|": "{median:.3f}",
    "null": "{null_median:.3f}",
    "p ≤ 0.05": "{share_95:.1%}",
    "p ≤ 0.01": "{share_99:.1%}",
    "excess": "{share_excess:.1%}",
}
"""The columns of the table of pairs of runs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PropertyMatch:
    """The cell of every run that follows a detector best."""

    detector: str
    """The name of the detector."""
    scores: tuple[CellScore | None, ...]
    """By run; None where the text cannot be scored."""
    is_same: tuple[bool, ...]
    """By run: whether the cell correlates best with the first run's cell, is shared with the first
    run, and has a score near the score of that cell."""

    @property
    def num_found(self) -> int:
        """The number of runs in which the score is significant and near the strongest score."""
        strengths = [
            score.strength for score in self.scores if score is not None and score.is_significant
        ]
        return sum(is_near(strength, best=max(strengths)) for strength in strengths)

    def to_json(self) -> dict[str, Any]:
        """Return the scores as `visualize --find --json` does, null where there is no score."""
        return {
            "detector": self.detector,
            "num_found": self.num_found,
            "scores": [None if score is None else score.to_json() for score in self.scores],
            "is_same": list(self.is_same),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class MatchReport(Displayable):
    """The cells that several runs have in common, over one text."""

    names: tuple[str, ...]
    """Of the runs."""
    num_chars: int
    """Characters of the text."""
    num_rotations: int
    """Rotations of each pair that its null is measured on."""
    pairs: tuple[PairMatch, ...]
    """Every run with every later run: first the pairs of the first run."""
    properties: tuple[PropertyMatch, ...]
    """Those that most runs have come first."""

    def num_sharing(self) -> tuple[int, ...]:
        """Count the cells of the first run by the number of other runs that have them.

        Returns:
            A tuple of one number for each run: entry k is the number of cells that k other runs
            have.

        Example:
            >>> models = [charrnn.load("first"), charrnn.load("second")]
            >>> text = models[0].held_out()[:500]
            >>> report = charrnn.match_cells(models, text, detectors=["quote"])
            >>> sum(report.num_sharing()) == models[0].config.hidden_size
            True
        """
        # The pairs of the first run come first.
        pairs_of_first = self.pairs[: len(self.names) - 1]
        counts = [0] * len(self.names)
        for of_cell in zip(*(pair.matches for pair in pairs_of_first), strict=True):
            counts[sum(match.is_shared for match in of_cell)] += 1
        return tuple(counts)

    def to_json(self) -> dict[str, Any]:
        """Return all fields as an object."""
        return {
            "runs": list(self.names),
            "num_chars": self.num_chars,
            "num_rotations": self.num_rotations,
            "pairs": [pair.to_json() for pair in self.pairs],
            "num_sharing": list(self.num_sharing()),
            "properties": [row.to_json() for row in self.properties],
        }

    def view(self) -> Sequence[RenderableType]:
        """Return the table of pairs, how many cells are shared, and the table of detectors by
        run."""
        # A letter heads each column: the names of several runs do not fit into a line.
        names = short_names(self.names)
        pairs = []
        for (name, other), pair in zip(combinations(names, 2), self.pairs, strict=True):
            pairs.append(replace(pair, name=name, other=other))
        legend = []
        for short, name in zip(names, self.names, strict=True):
            legend.append(f"{short}: {all_visible(name)}")
        title = (
            f"Cells of {len(self.names)} runs over the same {self.num_chars:,} characters,"
            f" matched by correlation; null of {self.num_rotations} rotations"
        )
        return [
            Text(title, style="bold"),
            Text("\n".join(legend)),
            records_table(PAIR_COLUMNS, pairs, left=("runs",)),
            Text(ABOUT_PAIRS, style="dim"),
            Text(),
            Text(sharing_sentence(self)),
            Text(),
            Text("The best cell for each detector, by run", style="bold"),
            properties_table(self, names),
            Text(ABOUT_PROPERTIES, style="dim"),
        ]


def match_cells(
    models: Sequence[TrainedModel],
    text: GivenText,
    *,
    context: str | bytes = "",
    detectors: Sequence[str | Detector] | None = None,
    cached: bool = False,
) -> MatchReport:
    """Find the cells that several models have in common, by correlation over a text.

    Every pair of models is compared, beside a null of rotated activations, and the best cell for
    each detector is listed by model. Each model reads the text in its own alphabet.

    Args:
        models: At least two models.
        text: The text: a string, bytes, the `pathlib.Path` of a file, or a list of these.
        context: What the models read before the text; it is not measured. By default nothing.
        detectors: Names of detectors, such as `quote`, or objects of the class `Detector`. By
            default all.
        cached: Whether results are looked up in the user's cache folder and saved there. By default
            they are kept in memory only.

    Returns:
        A `MatchReport`: for each pair of models the most similar cell of the second for each cell
        of the first, and the detectors with the best cell of each model.

    Raises:
        UsageError: There are fewer than two models, or there is no such detector.
        DataError: One of the models does not know more than 1 % of the characters, the text is too
            short, or a file cannot be read.

    Example:
        >>> models = [charrnn.load("first"), charrnn.load("second")]
        >>> report = charrnn.match_cells(models, models[0].held_out()[:500], detectors=["quote"])
        >>> len(report.num_sharing())  # cells of the first that 0 and 1 other models have
        2
    """
    if len(models) < 2:
        raise UsageError(
            f"Matching cells takes at least two runs, not {len(models)}: name another run."
        )
    studies = studies_of(models, text, context=context, cached=cached)

    # The best cell of each model for each detector, as in the table of `--find`.
    by_run = []
    for study in studies.values():
        scores = study.findings(detectors).scores
        by_run.append({score.detector: score for score in scores})

    # The matches say which of these cells are the same.
    pairs = match_pairs(studies)
    properties = []
    for name in dict.fromkeys(chain.from_iterable(by_run)):
        properties.append(
            _property(name, scores=[scores.get(name) for scores in by_run], pairs=pairs)
        )
    return MatchReport(
        names=tuple(studies),
        num_chars=len(next(iter(studies.values())).text),
        num_rotations=NUM_ROTATIONS,
        pairs=pairs,
        properties=tuple(sorted(properties, key=_order)),
    )


def studies_of(
    models: Sequence[TrainedModel],
    text: GivenText,
    *,
    context: str | bytes = "",
    cached: bool = False,
) -> dict[str, Study]:
    """Return the studies of several models over the same text, by distinct names.

    Raises DataError for a text that any of the models cannot read.
    """
    # Each model reads the text. Characters that it does not know have the vector of the unknown
    # symbol, so that its cells would say nothing about the text.
    studies = {}
    for name, model in zip(distinct_names(models), models, strict=True):
        whole = whole_text(text, model.config, context=context)
        study = model.study(
            _in_alphabet(model, whole), context=_in_alphabet(model, context), cached=cached
        )
        studies[name] = study
        num_unknown = model.vocab.num_unknown(study.text.ids[study.text.first :])
        if num_unknown > MAX_UNKNOWN * len(study.text):
            raise DataError(
                f"{model.name} does not know {num_unknown:,} of"
                f" {counted(len(study.text), 'character')}; at most {MAX_UNKNOWN:.0%} may be"
                f" unknown. Give a {named('text')} that all models can read."
            )
    return studies


def _in_alphabet(model: TrainedModel, text: str | bytes) -> str | bytes:
    """Return a text as characters for a model that reads characters; bytes that are no UTF-8, such
    as half a character at the end, are left out."""
    if isinstance(text, bytes) and model.vocab.kind != "byte":
        return text.decode("utf-8", "ignore")
    return text


def rotated_best(
    moments: Moments,
    cells: slice,
    others: slice,
    *,
    layer_size: int,
    advance: Callable[[int], object],
) -> Float64Array:
    """Return the best |r| (R, C) of some of the cells of `moments` with the rotated activations of
    `others`, the cells of another run.

    Each layer of the other run, of `layer_size` cells, is multiplied by a random orthogonal matrix.
    `advance` is called with 0 after every rotation.
    """
    # No text is read: the covariances of rotated activations follow from the covariances of the
    # activations.
    within = moments.cell_covariances(others, others)
    across = moments.cell_covariances(cells, others)
    scale = moments.inverse_scales[cells]

    # The same rotations for every pair, by a generator that is seeded anew.
    generator = np.random.default_rng(0)
    best = np.zeros((NUM_ROTATIONS, len(scale)))
    for reached in best:
        for begin in range(0, len(within), layer_size):
            layer = slice(begin, begin + layer_size)
            rotation = random_rotation(layer_size, generator)

            # Of rotated activations, the covariance is R' S R. Scaled to a variance of 1 each,
            # their covariance with a cell is its correlation times the cell's spread.
            variances = (rotation * (within[layer, layer] @ rotation)).sum(axis=0)
            rotation /= np.sqrt(np.maximum(variances, np.finfo(np.float64).tiny))
            of_layer = np.abs(across[:, layer] @ rotation).max(axis=1) * scale
            np.maximum(reached, of_layer, out=reached)
        advance(0)
    return best.clip(0, 1)


def random_rotation(size: int, generator: np.random.Generator) -> Float64Array:
    """Draw an orthogonal matrix (size, size); all are equally likely (Stewart 1980)."""
    # Without the signs, the matrix would depend on how the decomposition chooses them.
    orthogonal, triangular = np.linalg.qr(generator.standard_normal((size, size)))
    return np.asarray(orthogonal * np.sign(np.diag(triangular)))


def match_pairs(named_studies: Mapping[str, Study]) -> tuple[PairMatch, ...]:
    """Look up every pair of studies, and measure the missing pairs in one pass over the text.

    Raises DataError for texts that are not equally long.
    """
    # Cells are matched character by character: a byte is not a character.
    names = list(named_studies)
    studies = list(named_studies.values())
    for study, name in zip(studies, names, strict=True):
        if len(study.text) != len(studies[0].text):
            raise DataError(
                f"{names[0]} reads the text as {len(studies[0].text):,} characters and {name} as"
                f" {len(study.text):,}, because one of them reads bytes.\nCompare runs of one"
                f" alphabet, or give a {named('text')} of ASCII."
            )

    # The pairs that an earlier call has matched.
    pairs = list(combinations(range(len(studies)), 2))
    matches = {}
    for i, j in pairs:
        match = studies[i].cache.load("match", _key(studies[i], studies[j]), result=PairMatch)
        if match is not None:
            matches[i, j] = match

    # All missing pairs at once: reading the text takes longer than all else.
    missing = [pair for pair in pairs if pair not in matches]
    if missing:
        matches |= _measure_pairs(studies, missing)

    # The names depend on the other runs of the call, so the cache does not have them.
    named_pairs = []
    for i, j in pairs:
        named_pairs.append(replace(matches[i, j], name=names[i], other=names[j]))
    return tuple(named_pairs)


def _measure_pairs(
    studies: Sequence[Study], pairs: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], PairMatch]:
    """Match the cells of pairs of studies, and save each match with the first study of the pair."""
    matches = {}
    moments = Moments()
    # The cells of each study among those of all, which stand side by side.
    ends = np.cumsum([0, *(study.num_cells for study in studies)]).tolist()
    cells_of = list(map(slice, ends[:-1], ends[1:]))
    with task("reading, to match the cells", total=len(studies) * len(studies[0].text)) as advance:
        with contextlib.closing(read_together(studies)) as windows:
            for cells in windows:
                moments.add_cells(cells)
                advance(len(cells) * len(studies))

        # The text is not needed any more.
        for i, j in pairs:
            study = studies[i]
            other = studies[j]
            match = match_pair(
                moments.correlations(cells_of[i], cells_of[j]),
                null=rotated_best(
                    moments,
                    cells=cells_of[i],
                    others=cells_of[j],
                    layer_size=other.num_units,
                    advance=advance,
                ),
                num_units=study.num_units,
                num_others=other.num_units,
            )
            matches[i, j] = match
            # A model that belongs to no run has no identity, and nothing is saved of it.
            if study.cache.identity and other.cache.identity:
                study.cache.save("match", _key(study, other), value=match)
    return matches


def read_together(studies: Sequence[Study]) -> Generator[Float32Array, None, None]:
    """Yield, window by window, the cells of all studies (n, C + D + …) at the same characters.

    All texts must have the same number of characters: then they are read in the same lanes.
    """
    known = [study.known_states for study in studies]
    with contextlib.ExitStack() as stack:
        # Every reader restores the mode that torch had when the reader began. Readers do not end in
        # the reverse order of their beginning, so the last reader would leave inference mode on.
        stack.enter_context(torch.inference_mode())
        readers = []
        for study, states in zip(studies, known, strict=True):
            stream = contextlib.closing(stream_cells(study.network(), study.text, states))
            readers.append(stack.enter_context(stream))

        # Window by window. The readers see the same lanes, because the texts are equally long.
        for windows in zip(*readers, strict=True):
            first = windows[0][0]
            for indices, _ in windows:
                assert np.array_equal(indices, first), "the windows are not in step"
            yield np.concatenate([cells for _, cells in windows], axis=1)


def _key(study: Study, other: Study) -> dict[str, JSON]:
    """Cache key: the texts of both studies, the weights and the program of the other study, and the
    number of rotations."""
    of_other: dict[str, JSON] = {"other": other.cache.identity, "other_text": other.text_key}
    return study.text_key | of_other | {"num_rotations": NUM_ROTATIONS}


def match_pair(
    correlations: Float64Array, *, null: Float64Array, num_units: int, num_others: int
) -> PairMatch:
    """Match the rows of correlations (C, D), beside the null (R, C) of the best |r|; the runs have
    no names yet.

    `num_units` and `num_others` are the units per layer of the two runs. Numbers are kept in single
    precision.
    """
    # The cell of the other run that correlates best with each cell, whatever the sign.
    best = np.abs(correlations).argmax(axis=1)
    reached = np.take_along_axis(correlations, best[:, None], axis=1)[:, 0]

    # A rotation that reaches the match up to rounding counts as a rotation that reaches it. The
    # match itself is among the R + 1 values that are compared, so that no p-value is 0 (Phipson &
    # Smyth 2010).
    num_above = (null >= np.abs(reached) * (1 - 1e-9)).sum(axis=0)
    p_values = (1 + num_above) / (1 + len(null))

    # In the precision of a file, so that a match that is looked up equals a measured match.
    numbers = np.stack([reached, null.mean(axis=0), p_values], axis=1).astype(np.float32).tolist()
    matches = []
    for cell, column in enumerate(best.tolist()):
        correlation, of_null, p_value = numbers[cell]
        match = CellMatch(
            layer=cell // num_units,
            unit=cell % num_units,
            other_layer=column // num_others,
            other_unit=column % num_others,
            correlation=correlation,
            null=of_null,
            p_value=p_value,
        )
        matches.append(match)
    return PairMatch(matches=tuple(matches), null_median=float(np.float32(np.median(null))))


def _property(
    detector: str, scores: Sequence[CellScore | None], pairs: Sequence[PairMatch]
) -> PropertyMatch:
    """Compose the row of a detector; `pairs` begin with the pairs of the first run."""
    first = scores[0]
    is_same = [first is not None]
    # After the pairs of the first run come the pairs of the other runs, which need no score.
    for pair, score in zip(pairs, scores[1:], strict=False):
        same = False
        # The cell that correlates best with the first run's cell must be the cell of this score,
        # and shared.
        if first is not None and score is not None:
            for match in pair.matches:
                if (match.layer, match.unit) == (first.layer, first.unit):
                    other = (match.other_layer, match.other_unit)
                    same = match.is_shared and other == (score.layer, score.unit)
                    same = same and is_near(score.strength, best=first.strength)
        is_same.append(same)
    return PropertyMatch(detector=detector, scores=tuple(scores), is_same=tuple(is_same))


def is_near(strength: float, *, best: float) -> bool:
    """Return whether the score of a cell of one run is near that of another run, by their
    strengths."""
    return strength >= NEAR * best


def _order(row: PropertyMatch) -> tuple[int, float]:
    """Return the key that sorts properties: found in most runs first, then by the mean strength."""
    # Only a text that can be scored by some run has a row.
    strengths = [score.strength for score in row.scores if score is not None]
    return -row.num_found, -sum(strengths) / len(strengths)


def short_names(names: Sequence[str]) -> list[str]:
    """Return a letter for each run, which heads its column: A, B, … or, from the 27th on, a
    number."""
    numbers = [str(number) for number in range(1, len(names) + 1)]
    return [*ascii_uppercase[: len(names)], *numbers[len(ascii_uppercase) :]]


def sharing_sentence(report: MatchReport) -> str:
    """Say how many cells of the first run all, some and none of the other runs have."""
    counts = report.num_sharing()
    num_cells = sum(counts)
    num_others = len(counts) - 1
    # Of two runs there is no "some".
    if num_others == 1:
        return f"Of the {num_cells:,} cells of A, B has {counts[1]:,} (p ≤ {SHARED:g})."
    return (
        f"Of the {num_cells:,} cells of A, all {num_others} other runs have {counts[-1]:,}, some of"
        f" them {sum(counts[1:-1]):,}, none {counts[0]:,} (p ≤ {SHARED:g})."
    )


def properties_table(report: MatchReport, names: Sequence[str]) -> Table:
    """Build the table of detectors by run: the best cell with its score, and in how many runs it is
    significant."""
    table = plain_table("detector", *names, "found", right=(*names, "found"))
    for row in report.properties:
        # The cells of the other runs are compared with the first run's cell, which has no mark.
        cells = [cell_text(row.scores[0], is_same=False)]
        for score, is_same in zip(row.scores[1:], row.is_same[1:], strict=True):
            cells.append(cell_text(score, is_same=is_same))
        # A detector that no run has is dim.
        count = f"{row.num_found} of {len(report.names)}"
        table.add_row(row.detector, *cells, count, style=None if row.num_found else "dim")
    return table


def cell_text(score: CellScore | None, *, is_same: bool) -> str:
    """Return a cell with its AUC or |ρ| in three digits, and marks; a dash if the text cannot be
    scored."""
    if score is None:
        return "-"
    # Without its sign: a cell of another run may be the same cell upside down.
    reached = score.auc
    if reached is None:
        reached = abs(score.spearman or 0.0)
    marks = score_mark(score)
    if is_same:
        marks = SAME_MARK + marks
    # A space where there is no mark keeps the digits below each other.
    return f"{score.layer}:{score.unit} {score_number(reached)}{marks or ' '}"


@dataclass(frozen=True, kw_only=True)
class SameOptions:
    """The option of the analysis."""

    same: bool = option(
        False,
        flags="--same",
        help="Match the cells of several runs: visualize --same RUN RUN …",
        panel=SINGLE_CELLS,
    )


def load_others(subject: Subject[Any]) -> list[TrainedModel]:
    """Load the runs beside the first, which follow the same options."""
    options = subject.options
    others: list[TrainedModel] = []
    if len(options.runs) > 1:  # No name would be the newest run.
        others = [*load_models(options.runs[1:], quiet=options.quiet)]
    for other in others:
        other.findings.on_warning = subject.model.findings.on_warning
        if options.recompute:
            other.findings.measures_anew = True
    return others


def _measure(subject: Subject[SameOptions]) -> MatchReport:
    return match_cells(
        [subject.model, *load_others(subject)],
        subject.content,
        context=subject.context,
        detectors=subject.detectors,
        cached=True,
    )


def _show(subject: Subject[SameOptions], report: MatchReport) -> Shown:
    return Shown(
        f"Cells of {', '.join(report.names)}", pictures=report.view(), data=report.to_json()
    )


ANALYSES = (
    Analysis(
        flag="--same",
        options=SameOptions,
        measure=_measure,
        show=_show,
        takes=DETECTOR_OPTIONS,
        example="--same RUN RUN",
        least_runs=2,
    ),
)
"""`visualize --same`."""
