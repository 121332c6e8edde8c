"""How well cells followed their detectors at each checkpoint of a training.

Shapes: N characters.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from charrnn.cells.records import CellFindings, CellHistory
from charrnn.cells.statistics import measure_score
from charrnn.detectors.registry import Labels

if TYPE_CHECKING:
    from charrnn.cells.trace import Trace


def follow(
    findings: CellFindings, traces: "Iterable[tuple[int, Trace]]", labels: Mapping[str, Labels]
) -> tuple[CellHistory, ...]:
    """Score the cell of each finding in every trace: one history per score of `findings`.

    `traces` are (step, trace) pairs of one text of N characters by the saved models of one run; `labels` (N,) are those
    of the text, by detector.
    """
    steps: list[int] = []
    values: list[list[float]] = [[] for _ in findings.scores]
    for step, trace in traces:
        steps.append(step)
        for score, of_cell in zip(findings.scores, values, strict=True):
            cell = trace.cells[:, score.layer, score.unit]
            of_cell.append(measure_score(cell, labels[score.detector], score.polarity))
    return tuple(
        CellHistory(
            detector=score.detector,
            layer=score.layer,
            unit=score.unit,
            is_auc=score.auc is not None,
            steps=tuple(steps),
            values=tuple(of_cell),
        )
        for score, of_cell in zip(findings.scores, values, strict=True)
    )
