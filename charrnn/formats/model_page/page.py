"""Make a self-contained HTML page that contains a model and runs it: `model_page.html`, its
programs, and the weights.

The page computes the same as `charrnn sample` with int8 weights, to the last bit:
`model_network.js` repeats the operations of `compiled.sampling` in the same order. The weights are
compressed by zlib and written in base 64.

Shapes: V vocabulary, H hidden, L layers, R rows and C columns of a matrix, E embedding.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.cells.findings import CellScore
from charrnn.errors import UsageError
from charrnn.generation.special_ids import opening_ids, undrawable_ids
from charrnn.model.portable_math import MANTISSA_BITS
from charrnn.model.stepper import Linear, Stepper
from charrnn.runs.checkpoint import Tensors
from charrnn.runs.included import card_of, read_cards
from charrnn.runs.model_file import MODEL_FILE_SUFFIX
from charrnn.runs.overview import text_name
from charrnn.runs.reader import RunReader
from charrnn.text.documents import END
from charrnn.text.vocab import Vocab
from charrnn.trained_model import TrainedModel
from charrnn.views.theme import NUM_SHADES, PAPERS, Background, read_palette

TEMPLATE = Path(__file__).with_name("model_page.html")
"""The page without its style sheet, its model and its programs."""
NETWORK = Path(__file__).with_name("model_network.js")
"""The program that computes the network."""
VIEW = Path(__file__).with_name("model_page.js")
"""The program of the user interface."""
CELLS = ("lstm", "gru", "rnn")
"""Cell types that the page can run."""
DEPTHS = ("stacked", "residual")
"""Depths that the page can run."""
MAX_BYTES = 8_000_000
"""Maximum size of a page: about 5 million weights, with which a browser writes 200 characters per
second."""
STEPS_PER_UNIT = 20
"""A cell is clamped at multiples of 1/20."""


def to_model_page(
    model: TrainedModel,
    found: Sequence[CellScore] = (),
    *,
    title: str | None = None,
    run: str | None = None,
) -> str:
    """Return the page of a model. Its title is by default the name of the model, and it first shows
    the first cell of `found`. `run` is the name of the model in commands, if it has another there.

    Raises UsageError for a cell type or a depth that the page does not run, for weights that are
    not finite, and for a page of more than `MAX_BYTES`; CheckpointError for weights that are
    missing or misshapen.
    """
    config = model.config
    for field, value, known in (
        ("cell type", config.cell_type, CELLS),
        ("depth", config.depth, DEPTHS),
    ):
        if value not in known:
            raise UsageError(
                f"The {field} of this model is {value}; a page runs {', '.join(known)}. Export a"
                " .zip instead."
            )

    stepper = Stepper(config, tensors=model.tensors, precision="int8")
    arrays = _arrays(stepper, model)
    # The size is checked before the compression, which takes long for a large model and saves only
    # a tenth.
    weights = b"".join(array.tobytes() for array in arrays.values())
    _check_size(model.name, len(weights))

    description = _describe_network(stepper, model=model, arrays=arrays) | _describe_model(model)

    # The page numbers cells through all layers.
    cells = []
    for found_cell in found:
        cell = found_cell.layer * stepper.hidden_size + found_cell.unit
        cells.append({"name": found_cell.detector, "cell": cell, "polarity": found_cell.polarity})

    # The weights are the concatenation of these arrays.
    types = []
    for name, array in arrays.items():
        types.append({"name": name, "type": str(array.dtype), "length": array.size})
    description |= {
        "found": cells,
        "arrays": types,
    }
    if title is not None:
        description["name"] = title
    if run is not None:
        description["run"] = run

    # ASCII without "<", so that no value can end the script element.
    encoded = json.dumps(description, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    encoded = encoded.replace("<", "\\u003c")

    packed = base64.b64encode(zlib.compress(weights, 9))
    page = _fill(MODEL=encoded, WEIGHTS=packed.decode("ascii"))
    _check_size(model.name, len(page))
    return page


def _fill(**fields: str) -> str:
    """Return the template with its style sheet, its programs and `fields`, each in place of its
    name in {{}}. Only this style sheet and these programs may be used, by their hashes."""
    template = TEMPLATE.read_text(encoding="utf-8").replace("{{SHADES}}", shade_rules())
    view = VIEW.read_text(encoding="utf-8").replace("{{NUM_SHADES}}", str(NUM_SHADES))
    programs = [NETWORK.read_text(encoding="utf-8"), view]
    style = template.partition("<style>")[2].partition("</style>")[0]
    fields |= {
        "STYLE_HASH": _hash(style),
        "SCRIPT_HASHES": " ".join(map(_hash, programs)),
        "SCRIPTS": "\n".join(f"<script>{program}</script>" for program in programs),
    }
    # All placeholders are replaced in one pass, so that the inserted texts are not changed.
    return re.sub(r"\{\{(\w+)\}\}", lambda placeholder: fields[placeholder[1]], template)


def _hash(text: str) -> str:
    """Return the source expression of a content security policy that allows exactly this text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


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


def _check_size(name: str, num_bytes: int) -> None:
    if num_bytes > MAX_BYTES:
        raise UsageError(
            f"The page of {name} would have {num_bytes / 1e6:.1f} MB, more than"
            f" {MAX_BYTES / 1e6:.0f} MB: a browser would take long for each character. Export a"
            " .zip instead, or train fewer units."
        )


def symbols_of(vocab: Vocab) -> str:
    """Return how many bytes or characters an alphabet has, such as `67 characters`."""
    if vocab.kind == "byte":
        return f"{len(vocab):,} bytes"
    # The unknown symbol and END are no characters of a text.
    listed = [character for character in vocab.characters if character not in ("", END)]
    return f"{len(listed):,} characters"


def _describe_model(model: TrainedModel) -> dict[str, object]:
    """Return the description of a model that the page shows."""
    # This is the name of the model in commands. The name of a run includes the step, because the
    # run may save a better one.
    run = f"{model.name}{MODEL_FILE_SUFFIX}"
    if model.card:
        run = model.name
    elif model.path:
        run = f"{RunReader(model.path).name}@{model.step}"

    description = model.description
    rows = dict(description.rows())
    rows["alphabet"] = symbols_of(model.vocab)
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
        "rows": list(rows.items()),
    }


def _texts_of(model: TrainedModel) -> str:
    """Return the name of the text that a model has read, preceded by the text that the model from
    which it started had read."""
    text = model.card.get("text", model.description.text) or "a text"
    start = model.config.init_from
    if start is None:
        return text

    # The card of an included model names its text. An exported model does not tell its base by the
    # weights, and has public names alone.
    card = card_of(model.base.get("digest"))
    if not card and model.path is None:
        card = read_cards().get(start, {})
    before = card.get("text", f"the texts of the model {text_name((start,))}")
    return f"{before} and then {text}"


def _matrices(stepper: Stepper) -> dict[str, Linear]:
    """Return the weight and the bias of each product of the network, by the name in the page."""
    matrices = {"output": stepper.products["output"]}
    for index in range(stepper.num_layers):
        matrices[f"layers.{index}.recurrent"] = stepper.products[f"layers.{index}.hh"]
        if index > 0:
            matrices[f"layers.{index}.input"] = stepper.products[f"layers.{index}.ih"]
    return matrices


def _arrays(stepper: Stepper, model: TrainedModel) -> dict[str, NDArray[Any]]:
    """Return the arrays of a model by name: first the float32 arrays, then the int8 arrays."""
    arrays: dict[str, NDArray[Any]] = {}
    for name, (matrix, bias) in _matrices(stepper).items():
        # `bits` is 0 if a weight is nan or infinite.
        if not matrix.bits or not np.isfinite(bias).all():
            raise UsageError(
                "The weights of this model are not finite: its training diverged. Train it again."
            )
        arrays |= {
            name: matrix.values,
            f"{name}.scale": matrix.scale,
            f"{name}.bias": bias,
        }

    arrays |= _input_arrays(stepper, model.tensors)
    if model.config.initial_state == "learned":
        arrays["learned_state"] = stepper.initial_state(1)

    # Arrays with four bytes per number must begin at a multiple of four.
    return dict(sorted(arrays.items(), key=lambda item: item[1].dtype == np.int8))


def _describe_network(stepper: Stepper, model: TrainedModel, arrays: Tensors) -> dict[str, object]:
    """Return the settings of a model that `model_network.js` reads in addition to the arrays."""
    config = model.config
    embedding_size = 1
    if "embedding" in arrays:
        embedding_size = arrays["embedding"].shape[1]

    # The sum of products of two numbers with this many bits is exact.
    table_bits = (MANTISSA_BITS - math.ceil(math.log2(max(1, embedding_size)))) // 2
    # The memories for all values from -1 to 1 at which a cell can be clamped are computed here,
    # because browsers differ in atanh.
    clamped = [step / STEPS_PER_UNIT for step in range(-STEPS_PER_UNIT, STEPS_PER_UNIT + 1)]
    return {
        "cell_type": config.cell_type,
        "depth": config.depth,
        "shows": stepper.cell.shows,
        "num_layers": stepper.num_layers,
        "hidden_size": stepper.hidden_size,
        "num_states": stepper.cell.num_states,
        "sum_outputs": config.sum_outputs,
        "zoneout": config.zoneout,
        "embedding_size": embedding_size,
        "table_bits": table_bits,
        "alphabet": model.vocab.kind,
        "characters": list(model.vocab.characters),
        "opening_ids": opening_ids(stepper, vocab=model.vocab, end_id=config.end_id).tolist(),
        "end_id": config.end_id,
        "banned": list(undrawable_ids(model.vocab, config.end_id)),
        "memories": [float(np.float32(stepper.cell.memory(value))) for value in clamped],
        "matrices": {
            name: {"bits": matrix.bits, "columns": matrix.values.shape[1]}
            for name, (matrix, _) in _matrices(stepper).items()
        },
    }


def _input_arrays(stepper: Stepper, tensors: Tensors) -> dict[str, NDArray[np.float32]]:
    """Return the table of input products (V, R), or its factors if they are smaller."""
    table = stepper.tables["layers.0.ih"]
    if "embedding.weight" not in tensors:
        return {"table": table}
    names = {
        "embedding": "embedding.weight",
        "weight_ih": "layers.0.weight_ih_l0",
        "bias_ih": "layers.0.bias_ih_l0",
    }
    factors = {name: np.asarray(tensors[key], np.float32) for name, key in names.items()}
    if sum(factor.size for factor in factors.values()) < table.size:
        return factors
    return {"table": table}
