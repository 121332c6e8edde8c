"""Make a module of JavaScript that contains a model and runs it: `model_network.js`, the weights,
and one function, in `model_module.js`."""

from __future__ import annotations

import re
from pathlib import Path

from charrnn.formats.model_page.network import NETWORK, describe_network, to_json
from charrnn.generation.sample_options import DOCUMENT_LENGTH
from charrnn.trained_model import TrainedModel

MODULE = Path(__file__).with_name("model_module.js")
"""The program with the function, `sample`."""
HEAD = """\
// A recurrent network that writes texts, made by charrnn. It needs no other file:
//   import { sample } from "./FILE.js";
//   sample({ temperature: 0.6, seed: 5, prime: "" })
"""
"""What a module begins with: how it is used."""


def to_module(model: TrainedModel) -> str:
    """Return the module of a model. Raises the errors of `describe_network`."""
    description, weights = describe_network(model)
    # Cells are clamped in a page only.
    del description["memories"]
    # The length at which the command cuts a document.
    if model.config.end_id is not None:
        description["length"] = DOCUMENT_LENGTH
    program = NETWORK.read_text("utf-8") + MODULE.read_text("utf-8")
    # Comments and indentation would be a fortieth of a small module.
    program = re.sub(r"(?m)^ *(//.*\n)?", "", program)
    program = program.replace("{{MODEL}}", to_json(description))
    return HEAD + program.replace("{{WEIGHTS}}", weights)
