"""Measure the cells of one model over one text; each result is computed once and kept in the
user's cache folder.

Shapes: N characters, C = L * H cells.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from charrnn.cells import findings as records
from charrnn.cells.activations import Activations
from charrnn.cells.findings_cache import FindingsCache, Result
from charrnn.cells.passages import choose_passages, read_passages
from charrnn.cells.scores import Measured, measure, sort_scores
from charrnn.cells.target_labels import Target, choose_targets, label_by_name
from charrnn.cells.trace import Read, states_of_text, stream_cells, trace_text
from charrnn.cells.value_statistics import measure_values
from charrnn.detectors.detector import Detector, Labels
from charrnn.detectors.registry import DETECTORS, get_detectors
from charrnn.errors import DataError
from charrnn.hooks.manager import offered
from charrnn.hooks.specifications import Record, cell_sections
from charrnn.model.annotations import CharRNN
from charrnn.model.reading import KnownStates
from charrnn.model.shapes import check_unit
from charrnn.runs.included import card_of
from charrnn.system.display import Displayable, RecordTuple
from charrnn.system.files import JSON
from charrnn.system.progress import task
from charrnn.text.vocab import EncodedText

NUM_PASSAGES = 3
"""Findings that are shown over a passage, unless another number is asked for."""
FOUND_CELLS = "found cells"
"""The kind of the entry with the found cells of all measured texts, the latest cell for each
detector."""
Floats = NDArray[np.float32]
"""Values (N,) of a cell, or associations (C,) of all cells."""

Item = TypeVar("Item")
"""An item, such as a target, that is measured together with other items."""


@dataclass(frozen=True, slots=True)
class CellSection(Record):
    """A section of the page of a cell that a plugin or another package adds.

    `measure` takes the study, the layer and the unit. The method `parts` of its result yields what
    the page shows: each a `views.cell_page.Part`. `measure` raises DataError for a text too short,
    and may return None: nothing is shown.
    """

    name: str
    """The name of the result: `page.sections[name]`, and its key in the JSON of the page."""
    message: str
    """The message that is shown during the measurement."""
    measure: Callable[[Study, int, int], Displayable | None]
    place: int = field(kw_only=True)
    """The place on the page: sections are in the order of these numbers."""
    measure_all: Callable[[Study], Sequence[Displayable]] | None = field(default=None, kw_only=True)
    """Measures all C cells for an atlas, in the order of their numbers; by default `measure` is
    called for each cell."""

    def of_all_cells(self, study: Study) -> Sequence[Displayable | None]:
        """Return the results of all C cells; None for a result that the text is too short for."""
        if self.measure_all is not None:
            results = unless_too_short(partial(self.measure_all, study))
            return results or [None] * study.num_cells

        return [
            unless_too_short(partial(self.measure, study, *divmod(cell, study.num_units)))
            for cell in range(study.num_cells)
        ]


@dataclass(frozen=True, kw_only=True, eq=False)
class Study(Displayable):
    """A text of N characters and a model that reads it.

    Networks are built when a text has to be read. Every measurement is looked up in `cache`, and
    added to it if it is missing.
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
    cache: FindingsCache
    """Where measurements are looked up and saved."""
    steps: Callable[[], Iterable[tuple[int, CharRNN]]] = tuple
    """Loads every checkpoint of the run: its step and its network."""

    def __repr__(self) -> str:
        # The text and the networks would fill pages.
        return (
            f"<{type(self).__name__} of {len(self.text):,} characters by {self.num_layers} ×"
            f" {self.num_units} cells>"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the sizes of the study.

        Returns:
            A dictionary.

        Example:
            >>> study.to_json()["num_units"] == study.num_units
            True
        """
        return {
            "num_chars": len(self.text),
            "half": self.half,
            "num_layers": self.num_layers,
            "num_units": self.num_units,
        }

    @property
    def half(self) -> int:
        """The index at which the scoring half begins."""
        return len(self.text) // 2

    @property
    def num_cells(self) -> int:
        """C."""
        return self.num_layers * self.num_units

    def cached(
        self,
        kind: str,
        key: Mapping[str, JSON],
        result: type[Result],
        compute: Callable[[], Result],
    ) -> Result:
        """Look up a result in `cache`; compute and save it if there is none.

        Args:
            kind: The name of the measurement.
            key: What tells its results apart, beside the weights and the program.
            result: The type of the result.
            compute: Returns the result.

        Returns:
            The result.

        Example:
            >>> key = study.text_key | {"character": "e"}
            >>> count = study.cached("count", key, result=int, compute=lambda: text.count("e"))
            >>> count == text.count("e")
            True
        """
        value = self.cache.load(kind, key, result=result)
        if value is None:
            value = compute()
            self.cache.save(kind, key, value=value)
        return value

    def cached_each(
        self,
        kind: str,
        keys: Sequence[tuple[Item, Mapping[str, JSON]]],
        result: type[Result],
        compute: Callable[[list[Item]], Iterable[Result]],
    ) -> list[Result]:
        """Look up the results of several items in `cache`; compute and save those that are missing.

        Args:
            kind: The name of the measurement.
            keys: Each item with its key, as in `cached`.
            result: The type of a result.
            compute: Returns the results of a list of items, which it measures together: the text is
                read once for all of them.

        Returns:
            The result of each item.

        Example:
            >>> keys = [(letter, study.text_key | {"letter": letter}) for letter in "ab"]
            >>> def count(letters):
            ...     return [text.count(letter) for letter in letters]
            >>> study.cached_each("counts", keys, result=int, compute=count)[0] == text.count("a")
            True
        """
        results = [self.cache.load(kind, key, result=result) for _, key in keys]
        missing = [pair for pair, saved in zip(keys, results, strict=True) if saved is None]

        # The missing results are measured together and saved each. Then all are looked up again,
        # because two items may have the same key.
        if missing:
            computed = compute([item for item, _ in missing])
            for (_, key), measured in zip(missing, computed, strict=True):
                self.cache.save(kind, key, value=measured)
            results = [self.cache.load(kind, key, result=result) for _, key in keys]
        return cast(list[Result], results)

    def findings(
        self,
        detectors: Sequence[str | Detector] | None = None,
        *,
        untrained: bool = True,
    ) -> records.CellFindings:
        """Find the best cell for each detector, strongest first.

        A cell is chosen on the first half of the text and scored on the second. An untrained
        network reads up to 262,144 characters. Nothing is computed twice: `model.survey(text)` is
        shorter if nothing else is asked about the text.

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
        targets, skipped = choose_targets(self.text.text, get_detectors(detectors))
        scores = [measured.score for measured in self.measure(targets, untrained=untrained)]
        self._save_found(scores)
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

        The best findings are significant and exceed the untrained baseline most, or are the
        strongest if it was not measured. A passage is in the second half of the text. In it the
        label changes, and the cell follows it as well as it typically does.

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
        labels = label_by_name(
            self.text.text, names=[score.detector for score in best], detectors=detectors
        )
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
    def activations(self) -> Activations:
        """The values of all cells over the text, with the use of their gates. Raises CharRNNError
        if there is no room on the disk."""
        return Activations(self.network(), self.text, known=self.known_states)

    @cached_property
    def known_states(self) -> KnownStates:
        """The states of a single pass over the text, with which every reading begins."""
        return states_of_text(self.network(), self.text)

    def values(self, cells: Sequence[tuple[int, int]], part: slice = slice(None)) -> list[Floats]:
        """Return the value of each cell at each character of a part of the text.

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
        text = self.text.part(part.start or 0, part.stop)

        def trace(missing: list[tuple[int, int]]) -> list[Floats]:
            traced = trace_text(self.network(), text, known=self.known_states).cells
            # Copies, so that the trace of all other cells can be freed.
            return [np.ascontiguousarray(traced[:, layer, unit]) for layer, unit in missing]

        # The key has the ids up to the end of the part: later text changes no value.
        of_text: dict[str, JSON] = {"ids": _digest(text.ids), "length": len(text)}
        keys = [((layer, unit), of_text | {"layer": layer, "unit": unit}) for layer, unit in cells]
        return self.cached_each("values", keys, result=Floats, compute=trace)

    def values_of(self, layer: int, unit: int) -> records.CellValues:
        """Describe the values of a cell: histogram, timescale, gates, passages.

        Args:
            layer: The layer of the cell, from 0.
            unit: The unit of the cell in its layer, from 0.

        Returns:
            A `CellValues`: among others the mean, the spread, and the timescale in characters.

        Raises:
            CharRNNError: There is no room on the disk for the values of the cells.

        Example:
            >>> values = study.values_of(0, 5)
            >>> sum(values.histogram) == len(study.text)
            True
        """
        return self.cached(
            "values of",
            self.cell_key(layer, unit),
            result=records.CellValues,
            compute=lambda: measure_values(self.activations, cells=[(layer, unit)])[0],
        )

    def passages_of(self, layer: int, unit: int) -> tuple[records.CellPassage, ...]:
        """Return the passages in which a cell is highest and lowest, and one for each tenth.

        A tenth is that of the values, from the smallest to the largest.

        Args:
            layer: The layer of the cell, from 0.
            unit: The unit of the cell in its layer, from 0.

        Returns:
            A tuple of `CellPassage`: the text of each passage, and a value for each of its
            characters.

        Raises:
            CharRNNError: There is no room on the disk for the values of the cells.

        Example:
            >>> for passage in study.passages_of(0, 5):
            ...     print(passage.kind, passage.line, passage.text)
        """
        places = self.values_of(layer, unit).passages
        # Only the values are saved, so that the file contains nothing of the text.
        values = self.cached(
            "passages of",
            self.cell_key(layer, unit),
            result=tuple[Floats, ...],
            compute=lambda: tuple(
                self.activations.of(layer, unit)[place.begin : place.end] for place in places
            ),
        )
        return RecordTuple(read_passages(self.text.text, places=places, values=values))

    def page(self, layer: int, unit: int) -> records.CellPage:
        """Measure a cell: its passages, its values, and the sections of plugins.

        Args:
            layer: The layer of the cell, from 0.
            unit: The unit of the cell in its layer, from 0.

        Returns:
            A `CellPage`. A section that the text is too short for is None.

        Raises:
            UsageError: There is no such cell.
            CharRNNError: There is no room on the disk for the values of the cells.

        Example:
            >>> page = study.page(0, 5)
            >>> page.values.mean, page.inputs.earlier
        """
        *_, page = self.page_in_parts(layer, unit)
        return page

    def page_in_parts(self, layer: int, unit: int) -> Iterator[records.CellPage]:
        """Measure a cell as `page` does, and yield what is there so far.

        Args:
            layer: The layer of the cell, from 0.
            unit: The unit of the cell in its layer, from 0.

        Yields:
            A `CellPage` with passages and values alone, and again with each section as it is
            measured.

        Raises:
            UsageError: There is no such cell.
            DataError: The text has fewer than 2 characters.

        Example:
            >>> first, *later = study.page_in_parts(0, 5)
            >>> len(first.sections), len(later) > 0
            (0, True)
        """
        check_unit(layer, unit, num_layers=self.num_layers, num_units=self.num_units)

        # The passages and values are the cheapest, so that a screen shows the text at once.
        with _announced("reading"):
            passages = self.passages_of(layer, unit)
            page = records.CellPage(
                layer=layer,
                unit=unit,
                passages=passages,
                values=self.values_of(layer, unit),
                polarity=known_polarity(self.cache, layer=layer, unit=unit),
            )
        yield page

        for section in sections():
            with _announced(section.message):
                result = unless_too_short(partial(section.measure, self, layer, unit))
            page = replace(page, sections={**page.sections, section.name: result})
            yield page

    @cached_property
    def text_key(self) -> dict[str, JSON]:
        """Cache key: the ids of the text and of its context."""
        return {"ids": _digest(self.text.ids), "first": self.text.first}

    def cell_key(self, layer: int, unit: int) -> dict[str, JSON]:
        """Return what identifies a result of a cell in `cache`: the text and the cell.

        Args:
            layer: The layer of the cell, from 0.
            unit: The unit of the cell in its layer, from 0.

        Returns:
            A dictionary for JSON.

        Example:
            >>> sorted(study.cell_key(0, 5))
            ['first', 'ids', 'layer', 'unit']
        """
        return self.text_key | {"layer": layer, "unit": unit}

    def target_key(self, target: Target) -> dict[str, JSON]:
        """Return what identifies a result of labels in `cache`: the text and the labels.

        Args:
            target: A `Target` of `choose_targets`.

        Returns:
            A dictionary for JSON, equal for detectors that give the same labels.

        Example:
            >>> from charrnn.cells.target_labels import choose_targets
            >>> from charrnn.detectors.registry import get_detectors
            >>> [target], skipped = choose_targets(text, get_detectors(["quote"]))
            >>> sorted(study.target_key(target))
            ['first', 'ids', 'labels']
        """
        # The key has the labels, not the name: a detector that is defined anew is measured anew.
        labels = target.labels
        digest = hashlib.sha256(
            labels.dtype.kind.encode("ascii") + np.ascontiguousarray(labels).tobytes()
        )
        return self.text_key | {"labels": digest.hexdigest()}

    def measure(self, targets: Sequence[Target], *, untrained: bool = True) -> list[Measured]:
        """Look up the measurement of each target, and measure the missing targets together.

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

        def measure_missing(missing: list[Target]) -> list[Measured]:
            baseline = None
            if untrained:
                baseline = self.reader(self.untrained_baseline())
            return measure(
                missing,
                self.reader(),
                num_units=self.num_units,
                read_untrained=baseline,
            )

        keys = [(target, self.target_key(target) | {"untrained": untrained}) for target in targets]
        measured = self.cached_each("score", keys, result=Measured, compute=measure_missing)

        # Detectors with the same labels share an entry, so each score gets the name of its target.
        return [
            replace(entry, score=replace(entry.score, detector=target.name))
            for entry, target in zip(measured, targets, strict=True)
        ]

    def reader(self, baseline: CharRNN | None = None) -> Read:
        """Return a function that reads parts of the text with the values of all cells.

        Args:
            baseline: An untrained network, which reads each part after a warm-up. By default the
                network of the study, which reads as in a single pass over the whole text.

        Returns:
            A function of the first and the last index of a part. It yields indices (K,) in the part
            and values (K, C), window by window.

        Example:
            >>> for indices, values in study.reader()(0, 300):
            ...     assert values.shape == (len(indices), study.num_cells)
        """
        # The baseline reads only a part of a long text, and remembers little of what is before it.
        if baseline is not None:
            return lambda begin, end: stream_cells(baseline, self.text.part(begin, end))
        network = self.network()
        known = self.known_states
        return lambda begin, end: stream_cells(network, self.text.part(begin, end), known)

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

        def choose(missing: list[records.CellScore]) -> list[tuple[int, int]]:
            wanted = [(score, labels[score.detector]) for score in missing]
            passages = choose_passages(
                self.text.text,
                shown=wanted,
                read=self.reader(),
                half=self.half,
                num_units=self.num_units,
            )
            return [(passage.start, passage.stop) for passage in passages]

        bounds = self.cached_each("passage", keys, result=tuple[int, int], compute=choose)
        return [slice(begin, end) for begin, end in bounds]

    def _save_found(self, scores: Sequence[records.CellScore]) -> None:
        """Save the significant scores that exceed the untrained baseline, for an exported model."""
        # Cells that were found in other texts stay, except for the detectors that were scored now:
        # the latest cell counts.
        before = found_scores(self.cache)
        found = {score.detector: score for score in before}
        for score in scores:
            found.pop(score.detector, None)
            # Only built-in detectors: the name of a user's detector may quote the text.
            if score.detector in DETECTORS and score.is_found:
                found[score.detector] = score

        # Sorted by gain and name, so that the order of the commands that found them does not
        # matter.
        best_first = tuple(sorted(found.values(), key=lambda score: (-score.gain, score.detector)))
        if best_first != before:
            self.cache.save(FOUND_CELLS, {}, value=best_first)


def sections() -> tuple[CellSection, ...]:
    """Return the sections of the page of a cell that plugins and other packages add, in the order
    of the page."""
    return tuple(sorted(offered(cell_sections, CellSection), key=lambda section: section.place))


def found_scores(cache: FindingsCache) -> tuple[records.CellScore, ...]:
    """Return the scores of the cells that were found to follow a built-in detector better than an
    untrained network does, best first; of an included model those of its card."""
    card = card_of(cache.identity)
    if not card:
        return cache.load(FOUND_CELLS, {}, result=tuple[records.CellScore, ...]) or ()
    scores = [records.CellScore(**fields) for fields in card["cells"]]
    found = [score for score in scores if score.is_found]
    return tuple(sorted(found, key=lambda score: -score.gain))


def found_cells(cache: FindingsCache) -> tuple[records.FoundCell, ...]:
    """Return the cells of `found_scores`."""
    return found_cells_of(found_scores(cache))


def found_cells_of(scores: Iterable[records.CellScore]) -> tuple[records.FoundCell, ...]:
    """Return the cells of scores."""
    return tuple(
        records.FoundCell(
            detector=score.detector,
            layer=score.layer,
            unit=score.unit,
            gain=score.gain,
            polarity=score.polarity,
        )
        for score in scores
    )


def known_polarity(cache: FindingsCache, layer: int, unit: int) -> int:
    """Return the polarity with which a cell is drawn where no detector is chosen: of the detector
    that it was found to follow best, 1 if none is known."""
    for cell in found_cells(cache):
        if (cell.layer, cell.unit) == (layer, unit):
            return cell.polarity
    return 1


@contextmanager
def _announced(message: str) -> Iterator[None]:
    """Show a message about a measurement, even if its result is only looked up."""
    with task(message) as advance:
        advance(0)
        yield


def unless_too_short(measure: Callable[[], Result]) -> Result | None:
    """Return the result of `measure`; None if the text is too short for it."""
    try:
        return measure()
    except DataError:
        return None


def _digest(ids: NDArray[np.uint16]) -> str:
    return hashlib.sha256(np.ascontiguousarray(ids).tobytes()).hexdigest()
