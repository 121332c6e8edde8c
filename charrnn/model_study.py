"""The study of the cells of a `Model`, with the analyses of plugins.

A module that stands for a plugin is imported when a method uses it, and the error names a plugin
that is missing.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from charrnn.cells.study import Study
from charrnn.system.lazy import LazyModule

if TYPE_CHECKING:
    from charrnn.analyses import (
        evidence,
        ranking,
    )
    from charrnn.analyses.evidence.results import EvidenceCard
    from charrnn.cells import findings as records
    from charrnn.detectors.detector import Detector
else:
    evidence = LazyModule("charrnn.analyses.evidence")
    ranking = LazyModule("charrnn.analyses.ranking")


class ModelStudy(Study):
    """A study of the cells of a `Model` over a text, with the analyses of plugins."""

    def evidence(
        self,
        layer: int | None = None,
        unit: int | None = None,
        detector: "str | Detector | None" = None,
    ) -> "EvidenceCard":
        """Measure the evidence for the claim that a cell tracks the property of a detector.

        The cell is held at its mean, set to other values, and exchanged between places of the text.
        What the prediction then does says whether the cell is necessary and sufficient for it.

        Args:
            layer: The layer of the cell, from 0. Without a cell, the best cell of the detector is
                taken or, without a detector, the cell that exceeds the untrained baseline most.
            unit: The unit of the cell in its layer, from 0.
            detector: The name of a detector, such as `quote`, or a `Detector`. By default the one
                that the cell follows best.

        Returns:
            An `EvidenceCard`: the score, the tests, the mistakes, and from which checkpoint on the
            cell does it.

        Raises:
            UsageError: There is no such detector or cell, or the cell follows no detector best and
                none is given.
            DataError: The text is too short or has too few labels.

        Example:
            >>> card = study.evidence(0, 5, "quote")
            >>> card.tests()["sufficient"]
            True
            >>> card.necessary.rank  # among all cells, by what holding it at its mean costs
            1
        """
        return evidence.evidence(self, layer=layer, unit=unit, detector=detector)

    def ranking(
        self, detectors: "Sequence[str | Detector] | None" = None
    ) -> "dict[str, tuple[records.CellScore, ...]]":
        """Rank all cells for each detector that can be scored.

        Args:
            detectors: Names of detectors, such as `quote`, or objects of the class `Detector`. By
                default all.

        Returns:
            A tuple of `CellScore` for each detector by its name, the best cell first.

        Raises:
            UsageError: There is no such detector.
            DataError: The text has fewer than 200 characters.

        Example:
            >>> best, *others = study.ranking(["quote"])["quote"]
            >>> best.layer, best.unit
            (0, 5)
        """
        return ranking.ranking(self, detectors)
