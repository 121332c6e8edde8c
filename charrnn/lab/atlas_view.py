"""An atlas as the entries of an exported page: the table of all cells, and the page of each."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from charrnn.cells.records import CellScore, CellValues
from charrnn.lab.atlas_records import Atlas, AtlasCell
from charrnn.lab.cell_effects_records import CellInputs, CellOutputs
from charrnn.lab.descriptions_records import Description
from charrnn.views.page import CellColumn, CellEntry, CellSection, ShownPassage, unpack
from charrnn.views.tables import MEANINGS, NO_GAIN_MARK, score_mark

COLUMNS = (
    CellColumn(name="cell", about="layer and unit, from 0", is_number=False),
    CellColumn(name="description", about="the best rule of at most three conditions", is_number=False),
    CellColumn(name="score", about="R² of the description on the half of the text that did not choose it"),
    CellColumn(
        name="follows",
        about=f"the detectors whose best cell it is, if that is significant; {NO_GAIN_MARK}: {MEANINGS[NO_GAIN_MARK]}",
        is_number=False,
    ),
    CellColumn(name="timescale", about="characters after which the memory has decayed to 1/e"),
    CellColumn(name="mean", about="mean value"),
    CellColumn(name="spread", about="standard deviation of the values"),
)
"""The columns of the table of all cells."""
KINDS = {"top": "highest", "bottom": "lowest", "decile": "tenth"}
"""How the kinds of passages are called on a page."""
NOTES = (
    "All cells: click a column to sort by it. The filter takes words and comparisons: score>0.5, timescale>50.",
    "Map: cells whose values are correlated, with either sign, are near (classical scaling of 1 - r², spread out).",
    "Selection: a cell is on where its value is far enough above its mean over this text (high) or below it (low).",
)
"""What a page with an atlas says of its parts."""


def atlas_entries(atlas: Atlas) -> list[CellEntry]:
    """Return what a page shows of every cell."""
    found: dict[tuple[int, int], list[CellScore]] = defaultdict(list)
    for score in atlas.findings.scores:
        if score.is_significant:
            found[score.layer, score.unit].append(score)
    return [_entry(cell, found.get((cell.layer, cell.unit), ())) for cell in atlas.cells]


def _entry(cell: AtlasCell, scores: Sequence[CellScore]) -> CellEntry:
    description, values = cell.description, cell.values
    text = "" if description is None else description.text
    follows = ", ".join(f"{score.detector} {score_mark(score)}".rstrip() for score in scores)
    found = next((score.detector for score in scores if not score.is_no_better_than_untrained), "")
    is_explained = description is not None and description.explained
    return CellEntry(
        cell=(cell.layer, cell.unit),
        shown=(
            text,
            description.score if description is not None and is_explained else None,
            follows,
            values.timescale,
            values.mean,
            values.spread,
        ),
        label="; ".join(filter(None, (follows and f"follows {follows}", text if is_explained else ""))),
        found=found,
        place=(cell.x, cell.y),
        sections=tuple(_sections(cell)),
    )


def _sections(cell: AtlasCell) -> Iterator[CellSection]:
    if cell.description is not None:
        yield from _description(cell.description)
    passages = _passages(cell)
    for kind in ("top", "bottom"):
        if passages[kind]:
            yield CellSection(title=f"Where it is {KINDS[kind]}", draw_as="passages", content=passages[kind])
    yield from _values(cell.values)
    if cell.inputs is not None:
        yield from _inputs(cell.inputs)
    if cell.outputs is not None:
        yield from _outputs(cell.outputs)
    if passages["decile"]:
        yield CellSection(
            title="A passage of each tenth of its values",
            about="the largest first; chosen at random within each tenth",
            draw_as="passages",
            content=passages["decile"],
        )


def _description(description: Description) -> Iterator[CellSection]:
    yield CellSection(title="Description", draw_as="text", content=description.text)
    if description.kind == "none":
        return
    figures: list[tuple[str, str | float]] = []
    if not description.explained:
        figures.append(("best rule", " and ".join(description.conditions)))
    interval = ""
    if description.ci_low is not None and description.ci_high is not None:
        interval = f" [{description.ci_low:.2f}, {description.ci_high:.2f}]"
    figures.append(("R²", f"{description.score:.2f}{interval}"))
    for name, number in (
        ("AUC", description.auc),
        ("Spearman's ρ", description.spearman),
        ("R², untrained baseline", description.untrained),
        ("R², control values", description.control),
        ("share of the characters", description.share),
        ("mean where it holds", description.mean_inside),
        ("mean elsewhere", description.mean_outside),
    ):
        if number is not None:
            figures.append((name, number))
    yield CellSection(title="How well it predicts the value", draw_as="figures", content=figures)


def _passages(cell: AtlasCell) -> Mapping[str, list[ShownPassage]]:
    """Return the passages of a cell by kind."""
    found: dict[str, list[ShownPassage]] = defaultdict(list)
    places = cell.values.passages
    values = unpack(cell.levels, cell.scale, sum(place.end - place.begin for place in places))
    begin = 0
    for place in places:
        title = f"{KINDS.get(place.kind, '')} {place.rank}: {place.value:.2f}".replace("-", "−")
        size = place.end - place.begin
        shown = ShownPassage(title=title, begin=place.begin, values=values[begin : begin + size])
        found[place.kind].append(shown)
        begin += size
    return found


def _values(values: CellValues) -> Iterator[CellSection]:
    figures: list[tuple[str, str | float]] = [("mean", values.mean), ("standard deviation", values.spread)]
    if values.timescale is not None:
        figures.append(("timescale", f"{values.timescale:.3g} characters, from {_gate_name(values.timescale_from)}"))
    if values.decay is not None:
        figures.append(("autocorrelation falls to 1/e after", f"{values.decay:.3g} characters"))
    figures += [
        (f"gate {gate.gate}", f"open {gate.open:.0%}, closed {gate.closed:.0%}".replace("%", " %"))
        for gate in values.gates
    ]
    yield CellSection(title="Values", draw_as="figures", content=figures)
    yield CellSection(title="Histogram", draw_as="histogram", content=(-1.0, 1.0, values.histogram))
    if values.after_characters:
        yield CellSection(
            title="Mean value after a character",
            about="the characters after which it is farthest from its mean",
            draw_as="bars",
            content=[(one.character, one.mean) for one in values.after_characters],
        )
    yield CellSection(
        title="Most correlated cells",
        draw_as="cells",
        content=[((one.layer, one.unit), one.correlation) for one in values.correlated],
    )


def _gate_name(name: str) -> str:
    return f"gate {name}" if len(name) == 1 else f"the {name}"


def _inputs(inputs: CellInputs) -> Iterator[CellSection]:
    for gate in dict.fromkeys(driver.gate for driver in inputs.drivers):
        yield CellSection(
            title=f"Cells that drive its gate {gate}" if gate else "Cells that drive it",
            about="weight times the standard deviation of the driving cell's output",
            draw_as="cells",
            content=[((one.layer, one.unit), one.strength) for one in inputs.drivers if one.gate == gate],
        )


def _outputs(outputs: CellOutputs) -> Iterator[CellSection]:
    effects = [(one.character, one.effect) for one in (*outputs.promoted, *reversed(outputs.suppressed))]
    if effects:
        yield CellSection(
            title="Characters that it promotes and suppresses",
            about="change of the log-probability in nats, to first order, if it rises by one standard deviation",
            draw_as="bars",
            content=effects,
        )
