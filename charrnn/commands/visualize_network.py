"""The evidence card of a cell, and the gates and gradients of a network: `charrnn visualize
--evidence`, `--gates` and `--gradients`."""

from rich.console import RenderableType

from charrnn.analyses.evidence import evidence
from charrnn.analyses.gates import count_gates
from charrnn.analyses.gradients import TITLE, gradient_chart, gradients_of
from charrnn.cli.arguments import load_model, parse_cell
from charrnn.commands.visualize_options import BEST, Subject
from charrnn.errors import UsageError
from charrnn.trained_model import MAX_LAG
from charrnn.views.delivery import Shown


def show_evidence(subject: Subject) -> Shown:
    """Measure and draw the evidence card of a cell, or of the best one."""
    options = subject.options
    names = [*options.detectors, *options.detect]
    if len(names) > 1:
        raise UsageError(f"A card is of one detector, not of {', '.join(names)}: give one.")
    detector = subject.detectors[0] if names else None
    cell: tuple[int | None, int | None] = (None, None)
    if options.evidence != BEST:
        cell = parse_cell("--evidence", text=options.evidence, model=subject.model)

    card = evidence(subject.study, *cell, detector=detector)
    tests = card.tests()
    return Shown(
        f"Evidence for cell {card.layer}:{card.unit} of {subject.model.name}",
        pictures=card.view(),
        data={"run": subject.model.name, **card.to_json()},
        rows=[
            {"part": name, "passed": tests.get(name), "found": line}
            for name, line in card.lines().items()
        ],
    )


def show_gates(subject: Subject) -> Shown:
    """Count and draw how often the gates of each layer are saturated."""
    model = subject.model
    report = count_gates(model.network, text=subject.text, name=model.name)
    return Shown(f"Gates of {report.name}", pictures=report.view(), data=report.to_json())


def show_gradients(subject: Subject) -> Shown:
    """Measure and draw how far the gradient of each network reaches back: one run in one chart,
    several in two."""
    # All models read the same text.
    others = [load_model(name) for name in subject.options.beside]
    reaches = gradients_of(
        (subject.model, *others), subject.content, context=subject.context, max_lag=MAX_LAG
    )

    # A run and its baseline share a chart; the lines of several runs would cover each other.
    pictures: list[RenderableType] = [gradient_chart(reaches)]
    if others:
        pictures = [
            gradient_chart(
                [reach for reach in reaches if not reach.is_untrained], f"{TITLE}, trained"
            ),
            gradient_chart(
                [reach for reach in reaches if reach.is_untrained], f"{TITLE}, untrained"
            ),
        ]
    data = [reach.to_json() for reach in reaches]
    return Shown(f"Gradients of {reaches[0].name}", pictures=pictures, data=data)
