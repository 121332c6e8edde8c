"""The card of a model file, README.md: what a stranger must know of a model.

`model_card.md` is its text, with fields for the facts. The facts are a dictionary that the manifest
contains, too. What was not measured is missing there, and the card says that it is not known.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

import yaml

from charrnn.cells.findings import CellScore, FoundCell
from charrnn.cells.study import found_cells_of, found_scores
from charrnn.detectors.registry import get_detectors
from charrnn.formats.carried_facts import carried_facts
from charrnn.formats.model_page.page import symbols_of
from charrnn.runs.config_files import CONFIG
from charrnn.runs.hub import is_on_hub
from charrnn.runs.included import read_cards
from charrnn.runs.model_file import PAGE, PICTURE
from charrnn.text.sources import CatalogueEntry, find_entry, load_catalogue
from charrnn.trained_model import TrainedModel
from charrnn.version import __version__
from charrnn.views.tables import ends_text, meaning, score_number, score_text

Facts = dict[str, Any]
"""What is known of a model, by name; it is written as JSON."""
_MARKS = re.compile(r"[\\`*_\[\]<>#|~]")
"""Matches what Markdown reads as a mark."""
TEMPLATE = Path(__file__).with_name("model_card.md")
"""The card without the facts."""
STANDARD_LIBRARY = "the standard library of Python"
"""The text that is learned where none is named."""
UNKNOWN = "not known"
"""Stands for what was not measured."""
PRIVATE = "a private text, which is not named"
"""Stands for a text that is not of the catalogue."""
SCORES = (
    "Each of these cells was chosen among all cells on one half of a text, and scored on the"
    " other half. AUC is the probability that the cell ranks a character inside above one outside:"
    " 0.5 says nothing, and 1 is perfect. ρ says how well the cell rises with a count, or falls if"
    " it is negative: 0 says nothing, and 1 and -1 are perfect. The chance level is what the best"
    " of all cells reaches by chance, and *untrained* is the score of the best cell of a network"
    " that was not trained. *Evidence* says whether further tests support that the cell tracks the"
    " property. The intervals are those of a block bootstrap."
)
"""What the table of cells means."""
PARTS = {
    "validation": "validation part",
    "test": "test part",
}
"""What the losses of a card are measured on."""


def catalogued(model: TrainedModel) -> list[CatalogueEntry | None]:
    """Return the entry of the catalogue for each source of a model's text, None for a private
    text."""
    sources = model.config.corpus
    if model.card:  # an included model, whose text is public
        return [find_entry(name) for name in model.card.get("catalogue", ())]

    locations: Sequence[str | None] = ()
    digest = None
    if model.recorded_corpus is not None:
        locations = model.recorded_corpus.locations
        digest = model.recorded_corpus.digest
    # The standard library has a location, and no source.
    pairs = zip(sources, locations or [None] * len(sources), strict=False)
    return [_entry_at(source, location, digest) for source, location in pairs]


def _entry_at(source: str, location: str | None, digest: str | None) -> CatalogueEntry | None:
    """Return the entry of the catalogue that a source was, as far as this can be known: another
    text, or a folder of texts, may have its name."""
    path = Path(location or source)
    for entry in load_catalogue():
        # A text of the catalogue is named by its entry or by its file.
        if Path(source).name not in (entry.name, entry.file):
            continue
        # A private file may be called like an entry. The file of the entry has a suffix.
        is_named = source == entry.name and (location is None or path.name == entry.file)
        is_entry = is_named or digest == entry.sha256
        # A folder without a recorded location was not read, as that of a run with this name.
        if path.is_file() or (location is not None and path.exists()):
            is_entry = entry.is_file(path)
        return entry if is_entry else None
    return None


def facts_of(model: TrainedModel) -> Facts:
    """Return what is known of a model: of an included model what its card says, of a run what the
    run has recorded, and the cells that were found."""
    if model.card:
        return dict(model.card)
    facts: Facts = {"losses": {}, "cells": [], "verdicts": {}} | carried_facts(model)
    facts["split"] = model.config.split
    if model.val_nats is not None:
        facts["losses"]["validation"] = model.val_nats

    # The text, if it is public.
    entries = catalogued(model)
    named = [entry for entry in entries if entry is not None]
    if not model.config.corpus:
        facts.setdefault("text", STANDARD_LIBRARY)
    elif len(named) == len(entries):
        facts["text"] = " ".join(f"{entry.about} {entry.address}" for entry in named)
        facts["catalogue"] = [entry.name for entry in named]
        facts["licence"] = ", ".join(dict.fromkeys(entry.licence for entry in named))
        facts["languages"] = sorted({entry.language_code for entry in named} - {""})
    if "text" in facts and model.recorded_corpus is not None:
        facts["text_digest"] = model.recorded_corpus.digest

    # The cells, and the verdicts on those that were tested further (`visualize --evidence`).
    scores = found_scores(model.findings)
    if scores:
        facts["cells"] = [score.to_json() for score in scores]
    for score in scores:
        place = f"{score.layer}:{score.unit} {score.detector}"
        verdict = model.findings.load("verdict", {"cell": place}, result=str)
        if verdict is not None:
            facts["verdicts"][place] = verdict
    return facts


def to_readme(model: TrainedModel, facts: Facts, *, has_page: bool) -> str:
    """Return the card of a model with the name and the configuration that strangers may read."""
    # Not every network has a page, and an included model has none.
    page = "There is no page of it in this folder."
    if has_page:
        page = f"Open `{PAGE}` in a browser to let it write. The page needs no server, and sends"
        page += " nothing."
    return TEMPLATE.read_text(encoding="utf-8").format(
        metadata=yaml.safe_dump(_metadata(model, facts), sort_keys=False, allow_unicode=True),
        heading=_MARKS.sub(r"\\\g<0>", _on_one_line(model.name)),
        name=_code(_on_one_line(model.name)),
        argument=_argument(model.name),
        literal=json.dumps(model.name, ensure_ascii=False),
        version=__version__,
        picture=PICTURE,
        page=page,
        chosen=_chosen(facts),
        note=_note(facts),
        cell="{}:{}".format(*pictured_cell(facts)),
        facts=_table([("", ""), *_fact_rows(model, facts)]),
        losses=_table([("measured on", _unit(model), "95 % interval"), *_losses(model, facts)]),
        meaning=_meaning(facts["losses"]),
        num_symbols=f"{len(model.vocab):,}",
        uniform=f"{math.log(len(model.vocab)):.3f}",
        cells=_cells(facts),
        unknown="\n".join(f"- {sentence}" for sentence in _unknown(model, facts)),
    )


def _argument(path: str) -> str:
    """Return a path as a shell reads it, on one line, which is no option if it begins with a
    dash."""
    if path.startswith("-"):
        path = f"./{path}"
    if path.isprintable():
        return quote(path)
    escaped = path.encode("unicode_escape").decode("ascii").replace("'", "\\'")
    return f"$'{escaped}'"


def _on_one_line(name: str) -> str:
    """Return a name in which a blank stands for each character that is not printed: what follows a
    line end would be a heading of its own."""
    return "".join(character if character.isprintable() else " " for character in name)


def _code(text: str) -> str:
    """Return a text of one line as code in Markdown, between more backticks than it has itself."""
    if "`" not in text:
        return f"`{text}`"
    marks = "`" * (1 + max(map(len, re.findall("`+", text))))
    return f"{marks} {text} {marks}"


def _unit(model: TrainedModel) -> str:
    """Return the unit of the losses."""
    if model.vocab.kind == "byte":
        return "nats per byte"
    return "nats per character"


def _metadata(model: TrainedModel, facts: Facts) -> dict[str, Any]:
    """Return the block of metadata that model hubs read."""
    metadata: dict[str, Any] = {
        "library_name": "charrnn",
        "license": facts.get("weights_licence", "unknown"),
        "pipeline_tag": "text-generation",
        "tags": ["charrnn", "character-level", "recurrent-neural-network", model.config.cell],
    }
    # Only codes that hubs know: a source code, for example, has none.
    if facts.get("languages"):
        metadata["language"] = facts["languages"]
    # On the same hub, the name leads to the model from which this one started.
    start = model.config.init_from
    if start is not None and is_on_hub(start):
        metadata["base_model"] = start.removeprefix("hf:").partition("@")[0]
    results = []
    text = " ".join(facts.get("catalogue", [])) or facts.get("text", PRIVATE)
    for part in ("validation", "test"):
        if part in facts["losses"]:
            loss = {"name": _unit(model), "type": "loss", "value": facts["losses"][part]}
            results.append(
                {
                    "task": {"type": "text-generation"},
                    "dataset": {"name": text, "type": "text", "split": part},
                    "metrics": [loss],
                }
            )
    if results:
        metadata["model-index"] = [{"name": model.name, "results": results}]
    return metadata


def _fact_rows(model: TrainedModel, facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield the names and values of what is known of the text and the network."""
    described = model.description
    names = facts.get("catalogue", [])
    in_catalogue = ""
    if names:
        in_catalogue = f" (`{' '.join(names)}` in the catalogue of charrnn)"
    yield "text", facts.get("text", PRIVATE) + in_catalogue
    # The name of another run is private, and nobody can look up what that has read.
    start = model.config.init_from
    if start is not None:
        yield "began with the weights of", start
    yield "licence of the text", facts.get("licence", UNKNOWN)
    if "text_digest" in facts:
        yield "SHA-256 of the text", facts["text_digest"]
    # The shares may have any sum.
    whole = math.fsum(facts["split"])
    shares = zip(("training", "validation", "test"), facts["split"], strict=False)
    yield "its parts", ", ".join(f"{part} {100 * share / whole:.0f} %" for part, share in shares)

    # Only an alphabet with an unknown symbol reads every character.
    symbols = symbols_of(model.vocab)
    if "" in model.vocab.characters:
        symbols += ", and a symbol that stands for all others"
    yield "alphabet", symbols
    yield "network", f"{described.architecture}, {described.num_parameters:,} weights"
    yield "weights", f"those of training step {model.step:,}"
    yield "licence of the weights", facts.get("weights_licence", UNKNOWN)

    # What the model had learned before cannot be trained again. The settings of an included model
    # were written by an older version, so its card has a command.
    texts = names or ["TEXT"]
    if not model.config.corpus:
        texts = []  # The standard library is read where no text is named.
    command = " ".join(["charrnn train", *texts, "--recipe", _argument(f"{model.name}/{CONFIG}")])
    again = _code(facts.get("command", command))
    if start is not None:
        again = UNKNOWN
    yield "command that trains it again", again


def cells_in(facts: Facts) -> tuple[FoundCell, ...]:
    """Return the cells that follow a property better than by chance and than an untrained network
    does, best first."""
    scores = [score for score in _scores_in(facts) if score.is_found]
    return found_cells_of(sorted(scores, key=lambda score: -score.gain))


def _scores_in(facts: Facts) -> list[CellScore]:
    return [CellScore(**fields) for fields in facts["cells"]]


def pictured_cell(facts: Facts) -> tuple[int, int, int]:
    """Return layer, unit and polarity of the cell that the picture shows: the one that follows its
    property best."""
    # Without a cell that was found, any cell will do.
    for cell in cells_in(facts):
        return cell.layer, cell.unit, cell.polarity
    return 0, 0, 1


def _chosen(facts: Facts) -> str:
    """Say how the step of the weights was chosen, if it is the one with the lowest loss."""
    if "validation" not in facts["losses"]:
        return ""
    return (
        " Its weights are those of the step at which the loss on the validation part was lowest,"
        " so a loss on other text of the same kind may be a little higher."
    )


def _note(facts: Facts) -> str:
    """Say what the test part was used for."""
    if len(facts["split"]) < 3 or facts["split"][2] == 0:
        return ""
    return f" {facts.get('note', 'The test part was used for nothing.')}"


def _meaning(losses: Mapping[str, float]) -> str:
    """Say what the loss is as a probability."""
    # The test part comes first, because nothing was chosen by it.
    for part in ("test", "validation"):
        if part in losses:
            percent = 100 * math.exp(-losses[part])
            return f"On the {part} part, p is {percent:.0f} % in the (geometric) mean."
    return ""


def _parts(model: TrainedModel, facts: Facts) -> Iterator[str]:
    """Yield the keys of `PARTS` that the model has: it may have no test part."""
    yield "validation"
    if len(facts["split"]) > 2 and facts["split"][2] > 0:
        yield "test"


def _losses(model: TrainedModel, facts: Facts) -> Iterator[tuple[str, ...]]:
    """Yield the rows of the table of losses."""
    intervals = facts.get("intervals", {})
    for part in _parts(model, facts):
        text = PARTS[part]
        loss = UNKNOWN
        if part in facts["losses"]:
            loss = f"{facts['losses'][part]:.4f}"
        yield text, loss, ends_text(*intervals.get(part, (None, None))) or UNKNOWN


def _cells(facts: Facts) -> str:
    """Return the table of the cells, below a sentence if none was looked for."""
    head = ("cell", "property", "score", "95 % interval", "chance level", "untrained", "evidence")
    rows = []
    for score in _scores_in(facts):
        place = f"{score.layer}:{score.unit}"
        property_of = get_detectors([score.detector])[0].looks_for
        rows.append(
            (
                place,
                f"{property_of} ({score.detector})",
                score_text(score),
                ends_text(score.ci_low, score.ci_high) or UNKNOWN,
                _number(score.null_level),
                _number(score.untrained),
                meaning(score)
                or facts.get("verdicts", {}).get(f"{place} {score.detector}", "not tested"),
            )
        )
    if not rows:
        return "This is not known: no cell is recorded that follows a property of the text."
    return f"{SCORES}\n\n{_table([head, *rows])}"


def _number(value: float | None) -> str:
    return UNKNOWN if value is None else score_number(value)


def _unknown(model: TrainedModel, facts: Facts) -> Iterator[str]:
    """Yield a sentence for each thing that nobody has measured or said."""
    if "text" not in facts:
        yield "Which text it has read, and under which licence that is. Only its owner can say it."
    # The card of an included model says what that has read.
    start = model.config.init_from
    if start is not None and start not in read_cards():
        yield "What the model has read with whose weights it began."
    if "weights_licence" not in facts:
        yield "Under which licence these weights are. Ask who gives them away."
    for part in [part for part in _parts(model, facts) if part not in facts["losses"]]:
        yield f"The loss on the {PARTS[part]}."
    if not facts.get("intervals"):
        yield "How exact its losses are. (`charrnn evaluate` measures an interval.)"
    if not facts["cells"]:
        yield "Whether its cells follow properties of the text: none is recorded."
    elif not facts.get("verdicts"):
        yield "Whether its cells cause what it writes: they were scored, and not tested further."
    yield "How much of its own text it repeats, and how well it predicts texts of other kinds."
    yield "Whether another training of the same network would be better, or have the same cells."


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown; the first row is its head."""
    # A bar would begin another column.
    lines = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    lines.insert(1, "| --- " * len(rows[0]) + "|")
    return "\n".join(lines)
