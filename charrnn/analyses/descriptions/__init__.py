"""`visualize --describe`: cells in words, by rules chosen on one half of a text and scored on the
other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from charrnn.analyses.descriptions.conditions import build_conditions
from charrnn.analyses.descriptions.describing import describe_cells
from charrnn.analyses.descriptions.results import (
    NUM_LISTED,
    Description,
    DescriptionReport,
    description_pictures,
)
from charrnn.cells.study import CellSection, Study, detectors_key
from charrnn.cli.analyses import DETECTOR_OPTIONS, SINGLE_CELLS, Analysis, Shown, Subject
from charrnn.config.options import option
from charrnn.detectors.detector import Detector
from charrnn.errors import UsageError, named
from charrnn.views.theme import all_visible


def descriptions(
    study: Study, detectors: Sequence[str | Detector] | None = None
) -> DescriptionReport:
    """Describe all cells by rules in words; `detectors` give conditions (all, if None).

    Raises UsageError for an unknown detector, DataError for a text too short.
    """
    # The conditions are part of the key, because they depend on the detectors.
    conditions = build_conditions(study.text, half=study.half, detectors=detectors)

    def describe() -> DescriptionReport:
        return describe_cells(study.activations, study.text, conditions=conditions)

    key = study.text_key | {"conditions": conditions.digest}
    return study.cached("descriptions", key, result=DescriptionReport, compute=describe)


def description_of(study: Study, layer: int, unit: int) -> Description:
    """Describe a cell by a rule in words, or return its description from an earlier call of
    `descriptions`.

    Raises DataError for a text too short.
    """

    def describe() -> Description:
        # A report of all cells has better controls, but takes long: it is used if it is cached.
        conditions = build_conditions(study.text, study.half)
        column = layer * study.num_units + unit
        key = study.text_key | {"conditions": conditions.digest}
        report = study.cache.load("descriptions", key, result=DescriptionReport)
        if report is not None:
            return report.descriptions[column]

        # Otherwise only this cell is described.
        report = describe_cells(
            study.activations, study.text, cells=[column], conditions=conditions
        )
        return report.descriptions[0]

    key = study.cell_key(layer, unit) | {"detectors": detectors_key()}
    return study.cached("description of", key, result=Description, compute=describe)


@dataclass(frozen=True, kw_only=True)
class DescribeOptions:
    """The option of the analysis."""

    describe: bool = option(
        False,
        flags="--describe",
        help="Describe every cell by a rule in words, with its score.",
        panel=SINGLE_CELLS,
    )


def _measure(subject: Subject[DescribeOptions]) -> DescriptionReport:
    # 0 is for the coloured cells of `--find`: a table of no cells says nothing.
    if subject.options.top == 0:
        top, describe = named("top"), named("describe")
        raise UsageError(
            f"{top} is 0; {describe} lists at least 1 cell. Leave {top} out for {NUM_LISTED}."
        )
    return descriptions(subject.study, subject.detectors)


def _show(subject: Subject[DescribeOptions], report: DescriptionReport) -> Shown:
    """Draw the table of the cells that rules describe best: `--top` or NUM_LISTED in a terminal,
    all in a file."""
    name = subject.model.name
    options = subject.options
    title = (
        f"{all_visible(name)}: {len(report.descriptions):,} cells over {report.num_chars:,}"
        " characters, described by rules"
    )

    # A file can be searched, so it lists all cells.
    num_listed = options.top
    if num_listed is None and not options.suffix:
        num_listed = NUM_LISTED
    pictures = description_pictures(title, report=report, num_listed=num_listed)
    return Shown(
        f"Descriptions of the cells of {name}",
        pictures=pictures,
        data={"run": name, **report.to_json()},
    )


SECTION = CellSection(
    "description",
    message="searching a rule",
    measure=description_of,
    place=60,
    measure_all=lambda study: descriptions(study).descriptions,
)
"""The section of the page of a cell."""
ANALYSES = (
    Analysis(
        flag="--describe",
        options=DescribeOptions,
        measure=_measure,
        show=_show,
        takes=DETECTOR_OPTIONS | {"--top"},
    ),
)
"""`visualize --describe`."""
