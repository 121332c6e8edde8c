"""Measure an evidence card: everything is chosen on the choosing half and measured on the other.

`measure_card` has the order: `plan` chooses the places, the network reads them freely, its cells
are put in order on the choosing half, and each criterion is measured by one function.

Shapes: N characters, P pairs, S segments of T characters, C conditions, L, H as in `model.network`.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np

from charrnn.analyses.evidence.plan import Plan, choose
from charrnn.analyses.evidence.property_output import resample_differences
from charrnn.analyses.evidence.readings import (
    FreeReading,
    read_batch,
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
from charrnn.cells.records import CellIndex, CellScore
from charrnn.cells.scores import Measured
from charrnn.cells.study import Study
from charrnn.cells.target_labels import Target
from charrnn.detectors.detector import Detector
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

NUM_RANKING_SEGMENTS = 6
"""Segments that are also read with every other cell, and every direction, clamped: on them the cell
is ranked."""
NUM_OTHERS = 99
"""Number of other cells, and of random directions, with which the cell is compared."""
NUMS_FREE = (0, 1, 2, 3, 4, 6, 8, 16, 32, 64)
"""Numbers of followers that stay free while all other followers are clamped at their means."""


def measure_card(
    study: Study, *, target: Target, measured: Measured, cell: CellIndex, detector: Detector
) -> EvidenceCard:
    """Measure a card about a cell, whose memory may track the labels of a target.

    `evidence` calls it; `measured` is what the study has measured for the target. Raises DataError
    if the documents of the text are too short.
    """
    # Choose: the places by the text and its labels, the order of the cells on the choosing half.
    plan = choose(study, target=target, cell=cell, detector=detector)
    reading = read_plan(study, plan)
    followers = choose_followers(plan, reading, measured)

    # Measure, on the scoring half.
    tracks = _score_of(study, measured=measured, cell=cell, detector=detector)
    necessary = _necessity(plan, reading)
    sufficient = _sufficiency(plan, reading, followers)
    interchange = _interchange(plan, reading)
    fooled = _mistakes(plan, reading)

    written = characters_of(study.text)
    output = plan.output
    return EvidenceCard(
        layer=cell[0],
        unit=cell[1],
        detector=target.name,
        looks_for=detector.looks_for,
        output=tuple(written[id] for id in output.ids.tolist()),
        output_sign=output.sign,
        output_after=tuple(written[id] for id in output.after.tolist()),
        num_chars=len(plan.ids),
        num_cells=plan.num_cells,
        tracks=tracks,
        necessary=necessary,
        sufficient=sufficient,
        interchange=interchange,
        fooled=fooled,
    )


def read_plan(study: Study, plan: Plan) -> FreeReading:
    """Read the segments of a plan freely, with the states from which all other readings start."""
    pairs = np.concatenate((plan.choosing_pairs, plan.scoring_pairs)).ravel() - plan.lag
    return read_freely(
        study.network(),
        study.text,
        begins=plan.free_segments,
        length=plan.free_length,
        half=plan.half,
        cell=plan.cell,
        output=plan.output,
        wanted=np.concatenate((pairs, plan.clamped_segments)),
        known=study.known_states,
    )


def choose_followers(plan: Plan, reading: FreeReading, measured: Measured) -> list[CellIndex]:
    """Return the cells that follow the property better than chance and than the untrained network.
    The cell of the claim comes first, then the cells in the order in which their exchange moves the
    output on the choosing half, the largest first.

    The test of sufficiency holds all of them but a few.
    """
    score = measured.score
    level = max(score.strength_of(score.untrained), score.strength_of(score.null_level))

    # The effect of an exchange is measured where the cell was chosen.
    pairs = plan.choosing_pairs
    moved = np.zeros(plan.num_cells)
    if len(pairs):
        batch = read_batch(reading, pairs, lag=plan.lag)
        attributions = batch.attributions(batch.partners).reshape(2, len(pairs), -1)
        moved = (attributions[1] - attributions[0]).mean(0)
    order = np.argsort(-moved, kind="stable")
    follows = np.abs(measured.on_choosing_half) > level
    chosen = order[follows[order]].tolist()
    followers = [divmod(cell, plan.num_units) for cell in chosen]
    return [plan.cell, *(cell for cell in followers if cell != plan.cell)]


class Threshold(NamedTuple):
    """What parts the values inside a property from those outside."""

    middle: float
    """The number halfway between the means inside and outside."""
    polarity: float
    """1 if the values inside are larger, -1 if they are smaller."""


def choose_threshold(plan: Plan, values: Float64Array, where: BoolArray) -> Threshold:
    """Return the number that parts the values (N,) inside a property from those outside: over the
    places of the choosing half that are among `where`."""
    half = plan.half
    chosen = (plan.shows_property & plan.is_read & where)[:half]
    signs = plan.signs[:half]
    inside = _mean(values[:half][chosen & (signs > 0)])
    outside = _mean(values[:half][chosen & (signs < 0)])
    return Threshold((inside + outside) / 2, polarity=float(np.sign(inside - outside)))


def _score_of(
    study: Study, *, measured: Measured, cell: CellIndex, detector: Detector
) -> CellScore:
    """Return the score of the cell."""
    best = measured.score
    if (best.layer, best.unit) == cell:
        return best
    # Any other cell is read once more.
    page = study.page(*cell, detectors=[detector])
    return page.scores[0]


def _mask(plan: Plan, *cells: list[CellIndex]) -> Tensor:
    """Return (C, L, H): whether each cell is among the cells of each condition."""
    mask = torch.zeros(
        len(cells),
        plan.num_layers,
        plan.num_units,
        dtype=torch.bool,
    )
    for condition, chosen in enumerate(cells):
        for layer, unit in chosen:
            mask[condition, layer, unit] = True
    return mask


def _necessity(plan: Plan, reading: FreeReading) -> Necessity:
    """Clamp the cell at its mean, on all segments, and on some of them other cells and random
    directions, too."""
    layer, unit = plan.cell
    generator = np.random.default_rng(0)
    own = layer * plan.num_units + unit
    others = np.delete(np.arange(plan.num_cells), own)
    others = generator.permutation(others)[:NUM_OTHERS]

    # A direction of standardised memories, scaled so that the part that is taken away has the
    # same standard deviation as one cell, 1.
    drawn = torch.from_numpy(generator.normal(size=(NUM_OTHERS, plan.num_units)))
    drawn /= drawn.norm(dim=1, keepdim=True)
    here = slice(layer * plan.num_units, (layer + 1) * plan.num_units)
    correlations = reading.correlations[here, here]
    spreads = torch.einsum("ch,hk,ck->c", drawn, correlations, drawn).sqrt()

    # Nothing is clamped in the first condition, and no cell in those of the directions.
    conditions = [[], [plan.cell]]
    for other in others.tolist():
        conditions.append([divmod(other, plan.num_units)])
    conditions += [[]] * NUM_OTHERS
    directions = reading.means.new_zeros(len(conditions), plan.num_units)
    directions[-NUM_OTHERS:] = drawn / spreads.sqrt()[:, None]
    read = partial(
        read_clamped,
        reading,
        length=plan.segment_length,
        num_skipped=plan.num_skipped,
        layer=layer,
    )
    losses, positions = read(
        begins=plan.clamped_segments[:NUM_RANKING_SEGMENTS],
        is_clamped=_mask(plan, *conditions),
        directions=directions,
    )
    rises = losses[1:] - losses[0]
    signs = plan.signs[positions]
    inside = [_mean(rise[signs > 0]) for rise in rises]
    of_cells = inside[1 : 1 + len(others)]
    of_directions = inside[1 + len(others) :]

    # The rise itself, and its interval, need more characters than a rank.
    losses, positions = read(begins=plan.clamped_segments, is_clamped=_mask(plan, [], [plan.cell]))
    rise = losses[1] - losses[0]
    is_inside = plan.signs[positions] > 0
    is_outside = plan.signs[positions] < 0
    return Necessity(
        inside=_mean(rise[is_inside]),
        ci_inside=_interval(plan, rise[is_inside], positions[is_inside]),
        outside=_mean(rise[is_outside]),
        ci_outside=_interval(plan, rise[is_outside], positions[is_outside]),
        num_chars=len(rise),
        cells=tuple(of_cells),
        directions=tuple(of_directions),
        ranked=inside[0],
        rank=1 + sum(rise >= inside[0] for rise in of_cells),
        rank_among_directions=1 + sum(rise >= inside[0] for rise in of_directions),
        num_ranked_chars=rises.shape[1],
        windows=tuple(plan.clamped_segments.tolist()),
    )


def _sufficiency(plan: Plan, reading: FreeReading, followers: list[CellIndex]) -> Sufficiency:
    """Clamp all followers but the first k, for each k of NUMS_FREE."""
    nums_free = [k for k in NUMS_FREE if k <= len(followers)]
    conditions = [followers[k:] for k in nums_free]
    odds, positions = read_clamped(
        reading,
        begins=plan.clamped_segments,
        length=plan.segment_length,
        num_skipped=plan.num_skipped,
        is_clamped=_mask(plan, [], *conditions),
        output=plan.output,
    )
    chosen = plan.shows_property[positions]
    positions = positions[chosen]
    signs = plan.signs[positions]
    codes = plan.ids[positions]

    # Whole blocks of the text are drawn, as for every interval, of those that have a place. In
    # the first draw all are drawn once, which gives the effects themselves.
    blocks = draw_blocks(len(plan.ids) - plan.half).blocks
    filled, places = np.unique(blocks[positions - plan.half], return_inverse=True)
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
        windows=tuple(plan.clamped_segments.tolist()),
        num_carrying=carrying(curve),
    )


def _interchange(plan: Plan, reading: FreeReading) -> Interchange | None:
    """Exchange the memory of the cell at pairs of positions."""
    # One cell alone leaves no other cell to compare it with.
    pairs = plan.scoring_pairs
    if not len(pairs) or plan.num_cells == 1:
        return None

    # Only pairs whose outputs differ in the direction of their labels have a middle to cross.
    batch = read_batch(reading, pairs, lag=plan.lag)
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
        moved = batch.patched(sources, cells=cells) - (batch.outputs + batch.outputs[partners]) / 2
        return np.asarray((moved * distances > 0)[differs], np.float64)

    # Two comparisons show what happens by chance: another cell is exchanged in each row, or the
    # cell is exchanged with a position that has the same label.
    mask = _mask(plan, [plan.cell])
    generator = np.random.default_rng(0)
    drawn = generator.integers(plan.num_cells - 1, size=len(partners))
    drawn[drawn >= mask.flatten().nonzero().item()] += 1
    others = torch.zeros(len(partners), plan.num_cells, dtype=torch.bool)
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
        above_other_cells=_interval(plan, by_cell - by_others, positions),
        above_equal_labels=_interval(plan, by_cell - by_equal, positions),
        num_pairs=int(differs.sum()) // 2,
        num_drawn=len(pairs),
        lag=plan.lag,
        pairs=tuple(map(tuple, pairs.tolist())),
    )


def _interval(plan: Plan, values: Float64Array, positions: Int64Array) -> Interval | None:
    """Return the 95 % interval of the mean of values (n,) at positions of the scoring half.
    None if the positions are in too few of its blocks."""
    # Values of one passage are alike, so whole blocks of the text are drawn.
    blocks, draws = draw_blocks(len(plan.ids) - plan.half)
    sums = BlockSums.zeros(draws.shape[1])
    sums.add(values, blocks[positions - plan.half])
    interval = sums.interval()
    if interval is None:
        return None
    # A difference of 0 is 1e-18 on some processors, which would count as above 0.
    low, high = interval
    return round(low, 9), round(high, 9)


def _mistakes(plan: Plan, reading: FreeReading) -> Mistakes:
    """Find the positions of the scoring half where the cell is on the wrong side."""
    half = plan.half
    is_first = np.arange(len(plan.ids)) < half

    # The thresholds of the value, and of the output after each character, were chosen.
    shown = plan.shows_property
    middle, polarity = choose_threshold(plan, reading.values, where=shown)
    signed = plan.signs * polarity * (reading.values - middle)
    output_middle = np.zeros(len(plan.ids))
    for id in plan.output.after.tolist():
        here = plan.ids == id
        output_middle[here] = choose_threshold(plan, reading.odds, where=here).middle
    is_output_wrong = plan.signs * (reading.odds - output_middle) < 0

    places = shown & plan.is_read & ~is_first
    is_wrong = signed < 0
    wrong = np.flatnonzero(places & is_wrong)
    return Mistakes(
        num_places=int(places.sum()),
        num_wrong=len(wrong),
        ci_wrong=_interval(plan, is_wrong[places].astype(np.float64), np.flatnonzero(places)),
        num_output_wrong=int(is_output_wrong[wrong].sum()),
        threshold=middle,
    )


def _mean(values: Float64Array) -> float:
    """Compute the mean of the values, or 0 if there are none: a part of a text may lack a side."""
    return float(values.sum() / max(1, len(values)))
