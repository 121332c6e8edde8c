"""Describe a network to `model_network.js`, the program that runs it in a page or in a module: its
settings, and its weights as text.

The program computes the same as `charrnn sample` with int8 weights, to the last bit: it repeats the
operations of `compiled.sampling` in the same order.

Shapes: V vocabulary, H hidden, L layers, R rows and C columns of a matrix, E embedding.
"""

import json
import math
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import UsageError
from charrnn.generation.generator import opening_ids, undrawable_ids
from charrnn.generation.sample_options import DEFAULT_LENGTH, SampleOptions
from charrnn.model.portable_math import MANTISSA_BITS
from charrnn.model.stepper import Linear, Stepper
from charrnn.runs.checkpoint import Tensors
from charrnn.text.vocab import Vocab
from charrnn.trained_model import TrainedModel

NETWORK = Path(__file__).with_name("model_network.js")
"""The program that computes the network."""
UNPACKING = Path(__file__).with_name("model_unpacking.js")
"""The program that unpacks the weights and the words."""
KNOWN_WORDS = Path(__file__).with_name("model_words.js")
"""The program that follows the words of a text, for a model whose words are given away."""
CELLS = ("lstm", "gru", "rnn")
"""Cell types that the program can run."""
DEPTHS = ("stacked", "residual")
"""Depths that the program can run."""
MAX_BYTES = 8_000_000
"""Maximum size of a page or a module: about 5 million weights, with which a browser writes 200
characters per second."""
STEPS_PER_UNIT = 20
"""A cell is clamped at multiples of 1/20."""
DIGITS = np.array(
    [code for code in range(ord("!"), ord("~") + 1) if chr(code) not in '"<\\'], np.uint8
)
"""The digits of base 91: printed characters that end no string and begin no element."""
TYPED = "‘’‚‛“”„‟«»‐‑–—…\u00a0\u202f"
"""Quotes, dashes, dots and blanks that the keyboard of a telephone types for those of ASCII."""
NUM_DRAWN = 20
"""Documents that are drawn to see how long those of a model are."""


class DescribedNetwork(NamedTuple):
    """A model as a page has it.

    The page has no library: it is all that its program knows of the model.
    """

    settings: dict[str, object]
    """The settings, which `model_network.js` reads."""
    weights: str
    """The weights, in base 91."""


def describe_network(model: TrainedModel) -> DescribedNetwork:
    """Return what `model_network.js` needs to run a model.

    Raises UsageError for a cell type or a depth that the program does not run, for weights that are
    not finite, and for more than `MAX_BYTES`; CheckpointError for weights that are missing or
    misshapen.
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
    check_size(model.name, num_bytes=sum(array.nbytes for array in arrays.values()))

    # The weights are the concatenation of these arrays.
    types = []
    floats = b""
    integers = b""
    for name, array in arrays.items():
        types.append({"name": name, "type": str(array.dtype), "length": array.size})
        if array.dtype == np.int8:
            integers += array.tobytes()
        else:
            floats += array.tobytes()
    # The first bytes of all numbers stand together, then the second ones, ...: the last ones, with
    # the exponents, are alike.
    planes = np.frombuffer(floats, np.uint8).reshape(-1, 4).T
    packed = zlib.compress(planes.tobytes() + integers, 9)
    description = _describe(stepper, model=model, arrays=arrays)
    description["has_words"] = model.words is not None
    description |= {
        "length": _offered_length(model),
        "arrays": types,
        "num_floats": len(floats) // 4,
    }
    return DescribedNetwork(description, weights=to_digits(packed))


def network_program(model: TrainedModel) -> str:
    """Return the program of a model: of its network, of the unpacking of its weights and, if its
    words are given away, of these."""
    program = NETWORK.read_text(encoding="utf-8") + UNPACKING.read_text(encoding="utf-8")
    if model.words is not None:
        program += KNOWN_WORDS.read_text(encoding="utf-8")
    return program


def words_text(model: TrainedModel) -> str:
    """Return the file of the words that a model has read as text, "" without one."""
    return to_digits(model.words or b"")


def to_digits(data: bytes) -> str:
    """Return bytes in base 91: two digits for 13 bits, a ninth shorter than base 64."""
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    bits = np.pad(bits, (0, -len(bits) % 13))
    numbers = bits.reshape(-1, 13) @ (1 << np.arange(13)[::-1])
    digits = np.stack(np.divmod(numbers, len(DIGITS)), axis=1)
    codes = np.frombuffer(DIGITS, np.uint8)[digits]
    return str(codes.tobytes(), "ascii")


def _offered_length(model: TrainedModel) -> int:
    """Return a length that fits the texts of a model: of documents, twice that of the longest of
    some that it writes, and at most `DEFAULT_LENGTH`."""
    if model.config.end_id is None:
        return DEFAULT_LENGTH
    longest = 0
    for seed in range(NUM_DRAWN):
        # A text of half that length decides, so that none is drawn further and no other is needed.
        options = SampleOptions(length=DEFAULT_LENGTH // 2, temperature=1.0, seed=seed)
        longest = max(longest, len(model.generator.begin(options).whole().text))
        if 2 * longest >= DEFAULT_LENGTH:
            return DEFAULT_LENGTH
    # Twice the longest may be as short as nothing.
    return max(10, 2 * longest)


def to_json(description: dict[str, object]) -> str:
    """Return a description in JSON, ASCII without "<", so that no value can end a script.

    It is safe inside a <script>; `views.delivery.to_json` is for a file or a pipe.
    """
    encoded = json.dumps(description, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return encoded.replace("<", "\\u003c")


def check_size(name: str, num_bytes: int) -> None:
    """Raise UsageError for more than `MAX_BYTES`.

    A page that no browser opens is refused before it is written.
    """
    if num_bytes > MAX_BYTES:
        raise UsageError(
            f"The page of {name} would have {num_bytes / 1e6:.1f} MB, more than"
            f" {MAX_BYTES / 1e6:.0f} MB: a browser would take long for each character. Export a"
            " .zip instead, or train fewer units."
        )


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
        arrays["learned_state"] = stepper.initial_state(batch_size=1)

    # Arrays with four bytes per number must begin at a multiple of four.
    return dict(sorted(arrays.items(), key=lambda item: item[1].dtype == np.int8))


def _describe(stepper: Stepper, model: TrainedModel, arrays: Tensors) -> dict[str, object]:
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
        "composes": config.composes,
        "characters": list(model.vocab.characters),
        "read_as": _read_as(model.vocab),
        "opening_ids": opening_ids(stepper, vocab=model.vocab, end_id=config.end_id).tolist(),
        "end_id": config.end_id,
        "banned": list(undrawable_ids(model.vocab, config.end_id)),
        "memories": [float(np.float32(stepper.cell.memory(value))) for value in clamped],
        "matrices": {
            name: {"bits": matrix.bits, "columns": matrix.values.shape[1]}
            for name, (matrix, _) in _matrices(stepper).items()
        },
    }


def _read_as(vocab: Vocab) -> dict[str, str]:
    """Return how the characters that a telephone types are read by a model that does not know them:
    as `--unknown nearest` reads them."""
    nearest = {character: vocab.nearest(character) for character in vocab.unknown_characters(TYPED)}
    return {character: text for character, text in nearest.items() if text}


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
