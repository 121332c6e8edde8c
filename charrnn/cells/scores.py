"""Score all cells of a network for all detectors while it reads a text, with one window of cell
values in memory.

1. The first half, the choosing half, selects a cell for each detector, by histograms of every
   cell's values with the labels in each bin. It also gives the score that the best of all cells
   reaches by chance, for labels that are shifted along it: `read_choosing_half`.
2. The second half, the scoring half, has no part in the choice. Only the values of the selected
   cells are kept, and their statistics are exact: `score_choice`.
3. An untrained network makes its own choice on its first half and is scored on its second.

Memory grows with the text by the labels and a few numbers per character and detector, and does not
depend on the number of cells. `statistics.agreement` defines association, strength and score.

Shapes: N characters of a half or of the text (n of them in a window or a half), C = L * H cells.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from charrnn.cells.choosing_half import (
    Associations,
    Choice,
    polarity_of,
    read_choosing_half,
    strongest,
)
from charrnn.cells.records import CellFindings, CellScore, Skipped
from charrnn.cells.target_labels import Target, choose_targets
from charrnn.cells.trace import ReadWindows, Trace, Windows, read_columns
from charrnn.detectors.detector import Detector, Labels, why_not_scored
from charrnn.detectors.registry import get_detectors
from charrnn.statistics.agreement import (
    auc_from_association,
    f1,
    measure_score,
    r_squared,
    resample_score,
    score_from_association,
)
from charrnn.statistics.intervals import interval_of
from charrnn.system.arrays import BoolArray, Float32Array
from charrnn.system.progress import task

BASELINE_CHARS = 131_072
"""Characters of each half that the untrained baseline reads, at most: its scores need less
precision."""
WINDOW = 8192
"""Characters of a trace that are processed at once."""
INTERIOR = 5
"""A character so many characters after a label change is interior: the delimiter is no longer the
last input."""
MIN_INTERIOR = 50
"""Least number of interior characters inside, and as many outside, for an interior score."""


@dataclass(frozen=True, eq=False)
class Measured:
    """The score of the cell that the choosing half selected for a target, and the association of
    every cell on that half.

    `Study.measure` returns it. The score is for users; the associations rank the cells that are not
    the best.
    """

    score: CellScore
    """The score of the chosen cell on the scoring half."""
    on_choosing_half: Float32Array
    """(C,): the association of every cell."""


def score_choice(
    target: Target, choice: Choice, values: Float32Array, *, association: float, num_units: int
) -> CellScore:
    """Score a cell for a target by its values (n,) on the scoring half.

    `association` is the cell's association on the choosing half, and `num_units` is H.
    """
    # The polarity comes from the choosing half: a cell that has turned round scores below chance.
    labels = target.scoring_labels
    polarity = choice.polarity
    cell_score = measure_score(values, labels=labels, polarity=polarity)
    resampled = resample_score(values, labels=labels, polarity=polarity)
    # The resamples of an AUC take values of similar rank for equal ones, so that none of them may
    # reach the score of a cell that is never wrong.
    low, high = interval_of(resampled, num_chars=len(labels))
    low = min(low, cell_score)
    high = max(high, cell_score)
    auc = spearman = None
    if target.is_yes_no:
        auc = cell_score
    else:
        spearman = cell_score

    # The threshold and the line, too, were fitted on the choosing half.
    r2 = f1_at_threshold = None
    if choice.threshold is not None:
        f1_at_threshold = f1((values >= choice.threshold) == (polarity > 0), labels)
    if choice.line is not None:
        slope, intercept = choice.line
        r2 = r_squared(slope * values.astype(np.float64) + intercept, labels)

    layer, unit = divmod(choice.cell, num_units)
    return CellScore(
        detector=target.name,
        layer=layer,
        unit=unit,
        polarity=polarity,
        num_positive=int((labels > 0).sum()),
        auc=auc,
        spearman=spearman,
        ci_low=low,
        ci_high=high,
        chosen_on=score_from_association(association, polarity, is_yes_no=target.is_yes_no),
        r2=r2,
        threshold=choice.threshold,
        f1=f1_at_threshold,
    )


def score_interior(target: Target, values: Float32Array, polarity: int) -> float | None:
    """Return the AUC of values (n,) over interior characters; None for a count, or where they are
    too few."""
    if not target.is_yes_no:
        return None

    # Changes are looked for in the whole text: the last change may be in the choosing half.
    is_interior = interior(target.labels)[target.half :]
    inside = target.scoring_labels[is_interior]
    if min(inside.sum(), (~inside).sum()) < MIN_INTERIOR:
        return None
    return measure_score(values[is_interior], labels=inside, polarity=polarity)


def interior(labels: Labels) -> BoolArray:
    """Return whether each character (N,) is INTERIOR or more after the last label change, or before
    the first."""
    index = np.arange(len(labels))
    changes = np.append(False, labels[1:] != labels[:-1])
    # Before the first change, as if a change stood INTERIOR characters before the text.
    last_change = np.maximum.accumulate(np.where(changes, index, -INTERIOR))
    return index - last_change >= INTERIOR


def scores_of_cell(
    cell: int,
    *,
    targets: Sequence[Target],
    measured: Sequence[Measured],
    values: Float32Array,
    num_units: int,
) -> tuple[CellScore, ...]:
    """Return the scores of a cell, as `CellPage` has them, from its values (N,) on the scoring
    half.

    It is for a cell that somebody names; `score_targets` scores the cell that each target chooses.
    """
    # The best cells of detectors are scored already.
    layer, unit = divmod(cell, num_units)
    of_cell = []
    for result in measured:
        if (result.score.layer, result.score.unit) == (layer, unit):
            of_cell.append(result.score)
    if of_cell or not measured:
        return tuple(sorted(of_cell, key=lambda score: -score.strength))

    # Any other cell: the detector that it follows best on the choosing half, beside the chance
    # level and the untrained score that the best of all cells reaches.
    best = int(np.argmax([abs(result.on_choosing_half[cell]) for result in measured]))
    association = float(measured[best].on_choosing_half[cell])
    score = score_choice(
        targets[best],
        choice=Choice(cell, polarity=polarity_of(association)),
        values=values,
        association=association,
        num_units=num_units,
    )
    known = measured[best].score
    return (replace(score, untrained=known.untrained, null_level=known.null_level),)


def sort_scores(
    scores: Sequence[CellScore], skipped: Sequence[Skipped], *, num_chars: int, num_cells: int
) -> CellFindings:
    """Return the findings, the strongest score first; `num_cells` counts if there is a score.

    It ends a survey and `find_cells` alike.
    """
    return CellFindings(
        scores=tuple(sorted(scores, key=lambda score: -score.strength)),
        skipped=tuple(skipped),
        num_chars=num_chars,
        num_cells=num_cells if scores else 0,
    )


def find_cells(
    trace: Trace,
    detectors: Sequence[str | Detector] | None = None,
    *,
    untrained: Trace | None = None,
) -> CellFindings:
    """Find the best cell of a trace for each detector, strongest first.

    A cell is chosen on the first half of the trace and scored on the second. An AUC is that of
    polarity × values, with the polarity of the first half; Spearman's ρ keeps its sign.

    This is for a trace that is at hand. `Model.survey` takes a text of any length, compares with an
    untrained network by itself, and keeps no trace in memory; `Model.study` is for more questions
    about one text.

    Args:
        trace: What `Model.trace` returned, of at least 200 characters.
        detectors: Names of detectors, such as `quote`, or objects of the class `Detector`, or one
            name. By default all of `charrnn.detectors.registry.DETECTORS`.
        untrained: The trace of the same text by an untrained network, for comparison. By default
            nothing is compared.

    Returns:
        A `CellFindings`: the score of the best cell for each detector, and the reason for each
        detector that was not scored.

    Raises:
        UsageError: There is no such detector.
        DataError: The text has fewer than 200 characters.

    Example:
        >>> findings = charrnn.find_cells(model.trace(text), ["quote"])
        >>> best = findings.scores[0]
        >>> best.layer, best.unit
        (0, 5)
        >>> best.auc
        >>> untrained = model.trace(text, network=model.untrained_baseline())
        >>> findings = charrnn.find_cells(model.trace(text), ["quote"], untrained=untrained)
        >>> findings.scores[0].gain > 0
        True
    """
    # A network that has learned nothing reads the same text: its scores come from chance and the
    # inputs alone.
    read_untrained = None
    if untrained is not None:
        read_untrained = partial(_windows_of, untrained)

    # Detectors that label too little of either half are skipped, each with a reason.
    targets, skipped = choose_targets(trace.text, detectors=get_detectors(detectors))
    _, num_layers, num_units = trace.cells.shape
    measured = score_targets(
        targets, partial(_windows_of, trace), num_units=num_units, read_untrained=read_untrained
    )
    return sort_scores(
        [result.score for result in measured],
        skipped,
        num_chars=len(trace.text),
        num_cells=num_layers * num_units,
    )


def _windows_of(trace: Trace, begin: int, end: int) -> Windows:
    """Yield a part of a trace in windows, as `trace.read_windows` reads a part of a text."""
    cells = trace.cells.reshape(len(trace.text), -1)
    # A window takes every stride-th character, not a segment, so that the first is a fair sample of
    # the text.
    stride = -(-(end - begin) // WINDOW)
    for first in range(stride):
        yield np.arange(first, end - begin, stride), cells[begin + first : end : stride]


def score_targets(
    targets: Sequence[Target],
    read: ReadWindows,
    *,
    num_units: int,
    read_untrained: ReadWindows | None = None,
) -> list[Measured]:
    """Choose a cell for each target and score it, in order; the result for a target does not depend
    on the other targets.

    `Study.measure` looks the results up before, and saves them.
    """
    if not targets:
        return []

    # First half: select a cell for each target. The best of hundreds of cells looks better on this
    # text than it is, so nothing of this half is a score.
    choosing = read_choosing_half(targets, read)
    choices = [choosing.choose(index) for index in range(len(targets))]

    # Second half: the values of the selected cells. All targets label the same text.
    selected = [choice.cell for choice in choices]
    scoring = slice(targets[0].half, len(targets[0].labels))
    values = read_columns(read, columns=selected, part=scoring)

    # The untrained network makes its own choice, with the same freedom: even random features follow
    # some labels.
    untrained: dict[Target, float] = {}
    if read_untrained is not None:
        untrained = _score_baseline(read_untrained, targets)

    measured = []
    with task("scoring", total=len(targets), unit="detectors") as on_target:
        for index, (target, choice) in enumerate(zip(targets, choices, strict=True)):
            on_target(0)
            associations = choosing.associations(index)
            score = score_choice(
                target,
                choice=choice,
                values=values[index],
                association=float(associations[choice.cell]),
                num_units=num_units,
            )

            # Chance is measured on the choosing half, for the strongest of all cells there.
            chance = choosing.chance(index)
            null_level = chance.level
            if target.is_yes_no:
                null_level = auc_from_association(chance.level)

            score = replace(
                score,
                interior=score_interior(target, values=values[index], polarity=choice.polarity),
                untrained=untrained.get(target),
                p_value=chance.p_value,
                null_level=null_level,
            )
            measured.append(Measured(score, on_choosing_half=associations))
            on_target(1)
    return measured


def _score_baseline(read: ReadWindows, targets: Sequence[Target]) -> dict[Target, float]:
    """Score the untrained baseline's own choice for each target, on as much of the text as it
    reads.

    Returns the AUC or rho by target, without targets for which it reads too few labels. It takes
    the strongest cell, even where `ChoosingHalf` prefers a visible cell.
    """
    # The baseline reads only the beginning of each half, which may have too few labels.
    half = targets[0].half
    num_choosing = min(half, BASELINE_CHARS)
    num_scoring = min(len(targets[0].labels) - half, BASELINE_CHARS)
    scoring = slice(half, half + num_scoring)
    scored = []
    for target in targets:
        reason = why_not_scored(target.labels[:num_choosing])
        reason = reason or why_not_scored(target.labels[scoring])
        if reason is None:
            scored.append(target)
    if not scored:
        return {}

    # As with the model, choose on the first half.
    baseline = Associations(scored, num_choosing)
    for indices, cells in read(0, num_choosing):
        baseline.add(indices, cells)
    choices = [strongest(associations) for associations in baseline.finish()]

    # Score on the second half.
    values = read_columns(read, columns=[choice.cell for choice in choices], part=scoring)
    return {
        target: measure_score(of_cell, labels=target.labels[scoring], polarity=choice.polarity)
        for target, choice, of_cell in zip(scored, choices, values, strict=True)
    }
