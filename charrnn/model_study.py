"""The study of the cells of a `Model`, with the analyses of plugins.

A module that stands for a plugin is imported when a method uses it, and the error names a plugin
that is missing.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from charrnn.cells.study import Study
from charrnn.model.clamping import NUM_CELLS
from charrnn.system.lazy import LazyModule

if TYPE_CHECKING:
    from charrnn.cells import findings as records
    from charrnn.detectors.detector import Detector
    from charrnn.plugins.analyses import atlas as atlases
    from charrnn.plugins.analyses import (
        descriptions,
        directions,
        evidence,
        ranking,
    )
    from charrnn.plugins.analyses import inputs as drivers
    from charrnn.plugins.analyses import outputs as effects
    from charrnn.plugins.analyses.descriptions.results import Description, DescriptionReport
    from charrnn.plugins.analyses.directions import Direction, DirectionContribution
    from charrnn.plugins.analyses.evidence.results import EvidenceCard
else:
    atlases = LazyModule("charrnn.plugins.analyses.atlas")
    descriptions = LazyModule("charrnn.plugins.analyses.descriptions")
    directions = LazyModule("charrnn.plugins.analyses.directions")
    evidence = LazyModule("charrnn.plugins.analyses.evidence")
    ranking = LazyModule("charrnn.plugins.analyses.ranking")
    drivers = LazyModule("charrnn.plugins.analyses.inputs")
    effects = LazyModule("charrnn.plugins.analyses.outputs")


class ModelStudy(Study):
    """A study of the cells of a `Model` over a text, with the analyses of plugins."""

    def atlas(self, findings: "records.CellFindings | None" = None) -> "atlases.Atlas":
        """Measure all cells: values, places on a map, descriptions, inputs and outputs. `findings`
        are by default the findings of all detectors.

        `inputs_of` and `outputs_of` measure the effects that take long, of erased characters and
        clamped cells. Descriptions and effects are None for a text too short for them. Raises
        DataError for a text too short for findings.

        >>> study.atlas().cells[0].values.mean
        """
        return atlases.atlas(self, findings or self.findings())

    def descriptions(
        self, detectors: "Sequence[str | Detector] | None" = None
    ) -> "DescriptionReport":
        """Describe all cells by rules in words; `detectors` give conditions (all, if None).

        Raises UsageError for an unknown detector, DataError for a text too short.

        >>> study.descriptions().descriptions[0].text
        """
        return descriptions.descriptions(self, detectors)

    def description_of(self, layer: int, unit: int) -> "Description":
        """Describe a cell by a rule in words: as `descriptions` did, if called before.

        Raises DataError for a text too short.

        >>> study.description_of(0, 17).text
        """
        return descriptions.description_of(self, layer=layer, unit=unit)

    def direction(self, detector: "str | Detector", size: int | None = NUM_CELLS) -> "Direction":
        """Fit a direction: the `size` cells that predict a detector's labels best together, None
        for all cells.

        The best cell of `findings` is its first. It is fitted on the choosing half and scored on
        the other half. Raises UsageError for an unknown detector or a `size` out of range,
        DataError if the detector cannot be scored.

        >>> study.direction("quote", size=8).score
        """
        return directions.direction(self, detector, size=size)

    def ablate_direction(
        self, direction: "Direction", detectors: "Sequence[str | Detector] | None" = None
    ) -> "DirectionContribution":
        """Measure the contribution of a direction of this study to the prediction, inside and
        outside the spans of each of `detectors` (the direction's own detector, if none is named).

        Raises UsageError for an unknown detector, DataError if it cannot be scored.

        >>> study.ablate_direction(study.direction("quote")).ablation.change
        """
        return directions.ablate_direction(self, direction, detectors=detectors)

    def evidence(
        self,
        layer: int | None = None,
        unit: int | None = None,
        detector: "str | Detector | None" = None,
        *,
        others: "Mapping[str, Study] | None" = None,
    ) -> "EvidenceCard":
        """Measure the evidence for the claim that a cell tracks the property of a detector.

        The default is the best cell of the detector. Without a detector, it is the cell that
        exceeds the untrained baseline most. `others` are studies of other runs over the same text,
        by name: the card says which of them have such a cell, and its score there. Raises
        UsageError for an unknown detector or cell, DataError for a text without enough labels.

        >>> study.evidence(0, 273, "quote").interchange.accuracy
        >>> study.evidence(0, 273, "quote", others={"second": second.study(text)}).others
        """
        return evidence.evidence(self, layer=layer, unit=unit, detector=detector, others=others)

    def inputs(self) -> "tuple[drivers.CellInputs, ...]":
        """Rank the cells that drive each of the C cells, gate by gate.

        Raises DataError for a text too short.

        >>> study.inputs()[17].drivers[0]  # the strongest driver of cell 0:17
        """
        return drivers.inputs(self)

    def inputs_of(self, layer: int, unit: int) -> "drivers.CellInputs":
        """Return the cells that drive a cell, and the earlier characters that set its value.

        Raises DataError for a text too short.

        >>> study.inputs_of(0, 17).earlier.characters[0]
        """
        return drivers.inputs_of(self, layer=layer, unit=unit)

    def outputs(self) -> "tuple[effects.CellOutputs, ...]":
        """Rank the characters that each of the C cells promotes and suppresses, to first order.

        Raises DataError for a text too short.

        >>> study.outputs()[17].promoted[0].character
        """
        return effects.outputs(self)

    def outputs_of(self, layer: int, unit: int) -> "effects.CellOutputs":
        """Return the result of `outputs` for a cell.

        >>> study.outputs_of(0, 17).suppressed[0]
        """
        return effects.outputs_of(self, layer=layer, unit=unit)

    def ranking(
        self, detectors: "Sequence[str | Detector] | None" = None
    ) -> "dict[str, tuple[records.CellScore, ...]]":
        """Rank all cells for each detector that can be scored, by its name.

        Raises UsageError for an unknown detector, DataError for a text too short.

        >>> best, second, *_ = study.ranking(["quote"])["quote"]
        """
        return ranking.ranking(self, detectors)
