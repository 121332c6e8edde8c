"""Measure an evidence card: everything is chosen on the choosing half and measured on the other.

Shapes: N characters, P pairs, S segments of T characters, C conditions, L, H as in `model.network`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from itertools import cycle, pairwise

import numpy as np
from numpy.typing import NDArray

from charrnn.analyses.evidence.property_output import (
    Output,
    Sides,
    choose_output,
    difference,
    sides_of,
)
from charrnn.analyses.evidence.readings import (
    Clamps,
    Ends,
    FreeReading,
    Positions,
    read_clamped,
    read_freely,
)
from charrnn.analyses.evidence.results import (
    SHARE_CARRIED,
    EvidenceCard,
    Interchange,
    Mistakes,
    Necessity,
    Stretch,
    Sufficiency,
    WrongPlace,
)
from charrnn.analyses.sampled_states import characters_of
from charrnn.cells.analysis import CellAnalysis
from charrnn.cells.findings import CellScore
from charrnn.cells.scores import Measured
from charrnn.cells.target_labels import MIN_TEXT, Target
from charrnn.detectors.detector import Detector
from charrnn.errors import DataError, check_length, named
from charrnn.statistics.agreement import association_from_auc
from charrnn.statistics.intervals import Float64Array
from charrnn.system.lazy import Tensor, torch

SEGMENT = 2_048
"""Characters of a segment that is read freely."""
NUM_SEGMENTS = (16, 32)
"""Such segments of the choosing and of the scoring half, at most."""
WINDOW = 256
"""T: characters of a segment that is read with clamped memories, at most. The first quarter is not
measured, in which spreads what the clamps change."""
MIN_WINDOW = 16
"""T, at least: a shorter segment is left out."""
NUM_WINDOWS = 40
"""Such segments, each around a change of the label, at most."""
NUM_WINDOWS_OF_RANK = 6
"""Those of them that are read with every other cell and direction clamped."""
NUM_OTHERS = 99
"""Other cells, and random directions, that the cell is compared with."""
KEPT = (0, 1, 2, 3, 4, 6, 8, 16, 32, 64)
"""Followers that are kept."""
NUM_PAIRS = 1_000
"""Pairs of positions whose memories are exchanged, at most."""
NUM_PAIRS_CHOOSING = 256
"""Pairs of the choosing half that put the followers in order, at most."""
SAME = (3, 2, 1)
"""The last characters that both positions of a pair have read: the first of these numbers that
leaves MIN_PAIRED positions."""
MIN_PAIRED = 50
"""Positions on each side that are enough for pairs."""
LAGS = (8, 4, 2, 1, 0)
"""Characters that are read after an exchange: the first of these through which at least half of the
labels last."""
NUM_WORST = 10
"""Places that are shown."""
CHARS_BETWEEN = 50
"""Characters between two of these, at least."""
NUM_STRETCHES = 4
"""Stretches of one label that are shown up to a place: an unpaired quotation mark, which explains a
wrong label, is at the beginning of one of them."""
CHARS_OF_STRETCH = 100
"""Characters of a stretch that are shown, at most."""
CHARS_OF_BEGINNING = 34
"""Characters at the beginning of a longer one; the others are at its end."""
CHARS_AFTER = 8
"""Characters that are shown after a place."""


def check_room(analysis: CellAnalysis) -> None:
    """Raise DataError for a text, or documents of its scoring half, too short for a card."""
    text = analysis.text
    check_length(len(text), least=MIN_TEXT, what="evidence")
    ids = text.ids[text.first + analysis.half :]
    ends = np.flatnonzero(ids == analysis.network().end_id)
    longest = np.diff([-1, *ends, len(ids)]).max()
    if longest < MIN_WINDOW + 2:
        raise DataError(
            f"The documents of this text are too short for evidence: give a {named('text')}"
            f" with {MIN_WINDOW + 1} characters in a row."
        )


@dataclass(frozen=True)
class Claim:
    """That the memory of `cell` (layer, unit) tracks the labels of `target`."""

    analysis: CellAnalysis
    target: Target
    measured: Measured
    cell: tuple[int, int]
    detector: Detector

    def card(self) -> EvidenceCard:
        """Measure a card but for the checkpoints."""
        written = characters_of(self.analysis.text)
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
            num_cells=self.analysis.num_cells,
            tracks=self.score(),
            necessary=self.necessity(),
            sufficient=self.sufficiency(),
            interchange=self.interchange(),
            fooled=self.mistakes(),
        )

    @cached_property
    def ids(self) -> NDArray[np.int64]:
        """The ids (N,) of the text without its context."""
        text = self.analysis.text
        return text.ids[text.first :].astype(np.int64)

    @cached_property
    def sides(self) -> Sides:
        """The sides (N,) of the labels."""
        return sides_of(self.target.labels)

    @cached_property
    def output(self) -> Output:
        """The output that shows the property."""
        half = self.target.half
        declared = []
        for id, character in characters_of(self.analysis.text).items():
            if character in self.detector.output:
                declared.append(id)
        return choose_output(self.ids[:half], sides=self.sides[:half], declared=declared)

    @cached_property
    def shows(self) -> NDArray[np.bool_]:
        """Whether the property shows in the output after each character (N,)."""
        return np.asarray(np.isin(self.ids, self.output.after) & (self.sides != 0))

    @cached_property
    def segment(self) -> int:
        """Characters of a segment that is read freely."""
        return min(SEGMENT, self.target.half)

    @cached_property
    def begins(self) -> Positions:
        """Where the segments begin that are read freely."""
        half = self.target.half
        begins = []
        for first, most in zip((0, half), NUM_SEGMENTS, strict=True):
            places = np.linspace(0, half - self.segment, min(most, half // self.segment))
            begins.append(first + places.astype(np.int64))
        return np.concatenate(begins)

    @cached_property
    def is_read(self) -> NDArray[np.bool_]:
        """Whether each character (N,) is read freely, so that the state before it is known."""
        is_read = np.zeros(len(self.ids), bool)
        for begin in self.begins.tolist():
            is_read[begin : begin + self.segment] = True
        return is_read

    def goes_on(self, length: int) -> NDArray[np.bool_]:
        """Return for each position (N,) whether the state before it is known, and so many
        characters follow it without an END."""
        # An END would reset the state in the middle.
        num_ends = np.cumsum(np.append(0, self.ids == self.analysis.network().end_id))
        found = np.zeros(len(self.ids), bool)
        last = len(found) - length
        found[:last] = self.is_read[:last] & (num_ends[length + 1 :] == num_ends[:last])
        return found

    @cached_property
    def lag(self) -> int:
        """The characters that are read after an exchange."""
        shown = self.shows & self.is_read
        for lag in LAGS:
            lasts = shown & self._lasts(lag)
            for side in (1, -1):
                here = self.sides == side
                if 2 * lasts[here].sum() < shown[here].sum():
                    break
            else:
                return lag
        return 0

    def _lasts(self, lag: int) -> NDArray[np.bool_]:
        """Return whether each character (N,) and so many before it are on one side, and the state
        before these is known."""
        index = np.arange(len(self.sides))
        changes = np.append(0, np.diff(self.sides))
        since = index - np.maximum.accumulate(np.where(changes, index, 0))
        found = np.zeros(len(index), bool)
        found[lag:] = self.goes_on(lag)[: len(index) - lag]
        return found & (since >= lag)

    def pairs(self, part: slice, num_pairs: int) -> NDArray[np.int64]:
        """Draw pairs (P, 2) of positions of a part of the text, inside and outside, that read the
        same last characters."""
        generator = np.random.default_rng(0)
        allowed = np.zeros(len(self.ids), bool)
        allowed[part] = (self.shows & self._lasts(self.lag))[part]
        inside = generator.permutation(np.flatnonzero(allowed & (self.sides > 0)))
        outside = generator.permutation(np.flatnonzero(allowed & (self.sides < 0)))

        # Without the same characters before, the outputs would differ for other reasons, too: in a
        # word and at its end. Fewer of them where no text has them on both sides.
        for same in SAME:
            read = self.ids.copy()
            for distance in range(1, same):
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
    def choosing_pairs(self) -> NDArray[np.int64]:
        """Pairs of the choosing half."""
        return self.pairs(slice(self.target.half), NUM_PAIRS_CHOOSING)

    @cached_property
    def scoring_pairs(self) -> NDArray[np.int64]:
        """Pairs of the scoring half."""
        return self.pairs(slice(self.target.half, None), NUM_PAIRS)

    @cached_property
    def window(self) -> int:
        """T: less than WINDOW in a short text, or one of short documents."""
        window = min(WINDOW, self.target.half // 4)
        while not self.goes_on(window)[self.target.half :].any():
            window //= 2
        return window

    @cached_property
    def running_in(self) -> int:
        """Characters of a segment that are not measured. They do not warm up the state, which is
        known, but what the clamps change in it spreads first."""
        return self.window // 4

    @cached_property
    def windows(self) -> Positions:
        """Where the segments (S,) begin that are read with clamps: around a change of the label if
        they can be, without an overlap."""
        half = self.target.half
        generator = np.random.default_rng(0)
        allowed = self.goes_on(self.window)
        allowed[:half] = False
        changes = np.flatnonzero(np.diff(self.sides)) - (self.window + self.running_in) // 2
        changes = changes[changes >= half]
        around = generator.permutation(changes[allowed[changes]])
        others = generator.permutation(np.flatnonzero(allowed))

        chosen: list[int] = []
        for begin in np.concatenate((around, others)).tolist():
            if allowed[begin] and len(chosen) < NUM_WINDOWS:
                chosen.append(begin)
                allowed[max(0, begin - self.window) : begin + self.window] = False
        return np.array(chosen)

    @cached_property
    def reading(self) -> FreeReading:
        """The free reading, with the states that everything else begins with."""
        pairs = np.concatenate((self.choosing_pairs, self.scoring_pairs)).ravel() - self.lag
        return read_freely(
            self.analysis.network(),
            self.analysis.text,
            begins=self.begins,
            length=self.segment,
            half=self.target.half,
            cell=self.cell,
            output=self.output,
            wanted=np.concatenate((pairs, self.windows)),
        )

    def score(self) -> CellScore:
        """Return the score of the cell: without an interval, if it is not the best one."""
        # All cells are scored only if it must be: that takes longer than the card.
        best = self.measured.score
        if (best.layer, best.unit) == self.cell:
            return best
        ranked = self.analysis.ranking([self.detector])[self.target.name]
        return next(one for one in ranked if (one.layer, one.unit) == self.cell)

    def _held(self, *cells: list[tuple[int, int]]) -> Tensor:
        """Return which memories are held, (C, L, H), from the cells of each condition."""
        held = torch.zeros(
            len(cells), self.analysis.num_layers, self.analysis.num_units, dtype=torch.bool
        )
        for condition, chosen in enumerate(cells):
            for layer, unit in chosen:
                held[condition, layer, unit] = True
        return held

    def _clamped(
        self, begins: Positions, clamps: Clamps, output: Output | None = None
    ) -> tuple[Float64Array, Positions]:
        """Return losses, or outputs, (C, S * T') under clamps, and the positions (S * T')."""
        found = read_clamped(
            self.analysis.network(),
            self.analysis.text,
            begins=begins,
            length=self.window,
            reading=self.reading,
            clamps=clamps,
            output=output,
        )
        skipped = self.running_in
        positions = begins[:, None] + np.arange(skipped, self.window)
        return found[..., skipped:].reshape(len(found), -1), positions.ravel()

    def necessity(self) -> Necessity:
        """Hold the cell, other cells and random directions at their means."""
        analysis = self.analysis
        layer, unit = self.cell
        generator = np.random.default_rng(0)
        own = layer * analysis.num_units + unit
        others = np.delete(np.arange(analysis.num_cells), own)
        others = generator.permutation(others)[:NUM_OTHERS]

        # A direction of standardised memories, shortened or stretched so that what is taken away
        # varies as one cell does: by 1.
        drawn = torch.from_numpy(generator.normal(size=(NUM_OTHERS, analysis.num_units)))
        drawn /= drawn.norm(dim=1, keepdim=True)
        here = slice(layer * analysis.num_units, (layer + 1) * analysis.num_units)
        correlations = self.reading.correlations[here, here]
        spreads = torch.einsum("ch,hk,ck->c", drawn, correlations, drawn).sqrt()

        held = [[], [self.cell]]
        for other in others.tolist():
            held.append([divmod(other, analysis.num_units)])
        held += [[]] * NUM_OTHERS
        directions = self.reading.means.new_zeros(len(held), analysis.num_units)
        directions[-NUM_OTHERS:] = drawn / spreads.sqrt()[:, None]
        windows = self.windows[:NUM_WINDOWS_OF_RANK]
        losses, positions = self._clamped(
            windows, Clamps(self._held(*held), directions=directions, layer=layer)
        )
        rises = losses[1:] - losses[0]
        sides = self.sides[positions]
        inside = [_mean(rise[sides > 0]) for rise in rises]
        of_cells = inside[1 : 1 + len(others)]
        of_directions = inside[1 + len(others) :]
        return Necessity(
            inside=inside[0],
            outside=_mean(rises[0, sides < 0]),
            num_chars=rises.shape[1],
            cells=tuple(of_cells),
            directions=tuple(of_directions),
            rank=1 + sum(one >= inside[0] for one in of_cells),
            rank_among_directions=1 + sum(one >= inside[0] for one in of_directions),
            windows=tuple(windows.tolist()),
        )

    def followers(self) -> list[tuple[int, int]]:
        """Return the cells that follow the property better than chance and the untrained network
        do: the cell, then by how far the exchange of each moves the output on the choosing half."""
        score = self.measured.score
        level = score.strength - score.gain
        if score.null_level is not None:
            chance = score.null_level
            if self.target.is_yes_no:
                chance = association_from_auc(chance)
            level = max(level, chance)

        pairs = self.choosing_pairs
        moved = np.zeros(self.analysis.num_cells)
        if len(pairs):
            ends, _ = self._ends(pairs)
            attributions = ends.attributions(_partners(pairs)).reshape(2, len(pairs), -1)
            moved = (attributions[1] - attributions[0]).mean(0)
        order = np.argsort(-moved, kind="stable")
        follows = np.abs(self.measured.on_choosing_half) > level
        found = [divmod(cell, self.analysis.num_units) for cell in order[follows[order]].tolist()]
        return [self.cell, *(cell for cell in found if cell != self.cell)]

    def _ends(self, pairs: NDArray[np.int64]) -> tuple[Ends, Float64Array]:
        return Ends.of(
            self.analysis.network(),
            self.analysis.text,
            positions=pairs.T.ravel(),
            lag=self.lag,
            reading=self.reading,
            output=self.output,
        )

    def sufficiency(self) -> Sufficiency:
        """Hold all followers but the first k."""
        followers = self.followers()
        kept = [k for k in KEPT if k <= len(followers)]
        conditions = [followers[k:] for k in kept]
        clamps = Clamps(self._held([], *conditions))
        odds, positions = self._clamped(self.windows, clamps, self.output)
        chosen = self.shows[positions]
        positions = positions[chosen]
        effects = []
        for one in odds[:, chosen]:
            effects.append(difference(one, sides=self.sides[positions], codes=self.ids[positions]))

        # Where the free output shows nothing there is nothing to carry.
        whole, *others = effects
        shares = [effect / whole if whole > 0 else 0.0 for effect in others]
        carrying = [k for k, share in zip(kept, shares, strict=True) if share >= SHARE_CARRIED]
        return Sufficiency(
            followers=tuple(followers),
            effect=whole,
            curve=tuple(zip(kept, shares, strict=True)),
            num_carrying=min(carrying, default=None),
            windows=tuple(self.windows.tolist()),
        )

    def interchange(self) -> Interchange | None:
        """Exchange the memory of the cell at pairs of positions."""
        pairs = self.scoring_pairs
        if not len(pairs):
            return None
        ends, before = self._ends(pairs)
        partners = _partners(pairs)
        num_rows = len(partners)
        own = self._held([self.cell])

        # One cell alone leaves no other cell to compare it with.
        if self.analysis.num_cells == 1:
            return None

        # Only where the output differs as the labels do: else there is no other side.
        inside, outside = before.reshape(2, -1)
        differs = np.tile(inside > outside, 2)
        if not differs.any():
            return None
        accuracy = _crosses(before, after=ends.exchanged(partners, own), partners=partners)

        # By chance: another cell in each row, and the cell of a position with the same label.
        generator = np.random.default_rng(0)
        drawn = generator.integers(self.analysis.num_cells - 1, size=num_rows)
        drawn += drawn >= own.flatten().nonzero().item()
        others = torch.zeros(num_rows, self.analysis.num_cells, dtype=torch.bool)
        others[torch.arange(num_rows), drawn] = True
        others = others.view(num_rows, *own.shape[1:])
        of_others = _crosses(before, after=ends.exchanged(partners, others), partners=partners)
        equal = np.roll(partners.reshape(2, -1)[::-1], 1, axis=1).ravel()
        of_equal = _crosses(before, after=ends.exchanged(equal, own), partners=partners)
        return Interchange(
            accuracy=float(accuracy[differs].mean()),
            other_cells=float(of_others[differs].mean()),
            equal_labels=float(of_equal[differs].mean()),
            num_pairs=int(differs.sum()) // 2,
            num_drawn=len(pairs),
            lag=self.lag,
            pairs=tuple(map(tuple, pairs.tolist())),
        )

    def mistakes(self) -> Mistakes:
        """Find the positions of the scoring half where the cell is on the wrong side."""
        half = self.target.half
        reading = self.reading
        is_first = np.arange(len(self.ids)) < half
        choosing = self.shows & self.is_read & is_first

        # The thresholds, of the value and of the output after each character, are halfway between
        # the means of both sides on the choosing half.
        def threshold(values: Float64Array, where: NDArray[np.bool_]) -> tuple[float, float]:
            inside = _mean(values[where & (self.sides > 0)])
            outside = _mean(values[where & (self.sides < 0)])
            return (inside + outside) / 2, float(np.sign(inside - outside))

        middle, polarity = threshold(reading.values, choosing)
        signed = self.sides * polarity * (reading.values - middle)
        output_middle = np.zeros(len(self.ids))
        for id in self.output.after.tolist():
            here = self.ids == id
            output_middle[here], _ = threshold(reading.odds, choosing & here)
        is_output_wrong = self.sides * (reading.odds - output_middle) < 0

        places = self.shows & self.is_read & ~is_first
        wrong = np.flatnonzero(places & (signed < 0))
        worst: list[WrongPlace] = []
        for position in wrong[np.argsort(signed[wrong], kind="stable")].tolist():
            apart = [abs(position - one.position) >= CHARS_BETWEEN for one in worst]
            if all(apart) and len(worst) < NUM_WORST:
                is_wrong = bool(is_output_wrong[position])
                worst.append(self._wrong_place(position, is_output_wrong=is_wrong))
        return Mistakes(
            num_places=int(places.sum()),
            num_wrong=len(wrong),
            num_output_wrong=int(is_output_wrong[wrong].sum()),
            threshold=middle,
            worst=tuple(worst),
        )

    def _wrong_place(self, position: int, *, is_output_wrong: bool) -> WrongPlace:
        """Return a position where the cell is wrong, with the last stretches of the label."""
        text = self.analysis.text.text
        changes = np.flatnonzero(np.diff(self.sides[: position + 1])) + 1
        begins = [0, *changes.tolist()]
        stretches = []
        for begin, end in pairwise([*begins[-NUM_STRETCHES:], position + 1]):
            shown = text[begin:end]
            if len(shown) > CHARS_OF_STRETCH:
                ending = shown[CHARS_OF_BEGINNING - CHARS_OF_STRETCH :]
                shown = f"{shown[:CHARS_OF_BEGINNING]} … {ending}"
            stretches.append(Stretch(text=shown, is_inside=bool(self.sides[begin] > 0)))
        return WrongPlace(
            position=position,
            is_inside=bool(self.sides[position] > 0),
            value=float(self.reading.values[position]),
            is_output_wrong=is_output_wrong,
            since_change=position - begins[-1],
            before=tuple(stretches),
            after=text[position + 1 : position + 1 + CHARS_AFTER],
        )


def _mean(values: Float64Array) -> float:
    """Compute a mean, 0 of nothing: a part of a text may lack a side."""
    return float(values.sum() / max(1, len(values)))


def _partners(pairs: NDArray[np.int64]) -> Positions:
    """Return the row of the other position of each pair, (2 * P,): those inside come first."""
    return np.roll(np.arange(2 * len(pairs)), len(pairs))


def _crosses(before: Float64Array, after: Float64Array, partners: Positions) -> NDArray[np.bool_]:
    """Return whether each output (R,) gets beyond the middle between it and that of its partner."""
    other = before[partners]
    return np.asarray((after - (before + other) / 2) * (other - before) > 0)
