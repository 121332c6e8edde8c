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
        atlas,
        evidence,
        inputs,
        outputs,
        ranking,
    )
    from charrnn.analyses.atlas import Atlas
    from charrnn.analyses.evidence.results import EvidenceCard
    from charrnn.analyses.inputs import CellInputs
    from charrnn.analyses.outputs import CellOutputs
    from charrnn.cells import findings as records
    from charrnn.detectors.detector import Detector
else:
    atlas = LazyModule("charrnn.analyses.atlas")
    evidence = LazyModule("charrnn.analyses.evidence")
    inputs = LazyModule("charrnn.analyses.inputs")
    outputs = LazyModule("charrnn.analyses.outputs")
    ranking = LazyModule("charrnn.analyses.ranking")


class ModelStudy(Study):
    """A study of the cells of a `Model` over a text, with the analyses of plugins."""

    def atlas(self, findings: "records.CellFindings | None" = None) -> "Atlas":
        """Measure all cells: values, places on a map, inputs and outputs.

        What takes long is left out: the effects of erased characters, which `inputs_of` measures.

        Args:
            findings: The findings of the study that the atlas shows; by default those of all
                detectors.

        Returns:
            An `Atlas`. Its `cells` has one entry for each of the C cells, layer by layer.
            Inputs and outputs are None for a text too short for them.

        Raises:
            DataError: The text has fewer than 200 characters.
            CharRNNError: There is no room on the disk for the values of the cells.

        Example:
            >>> atlas = study.atlas()
            >>> len(atlas.cells) == study.num_cells
            True
        """
        return atlas.atlas(self, findings or self.findings())

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

    def inputs(self) -> "tuple[CellInputs, ...]":
        """Rank the cells that drive each cell, gate by gate.

        A cell drives a gate by its weight times the standard deviation of its output over the text.

        Returns:
            A `CellInputs` for each of the C cells, layer by layer: its `drivers` are the strongest
            of each gate, strongest first.

        Raises:
            DataError: The text has fewer than 2 characters.
            CharRNNError: There is no room on the disk for the values of the cells.

        Example:
            >>> inputs = study.inputs()
            >>> inputs[5].drivers[0]  # the strongest driver of cell 0:5
        """
        return inputs.inputs(self)

    def inputs_of(self, layer: int, unit: int) -> "CellInputs":
        """Return the cells that drive a cell, and the earlier characters that set its value.

        The effect of an earlier character is measured by erasing it: the network reads the text
        again with the mean vector of all characters in its place.

        Args:
            layer: The layer of the cell, from 0.
            unit: The unit of the cell in its layer, from 0.

        Returns:
            A `CellInputs`: the `drivers` as in `inputs`, and the effects of `earlier` characters.

        Raises:
            DataError: The text has fewer than 2 characters.
            CharRNNError: There is no room on the disk for the values of the cells.

        Example:
            >>> inputs = study.inputs_of(0, 5)
            >>> inputs.earlier.characters[0]
        """
        return inputs.inputs_of(self, layer=layer, unit=unit)

    def outputs(self) -> "tuple[CellOutputs, ...]":
        """Rank the characters that each cell promotes and suppresses, to first order.

        The effect is the change of a character's log-probability, in nats, if the cell rises by one
        standard deviation: the mean of the gradient over the text.

        Returns:
            A `CellOutputs` for each of the C cells, layer by layer.

        Raises:
            DataError: The text has fewer than 2 characters.
            CharRNNError: There is no room on the disk for the values of the cells.

        Example:
            >>> outputs = study.outputs()
            >>> outputs[5].promoted[0].character in "xyz"
            True
        """
        return outputs.outputs(self)

    def outputs_of(self, layer: int, unit: int) -> "CellOutputs":
        """Return the characters that a cell promotes and suppresses, as `outputs` does.

        Args:
            layer: The layer of the cell, from 0.
            unit: The unit of the cell in its layer, from 0.

        Returns:
            A `CellOutputs`: the strongest characters first, with their effects in nats.

        Raises:
            DataError: The text has fewer than 2 characters.
            CharRNNError: There is no room on the disk for the values of the cells.

        Example:
            >>> outputs = study.outputs_of(0, 5)
            >>> outputs.suppressed[0].character in "abc"
            True
        """
        return outputs.outputs_of(self, layer=layer, unit=unit)

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
