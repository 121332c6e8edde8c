"""Measure the cells of one model over one text; each result is computed once and kept in the run's folder.

Shapes: N characters, C = L * H cells.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from charrnn.cells.directions import NUM_CELLS, DirectionContribution, DirectionText
from charrnn.cells.records import (
    Ablation,
    CellFindings,
    CellHistory,
    CellPage,
    CellPassage,
    CellScore,
    CellValues,
    ColouredText,
    Passage,
    Skipped,
)
from charrnn.cells.saved import (
    FOUND_CELLS,
    floats_from_json,
    floats_to_json,
    found_cells_from_json,
    found_cells_to_json,
    labels_digest,
    measured_from_json,
    measured_to_json,
    pair_from_json,
    part_from_json,
    record_from_json,
    records_from_json,
)
from charrnn.cells.scores import Measured, Read, Target, choose_targets, label_by_name, measure, measure_all, rank
from charrnn.cells.values import choose_passages, most_changes
from charrnn.detectors.registry import Detector, Labels, get_detectors
from charrnn.display import RecordTuple
from charrnn.errors import DataError, UsageError, named
from charrnn.files import JSON
from charrnn.lab.atlas_records import Atlas, AtlasCell
from charrnn.lab.cell_effects_records import CellInputs, CellOutputs
from charrnn.lab.descriptions_json import report_from_json, report_to_json
from charrnn.lab.descriptions_records import Description, DescriptionReport
from charrnn.lab.directions import (
    contribution_from_json,
    direction_from_json,
    fit_direction,
    outputs_of,
    scaled_outputs,
)
from charrnn.lab.effects_json import ablation_from_json, inputs_from_json, inputs_to_json
from charrnn.lab.history import follow
from charrnn.model.clamping import Direction
from charrnn.model.shapes import check_unit
from charrnn.runs.findings import FindingsCache
from charrnn.text.encoded import EncodedText

if TYPE_CHECKING:
    from charrnn.cells.sampled_states import SampledStates
    from charrnn.cells.trace import Activations
    from charrnn.lab.conditions import Conditions
    from charrnn.model.network import CharRNN

CHARS_ABLATED = 16_384
"""Characters of the scoring half on which the cell found for a detector is ablated, at most."""
CHARS_OF_DIRECTION = 32_768
"""Characters of the scoring half on which a direction is ablated, at most."""
CHARS_OF_PAGE = 32_768
"""Characters at the beginning of the scoring half on which the cell of a page is ablated: the same for all cells."""
CHARS_OF_HISTORY = 16_384
"""Characters of the scoring half on which every checkpoint is measured, at most."""
NUM_PASSAGES = 3
"""Findings that are shown over a passage, unless another number is asked for."""
PAGE_PARTS = ("outputs", "ablation", "inputs", "description")
"""Fields of a `CellPage` in the order in which they are measured, after passages and values."""
OnProgress = Callable[[int], object]
Result = TypeVar("Result")
"""What is measured."""


def ignore(num_done: int) -> None:
    """The progress callback that does nothing."""


@dataclass(frozen=True, kw_only=True)
class CellAnalysis:
    """A text of N characters and a model that reads it.

    Networks are built when something has to be read. Every measurement is looked up in `cache` and added to it.
    """

    text: EncodedText
    num_layers: int
    num_units: int
    network: Callable[[], "CharRNN"]
    untrained_baseline: Callable[[], "CharRNN"]
    cache: FindingsCache
    _activations: "list[Activations]" = field(default_factory=list, repr=False, compare=False)
    """What `activations` returns, once it was computed."""

    @property
    def half(self) -> int:
        """The index at which the scoring half begins."""
        return len(self.text) // 2

    def findings(
        self,
        detectors: "Sequence[str | Detector] | None" = None,
        *,
        untrained: bool = True,
        ablations: bool = False,
        on_progress: OnProgress = ignore,
        on_ablation: OnProgress = ignore,
        on_score: OnProgress = ignore,
    ) -> CellFindings:
        """Find the best cell for each detector (all, if none is named), as `score_cells` does.

        `ablations` adds the contribution of each of these cells, on CHARS_ABLATED characters of the scoring half.
        `on_progress` is called with the number of characters read since its last call, `on_ablation` with those read
        with and without the ablated cell, `on_score` with the number of detectors scored. Raises UsageError for an
        unknown detector, DataError for a text too short.
        """
        targets, skipped = choose_targets(self.text.text, get_detectors(detectors))
        scores = [one.score for one in self._measure(targets, untrained, on_progress, on_score)]
        if ablations:
            scores = [self._ablate(one, target, on_ablation) for one, target in zip(scores, targets, strict=True)]
        self._keep_found(scores)
        self.cache.save()
        return self._ordered(scores, skipped)

    def ranking(
        self,
        detectors: "Sequence[str | Detector] | None" = None,
        on_progress: OnProgress = ignore,
        on_cells: OnProgress = ignore,
    ) -> dict[str, tuple[CellScore, ...]]:
        """Rank all cells for each detector that can be scored, by its name, as `rank` orders and scores them.

        `on_progress` is called with the number of characters read since its last call, `on_cells` with that of cells
        scored. Raises UsageError for an unknown detector, DataError for a text too short.
        """
        targets, _ = choose_targets(self.text.text, get_detectors(detectors))
        measured = self._measure(targets, True, on_progress)
        known = [
            floats_from_json(self.cache.get("second half", self._key(target)), self.num_layers * self.num_units)
            for target in targets
        ]
        missing = [target for target, associations in zip(targets, known, strict=True) if associations is None]
        if missing:
            cells = self._read_all(self.half, on_progress)
            fresh = measure_all(cells, missing, on_cells)
            for target, associations in zip(missing, fresh, strict=True):
                self.cache.put("second half", self._key(target), floats_to_json(associations))
            remaining = iter(fresh)
            known = [next(remaining) if associations is None else associations for associations in known]
        self.cache.save()
        return {
            target.name: rank(target, one, associations, self.num_units)
            for target, one, associations in zip(targets, measured, known, strict=True)
            if associations is not None
        }

    def passages(
        self,
        findings: CellFindings,
        detectors: "Sequence[str | Detector] | None" = None,
        num_passages: int = NUM_PASSAGES,
    ) -> tuple[Passage, ...]:
        """Select a passage of the scoring half for each of the best significant findings, with the cell's values.

        The best are those that exceed the untrained baseline most, or the strongest if it was not measured.
        In each passage the label changes and the cell follows it as well as it typically does: `choose_passages`.
        `detectors` are those that `findings` scored. Raises UsageError if one of them is missing.
        """
        significant = [score for score in findings.scores if score.is_significant]
        shown = sorted(significant, key=lambda score: -score.gain)[:num_passages]
        labels = label_by_name(self.text.text, [score.detector for score in shown], detectors)
        passages = []
        for score, part in zip(shown, self._parts(shown, labels), strict=True):
            (values,) = self.values([(score.layer, score.unit)], part)
            of_part = labels[score.detector][part]
            inside = tuple(map(bool, of_part)) if of_part.dtype == bool else ()
            coloured = ColouredText(text=self.text.text[part], values=tuple(map(float, values)), inside=inside)
            passages.append(Passage(score=score, begin=part.start, coloured=coloured))
        return RecordTuple(passages)

    def history(
        self,
        findings: CellFindings,
        networks: "Iterable[tuple[int, CharRNN]]",
        detectors: "Sequence[str | Detector] | None" = None,
        on_progress: OnProgress = ignore,
    ) -> tuple[CellHistory, ...]:
        """Score the cells of `findings` at every checkpoint, on CHARS_OF_HISTORY characters of the scoring half.

        `networks` yields the number and the network of each step, `detectors` are those that `findings` scored.
        `on_progress` is called with the number of characters read since its last call. Raises UsageError if a detector
        is missing.
        """
        from charrnn.cells.trace import trace_text

        part = self.text.part(self.half, self.half + CHARS_OF_HISTORY)
        # Labels are those of the whole text, because a part may begin inside a span.
        labels = label_by_name(self.text.text, [score.detector for score in findings.scores], detectors)
        of_part = {name: found[self.half : self.half + len(part)] for name, found in labels.items()}
        traces = ((step, trace_text(network, part, on_progress)) for step, network in networks)
        return follow(findings, traces, of_part)

    def activations(self, on_progress: OnProgress = ignore) -> "Activations":
        """Return the values of all cells over the text, with the use of their gates; computed once per study.

        `on_progress` is called with the number of characters read since its last call. Raises CharRNNError if there is
        no room on the disk.
        """
        from charrnn.cells.trace import Activations

        if not self._activations:
            self._activations.append(Activations(self.network(), self.text, on_progress))
        return self._activations[0]

    def descriptions(
        self,
        detectors: "Sequence[str | Detector] | None" = None,
        *,
        untrained: bool = True,
        on_progress: OnProgress = ignore,
        on_cells: OnProgress = ignore,
    ) -> DescriptionReport:
        """Describe all cells by rules in words, as `describe_cells` does; `detectors` give conditions (all, if None).

        `on_progress` is called with the number of characters read since its last call, `on_cells` with that of cells
        searched. Raises UsageError for an unknown detector, DataError for a text too short.
        """
        from charrnn.lab.conditions import build_conditions
        from charrnn.lab.descriptions import describe_cells

        conditions = build_conditions(self.text, self.half, detectors)
        key = self._descriptions_key(conditions, untrained=untrained)
        known = report_from_json(self.cache.get("descriptions", key), self.num_layers, self.num_units)
        if known is not None:
            return known
        from charrnn.cells.trace import Activations

        activations = self.activations(on_progress)
        baseline = (
            Activations(self.untrained_baseline(), self.text, on_progress, counts_gates=False) if untrained else None
        )
        try:
            report = describe_cells(activations, self.text, None, baseline, conditions=conditions, on_progress=on_cells)
        finally:
            if baseline is not None:
                baseline.close()
        self.cache.put("descriptions", key, report_to_json(report))
        self.cache.save()
        return report

    def atlas(
        self,
        findings: CellFindings | None = None,
        *,
        on_progress: OnProgress = ignore,
        on_cells: OnProgress = ignore,
    ) -> Atlas:
        """Measure all cells: values, places on a map, descriptions, inputs and outputs; with findings, by default all.

        The effects that take long, of erased characters and clamped cells, are those of `inputs_of` and `outputs_of`.
        Descriptions and effects are None for a text too short for them. `on_progress` is called with the number of
        characters read since its last call, `on_cells` with that of cells measured. Raises DataError for a text too
        short for findings.
        """
        findings = findings or self.findings(on_progress=on_progress)
        cells = self._atlas_cells(on_progress, on_cells)
        report = _unless_too_short(lambda: self.descriptions(on_progress=on_progress, on_cells=on_cells))
        inputs, outputs = _unless_too_short(self.inputs), _unless_too_short(self.outputs)
        return Atlas(
            text=self.text.text,
            half=self.half,
            num_layers=self.num_layers,
            num_units=self.num_units,
            findings=findings,
            report=report,
            cells=tuple(
                replace(
                    cell,
                    description=None if report is None else report.descriptions[column],
                    inputs=None if inputs is None else inputs[column],
                    outputs=None if outputs is None else outputs[column],
                )
                for column, cell in enumerate(cells)
            ),
        )

    def _atlas_cells(self, on_progress: OnProgress, on_cells: OnProgress) -> tuple[AtlasCell, ...]:
        """Return the values of all cells and their places, from several entries of the findings."""
        from charrnn.lab.atlas import CELLS_PER_ENTRY, cells_from_json, cells_to_json, measure_cells

        num_entries = -(-self.num_layers * self.num_units // CELLS_PER_ENTRY)
        entries = [self.cache.get("atlas", self.text_key | {"entry": entry}) for entry in range(num_entries)]
        cells = cells_from_json(entries, self.num_layers, self.num_units, len(self.text))
        if not cells:
            cells = measure_cells(self.activations(on_progress), on_cells)
            for entry, value in enumerate(cells_to_json(cells)):
                self.cache.put("atlas", self.text_key | {"entry": entry}, value)
            self.cache.save()
        return cells

    def direction(
        self, detector: "str | Detector", size: int | None = NUM_CELLS, *, on_progress: OnProgress = ignore
    ) -> Direction:
        """Fit a direction: the `size` cells that predict a detector's labels best together, None for all cells.

        The best cell of `findings` is its first. It is fitted on the choosing half and scored on the other half.
        `on_progress` is called with the number of characters read since its last call. Raises UsageError for an
        unknown detector or a `size` out of range, DataError if the detector cannot be scored in this text.
        """
        num_cells = self.num_layers * self.num_units
        size = num_cells if size is None else size
        if not 1 <= size <= num_cells:
            raise UsageError(
                f"A direction of {size} cells: the model has {num_cells:,}. Use 1 to {num_cells:,}, or all."
            )
        target = self._target(detector)
        key = self._key(target) | {"detector": target.name, "size": size}
        found = direction_from_json(self.cache.get("direction", key), target, self.num_layers, self.num_units)
        if found is None:
            (measured,) = self._measure([target], True, on_progress)
            read = self._reader(self.network())
            found = fit_direction(target, measured.score, size, self.num_units, read, on_progress)
            self.cache.put("direction", key, asdict(found))
            self.cache.save()
        return found

    def ablate_direction(
        self,
        direction: Direction,
        detectors: "Sequence[str | Detector] | None" = None,
        *,
        on_progress: OnProgress = ignore,
    ) -> DirectionContribution:
        """Measure the contribution of a direction of this study, beside its best cell and random directions.

        On CHARS_OF_DIRECTION characters of the scoring half, those in which its own labels change most often; inside
        and outside the spans of each of `detectors` (its own, if none is named). `on_progress` is called with the
        number of characters read since its last call, of `num_read_ablating` in all. Raises as `direction`.
        """
        from charrnn.cells.ablation import ablate_direction

        own = self._target(direction.detector if detectors is None else _named(direction.detector, detectors))
        targets, skipped = choose_targets(self.text.text, [] if detectors is None else get_detectors(detectors))
        targets = [own, *(target for target in targets if target.name != own.name)]
        key: dict[str, JSON] = {
            "direction": asdict(direction),
            **self.text_key,
            "labels": [[target.name, labels_digest(target.labels)] for target in targets],
        }
        known = contribution_from_json(self.cache.get("direction ablation", key), direction)
        if known is not None:
            return known
        num_chars = min(CHARS_OF_DIRECTION, len(self.text) - self.half)
        begin = most_changes(own.labels, self.half, num_chars)
        part = self.text.part(begin, begin + num_chars)
        # Labels are those of the whole text, because a part may begin inside a span.
        of_part = [_labelled(target, slice(begin, begin + num_chars)) for target in targets]
        contribution = ablate_direction(self.network(), part, of_part, direction, on_progress=on_progress)
        contribution = replace(contribution, skipped=(*skipped, *contribution.skipped))
        self.cache.put("direction ablation", key, asdict(contribution))
        self.cache.save()
        return contribution

    def num_read_ablating(self) -> int:
        """Return how many characters `ablate_direction` reads, again for each ablation."""
        from charrnn.cells.ablation import num_readings

        return num_readings() * min(CHARS_OF_DIRECTION, len(self.text) - self.half)

    def direction_text(self, direction: Direction, part: slice = slice(None)) -> DirectionText:
        """Return a part of the text, all of it by default, with the output of a direction at each character."""
        outputs = outputs_of(direction, self.values(direction.cells, part))
        coloured = ColouredText(text=self.text.text[part], values=tuple(scaled_outputs(direction, outputs).tolist()))
        return DirectionText(direction=direction, coloured=coloured)

    def _target(self, detector: "str | Detector") -> Target:
        """Return a detector's labels. Raises UsageError if it is unknown, DataError if it cannot be scored."""
        targets, skipped = choose_targets(self.text.text, get_detectors([detector]))
        if not targets:
            reasons = ", ".join(one.reason for one in skipped)
            raise DataError(f"No direction for {skipped[0].detector}: {reasons}. Give another {named('text')}.")
        return targets[0]

    def values(self, cells: Sequence[tuple[int, int]], part: slice = slice(None)) -> list[NDArray[np.float32]]:
        """Return the value of each cell (layer, unit) at each character of a part of the text, of all by default."""
        text = self.text.part(part.start or 0, part.stop)
        keys: list[dict[str, JSON]] = [
            {"ids": _digest(text.ids), "length": len(text), "layer": layer, "unit": unit} for layer, unit in cells
        ]
        known = [floats_from_json(self.cache.get("values", key), len(text)) for key in keys]
        if any(values is None for values in known):
            from charrnn.cells.trace import trace_text

            trace = trace_text(self.network(), text)
            fresh = [np.ascontiguousarray(trace.cells[:, layer, unit]) for layer, unit in cells]
            for key, values in zip(keys, fresh, strict=True):
                self.cache.put("values", key, floats_to_json(values))
            self.cache.save()
            return fresh
        return [values for values in known if values is not None]

    def inputs(self) -> tuple[CellInputs, ...]:
        """Rank the cells that drive each of the C cells, as `rank_drivers` does.

        Raises DataError for a text too short.
        """
        found = inputs_from_json(self.cache.get("inputs", self.text_key), self.num_layers, self.num_units)
        if found is None:
            from charrnn.lab.cell_inputs import rank_drivers

            found = rank_drivers(self._states)
            self.cache.put("inputs", self.text_key, inputs_to_json(found))
            self.cache.save()
        return found

    def outputs(self) -> tuple[CellOutputs, ...]:
        """Rank the characters that each of the C cells promotes and suppresses, as `rank_characters` does.

        Raises DataError for a text too short.
        """
        found = records_from_json(
            CellOutputs, self.cache.get("outputs", self.text_key), self.num_layers * self.num_units
        )
        if found is None:
            from charrnn.lab.cell_outputs import rank_characters

            found = rank_characters(self._states, self.text)
            self.cache.put("outputs", self.text_key, [one.to_json() for one in found])
            self.cache.save()
        return found

    def inputs_of(self, layer: int, unit: int) -> CellInputs:
        """Return what drives a cell, and which of the earlier characters set its value, as `measure_earlier` finds.

        Raises DataError for a text too short.
        """
        key = self._cell_key(layer, unit)
        found = record_from_json(CellInputs, self.cache.get("inputs of", key))
        if found is None:
            from charrnn.lab.cell_inputs import measure_earlier

            earlier = measure_earlier(self.network(), self.text, self.activations().of(layer, unit), layer, unit)
            found = replace(self.inputs()[layer * self.num_units + unit], earlier=earlier)
            self.cache.put("inputs of", key, found.to_json())
            self.cache.save()
        return found

    def outputs_of(self, layer: int, unit: int, on_progress: OnProgress = ignore) -> CellOutputs:
        """Return the characters that a cell promotes, and what clamping it changes, as `measure_clamped` measures it.

        It is clamped at its 2nd and 98th percentile over CHARS_CLAMPED characters of the scoring half. `on_progress` is
        called with the number of characters read since its last call. Raises DataError for a text too short.
        """
        key = self._cell_key(layer, unit)
        found = record_from_json(CellOutputs, self.cache.get("outputs of", key))
        if found is None:
            from charrnn.lab.cell_outputs import CHARS_CLAMPED, measure_clamped, percentiles

            ranked = self.outputs()[layer * self.num_units + unit]
            low, high = percentiles(self.activations().of(layer, unit))
            # Of a text of a few characters the scoring half may be one, which nothing predicts.
            part = self.text.part(min(self.half, max(0, len(self.text) - 2)))
            clamped = measure_clamped(self.network(), part.part(0, CHARS_CLAMPED), layer, unit, low, high, on_progress)
            found = replace(ranked, clamped=clamped)
            self.cache.put("outputs of", key, found.to_json())
            self.cache.save()
        return found

    def values_of(self, layer: int, unit: int, on_progress: OnProgress = ignore) -> CellValues:
        """Return what the values of a cell look like, as `measure_values` finds.

        `on_progress` is called with the number of characters read since its last call.
        """
        found = record_from_json(CellValues, self.cache.get("values of", self._cell_key(layer, unit)))
        if found is None or not found.fits(len(self.text)):
            from charrnn.cells.values import measure_values

            (found,) = measure_values(self.activations(on_progress), [(layer, unit)])
            self.cache.put("values of", self._cell_key(layer, unit), asdict(found))
            self.cache.save()
        return found

    def passages_of(self, layer: int, unit: int, on_progress: OnProgress = ignore) -> tuple[CellPassage, ...]:
        """Return the passages that `values_of` chose for a cell, with its value at each character."""
        from charrnn.cells.values import read_passages, values_from_json

        places = self.values_of(layer, unit, on_progress).passages
        key = self._cell_key(layer, unit)
        # Only the values, because the file of the findings does not contain the text.
        found = values_from_json(self.cache.get("passages of", key), places)
        if found is None:
            of_cell = self.activations(on_progress).of(layer, unit)
            found = [of_cell[place.begin : place.end] for place in places]
            self.cache.put("passages of", key, [floats_to_json(values) for values in found])
            self.cache.save()
        return RecordTuple(read_passages(self.text.text, places, found))

    def description_of(self, layer: int, unit: int, on_cells: OnProgress = ignore) -> Description:
        """Describe a cell by a rule in words: as `descriptions` did, if it was called, else without a baseline.

        `on_cells` is called with the number of cells searched since its last call, control values included. Raises
        DataError for a text too short.
        """
        # Not by the digest of the conditions: to build those takes longer than the page of a cell may.
        detectors = [f"{one.name}: {one.looks_for}" for one in get_detectors(None)]
        key = self._cell_key(layer, unit) | {"detectors": detectors}
        found = record_from_json(Description, self.cache.get("description of", key))
        if found is None:
            from charrnn.lab.conditions import build_conditions
            from charrnn.lab.descriptions import describe_cells

            conditions = build_conditions(self.text, self.half, None)
            whole = self.cache.get("descriptions", self._descriptions_key(conditions, untrained=True))
            known = report_from_json(whole, self.num_layers, self.num_units)
            column = layer * self.num_units + unit
            if known is not None:
                found = known.descriptions[column]
            else:
                on_cells(0)  # after the conditions are built, which takes a while
                report = describe_cells(
                    self.activations(), self.text, [column], conditions=conditions, on_progress=on_cells
                )
                (found,) = report.descriptions
            self.cache.put("description of", key, asdict(found))
            self.cache.save()
        return found

    def ablation_of(self, layer: int, unit: int, on_progress: OnProgress = ignore) -> Ablation:
        """Measure the contribution of a cell: the rise of the loss, also inside and outside each detector's spans.

        It is clamped at its mean on the first CHARS_OF_PAGE characters of the scoring half, so that the figures of all
        cells can be compared. `on_progress` is called with the number of characters read since its last call. Raises
        DataError for a text too short.
        """
        if len(self.text) < 2:
            raise DataError("The text has 1 character; ablating a cell needs at least 2.")
        detectors = [f"{one.name}: {one.looks_for}" for one in get_detectors(None)]
        key = self._cell_key(layer, unit) | {"detectors": detectors}
        found = ablation_from_json(self.cache.get("ablation of", key))
        if found is None:
            from charrnn.cells.ablation import ablate_text

            targets, _ = choose_targets(self.text.text, get_detectors(None))
            begin = min(self.half, len(self.text) - 2)
            part = slice(begin, min(begin + CHARS_OF_PAGE, len(self.text)))
            # Labels are those of the whole text, because a part may begin inside a span.
            of_part = [_labelled(target, part) for target in targets]
            text = self.text.part(part.start, part.stop)
            found = ablate_text(self.network(), text, of_part, layer=layer, unit=unit, on_progress=on_progress)
            self.cache.put("ablation of", key, found.to_json())
            self.cache.save()
        return found

    def page(self, layer: int, unit: int, on_progress: OnProgress = ignore) -> CellPage:
        """Return everything that is measured of a cell: passages, values, outputs, inputs, description, ablation.

        What the text is too short for is None. `on_progress` is called with the number of characters read since its
        last call. Raises UsageError if there is no such cell.
        """
        *_, page = self.page_in_parts(layer, unit, on_progress)
        return page

    def page_in_parts(
        self, layer: int, unit: int, on_progress: OnProgress = ignore, check: Callable[[], object] = lambda: None
    ) -> Iterator[CellPage]:
        """Yield a `page` with passages and values alone, and again with each of PAGE_PARTS added as it is measured.

        `check` is called often while those are measured; what it raises ends the work.
        """

        def advance(num: int) -> None:
            check()

        check_unit(layer, unit, self.num_layers, self.num_units)
        passages = self.passages_of(layer, unit, on_progress)
        page = CellPage(layer=layer, unit=unit, passages=passages, values=self.values_of(layer, unit))
        yield page
        yield (page := replace(page, outputs=_unless_too_short(lambda: self.outputs_of(layer, unit, advance))))
        yield (page := replace(page, ablation=_unless_too_short(lambda: self.ablation_of(layer, unit, advance))))
        yield (page := replace(page, inputs=_unless_too_short(lambda: self.inputs_of(layer, unit))))
        yield replace(page, description=_unless_too_short(lambda: self.description_of(layer, unit, advance)))

    def _cell_key(self, layer: int, unit: int) -> dict[str, JSON]:
        return self.text_key | {"layer": layer, "unit": unit}

    def _descriptions_key(self, conditions: "Conditions", *, untrained: bool) -> dict[str, JSON]:
        return self.text_key | {"conditions": conditions.digest, "untrained": untrained}

    @cached_property
    def _states(self) -> "SampledStates":
        from charrnn.cells.sampled_states import sample_states

        return sample_states(self.network(), self.text)

    def _parts(self, shown: Sequence[CellScore], labels: dict[str, Labels]) -> list[slice]:
        """Look up the passage of each finding and select those that are missing, after reading the scoring half."""
        keys = [
            self._key(Target(score.detector, labels[score.detector], self.half))
            | {"layer": score.layer, "unit": score.unit, "polarity": score.polarity}
            for score in shown
        ]
        known = [part_from_json(self.cache.get("passage", key), len(self.text)) for key in keys]
        missing = [(score, labels[score.detector]) for score, part in zip(shown, known, strict=True) if part is None]
        if missing:
            reader = self._reader(self.network())
            fresh = iter(choose_passages(self.text.text, missing, self.half, reader, self.num_units))
            known = [next(fresh) if part is None else part for part in known]
            for key, part in zip(keys, known, strict=True):
                self.cache.put("passage", key, None if part is None else [part.start, part.stop])
            self.cache.save()
        return [part for part in known if part is not None]

    def _measure(
        self, targets: Sequence[Target], untrained: bool, on_progress: OnProgress, on_score: OnProgress = ignore
    ) -> list[Measured]:
        """Look up each target's measurement and measure those that are missing together; in the targets' order."""
        keys = [self._key(target) | {"untrained": untrained} for target in targets]
        found = [
            measured_from_json(self.cache.get("score", key), target, self.num_layers, self.num_units)
            for key, target in zip(keys, targets, strict=True)
        ]
        missing = [target for target, measured in zip(targets, found, strict=True) if measured is None]
        if missing:
            baseline = self._reader(self.untrained_baseline()) if untrained else None
            reader = self._reader(self.network())
            fresh = iter(measure(missing, reader, self.num_units, baseline, on_progress, on_score))
            for index, key in enumerate(keys):
                if found[index] is None:
                    found[index] = one = next(fresh)
                    self.cache.put("score", key, measured_to_json(one))
        return [measured for measured in found if measured is not None]

    def _ablate(self, score: CellScore, target: Target, on_progress: OnProgress) -> CellScore:
        """Add the contribution of a score's cell, on the segment of the scoring half with the most label changes."""
        num_chars = min(CHARS_ABLATED, len(self.text) - target.half)
        key = self._key(target) | {"layer": score.layer, "unit": score.unit, "length": num_chars}
        costs = pair_from_json(self.cache.get("ablation", key))
        if costs is None:
            from charrnn.cells.ablation import ablate_text

            begin = most_changes(target.labels, target.half, num_chars)
            labels = target.labels[begin : begin + num_chars]
            ablation = ablate_text(
                self.network(),
                self.text.part(begin, begin + num_chars),
                [Detector(target.name, "", lambda part: labels)],
                layer=score.layer,
                unit=score.unit,
                at="mean",
                on_progress=on_progress,
            )
            effects = ablation.effects
            costs = (effects[0].change_inside, effects[0].change_outside) if effects else (None, None)
            self.cache.put("ablation", key, list(costs))
        return replace(score, ablation_inside=costs[0], ablation_outside=costs[1])

    def _keep_found(self, scores: Sequence[CellScore]) -> None:
        """Keep the cells that follow detectors, for an exported model: they are named, but not the text."""
        kept = self.cache.get(FOUND_CELLS, {})
        now = found_cells_to_json(scores, found_cells_from_json(kept, self.num_layers, self.num_units))
        if now != (kept or []):
            self.cache.put(FOUND_CELLS, {}, now)

    def _ordered(self, scores: Sequence[CellScore], skipped: Sequence[Skipped]) -> CellFindings:
        return CellFindings(
            scores=tuple(sorted(scores, key=lambda score: -score.strength)),
            skipped=tuple(skipped),
            num_chars=len(self.text),
            num_cells=self.num_layers * self.num_units if scores else 0,
        )

    def _reader(self, network: "CharRNN") -> Read:
        def read(begin: int, end: int) -> Iterable[tuple[NDArray[np.int64], NDArray[np.float32]]]:
            from charrnn.cells.trace import stream_cells

            return stream_cells(network, self.text.part(begin, end))

        return read

    def _read_all(self, begin: int, on_progress: OnProgress) -> NDArray[np.float32]:
        """Compute every cell's value (n, C) at each character from `begin` on."""
        cells = np.empty((len(self.text) - begin, self.num_layers * self.num_units), np.float32)
        for indices, values in self._reader(self.network())(begin, len(self.text)):
            cells[indices] = values
            on_progress(len(indices))
        return cells

    def _key(self, target: Target) -> dict[str, JSON]:
        return self.text_key | {"labels": labels_digest(target.labels)}

    @property
    def text_key(self) -> dict[str, JSON]:
        """What identifies the text and its context in the key of a cached measurement."""
        return {"ids": self._ids_digest, "first": self.text.first}

    @cached_property
    def _ids_digest(self) -> str:
        return _digest(self.text.ids)


Study = CellAnalysis
"""The former name of the class."""


def _unless_too_short(measure: Callable[[], Result]) -> Result | None:
    """Return what is measured; None if the text is too short for it."""
    try:
        return measure()
    except DataError:
        return None


def _named(name: str, detectors: "Sequence[str | Detector]") -> "str | Detector":
    """Return the detector of a name among `detectors`, or the name itself."""
    return next((one for one in detectors if not isinstance(one, str) and one.name == name), name)


def _labelled(target: Target, part: slice) -> Detector:
    """Return a detector that labels a part of the text of a target."""
    return Detector(target.name, "", lambda text: target.labels[part])


def _digest(ids: NDArray[np.uint16]) -> str:
    return hashlib.sha256(np.ascontiguousarray(ids).tobytes()).hexdigest()
