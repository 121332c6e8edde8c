"""Measure the cells of one model over one text; each result is computed once and kept in the
user's cache folder.

Shapes: N characters, C = L * H cells.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Generic, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from charrnn.cells import records
from charrnn.cells.known_cells import known_polarity
from charrnn.cells.passages import choose_passage, measure_values
from charrnn.cells.scores import Measured, score_targets, scores_of_cell, sort_scores
from charrnn.cells.target_labels import MIN_TEXT, Target, choose_targets
from charrnn.cells.trace import (
    Windows,
    read_columns,
    read_windows,
    states_of_text,
)
from charrnn.config.settings import resolved
from charrnn.detectors.detector import Detector, Labels
from charrnn.detectors.registry import get_detectors
from charrnn.errors import UsageError, named
from charrnn.model.annotations import CharRNN
from charrnn.model.reading import KnownStates
from charrnn.model.shapes import check_unit
from charrnn.model_texts import TextOrIds, encode
from charrnn.runs.measurement_cache import MeasurementCache, Result
from charrnn.system.arrays import Float32Array
from charrnn.system.display import RecordTuple
from charrnn.system.files import JSON
from charrnn.text.vocab import EncodedText
from charrnn.trained_model import TrainedModel, untrained_baseline

NUM_PASSAGES = 3
"""Findings that are shown over a passage, unless another number is asked for."""

Item = TypeVar("Item")
"""An item, such as a target, that is measured together with other items."""


@dataclass(kw_only=True)
class LookedUp(Generic[Item, Result]):
    """Results of several items that were looked up in a cache: `Study.look_up` returns it."""

    cache: MeasurementCache
    """Where they are saved."""
    kind: str
    """The name of the measurement."""
    keys: Sequence[tuple[Item, Mapping[str, JSON]]]
    """Each item with its key in the cache."""
    result: type[Result]
    """The type of a result."""
    saved: list[Result | None]
    """The result of each item; None where it is missing."""

    @property
    def missing(self) -> list[Item]:
        """The items whose results are to be computed and saved."""
        return [item for item, _ in self._missing_keys()]

    def save(self, computed: Iterable[Result]) -> None:
        """Save the results of the missing items, in their order."""
        for (_, key), measured in zip(self._missing_keys(), computed, strict=True):
            self.cache.save(self.kind, key, value=measured)
        # All are looked up again, because two items may have the same key.
        self.saved = load_saved(self.cache, self.kind, keys=self.keys, result=self.result)

    def results(self) -> list[Result]:
        """Return the result of each item, of which none is missing."""
        return cast(list[Result], self.saved)

    def _missing_keys(self) -> list[tuple[Item, Mapping[str, JSON]]]:
        pairs = zip(self.keys, self.saved, strict=True)
        return [key for key, saved in pairs if saved is None]


def load_saved(
    cache: MeasurementCache,
    kind: str,
    keys: Sequence[tuple[Item, Mapping[str, JSON]]],
    result: type[Result],
) -> list[Result | None]:
    """Load what a cache has of several items, each given with its key; None for what it has not.

    `Study.look_up` tells which are missing, and saves them.
    """
    return [cache.load(kind, key, result=result) for _, key in keys]


@dataclass(frozen=True, kw_only=True, eq=False)
class Study:
    """A text of N characters and a model that reads it.

    Whoever asks several questions about the cells of a model makes one by `Model.study`: the text
    is read once for all of them. Networks are built when a text has to be read. Every measurement
    is looked up in `cache`, and added to it if it is missing.
    """

    text: EncodedText
    """The text and its context."""
    num_layers: int
    """L."""
    num_units: int
    """H: units per layer."""
    network: Callable[[], CharRNN]
    """Returns the network that reads the text."""
    untrained_baseline: Callable[[], CharRNN]
    """Returns the same network with newly drawn weights."""
    cache: MeasurementCache
    """Where measurements are looked up and saved."""

    def __repr__(self) -> str:
        # The text and the networks would fill pages.
        return (
            f"<{type(self).__name__} of {len(self.text):,} characters by {self.num_layers} ×"
            f" {self.num_units} cells>"
        )

    @property
    def half(self) -> int:
        """The index at which the scoring half begins.

        Whoever chooses a cell before it and measures after it keeps to the same halves as the
        findings.
        """
        return len(self.text) // 2

    @property
    def num_cells(self) -> int:
        """C: the cells among which the best are chosen."""
        return self.num_layers * self.num_units

    def look_up(
        self, kind: str, keys: Sequence[tuple[Item, Mapping[str, JSON]]], result: type[Result]
    ) -> LookedUp[Item, Result]:
        """Look up the results of several items in `cache`.

        A measurement of one's own that reads the text is kept by it beside those of the package,
        and is computed once for each item. The items that are missing are measured together,
        because the text is then read once for all of them.

        Args:
            kind: The name of the measurement.
            keys: Each item with what tells its results apart, beside the weights and the program.
            result: The type of a result.

        Returns:
            A `LookedUp`: the items that are `missing`, what saves their results, and the `results`
            of all items.

        Example:
            >>> keys = [(letter, study.text_key | {"letter": letter}) for letter in "ab"]
            >>> counts = study.look_up("counts", keys, result=int)
            >>> counts.save([text.count(letter) for letter in counts.missing])
            >>> counts.results()[0] == text.count("a")
            True
        """
        saved = load_saved(self.cache, kind, keys=keys, result=result)
        return LookedUp(cache=self.cache, kind=kind, keys=keys, result=result, saved=saved)

    def findings(
        self,
        detectors: Sequence[str | Detector] | None = None,
        *,
        untrained: bool = True,
    ) -> records.CellFindings:
        """Find the best cell for each detector, strongest first.

        It is the first question to a study: the other methods look closer at what it finds. A cell
        is chosen on the first half of the text and scored on the second. An untrained network reads
        up to 262,144 characters. Nothing is computed twice: `model.survey(text)` is shorter if
        nothing else is asked about the text.

        Args:
            detectors: Names of detectors, such as `quote`, or objects of the class `Detector`, or
                one name. By default all of `charrnn.detectors.registry.DETECTORS`.
            untrained: Whether an untrained network is scored, too, for comparison.

        Returns:
            A `CellFindings`: the score of the best cell for each detector, and the reason for each
            detector that was not scored.

        Raises:
            UsageError: There is no such detector.
            DataError: The text has fewer than 200 characters.

        Example:
            >>> findings = study.findings(["quote", "line-position"])
            >>> best = findings.scores[0]
            >>> best.detector, best.layer, best.unit
            ('quote', 0, 5)
        """
        # All detectors share one reading of the text: it takes longer than all the scoring.
        targets, skipped = choose_targets(self.text.text, detectors=get_detectors(detectors))
        scores = [measured.score for measured in self.measure(targets, untrained=untrained)]
        return sort_scores(
            scores, skipped=skipped, num_chars=len(self.text), num_cells=self.num_cells
        )

    def passages(
        self,
        findings: records.CellFindings,
        detectors: Sequence[str | Detector] | None = None,
        num_passages: int = NUM_PASSAGES,
    ) -> tuple[records.Passage, ...]:
        """Select a passage for each of the best findings, with the values of the cell.

        A picture of the cell on such a passage shows what the score means. The best findings are
        significant and exceed the untrained baseline most, or are the strongest if it was not
        measured. A passage is in the second half of the text. In it the label changes, and the cell
        follows it as well as it typically does.

        Args:
            findings: What `findings` returned.
            detectors: The detectors that `findings` got, if any of them is not built in.
            num_passages: The largest number of passages.

        Returns:
            A tuple of `Passage`, the best finding first.

        Raises:
            UsageError: A detector of the findings is not among `detectors`.

        Example:
            >>> findings = study.findings(["quote"])
            >>> [passage] = study.passages(findings)
            >>> len(passage.coloured.values) == len(passage.coloured.text)
            True
        """
        # The best findings, and the span of the scoring half that shows each.
        significant = [score for score in findings.scores if score.is_significant]
        best = sorted(significant, key=lambda score: -score.gain)[:num_passages]
        labels = {}
        by_name = {detector.name: detector for detector in get_detectors(detectors)}
        for name in [score.detector for score in best]:
            of_detector = None
            if name in by_name:
                of_detector = by_name[name].labels_of(self.text.text)
            if of_detector is None:
                raise UsageError(
                    f"The findings have a cell that follows {name!r}, but no detector of this name"
                    f" labels the text: give {named('detectors')} the same detectors as when the"
                    " cells were found."
                )
            labels[name] = of_detector
        spans = self._passage_spans(best, labels)

        passages = []
        for score, span in zip(best, spans, strict=True):
            # Only the passage is read again: a trace of the whole half would hold all cells.
            (values,) = self.values([(score.layer, score.unit)], span)
            span_labels = labels[score.detector][span]
            inside: tuple[bool, ...] = ()
            if span_labels.dtype == bool:
                inside = tuple(span_labels.tolist())
            coloured = records.ColouredText(
                text=self.text.text[span],
                values=tuple(values.tolist()),
                inside=inside,
                polarity=score.polarity,
            )
            passages.append(
                records.Passage(
                    score=score,
                    begin=span.start,
                    coloured=coloured,
                    begins_inside_line=span.start > 0
                    and self.text.text[span.start - 1] not in "\n\0",
                    ends_inside_text=span.stop < len(self.text),
                )
            )
        return RecordTuple(passages)

    @cached_property
    def known_states(self) -> KnownStates:
        """The states of a single pass over the text, with which every reading begins.

        With them, parts of the text can be read in any order and side by side, and have the values
        of a pass from the beginning.
        """
        return states_of_text(self.network(), self.text)

    def values(
        self, cells: Sequence[tuple[int, int]], part: slice = slice(None)
    ) -> list[Float32Array]:
        """Return the value of each cell at each character of a part of the text.

        It is for a picture or a measurement of one's own, of some cells of a text of any length.

        Args:
            cells: The cells: pairs (layer, unit), from 0.
            part: The characters of the text; by default all N.

        Returns:
            An array (N,) for each cell, with values in [-1, 1].

        Example:
            >>> values = study.values([(0, 5), (0, 6)], slice(100))
            >>> len(values), values[0].shape
            (2, (100,))
        """
        begin, end, _ = part.indices(len(self.text))

        # The key has the ids up to the end of the part: later text changes no value.
        ids = self.text.part(begin, end).ids
        of_text: dict[str, JSON] = {"ids": _digest(ids), "length": end - begin}
        keys = [((layer, unit), of_text | {"layer": layer, "unit": unit}) for layer, unit in cells]
        values = self.look_up("values", keys, result=Float32Array)
        if values.missing:
            values.save(self._columns(values.missing, begin=begin, end=end))
        return values.results()

    def strongest_cells(
        self, num_cells: int, detectors: Sequence[str | Detector] | None = None
    ) -> tuple[records.CellIndex, ...]:
        """Return the cells that follow detectors best.

        A list of cells to look at, one after the other, needs more cells than one for each
        detector. The best cells of the detectors come first, the strongest score first; then all
        other cells by their strength for any detector on the choosing half.

        Args:
            num_cells: The largest number of cells.
            detectors: The detectors, as for `findings`.

        Returns:
            The cells, as pairs (layer, unit).

        Raises:
            UsageError: There is no such detector.
            DataError: The text has fewer than 200 characters.

        Example:
            >>> study.strongest_cells(2)[0] == (0, 5)
            True
        """
        targets = choose_targets(self.text.text, get_detectors(detectors)).targets
        measured = self.measure(targets)
        by_strength = sorted(measured, key=lambda result: -result.score.strength)
        cells = [(result.score.layer, result.score.unit) for result in by_strength]
        if measured:
            strengths = np.abs([result.on_choosing_half for result in measured]).max(axis=0)
            order = np.argsort(-strengths, kind="stable").tolist()
            cells += [divmod(cell, self.num_units) for cell in order]
        return tuple(dict.fromkeys(cells))[:num_cells]

    def page(
        self, layer: int, unit: int, detectors: Sequence[str | Detector] | None = None
    ) -> records.CellPage:
        """Measure a cell: its score beside the nulls, its values, and passages.

        It tells what a cell does that another program, a picture or a colleague has named.

        Args:
            layer: The layer of the cell, from 0.
            unit: The unit of the cell in its layer, from 0.
            detectors: Names of detectors, such as `quote`, or objects of the class `Detector`. By
                default all.

        Returns:
            A `CellPage`.

        Raises:
            UsageError: There is no such cell or detector.

        Example:
            >>> page = study.page(0, 5)
            >>> page.scores[0].detector, page.mean, page.passages[0].text
        """
        (page,) = self.pages([(layer, unit)], detectors)
        return page

    def pages(
        self,
        cells: Sequence[records.CellIndex],
        detectors: Sequence[str | Detector] | None = None,
    ) -> tuple[records.CellPage, ...]:
        """Measure several cells as `page` does, which read the text once.

        An exported page of many cells is made of them.

        Args:
            cells: The cells: pairs (layer, unit), from 0.
            detectors: The detectors, as for `page`.

        Returns:
            A `CellPage` for each cell.

        Raises:
            UsageError: There is no such cell or detector.

        Example:
            >>> first, second = study.pages([(0, 5), (0, 6)])
            >>> first.unit, second.unit
            (5, 6)
        """
        for layer, unit in cells:
            check_unit(layer, unit, num_layers=self.num_layers, num_units=self.num_units)
        targets: list[Target] = []
        if len(self.text) >= MIN_TEXT:
            targets = choose_targets(self.text.text, get_detectors(detectors)).targets

        # The scores have the names of their detectors, so these belong to the key.
        labels: list[JSON] = [
            [target.name, self.target_key(target)["labels"]] for target in targets
        ]
        keys = [(cell, self.cell_key(*cell) | {"targets": labels}) for cell in cells]
        pages = self.look_up("page", keys, result=records.CellPage)
        if pages.missing:
            pages.save(self._measure_pages(pages.missing, targets))
        return RecordTuple(
            replace(page, polarity=known_polarity(self.cache, layer=page.layer, unit=page.unit))
            for page in pages.results()
        )

    def _measure_pages(
        self, cells: Sequence[records.CellIndex], targets: Sequence[Target]
    ) -> list[records.CellPage]:
        """Measure some cells, with their scores for the targets."""
        measured = self.measure(targets)
        values = self._columns(cells, begin=0, end=len(self.text))
        described = measure_values(self.text.text, cells=cells, values=values)
        pages = []
        for page, of_cell in zip(described, values, strict=True):
            scores = scores_of_cell(
                page.layer * self.num_units + page.unit,
                targets=targets,
                measured=measured,
                values=of_cell[self.half :],
                num_units=self.num_units,
            )
            pages.append(replace(page, scores=scores))
        return pages

    def _columns(self, cells: Sequence[records.CellIndex], *, begin: int, end: int) -> Float32Array:
        """Read the values (c, n) of some cells at the characters [begin, end) of the text."""
        columns = [layer * self.num_units + unit for layer, unit in cells]
        return read_columns(self.windows, columns=columns, part=slice(begin, end))

    @cached_property
    def text_key(self) -> dict[str, JSON]:
        """Cache key: the ids of the text and of its context, and the text as it is shown: two texts
        have the same ids if a character of one is read as that of the other.

        It is the key of a result of the whole text; `cell_key` and `target_key` add to it what one
        cell or one detector needs.
        """
        shown = hashlib.sha256(self.text.text.encode("utf-8", "surrogatepass")).hexdigest()
        return {"ids": _digest(self.text.ids), "first": self.text.first, "text": shown}

    def cell_key(self, layer: int, unit: int) -> dict[str, JSON]:
        """Return what identifies a result of a cell in `cache`: the text and the cell.

        A result about one cell is kept under it by `look_up`; a key without the cell would give
        the result of one cell for another.

        Args:
            layer: The layer of the cell, from 0.
            unit: The unit of the cell in its layer, from 0.

        Returns:
            A dictionary for JSON.

        Example:
            >>> sorted(study.cell_key(0, 5))
            ['first', 'ids', 'layer', 'text', 'unit']
        """
        return self.text_key | {"layer": layer, "unit": unit}

    def target_key(self, target: Target) -> dict[str, JSON]:
        """Return what identifies a result of labels in `cache`: the text and the labels.

        A result that depends on a detector is kept under it by `look_up`: a detector that is
        changed, and gives other labels, is measured anew.

        Args:
            target: A `Target` of `choose_targets`.

        Returns:
            A dictionary for JSON, equal for detectors that give the same labels.

        Example:
            >>> from charrnn.cells.target_labels import choose_targets
            >>> from charrnn.detectors.registry import get_detectors
            >>> [target], skipped = choose_targets(text, get_detectors(["quote"]))
            >>> sorted(study.target_key(target))
            ['first', 'ids', 'labels', 'text']
        """
        # The key has the labels, not the name: a detector that is defined anew is measured anew.
        labels = target.labels
        digest = hashlib.sha256(
            labels.dtype.kind.encode("ascii") + np.ascontiguousarray(labels).tobytes()
        )
        return self.text_key | {"labels": digest.hexdigest()}

    def measure(self, targets: Sequence[Target], *, untrained: bool = True) -> list[Measured]:
        """Look up the measurement of each target, and measure the missing targets together.

        An analysis needs it that asks for all cells, such as `Model.ranking`, or that has labels of
        its own; `findings` makes the labels of detectors, and sorts the scores.

        Args:
            targets: Labels to score, from `choose_targets`.
            untrained: Whether the best cells are compared with those of the untrained baseline.

        Returns:
            A `Measured` for each target, in their order.

        Raises:
            CheckpointError: Values of cells are not finite.

        Example:
            >>> from charrnn.cells.target_labels import choose_targets
            >>> from charrnn.detectors.registry import get_detectors
            >>> targets, skipped = choose_targets(text, get_detectors(["quote"]))
            >>> [measured] = study.measure(targets)
            >>> measured.score.detector
            'quote'
        """
        keys = [(target, self.target_key(target) | {"untrained": untrained}) for target in targets]
        measured = self.look_up("score", keys, result=Measured)
        if measured.missing:
            # An untrained network reads only the beginnings of the halves, and remembers little of
            # what is before them: it needs no states of a single pass.
            read_untrained = None
            if untrained:
                read_untrained = partial(read_windows, self.untrained_baseline(), self.text)
            scored = score_targets(
                measured.missing,
                self.windows,
                num_units=self.num_units,
                read_untrained=read_untrained,
            )
            measured.save(scored)

        # Detectors with the same labels share an entry, so each score gets the name of its target.
        return [
            replace(entry, score=replace(entry.score, detector=target.name))
            for entry, target in zip(measured.results(), targets, strict=True)
        ]

    def windows(self, begin: int, end: int) -> Windows:
        """Read a part of the text, and yield the values of all cells window by window.

        A statistic of one's own over all cells needs it: the values come window by window, so the
        text may be longer than what fits into memory. They are those of a single pass over the
        whole text. `values` returns the values of a few cells as arrays.

        Args:
            begin: The first character of the part.
            end: The character after its last one.

        Returns:
            An iterator over windows: indices (K,) in the part, in any order, and values (K, C).

        Example:
            >>> for indices, values in study.windows(0, 300):
            ...     assert values.shape == (len(indices), study.num_cells)
        """
        return read_windows(self.network(), self.text, begin, end, known=self.known_states)

    def _passage_spans(
        self, shown: Sequence[records.CellScore], labels: Mapping[str, Labels]
    ) -> list[slice]:
        """Look up the passage of each finding, and select the missing passages, after reading the
        scoring half."""
        # The label and the sign decide where a cell's passage is, so both belong to the key.
        keys = []
        for score in shown:
            target = Target(name=score.detector, labels=labels[score.detector], half=self.half)
            key = self.target_key(target) | self.cell_key(score.layer, score.unit)
            keys.append((score, key | {"polarity": score.polarity}))

        bounds = self.look_up("passage", keys, result=tuple[int, int])
        if bounds.missing:
            bounds.save(self._choose_passages(bounds.missing, labels))
        return [slice(begin, end) for begin, end in bounds.results()]

    def _choose_passages(
        self, shown: Sequence[records.CellScore], labels: Mapping[str, Labels]
    ) -> list[tuple[int, int]]:
        """Choose a passage of the scoring half for each finding: its first character, and the one
        after it."""
        cells = [(score.layer, score.unit) for score in shown]
        values = self._columns(cells, begin=self.half, end=len(self.text))
        chosen = []
        for score, of_cell in zip(shown, values, strict=True):
            passage = choose_passage(
                self.text.text,
                labels=labels[score.detector],
                values=of_cell,
                polarity=score.polarity,
                first=self.half,
            )
            chosen.append((passage.start, passage.stop))
        return chosen


def study_of(
    model: TrainedModel, text: TextOrIds, *, context: str | bytes = "", cached: bool = False
) -> Study:
    """Return a study of the cells of a model over a text; `Model.study` says what it takes.

    A command takes it with `cached=True`, so that the next command finds what this one measured.
    """
    return Study(
        text=encode(model, text, context=context),
        num_layers=resolved(model.config.num_layers),
        num_units=resolved(model.config.hidden_size),
        network=partial(_network_of, model),
        untrained_baseline=partial(untrained_baseline, model),
        cache=model.cache if cached else MeasurementCache(),
    )


def _network_of(model: TrainedModel) -> CharRNN:
    """Return the network of a model: a function with a name, because a study may be copied to
    another process."""
    return model.network


def _digest(ids: NDArray[np.uint16]) -> str:
    return hashlib.sha256(np.ascontiguousarray(ids).tobytes()).hexdigest()
