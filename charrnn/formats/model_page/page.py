"""Make a self-contained HTML page that contains a model and runs it: `model_page.html`, the
programs of the network and of the view, and the weights; or a module of JavaScript that does:
`model_network.js`, the weights, and one function, in `model_module.js`."""

import base64
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from charrnn.cells.records import CellScore
from charrnn.config.settings import resolved
from charrnn.formats.model_page.digests import DocumentDigests, folds_of
from charrnn.formats.model_page.module_options import options_to_json
from charrnn.formats.model_page.network import (
    check_size,
    describe_network,
    network_program,
    to_digits,
    to_json,
    words_text,
)
from charrnn.generation.generator import MOST_REJECTED, start_ids
from charrnn.runs.included import read_cards
from charrnn.runs.reader import RunReader
from charrnn.trained_model import TrainedModel, describe
from charrnn.views.theme import NUM_SHADES, PAPERS, Background, read_palette

DIGESTS = Path(__file__).with_name("model_digests.js")
"""The program that tells new documents, for a module with digests."""
MODULE = Path(__file__).with_name("model_module.js")
"""The program with the function, `sample`."""
HEAD = """\
// A recurrent network that writes texts, made by charrnn. It needs no other file:
//   import { sample } from "./FILE.js";
//   sample({ temperature: 0.6, seed: 5, prime: "" })
"""
"""What a module begins with: how it is used."""
TEMPLATE = Path(__file__).with_name("model_page.html")
"""The page without its style sheet, its model and its programs."""
VIEW = Path(__file__).with_name("model_page.js")
"""The program of the user interface."""
PRIVATE_TEXT = "a private text"
"""Stands for the name of a text that is not of the catalogue."""
STANDARD_LIBRARY = "the standard library of Python"
"""The text that is learned where none is named."""


def to_model_page(
    model: TrainedModel,
    found: Sequence[CellScore] = (),
    *,
    title: str | None = None,
    run: str | None = None,
    language: str | None = None,
) -> str:
    """Return the page of a model. Its title is by default the name of the model, and it first shows
    the first cell of `found`. `run` is the name of the model in commands, if it has another there,
    and `language` the code of the language in which it writes (BCP 47), if that is known.

    It is for people; `to_module` is for programmers, who make a page of their own.

    Raises the errors of `describe_network`.
    """
    network, weights = describe_network(model)
    description = network | _describe_model(model)

    # The page numbers cells through all layers.
    cells = []
    for found_cell in found:
        cell = found_cell.layer * resolved(model.config.hidden_size) + found_cell.unit
        cells.append({"name": found_cell.detector, "cell": cell, "polarity": found_cell.polarity})

    description["found"] = cells
    if title is not None:
        description["name"] = title
    if run is not None:
        description["run"] = run
    description["language"] = language

    page = _fill(
        network_program(model),
        MODEL=to_json(description),
        WEIGHTS=weights,
        WORDS=words_text(model),
    )
    check_size(model.name, num_bytes=len(page))
    return page


def _fill(network: str, **fields: str) -> str:
    """Return the template with its style sheet, the program of the network, that of the view, and
    `fields`, each in place of its name in {{}}.

    Only this style sheet and these programs may be used, by a nonce. It is a digest of all that is
    in the page, so that no name and no text in it can know it; and unlike the hash of each program
    it holds in a page that was minified, too.
    """
    template = TEMPLATE.read_text(encoding="utf-8").replace("{{SHADES}}", shade_rules())
    view = VIEW.read_text(encoding="utf-8").replace("{{NUM_SHADES}}", str(NUM_SHADES))
    programs = [network, view]
    nonce = _nonce(template, *programs, *fields.values())
    fields |= {
        "NONCE": nonce,
        "SCRIPTS": "\n".join(f'<script nonce="{nonce}">{program}</script>' for program in programs),
    }
    # All placeholders are replaced in one pass, so that the inserted texts are not changed.
    return re.sub(r"\{\{(\w+)\}\}", lambda placeholder: fields[placeholder[1]], template)


def _nonce(*parts: str) -> str:
    """Return a nonce of a content security policy for a page with these parts."""
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return base64.b64encode(digest[:18]).decode()


def shade_rules() -> str:
    """Return the rules of the shades: variables for the colours, for light and dark paper, and a
    rule for every shade. What is coloured has the number of the shade in its class: `.s3`."""
    rules = [
        f":root {{ {_variables('light')} }}",
        f"@media (prefers-color-scheme: dark) {{ :root {{ {_variables('dark')} }} }}",
    ]
    for step in range(-NUM_SHADES, NUM_SHADES + 1):
        rules.append(f".s{step} {{ background: var(--s{step}); color: var(--i{step}); }}")
    return "\n".join(rules)


def _variables(background: Background) -> str:
    page = PAPERS[background]
    variables = [f"--paper: {page.paper}; --ink: {page.ink};"]
    for sign, hue in ((-1, "low"), (1, "high")):
        for step, (paper, ink) in enumerate(read_palette()[background][hue], start=1):
            variables.append(f"--s{sign * step}: {paper}; --i{sign * step}: {ink};")
    return " ".join(variables)


def _describe_model(model: TrainedModel) -> dict[str, object]:
    """Return the description of a model that the page shows."""
    # This is the name of the model in commands. The name of a run includes the step, because the
    # run may save a better one.
    run = model.name
    if model.path and not model.card:
        run = f"{RunReader(model.path).name}@{model.step}"

    description = describe(model)
    num_cells = description.num_layers * description.hidden_size
    about = (
        f"A recurrent network of {num_cells:,} {description.cell_type.upper()} cells that has read"
        f" {_texts_of(model)}, character by character. It runs in this page, and it is writing:"
        " each character has the colour of one of its cells, red where that is low, blue where it"
        " is high. A cell that is low inside what it follows is drawn with its sign turned: blue is"
        " inside."
    )
    return {
        "name": model.name,
        "about": about,
        "run": run,
        "rows": description.rows(),
    }


def _texts_of(model: TrainedModel) -> str:
    """Return what a model has read, in order: the text of the model from which it started, and its
    own texts."""
    texts = []
    start = model.config.init_from
    if start is not None:
        # The card of an included model names its text.
        texts.append(read_cards().get(start, {}).get("text", PRIVATE_TEXT))

    if model.card:
        texts.append(model.card["text"])
    else:
        texts += model.config.corpus or [STANDARD_LIBRARY]
    # Two private texts are one for the reader, who learns nothing of them.
    return " and then ".join(dict.fromkeys(texts))


def to_module(model: TrainedModel, digests: DocumentDigests | None = None) -> str:
    """Return the module of a model. With the digests of its documents the module tells new ones.
    Raises the errors of `describe_network`.

    It has the network and the words, but nothing to look at.
    """
    description, weights = describe_network(model)
    # Cells are clamped in a page only, and a length is offered there.
    del description["memories"], description["length"]
    # What stands for an empty prime.
    description["start_ids"] = start_ids(model.vocab, model.config.end_id).tolist()
    description["options"] = options_to_json(model)
    description["most_rejected"] = MOST_REJECTED
    description["folded"] = folds_of(model.vocab)
    description["digests"] = None
    program = network_program(model)
    digits = ""
    if digests is not None:
        description["digests"] = digests.to_json()
        digits = to_digits(digests.digests)
        program += DIGESTS.read_text("utf-8")

    # Comments and indentation would be a fortieth of a small module.
    program = re.sub(r"(?m)^ *(//.*\n)?", "", program + MODULE.read_text("utf-8"))
    program = program.replace("{{MODEL}}", to_json(description))
    program = program.replace("{{WORDS}}", words_text(model)).replace("{{DIGESTS}}", digits)
    module = HEAD + program.replace("{{WEIGHTS}}", weights)
    check_size(model.name, num_bytes=len(module))
    return module
