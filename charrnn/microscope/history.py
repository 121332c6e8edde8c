"""How cells came to follow their detectors while a model was trained."""

from collections.abc import Iterable, Sequence

from charrnn.detectors.registry import Detector
from charrnn.microscope.statistics import strength
from charrnn.microscope.trace import Trace
from charrnn.records.microscope import CellFindings, CellHistory


def follow(
    findings: CellFindings, traces: Iterable[tuple[int, Trace]], detectors: Sequence[Detector]
) -> tuple[CellHistory, ...]:
    """A history for each score of `findings`, from (step, trace) pairs of one text by one run's saved models.

    `detectors` holds at least those that were scored. The labels are those of the traced text.
    """
    by_name = {detector.name: detector for detector in detectors}
    steps: list[int] = []
    values: list[list[float]] = [[] for _ in findings.scores]
    for step, trace in traces:
        steps.append(step)
        for score, found in zip(findings.scores, values, strict=True):
            labels = by_name[score.detector].label(trace.text)
            assert labels is not None, "a scored detector has labels"
            found.append(strength(trace.cells[:, score.layer, score.unit], labels, score.polarity))
    return tuple(
        CellHistory(
            detector=score.detector,
            layer=score.layer,
            unit=score.unit,
            is_auc=score.auc is not None,
            steps=tuple(steps),
            values=tuple(found),
        )
        for score, found in zip(findings.scores, values, strict=True)
    )
